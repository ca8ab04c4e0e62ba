//! Batches: taking, reading in bounded memory, finishing.

use std::time::Duration;

use postgres::types::{FromSql, Type};
use postgres::{GenericClient, Row};
use skytools::db::{During, Text, Tx};

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
}

/// An event of a batch. Text is carried as bytes: a SQL_ASCII database may hold anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Number of the event.
    pub id: EventId,
    /// When it was put in, in UTC, with microseconds and offset: what the server reads back exactly.
    pub time: String,
    /// Transaction that put it in.
    pub txid: i64,
    /// `None` on first delivery, else the number of redeliveries.
    pub retry: Option<i32>,
    /// `ev_type`.
    pub kind: Option<Text>,
    /// `ev_data`.
    pub data: Option<Text>,
    /// `ev_extra1` to `ev_extra4`.
    pub extra: [Option<Text>; 4],
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Done with; never seen again.
    Done,
    /// To be delivered once more, to this consumer only, not before `after` has passed.
    Retry {
        /// Least time until the redelivery; whole seconds, rounded up.
        after: Duration,
    },
    /// Put aside in the failed queue, for a person to look at.
    Failed {
        /// What was wrong with it.
        reason: String,
    },
}

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
    let row = db
        .query_typed_one(
            "select batch_id, prev_tick_id, cur_tick_id from pgq.next_batch_info($1, $2)",
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
            "select batch_id, prev_tick_id, cur_tick_id \
             from pgq.next_batch_custom($1, $2, $3::interval, $4, $5::interval)",
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

fn batch(row: &Row) -> Result<Option<Batch>, Error> {
    let id: Option<BatchId> = row.get(0);
    Ok(id.map(|id| Batch {
        id,
        prev_tick: row.get(1),
        tick: row.get(2),
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
    let whole = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    let seconds = i32::try_from(whole).unwrap_or(i32::MAX);
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

/// All events of a batch at once, in order of their ids. `filter` is a trusted SQL condition on the
/// event columns. Takes memory for the whole batch: see [`EventCursor`].
///
/// # Errors
/// The batch is not open, or the filter does not parse.
pub fn events(
    db: &mut impl GenericClient,
    batch: BatchId,
    filter: Option<&str>,
) -> Result<Vec<Event>, Error> {
    let condition = filter.map_or_else(String::new, |filter| format!(" where ({filter}\n)"));
    let rows = db
        .query_typed(
            &format!("select * from pgq.get_batch_events($1){condition} order by ev_id"),
            &[(&batch, Type::INT8)],
        )
        .during("read the events of the batch")?;
    parse(&rows)
}

/// The events of a batch in order of their ids, a chunk at a time, through a server-side cursor.
///
/// Lives in a transaction on the source, which must not be used for anything else meanwhile.
#[derive(Debug)]
pub struct EventCursor {
    chunk: u32,
    first: Option<Vec<Event>>,
    ended: bool,
}

impl EventCursor {
    /// Declares the cursor and reads the first events; `chunk` events are fetched at a time, 0
    /// reads the whole batch at once. `filter` is a trusted SQL condition on the event columns.
    ///
    /// # Errors
    /// The batch is not open, or the filter does not parse.
    pub fn open(
        tx: &mut Tx<'_>,
        batch: BatchId,
        chunk: u32,
        filter: Option<&str>,
    ) -> Result<EventCursor, Error> {
        if chunk == 0 {
            return Ok(EventCursor {
                chunk,
                first: Some(events(&mut **tx, batch, filter)?),
                ended: true,
            });
        }
        let limit = i32::try_from(chunk).unwrap_or(i32::MAX);
        let rows = tx
            .query_typed(
                "select * from pgq.get_batch_cursor($1, 'batch_walker', $2, $3)",
                &[
                    (&batch, Type::INT8),
                    (&limit, Type::INT4),
                    (&filter, Type::TEXT),
                ],
            )
            .during("open a cursor on the batch")?;
        let mut cursor = EventCursor {
            chunk,
            first: Some(parse(&rows)?),
            ended: false,
        };
        cursor.close_after(tx, rows.len())?;
        Ok(cursor)
    }

    /// Fetches so many events at a time from now on: a caller bounds its memory by their size.
    /// Without effect on a batch that was read at once.
    pub fn set_chunk(&mut self, chunk: u32) {
        self.chunk = chunk.max(1);
    }

    /// The next events; empty at the end, when the cursor is closed.
    ///
    /// # Errors
    /// The statement failed.
    pub fn fetch(&mut self, tx: &mut Tx<'_>) -> Result<Vec<Event>, Error> {
        if let Some(events) = self.first.take() {
            return Ok(events);
        }
        if self.ended {
            return Ok(Vec::new());
        }
        let rows = tx
            .query_typed(&format!("fetch {} from batch_walker", self.chunk), &[])
            .during("fetch events of the batch")?;
        self.close_after(tx, rows.len())?;
        parse(&rows)
    }

    /// Closes the cursor after a chunk that was not full.
    fn close_after(&mut self, tx: &mut Tx<'_>, rows: usize) -> Result<(), Error> {
        self.ended = u32::try_from(rows).is_ok_and(|rows| rows < self.chunk);
        if self.ended {
            tx.batch_execute("close batch_walker")
                .during("close the cursor on the batch")?;
        }
        Ok(())
    }
}

fn parse(rows: &[Row]) -> Result<Vec<Event>, Error> {
    let event = |row: &Row| {
        Ok(Event {
            id: row.try_get(0)?,
            time: row.try_get::<_, Timestamp>(1)?.0,
            txid: row.try_get(2)?,
            retry: row.try_get(3)?,
            kind: row.try_get(4)?,
            data: row.try_get(5)?,
            extra: [
                row.try_get(6)?,
                row.try_get(7)?,
                row.try_get(8)?,
                row.try_get(9)?,
            ],
        })
    };
    let events: Result<Vec<Event>, postgres::Error> = rows.iter().map(event).collect();
    Ok(events.during("read an event")?)
}

/// A `timestamptz` as text. A cursor's rows arrive in the binary format, and casting them would need
/// a query of our own around that of the server.
struct Timestamp(String);

/// Microseconds from 1970 to 2000, where the server's clock starts.
const SERVER_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl FromSql<'_> for Timestamp {
    fn from_sql(
        ty: &Type,
        raw: &[u8],
    ) -> Result<Timestamp, Box<dyn std::error::Error + Sync + Send>> {
        let micros = i64::from_sql(&Type::INT8, raw)
            .map_err(|error| format!("bad {ty} of the server: {error}"))?;
        let text = match micros {
            i64::MAX => "infinity".to_owned(),
            i64::MIN => "-infinity".to_owned(),
            _ => {
                let micros = micros
                    .checked_add(SERVER_EPOCH_MICROS)
                    .ok_or("event time out of range")?;
                jiff::Timestamp::from_microsecond(micros)?
                    .strftime("%Y-%m-%d %H:%M:%S%.6f+00")
                    .to_string()
            }
        };
        Ok(Timestamp(text))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_times_keep_their_microseconds() {
        let text = |micros: i64| {
            Timestamp::from_sql(&Type::TIMESTAMPTZ, &micros.to_be_bytes())
                .map(|time| time.0)
                .map_err(|error| error.to_string())
        };
        assert_eq!(text(0).unwrap(), "2000-01-01 00:00:00.000000+00");
        assert_eq!(text(1).unwrap(), "2000-01-01 00:00:00.000001+00");
        assert_eq!(text(-1).unwrap(), "1999-12-31 23:59:59.999999+00");
        assert_eq!(text(i64::MAX).unwrap(), "infinity");
        assert!(text(i64::MAX - 1).is_err());
    }
}
