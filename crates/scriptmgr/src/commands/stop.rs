use std::time::Duration;

use rustix::process::Signal;
use tracing::{error, info, warn};

use super::Work;
use crate::ending::{self, Patience, Target};
use crate::job::Job;
use crate::state::State;

/// Asks jobs to end, and waits for it; false if one cannot be asked, or runs on.
pub(super) fn run(work: &Work<'_>) -> bool {
    let patience = patience(work);
    let (pending, all_well) = signal(work, &work.selection.jobs, Signal::INT, "stopping");
    match patience.limit {
        Some(Duration::ZERO) if !patience.is_forceful => all_well,
        _ => ending::wait(pending, patience, &work.stop).is_empty() && all_well,
    }
}

/// How long to wait for the end of jobs.
pub(super) fn patience(work: &Work<'_>) -> Patience {
    Patience {
        limit: work.options.patience(work.config.stop_timeout),
        is_forceful: work.options.force,
    }
}

/// Sends a signal to the jobs that run. Returns those that got it, and whether it is none's fault if
/// others did not.
pub(super) fn signal<'a>(
    work: &Work<'_>,
    jobs: &[&'a Job],
    signal: Signal,
    action: &str,
) -> (Vec<(&'a Job, Target)>, bool) {
    let mut signalled: Vec<(&'a Job, Target)> = Vec::new();
    let mut all_well = true;
    for job in jobs {
        let name = &job.name;
        if job.is_disabled && !work.selection.is_named {
            info!("job {name} is disabled");
            continue;
        }
        match work.look.state(job) {
            State::NoPidfile => warn!("job {name} has no pidfile"),
            State::Stopped { .. } => warn!("job {name} is not running"),
            State::Unknown(problem) => {
                error!("cannot tell whether job {name} runs: {problem}");
                all_well = false;
            }
            State::Running(target) if is_among(&signalled, &target) => {
                // A second signal within a second would end it at once.
                warn!("job {name} is process {} of another job", target.pid());
            }
            State::Running(target) => {
                info!("{action} job {name}");
                match ending::signal(job, &target, signal) {
                    true => signalled.push((*job, target)),
                    false => all_well = false,
                }
            }
        }
    }
    (signalled, all_well)
}

/// Whether a process is that of one of the jobs.
fn is_among(jobs: &[(&Job, Target)], target: &Target) -> bool {
    jobs.iter().any(|(_, other)| other.pid() == target.pid())
}
