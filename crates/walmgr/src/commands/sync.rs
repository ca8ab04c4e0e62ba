use skytools::daemon;

use super::Work;
use crate::config::MasterConfig;
use crate::sync::{self, Daemon};
use crate::{Config, Error};

/// `sync`
pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.master("sync")?.clone();
    sync::once(&config, work.context, work.options.not_really)
}

/// `syncdaemon`
pub(super) fn daemon(job: daemon::Job<Config>, config: MasterConfig) -> Result<(), Error> {
    Ok(job.run(|_| Daemon::new(config))?)
}
