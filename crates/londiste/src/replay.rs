//! The process that applies the queue on the subscriber.

use skytools::daemon::Job;

use crate::{Config, Error};

/// Applies batches until stopped.
pub(crate) fn run(job: Job<Config>) -> Result<(), Error> {
    let _ = job;
    unimplemented!("owner: replay helper")
}

/// Moves the consumer on the provider to the position stored on the subscriber.
pub(crate) fn rewind(job: Job<Config>) -> Result<(), Error> {
    let _ = job;
    unimplemented!("owner: replay helper")
}

/// Forgets the position stored on the subscriber.
pub(crate) fn reset(job: Job<Config>) -> Result<(), Error> {
    let _ = job;
    unimplemented!("owner: replay helper")
}
