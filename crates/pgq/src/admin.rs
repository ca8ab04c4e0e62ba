//! Creating, registering, ticking and looking: one function per server function.

use postgres::Row;
use postgres::types::Type;
use serde::Serialize;
use skytools::db::{During, GenericClient};

use crate::batch::EventTime;
use crate::{BatchId, ConsumerName, Error, QueueName, TickId};

/// Version of the installed schema, `3.6.0`; `None` where the function answers null.
///
/// # Errors
/// The schema is missing.
pub fn version(db: &mut impl GenericClient) -> Result<Option<String>, Error> {
    let row = db
        .query_typed_one("select pgq.version()", &[])
        .during("read the version of pgq")?;
    Ok(row.get(0))
}

/// Creates a queue. False if it exists already.
///
/// # Errors
/// The schema is missing, or the role may not create queues.
pub fn create_queue(db: &mut impl GenericClient, queue: &QueueName) -> Result<bool, Error> {
    let row = db
        .query_typed_one("select pgq.create_queue($1)", &[(queue, Type::TEXT)])
        .during(format!("create queue {queue}"))?;
    Ok(row.get::<_, i32>(0) == 1)
}

/// Drops a queue with its events; `force` detaches its consumers first.
///
/// # Errors
/// The queue does not exist, or has consumers and `force` is not set.
pub fn drop_queue(
    db: &mut impl GenericClient,
    queue: &QueueName,
    force: bool,
) -> Result<(), Error> {
    db.query_typed_one(
        "select pgq.drop_queue($1, $2)",
        &[(queue, Type::TEXT), (&force, Type::BOOL)],
    )
    .during(format!("drop queue {queue}"))?;
    Ok(())
}

/// Changes one setting of a queue; `name` as the server knows it, without `queue_`; `None` restores
/// the default of the schema.
///
/// # Errors
/// The queue does not exist, there is no such setting, or the value does not suit it.
pub fn set_queue_config(
    db: &mut impl GenericClient,
    queue: &QueueName,
    name: &str,
    value: Option<&str>,
) -> Result<(), Error> {
    db.query_typed_one(
        "select pgq.set_queue_config($1, $2, $3)",
        &[
            (queue, Type::TEXT),
            (&name, Type::TEXT),
            (&value, Type::TEXT),
        ],
    )
    .during(format!("change {name} of queue {queue}"))?;
    Ok(())
}

/// Registers a consumer at the newest tick. False if it is registered already.
///
/// # Errors
/// The queue does not exist or has no tick yet.
pub fn register_consumer(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pgq.register_consumer($1, $2)",
            &[(queue, Type::TEXT), (consumer, Type::TEXT)],
        )
        .during(format!("register consumer {consumer} on queue {queue}"))?;
    Ok(row.get::<_, i32>(0) == 1)
}

/// Registers a consumer at a tick, or moves it there; an open batch is abandoned. False if it was
/// registered already.
///
/// # Errors
/// The queue does not exist, or the tick is gone.
pub fn register_consumer_at(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    tick: TickId,
) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pgq.register_consumer_at($1, $2, $3)",
            &[
                (queue, Type::TEXT),
                (consumer, Type::TEXT),
                (&tick, Type::INT8),
            ],
        )
        .during(format!(
            "register consumer {consumer} on queue {queue} at tick {tick}"
        ))?;
    Ok(row.get::<_, i32>(0) == 1)
}

/// Moves a consumer to a tick where `register_consumer_at` is missing: 2.1 refuses it while a batch
/// is open, so that is finished first.
pub(crate) fn reposition_idle(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    tick: TickId,
) -> Result<(), Error> {
    if register_consumer(db, queue, consumer)? {
        // It has no batch.
    } else if let Some(open) = open_batch(db, queue, consumer)? {
        crate::batch::finish_batch(db, open)?;
    }
    db.query_typed_one(
        "select pgq.register_consumer($1, $2, $3)",
        &[
            (queue, Type::TEXT),
            (consumer, Type::TEXT),
            (&tick, Type::INT8),
        ],
    )
    .during("move the consumer to a tick")?;
    Ok(())
}

