use rustix::process::Signal;

use super::{Work, stop};

/// Has jobs read their configuration again; false if one cannot be asked to.
pub(super) fn run(work: &Work<'_>) -> bool {
    let (_, all_well) = stop::signal(work, &work.selection.jobs, Signal::HUP, "reloading");
    all_well
}
