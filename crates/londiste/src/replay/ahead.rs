//! Reading the batch after the one that is applied.
//!
//! A consumer has one batch at a time, so the one after it cannot be opened before the first is
//! finished, and that happens when it is committed on the subscriber. But what the next batch will hold
//! is settled as soon as its tick is there. A thread finishes the one and opens the other in a
//! transaction, reads, and rolls back: the provider is left as it was. When the batch is opened in
//! earnest, in the same session, its ticks say whether it is the one that was read.
//!
//! Then the thread finishes the one and opens the other in one transaction, and its events are applied while that gets
//! to the disk of the provider: [`Provider::settle`] comes before they are committed. A batch that was not read ahead
//! is read while it is applied, by the same thread, which goes on with the next one.
//!
//! When much is left to be done, several ticks make one batch: a large one costs less per event.

mod next;

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use pgq::batch::{self, Batch, BatchWish};
use pgq::{BatchId, TickId, admin};
use skytools::app::chain;
use skytools::db::{Canceller, Connection};
use tracing::debug;

pub(crate) use self::next::Reader;
pub(super) use self::next::events;
use self::next::{Ahead, Found, Left, left, read};
use super::apply::Manner;
use super::chunk::Chunk;
use super::session::Session;
use super::stream::{self, Counts};
use crate::Error;

/// Batches that are not read ahead after one that was given up because of its size.
const REST: u32 = 20;

/// The provider: its session, and what was read with it ahead of time.
pub(super) struct Provider {
    /// The thread's while it reads.
    session: Arc<Mutex<Session>>,
    reading: Option<Reading>,
    /// The next batch.
    ahead: Option<Ahead>,
    /// The open one, which was read before it was opened.
    open: Option<Ahead>,
    /// A batch that is applied, and to be finished along with the opening of the next one.
    applied: Option<BatchId>,
    /// Says when the open batch is on disk.
    opened: Option<Receiver<()>>,
    /// How many batches more are not to be read ahead.
    rest: u32,
    /// The open batch was made of several ticks, to catch up.
    merged: bool,
    /// Nobody has looked yet how much there is to do.
    fresh: bool,
}

struct Reading {
    thread: JoinHandle<Ended>,
    canceller: Canceller,
}

/// What a thread has come to.
struct Ended {
    /// What it did with the open batch.
    open: Result<(), Error>,
    next: Result<Found, Error>,
}

/// The events of the open batch as they come, in the order that was asked for; [`Provider::streamed`] tells whether
/// these were all.
pub(super) struct Streamed {
    /// `None` after the last.
    chunks: Receiver<Option<Chunk>>,
    whole: bool,
}

impl Iterator for Streamed {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.recv().ok()?;
        self.whole = chunk.is_none();
        chunk
    }
}

impl Provider {
    pub(super) fn new(session: Session) -> Provider {
        Provider {
            session: Arc::new(Mutex::new(session)),
            reading: None,
            ahead: None,
            open: None,
            applied: None,
            opened: None,
            rest: 0,
            merged: false,
            fresh: true,
        }
    }

