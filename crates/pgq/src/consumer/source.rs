use std::time::{Duration, Instant};

use skytools::conninfo::ConnInfo;
use skytools::daemon::Context;
use skytools::db::{Connection, Database, Tx};
use skytools::stats::Stats;
use tracing::{debug, info};

use super::ConsumerConfig;
use crate::batch::{self, Batch, BatchWish, Event, EventCursor, EventTime};
use crate::features::Features;
use crate::{Error, QueueName, SubconsumerName, TickId, admin, coop};

/// Where the ticks of queues with `queue_notify` are announced: `TICK QUEUE`.
const CHANNEL: &str = "pgq_tick";

/// Names of so many bytes are left out of the announcements.
const LONG_NAME: usize = 7900;

/// So many batches are sorted by the server after one whose events stood too far out of order.
const DISORDERLY_BATCHES: u32 = 100;

/// The reading side of a consumer.
pub(super) struct Source {
    pub(super) db: Database,
    pub(super) config: ConsumerConfig,
    /// Who this is among several that share the consumer.
    member: Option<SubconsumerName>,
    /// Whether the id of a batch is remembered elsewhere, and must not change in a crash.
    remembers_batches: bool,
    /// What the server can do, once it was asked.
    features: Option<Features>,
    attached: bool,
    /// Whether the registration was seen in this run.
    known: bool,
    /// The server refuses to listen.
    deaf: bool,
    /// End of the last batch that was finished.
    reached: Option<TickId>,
    /// When a batch with events was finished or a sign of life logged.
    heard: Instant,
    /// Batches whose events are expected to be out of order.
    disorderly: u32,
}

impl Source {
    pub(super) fn new(db: Database, config: ConsumerConfig) -> Source {
        Source {
            db,
            config,
            member: None,
            remembers_batches: false,
            features: None,
            attached: false,
            known: false,
            deaf: false,
            reached: None,
            heard: Instant::now(),
            disorderly: 0,
        }
    }

    /// A source of a consumer that remembers the id of the last batch.
    pub(super) fn with_durable_batches(db: Database, config: ConsumerConfig) -> Source {
        Source {
            remembers_batches: true,
            ..Source::new(db, config)
        }
    }

    /// A member of a cooperative consumer.
    pub(super) fn of_member(db: Database, config: ConsumerConfig, name: SubconsumerName) -> Source {
        Source {
            member: Some(name),
            ..Source::new(db, config)
        }
    }

    fn connection(&mut self) -> Result<&mut Connection, Error> {
        Ok(self.db.connection()?)
    }

    /// Lets the connection listen for ticks, if the server will have it.
    fn listen(&mut self) -> Result<(), Error> {
        // A tick is no use before its time has come.
        let wanted = self.config.listen && self.config.wish.keep_lag.is_none();
        if !wanted || self.deaf || self.db.listens() {
            return Ok(());
        }
        self.db.listen(CHANNEL);
        match self.db.connection() {
            Err(error) if !error.is_connection_lost() => {
                info!("cannot listen for ticks, only polling: {}", error.reason());
                self.db.unlisten(CHANNEL);
                self.deaf = true;
            }
            other => {
                other?;
            }
        }
        Ok(())
    }

    /// Waits for a tick of the queue to be announced, `delay` at most.
    pub(super) fn pause(&mut self, context: &Context, delay: Duration) {
        let (queue, reached) = (self.config.queue.clone(), self.reached);
        context.wait_for_payload(&mut self.db, delay, move |payload| {
            announces(payload, &queue, reached)
        });
    }

