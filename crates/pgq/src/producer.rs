//! Putting events in: one by one, many with one call, or a stream of them by COPY.
//!
//! An event commits together with whatever else its transaction does: that is what a queue in the
//! database is for.
//!
//! ```no_run
//! # use pgq::producer::{self, NewEvent};
//! # use pgq::{Error, QueueName};
//! # use skytools::db::{Connection, During};
//! # fn order(db: &mut Connection, id: i64) -> Result<(), Error> {
//! let mut tx = db.begin()?;
//! tx.execute("insert into orders (id) values ($1)", &[&id])
//!     .during("insert the order")?;
//! let event = NewEvent::new("order", format!("{{\"id\": {id}}}").as_str());
//! producer::insert_event(&mut *tx, &QueueName::from("orders"), &event)?;
//! tx.commit()?;
//! # Ok(())
//! # }
//! ```

use std::str::FromStr;

use postgres::types::Type;
use skytools::copy_in::CopyIn;
use skytools::db::{During, GenericClient, Text, Tx};
use skytools::quote;

use crate::{Error, EventId, QueueName};

/// An event to put in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewEvent {
    /// `ev_type`.
    pub kind: Option<Text>,
    /// `ev_data`.
    pub data: Option<Text>,
    /// `ev_extra1` to `ev_extra4`.
    pub extra: [Option<Text>; 4],
}

impl NewEvent {
    /// An event without extras.
    pub fn new(kind: impl Into<Text>, data: impl Into<Text>) -> NewEvent {
        NewEvent {
            kind: Some(kind.into()),
            data: Some(data.into()),
            ..NewEvent::default()
        }
    }
}

/// Puts an event in; consumers see it after the transaction has committed and a tick has passed.
///
/// # Errors
/// The queue does not exist or refuses events.
pub fn insert_event(
    db: &mut impl GenericClient,
    queue: &QueueName,
    event: &NewEvent,
) -> Result<EventId, Error> {
    let [extra1, extra2, extra3, extra4] = &event.extra;
    let row = db
        .query_typed_one(
            "select pgq.insert_event($1, $2, $3, $4, $5, $6, $7)",
            &[
                (queue, Type::TEXT),
                (&event.kind, Type::TEXT),
                (&event.data, Type::TEXT),
                (extra1, Type::TEXT),
                (extra2, Type::TEXT),
                (extra3, Type::TEXT),
                (extra4, Type::TEXT),
            ],
        )
        .during("insert the event")?;
    Ok(row.get(0))
}

/// Puts many events in with one call, many times faster than one by one; returns their ids in the
/// same order. All of them or none.
///
/// Needs no more rights than [`insert_event`]; what is sent at once has to fit into 1 GB. Not on
/// servers of 2.1 or the 3.x line.
///
/// # Errors
/// The queue does not exist or refuses events.
pub fn insert_events(
    db: &mut impl GenericClient,
    queue: &QueueName,
    events: &[NewEvent],
) -> Result<Vec<EventId>, Error> {
    // A field that no event has is sent as NULL instead of an array of them.
    let field = |value: fn(&NewEvent) -> Option<&Text>| -> Option<Vec<Option<&Text>>> {
        let any = events.iter().any(|event| value(event).is_some());
        any.then(|| events.iter().map(value).collect())
    };
    let kinds = field(|event| event.kind.as_ref());
    let data: Vec<Option<&Text>> = events.iter().map(|event| event.data.as_ref()).collect();
    let [extra1, extra2, extra3, extra4] = [
        field(|event| event.extra[0].as_ref()),
        field(|event| event.extra[1].as_ref()),
        field(|event| event.extra[2].as_ref()),
        field(|event| event.extra[3].as_ref()),
    ];
    let row = db
        .query_typed_one(
            "select pgq.insert_events($1, $2, $3, $4, $5, $6, $7)",
            &[
                (queue, Type::TEXT),
                (&kinds, Type::TEXT_ARRAY),
                (&data, Type::TEXT_ARRAY),
                (&extra1, Type::TEXT_ARRAY),
                (&extra2, Type::TEXT_ARRAY),
                (&extra3, Type::TEXT_ARRAY),
                (&extra4, Type::TEXT_ARRAY),
            ],
        )
        .during("insert the events")?;
    Ok(row.get(0))
}

