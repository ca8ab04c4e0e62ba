//! What a destination has applied: the tick stored there, and the verdict on a batch.

use postgres::GenericClient;

use crate::batch::Batch;
use crate::{ConsumerName, Error, TickId};

/// What to do with a batch, given the position at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not applied yet.
    Apply,
    /// Applied and committed, but not finished at the source.
    AlreadyApplied,
}

/// Compares a batch with the tick stored at the destination.
///
/// # Errors
/// [`Error::LostPosition`]: neither the batch's start nor its end.
pub fn check(batch: &Batch, stored: Option<TickId>) -> Result<Verdict, Error> {
    match stored {
        None => Ok(Verdict::Apply),
        Some(tick) if tick == batch.prev_tick => Ok(Verdict::Apply),
        Some(tick) if tick == batch.tick => Ok(Verdict::AlreadyApplied),
        Some(applied) => Err(Error::LostPosition {
            start: batch.prev_tick,
            end: batch.tick,
            applied,
        }),
    }
}

/// The last tick applied, kept by `SCHEMA.get_last_tick`: `pgq_ext` or `londiste`.
///
/// # Errors
/// The schema is missing.
pub fn last_tick(
    db: &mut impl GenericClient,
    schema: &str,
    consumer: &ConsumerName,
) -> Result<Option<TickId>, Error> {
    let _ = (db, schema, consumer);
    unimplemented!("owner: pgq helper")
}

/// Stores the last tick applied; `None` forgets it. Belongs into the transaction of the effects.
///
/// # Errors
/// The schema is missing.
pub fn set_last_tick(
    db: &mut impl GenericClient,
    schema: &str,
    consumer: &ConsumerName,
    tick: Option<TickId>,
) -> Result<(), Error> {
    let _ = (db, schema, consumer, tick);
    unimplemented!("owner: pgq helper")
}
