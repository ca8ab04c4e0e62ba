//! Programs that went to the background, and the logs they write.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{TestResult, wait_for, wait_until};

/// A daemon, known by its pidfile; killed when dropped.
#[derive(Debug)]
pub struct Job {
    pidfile: PathBuf,
    kept: bool,
}

impl Job {
    /// The daemon that writes `pidfile`, running or not.
    pub fn new(pidfile: impl Into<PathBuf>) -> Job {
        Job {
            pidfile: pidfile.into(),
            kept: false,
        }
    }

    /// Lets it run on.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Its process id, if it runs.
    pub fn pid(&self) -> Option<Pid> {
        let pid = fs::read_to_string(&self.pidfile).ok()?;
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw)?;
        is_alive(pid).then_some(pid)
    }

    /// Waits until it runs.
    ///
    /// # Errors
    /// It does not within `timeout`.
    pub fn wait_alive(&self, timeout: Duration) -> TestResult<Pid> {
        wait_for(
            &format!("a live process in {}", self.pidfile.display()),
            timeout,
            || Ok(self.pid()),
        )
    }

    /// Waits until it does not run.
    ///
    /// # Errors
    /// It still does after `timeout`.
    pub fn wait_gone(&self, timeout: Duration) -> TestResult {
        wait_until(
            &format!("the process in {} to end", self.pidfile.display()),
            timeout,
            || Ok(self.pid().is_none()),
        )
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// It does not run, or somebody else started another one in its place.
    pub fn kill(&self) -> TestResult {
        let pid = self
            .pid()
            .ok_or_else(|| format!("no live process in {}", self.pidfile.display()))?;
        kill_process(pid, Signal::KILL)?;
        wait_until("a killed process to end", Duration::from_secs(10), || {
            Ok(!is_alive(pid))
        })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.kept {
            // One that does not run is as good.
            let _ = self.kill();
        }
    }
}

/// Whether a process runs; one that waits to be reaped does not, unless threads of it are still ending.
fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    // `PID (NAME) STATE ...`, and the name may hold anything. The number of threads is field 20.
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return false;
    };
    let threads = rest.split(' ').nth(17);
    !rest.starts_with(['Z', 'X']) || threads != Some("1")
}

/// Records of a log at level WARNING or worse that contain none of the `expected` texts.
///
/// # Errors
/// The file cannot be read; one that does not exist has no records.
pub fn log_problems(log: &Path, expected: &[&str]) -> TestResult<Vec<String>> {
    let bytes = match fs::read(log) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", log.display()).into()),
    };
    let text = String::from_utf8_lossy(&bytes);
    Ok(text
        .lines()
        .filter(|line| {
            let level = line.split(' ').nth(3);
            matches!(level, Some("WARNING" | "ERROR" | "CRITICAL"))
                && !expected.iter().any(|text| line.contains(text))
        })
        .map(str::to_owned)
        .collect())
}
