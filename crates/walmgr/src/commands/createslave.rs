use super::Work;
use crate::{Error, restore};

/// `createslave`
pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.slave("createslave")?;
    let job = work.job.common.job_name.as_str();
    restore::create::run(config, job, work.options, &work.context.stop)
}
