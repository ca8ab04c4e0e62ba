//! Creating, registering, ticking and looking: one function per server function.

use postgres::GenericClient;
use postgres::types::Type;
use skytools::db::During;

use crate::{ConsumerName, Error, QueueName, TickId};

/// Creates a queue. False if it exists already.
///
/// # Errors
/// The schema is missing, or the role may not create queues.
pub fn create_queue(db: &mut impl GenericClient, queue: &QueueName) -> Result<bool, Error> {
    let row = db
        .query_typed_one("select pgq.create_queue($1)", &[(queue, Type::TEXT)])
        .during("create the queue")?;
    Ok(row.get::<_, i32>(0) == 1)
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
        .during("register the consumer")?;
    Ok(row.get::<_, i32>(0) == 1)
}

/// Registers a consumer at a tick, or moves it there. False if it was registered already.
///
/// # Errors
/// The queue does not exist, or the tick is gone.
pub fn register_consumer_at(
    db: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
    tick: TickId,
) -> Result<bool, Error> {
    let _ = (db, queue, consumer, tick);
    unimplemented!("owner: pgq helper")
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
    let _ = (db, queue, consumer);
    unimplemented!("owner: pgq helper")
}

/// Asks the ticker for an early tick; returns the newest tick so far, `None` if there is none.
///
/// # Errors
/// The statement failed.
pub fn force_tick(db: &mut impl GenericClient, queue: &QueueName) -> Result<Option<TickId>, Error> {
    let _ = (db, queue);
    unimplemented!("owner: pgq helper")
}

/// A row of `pgq.get_consumer_info`; durations in seconds.
#[derive(Debug, Clone, PartialEq)]
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
    let _ = (db, queue, consumer);
    unimplemented!("owner: pgq helper")
}

/// A row of `pgq.get_queue_info`; durations in seconds. More fields may come.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    pub queue: QueueName,
    /// Age of the newest tick.
    pub ticker_lag_seconds: Option<f64>,
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
    let _ = (db, queue);
    unimplemented!("owner: pgq helper")
}
