//! Bringing both sides of a table to the same state: writers wait, and the subscriber applies what
//! they had written.

use std::time::{Duration, Instant};

use pgq::{ConsumerName, QueueName, TickId, position};
use postgres::error::SqlState;
use postgres::types::Type;
use skytools::config::CommonConfig;
use skytools::daemon::Stop;
use skytools::db::{Connection, Database, DbError, During, Session, Tx};
use skytools::table::{self, RelationKind, TableName};
use tracing::{debug, error, info};

use super::super::setup::set_local;
use crate::{Config, Error};

/// A lock request waits this long at most, because all writers queue up behind it.
const LOCK_ATTEMPT: Duration = Duration::from_millis(500);

/// Time between two looks at ticks and positions.
const POLL: Duration = Duration::from_millis(200);

/// Time between two requests for a tick.
const FORCE_EVERY: Duration = Duration::from_millis(500);

/// A ticker that does nothing for this long is dead.
const TICKER_PATIENCE: Duration = Duration::from_secs(10);

/// How much older than the newest tick the consumer's position may be before anything is locked.
const LAG_ALLOWED_SECONDS: f64 = 10.0;

/// What ends the waiting.
pub(super) struct Limits<'a> {
    pub(super) stop: &'a Stop,
    /// Wait however long it takes.
    pub(super) force: bool,
}

/// Two connections to the provider: one holds a table, the other asks for ticks.
pub(super) struct Fence {
    queue: QueueName,
    consumer: ConsumerName,
    lock_timeout: Duration,
    locker: Database,
    helper: Database,
}

/// A table whose writers wait.
pub(super) struct Held<'a> {
    tx: Tx<'a>,
}

impl Held<'_> {
    /// Lets the writers go on.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn release(self) -> Result<(), DbError> {
        self.tx.rollback()
    }
}

impl Fence {
    pub(super) fn new(config: &Config, common: &CommonConfig) -> Result<Fence, Error> {
        Ok(Fence {
            queue: config.pgq_queue_name.clone(),
            consumer: config.consumer(common),
            lock_timeout: config.lock_timeout,
            locker: config.provider(common)?,
            helper: config.provider(common)?,
        })
    }

    /// Refuses to start when the consumer is so far behind that writers would wait in vain.
    ///
    /// # Errors
    /// Queue or consumer do not exist, or the consumer lags and `force` is not set.
    pub(super) fn check_lag(&mut self, force: bool) -> Result<(), Error> {
        let db = self.helper.connection()?;
        let queues = pgq::admin::queue_info(&mut **db, Some(&self.queue))?;
        let queue = queues
            .first()
            .ok_or_else(|| Error::NoQueue(self.queue.clone()))?;
        let consumers = pgq::admin::consumer_info(&mut **db, Some(&self.queue), None)?;
        let consumer = consumers
            .iter()
            .find(|info| info.consumer == self.consumer)
            .ok_or_else(|| Error::NoConsumer(self.consumer.clone()))?;
        let lag = consumer.lag_seconds.unwrap_or_default();
        let ticker_lag = queue.ticker_lag_seconds.unwrap_or_default();
        if lag > ticker_lag + LAG_ALLOWED_SECONDS && !force {
            return Err(Error::ConsumerLags);
        }
        Ok(())
    }

    /// Locks the table against writers and waits until `subscriber` has applied all they wrote.
    ///
    /// # Errors
    /// The lock, a tick or the subscriber took longer than allowed; the lock is released then.
    pub(super) fn hold(
        &mut self,
        table: &TableName,
        subscriber: &mut Connection,
        limits: &Limits<'_>,
    ) -> Result<Held<'_>, Error> {
        info!("Locking {table}");
        let locker = self.locker.connection()?;
        let tx = lock(locker, table, self.lock_timeout, limits.stop)?;
        let since = Instant::now();

        info!("Syncing {table}");
        let helper = self.helper.connection()?;
        let tick = tick_from_now_on(helper, &self.queue, limits)?;
        debug!(tick = tick.get(), "waiting for the subscriber");
        loop {
            let applied = position::last_tick(&mut **subscriber, "londiste", &self.consumer)?;
            if applied.is_some_and(|applied| applied >= tick) {
                return Ok(Held { tx });
            }
            let expired = !self.lock_timeout.is_zero() && since.elapsed() > self.lock_timeout;
            if expired && !limits.force {
                return Err(Error::ConsumerLagsBehindLock);
            }
            pause(limits.stop)?;
        }
    }
}

fn pause(stop: &Stop) -> Result<(), Error> {
    if stop.sleep(POLL) {
        return Err(Error::Interrupted);
    }
    Ok(())
}

/// Takes the lock in short attempts, at most for `limit` altogether.
fn lock<'c>(
    db: &'c mut Connection,
    table: &TableName,
    limit: Duration,
    stop: &Stop,
) -> Result<Tx<'c>, Error> {
    let relation = table::relation(&mut **db, table)?;
    // A lock on a partitioned table covers its partitions; children of a plain one are not compared.
    let only = match relation.kind {
        RelationKind::PartitionedTable => "",
        _ => "only ",
    };
    let sql = format!("lock table {only}{} in share mode", table.quoted());
    let start = Instant::now();
    let mut tx = db.begin()?;
    set_local(&mut tx, "idle_in_transaction_session_timeout", "0")?;
    set_local(
        &mut tx,
        "lock_timeout",
        &LOCK_ATTEMPT.as_millis().to_string(),
    )?;
    loop {
        let attempt = tx.savepoint(|tx| tx.batch_execute(&sql).during("lock the table"));
        let Err(failure) = attempt else {
            return Ok(tx);
        };
        if failure.sql_state() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
            return Err(failure.into());
        }
        if !limit.is_zero() && start.elapsed() > limit {
            return Err(Error::Locked {
                table: table.to_string(),
                limit,
            });
        }
        pause(stop)?;
    }
}

/// Asks for ticks until one exists that sees everything committed before this call; its id.
///
/// A tick with a greater id will not do: its snapshot may have been taken, but not committed, before.
/// A transaction id drawn now is a mark that only later snapshots are past.
fn tick_from_now_on(
    db: &mut Connection,
    queue: &QueueName,
    limits: &Limits<'_>,
) -> Result<TickId, Error> {
    let row = db
        .query_typed_one("select pg_catalog.pg_current_xact_id()::text::int8", &[])
        .during("draw a transaction id")?;
    let mark: i64 = row.get(0);
    let start = Instant::now();
    let mut forced: Option<Instant> = None;
    let mut told = false;
    loop {
        if forced.is_none_or(|at| at.elapsed() > FORCE_EVERY) {
            pgq::admin::force_tick(&mut **db, queue)?;
            forced = Some(Instant::now());
        }
        let tick = first_tick_after(db, queue, mark)?;
        if let Some(tick) = tick {
            return Ok(tick);
        }
        if start.elapsed() > TICKER_PATIENCE {
            if !limits.force {
                return Err(Error::TickerDead);
            }
            if !told {
                error!("Ticker seems dead");
                told = true;
            }
        }
        pause(limits.stop)?;
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
