use super::Work;
use crate::Error;
use crate::sets::retention;

/// `xrstpt`: the first segment that the standby needs when it is started again, and its restart point.
pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.slave("xrstpt")?;
    let (segment, lsn) = retention::restart_position(config, &config.data)?;
    Ok(skytools::app::output(format!("{segment} {lsn}\n"))?)
}