    /// The session, when the thread has done with it.
    ///
    /// # Errors
    /// The thread has lost the connection, or could not do what was asked of it.
    pub(super) fn session(&mut self) -> Result<&mut Session, Error> {
        if let Some(reading) = self.reading.take() {
            let Ended { open, next } = reading.end();
            open?;
            match next {
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
            self.applied = None;
        }
        self.idle_session().open()
    }

    /// Opens the first batch, the one after `tick`, or returns the open one; `None` if there is no tick. It is made of
    /// several ticks if that is worth it, and `tick` known.
    pub(super) fn first_batch(
        &mut self,
        reader: &Reader,
        tick: Option<TickId>,
    ) -> Result<Option<Batch>, Error> {
        let provider = self.open()?;
        let left = match tick {
            Some(tick) => left(provider, &reader.queue, tick)?,
            None => None,
        };
        self.fresh = false;
        let wish = left.and_then(Left::first_wish);
        self.open_batch(reader, wish.filter(|_| reader.merges))
    }

    /// Whether [`Provider::first_batch`] is what to ask for.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Opens the next batch, of the ticks that were read, or returns the open one; `None` if there is no tick.
    pub(super) fn next_batch(&mut self, reader: &Reader) -> Result<Option<Batch>, Error> {
        self.open()?;
        let ahead = self.ahead.take();
        let wish = ahead.as_ref().and_then(|ahead| ahead.wish.clone());
        let batch = match self.applied.take() {
            Some(applied) => self.go_on(applied, reader, wish)?,
            None => self.open_batch(reader, wish)?,
        };
        self.open = ahead.filter(|ahead| batch.as_ref().is_some_and(|batch| ahead.is(batch)));
        Ok(batch)
    }

    fn open_batch(
        &mut self,
        reader: &Reader,
        wish: Option<BatchWish>,
    ) -> Result<Option<Batch>, Error> {
        let Reader {
            queue, consumer, ..
        } = reader;
        let provider = self.idle_session().open()?;
        if let Some(wish) = wish {
            // On disk before it is applied: after a crash its ticks would come one by one.
            let batch = batch::next_batch_like(&mut **provider, queue, consumer, &wish)?;
            if batch.is_some() {
                self.merged = true;
                return Ok(batch);
            }
        }
        self.merged = false;
        let provider = self.idle_session().open()?;
        Ok(batch::next_batch_soon(&mut **provider, queue, consumer)?)
    }

    /// Finishes a batch and opens the next one, which is known before it is on disk; then the one after that is read.
    fn go_on(
        &mut self,
        applied: BatchId,
        reader: &Reader,
        wish: Option<BatchWish>,
    ) -> Result<Option<Batch>, Error> {
        let (tell, told) = sync_channel(1);
        let (settle, settled) = sync_channel(1);
        let reader = reader.clone();
        let merged = wish.is_some();
        let reads = self.is_rested();
        self.start(move |provider| {
            let opened = (|| {
                let mut tx = provider.begin()?;
                batch::finish_batch(&mut *tx, applied)?;
                let Reader {
                    queue, consumer, ..
                } = &reader;
                let mut next = None;
                if let Some(wish) = &wish {
                    next = batch::next_batch_like(&mut *tx, queue, consumer, wish)?;
                }
                if next.is_none() {
                    next = batch::next_batch(&mut *tx, queue, consumer)?;
                }
                // Who does not listen any more sees in the end what became of it.
                let _ = tell.send(next.clone());
                tx.commit()?;
                let _ = settle.send(());
                Ok::<_, Error>(next)
            })();
            let (open, next) = match opened {
                Ok(Some(open)) if reads => (Ok(()), read(provider, &reader, &open, merged)),
                Ok(_) => (Ok(()), Ok(Found::Nothing)),
                Err(error) => (Err(error), Ok(Found::Nothing)),
            };
            Ended { open, next }
        })?;
        self.merged = merged;
        match told.recv() {
            Ok(Some(batch)) => {
                self.opened = Some(settled);
                Ok(Some(batch))
            }
            // It has failed; or there is no batch, which is as good as known when it is over.
            Ok(None) | Err(_) => self.session().map(|_| None),
        }
    }

    /// Waits until the provider is sure to have opened the open batch.
    ///
    /// # Errors
    /// It may not be.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        match self.opened.take() {
            Some(opened) if opened.recv().is_err() => self.session().map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Finishes a batch that is applied; along with the opening of the next one, if that was read.
    ///
    /// # Errors
    /// The statement failed.
    pub(super) fn finish(&mut self, batch: &Batch) -> Result<(), Error> {
        self.open()?;
        self.open = None;
        self.applied = Some(batch.id);
        let follows = |ahead: &Ahead| ahead.prev_tick == batch.tick;
        match self.ahead.as_ref().is_some_and(follows) {
            true => Ok(()),
            false => self.finish_applied(),
        }
    }

    /// Finishes a batch that was to be finished with the opening of the next one.
    ///
    /// # Errors
    /// The statement failed.
    pub(super) fn finish_applied(&mut self) -> Result<(), Error> {
        if self.applied.is_some() {
            self.open()?;
        }
        if let Some(batch) = self.applied.take() {
            batch::finish_batch(&mut **self.idle_session().open()?, batch)?;
        }
        Ok(())
    }

    /// Gives the open batch back: its ticks come again, one by one if the reader does not merge.
    ///
    /// # Errors
    /// The provider is not reached, or the statement failed.
    pub(super) fn give_back(&mut self, reader: &Reader, batch: &Batch) -> Result<(), Error> {
        let Reader {
            queue, consumer, ..
        } = reader;
        self.open()?;
        self.discard();
        self.opened = None;
        self.merged = false;
        let provider = self.idle_session().open()?;
        admin::register_consumer_at(&mut **provider, queue, consumer, batch.prev_tick)?;
        Ok(())
    }

    /// Whether the open batch was read.
    pub(super) fn has_read(&self) -> bool {
        self.open.is_some()
    }

    /// What was read of the open batch, if it was.
    pub(super) fn take(&mut self) -> Option<Vec<Chunk>> {
        self.open.take().map(|open| open.chunks)
    }

    /// Forgets what was read.
    pub(super) fn discard(&mut self) {
        self.ahead = None;
        self.open = None;
    }

    /// Whether the next batch is to be read ahead.
    fn is_rested(&mut self) -> bool {
        let rested = self.rest == 0;
        self.rest = self.rest.saturating_sub(1);
        rested
    }

    /// Begins to read the batch after the open one, if that has not begun.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn read_ahead(&mut self, reader: Reader, open: &Batch) -> Result<(), Error> {
        if self.reading.is_some() {
            return Ok(());
        }
        self.discard();
        if !self.is_rested() {
            return Ok(());
        }
        let (open, merged) = (open.clone(), self.merged);
        self.start(move |provider| Ended {
            open: Ok(()),
            next: read(provider, &reader, &open, merged),
        })
    }

