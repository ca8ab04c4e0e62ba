//! Bringing both sides to the same state without making anybody wait.
//!
//! The state that both sides meet in is that of a tick, X:
//!
//! 1. A REPEATABLE READ transaction on the provider makes tick X and exports its own snapshot. The
//!    tick's snapshot is the transaction's, so readers that import it see exactly the transactions
//!    whose events lie before X: not one more, not one less.
//! 2. On the subscriber, replay stores its position in the transaction of the events. A transaction
//!    here holds that row, lets go of it, and takes it again in one message, so that replay gets its
//!    turn between and commits one batch at most. When it reads X, the subscriber holds the events
//!    up to X and cannot go on. A snapshot of the subscriber taken now is of the same state as the
//!    provider's, and the row is let go.
//!
//! No table is locked. While replay is more than [`NEAR`] ticks away, its position is only looked at;
//! then it waits for [`HELD`] per batch, and at X for as long as it takes to begin a transaction.
//! Should it get past X unseen, as when it merges ticks, the position says so, and another tick is
//! tried.
//!
//! A table that is `ok` before X is made, and in the snapshot at X, was copied from a snapshot that
//! X covers, so no event up to X is missing there or applied too early.
//!
//! Who changes the subscriber's table in the state X must have it to himself: replay may have begun the
//! next batch, changed rows, and be waiting for its position. So the table is locked before the
//! position is held, in the order in which replay takes them.
//!
//! A provider that is a relay makes no ticks, and nobody but its replay writes its tables: any snapshot of it
//! is of the state at some tick. Its replay copies the events of a batch in the transaction that applies
//! them, and the tick in the next one. So a snapshot will do in which its position is the newest tick.
//!
//! With `--lock`, writers of the table wait instead while the subscriber comes up to them.

use std::time::{Duration, Instant};

use pgq::{ConsumerName, QueueName, TickId, admin, position};
use postgres::SimpleQueryMessage;
use postgres::error::SqlState;
use postgres::types::Type;
use skytools::config::CommonConfig;
use skytools::daemon::Stop;
use skytools::db::{Connection, Database, DbError, During, Session};
use skytools::quote;
use skytools::table::TableName;
use tracing::{debug, error, info};

use super::lock;
use super::session::begin_snapshot;
use crate::{Config, Error, VerifyError};

/// How long the subscriber's position is held at a time while it is not the one waited for.
const HELD: Duration = Duration::from_millis(3);

/// How many ticks away replay is when its position begins to be held.
const NEAR: i64 = 3;

/// How much longer than for a lock the subscriber is waited for: nobody else waits.
const PATIENCE: u32 = 6;

/// Time between two looks at what nobody waits behind.
const POLL: Duration = Duration::from_millis(200);

/// Time between two attempts to make a tick; the ticker makes one at the same moment at times.
const TICK_EVERY: Duration = Duration::from_millis(50);

/// Making a tick fails for longer than this only if something is wrong.
const TICK_PATIENCE: Duration = Duration::from_secs(10);

/// How often replay may get past the tick.
const ATTEMPTS: u32 = 20;

/// How much older than the newest tick the consumer's position may be at the start.
const LAG_ALLOWED_SECONDS: f64 = 10.0;

/// What decides how both sides meet.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Make writers of the table wait.
    pub(crate) lock: bool,
    /// Wait however long it takes.
    pub(crate) force: bool,
    pub(crate) stop: Stop,
}

/// Makes both sides meet, over and over.
pub(crate) struct Fence {
    queue: QueueName,
    consumer: ConsumerName,
    limit: Duration,
    terms: Terms,
    /// Makes the tick; or locks the table.
    ticker: Database,
    /// Asks for ticks while the table is locked.
    helper: Database,
    /// Holds the subscriber at its position.
    holder: Database,
    held: bool,
}

impl Fence {
    pub(crate) fn new(
        config: &Config,
        common: &CommonConfig,
        terms: Terms,
    ) -> Result<Fence, Error> {
        Ok(Fence {
            queue: config.pgq_queue_name.clone(),
            consumer: config.consumer(common),
            limit: config.lock_timeout,
            terms,
            ticker: config.provider(common)?,
            helper: config.provider(common)?,
            holder: config.subscriber(common)?,
            held: false,
        })
    }

