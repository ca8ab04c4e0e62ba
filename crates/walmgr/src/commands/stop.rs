use skytools::daemon::Signal;
use tracing::{info, warn};

use super::Work;
use crate::Error;
use crate::server::change::{Change, Setting};

/// `stop`: archiving is off, and WAL does not pile up.
pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.master("stop")?;
    let mut change = Change::begin(config)?;
    let settings = [Setting::new("archive_command", "/bin/true")];
    if work.options.not_really {
        return Ok(skytools::app::output(change.show(&settings)?)?);
    }
    change.apply(&settings)?;
    change.reload()?;
    change.verify(&settings)?;
    warn!(
        "archiving is off: base backups are good up to this moment only, and after the next setup a new one is \
         needed"
    );
    if work.job.common.pidfile.is_some() {
        info!("stopping syncdaemon, if it runs");
        work.job.deliver(Signal::Stop);
    }
    Ok(())
}
