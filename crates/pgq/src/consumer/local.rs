use std::time::{Duration, Instant};

use skytools::daemon::{Context, Work};
use skytools::db::Database;
use tracing::{info, warn};

use super::source::{Events, Source};
use super::tracking::TrackingFile;
use super::{ConsumerConfig, SerialArgs};
use crate::position::{self, Position, Verdict};
use crate::{Error, TickId, admin, failpoint};

/// Hands on batch after batch to something that is no database, and remembers the tick it has reached
/// in a file.
///
/// A crash between the last action and the write of the file repeats the batch: at least once. A
/// batch that does not follow the remembered tick is refused: [`Error::LostPosition`]; the next round
/// moves the queue back to that tick.
pub struct LocalConsumer {
    source: Source,
    tracking: TrackingFile,
    /// Queue and file were found or made to agree since the last failure.
    agreed: bool,
}

impl LocalConsumer {
    /// A consumer that connects when it is first used. The directory of its key
    /// `local_tracking_file` must exist; no other process may use the file.
    ///
    /// # Errors
    /// [`Error::NotSet`]: the settings have no tracking file.
    pub fn new(source: Database, config: ConsumerConfig) -> Result<LocalConsumer, Error> {
        let path = config
            .tracking_file
            .clone()
            .ok_or(Error::NotSet("local_tracking_file"))?;
        Ok(LocalConsumer {
            source: Source::new(source, config),
            tracking: TrackingFile::new(path),
            agreed: false,
        })
    }

    /// Runs what the options ask for instead of the work loop. True if they did.
    ///
    /// # Errors
    /// A statement failed, or the file cannot be used.
    pub fn command(&mut self, args: SerialArgs) -> Result<bool, Error> {
        let SerialArgs {
            consumer,
            rewind,
            reset,
        } = args;
        if consumer.register {
            self.agree()?;
        } else if consumer.unregister {
            let tracking = &self.tracking;
            self.source.unregister(|| tracking.remove())?;
        } else if rewind {
            self.rewind()?;
        } else if reset {
            info!("Resetting local tracking");
            self.tracking.remove()?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Moves the queue to the position of the file; an open batch is abandoned.
    fn rewind(&mut self) -> Result<(), Error> {
        info!("Rewinding queue");
        match self.tracking.load()? {
            Some(tick) => Ok(self.source.reposition(tick)?.commit()?),
            None => {
                warn!("No tick found in the local tracking file");
                Ok(())
            }
        }
    }

    /// Makes the positions of queue and file agree; of two the file's counts.
    fn agree(&mut self) -> Result<(), Error> {
        let local = self.tracking.load()?;
        match (self.position()?, local) {
            (None, Some(tick)) => {
                info!("Registering consumer on source queue");
                self.source.reposition(tick)?.commit()?;
            }
            (None, None) => {
                self.source.register(|| Ok(()))?;
                let tick = self.position()?.ok_or(Error::Unregistered)?;
                self.tracking.store(tick)?;
            }
            (Some(queue), None) => self.tracking.store(queue)?,
            (Some(queue), Some(local)) if queue == local => {
                info!("Ticks match: Queue={queue} Local={local}");
            }
            (Some(queue), Some(local)) => {
                warn!("Tracking out of sync: Queue={queue} Local={local}");
                self.source.reposition(local)?.commit()?;
            }
        }
        self.agreed = true;
        Ok(())
    }

    /// The position of the queue; `None` if the consumer is not registered.
    fn position(&mut self) -> Result<Option<TickId>, Error> {
        let (tx, config) = self.source.begin()?;
        let mut tx = tx;
        let tick = admin::consumer_position(&mut *tx, &config.queue, &config.consumer)?;
        tx.commit()?;
        Ok(tick)
    }

    /// Takes one batch and hands it to `apply`.
    ///
    /// # Errors
    /// What `apply` returned, the source failed or the file cannot be written; the batch will be
    /// repeated.
    pub fn work<E: From<Error>>(
        &mut self,
        context: &mut Context,
        apply: impl FnOnce(&mut Events<'_>) -> Result<(), E>,
    ) -> Result<Work, E> {
        let start = Instant::now();
        if !self.agreed {
            self.agree()?;
        }
        let Some(batch) = self.source.next_batch(&mut context.stats)? else {
            return Ok(Work::Idle);
        };
        failpoint::step("consumer.after_next_batch");
        let mut count = 0;
        let stored = self.tracking.load()?.map(Position::from);
        match position::check(&batch, stored)? {
            Verdict::AlreadyApplied => info!("batch {} is applied already", batch.id),
            Verdict::Apply => {
                let mut events = self.source.events(&batch)?;
                apply(&mut events)?;
                count = events.close()?;
                failpoint::step("consumer.before_target_commit");
                self.tracking.store(batch.tick)?;
                failpoint::step("consumer.after_target_commit");
            }
        }
        self.source.finish(&batch)?;
        failpoint::step("consumer.after_finish");
        self.source.count(&mut context.stats, &batch, count, start);
        Ok(Work::More)
    }

    /// Waits after an idle round until the queue ticks, `delay` at most.
    ///
    /// Ticks are heard of queues whose setting `notify` is on; see `pgq_listen`.
    pub fn pause(&mut self, context: &Context, delay: Duration) {
        self.source.pause(context, delay);
    }

    /// Drops the connection after a failed round; the next one compares the positions again.
    pub fn recover(&mut self) {
        self.agreed = false;
        self.source.recover();
    }

    /// Closes a connection past its lifetime, between two rounds.
    pub fn between(&mut self) {
        self.source.db.expire();
    }
}