    /// Refuses to start when the consumer is so far behind that waiting for it is in vain.
    ///
    /// # Errors
    /// Queue or consumer do not exist, or the consumer lags and `--force` is not given.
    pub(crate) fn check_lag(&mut self) -> Result<(), Error> {
        let db = self.ticker.connection()?;
        let queues = admin::queue_info(&mut **db, Some(&self.queue))?;
        let queue = queues
            .first()
            .ok_or_else(|| Error::NoQueue(self.queue.clone()))?;
        let consumers = admin::consumer_info(&mut **db, Some(&self.queue), Some(&self.consumer))?;
        let consumer = consumers
            .first()
            .ok_or_else(|| Error::NoConsumer(self.consumer.clone()))?;
        let lag = consumer.lag_seconds.unwrap_or_default();
        let ticker_lag = queue.ticker_lag_seconds.unwrap_or_default();
        if lag > ticker_lag + LAG_ALLOWED_SECONDS && !self.terms.force {
            return Err(VerifyError::ConsumerLags.into());
        }
        Ok(())
    }

    /// Makes both sides meet. Each of `readers`, on the provider, has begun a transaction that sees
    /// the state afterwards; the subscriber stays in that state until [`Fence::release`].
    ///
    /// # Errors
    /// No tick can be made, the table cannot be locked, or the subscriber takes longer than allowed.
    pub(crate) fn meet(
        &mut self,
        table: &TableName,
        readers: &mut [&mut Database],
    ) -> Result<(), Error> {
        self.meet_for(table, readers, "")
    }

    /// As [`Fence::meet`]; the subscriber's table can be changed in the state that both sides met in.
    ///
    /// # Errors
    /// As [`Fence::meet`].
    pub(crate) fn meet_to_change(
        &mut self,
        table: &TableName,
        readers: &mut [&mut Database],
    ) -> Result<(), Error> {
        let lock = format!("lock table {} in share row exclusive mode;", table.quoted());
        self.meet_for(table, readers, &lock)
    }

    fn meet_for(
        &mut self,
        table: &TableName,
        readers: &mut [&mut Database],
        claim: &str,
    ) -> Result<(), Error> {
        let result = match self.terms.lock {
            true => self.meet_behind_lock(table, readers),
            false => self.meet_at_tick(table, readers, claim),
        };
        if result.is_err() {
            self.reset();
            readers.iter_mut().for_each(|reader| reader.reset());
        }
        result
    }

    /// The subscriber, in the transaction that keeps it where both sides met. What is changed in it
    /// belongs to that state; committing it is the caller's, and [`Fence::let_go`] must follow.
    pub(crate) fn subscriber(&mut self) -> Result<&mut Connection, Error> {
        Ok(self.holder.connection()?)
    }

    /// Lets replay, or the writers, go on.
    ///
    /// # Errors
    /// A connection is gone.
    pub(crate) fn release(&mut self) -> Result<(), Error> {
        if self.held {
            self.holder
                .connection()?
                .batch_execute("rollback")
                .during("let replay go on")?;
        }
        self.let_go()
    }

    /// As [`Fence::release`], when the transaction on the subscriber has ended.
    ///
    /// # Errors
    /// A connection is gone.
    pub(crate) fn let_go(&mut self) -> Result<(), Error> {
        self.held = false;
        if self.terms.lock {
            self.ticker
                .connection()?
                .batch_execute("rollback")
                .during("unlock the table")?;
        }
        Ok(())
    }

    /// Forgets everything; the servers roll back.
    pub(crate) fn reset(&mut self) {
        self.held = false;
        self.ticker.reset();
        self.helper.reset();
        self.holder.reset();
    }

    fn meet_at_tick(
        &mut self,
        table: &TableName,
        readers: &mut [&mut Database],
        claim: &str,
    ) -> Result<(), Error> {
        match claim.is_empty() {
            true => info!("Syncing {table}"),
            false => debug!("Syncing {table}"),
        }
        let start = Instant::now();
        for _ in 0..ATTEMPTS {
            let tick = match self.ticks_by_itself()? {
                true => self.make_tick(readers)?,
                false => self.find_tick(readers)?,
            };
            debug!(tick = tick.get(), "waiting for the subscriber");
            if self.hold_at(tick, start, claim)? {
                return Ok(());
            }
            debug!(tick = tick.get(), "replay went past the tick");
            for reader in readers.iter_mut() {
                reader
                    .connection()?
                    .batch_execute("rollback")
                    .during("end a snapshot")?;
            }
        }
        Err(VerifyError::FenceMissed(ATTEMPTS).into())
    }

    /// Whether the provider makes the ticks of the queue; a relay does not.
    fn ticks_by_itself(&mut self) -> Result<bool, Error> {
        let db = self.ticker.connection()?;
        let row = db
            .query_typed_opt(
                "select not queue_external_ticker from pgq.queue where queue_name = $1",
                &[(&self.queue, Type::TEXT)],
            )
            .during("look up the queue")?;
        let row = row.ok_or_else(|| Error::NoQueue(self.queue.clone()))?;
        Ok(row.get(0))
    }

