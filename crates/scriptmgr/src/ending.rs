//! Signalling jobs and waiting for their end.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use skytools::daemon::Stop;
use skytools::process::Process;
use tracing::{error, info, warn};

use crate::account::Way;
use crate::job::Job;

/// Between two looks at processes that are to end: there is no other way to watch those of others.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// How long a job may take to end after SIGTERM, and after SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// One process, also when its id has become another one's.
#[derive(Debug)]
pub(crate) struct Target {
    pid: Pid,
    /// `None` where there is no `/proc`.
    process: Option<Process>,
    /// Where the system has them.
    handle: Option<OwnedFd>,
}

impl Target {
    pub(crate) fn new(pid: Pid) -> Target {
        Target {
            pid,
            handle: pidfd_open(pid, PidfdFlags::empty()).ok(),
            process: Process::read(pid),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        match &self.process {
            Some(process) => process.has_ended(),
            None => rustix::process::test_kill_process(self.pid) == Err(rustix::io::Errno::SRCH),
        }
    }

    /// Sends a signal, as the user of the job.
    fn signal(&self, job: &Job, signal: Signal) -> io::Result<()> {
        match job.service.account.as_ref().map(|account| account.way()) {
            Some(way @ Way::Sudo(_)) => signal_through(way, self.pid, signal),
            _ => match &self.handle {
                Some(handle) => Ok(pidfd_send_signal(handle, signal)?),
                None => Ok(kill_process(self.pid, signal)?),
            },
        }
    }
}

/// Has the program `kill` send a signal as somebody else.
fn signal_through(way: Way<'_>, pid: Pid, signal: Signal) -> io::Result<()> {
    let number = signal.as_raw();
    let line = way.wrap(format!("kill -{number} {pid}").into());
    let output = Command::new("sh").arg("-c").arg(line).output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(said.trim().to_owned()))
        }
    }
}

/// Sends a signal to a job, and says so if that fails.
pub(crate) fn signal(job: &Job, target: &Target, signal: Signal) -> bool {
    match target.signal(job, signal) {
        Ok(()) => true,
        // It got ahead of us.
        Err(_) if target.has_ended() => true,
        Err(problem) => {
            let (name, pid) = (&job.name, target.pid());
            warn!("cannot signal job {name}, process {pid}: {problem}");
            false
        }
    }
}

/// How long to wait for the end of jobs, and what then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// `None`: as long as it takes.
    pub(crate) limit: Option<Duration>,
    /// Whether jobs that outlast it are ended.
    pub(crate) is_forceful: bool,
}

/// Waits for the end of jobs that were asked to; returns those that run on, and says so.
pub(crate) fn wait<'a>(
    mut pending: Vec<(&'a Job, Target)>,
    patience: Patience,
    stop: &Stop,
) -> Vec<&'a Job> {
    let is_over = watch(&mut pending, patience.limit, stop);
    if is_over && patience.is_forceful {
        for (next, name) in [(Signal::TERM, "SIGTERM"), (Signal::KILL, "SIGKILL")] {
            for (job, target) in &pending {
                warn!("job {} still runs, sending {name}", job.name);
                signal(job, target, next);
            }
            if !watch(&mut pending, Some(GRACE), stop) {
                break;
            }
        }
    }
    for (job, target) in &pending {
        error!("job {} still runs, process {}", job.name, target.pid());
    }
    pending.into_iter().map(|(job, _)| job).collect()
}

/// Watches jobs and drops those that have ended; true if some outlast the limit.
fn watch(pending: &mut Vec<(&Job, Target)>, limit: Option<Duration>, stop: &Stop) -> bool {
    let start = Instant::now();
    loop {
        pending.retain(|(job, target)| {
            let has_ended = target.has_ended();
            if has_ended {
                info!("job {} has stopped", job.name);
            }
            !has_ended
        });
        if pending.is_empty() {
            return false;
        }
        if limit.is_some_and(|limit| start.elapsed() >= limit) {
            return true;
        }
        if stop.sleep(PAUSE) {
            return false;
        }
    }
}
