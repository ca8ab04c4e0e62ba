use std::cell::RefCell;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use skytools::conninfo::ConnInfo;
use skytools::daemon::{Context, Stop, Work};
use skytools::db::{Connection, Database, DbError, Tx};
use tracing::{info, warn};

use super::source::{Events, Source};
use super::target::Target;
use super::{BatchWork, ConsumerConfig, OpenBatch, SerialArgs};
use crate::batch::Batch;
use crate::position::{self, Position, TIMES_OF_TICKS, Verdict};
use crate::{Error, TickId, failpoint};

/// Applies batch after batch in another database, which remembers the tick it has reached.
///
/// A batch that does not follow that tick is refused: [`Error::LostPosition`], and [`Error::OtherTick`] where the tick
/// has its number only. Its events must not be retried one by one, as they would come out of order.
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
        let times = self.target.keeps_times(TIMES_OF_TICKS)?;
        let mut dst = self.target.begin()?;
        let Some(stored) = position::stored(&mut *dst, &schema, &consumer, times)? else {
            warn!("No tick found on dst side");
            return Ok(None);
        };
        let tick = stored.tick;
        if stored.time.is_some()
            && let Some(found) = self.source.tick_time(tick)?
        {
            stored.insist(found)?;
        }
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
        self.work_on(context, &mut Once(Some(apply), PhantomData))
    }

    /// Takes one batch and goes through the steps of `work`.
    ///
    /// # Errors
    /// What a step returned, or either side failed; the batch will be repeated, unless the target
    /// has it.
    pub fn work_on<W: BatchWork>(
        &mut self,
        context: &mut Context,
        work: &mut W,
    ) -> Result<Work, W::Error> {
        let start = Instant::now();
        self.attach(&context.stop)?;
        let Self { source, target } = self;
        let Some(batch) = source.next_batch(&mut context.stats)? else {
            return Ok(Work::Idle);
        };
        failpoint::step("consumer.after_next_batch");
        let (schema, consumer) = (target.schema.clone(), target.consumer.clone());
        let times = target.keeps_times(TIMES_OF_TICKS)?;
        let reached = Position {
            tick: batch.tick,
            time: times.then_some(batch.end),
        };
        let mut open = OpenBatch::new(source, &batch);
        let mut prepared = false;
        loop {
            let Some((mut dst, stored)) = enter(target, &batch, times)? else {
                info!("batch {} is applied already", batch.id);
                break;
            };
            if !prepared && work.prepare(&mut open, &mut dst)? {
                failpoint::step("consumer.before_prepare_commit");
                dst.commit().map_err(Error::from)?;
                failpoint::step("consumer.prepared");
                prepared = true;
                continue;
            }
            match work.apply(&mut open, &mut dst) {
                Err(error) if work.is_unprepared(&error) || open.was_doubtful() => {
                    if dst.rollback().is_err() {
                        return Err(error);
                    }
                    prepared = false;
                    continue;
                }
                applied => applied?,
            }
            if !position::advance(&mut *dst, &schema, &consumer, stored, reached)? {
                return Err(Error::Overtaken(consumer).into());
            }
            failpoint::step("consumer.before_target_commit");
            dst.commit().map_err(Error::from)?;
            failpoint::step("consumer.after_target_commit");
            break;
        }
        let count = open.count();
        source.finish(&batch)?;
        failpoint::step("consumer.after_finish");
        source.count(&mut context.stats, &batch, count, start);
        Ok(Work::More)
    }

    /// Takes one batch, goes through the steps of `work` in one transaction and undoes it: neither
    /// side moves. Returns the batch, if there is one that the target does not have.
    ///
    /// # Errors
    /// What a step returned, either side failed, or the consumer is not registered.
    pub fn rehearse<W: BatchWork>(
        &mut self,
        context: &mut Context,
        work: &mut W,
    ) -> Result<Option<Batch>, W::Error> {
        self.source.config.register = false;
        self.attach(&context.stop)?;
        let Self { source, target } = self;
        let Some(batch) = source.next_batch(&mut context.stats)? else {
            return Ok(None);
        };
        let times = target.keeps_times(TIMES_OF_TICKS)?;
        let mut open = OpenBatch::new(source, &batch);
        let Some((mut dst, _)) = enter(target, &batch, times)? else {
            return Ok(None);
        };
        loop {
            work.prepare(&mut open, &mut dst)?;
            // What was prepared stays until the end, as what is committed would.
            match savepoint(&mut dst, |dst| work.apply(&mut open, dst)) {
                Err(error) if work.is_unprepared(&error) || open.was_doubtful() => {}
                applied => {
                    applied?;
                    break;
                }
            }
        }
        dst.rollback().map_err(Error::from)?;
        Ok(Some(batch))
    }

    /// Makes sure that this process has the consumer, and that it is registered.
    fn attach(&mut self, stop: &Stop) -> Result<(), Error> {
        let Self { source, target } = self;
        target.lock(stop)?;
        let target = RefCell::new(target);
        source.attach_to(
            || stored(&mut target.borrow_mut()),
            || forget(&mut target.borrow_mut()),
        )
    }

    /// Connections to source and target, in this order, before anything is registered.
    ///
    /// # Errors
    /// Either cannot be reached, or another process runs this consumer.
    pub fn connections(
        &mut self,
        stop: &Stop,
    ) -> Result<(&mut Connection, &mut Connection), Error> {
        self.target.lock(stop)?;
        Ok((self.source.db.connection()?, self.target.open()?))
    }

    /// Takes changed settings, between two rounds; connections that they do not concern stay.
    pub fn reconfigure(&mut self, source: ConnInfo, target: ConnInfo, config: ConsumerConfig) {
        self.target
            .reconfigure(target, &config.consumer, config.lock);
        self.source.reconfigure(source, config);
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
        self.source.detach();
        self.target.recover();
    }

    /// Closes connections past their lifetime, between two rounds.
    pub fn between(&mut self, lifetime: Duration) {
        self.source.db.expire();
        self.target.expire(lifetime);
    }

    /// Whether it is of no use to try again: another process has this consumer, at the start; or a
    /// person has to register it.
    pub fn is_fatal(&self, error: &Error) -> bool {
        let unregistered = matches!(
            error,
            Error::LostRegistration { .. } | Error::NotRegistered { .. }
        );
        unregistered || self.target.is_refusal(error)
    }
}

