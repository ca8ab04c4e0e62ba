use skytools::daemon;

use super::Work;
use crate::config::{MasterConfig, SlaveConfig};
use crate::sync::{self, Daemon};
use crate::{Config, Error, receiver};

/// `sync`
pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.master("sync")?.clone();
    sync::once(&config, work.context, work.options.not_really)
}

/// `syncdaemon`
pub(super) fn daemon(job: daemon::Job<Config>, config: MasterConfig) -> Result<(), Error> {
    Ok(job.run(|_| Daemon::new(config))?)
}

/// `syncdaemon` on the slave
pub(super) fn receiver(job: daemon::Job<Config>, config: SlaveConfig) -> Result<(), Error> {
    // Said on the terminal, before the daemon leaves it.
    receiver::need(&config)?;
    Ok(job.run(|_| receiver::Daemon::new(config))?)
}
