use rustix::process::Signal;

use super::{Work, start, stop};
use crate::ending;
use crate::job::Job;

/// Stops jobs, waits until they have ended, and starts them, also those that did not run. One that runs
/// on is left alone; false if there is one, or if one does not come to life.
pub(super) fn run(work: &Work<'_>) -> bool {
    // A disabled job would not come back.
    let jobs = work.selection.jobs.iter().copied();
    let (disabled, jobs): (Vec<&Job>, Vec<&Job>) = jobs.partition(|job| job.is_disabled);
    let (pending, mut all_well) = stop::signal(work, &jobs, Signal::INT, "stopping");
    let stubborn = ending::wait(pending, stop::patience(work), &work.stop);
    all_well &= stubborn.is_empty();
    let has_ended = |job: &&Job| !stubborn.iter().any(|other| std::ptr::eq(*other, *job));
    let mut rest: Vec<&Job> = jobs.into_iter().filter(has_ended).collect();
    rest.extend(disabled);
    start::start(work, &rest) && all_well
}