/// Runs `body` inside a savepoint of a target's transaction; undoes what it did when it fails.
///
/// # Errors
/// What `body` returned, or the savepoint could not be set, released or rolled back to.
pub(crate) fn savepoint<'t, T, E: From<Error>>(
    target: &mut Tx<'t>,
    body: impl FnOnce(&mut Tx<'t>) -> Result<T, E>,
) -> Result<T, E> {
    let done = target.savepoint(|target| body(target).map_err(Undone::Failed));
    done.map_err(|undone| match undone {
        Undone::Failed(error) => error,
        Undone::Savepoint(error) => Error::from(error).into(),
    })
}

/// Why something was not done within a savepoint.
enum Undone<E> {
    Failed(E),
    Savepoint(DbError),
}

impl<E> From<DbError> for Undone<E> {
    fn from(error: DbError) -> Undone<E> {
        Undone::Savepoint(error)
    }
}

/// A closure that can be called once, as the work on a batch.
struct Once<F, E>(Option<F>, PhantomData<E>);

impl<F, E> BatchWork for Once<F, E>
where
    E: From<Error>,
    F: FnOnce(&mut Events<'_>, &mut Tx<'_>) -> Result<(), E>,
{
    type Error = E;

    fn apply(&mut self, batch: &mut OpenBatch<'_>, target: &mut Tx<'_>) -> Result<(), E> {
        match self.0.take() {
            Some(apply) => batch.with_events(|events| apply(events, target)),
            None => Ok(()),
        }
    }
}

/// Begins the target's transaction and reads the position; `None` if the target has the batch.
fn enter<'t>(
    target: &'t mut Target,
    batch: &Batch,
    times: bool,
) -> Result<Option<(Tx<'t>, Option<TickId>)>, Error> {
    let (schema, consumer) = (target.schema.clone(), target.consumer.clone());
    let mut tx = target.begin()?;
    let stored = position::stored(&mut *tx, &schema, &consumer, times)?;
    match position::check(batch, stored)? {
        Verdict::Apply => Ok(Some((tx, stored.map(|stored| stored.tick)))),
        Verdict::AlreadyApplied => {
            tx.rollback()?;
            Ok(None)
        }
    }
}

/// The position at the target.
fn stored(target: &mut Target) -> Result<Option<TickId>, Error> {
    let (schema, consumer) = (target.schema.clone(), target.consumer.clone());
    position::last_tick(&mut **target.open()?, &schema, &consumer)
}

/// Clears the position at the target.
fn forget(target: &mut Target) -> Result<(), Error> {
    let (schema, consumer) = (target.schema.clone(), target.consumer.clone());
    let mut tx = target.begin()?;
    position::set_last_tick(&mut *tx, &schema, &consumer, None)?;
    Ok(tx.commit()?)
}