/// The open batch of a consumer, in all generations of PgQ.
fn open_batch(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<Option<BatchId>, Error> {
    let row = db
        .query_typed_opt(
            "select current_batch from pgq.get_consumer_info($1, $2)",
            &[(queue, Type::TEXT), (consumer, Type::TEXT)],
        )
        .during("look for an open batch")?;
    Ok(row.and_then(|row| row.get(0)))
}

/// The last tick that a consumer has finished; `None` if it is not registered.
///
/// # Errors
/// The statement failed.
pub fn consumer_position(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<Option<TickId>, Error> {
    let row = db
        .query_typed_opt(
            "select last_tick from pgq.get_consumer_info($1, $2)",
            &[(queue, Type::TEXT), (consumer, Type::TEXT)],
        )
        .during("read the consumer's position")?;
    Ok(row.and_then(|row| row.get(0)))
}

/// When a tick of a queue was made; `None` if the queue does not have it (any more).
///
/// # Errors
/// The statement failed.
pub fn tick_time(
    db: &mut impl GenericClient,
    queue: &QueueName,
    tick: TickId,
) -> Result<Option<EventTime>, Error> {
    let row = db
        .query_typed_opt(
            "select t.tick_time from pgq.tick t join pgq.queue q on q.queue_id = t.tick_queue \
             where q.queue_name = $1 and t.tick_id = $2",
            &[(queue, Type::TEXT), (&tick, Type::INT8)],
        )
        .during("look for the tick")?;
    Ok(row.map(|row| row.get(0)))
}

/// Removes a consumer with its retry and failed events. False if it was not registered.
///
/// # Errors
/// The statement failed.
pub fn unregister_consumer(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pgq.unregister_consumer($1, $2)",
            &[(queue, Type::TEXT), (consumer, Type::TEXT)],
        )
        .during(format!("unregister consumer {consumer} from queue {queue}"))?;
    Ok(row.get::<_, i32>(0) > 0)
}

/// Ticks every queue that is due; returns how many were. Paused queues and those ticked from
/// elsewhere are left alone.
///
/// # Errors
/// The statement failed.
pub fn ticker(db: &mut impl GenericClient) -> Result<i64, Error> {
    let row = db
        .query_typed_one("select pgq.ticker()", &[])
        .during("tick")?;
    Ok(row.get(0))
}

/// Ticks one queue if it is due; returns the new tick.
///
/// # Errors
/// The queue does not exist, is paused, or is ticked from elsewhere.
pub fn tick_queue(db: &mut impl GenericClient, queue: &QueueName) -> Result<Option<TickId>, Error> {
    let row = db
        .query_typed_one("select pgq.ticker($1)", &[(queue, Type::TEXT)])
        .during("tick the queue")?;
    Ok(row.get(0))
}

/// Makes a tick right away where the role may: on a queue that ticks by itself. Where it may not, asks the
/// ticker for an early one, as [`force_tick`] does.
///
/// # Errors
/// The statement failed.
pub fn tick_now(db: &mut impl GenericClient, queue: &QueueName) -> Result<(), Error> {
    force_tick(db, queue)?;
    // A statement that names a function which the role may not call fails, even if it would not call it.
    let may: Option<bool> = db
        .query_typed_opt(
            "select pg_catalog.has_function_privilege('pgq.ticker(text)', 'execute')
                    and not q.queue_external_ticker and not q.queue_ticker_paused
               from pgq.queue q
              where q.queue_name = $1",
            &[(queue, Type::TEXT)],
        )
        .during("look whether the queue may be ticked")?
        .map(|row| row.get(0));
    if may == Some(true) {
        tick_queue(db, queue)?;
    }
    Ok(())
}

/// Asks the ticker for an early tick; returns the newest tick so far, `None` if there is none.
///
/// It works by advancing the event sequence, so that the next run of the ticker finds the queue
/// due: ask again until the answer changes.
///
/// # Errors
/// The statement failed.
pub fn force_tick(db: &mut impl GenericClient, queue: &QueueName) -> Result<Option<TickId>, Error> {
    let row = db
        .query_typed_one("select pgq.force_tick($1)", &[(queue, Type::TEXT)])
        .during("force a tick")?;
    Ok(row.get(0))
}

/// A time span in seconds up to now: an older version's is negative when the clock was set back.
fn age(row: &Row, place: usize) -> Option<f64> {
    row.get::<_, Option<f64>>(place)
        .map(|seconds| seconds.max(0.0))
}

/// A row of `pgq.get_consumer_info`; durations in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConsumerInfo {
    /// Queue it reads.
    pub queue: QueueName,
    /// Its name.
    pub consumer: ConsumerName,
    /// Age of the last finished tick.
    pub lag_seconds: Option<f64>,
    /// Time since the last sign of life.
    pub last_seen_seconds: Option<f64>,
    /// Last finished tick.
    pub last_tick: Option<TickId>,
    /// Its open batch, if any.
    pub current_batch: Option<BatchId>,
    /// End tick of the open batch.
    pub next_tick: Option<TickId>,
    /// Estimate of events not read yet.
    pub pending_events: Option<i64>,
}

