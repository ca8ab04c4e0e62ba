use std::time::Instant;

use skytools::db::{Database, Tx};
use skytools::stats::Stats;
use tracing::{debug, info};

use super::ConsumerConfig;
use crate::batch::{self, Batch, BatchWish, Event, EventCursor};
use crate::{Error, admin};

/// The reading side of a consumer.
pub(super) struct Source {
    pub(super) db: Database,
    pub(super) config: ConsumerConfig,
    attached: bool,
    /// When a batch with events was finished or a sign of life logged.
    heard: Instant,
}

impl Source {
    pub(super) fn new(db: Database, config: ConsumerConfig) -> Source {
        Source {
            db,
            config,
            attached: false,
            heard: Instant::now(),
        }
    }

    /// Registers the consumer if it is not; once per run.
    ///
    /// `forget` is called before a new registration is committed, to clear what a target remembers
    /// of an older one: interrupted in between, the next run registers again.
    pub(super) fn attach(
        &mut self,
        forget: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.attached {
            return Ok(());
        }
        debug!("Attaching");
        self.register(forget)?;
        self.attached = true;
        Ok(())
    }

    pub(super) fn register(
        &mut self,
        forget: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let ConsumerConfig {
            queue, consumer, ..
        } = &self.config;
        let mut tx = self.db.connection()?.begin()?;
        if admin::register_consumer(&mut *tx, queue, consumer)? {
            info!("Registering consumer on source queue");
            forget()?;
        }
        Ok(tx.commit()?)
    }

    pub(super) fn unregister(
        &mut self,
        forget: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        info!("Unregistering consumer from source queue");
        let ConsumerConfig {
            queue, consumer, ..
        } = &self.config;
        let mut tx = self.db.connection()?.begin()?;
        admin::unregister_consumer(&mut *tx, queue, consumer)?;
        forget()?;
        Ok(tx.commit()?)
    }

    /// Opens the next batch and commits that.
    pub(super) fn next_batch(&mut self, stats: &mut Stats) -> Result<Option<Batch>, Error> {
        let ConsumerConfig {
            queue,
            consumer,
            wish,
            ..
        } = &self.config;
        let db = self.db.connection()?;
        let batch = if *wish == BatchWish::default() {
            batch::next_batch(&mut **db, queue, consumer)
        } else {
            batch::next_batch_like(&mut **db, queue, consumer, wish)
        }?;
        if batch.is_none() && self.heard.elapsed() >= self.config.keepalive {
            stats.put("idle", self.heard.elapsed().as_secs_f64());
            self.heard = Instant::now();
        }
        Ok(batch)
    }

    /// Moves the consumer past the batch and commits that.
    pub(super) fn finish(&mut self, batch: &Batch) -> Result<(), Error> {
        finish(&mut **self.db.connection()?, batch)
    }

    /// Begins a transaction, beside the settings it is needed with.
    pub(super) fn begin(&mut self) -> Result<(Tx<'_>, &ConsumerConfig), Error> {
        Ok((self.db.connection()?.begin()?, &self.config))
    }

    /// Counts a finished batch.
    pub(super) fn count(&mut self, stats: &mut Stats, events: i64, start: Instant) {
        stats.put("count", events);
        stats.put("duration", start.elapsed().as_secs_f64());
        if events > 0 {
            self.heard = Instant::now();
        }
    }
}

/// Finishes a batch, which must still be open.
pub(super) fn finish(db: &mut impl postgres::GenericClient, batch: &Batch) -> Result<(), Error> {
    if batch::finish_batch(db, batch.id)? {
        Ok(())
    } else {
        Err(Error::BatchGone(batch.id))
    }
}

/// The events of one batch, in order, in bounded memory. Can be gone through once.
pub struct Events<'a, 'b> {
    tx: &'a mut Tx<'b>,
    cursor: EventCursor,
    chunk: std::vec::IntoIter<Event>,
    batch: &'a Batch,
    count: i64,
}

impl<'a, 'b> Events<'a, 'b> {
    pub(super) fn open(
        tx: &'a mut Tx<'b>,
        batch: &'a Batch,
        config: &ConsumerConfig,
    ) -> Result<Events<'a, 'b>, Error> {
        let filter = config.filter.as_deref();
        Ok(Events {
            cursor: EventCursor::open(tx, batch.id, config.lazy_fetch, filter)?,
            tx,
            chunk: Vec::new().into_iter(),
            batch,
            count: 0,
        })
    }

    /// The batch they belong to.
    pub fn batch(&self) -> &Batch {
        self.batch
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// The source failed.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator over results would hide that the source can fail at any event"
    )]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        if self.chunk.as_slice().is_empty() {
            self.chunk = self.cursor.fetch(self.tx)?.into_iter();
        }
        let event = self.chunk.next();
        self.count += i64::from(event.is_some());
        Ok(event)
    }

    /// How many events were read so far.
    pub fn count(&self) -> i64 {
        self.count
    }
}
