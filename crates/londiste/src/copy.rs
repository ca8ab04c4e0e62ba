//! The process that fills a table and hands it over to replay.

use skytools::daemon::Job;

use crate::{Config, Error};

/// Fill one table and hand it over to replay
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Table to copy, needed with `parallel_copies` above 1; default: the one in progress
    pub(crate) table: Option<String>,
}

/// Copies the table, catches up, and hands it over.
pub(crate) fn run(job: Job<Config>, args: &Args) -> Result<(), Error> {
    let _ = (job, args);
    unimplemented!("owner: replay helper")
}
