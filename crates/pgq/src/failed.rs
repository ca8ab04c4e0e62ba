//! Dead letters: the events that a consumer has given up, kept for a person to look at.
//!
//! They come from [`batch::event_failed`](crate::batch::event_failed), from
//! [`batch::nack`](crate::batch::nack) once an event was redelivered as often as the queue's setting
//! `max_retries` allows, and from handlers that answer
//! [`Disposition::Failed`](crate::batch::Disposition::Failed).
//!
//! ```no_run
//! # use std::time::Duration;
//! # use pgq::{ConsumerName, Error, QueueName, failed};
//! # fn review(db: &mut postgres::Client) -> Result<(), Error> {
//! let (queue, consumer) = (QueueName::from("orders"), ConsumerName::from("mailer"));
//! for dead in failed::list(db, &queue, &consumer, None)? {
//!     if dead.reason.as_deref() == Some("mailbox full") {
//!         failed::retry(db, &queue, &consumer, dead.event.id)?;
//!     }
//! }
//! failed::purge(db, &queue, &consumer, Duration::from_secs(30 * 86_400))?;
//! # Ok(())
//! # }
//! ```
//!
//! Servers of the 3.x line have nothing of this; 2.1 has all but [`purge`] and [`replay`].

use std::time::Duration;

use postgres::Row;
use postgres::types::{ToSql, Type};
use skytools::db::{During, GenericClient};

use crate::batch::{Event, EventTime};
use crate::{ConsumerName, Error, EventId, QueueName};

/// An event that a consumer has given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedEvent {
    /// The event; without the transaction that put it in.
    pub event: Event,
    /// Why it was given up.
    pub reason: Option<String>,
    /// When it was given up.
    pub failed: EventTime,
}

/// Which part of a list is wanted: so many after so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// At most so many.
    pub count: i32,
    /// Without the first so many.
    pub offset: i32,
}

/// The events that a consumer has given up, in order of their ids; none for an unknown consumer.
///
/// # Errors
/// The statement failed.
pub fn list(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    page: Option<Page>,
) -> Result<Vec<FailedEvent>, Error> {
    const COLUMNS: &str = "ev_failed_reason, ev_failed_time, ev_id, ev_time, ev_retry, ev_type, \
                           ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4";
    let step = "list the failed events";
    let rows = match page {
        None => db.query_typed(
            &format!("select {COLUMNS} from pgq.failed_event_list($1, $2) order by ev_id"),
            &[(queue, Type::TEXT), (consumer, Type::TEXT)],
        ),
        Some(Page { count, offset }) => db.query_typed(
            &format!("select {COLUMNS} from pgq.failed_event_list($1, $2, $3, $4) order by ev_id"),
            &[
                (queue, Type::TEXT),
                (consumer, Type::TEXT),
                (&count, Type::INT4),
                (&offset, Type::INT4),
            ],
        ),
    }
    .during(step)?;
    let event = |row: &Row| {
        Ok(FailedEvent {
            reason: row.try_get(0)?,
            failed: row.try_get(1)?,
            event: Event {
                id: row.try_get(2)?,
                time: row.try_get(3)?,
                txid: 0,
                retry: row.try_get(4)?,
                kind: row.try_get(5)?,
                data: row.try_get(6)?,
                extra: [
                    row.try_get(7)?,
                    row.try_get(8)?,
                    row.try_get(9)?,
                    row.try_get(10)?,
                ],
            },
        })
    };
    let events: Result<Vec<FailedEvent>, postgres::Error> = rows.iter().map(event).collect();
    Ok(events.during(step)?)
}

/// How many events a consumer has given up.
///
/// # Errors
/// The statement failed.
pub fn count(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<i32, Error> {
    let row = db
        .query_typed_one(
            "select pgq.failed_event_count($1, $2)",
            &[(queue, Type::TEXT), (consumer, Type::TEXT)],
        )
        .during("count the failed events")?;
    Ok(row.get(0))
}

/// Forgets an event.
///
/// # Errors
/// The consumer does not exist, or has not given up this event.
pub fn delete(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    event: EventId,
) -> Result<(), Error> {
    let sql = "select pgq.failed_event_delete($1, $2, $3)";
    one(db, sql, queue, consumer, &[(&event, Type::INT8)]).map(|_| ())
}

/// Puts an event back into its queue, for this consumer alone, with its id and its number of
/// redeliveries.
///
/// # Errors
/// The consumer does not exist, or has not given up this event; the queue refuses events.
pub fn retry(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    event: EventId,
) -> Result<(), Error> {
    let sql = "select pgq.failed_event_retry($1, $2, $3)";
    one(db, sql, queue, consumer, &[(&event, Type::INT8)]).map(|_| ())
}

/// Puts all events back into their queue, for this consumer alone; returns how many.
///
/// # Errors
/// The consumer does not exist; the queue refuses events.
pub fn replay(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<i32, Error> {
    let sql = "select pgq.failed_event_replay($1, $2)";
    Ok(one(db, sql, queue, consumer, &[])?.get(0))
}

/// Forgets the events that were given up so long ago, or longer; returns how many.
///
/// # Errors
/// The consumer does not exist.
pub fn purge(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    age: Duration,
) -> Result<i32, Error> {
    let sql = "select pgq.failed_event_purge($1, $2, make_interval(secs => $3))";
    let seconds = age.as_secs_f64();
    Ok(one(db, sql, queue, consumer, &[(&seconds, Type::FLOAT8)])?.get(0))
}

fn one(
    db: &mut impl GenericClient,
    sql: &str,
    queue: &QueueName,
    consumer: &ConsumerName,
    more: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Row, Error> {
    let names: [(&(dyn ToSql + Sync), Type); 2] = [(queue, Type::TEXT), (consumer, Type::TEXT)];
    Ok(db
        .query_typed_one(sql, &[&names, more].concat())
        .during("change the failed events")?)
}
