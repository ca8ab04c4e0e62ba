use std::time::{Duration, Instant};

use skytools::daemon::{Context, Stop, Work};
use skytools::db::{Database, Tx};
use tracing::{info, warn};

use super::source::{Events, Source};
use super::target::Target;
use super::{ConsumerConfig, SerialArgs, crash_point};
use crate::position::{self, Verdict};
use crate::{Error, TickId};

/// Applies batch after batch in another database, which remembers the tick it has reached.
///
/// A batch that does not follow that tick is refused: [`Error::LostPosition`]. Its events must not be
/// retried one by one, as they would come out of order.
pub struct SerialConsumer {
    source: Source,
    target: Target,
}

impl SerialConsumer {
    /// A consumer that connects when it is first used. `schema` has the functions `get_last_tick`
    /// and `set_last_tick`: `pgq_ext`.
    pub fn new(
        source: Database,
        target: Database,
        schema: &str,
        config: ConsumerConfig,
    ) -> SerialConsumer {
        SerialConsumer {
            target: Target::new(target, schema, config.consumer.clone(), config.lock),
            source: Source::new(source, config),
        }
    }

    /// Runs what the options ask for instead of the work loop. True if they did.
    ///
    /// # Errors
    /// A statement failed, or another process runs this consumer.
    pub fn command(&mut self, args: SerialArgs) -> Result<bool, Error> {
        let SerialArgs {
            consumer,
            rewind,
            reset,
        } = args;
        if !(consumer.register || consumer.unregister || rewind || reset) {
            return Ok(false);
        }
        let Self { source, target } = self;
        target.lock(&Stop::default())?;
        if consumer.register {
            source.register(|| forget(target))?;
        } else if consumer.unregister {
            source.unregister(|| forget(target))?;
        } else if rewind {
            self.rewind()?;
        } else {
            info!("Resetting queue tracking on dst side");
            forget(target)?;
        }
        Ok(true)
    }

    /// Moves the consumer to the position of the target; an open batch is abandoned.
    fn rewind(&mut self) -> Result<Option<TickId>, Error> {
        info!("Rewinding queue");
        let (schema, consumer) = (self.target.schema.clone(), self.target.consumer.clone());
        let mut dst = self.target.begin()?;
        let Some(tick) = position::last_tick(&mut *dst, &schema, &consumer)? else {
            warn!("No tick found on dst side");
            return Ok(None);
        };
        let src = self.source.reposition(tick)?;
        dst.commit()?;
        src.commit()?;
        Ok(Some(tick))
    }

    /// Takes one batch and hands it to `apply`, with the target's transaction.
    ///
    /// # Errors
    /// What `apply` returned, or either side failed; the batch will be repeated, unless the target
    /// has it.
    pub fn work<E: From<Error>>(
        &mut self,
        context: &mut Context,
        apply: impl FnOnce(&mut Events<'_>, &mut Tx<'_>) -> Result<(), E>,
    ) -> Result<Work, E> {
        let start = Instant::now();
        let Self { source, target } = self;
        target.lock(&context.stop)?;
        source.attach(|| forget(target))?;
        let Some(batch) = source.next_batch(&mut context.stats)? else {
            return Ok(Work::Idle);
        };
        crash_point!("consumer.after_next_batch");
        let (schema, consumer) = (target.schema.clone(), target.consumer.clone());
        let mut count = 0;
        let mut dst = target.begin()?;
        let stored = position::last_tick(&mut *dst, &schema, &consumer)?;
        match position::check(&batch, stored)? {
            Verdict::AlreadyApplied => {
                info!("batch {} is applied already", batch.id);
                dst.rollback().map_err(Error::from)?;
            }
            Verdict::Apply => {
                let mut events = source.events(&batch)?;
                apply(&mut events, &mut dst)?;
                count = events.close()?;
                position::set_last_tick(&mut *dst, &schema, &consumer, Some(batch.tick))?;
                crash_point!("consumer.before_target_commit");
                dst.commit().map_err(Error::from)?;
                crash_point!("consumer.after_target_commit");
            }
        }
        source.finish(&batch)?;
        crash_point!("consumer.after_finish");
        source.count(&mut context.stats, &batch, count, start);
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

/// Clears the position at the target.
fn forget(target: &mut Target) -> Result<(), Error> {
    let (schema, consumer) = (target.schema.clone(), target.consumer.clone());
    let mut tx = target.begin()?;
    position::set_last_tick(&mut *tx, &schema, &consumer, None)?;
    Ok(tx.commit()?)
}