/// Consumers of one queue, or one consumer of it, or all; ordered by queue and name.
///
/// # Errors
/// The statement failed.
pub fn consumer_info(
    db: &mut impl GenericClient,
    queue: Option<&QueueName>,
    consumer: Option<&ConsumerName>,
) -> Result<Vec<ConsumerInfo>, Error> {
    let (pending, from) = match is_version_2(db)? {
        false => ("pending_events", "pgq.get_consumer_info($1, $2)"),
        true => (
            "null::int8",
            "pgq.get_consumer_info() where ($1 is null or queue_name = $1) \
             and ($2 is null or consumer_name = $2)",
        ),
    };
    let rows = db
        .query_typed(
            &format!(
                "select queue_name, consumer_name, extract(epoch from lag)::float8, \
                 extract(epoch from last_seen)::float8, last_tick, current_batch, next_tick, \
                 {pending} from {from} order by 1, 2"
            ),
            &[(&queue, Type::TEXT), (&consumer, Type::TEXT)],
        )
        .during("read the consumers' state")?;
    let info = |row: &Row| ConsumerInfo {
        queue: row.get(0),
        consumer: row.get(1),
        lag_seconds: age(row, 2),
        last_seen_seconds: age(row, 3),
        last_tick: row.get(4),
        current_batch: row.get(5),
        next_tick: row.get(6),
        pending_events: row.get(7),
    };
    Ok(rows.iter().map(info).collect())
}

/// A row of `pgq.get_queue_info`; durations in seconds. More fields may come.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    pub queue: QueueName,
    /// Number of event tables it rotates through.
    pub ntables: i32,
    /// Least time between two rotations.
    pub rotation_period_seconds: Option<f64>,
    /// Ticks come from elsewhere.
    pub external_ticker: bool,
    /// No ticks at all.
    pub ticker_paused: bool,
    /// Events that make a tick due.
    pub ticker_max_count: i32,
    /// Age of the last tick that makes the next one due when there are events.
    pub ticker_max_lag_seconds: f64,
    /// Longest time between two ticks of an idle queue.
    pub ticker_idle_period_seconds: f64,
    /// Age of the newest tick.
    pub ticker_lag_seconds: Option<f64>,
    /// Events per second over the last ticks.
    pub events_per_second: Option<f64>,
    /// Estimate of events after the newest tick.
    pub new_events: Option<i64>,
    /// Newest tick.
    pub last_tick: Option<TickId>,
}

