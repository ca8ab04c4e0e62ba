//! Starting jobs and waiting until they run.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use skytools::daemon::Stop;
use skytools::pidfile::{self, Status};
use skytools::shell;
use tracing::{error, info, warn};

use crate::Config;
use crate::account::Way;
use crate::ending::{PAUSE, Target};
use crate::job::Job;

/// Between two looks whether a program has gone to the background.
const BLINK: Duration = Duration::from_millis(10);

/// How long a job that runs is watched: one that cannot work ends at once.
const TRIAL: Duration = Duration::from_millis(500);

/// Starts the program of a job and waits until it has gone to the background; false if it does not, and
/// the log says why.
pub(crate) fn launch(job: &Job, config: &Config, stop: &Stop) -> bool {
    let name = &job.name;
    let cwd = &job.service.cwd;
    if !cwd.is_dir() {
        let cwd = cwd.display();
        error!("cannot start job {name}: cwd {cwd} is no directory, or may not be entered");
        return false;
    }
    let way = match &job.service.account {
        Some(account) => account.way(),
        None => Way::Already,
    };
    let child = Command::new("sh")
        .arg("-c")
        .arg(way.wrap(command(job)))
        .envs(way.environment())
        .current_dir(cwd)
        .spawn();
    let problem = match child {
        Err(error) => error.to_string(),
        Ok(child) => match wait(child, config.launch_timeout, stop) {
            Ok(status) if status.success() => return true,
            Ok(status) => status.to_string(),
            Err(problem) => problem,
        },
    };
    error!("cannot start job {name}: {problem}{}", job.hint());
    false
}

/// What the shell runs: `SCRIPT CONFIG ARGS -d`.
fn command(job: &Job) -> OsString {
    let mut text = job.service.script.clone();
    text.push(" ");
    text.push(shell::quote(&job.config));
    if !job.service.args.is_empty() {
        text.push(" ");
        text.push(&job.service.args);
    }
    text.push(" -d");
    text
}

/// Waits for the end of what was started. What takes too long is left alone.
fn wait(mut child: Child, limit: Duration, stop: &Stop) -> Result<ExitStatus, String> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        let pid = child.id();
        if !limit.is_zero() && start.elapsed() >= limit {
            let limit = limit.as_secs_f64();
            return Err(format!(
                "it has not gone to the background in {limit} s, process {pid}"
            ));
        }
        if stop.sleep(BLINK) {
            return Err(format!("interrupted, process {pid} goes on"));
        }
    }
}

/// A job whose program has gone to the background.
#[derive(Debug)]
pub(crate) struct Launched<'a> {
    pub(crate) job: &'a Job,
    pub(crate) pidfile: &'a Path,
    /// A process that the pidfile named before, and that is not the job.
    pub(crate) squatter: Option<Pid>,
}

/// Waits until all jobs run, and have run for a moment; false if one does not, and the log says so.
pub(crate) fn wait_alive(launched: Vec<Launched<'_>>, limit: Duration, stop: &Stop) -> bool {
    let start = Instant::now();
    let mut all_well = true;
    let mut pending: Vec<(Launched, Option<Seen>)> = launched
        .into_iter()
        .map(|launched| (launched, None))
        .collect();
    loop {
        let is_over = start.elapsed() >= limit;
        let is_interrupted = stop.requested();
        pending.retain_mut(|(launched, seen)| {
            if seen.is_none() {
                *seen = launched.look();
            }
            match launched.verdict(seen.as_ref(), is_over, is_interrupted) {
                None => true,
                Some(is_well) => {
                    all_well &= is_well;
                    false
                }
            }
        });
        if pending.is_empty() {
            return all_well;
        }
        stop.sleep(PAUSE);
    }
}

/// The process of a job, and since when it is known.
struct Seen {
    target: Target,
    since: Instant,
}

impl Launched<'_> {
    /// Looks whether it runs.
    fn look(&self) -> Option<Seen> {
        match pidfile::status(self.pidfile) {
            Ok(Status::Running(pid)) if Some(pid) != self.squatter => Some(Seen {
                target: Target::new(pid),
                since: Instant::now(),
            }),
            _ => None,
        }
    }

    /// Whether it runs, once that is clear; nobody waits any longer when the time is over.
    fn verdict(&self, seen: Option<&Seen>, is_over: bool, is_interrupted: bool) -> Option<bool> {
        let (name, hint) = (&self.job.name, self.job.hint());
        match seen {
            Some(seen) if seen.target.has_ended() => {
                error!("job {name} ended right after its start{hint}");
                Some(false)
            }
            Some(seen) if seen.since.elapsed() >= TRIAL || is_interrupted => {
                info!("job {name} runs");
                Some(true)
            }
            Some(_) => None,
            None if is_over || is_interrupted => {
                let pidfile = self.pidfile.display();
                warn!("job {name} was started, but {pidfile} names no live process{hint}");
                Some(false)
            }
            None => None,
        }
    }
}