    /// What the server can do.
    pub(super) fn features(&mut self) -> Result<Features, Error> {
        match self.features {
            Some(features) => Ok(features),
            None => {
                let found = Features::of(&mut **self.connection()?)?;
                Ok(*self.features.insert(found))
            }
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

    /// As [`Source::attach`] for a consumer whose target remembers what was applied: a registration
    /// that is gone though there is a position, or though it was seen before, is not made anew.
    pub(super) fn attach_to(
        &mut self,
        applied: impl FnOnce() -> Result<Option<TickId>, Error>,
        forget: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.attached {
            return Ok(());
        }
        debug!("Attaching");
        let (queue, consumer) = (self.config.queue.clone(), self.config.consumer.clone());
        let position = admin::consumer_position(&mut **self.connection()?, &queue, &consumer)?;
        if position.is_none() {
            let applied = applied()?;
            if applied.is_some() || self.known {
                return Err(Error::LostRegistration {
                    queue,
                    consumer,
                    applied,
                });
            }
            if !self.config.register {
                return Err(Error::NotRegistered { queue, consumer });
            }
            self.register(forget)?;
        }
        (self.attached, self.known) = (true, true);
        Ok(())
    }

    /// Looks for the registration again in the next round: it may be what failed.
    pub(super) fn detach(&mut self) {
        self.attached = false;
    }

    /// Takes changed settings, between two rounds.
    pub(super) fn reconfigure(&mut self, conninfo: ConnInfo, config: ConsumerConfig) {
        let same =
            |old: &ConsumerConfig| (&old.queue, &old.consumer) == (&config.queue, &config.consumer);
        if !same(&self.config) {
            (self.attached, self.known, self.reached) = (false, false, None);
        }
        self.db.set_conninfo(conninfo);
        self.config = config;
    }

    pub(super) fn register(
        &mut self,
        forget: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let ConsumerConfig {
            queue, consumer, ..
        } = &self.config;
        let mut tx = self.db.connection()?.begin()?;
        let registered = match &self.member {
            Some(member) => coop::register_subconsumer(&mut *tx, queue, consumer, member),
            None => admin::register_consumer(&mut *tx, queue, consumer),
        };
        let new = match registered {
            Ok(new) => new,
            Err(error) => {
                _ = tx.rollback();
                // The server does not name it.
                let found = admin::queue_info(&mut **self.db.connection()?, Some(queue));
                return Err(match found.is_ok_and(|found| found.is_empty()) {
                    true => Error::NoQueue(queue.clone()),
                    false => error,
                });
            }
        };
        if new {
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
        match &self.member {
            Some(member) => {
                let open = coop::OpenBatch::Refuse;
                coop::unregister_subconsumer(&mut *tx, queue, consumer, member, open)?;
            }
            None => {
                admin::unregister_consumer(&mut *tx, queue, consumer)?;
            }
        }
        forget()?;
        Ok(tx.commit()?)
    }

    /// Opens the next batch and commits that.
    pub(super) fn next_batch(&mut self, stats: &mut Stats) -> Result<Option<Batch>, Error> {
        self.listen()?;
        let features = self.features()?;
        let ConsumerConfig {
            queue,
            consumer,
            wish,
            subconsumer_timeout,
            ..
        } = &self.config;
        let db = self.db.connection()?;
        let batch = match &self.member {
            Some(member) => {
                let mut tx = db.begin()?;
                let dead = subconsumer_timeout.as_deref();
                let batch = coop::next_batch_like(&mut *tx, queue, consumer, member, dead, wish)?;
                tx.commit()?;
                batch
            }
            None if *wish != BatchWish::default() => {
                batch::next_batch_like(&mut **db, queue, consumer, wish)?
            }
            None if !features.custom_batches => {
                batch::next_batch_by_id(&mut **db, queue, consumer)?
            }
            None if self.remembers_batches => batch::next_batch(&mut **db, queue, consumer)?,
            None => batch::next_batch_soon(&mut **db, queue, consumer)?,
        };
        if batch.is_none() && self.heard.elapsed() >= self.config.keepalive {
            stats.put("idle", self.heard.elapsed().as_secs_f64());
            self.heard = Instant::now();
        }
        Ok(batch)
    }

    /// Moves the consumer past the batch and commits that.
    pub(super) fn finish(&mut self, batch: &Batch) -> Result<(), Error> {
        let is_member = self.member.is_some();
        finish(&mut **self.connection()?, batch, is_member)
    }

    /// Has the server sort the events of this batch and the next ones.
    pub(super) fn expect_disorder(&mut self) {
        debug!("events come too far out of order, the server sorts them for some batches");
        self.disorderly = DISORDERLY_BATCHES;
    }

    /// Whether the server has to sort the events.
    pub(super) fn expects_disorder(&self) -> bool {
        self.disorderly > 0
    }

    /// Whether the consumer is one member of several.
    pub(super) fn is_member(&self) -> bool {
        self.member.is_some()
    }

    /// Begins a transaction, beside the settings it is needed with.
    pub(super) fn begin(&mut self) -> Result<(Tx<'_>, &ConsumerConfig), Error> {
        Ok((self.db.connection()?.begin()?, &self.config))
    }

    /// When a tick of the queue was made; `None` if it is not there.
    pub(super) fn tick_time(&mut self, tick: TickId) -> Result<Option<EventTime>, Error> {
        let queue = self.config.queue.clone();
        admin::tick_time(&mut **self.connection()?, &queue, tick)
    }

    /// Begins a transaction and moves the consumer to a tick in it; an open batch is abandoned.
    pub(super) fn reposition(&mut self, tick: TickId) -> Result<Tx<'_>, Error> {
        let features = self.features()?;
        let (mut tx, config) = self.begin()?;
        let (queue, consumer) = (&config.queue, &config.consumer);
        if features.register_at {
            admin::register_consumer_at(&mut *tx, queue, consumer, tick)?;
        } else {
            admin::reposition_idle(&mut *tx, queue, consumer, tick)?;
        }
        Ok(tx)
    }

    /// Begins to read a batch: all of it now, or in chunks through a cursor.
    pub(super) fn events<'a>(&'a mut self, batch: &'a Batch) -> Result<Events<'a>, Error> {
        let features = self.features()?;
        let lazy = self.config.lazy_fetch > 0;
        let filter = self.config.filter.as_deref();
        let db = self.db.connection()?;
        let (chunk, rest) = if lazy {
            let mut tx = db.begin()?;
            let cursor = open_cursor(&mut tx, batch, &self.config, features)?;
            (Vec::new(), Some((tx, cursor)))
        } else {
            (batch::events(&mut **db, batch.id, filter)?, None)
        };
        Ok(Events {
            chunk: chunk.into_iter(),
            rest,
            batch,
            count: 0,
        })
    }

    /// Counts a finished batch.
    pub(super) fn count(&mut self, stats: &mut Stats, batch: &Batch, events: i64, start: Instant) {
        self.reached = Some(batch.tick);
        self.disorderly = self.disorderly.saturating_sub(1);
        stats.put("count", events);
        stats.put("duration", start.elapsed().as_secs_f64());
        if events > 0 {
            self.heard = Instant::now();
        }
    }

    /// Drops the connection after a failed round.
    pub(super) fn recover(&mut self) {
        self.features = None;
        self.reached = None;
        self.deaf = false;
        self.db.unlisten(CHANNEL);
        self.db.reset();
    }
}

/// Whether a notification tells of a tick of the queue that comes after the one reached.
fn announces(payload: &str, queue: &QueueName, reached: Option<TickId>) -> bool {
    match payload.split_once(' ') {
        Some((tick, name)) if name == queue.as_str() => {
            let tick = tick.parse::<i64>().ok().map(TickId::from);
            tick.is_none_or(|tick| reached.is_none_or(|reached| tick > reached))
        }
        // Of a queue whose name is too long for a notification.
        None => queue.as_str().len() >= LONG_NAME && !payload.is_empty(),
        Some(_) => false,
    }
}

/// Opens a cursor on a batch, by what the server has for it.
pub(super) fn open_cursor(
    tx: &mut Tx<'_>,
    batch: &Batch,
    config: &ConsumerConfig,
    features: Features,
) -> Result<EventCursor, Error> {
    let (chunk, filter) = (config.lazy_fetch, config.filter.as_deref());
    if features.batch_cursors || chunk == 0 {
        EventCursor::open(tx, batch.id, chunk, filter)
    } else {
        EventCursor::open_by_query(tx, batch.id, chunk, filter)
    }
}

/// Finishes a batch, which must still be open.
pub(super) fn finish(
    db: &mut impl skytools::db::GenericClient,
    batch: &Batch,
    is_member: bool,
) -> Result<(), Error> {
    let finished = if is_member {
        coop::finish_batch(db, batch.id)
    } else {
        batch::finish_batch(db, batch.id)
    }?;
    if finished {
        Ok(())
    } else {
        Err(Error::BatchGone(batch.id))
    }
}

/// The events of one batch, in order, in bounded memory. Can be gone through once.
pub struct Events<'a> {
    chunk: std::vec::IntoIter<Event>,
    /// Where further chunks come from; `None` if the whole batch was read at once.
    rest: Option<(Tx<'a>, EventCursor)>,
    batch: &'a Batch,
    count: i64,
}

impl Events<'_> {
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
        if self.chunk.as_slice().is_empty()
            && let Some((tx, cursor)) = &mut self.rest
        {
            self.chunk = cursor.fetch(tx)?.into_iter();
        }
        let event = self.chunk.next();
        self.count += i64::from(event.is_some());
        Ok(event)
    }

    /// How many events were read so far.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// Ends the reading, wherever it is; returns how many events were read.
    pub(super) fn close(self) -> Result<i64, Error> {
        if let Some((tx, _)) = self.rest {
            tx.rollback()?;
        }
        Ok(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_ticks_of_the_own_queue_wake_a_consumer() {
        let queue = QueueName::from("a queue");
        let reached = Some(TickId::from(7));
        assert!(announces("8 a queue", &queue, reached));
        assert!(announces("8 a queue", &queue, None));
        for payload in [
            "7 a queue",
            "8 a",
            "8 queue",
            "8 a queue ",
            "a queue",
            "8",
            "",
        ] {
            assert!(!announces(payload, &queue, reached), "{payload:?}");
        }
        assert!(announces(
            "8",
            &QueueName::from("x".repeat(LONG_NAME)),
            reached
        ));
        // Of the queue, but unclear: worth a look.
        assert!(announces("x a queue", &queue, reached));
    }
}
