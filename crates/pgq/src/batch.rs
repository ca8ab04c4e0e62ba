//! Batches: taking, reading in bounded memory, finishing.
//!
//! What a consumer of [`crate::consumer`] does in a round, by hand:
//!
//! ```no_run
//! # use pgq::{ConsumerName, Error, QueueName, batch};
//! # fn round(db: &mut postgres::Client) -> Result<(), Error> {
//! let (queue, consumer) = (QueueName::from("orders"), ConsumerName::from("mailer"));
//! if let Some(open) = batch::next_batch(db, &queue, &consumer)? {
//!     for event in batch::events(db, open.id, None)? {
//!         if event.data.is_none() {
//!             batch::event_failed(db, open.id, event.id, "no data")?;
//!         }
//!     }
//!     batch::finish_batch(db, open.id)?;
//! }
//! # Ok(())
//! # }
//! ```

mod order;
mod read;
mod stream;

use std::time::Duration;

use postgres::Row;
use postgres::types::Type;
use skytools::db::{During, GenericClient};

pub use self::read::{Event, EventCursor, EventTime, events};
pub use self::stream::EventText;
pub(crate) use self::stream::{Order, Reading, stream};
use crate::{BatchId, ConsumerName, Error, EventId, QueueName, TickId};

/// A consumer's open batch: what committed between two ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Handle for reading and finishing it.
    pub id: BatchId,
    /// Tick after which it starts.
    pub prev_tick: TickId,
    /// Tick that ends it.
    pub tick: TickId,
    /// When the first of them was made, and when the second: two ticks of one number differ in it, if the source has
    /// lost one of them.
    pub start: EventTime,
    /// See `start`.
    pub end: EventTime,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disposition {
    /// Done with; never seen again.
    Done,
    /// To be delivered once more, to this consumer only, not before `after` has passed.
    Retry {
        /// Least time until the redelivery; whole seconds, rounded up.
        after: Duration,
    },
    /// As `Retry`, but if it was redelivered as often as the queue's setting `max_retries` allows,
    /// as `Failed`.
    Nack {
        /// Least time until the redelivery.
        after: Duration,
        /// What was wrong with it.
        reason: String,
    },
    /// Put aside in the failed queue, for a person to look at.
    Failed {
        /// What was wrong with it.
        reason: String,
    },
}

impl Disposition {
    /// To be delivered once more after a minute.
    pub fn retry() -> Disposition {
        Disposition::Retry { after: RETRY_AFTER }
    }

    /// To be delivered once more after a minute, unless that was done as often as the queue allows.
    pub fn nack(reason: impl Into<String>) -> Disposition {
        Disposition::Nack {
            after: RETRY_AFTER,
            reason: reason.into(),
        }
    }

    /// Put aside, for this reason.
    pub fn failed(reason: impl Into<String>) -> Disposition {
        Disposition::Failed {
            reason: reason.into(),
        }
    }
}

/// Time until a redelivery that nobody has set.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Which batches a consumer wants: small ones may wait until they have grown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchWish {
    /// About this many events at least.
    pub min_count: Option<i32>,
    /// At least this much time between its ticks; PostgreSQL interval text.
    pub min_interval: Option<String>,
    /// Only batches that ended at least this long ago; PostgreSQL interval text.
    pub keep_lag: Option<String>,
}

