//! The events of a batch: all at once, or through a cursor.

use bytes::BytesMut;
use postgres::Row;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use skytools::db::{During, GenericClient, Text, Tx};

use crate::{BatchId, Error, EventId};

/// An event of a batch. Text is carried as bytes: a SQL_ASCII database may hold anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Number of the event.
    pub id: EventId,
    /// When it was put in.
    pub time: EventTime,
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

/// When an event was put in, exactly: microseconds of the server's clock, or one of its infinities.
///
/// Its text is in UTC, with microseconds and offset, and the server reads it back to the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

/// Microseconds from 1970 to 2000, where the server's clock starts.
const SERVER_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl EventTime {
    /// The moment; `None` for an infinity, and outside of the years -9999 to 9999.
    pub fn timestamp(self) -> Option<jiff::Timestamp> {
        let micros = match self.0 {
            i64::MAX | i64::MIN => None,
            micros => micros.checked_add(SERVER_EPOCH_MICROS),
        };
        jiff::Timestamp::from_microsecond(micros?).ok()
    }
}

impl From<jiff::Timestamp> for EventTime {
    /// What is smaller than a microsecond is cut off.
    fn from(time: jiff::Timestamp) -> EventTime {
        EventTime(time.as_microsecond() - SERVER_EPOCH_MICROS)
    }
}

impl std::fmt::Display for EventTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0, self.timestamp()) {
            (i64::MAX, _) => f.write_str("infinity"),
            (i64::MIN, _) => f.write_str("-infinity"),
            (_, Some(time)) => {
                let year = time.to_zoned(jiff::tz::TimeZone::UTC).year();
                let rest = time.strftime("%m-%d %H:%M:%S%.6f+00");
                // There is no year 0: 1 BC comes before 1 AD.
                match year {
                    1.. => write!(f, "{year:04}-{rest}"),
                    _ => write!(f, "{:04}-{rest} BC", 1 - year),
                }
            }
            // What `FromSql` lets pass has a text.
            (_, None) => Err(std::fmt::Error),
        }
    }
}

impl FromSql<'_> for EventTime {
    fn from_sql(
        ty: &Type,
        raw: &[u8],
    ) -> Result<EventTime, Box<dyn std::error::Error + Sync + Send>> {
        let micros = i64::from_sql(&Type::INT8, raw)
            .map_err(|error| format!("bad {ty} of the server: {error}"))?;
        let time = EventTime(micros);
        if !matches!(micros, i64::MAX | i64::MIN) && time.timestamp().is_none() {
            return Err("event time out of range".into());
        }
        Ok(time)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

impl ToSql for EventTime {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.0.to_sql(&Type::INT8, out)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
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
            &format!("select {COLUMNS} from pgq.get_batch_events($1){condition} order by ev_id"),
            &[(&batch, Type::INT8)],
        )
        .during("read the events of the batch")?;
    let events: Result<Vec<Event>, postgres::Error> = rows.iter().map(event).collect();
    Ok(events.during("read an event")?)
}

/// The columns of an event, in the order that [`parse`] expects.
const COLUMNS: &str = "ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, \
                       ev_extra1, ev_extra2, ev_extra3, ev_extra4";

/// The events of a batch in order of their ids, a chunk at a time, through a server-side cursor.
///
/// Lives in a transaction on the source, which must not be used for anything else meanwhile but
/// statements between two chunks.
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
        let events = tx
            .query_typed_map(
                &format!("select {COLUMNS} from pgq.get_batch_cursor($1, 'batch_walker', $2, $3)"),
                &[
                    (&batch, Type::INT8),
                    (&limit, Type::INT4),
                    (&filter, Type::TEXT),
                ],
                event,
            )
            .during("open a cursor on the batch")?;
        let mut cursor = EventCursor {
            chunk,
            first: None,
            ended: false,
        };
        cursor.close_after(tx, events.len())?;
        cursor.first = Some(events);
        Ok(cursor)
    }

    /// As [`EventCursor::open`], on a server whose `pgq` has no `get_batch_cursor`: 2.1.
    pub(crate) fn open_by_query(
        tx: &mut Tx<'_>,
        batch: BatchId,
        chunk: u32,
        filter: Option<&str>,
    ) -> Result<EventCursor, Error> {
        let row = tx
            .query_typed_one("select pgq.batch_event_sql($1)", &[(&batch, Type::INT8)])
            .during("ask for the query of the batch")?;
        let query: &str = row.get(0);
        let condition = filter.map_or_else(String::new, |filter| format!(" where ({filter}\n)"));
        tx.batch_execute(&format!(
            "declare batch_walker no scroll cursor for \
             select {COLUMNS} from ({query}\n) e{condition} order by ev_id"
        ))
        .during("open a cursor on the batch")?;
        Ok(EventCursor {
            chunk,
            first: None,
            ended: false,
        })
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
        let events = tx
            .query_typed_map(
                &format!("fetch {} from batch_walker", self.chunk),
                &[],
                event,
            )
            .during("fetch events of the batch")?;
        self.close_after(tx, events.len())?;
        Ok(events)
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

fn event(row: &Row) -> Result<Event, postgres::Error> {
    Ok(Event {
        id: row.try_get(0)?,
        time: row.try_get(1)?,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_times_keep_their_microseconds() {
        let text = |micros: i64| {
            EventTime::from_sql(&Type::TIMESTAMPTZ, &micros.to_be_bytes())
                .map(|time| time.to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(text(0).unwrap(), "2000-01-01 00:00:00.000000+00");
        assert_eq!(text(1).unwrap(), "2000-01-01 00:00:00.000001+00");
        assert_eq!(text(-1).unwrap(), "1999-12-31 23:59:59.999999+00");
        let start_of_1 = -63_082_281_600_000_000;
        assert_eq!(text(start_of_1).unwrap(), "0001-01-01 00:00:00.000000+00");
        assert_eq!(
            text(start_of_1 - 1).unwrap(),
            "0001-12-31 23:59:59.999999+00 BC"
        );
        assert_eq!(text(i64::MAX).unwrap(), "infinity");
        assert_eq!(text(i64::MIN).unwrap(), "-infinity");
        assert!(text(i64::MAX - 1).is_err());
    }
}