/// A field of an event that a bulk insert can fill; parses from its column's name, with or without
/// `ev_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `ev_id`; without it the queue numbers the events.
    Id,
    /// `ev_time`; always needed, the queue has no default for it.
    Time,
    /// `ev_type`.
    Kind,
    /// `ev_data`.
    Data,
    /// `ev_extra1`.
    Extra1,
    /// `ev_extra2`.
    Extra2,
    /// `ev_extra3`.
    Extra3,
    /// `ev_extra4`.
    Extra4,
}

impl Field {
    const ALL: [Field; 8] = [
        Field::Id,
        Field::Time,
        Field::Kind,
        Field::Data,
        Field::Extra1,
        Field::Extra2,
        Field::Extra3,
        Field::Extra4,
    ];

    /// Name of the column in the event tables.
    pub fn column(self) -> &'static str {
        match self {
            Field::Id => "ev_id",
            Field::Time => "ev_time",
            Field::Kind => "ev_type",
            Field::Data => "ev_data",
            Field::Extra1 => "ev_extra1",
            Field::Extra2 => "ev_extra2",
            Field::Extra3 => "ev_extra3",
            Field::Extra4 => "ev_extra4",
        }
    }
}

impl FromStr for Field {
    type Err = Error;

    fn from_str(name: &str) -> Result<Field, Error> {
        let bare = name.strip_prefix("ev_").unwrap_or(name);
        let named = |field: &Field| field.column().strip_prefix("ev_") == Some(bare);
        let found = Field::ALL.into_iter().find(named);
        found.ok_or_else(|| Error::UnknownField(name.to_owned()))
    }
}

/// Many events at once, by COPY into the table that now takes the queue's events.
///
/// Needs the right to insert into the event tables. The events are there when the transaction
/// commits; dropped before [`BulkInsert::finish`], it leaves the transaction failed.
pub struct BulkInsert<'a> {
    copy: CopyIn<'a>,
}

impl<'a> BulkInsert<'a> {
    /// Begins; each row will have the values of `fields`, in this order.
    ///
    /// # Errors
    /// The queue does not exist or refuses events; `fields` lacks the time.
    pub fn begin(
        tx: &'a mut Tx<'_>,
        queue: &QueueName,
        fields: &[Field],
    ) -> Result<BulkInsert<'a>, Error> {
        if !fields.contains(&Field::Time) {
            return Err(Error::NoEventTime);
        }
        // The name holds for this transaction only: the tables rotate.
        let row = tx
            .query_typed_one("select pgq.current_event_table($1)", &[(queue, Type::TEXT)])
            .during("look up the table of the queue")?;
        BulkInsert::into_table(tx, &quote::fqident(row.get(0)), fields)
    }

    /// As [`BulkInsert::begin`], into a table of the queue that was looked up in the same transaction;
    /// its name is quoted.
    pub(crate) fn into_table(
        tx: &'a mut Tx<'_>,
        table: &str,
        fields: &[Field],
    ) -> Result<BulkInsert<'a>, Error> {
        let columns: Vec<&str> = fields.iter().map(|field| field.column()).collect();
        let sql = format!("copy {table} ({}) from stdin", columns.join(", "));
        Ok(BulkInsert {
            copy: CopyIn::begin(tx, &sql, "copy events into the queue")?,
        })
    }

    /// Adds an event; the values as the server reads them from text.
    ///
    /// # Errors
    /// The connection is gone, or the server has refused an earlier event.
    pub fn push(&mut self, values: &[Option<&[u8]>]) -> Result<(), Error> {
        Ok(self.copy.row(values)?)
    }

    /// Ends; returns how many events were put in.
    ///
    /// # Errors
    /// The server refuses an event.
    pub fn finish(self) -> Result<u64, Error> {
        Ok(self.copy.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_with_and_without_their_prefix() {
        assert_eq!("ev_time".parse::<Field>().unwrap(), Field::Time);
        assert_eq!("type".parse::<Field>().unwrap(), Field::Kind);
        let error = "ev_owner".parse::<Field>().unwrap_err();
        assert_eq!(error.to_string(), "events have no field ev_owner");
    }
}