/// Opens the next batch, or returns the one still open; `None` when no tick has passed.
///
/// # Errors
/// The consumer is not registered, or its tick is gone.
pub fn next_batch(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<Option<Batch>, Error> {
    next_batch_from("pgq.next_batch_info($1, $2)", db, queue, consumer)
}

/// As [`next_batch`], but does not wait until the server has the opening on disk.
///
/// A crash of the server may undo it, and the same ticks come again under another id: for consumers
/// that do not remember ids of batches.
///
/// # Errors
/// As [`next_batch`].
pub fn next_batch_soon(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<Option<Batch>, Error> {
    let from = format!("{SOON}, pgq.next_batch_info($1, $2)");
    next_batch_from(&from, db, queue, consumer)
}

/// What [`batch`] reads.
const FIELDS: &str = "batch_id, prev_tick_id, cur_tick_id, prev_tick_time, cur_tick_time";

/// Lets the transaction of a query end before it is on disk, as a part of what the query reads from.
pub(crate) const SOON: &str = "pg_catalog.set_config('synchronous_commit', 'off', true)";

fn next_batch_from(
    from: &str,
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<Option<Batch>, Error> {
    let row = db
        .query_typed_one(
            &format!("select {FIELDS} from {from}"),
            &[(queue, Type::TEXT), (consumer, Type::TEXT)],
        )
        .during("ask for the next batch")?;
    batch(&row)
}

/// As [`next_batch`], but opens only a batch that fulfils `wish`.
///
/// # Errors
/// As [`next_batch`]; or an interval of `wish` does not parse.
pub fn next_batch_like(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    wish: &BatchWish,
) -> Result<Option<Batch>, Error> {
    let row = db
        .query_typed_one(
            &format!(
                "select {FIELDS} from pgq.next_batch_custom($1, $2, $3::interval, $4, $5::interval)"
            ),
            &[
                (queue, Type::TEXT),
                (consumer, Type::TEXT),
                (&wish.keep_lag, Type::TEXT),
                (&wish.min_count, Type::INT4),
                (&wish.min_interval, Type::TEXT),
            ],
        )
        .during("ask for the next batch")?;
    batch(&row)
}

/// As [`next_batch`], with functions that PgQ 2.1 has, too.
pub(crate) fn next_batch_by_id(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<Option<Batch>, Error> {
    let row = db
        .query_typed_one(
            "select pgq.next_batch($1, $2)",
            &[(queue, Type::TEXT), (consumer, Type::TEXT)],
        )
        .during("ask for the next batch")?;
    match row.get(0) {
        Some(id) => with_ticks(db, id).map(Some),
        None => Ok(None),
    }
}

/// An open batch, by its id.
pub(crate) fn with_ticks(db: &mut impl GenericClient, id: BatchId) -> Result<Batch, Error> {
    let info = info(db, id)?.ok_or(Error::BatchGone(id))?;
    Ok(info.batch)
}

/// What the server knows of an open batch; durations in seconds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BatchInfo {
    /// The batch.
    pub batch: Batch,
    /// Its queue.
    pub queue: QueueName,
    /// Whose it is; of a cooperating one `CONSUMER.SUBCONSUMER`.
    pub consumer: ConsumerName,
    /// Time since it ended.
    pub lag_seconds: f64,
}

/// Looks an open batch up; `None` if it is not open (any more).
///
/// # Errors
/// The statement failed.
pub fn info(db: &mut impl GenericClient, batch: BatchId) -> Result<Option<BatchInfo>, Error> {
    let row = db
        .query_typed_opt(
            "select queue_name, consumer_name, batch_start, batch_end, prev_tick_id, tick_id, \
             extract(epoch from lag)::float8 \
             from pgq.get_batch_info($1) where queue_name is not null",
            &[(&batch, Type::INT8)],
        )
        .during("look at the batch")?;
    Ok(row.map(|row| BatchInfo {
        batch: Batch {
            id: batch,
            prev_tick: row.get(4),
            tick: row.get(5),
            start: row.get(2),
            end: row.get(3),
        },
        queue: row.get(0),
        consumer: row.get(1),
        lag_seconds: row.get(6),
    }))
}

fn batch(row: &Row) -> Result<Option<Batch>, Error> {
    let Some(id) = row.get(0) else {
        return Ok(None);
    };
    let tick = row.get(2);
    let time = |column: usize| -> Result<EventTime, Error> {
        let time: Option<EventTime> = row.get(column);
        time.ok_or(Error::TickGone(tick))
    };
    Ok(Some(Batch {
        id,
        prev_tick: row.get(1),
        tick,
        start: time(3)?,
        end: time(4)?,
    }))
}

/// Moves the consumer past the batch. False if the batch is not open (any more).
///
/// # Errors
/// The statement failed.
pub fn finish_batch(db: &mut impl GenericClient, batch: BatchId) -> Result<bool, Error> {
    let row = db
        .query_typed_one("select pgq.finish_batch($1)", &[(&batch, Type::INT8)])
        .during("finish the batch")?;
    Ok(row.get::<_, i32>(0) == 1)
}

/// Schedules an event of an open batch for redelivery to this consumer. False if it is scheduled
/// already.
///
/// # Errors
/// The batch is not open, or the event is not in it.
pub fn event_retry(
    db: &mut impl GenericClient,
    batch: BatchId,
    event: EventId,
    after: Duration,
) -> Result<bool, Error> {
    let seconds = whole_seconds(after);
    let row = db
        .query_typed_one(
            "select pgq.event_retry($1, $2, $3)",
            &[
                (&batch, Type::INT8),
                (&event, Type::INT8),
                (&seconds, Type::INT4),
            ],
        )
        .during("schedule the event for a retry")?;
    Ok(row.get::<_, i32>(0) == 1)
}

/// What [`nack`] has done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nacked {
    /// It will be delivered once more.
    Retried,
    /// It was redelivered as often as the queue allows, and is in the failed queue now.
    Failed,
}

/// Schedules an event of an open batch for redelivery, or puts it into the failed queue if it was
/// redelivered as often as the queue's setting `max_retries` allows. Changes nothing for an event
/// that is scheduled or failed already.
///
/// # Errors
/// The batch is not open, or the event is not in it.
pub fn nack(
    db: &mut impl GenericClient,
    batch: BatchId,
    event: EventId,
    after: Duration,
    reason: &str,
) -> Result<Nacked, Error> {
    let row = db
        .query_typed_one(
            "select pgq.nack($1, $2, make_interval(secs => $3), $4)",
            &[
                (&batch, Type::INT8),
                (&event, Type::INT8),
                (&after.as_secs_f64(), Type::FLOAT8),
                (&reason, Type::TEXT),
            ],
        )
        .during("give the event back")?;
    Ok(match row.get(0) {
        "failed" => Nacked::Failed,
        _ => Nacked::Retried,
    })
}

/// Schedules all events of an open batch for redelivery to this consumer; returns how many were not
/// scheduled already.
///
/// # Errors
/// The batch is not open.
pub fn batch_retry(
    db: &mut impl GenericClient,
    batch: BatchId,
    after: Duration,
) -> Result<i32, Error> {
    let row = db
        .query_typed_one(
            "select pgq.batch_retry($1, $2)",
            &[(&batch, Type::INT8), (&whole_seconds(after), Type::INT4)],
        )
        .during("schedule the batch for a retry")?;
    Ok(row.get(0))
}

fn whole_seconds(time: Duration) -> i32 {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    i32::try_from(whole).unwrap_or(i32::MAX)
}

/// Copies an event of an open batch to the failed queue. False if it is there already.
///
/// # Errors
/// The batch is not open, or the event is not in it.
pub fn event_failed(
    db: &mut impl GenericClient,
    batch: BatchId,
    event: EventId,
    reason: &str,
) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pgq.event_failed($1, $2, $3)",
            &[
                (&batch, Type::INT8),
                (&event, Type::INT8),
                (&reason, Type::TEXT),
            ],
        )
        .during("put the event into the failed queue")?;
    Ok(row.get::<_, i32>(0) == 1)
}
