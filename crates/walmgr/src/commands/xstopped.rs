use super::Work;
use crate::Error;
use crate::archive::stopped;

/// `xstopped`: the master does not archive any more.
pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let archive = &work.slave("xstopped")?.completed_wals;
    if work.options.not_really || !archive.is_dir() {
        return Ok(());
    }
    Ok(stopped::note(archive)?)
}
