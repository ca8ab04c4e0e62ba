//! The process that applies the queue on the subscriber.
//!
//! * [`worker`]: the work loop; [`join`], [`attach`]: finding the provider, and the place in its queue
//! * [`mirror`]: the queue of a relay
//! * [`state`], [`handshake`]: who applies the events of a table that is being copied
//! * [`supervisor`]: the copy processes
//! * [`ahead`], [`stream`], [`chunk`], [`apply`], [`control`]: from events to statements; [`careful`]: once more, when that
//!   fails
//! * [`merging`]: whether a batch may be made of several ticks
//! * [`fkeys`], [`sequences`]: what comes beside events
//!
//! `copy` is built from the same parts.

mod ahead;
pub(crate) mod apply;
pub(crate) mod attach;
pub(crate) mod careful;
mod chunk;
pub(crate) mod control;
pub(crate) mod fkeys;
pub(crate) mod handshake;
pub(crate) mod job;
pub(crate) mod join;
mod merging;
pub(crate) mod mirror;
pub(crate) mod order;
pub(crate) mod pace;
mod sequences;
pub(crate) mod session;
pub(crate) mod state;
pub(crate) mod stream;
mod supervisor;
pub(crate) mod trouble;
mod worker;

use skytools::daemon::Job;

use crate::{Config, Error};
use job::Settings;
use session::Session;

/// Applies batches until stopped.
pub(crate) fn run(job: Job<Config>) -> Result<(), Error> {
    let settings = Settings::new(&job)?;
    Ok(job.run(|job| {
        let (provider, subscriber) = sessions(job, &settings)?;
        let spare = job.config.subscriber(&job.common)?;
        Ok(worker::Replay::new(
            settings,
            &job.common,
            provider,
            subscriber,
            spare,
        ))
    })?)
}

/// Moves the consumer on the provider to the position stored on the subscriber.
pub(crate) fn rewind(job: Job<Config>) -> Result<(), Error> {
    let settings = Settings::new(&job)?;
    Ok(job.run_command(|job, context| {
        let (mut provider, mut subscriber) = sessions(job, &settings)?;
        subscriber.lock(&settings.consumer, &context.stop)?;
        attach::rewind(&settings, &mut provider, &mut subscriber)
    })?)
}

/// Forgets the position stored on the subscriber.
pub(crate) fn reset(job: Job<Config>) -> Result<(), Error> {
    let settings = Settings::new(&job)?;
    Ok(job.run_command(|job, context| {
        let (_, mut subscriber) = sessions(job, &settings)?;
        subscriber.lock(&settings.consumer, &context.stop)?;
        attach::reset(&settings, &mut subscriber)
    })?)
}

/// Both sides of the job.
pub(crate) fn sessions(
    job: &Job<Config>,
    settings: &Settings,
) -> Result<(Session, Session), Error> {
    let provider = Session::provider(job.config.provider(&job.common)?);
    let subscriber = Session::subscriber(job.config.subscriber(&job.common)?, settings.apply_role);
    Ok((provider, subscriber))
}
