//! The frame of the movers: programs that apply batch after batch of a queue in another database.
//!
//! A program brings a [`Mover`]: its keys, and what it does with a batch. [`run`] does the rest, the
//! same for all of them: options, configuration, position and lock at the target, registration,
//! reloading, statistics, and a dry run.
//!
//! ```no_run
//! # use pgq::consumer::OpenBatch;
//! # use pgq::mover::{Mover, Report};
//! # use skytools::daemon::JobError;
//! # use skytools::db::{During, Tx};
//! # #[derive(Debug, thiserror::Error)]
//! # #[error(transparent)]
//! # enum Error { Queue(#[from] pgq::Error), Job(#[from] JobError) }
//! /// Counts the events of a queue in another database.
//! struct Counter;
//!
//! impl Mover for Counter {
//!     type Config = ();
//!     type Error = Error;
//!
//!     fn new((): ()) -> Result<Counter, Error> {
//!         Ok(Counter)
//!     }
//!
//!     fn apply(
//!         &mut self,
//!         batch: &mut OpenBatch<'_>,
//!         target: &mut Tx<'_>,
//!         report: &mut Report,
//!     ) -> Result<(), Error> {
//!         batch.for_each(|_| {
//!             let sql = "update counters set events = events + 1";
//!             report.of("counters").updated += target.execute(sql, &[]).during("count").map_err(pgq::Error::from)?;
//!             Ok(())
//!         })
//!     }
//!
//!     fn as_queue_error(error: &Error) -> Option<&pgq::Error> {
//!         match error {
//!             Error::Queue(error) => Some(error),
//!             _ => None,
//!         }
//!     }
//! }
//! ```

mod args;
mod config;
mod courier;
pub mod drift;
mod halving;
pub mod partition;
mod place;
pub mod queue;
mod report;
mod rights;
pub mod row;
mod run;
mod worker;

use serde::de::DeserializeOwned;
use skytools::daemon::JobError;
use skytools::db::{Connection, Tx};

pub use args::MoverArgs;
pub use config::{Databases, MoverConfig};
pub use courier::Courier;
pub use place::Place;
pub use report::{Counts, Report};
pub use rights::Needs;
pub use run::run;

use self::row::Rows;
use crate::Error;
use crate::consumer::{ConsumerConfig, OpenBatch};

/// What one program does with a batch.
pub trait Mover: Sized {
    /// The program's keys, beside those of every mover.
    type Config: DeserializeOwned + Clone;
    /// What a batch, or the start, can fail with.
    type Error: std::error::Error + From<Error> + From<JobError> + Send + Sync + 'static;

    /// Checks the keys; connects to nothing. Also called with a changed configuration: if that fails,
    /// the old one stays.
    ///
    /// # Errors
    /// The keys make no sense.
    fn new(config: Self::Config) -> Result<Self, Self::Error>;

    /// Looks once per run, before anything is registered, whether the job makes sense.
    ///
    /// # Errors
    /// It does not.
    fn check(
        &mut self,
        consumer: &ConsumerConfig,
        source: &mut Connection,
        target: &mut Connection,
    ) -> Result<(), Self::Error> {
        let _ = (consumer, source, target);
        Ok(())
    }

    /// Makes at the target what has to be committed before the rows; true if there was anything.
    ///
    /// # Errors
    /// Nothing is committed then, and the batch comes again.
    fn prepare(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<bool, Self::Error> {
        let _ = (batch, target, report);
        Ok(false)
    }

    /// Applies the batch in the target's transaction, which also holds the new position.
    ///
    /// # Errors
    /// Nothing is applied then, and the batch comes again.
    fn apply(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<(), Self::Error>;

    /// Whether `apply` broke off because something was not prepared, and `prepare` knows what by now: the
    /// transaction is undone then, and both steps are gone through again.
    fn is_unprepared(error: &Self::Error) -> bool {
        let _ = error;
        false
    }

    /// What it reads row events with, if [`OpenBatch::stream`] is how it gets all of them: then the frame can
    /// find out which ones the target refuses, see `bad_row_limit`.
    fn rows(&self) -> Option<&Rows> {
        None
    }

    /// What it does at the target, so that a role that may not is told the grants that it lacks.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Looks after the target between two batches, outside of any transaction. What it fails with is
    /// logged, and the work goes on.
    ///
    /// # Errors
    /// Something could not be done.
    fn maintain(&mut self, target: &mut Connection) -> Result<(), Self::Error> {
        let _ = target;
        Ok(())
    }

    /// Forgets what it knows of the target, after a failed round.
    fn forget(&mut self) {}

    /// The part of an error that is the queue's.
    fn as_queue_error(error: &Self::Error) -> Option<&Error>;

    /// Whether it is of no use to try again: a person has to change something.
    fn is_fatal(error: &Self::Error) -> bool {
        let _ = error;
        false
    }
}
