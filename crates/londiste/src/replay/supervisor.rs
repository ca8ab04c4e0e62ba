//! Starting copy processes, watching them, and starting them again.

use std::collections::HashMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pgq::lock;
use rustix::process::{Pid, Signal, kill_process};
use skytools::db::Connection;
use tracing::{info, warn};

use super::job::Settings;
use super::session::SCHEMA;
use super::state::{MergeState, Table};
use crate::Error;

/// Pause before the first restart of a copy; doubles with every one that follows …
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The copy processes of a job. Those it started end with it.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    copies: HashMap<Option<String>, Launched>,
}

/// A copy that was started, and what came of it.
#[derive(Debug)]
struct Launched {
    child: Option<Child>,
    at: Instant,
    pause: Duration,
    /// Its table, with the state at that time: a copy that gets on is started again at once.
    table: String,
    state: MergeState,
}

impl Supervisor {
    /// Starts what has to run for the tables in progress, and does not.
    pub(crate) fn supervise(
        &mut self,
        settings: &Settings,
        subscriber: &mut Connection,
        tables: &[Table],
    ) -> Result<(), Error> {
        let in_progress: Vec<&Table> = tables
            .iter()
            .filter(|table| table.state.in_progress())
            .collect();
        // One copy at a time goes by the plain name, as it always did.
        let single = settings.slots == 1 && in_progress.len() == 1;
        for table in &in_progress {
            let key = (!single).then(|| table.name.clone());
            if self.runs(settings, subscriber, &key, in_progress.len() == 1, table)? {
                continue;
            }
            self.launch(settings, key, table);
        }
        Ok(())
    }

    /// Whether a copy runs that goes by the plain name.
    pub(crate) fn plain_copy_runs(
        settings: &Settings,
        subscriber: &mut Connection,
    ) -> Result<bool, Error> {
        let consumer = settings.copy_consumer(None);
        Ok(lock::is_consumer_locked(
            &mut **subscriber,
            SCHEMA,
            &consumer,
        )?)
    }

    fn runs(
        &mut self,
        settings: &Settings,
        subscriber: &mut Connection,
        key: &Option<String>,
        alone: bool,
        table: &Table,
    ) -> Result<bool, Error> {
        if let Some(launched) = self.copies.get_mut(key)
            && launched.is_running()
        {
            return Ok(true);
        }
        // Started by an earlier replay, or detached from this one.
        let named = settings.copy_consumer(Some(&table.name));
        if lock::is_consumer_locked(&mut **subscriber, SCHEMA, &named)? {
            return Ok(true);
        }
        Ok(alone && Supervisor::plain_copy_runs(settings, subscriber)?)
    }

    fn launch(&mut self, settings: &Settings, key: Option<String>, table: &Table) {
        let pause = match self.copies.get(&key) {
            Some(last) if last.table == table.name && last.state == table.state => {
                if last.at.elapsed() < last.pause {
                    return;
                }
                match last.at.elapsed() > LONGEST_PAUSE {
                    true => FIRST_PAUSE,
                    false => (last.pause * 2).min(LONGEST_PAUSE),
                }
            }
            Some(_) => FIRST_PAUSE,
            None => {
                if table.state != MergeState::InCopy {
                    info!("Table have in-progress-copy but no process");
                }
                FIRST_PAUSE
            }
        };
        info!("Launching copy process");
        let child = settings
            .copy_command(key.as_deref())
            .stdin(Stdio::null())
            .spawn()
            .inspect_err(|error| warn!("cannot start a copy process: {error}"))
            .ok();
        let launched = Launched {
            child,
            at: Instant::now(),
            pause,
            table: table.name.clone(),
            state: table.state,
        };
        self.copies.insert(key, launched);
    }
}

impl Launched {
    /// Whether the child runs; reaps it when it does not.
    fn is_running(&mut self) -> bool {
        let Some(child) = &mut self.child else {
            return false;
        };
        match child.try_wait() {
            Ok(None) => return true,
            Ok(Some(status)) if status.success() => {}
            Ok(Some(status)) => warn!("copy process {} ended with {status}", child.id()),
            Err(error) => warn!("cannot watch copy process {}: {error}", child.id()),
        }
        self.child = None;
        false
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for launched in self.copies.values_mut() {
            if launched.is_running()
                && let Some(child) = &mut launched.child
            {
                info!("ending copy process {}", child.id());
                // It may be gone by now; either way it leaves nothing half done.
                let _ = kill_process(Pid::from_child(child), Signal::TERM);
                let _ = child.wait();
            }
        }
    }
}