    /// Begins to read the open batch, chunks as fast as they are taken, and then the next one, if there is a reader for
    /// it.
    ///
    /// # Errors
    /// There is no thread to be had; or the one before has lost the connection.
    pub(super) fn stream(
        &mut self,
        open: &Batch,
        manner: Manner,
        next: Option<Reader>,
    ) -> Result<Streamed, Error> {
        self.open()?;
        self.discard();
        let next = next.filter(|_| self.is_rested());
        let (sender, chunks) = sync_channel(stream::AHEAD);
        let (batch, merged) = (open.clone(), self.merged);
        self.start(move |provider| {
            let send = |chunk| sender.send(Some(chunk)).is_ok();
            let open = stream::read(provider, &batch, manner, send);
            let whole = matches!(open, Ok(true)) && sender.send(None).is_ok();
            drop(sender);
            let next = match next.filter(|_| whole) {
                Some(reader) => read(provider, &reader, &batch, merged),
                None => Ok(Found::Nothing),
            };
            let open = open.map(|_| ());
            Ended { open, next }
        })?;
        Ok(Streamed {
            chunks,
            whole: false,
        })
    }

    /// What came of applying a stream.
    ///
    /// # Errors
    /// Applying it failed, or it was not read to its end.
    pub(super) fn streamed(
        &mut self,
        streamed: Streamed,
        applied: Result<Counts, Error>,
    ) -> Result<Counts, Error> {
        let Streamed { whole, chunks } = streamed;
        // Who waits to send more has to see that nobody takes it.
        drop(chunks);
        match (applied, whole) {
            (Ok(counts), true) => Ok(counts),
            (Ok(counts), false) => self.session().map(|_| counts),
            (Err(error), _) => {
                self.break_off();
                Err(error)
            }
        }
    }

    fn start(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Ended + Send + 'static,
    ) -> Result<(), Error> {
        let canceller = self.open()?.canceller();
        let session = Arc::clone(&self.session);
        let work = move || {
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            match session.open() {
                Ok(provider) => work(provider),
                Err(error) => Ended {
                    open: Err(error),
                    next: Ok(Found::Nothing),
                },
            }
        };
        let thread = std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(work)
            .map_err(Error::Thread)?;
        self.reading = Some(Reading { thread, canceller });
        Ok(())
    }

    /// Has the thread end, and forgets what it has read.
    fn break_off(&mut self) {
        if let Some(reading) = self.reading.take() {
            if !reading.thread.is_finished() {
                // If it cannot be told, it is waited for.
                let _ = reading.canceller.cancel();
            }
            reading.end();
        }
        self.discard();
    }

    /// Drops the connection, and what was read with it.
    pub(super) fn reset(&mut self) {
        self.break_off();
        self.applied = None;
        self.opened = None;
        self.rest = 0;
        self.merged = false;
        self.fresh = true;
        self.idle_session().reset();
    }

    /// Closes a connection past its lifetime; between two rounds only.
    pub(super) fn expire(&mut self) {
        // A lost connection is the matter of who uses it next.
        let Ok(session) = self.session() else {
            return;
        };
        if session.is_expired() && self.finish_applied().is_ok() {
            self.idle_session().expire();
        }
    }
}

impl Reading {
    fn end(self) -> Ended {
        self.thread.join().expect("reading does not panic")
    }
}
