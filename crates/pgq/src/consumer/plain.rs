use std::time::{Duration, Instant};

use skytools::daemon::{Context, Work};
use skytools::db::{Database, Tx};

use super::source::{self, Source};
use super::tags::Tags;
use super::{ConsumerArgs, ConsumerConfig};
use crate::batch::{self, Batch, Disposition, Event};
use crate::{Error, SubconsumerName, failpoint};

/// Handles each event by itself, in the source database or outside of any.
///
/// What the handler does in the transaction it is given commits together with the end of the batch:
/// exactly once. What it does elsewhere is repeated after a failure. With `pgq_autocommit` the
/// handler has a transaction for each event, and none is open in between.
pub struct Consumer {
    source: Source,
}

impl Consumer {
    /// A consumer that connects when it is first used.
    pub fn new(db: Database, config: ConsumerConfig) -> Consumer {
        Consumer {
            source: Source::new(db, config),
        }
    }

    /// A member of a cooperative consumer.
    pub(super) fn of_member(
        db: Database,
        config: ConsumerConfig,
        name: SubconsumerName,
    ) -> Consumer {
        Consumer {
            source: Source::of_member(db, config, name),
        }
    }

    /// Runs what the options ask for instead of the work loop. True if they did.
    ///
    /// # Errors
    /// A statement failed.
    pub fn command(&mut self, args: ConsumerArgs) -> Result<bool, Error> {
        if args.register {
            self.source.register(|| Ok(()))?;
        } else if args.unregister {
            self.source.unregister(|| Ok(()))?;
        }
        Ok(args.register || args.unregister)
    }

    /// Takes one batch and hands each of its events to `handle`, with the source's transaction.
    ///
    /// # Errors
    /// What `handle` returned, or the source failed; the batch will be repeated.
    pub fn work<E: From<Error>>(
        &mut self,
        context: &mut Context,
        handle: impl FnMut(&mut Tx<'_>, &Event) -> Result<Disposition, E>,
    ) -> Result<Work, E> {
        let start = Instant::now();
        self.source.attach(|| Ok(()))?;
        let Some(batch) = self.source.next_batch(&mut context.stats)? else {
            return Ok(Work::Idle);
        };
        failpoint::step("consumer.after_next_batch");
        let mut tags = Tags::default();
        let count = if self.source.config.autocommit {
            self.handle_each_alone(&batch, &mut tags, handle)?
        } else {
            self.handle_together(&batch, &mut tags, handle)?
        };
        failpoint::step("consumer.after_finish");
        self.source.count(&mut context.stats, &batch, count, start);
        tags.count(&mut context.stats);
        Ok(Work::More)
    }

    /// All of the batch in one transaction, which ends it.
    fn handle_together<E: From<Error>>(
        &mut self,
        batch: &Batch,
        tags: &mut Tags,
        mut handle: impl FnMut(&mut Tx<'_>, &Event) -> Result<Disposition, E>,
    ) -> Result<i64, E> {
        let features = self.source.features()?;
        let is_member = self.source.is_member();
        let mut count = 0;
        let (mut tx, config) = self.source.begin()?;
        let mut cursor = source::open_cursor(&mut tx, batch, config, features)?;
        loop {
            let events = cursor.fetch(&mut tx)?;
            if events.is_empty() {
                break;
            }
            for event in &events {
                count += 1;
                tags.note(event.id, handle(&mut tx, event)?);
            }
        }
        tags.write(&mut *tx, batch, features, config.failed_event_action)?;
        source::finish(&mut *tx, batch, is_member)?;
        failpoint::step("consumer.before_source_commit");
        tx.commit().map_err(Error::from)?;
        Ok(count)
    }

    /// Each event in a transaction of its own, the end of the batch in another.
    fn handle_each_alone<E: From<Error>>(
        &mut self,
        batch: &Batch,
        tags: &mut Tags,
        mut handle: impl FnMut(&mut Tx<'_>, &Event) -> Result<Disposition, E>,
    ) -> Result<i64, E> {
        let features = self.source.features()?;
        let is_member = self.source.is_member();
        let db = self.source.db.connection().map_err(Error::from)?;
        let filter = self.source.config.filter.as_deref();
        let mut count = 0;
        for event in batch::events(&mut **db, batch.id, filter)? {
            count += 1;
            let mut tx = db.begin().map_err(Error::from)?;
            tags.note(event.id, handle(&mut tx, &event)?);
            tx.commit().map_err(Error::from)?;
        }
        let (mut tx, config) = self.source.begin()?;
        tags.write(&mut *tx, batch, features, config.failed_event_action)?;
        source::finish(&mut *tx, batch, is_member)?;
        failpoint::step("consumer.before_source_commit");
        tx.commit().map_err(Error::from)?;
        Ok(count)
    }

    /// Waits after an idle round until the queue ticks, `delay` at most.
    ///
    /// Ticks are heard of queues whose setting `notify` is on; see `pgq_listen`.
    pub fn pause(&mut self, context: &Context, delay: Duration) {
        self.source.pause(context, delay);
    }

    /// Drops the connection after a failed round.
    pub fn recover(&mut self) {
        self.source.recover();
    }

    /// Closes a connection past its lifetime, between two rounds.
    pub fn between(&mut self) {
        self.source.db.expire();
    }
}
