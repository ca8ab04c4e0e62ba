use std::time::Instant;

use skytools::daemon::{Context, Work};
use skytools::db::{Database, Tx};

use super::source::{self, Source};
use super::tags::Tags;
use super::{ConsumerArgs, ConsumerConfig, crash_point};
use crate::Error;
use crate::batch::{Disposition, Event, EventCursor};

/// Handles each event by itself, in the source database or outside of any.
///
/// What the handler does in the transaction it is given commits together with the end of the batch:
/// exactly once. What it does elsewhere is repeated after a failure.
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
        mut handle: impl FnMut(&mut Tx<'_>, &Event) -> Result<Disposition, E>,
    ) -> Result<Work, E> {
        let start = Instant::now();
        self.source.attach(|| Ok(()))?;
        let Some(batch) = self.source.next_batch(&mut context.stats)? else {
            return Ok(Work::Idle);
        };
        crash_point!("consumer.after_next_batch");
        let mut tags = Tags::default();
        let mut count = 0;
        {
            let (mut tx, config) = self.source.begin()?;
            let filter = config.filter.as_deref();
            let mut cursor = EventCursor::open(&mut tx, batch.id, config.lazy_fetch, filter)?;
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
            tags.write(&mut *tx, &batch)?;
            source::finish(&mut *tx, &batch)?;
            crash_point!("consumer.before_source_commit");
            tx.commit().map_err(Error::from)?;
        }
        crash_point!("consumer.after_finish");
        self.source.count(&mut context.stats, count, start);
        tags.count(&mut context.stats);
        Ok(Work::More)
    }

    /// Drops the connection after a failed round.
    pub fn recover(&mut self) {
        self.source.db.reset();
    }

    /// Closes a connection past its lifetime, between two rounds.
    pub fn between(&mut self) {
        self.source.db.expire();
    }
}
