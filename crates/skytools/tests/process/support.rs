//! A directory with a configuration of the example program `job`, and the program in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use skytools::process::Process;
use testkit::{Output, Program, TestResult, wait_for, wait_until};

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    /// `job.ini` with log, pidfile and these keys; rounds follow each other quickly.
    pub(crate) fn new(keys: &str) -> TestResult<Dir> {
        let dir = Dir(tempfile::tempdir()?);
        dir.configure(&format!("loop_delay = 0.01\n{keys}"))?;
        Ok(dir)
    }

    /// Writes `job.ini` anew.
    pub(crate) fn configure(&self, keys: &str) -> TestResult {
        let text = format!("[job]\npidfile = job.pid\nlogfile = job.log\n{keys}\n");
        self.write("job.ini", &text)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> TestResult {
        // Renamed into place, so that a reader finds the old file or the new one.
        let new = self.path(&format!("{name}.part"));
        fs::write(&new, text)?;
        Ok(fs::rename(new, self.path(name))?)
    }

    /// A file's content, or nothing if it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(crate) fn job(&self, args: &[&str]) -> Program {
        Program::new("examples/job", self.0.path()).args(args)
    }

    /// Runs it to its end; whatever its code.
    pub(crate) fn run(&self, args: &[&str]) -> TestResult<Output> {
        self.job(args).output()
    }

    /// Starts a daemon and waits for its pidfile.
    pub(crate) fn daemon(&self, args: &[&str]) -> TestResult<Daemon> {
        self.job(args).succeed()?;
        self.daemon_at("job.pid")
    }

    /// The daemon that a pidfile names, once it is written.
    pub(crate) fn daemon_at(&self, pidfile: &str) -> TestResult<Daemon> {
        let path = self.path(pidfile);
        let pid = wait_for("the pidfile", SOON, || pid_in(&path))?;
        Ok(Daemon(pid))
    }

    pub(crate) fn wait_for_log(&self, text: &str) -> TestResult {
        self.wait_for_text("job.log", text)
    }

    pub(crate) fn wait_for_text(&self, name: &str, text: &str) -> TestResult {
        let found = wait_until(text, SOON, || Ok(self.read(name).contains(text)));
        found.map_err(|error| format!("{error}; {name}:\n{}", self.read(name)).into())
    }

    /// Rounds counted so far.
    pub(crate) fn rounds(&self) -> u64 {
        self.read("counter").parse().unwrap_or(0)
    }

    /// Waits until further rounds are counted.
    pub(crate) fn wait_for_rounds(&self) -> TestResult {
        let before = self.rounds();
        wait_until("another round", SOON, || {
            let now = self.rounds();
            Ok(now != before && now != 0)
        })
    }
}

pub(crate) fn pid_in(path: &Path) -> TestResult<Option<Pid>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Pid::from_raw(text.trim().parse()?)),
        Err(_) => Ok(None),
    }
}

/// A process in the background, killed when dropped.
pub(crate) struct Daemon(pub(crate) Pid);

impl Daemon {
    pub(crate) fn signal(&self, signal: Signal) -> TestResult {
        Ok(kill_process(self.0, signal)?)
    }

    /// Whether it runs; nobody may be there to reap it when it has ended.
    pub(crate) fn is_alive(&self) -> bool {
        Process::read(self.0).is_some_and(|process| !process.is_zombie())
    }

    pub(crate) fn wait_for_end(&self) -> TestResult {
        wait_until("the daemon to end", SOON, || Ok(!self.is_alive()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = kill_process(self.0, Signal::KILL);
        }
    }
}

/// The lines of a log without time and pid.
pub(crate) fn messages(log: &str) -> Vec<String> {
    log.lines()
        .map(|line| line.splitn(5, ' ').nth(4).unwrap_or(line).to_owned())
        .collect()
}
