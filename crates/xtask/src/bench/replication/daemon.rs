//! Processes and threads that work beside a measurement, and end with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postgres::Client;
use rustix::process::Signal;
use testkit::Running;

use crate::Result;
use crate::process::pause;

/// Longest wait for a process to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks a program to end, and waits.
pub(super) fn stop(mut program: Running) -> Result {
    program.signal(Signal::INT)?;
    program.wait(PATIENCE)?;
    Ok(())
}

/// Fails if a program has ended.
pub(super) fn check(program: &mut Running) -> Result {
    match program.ended()? {
        None => Ok(()),
        Some(status) => Err(format!("a program ended by itself: {status}").into()),
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
