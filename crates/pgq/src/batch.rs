//! Batches: taking, reading in bounded memory, finishing.

use postgres::GenericClient;
use skytools::db::{Text, Tx};

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
    /// When it was put in, as the server writes it, with microseconds.
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

/// Opens the next batch, or returns the one still open; `None` when no tick has passed.
///
/// # Errors
/// The consumer is not registered, or its tick is gone.
pub fn next_batch(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<Option<Batch>, Error> {
    let _ = (db, queue, consumer);
    unimplemented!("owner: pgq helper")
}

/// Moves the consumer past the batch. False if the batch is not open (any more).
///
/// # Errors
/// The statement failed.
pub fn finish_batch(db: &mut impl GenericClient, batch: BatchId) -> Result<bool, Error> {
    let _ = (db, batch);
    unimplemented!("owner: pgq helper")
}

/// The events of a batch in order of their ids, a chunk at a time, through a server-side cursor.
///
/// Lives in a transaction on the source, which must not be used for anything else meanwhile.
#[derive(Debug)]
pub struct EventCursor {
    chunk: u32,
    ended: bool,
}

impl EventCursor {
    /// Declares the cursor; `chunk` events are fetched at a time. `filter` is a trusted SQL
    /// condition on the event columns.
    ///
    /// # Errors
    /// The batch is not open, or the filter does not parse.
    pub fn open(
        tx: &mut Tx<'_>,
        batch: BatchId,
        chunk: u32,
        filter: Option<&str>,
    ) -> Result<EventCursor, Error> {
        let _ = (tx, batch, filter);
        Ok(EventCursor {
            chunk,
            ended: false,
        })
    }

    /// The next events; empty at the end.
    ///
    /// # Errors
    /// The statement failed.
    pub fn fetch(&mut self, tx: &mut Tx<'_>) -> Result<Vec<Event>, Error> {
        let _ = (tx, self.chunk, self.ended);
        unimplemented!("owner: pgq helper")
    }
}
