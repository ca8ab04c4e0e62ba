//! Reading the batch after the one that is applied.
//!
//! A consumer has one batch at a time, so the one after it cannot be opened before the first is
//! finished, and that happens when it is committed on the subscriber. But what the next batch will hold
//! is settled as soon as its tick is there. A thread finishes the one and opens the other in a
//! transaction, reads, and rolls back: the provider is left as it was. When the batch is opened in
//! earnest, in the same session, its ticks say whether it is the one that was read.
//!
//! When much is left to be done, several ticks make one batch: a large one costs less per event.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use pgq::batch::{self, Batch, BatchWish};
use pgq::{ConsumerName, QueueName, TickId};
use postgres::types::Type;
use skytools::app::chain;
use skytools::db::{Canceller, Connection, DbError, During, GenericClient};
use tracing::debug;

use super::chunk::Chunk;
use super::order::Order;
use super::session::{Session, UNANSWERED};
use super::stream;
use crate::Error;

/// Batches of more events than this are not read ahead: they are read while they are applied.
pub(super) const EVENTS: i64 = 50_000;

/// Nor are those of more bytes.
const BYTES: usize = 16 * 1024 * 1024;

/// What is read ahead comes in chunks of so many events, at most: the first is soon planned, the others while those
/// before them are applied.
const CHUNK: usize = 5_000;

/// Events of a batch that is made of several ticks, at least. It depends on ticks alone that are there
/// already, as long as more than twice as many events are left: then the batch that is opened later is the one
/// that was read.
const MERGED: i32 = 20_000;

/// Batches that are not read ahead after one that was given up because of its size.
const REST: u32 = 20;

/// The provider: its session, and what was read with it ahead of time.
pub(super) struct Provider {
    /// The thread's while it reads.
    session: Arc<Mutex<Session>>,
    reading: Option<Reading>,
    ahead: Option<Ahead>,
    /// How many batches more are not to be read ahead.
    rest: u32,
}

struct Reading {
    thread: JoinHandle<Result<Found, Error>>,
    canceller: Canceller,
}

/// The events of a batch that was not open.
struct Ahead {
    /// The batch is made of several ticks.
    merged: bool,
    prev_tick: TickId,
    tick: TickId,
    chunks: Vec<Chunk>,
}

impl Ahead {
    fn is(&self, batch: &Batch) -> bool {
        self.prev_tick == batch.prev_tick && self.tick == batch.tick
    }
}

enum Found {
    /// There is no batch yet, or none that is to be read at once.
    Nothing,
    TooLarge,
    Batch(Ahead),
}

/// What the thread has to know.
pub(super) struct Request {
    pub(super) queue: QueueName,
    pub(super) consumer: ConsumerName,
    /// The open batch.
    pub(super) after: Batch,
    /// Events in a chunk, at most.
    pub(super) chunk: usize,
}

impl Provider {
    pub(super) fn new(session: Session) -> Provider {
        Provider {
            session: Arc::new(Mutex::new(session)),
            reading: None,
            ahead: None,
            rest: 0,
        }
    }

    /// The session, when the thread has done with it.
    ///
    /// # Errors
    /// The thread has lost the connection.
    pub(super) fn session(&mut self) -> Result<&mut Session, Error> {
        if let Some(reading) = self.reading.take() {
            match reading.end() {
                Ok(Found::Batch(ahead)) => self.ahead = Some(ahead),
                Ok(Found::TooLarge) => self.rest = REST,
                Ok(Found::Nothing) => {}
                Err(error) if error.is_connection_lost() => return Err(error),
                Err(error) => {
                    // If it is a matter of the batch, it will be met again.
                    debug!("cannot read ahead: {}", chain(&error));
                    self.rest = REST;
                }
            }
        }
        Ok(self.idle_session())
    }

    fn idle_session(&mut self) -> &mut Session {
        let session = Arc::get_mut(&mut self.session).expect("the thread has ended");
        session.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The prepared connection, see [`Session::open`].
    pub(super) fn open(&mut self) -> Result<&mut Connection, Error> {
        if !self.session()?.is_open() {
            // Who answers next may be another server.
            self.discard();
        }
        self.idle_session().open()
    }

    /// Opens the next batch, of the ticks that were read, or returns the open one; `None` if there is no tick.
    pub(super) fn next_batch(
        &mut self,
        queue: &QueueName,
        consumer: &ConsumerName,
    ) -> Result<Option<Batch>, Error> {
        self.open()?;
        let merged = self.ahead.as_ref().is_some_and(|ahead| ahead.merged);
        let provider = self.idle_session().open()?;
        if merged {
            // On disk before it is applied: after a crash its ticks would come one by one.
            let wish = merged_wish();
            let batch = batch::next_batch_like(&mut **provider, queue, consumer, &wish)?;
            if batch.is_some() {
                return Ok(batch);
            }
        }
        Ok(batch::next_batch_soon(&mut **provider, queue, consumer)?)
    }

    /// Whether `batch` was read.
    pub(super) fn has_read(&mut self, batch: &Batch) -> Result<bool, Error> {
        self.session()?;
        Ok(self.ahead.as_ref().is_some_and(|ahead| ahead.is(batch)))
    }

    /// What was read of `batch`, if it was.
    pub(super) fn take(&mut self, batch: &Batch) -> Option<Vec<Chunk>> {
        let ahead = self.ahead.take().filter(|ahead| ahead.is(batch))?;
        Some(ahead.chunks)
    }

    /// Forgets what was read.
    pub(super) fn discard(&mut self) {
        self.ahead = None;
    }

    /// Begins to read the batch after the open one.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn read_ahead(&mut self, request: Request) -> Result<(), Error> {
        self.discard();
        if self.rest > 0 {
            self.rest -= 1;
            return Ok(());
        }
        let canceller = self.open()?.canceller();
        let session = Arc::clone(&self.session);
        let read = move || {
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            read(session.open()?, &request)
        };
        let thread = std::thread::Builder::new()
            .name("ahead".to_owned())
            .spawn(read)
            .map_err(Error::Thread)?;
        self.reading = Some(Reading { thread, canceller });
        Ok(())
    }

