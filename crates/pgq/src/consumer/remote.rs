use std::time::{Duration, Instant};

use skytools::daemon::{Context, Work};
use skytools::db::{Database, Tx};
use tracing::{info, warn};

use super::source::Source;
use super::tags::Tags;
use super::target::Target;
use super::{ConsumerArgs, ConsumerConfig};
use crate::batch::{Disposition, Event};
use crate::position::{self, TIMES_OF_BATCHES};
use crate::{Error, failpoint};

/// Applies each batch in one transaction of another database, which remembers the last batch.
///
/// It recognises the repetition of the last batch and nothing else: a target restored from a backup
/// goes unnoticed, and of a source that was, the batches that it makes anew are applied; see
/// [`SerialConsumer`](super::SerialConsumer).
pub struct RemoteConsumer {
    source: Source,
    target: Target,
}

impl RemoteConsumer {
    /// A consumer that connects when it is first used.
    pub fn new(source: Database, target: Database, config: ConsumerConfig) -> RemoteConsumer {
        RemoteConsumer {
            target: Target::new(target, "pgq_ext", config.consumer.clone(), config.lock),
            source: Source::with_durable_batches(source, config),
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

    /// Takes one batch and hands each of its events to `handle`, with the target's transaction.
    ///
    /// Retried and failed events are told to the source before the target commits: after a crash in
    /// between they may come once more, but are not lost.
    ///
    /// # Errors
    /// What `handle` returned, or either side failed; the batch will be repeated.
    pub fn work<E: From<Error>>(
        &mut self,
        context: &mut Context,
        mut handle: impl FnMut(&mut Tx<'_>, &Event) -> Result<Disposition, E>,
    ) -> Result<Work, E> {
        let start = Instant::now();
        self.target.lock(&context.stop)?;
        self.source.attach(|| Ok(()))?;
        let Some(batch) = self.source.next_batch(&mut context.stats)? else {
            return Ok(Work::Idle);
        };
        failpoint::step("consumer.after_next_batch");
        let consumer = self.target.consumer.clone();
        let mut tags = Tags::default();
        let mut count = 0;
        let times = self.target.keeps_times(TIMES_OF_BATCHES)?;
        let end = times.then_some(batch.end);
        let mut dst = self.target.begin()?;
        let repeated = position::is_batch_done(&mut *dst, &consumer, batch.id, None)?;
        if repeated && position::is_batch_done(&mut *dst, &consumer, batch.id, end)? {
            info!("batch {} is applied already", batch.id);
            dst.rollback().map_err(Error::from)?;
        } else {
            if repeated {
                warn!(
                    "batch {} is another one than that which was applied: the source has lost its newest events, \
                     as in a failover or a restore",
                    batch.id
                );
            }
            let mut events = self.source.events(&batch)?;
            while let Some(event) = events.next()? {
                tags.note(event.id, handle(&mut dst, &event)?);
            }
            count = events.close()?;
            if !tags.is_empty() {
                let features = self.source.features()?;
                let (mut src, config) = self.source.begin()?;
                tags.write(&mut *src, &batch, features, config.failed_event_action)?;
                src.commit().map_err(Error::from)?;
            }
            position::set_batch_done(&mut *dst, &consumer, batch.id, end)?;
            failpoint::step("consumer.before_target_commit");
            dst.commit().map_err(Error::from)?;
            failpoint::step("consumer.after_target_commit");
        }
        self.source.finish(&batch)?;
        failpoint::step("consumer.after_finish");
        self.source.count(&mut context.stats, &batch, count, start);
        tags.count(&mut context.stats);
        Ok(Work::More)
    }

    /// Waits after an idle round until the queue ticks, `delay` at most.
    ///
    /// Ticks are heard of queues whose setting `notify` is on; see `pgq_listen`.
    pub fn pause(&mut self, context: &Context, delay: Duration) {
        self.source.pause(context, delay);
    }

    /// Drops the connections after a failed round.
    pub fn recover(&mut self) {
        self.source.recover();
        self.target.recover();
    }

    /// Closes connections past their lifetime, between two rounds.
    pub fn between(&mut self, lifetime: Duration) {
        self.source.db.expire();
        self.target.expire(lifetime);
    }

    /// Whether the error is that another process has this consumer, at the start: no use in trying
    /// again.
    pub fn is_fatal(&self, error: &Error) -> bool {
        self.target.is_refusal(error)
    }
}