    /// Gives the readers a snapshot of a relay that is of the state at its newest tick; the tick.
    fn find_tick(&mut self, readers: &mut [&mut Database]) -> Result<TickId, Error> {
        let start = Instant::now();
        let db = self.ticker.connection()?;
        loop {
            begin_snapshot(db, None)?;
            if let Some(tick) = level_tick(db, &self.queue)? {
                let snapshot: String = db
                    .query_typed_one("select pg_catalog.pg_export_snapshot()", &[])
                    .during("export the snapshot of a relay")?
                    .get(0);
                for reader in readers.iter_mut() {
                    begin_snapshot(reader.connection()?, Some(&snapshot))?;
                }
                db.batch_execute("rollback").during("end a snapshot")?;
                return Ok(tick);
            }
            db.batch_execute("rollback").during("end a snapshot")?;
            if start.elapsed() > TICK_PATIENCE {
                return Err(VerifyError::NoLevelRelay(self.queue.clone()).into());
            }
            pause(&self.terms.stop, HELD)?;
        }
    }

    /// Makes a tick whose snapshot the readers import.
    fn make_tick(&mut self, readers: &mut [&mut Database]) -> Result<TickId, Error> {
        let db = self.ticker.connection()?;
        let start = Instant::now();
        loop {
            admin::force_tick(&mut **db, &self.queue)?;
            db.batch_execute("begin isolation level repeatable read")
                .during("begin a transaction")?;
            match admin::tick_queue(&mut **db, &self.queue) {
                Ok(Some(tick)) => {
                    let row = db
                        .query_typed_one("select pg_catalog.pg_export_snapshot()", &[])
                        .during("export the snapshot of the tick")?;
                    let snapshot: String = row.get(0);
                    for reader in readers.iter_mut() {
                        begin_snapshot(reader.connection()?, Some(&snapshot))?;
                    }
                    db.batch_execute("commit").during("commit the tick")?;
                    return Ok(tick);
                }
                Ok(None) => {}
                Err(pgq::Error::Db(source)) => {
                    return Err(VerifyError::NoFence {
                        queue: self.queue.clone(),
                        source,
                    }
                    .into());
                }
                Err(error) => return Err(error.into()),
            }
            db.batch_execute("rollback").during("end a transaction")?;
            if start.elapsed() > TICK_PATIENCE {
                return Err(VerifyError::TickerInTheWay(self.queue.clone()).into());
            }
            pause(&self.terms.stop, TICK_EVERY)?;
        }
    }

    /// Waits until the subscriber stands at the tick, and holds it there; false if it is past.
    fn hold_at(&mut self, tick: TickId, start: Instant, claim: &str) -> Result<bool, Error> {
        let db = self.holder.connection()?;
        let limit = self.limit * PATIENCE;
        let late = || !limit.is_zero() && start.elapsed() > limit && !self.terms.force;
        while position::last_tick(&mut **db, "londiste", &self.consumer)?
            .is_none_or(|position| tick.get() - position.get() > NEAR)
        {
            if late() {
                return Err(VerifyError::ConsumerLagsBehindLock.into());
            }
            pause(&self.terms.stop, HELD)?;
        }
        let consumer = quote::literal(&self.consumer.to_string());
        let mut sql = format!(
            "begin isolation level read committed;
             set local lock_timeout = '500ms';
             set local idle_in_transaction_session_timeout = '60s';
             {claim}
             select londiste.hold_last_tick({consumer})"
        );
        let mut again = false;
        loop {
            let position = hold(db, &sql)?;
            match position {
                Some(position) if position == tick => {
                    self.held = true;
                    return Ok(true);
                }
                Some(position) if position > tick => {
                    db.batch_execute("rollback").during("let replay go on")?;
                    return Ok(false);
                }
                _ => {}
            }
            if !again {
                sql.insert_str(0, "rollback; ");
                again = true;
            }
            if late() {
                return Err(VerifyError::ConsumerLagsBehindLock.into());
            }
            pause(&self.terms.stop, HELD)?;
        }
    }

    fn meet_behind_lock(
        &mut self,
        table: &TableName,
        readers: &mut [&mut Database],
    ) -> Result<(), Error> {
        info!("Locking {table}");
        let locker = self.ticker.connection()?;
        lock::take(locker, table, self.limit, &self.terms.stop)?;
        let since = Instant::now();

        info!("Syncing {table}");
        let helper = self.helper.connection()?;
        let tick = tick_from_now_on(helper, &self.queue, &self.terms)?;
        debug!(tick = tick.get(), "waiting for the subscriber");
        let holder = self.holder.connection()?;
        loop {
            let applied = position::last_tick(&mut **holder, "londiste", &self.consumer)?;
            if applied.is_some_and(|applied| applied >= tick) {
                break;
            }
            let expired = !self.limit.is_zero() && since.elapsed() > self.limit;
            if expired && !self.terms.force {
                return Err(VerifyError::ConsumerLagsBehindLock.into());
            }
            pause(&self.terms.stop, POLL)?;
        }
        for reader in readers.iter_mut() {
            begin_snapshot(reader.connection()?, None)?;
        }
        // Nothing changes the table on either side until the lock is gone.
        holder
            .batch_execute("begin")
            .during("begin a transaction")?;
        self.held = true;
        Ok(())
    }
}

