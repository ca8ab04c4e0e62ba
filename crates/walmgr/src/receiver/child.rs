//! The process of the receiver. It is known by a pidfile in its directory, and outlives a daemon that is killed:
//! then it goes on, and the next daemon ends it before it starts its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use skytools::daemon::Stop;
use skytools::failpoint;
use skytools::pidfile::{self, Status};
use skytools::process::Process;
use tracing::{info, warn};

use crate::config::{ReceiverConfig, SlaveConfig};
use crate::server::DataDir;
use crate::{Error, durable};

const PROGRAM: &str = "pg_receivewal";

/// How long a receiver may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(10);

fn pidfile(dir: &Path) -> PathBuf {
    dir.join(".receiver.pid")
}

/// The receiver that writes into a directory, if one lives.
pub(crate) fn pid(dir: &Path) -> Option<Pid> {
    match pidfile::status(&pidfile(dir)) {
        Ok(Status::Running(pid)) if is_receiver(pid) => Some(pid),
        _ => None,
    }
}

/// Names of programs are cut there to 15 characters, which is more than this one has.
fn is_receiver(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == PROGRAM)
}

/// Ends the receiver that writes into a directory, if one lives, and waits until it has.
///
/// # Errors
/// It belongs to somebody else.
pub(crate) fn end(dir: &Path) -> Result<(), Error> {
    let Some(process) = pid(dir).and_then(Process::read) else {
        return Ok(());
    };
    let pid = process.pid();
    info!(%pid, "ending the receiver");
    for (signal, patience) in [(Signal::INT, PATIENCE), (Signal::KILL, PATIENCE)] {
        let begun = Instant::now();
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(Error::io("signal", &pidfile(dir), error.into())),
        }
        while begun.elapsed() < patience {
            if process.has_ended() {
                return Ok(());
            }
            Stop::default().sleep(Duration::from_millis(20));
        }
    }
    Err(Error::Refused(format!(
        "the receiver (pid {pid}) does not end"
    )))
}

/// The receiver of this daemon; ended when it is dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    dir: PathBuf,
    /// Lines that it has said and nobody has told yet.
    said: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Child {
    /// Starts it, after one that was left has ended.
    pub(super) fn start(config: &SlaveConfig, receiver: &ReceiverConfig) -> Result<Child, Error> {
        let mut program = DataDir::new(&config.data, config.bin.as_deref()).program(PROGRAM);
        program
            // It flushes what it gets at once, and says so: commits may wait for it.
            .args(["--synchronous", "--no-loop", "--no-password", "--slot"])
            .arg(&receiver.slot)
            .arg("--directory")
            .arg(&receiver.dir)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        receiver
            .conninfo
            .pass("--dbname", &receiver.slot, &mut program);
        let mut process = program.spawn().map_err(|error| Error::Program {
            what: PROGRAM.to_owned(),
            problem: error.to_string(),
        })?;
        let said = Arc::default();
        let reader = process
            .stderr
            .take()
            .map(|stderr| collect(stderr, Arc::clone(&said)));
        let child = Child {
            process,
            dir: receiver.dir.clone(),
            said,
            reader,
        };
        failpoint::step("receiver.started");
        let path = pidfile(&receiver.dir);
        durable::write(&path, format!("{}\n", child.process.id()).as_bytes())
            .map_err(|error| Error::io("write", &path, error))?;
        Ok(child)
    }

    /// How it has ended, if it has.
    pub(super) fn ending(&mut self) -> Result<Option<Error>, Error> {
        let status = self
            .process
            .try_wait()
            .map_err(|error| Error::io("wait for the receiver in", &self.dir, error))?;
        let Some(status) = status else {
            return Ok(None);
        };
        // All that it has said is read when its end of the pipe is closed.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let said = self.take();
        let problem = match said.is_empty() {
            true => status.to_string(),
            false => said.join("; "),
        };
        Ok(Some(Error::Program {
            what: PROGRAM.to_owned(),
            problem,
        }))
    }

    /// Logs what it has said while it goes on.
    pub(super) fn report(&self) {
        for line in self.take() {
            warn!("{line}");
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Err(error) = end(&self.dir) {
            warn!("{}", skytools::app::chain(&error));
        }
        // Not known by the pidfile, it was only just started.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = durable::remove(&pidfile(&self.dir));
    }
}

fn collect(stderr: ChildStderr, said: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    /// Lines that are kept of a program that says much.
    const MOST: usize = 20;
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.len() < MOST {
                let line = line.strip_prefix("pg_receivewal: ").unwrap_or(&line);
                said.push(line.to_owned());
            }
        }
    })
}