/// One queue, or all; ordered by name; an unknown queue gives no row.
///
/// # Errors
/// The statement failed.
pub fn queue_info(
    db: &mut impl GenericClient,
    queue: Option<&QueueName>,
) -> Result<Vec<QueueInfo>, Error> {
    let (newer, from) = match is_version_2(db)? {
        false => (
            "f.queue_ticker_paused, f.ev_per_sec, f.ev_new, f.last_tick_id",
            "pgq.get_queue_info($1) f",
        ),
        // What its function does not tell stands in the table.
        true => (
            "false, null::float8, null::int8, (select max(t.tick_id) from pgq.tick t \
             where t.tick_queue = q.queue_id)",
            "pgq.get_queue_info() f join pgq.queue q on q.queue_name = f.queue_name \
             where $1 is null or f.queue_name = $1",
        ),
    };
    let rows = db
        .query_typed(
            &format!(
                "select f.queue_name, f.queue_ntables, \
                 extract(epoch from f.queue_rotation_period)::float8, f.queue_external_ticker, \
                 f.queue_ticker_max_count, extract(epoch from f.queue_ticker_max_lag)::float8, \
                 extract(epoch from f.queue_ticker_idle_period)::float8, \
                 extract(epoch from f.ticker_lag)::float8, {newer} \
                 from {from} order by 1"
            ),
            &[(&queue, Type::TEXT)],
        )
        .during("read the queues' state")?;
    let info = |row: &Row| QueueInfo {
        queue: row.get(0),
        ntables: row.get(1),
        rotation_period_seconds: row.get(2),
        external_ticker: row.get(3),
        ticker_max_count: row.get(4),
        ticker_max_lag_seconds: row.get(5),
        ticker_idle_period_seconds: row.get(6),
        ticker_lag_seconds: age(row, 7),
        ticker_paused: row.get(8),
        events_per_second: row.get(9),
        new_events: row.get(10),
        last_tick: row.get(11),
    };
    Ok(rows.iter().map(info).collect())
}

/// Settings of a queue that `pgq.get_queue_info` does not tell. More fields may come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OtherSettings {
    /// It takes no events, but in the replica role.
    pub disable_insert: bool,
    /// Events that one transaction may insert; `None`: any number.
    pub per_tx_limit: Option<i32>,
    /// Each tick wakes up who listens.
    pub notify: bool,
    /// Redeliveries after which an event that fails again is given up; `None`: never.
    pub max_retries: Option<i32>,
}

/// Settings that [`queue_info`] does not have; the defaults where the schema of an older version knows none of them, or
/// there is no such queue.
///
/// # Errors
/// The statement failed.
pub fn other_settings(
    db: &mut impl GenericClient,
    queue: &QueueName,
) -> Result<OtherSettings, Error> {
    let rows = db
        .query_typed(
            "select coalesce((q.row ->> 'queue_disable_insert')::bool, false), \
             (q.row ->> 'queue_per_tx_limit')::int4, \
             coalesce((q.row ->> 'queue_notify')::bool, false), \
             (q.row ->> 'queue_max_retries')::int4 \
             from (select pg_catalog.to_jsonb(q) from pgq.queue q where q.queue_name = $1) q (row)",
            &[(queue, Type::TEXT)],
        )
        .during("read the settings of the queue")?;
    let Some(row) = rows.first() else {
        return Ok(OtherSettings::default());
    };
    Ok(OtherSettings {
        disable_insert: row.get(0),
        per_tx_limit: row.get(1),
        notify: row.get(2),
        max_retries: row.get(3),
    })
}

/// Whether the schema is of PgQ 2, which knows neither rates nor what is pending.
///
/// # Errors
/// The statement failed.
pub fn is_version_2(db: &mut impl GenericClient) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pg_catalog.to_regnamespace('pgq') is not null \
             and pg_catalog.to_regprocedure('pgq.maint_operations()') is null",
            &[],
        )
        .during("look at the version of pgq")?;
    Ok(row.get(0))
}