/// The newest tick of a relay if it has all events that its replay has applied, as seen by the transaction.
/// Positions do not tell: those of other queues are beside that of the relay.
fn level_tick(db: &mut Session<'_>, queue: &QueueName) -> Result<Option<TickId>, DbError> {
    let step = "look where the relay is";
    let row = db
        .query_typed_opt(
            "select t.tick_id, t.tick_snapshot::text, q.queue_data_pfx
               from pgq.tick t
               join pgq.queue q on q.queue_id = t.tick_queue
              where q.queue_name = $1
              order by t.tick_queue desc, t.tick_id desc
              limit 1",
            &[(queue, Type::TEXT)],
        )
        .during(step)?;
    let Some(row) = row else { return Ok(None) };
    let (tick, snapshot, events): (TickId, String, String) = (row.get(0), row.get(1), row.get(2));
    let is_level: bool = db
        .query_typed_one(
            &format!(
                "select not exists (
                     select from {} e
                      where e.ev_txid >= txid_snapshot_xmin($1::text::txid_snapshot)
                        and not txid_visible_in_snapshot(e.ev_txid, $1::text::txid_snapshot))",
                TableName::parse(&events).quoted()
            ),
            &[(&snapshot, Type::TEXT)],
        )
        .during(step)?
        .get(0);
    Ok(is_level.then_some(tick))
}

/// Runs a statement that holds the position; `None` if there is none, or if replay is just
/// committing a batch that takes its time.
fn hold(db: &mut Connection, sql: &str) -> Result<Option<TickId>, Error> {
    let answer = db.simple_query(sql).during("hold replay at its position");
    let messages = match answer {
        Ok(messages) => messages,
        Err(error) if error.sql_state() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(None),
        Err(error) if error.sql_state() == Some(&SqlState::UNDEFINED_FUNCTION) => {
            return Err(VerifyError::OldSchema(error).into());
        }
        Err(error) => return Err(error.into()),
    };
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(row
        .and_then(|row| row.get(0))
        .and_then(|text| text.parse::<i64>().ok())
        .map(TickId::from))
}

pub(super) fn pause(stop: &Stop, duration: Duration) -> Result<(), Error> {
    if stop.sleep(duration) {
        return Err(Error::Interrupted);
    }
    Ok(())
}

/// Asks for ticks until one exists that sees everything committed before this call; its id.
///
/// A tick with a greater id will not do: its snapshot may have been taken, but not committed, before.
/// A transaction id drawn now is a mark that only later snapshots are past.
fn tick_from_now_on(
    db: &mut Connection,
    queue: &QueueName,
    terms: &Terms,
) -> Result<TickId, Error> {
    /// Time between two requests for a tick.
    const FORCE_EVERY: Duration = Duration::from_millis(500);
    let row = db
        .query_typed_one("select pg_catalog.pg_current_xact_id()::text::int8", &[])
        .during("draw a transaction id")?;
    let mark: i64 = row.get(0);
    let start = Instant::now();
    let mut forced: Option<Instant> = None;
    let mut told = false;
    loop {
        if forced.is_none_or(|at| at.elapsed() > FORCE_EVERY) {
            admin::force_tick(&mut **db, queue)?;
            forced = Some(Instant::now());
        }
        let tick = first_tick_after(db, queue, mark)?;
        if let Some(tick) = tick {
            return Ok(tick);
        }
        if start.elapsed() > TICK_PATIENCE {
            if !terms.force {
                return Err(Error::TickerDead);
            }
            if !told {
                error!("Ticker seems dead");
                told = true;
            }
        }
        pause(&terms.stop, POLL)?;
    }
}

/// The first tick whose snapshot is past a transaction id.
fn first_tick_after(
    db: &mut Session<'_>,
    queue: &QueueName,
    mark: i64,
) -> Result<Option<TickId>, DbError> {
    let row = db
        .query_typed_one(
            "select min(t.tick_id)
               from pgq.tick t
               join pgq.queue q on q.queue_id = t.tick_queue
              where q.queue_name = $1
                and pg_catalog.split_part(t.tick_snapshot::text, ':', 2)::int8 > $2",
            &[(queue, Type::TEXT), (&mark, Type::INT8)],
        )
        .during("look for a new tick")?;
    row.try_get(0).during("look for a new tick")
}
