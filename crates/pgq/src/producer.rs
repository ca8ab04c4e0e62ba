//! Putting events in.

use postgres::GenericClient;
use postgres::types::Type;
use skytools::db::{During, Text};

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
