//! Starting copy processes, watching them, and starting them again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pgq::lock;
use rustix::process::{Pid, Signal, kill_process};
use skytools::db::Connection;
use skytools::pidfile::{self, Status};
use tracing::{info, warn};

use super::job::Settings;
use super::session::SCHEMA;
use super::state::{MergeState, Table};
use crate::Error;

/// Pause before a copy that ended is started again; doubles with every one that follows …
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// … up to this. A copy that ran so long, or got on, counts as new.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The copy processes of a job. Those it started end with it.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    /// By table; the only copy, which goes by the plain name, is under `None`.
    copies: HashMap<Option<String>, Launched>,
}

/// A copy that was started, and what came of it.
#[derive(Debug)]
struct Launched {
    table: String,
    /// The process, as long as it is our child and runs.
    child: Option<Child>,
    /// Where it writes its own pid: a daemon is not our child.
    pidfile: Option<PathBuf>,
    at: Instant,
    /// When it was first seen not to run.
    ended: Option<Instant>,
    pause: Duration,
    /// State of its table when it was started.
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
        let alone = in_progress.len() == 1;
        // One copy at a time goes by the plain name, as it always did.
        let plain = settings.slots == 1 && alone;
        for table in in_progress {
            let key = (!plain).then(|| table.name.clone());
            if self.runs(settings, subscriber, &key, alone, table)? {
                if let Some(launched) = self.copies.get_mut(&key) {
                    launched.ended = None;
                }
            } else if let Some(pause) = self.due(&key, table) {
                self.launch(settings, key, table, pause);
            }
        }
        Ok(())
    }

    /// Forgets the copy of a table that begins anew: that one ended is no failure.
    pub(crate) fn forget(&mut self, table: &str) {
        self.copies
            .retain(|_, launched| launched.table != table || launched.is_running());
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

    /// Whether it is time to start a copy that does not run; with the pause after it should it end.
    fn due(&mut self, key: &Option<String>, table: &Table) -> Option<Duration> {
        let last = self.copies.get_mut(key);
        let Some(launched) = last.filter(|last| last.table == table.name) else {
            if table.state != MergeState::InCopy {
                info!("Table have in-progress-copy but no process");
            }
            return Some(FIRST_PAUSE);
        };
        let ended = *launched.ended.get_or_insert_with(Instant::now);
        let got_on =
            launched.state != table.state || ended.duration_since(launched.at) > LONGEST_PAUSE;
        let pause = if got_on { FIRST_PAUSE } else { launched.pause };
        if ended.elapsed() < pause {
            return None;
        }
        Some(match got_on {
            true => FIRST_PAUSE,
            false => (pause * 2).min(LONGEST_PAUSE),
        })
    }

    fn launch(&mut self, settings: &Settings, key: Option<String>, table: &Table, pause: Duration) {
        info!("Launching copy process");
        let child = settings
            .copy_command(key.as_deref())
            .stdin(Stdio::null())
            .spawn()
            .inspect_err(|error| warn!("cannot start a copy process: {error}"))
            .ok();
        let launched = Launched {
            table: table.name.clone(),
            child,
            pidfile: settings.copy_pidfile(key.as_deref()),
            at: Instant::now(),
            ended: None,
            pause,
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

    /// Ends the process: it leaves nothing half done.
    fn end(&mut self) {
        if self.is_running()
            && let Some(child) = &mut self.child
        {
            info!("ending copy process {}", child.id());
            // It may be gone by now, which is as good.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
            let _ = child.wait();
        } else if let Some(path) = &self.pidfile
            && let Ok(Status::Running(pid)) = pidfile::status(path)
        {
            info!("ending copy process {}", pid.as_raw_pid());
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.copies.values_mut().for_each(Launched::end);
    }
}
