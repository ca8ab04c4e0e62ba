//! The process that fills a table and hands it over to replay.
//!
//! * [`worker`]: the work loop: copy, catch up, hand over
//! * [`transfer`]: filling the table, in one transaction
//! * [`analysis`]: statistics of the rows
//! * [`structure`]: indexes that are dropped meanwhile, and come back as they were
//! * [`source`]: copying from another node than the provider
//! * [`watch`]: breaking off when the table is not wanted any more; [`progress`]: how far it is

mod analysis;
mod progress;
pub(crate) mod source;
mod structure;
mod transfer;
mod watch;
mod worker;

use skytools::daemon::Job;
use skytools::table::TableName;

use self::analysis::Analysis;
use crate::replay::job::{Settings, copy_pidfile_suffix};
use crate::{Config, Error, replay};

/// Fill one table and hand it over to replay
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Table to copy, needed with `parallel_copies` above 1; default: the one in progress
    pub(crate) table: Option<String>,
}

/// Copies the table, catches up, and hands it over.
pub(crate) fn run(job: Job<Config>, args: &Args) -> Result<(), Error> {
    let settings = Settings::new(&job)?;
    let table = (args.table.as_deref())
        .map(TableName::parse_argument)
        .transpose()?
        .map(|table| table.to_string());
    let job = job.with_pidfile_suffix(&copy_pidfile_suffix(table.as_deref()));
    Ok(job.run(|job| {
        let (provider, subscriber) = replay::sessions(job, &settings)?;
        let (home, _) = replay::sessions(job, &settings)?;
        let watch = job.config.subscriber(&job.common)?;
        let analysis = Analysis::new(job.config.subscriber(&job.common)?);
        Ok(worker::Copier::new(
            settings, table, provider, home, subscriber, watch, analysis,
        ))
    })?)
}
