//! Cooperative consumers: several processes, called subconsumers, share the batches of one consumer.
//!
//! Each batch goes to one of them. Batches are worked on at the same time, so events come in no
//! particular order. A subconsumer that has shown no sign of life for a while loses its batch to
//! another, which then handles the same events: handlers have to bear that.
//!
//! ```no_run
//! # use pgq::{ConsumerName, Error, QueueName, SubconsumerName, batch, coop};
//! # fn round(db: &mut postgres::Client) -> Result<(), Error> {
//! let (queue, consumer) = (QueueName::from("orders"), ConsumerName::from("mailer"));
//! let member = SubconsumerName::from("host1");
//! if let Some(open) = coop::next_batch(db, &queue, &consumer, &member, Some("10 minutes"))? {
//!     for event in batch::events(db, open.id, None)? {
//!         // …
//!     }
//!     coop::finish_batch(db, open.id)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The database needs the schema `pgq_coop`.

use postgres::types::Type;
use skytools::db::{During, GenericClient};

use crate::batch::{self, Batch, BatchWish};
use crate::{BatchId, ConsumerName, Error, QueueName, SubconsumerName};

/// What becomes of the open batch of a subconsumer that goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpenBatch {
    /// The subconsumer stays: it is an error.
    #[default]
    Refuse,
    /// Nobody will handle its events: they are lost to the consumer.
    Drop,
    /// Its events are delivered once more, to other members. Not on servers of the 3.x line.
    Retry,
}

/// Registers a subconsumer, and its consumer if need be. False if it was registered already.
///
/// # Errors
/// The queue does not exist or has no tick yet.
pub fn register_subconsumer(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    subconsumer: &SubconsumerName,
) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pgq_coop.register_subconsumer($1, $2, $3)",
            &[
                (queue, Type::TEXT),
                (consumer, Type::TEXT),
                (subconsumer, Type::TEXT),
            ],
        )
        .during("register the subconsumer")?;
    Ok(row.get::<_, i32>(0) == 1)
}

/// Removes a subconsumer. False if it was not registered.
///
/// # Errors
/// It has an open batch, and `open` is [`OpenBatch::Refuse`].
pub fn unregister_subconsumer(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    subconsumer: &SubconsumerName,
    open: OpenBatch,
) -> Result<bool, Error> {
    let handling = match open {
        OpenBatch::Refuse => 0,
        OpenBatch::Drop => 1,
        OpenBatch::Retry => 2,
    };
    let row = db
        .query_typed_one(
            "select pgq_coop.unregister_subconsumer($1, $2, $3, $4)",
            &[
                (queue, Type::TEXT),
                (consumer, Type::TEXT),
                (subconsumer, Type::TEXT),
                (&handling, Type::INT4),
            ],
        )
        .during("unregister the subconsumer")?;
    Ok(row.get::<_, i32>(0) == 1)
}

/// Opens the next batch of the consumer for a subconsumer, or returns the one it has open; `None`
/// when no tick has passed. Registers what is not registered.
///
/// With `dead_interval` (PostgreSQL interval text) a subconsumer that was silent for longer is
/// removed, and its batch taken over.
///
/// # Errors
/// The queue does not exist; the consumer has a batch open by itself.
pub fn next_batch(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    subconsumer: &SubconsumerName,
    dead_interval: Option<&str>,
) -> Result<Option<Batch>, Error> {
    next_batch_like(
        db,
        queue,
        consumer,
        subconsumer,
        dead_interval,
        &BatchWish::default(),
    )
}

/// As [`next_batch`], but opens only a batch that fulfils `wish`.
///
/// # Errors
/// As [`next_batch`]; or an interval does not parse.
pub fn next_batch_like(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    subconsumer: &SubconsumerName,
    dead_interval: Option<&str>,
    wish: &BatchWish,
) -> Result<Option<Batch>, Error> {
    let row = db
        .query_typed_one(
            "select pgq_coop.next_batch_custom($1, $2, $3, $4::interval, $5, $6::interval, \
             $7::interval)",
            &[
                (queue, Type::TEXT),
                (consumer, Type::TEXT),
                (subconsumer, Type::TEXT),
                (&wish.keep_lag, Type::TEXT),
                (&wish.min_count, Type::INT4),
                (&wish.min_interval, Type::TEXT),
                (&dead_interval, Type::TEXT),
            ],
        )
        .during("ask for the next batch")?;
    match row.get(0) {
        Some(id) => batch::with_ticks(db, id).map(Some),
        None => Ok(None),
    }
}

/// Ends the batch of a subconsumer. False if it is not open (any more).
///
/// # Errors
/// The statement failed.
pub fn finish_batch(db: &mut impl GenericClient, batch: BatchId) -> Result<bool, Error> {
    let row = db
        .query_typed_one("select pgq_coop.finish_batch($1)", &[(&batch, Type::INT8)])
        .during("finish the batch")?;
    Ok(row.get::<_, i32>(0) == 1)
}

/// Says that a subconsumer is alive, so that a long batch is not taken over; others see it after the
/// commit. False if it is not registered: then its batch has gone to another one. Not on servers of
/// the 3.x line.
///
/// # Errors
/// The statement failed.
pub fn touch_subconsumer(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    subconsumer: &SubconsumerName,
) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pgq_coop.touch_subconsumer($1, $2, $3)",
            &[
                (queue, Type::TEXT),
                (consumer, Type::TEXT),
                (subconsumer, Type::TEXT),
            ],
        )
        .during("say that the subconsumer is alive")?;
    Ok(row.get::<_, i32>(0) == 1)
}
