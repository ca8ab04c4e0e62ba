//! Processes and threads that work beside a measurement, and end with it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postgres::Client;
use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::process::pause;

/// Longest wait for a process to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program in the foreground; killed when dropped.
#[derive(Debug)]
pub(super) struct Daemon(Child);

impl Daemon {
    /// Starts it; what it prints goes to the end of `log`.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Daemon> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Daemon(child))
    }

    /// Asks it to end, and waits.
    pub(super) fn stop(mut self) -> Result {
        kill_process(Pid::from_child(&self.0), Signal::INT)?;
        testkit::wait_until("a program to end", PATIENCE, || {
            Ok(self.0.try_wait()?.is_some())
        })
    }

    /// Fails if it has ended.
    pub(super) fn check(&mut self) -> Result {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("a program ended by itself: {status}").into()),
        }
    }

    /// Most memory that it has had, in megabytes.
    pub(super) fn peak_memory(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.0.id());
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let kilobytes = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
            .ok_or_else(|| format!("{path} has no VmHWM"))?;
        Ok(kilobytes.trim().parse::<f64>()? / 1024.0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended; either way nothing is left.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Calls the ticker of a database periodically, as a ticker would; ends when dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result>>,
}

impl Ticker {
    pub(super) fn start(mut db: Client, period: Duration) -> Ticker {
        let done = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            let statement = db.prepare("select pgq.ticker()")?;
            let mut next = Instant::now();
            while !asked.load(Ordering::Relaxed) {
                db.query_one(&statement, &[])?;
                next += period;
                // A call that took longer is not made up for.
                next = next.max(Instant::now());
                pause(next.saturating_duration_since(Instant::now()));
            }
            Ok(())
        });
        Ticker {
            done,
            thread: Some(thread),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_) | Ok(Err(_))) = ended {
            eprintln!("warning: the ticker failed");
        }
    }
}