    /// Drops the connection, and what was read with it.
    pub(super) fn reset(&mut self) {
        if let Some(reading) = self.reading.take() {
            if !reading.thread.is_finished() {
                // If it cannot be told, it is waited for.
                let _ = reading.canceller.cancel();
            }
            let _ = reading.end();
        }
        self.discard();
        self.rest = 0;
        self.idle_session().reset();
    }

    /// Closes a connection past its lifetime; between two rounds only.
    pub(super) fn expire(&mut self) {
        // A lost connection is the matter of who uses it next.
        if let Ok(session) = self.session() {
            session.expire();
        }
    }
}

impl Reading {
    fn end(self) -> Result<Found, Error> {
        self.thread.join().expect("reading does not panic")
    }
}

fn merged_wish() -> BatchWish {
    BatchWish {
        min_count: Some(MERGED),
        ..BatchWish::default()
    }
}

fn read(provider: &mut Connection, request: &Request) -> Result<Found, Error> {
    let Request {
        queue, consumer, ..
    } = request;
    let Some((next, all)) = left(provider, queue, request.after.tick)? else {
        return Ok(Found::Nothing);
    };
    if next > EVENTS {
        return Ok(Found::Nothing);
    }
    let merged = all > 2 * i64::from(MERGED);
    let canceller = provider.canceller();
    let mut tx = provider.begin()?;
    // It locks the consumer's place, and nothing holds up the reading.
    tx.batch_execute(&format!("set local {UNANSWERED}"))
        .during("prepare to read ahead")?;
    if !batch::finish_batch(&mut *tx, request.after.id)? {
        return Ok(Found::Nothing);
    }
    let next = match merged {
        true => batch::next_batch_like(&mut *tx, queue, consumer, &merged_wish())?,
        false => batch::next_batch(&mut *tx, queue, consumer)?,
    };
    let Some(next) = next else {
        return Ok(Found::Nothing);
    };
    if merged && events(&mut *tx, queue, &next)?.is_none_or(|events| events > EVENTS) {
        // One of the ticks has many; it will come by itself.
        return Ok(Found::Nothing);
    }
    let mut chunks = Vec::new();
    let mut bytes = 0;
    let limit = request.chunk.min(CHUNK);
    let whole = stream::read_events(&mut tx, next.id, Order::Sorted, limit, |chunk| {
        bytes += chunk.size();
        chunks.push(chunk);
        bytes <= BYTES
    })?;
    if !whole {
        // If it cannot be told, the rest comes in vain.
        let _ = canceller.cancel();
        debug!("the next batch is too large to be read ahead");
        return Ok(Found::TooLarge);
    }
    tx.rollback()?;
    Ok(Found::Batch(Ahead {
        merged,
        prev_tick: next.prev_tick,
        tick: next.tick,
        chunks,
    }))
}

/// About how many events there are up to the tick after `tick`, and up to the newest. `None` if it is the newest, or
/// if nobody knows.
fn left(
    provider: &mut Connection,
    queue: &QueueName,
    tick: TickId,
) -> Result<Option<(i64, i64)>, DbError> {
    let row = provider
        .query_typed_opt(
            "select next.tick_event_seq - last.tick_event_seq, \
                    newest.tick_event_seq - last.tick_event_seq \
             from pgq.queue q \
             join pgq.tick last on last.tick_queue = q.queue_id and last.tick_id = $2 \
             cross join lateral ( \
                 select t.tick_event_seq from pgq.tick t \
                 where t.tick_queue = q.queue_id and t.tick_id > $2 \
                 order by t.tick_queue, t.tick_id limit 1) next \
             cross join lateral ( \
                 select t.tick_event_seq from pgq.tick t \
                 where t.tick_queue = q.queue_id \
                 order by t.tick_queue desc, t.tick_id desc limit 1) newest \
             where q.queue_name = $1",
            &[(queue, Type::TEXT), (&tick, Type::INT8)],
        )
        .during("look for the ticks after this batch")?;
    Ok(row.and_then(|row| Some((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))))
}

/// About how many events a batch has; `None` if nobody knows.
pub(super) fn events(
    provider: &mut impl GenericClient,
    queue: &QueueName,
    batch: &Batch,
) -> Result<Option<i64>, DbError> {
    let row = provider
        .query_typed_opt(
            "select next.tick_event_seq - last.tick_event_seq \
             from pgq.queue q \
             join pgq.tick last on last.tick_queue = q.queue_id and last.tick_id = $2 \
             join pgq.tick next on next.tick_queue = q.queue_id and next.tick_id = $3 \
             where q.queue_name = $1",
            &[
                (queue, Type::TEXT),
                (&batch.prev_tick, Type::INT8),
                (&batch.tick, Type::INT8),
            ],
        )
        .during("look how large the batch is")?;
    Ok(row.and_then(|row| row.get(0)))
}
