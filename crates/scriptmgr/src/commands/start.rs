use std::fs;
use std::path::Path;

use rustix::process::Pid;
use tracing::{error, info, warn};

use super::Work;
use crate::job::Job;
use crate::launch::{Launched, launch, wait_alive};
use crate::state::State;

/// Starts the jobs that do not run; false if one fails, or did not come to life.
pub(super) fn run(work: &Work<'_>) -> bool {
    start(work, &work.selection.jobs)
}

/// Starts jobs one after the other, and waits for all of them together.
pub(super) fn start(work: &Work<'_>, jobs: &[&Job]) -> bool {
    // Jobs have been stopped since the first look.
    let look = work.look.again();
    let mut launched = Vec::new();
    let mut all_well = true;
    for job in jobs {
        let name = &job.name;
        if work.stop.requested() {
            error!("interrupted, job {name} was not started");
            all_well = false;
            continue;
        }
        let Some(pidfile) = job.pidfile.as_deref().filter(|_| !job.is_disabled) else {
            match job.is_disabled {
                true => info!("job {name} is disabled"),
                false => warn!("job {name} has no pidfile, it is not started"),
            }
            continue;
        };
        let squatter = match look.state(job) {
            State::Stopped { squatter } => squatter,
            State::Running(_) | State::NoPidfile => {
                warn!("job {name} seems running");
                continue;
            }
            State::Unknown(problem) => {
                error!("cannot tell whether job {name} runs: {problem}");
                all_well = false;
                continue;
            }
        };
        if let Some(pid) = squatter.filter(|_| job.service.is_own) {
            remove(pidfile, pid);
        }
        info!("starting job {name}");
        if launch(job, work.config, &work.stop) {
            launched.push(Launched {
                job,
                pidfile,
                squatter,
            });
        } else if matches!(look.again().state(job), State::Running(_)) {
            warn!("job {name} seems running, somebody else has started it");
        } else {
            all_well = false;
        }
    }
    all_well & wait_alive(launched, work.config.start_timeout, &work.stop)
}

/// Removes a pidfile that names a process which is something else: our programs, which hold a lock
/// besides, would take it for one of theirs.
fn remove(pidfile: &Path, pid: Pid) {
    let named = fs::read_to_string(pidfile).unwrap_or_default();
    if named.trim() == pid.to_string() {
        warn!("removing {}", pidfile.display());
        // The program says what is wrong if it is still there.
        let _ = fs::remove_file(pidfile);
    }
}
