//! What there is to watch, and what is wrong: for monitoring.

use postgres::Row;
use postgres::types::Type;
use serde::Serialize;
use skytools::db::{During, GenericClient};

use crate::{BatchId, ConsumerName, Error, QueueName};

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The queue does not work, or will fill the disk.
    Error,
    /// Somebody should look.
    Warning,
    /// Good to know.
    Note,
}

/// A row of `pgq.get_problems`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of problem, one of a few words: `no_ticker`, `consumer_gone`.
    pub problem: String,
    /// Where; `None` if it is about the database.
    pub queue: Option<QueueName>,
    /// Whose, if it is about a consumer.
    pub consumer: Option<ConsumerName>,
    /// Process, prepared transaction, slot or capture at fault.
    pub subject: Option<String>,
    /// For how long.
    pub since_seconds: Option<f64>,
    /// How many events, queues or bytes.
    pub amount: Option<i64>,
    /// What is wrong, for people.
    pub message: String,
    /// What to do about it, in SQL.
    pub advice: String,
}

/// What is wrong with one queue, or with all and with the database; the worst first.
///
/// # Errors
/// The statement failed.
pub fn problems(
    db: &mut impl GenericClient,
    queue: Option<&QueueName>,
) -> Result<Vec<Problem>, Error> {
    let rows = db
        .query_typed(
            "select severity, problem, queue_name, consumer_name, subject, \
             extract(epoch from since)::float8, amount, message, advice \
             from pgq.get_problems($1)",
            &[(&queue, Type::TEXT)],
        )
        .during("look for problems")?;
    let problem = |row: &Row| Problem {
        severity: match row.get(0) {
            "error" => Severity::Error,
            "warning" => Severity::Warning,
            _ => Severity::Note,
        },
        problem: row.get(1),
        queue: row.get(2),
        consumer: row.get(3),
        subject: row.get(4),
        since_seconds: row.get(5),
        amount: row.get(6),
        message: row.get(7),
        advice: row.get(8),
    };
    let mut problems: Vec<Problem> = rows.iter().map(problem).collect();
    // In the order of the server otherwise.
    problems.sort_by_key(|problem| problem.severity);
    Ok(problems)
}

/// A row of `pgq.get_queue_health`; durations in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueueHealth {
    /// Its name.
    pub queue: QueueName,
    /// Takes events in replica role only.
    pub insert_disabled: bool,
    /// Age of the newest tick at most while a ticker works; `None` if the queue is paused or ticks
    /// from elsewhere.
    pub ticker_limit_seconds: Option<f64>,
    /// Time since the last switch of tables.
    pub rotation_age_seconds: f64,
    /// How long the next switch has been due.
    pub rotation_overdue_seconds: Option<f64>,
    /// The last switch is incomplete.
    pub switch_pending: bool,
    /// Who keeps the switch waiting: `consumer`, `snapshot`, `transaction`, `prepared transaction`,
    /// `lock`.
    pub rotation_blocker: Option<String>,
    /// Consumer, process or global id.
    pub rotation_blocker_name: Option<String>,
    /// For how long.
    pub rotation_blocker_seconds: Option<f64>,
    /// Event tables on disk, with indexes.
    pub event_tables_size_bytes: Option<i64>,
    /// Events that wait for their redelivery.
    pub retry_events: i64,
    /// How long the first of them has been due.
    pub retry_overdue_seconds: Option<f64>,
    /// Events that consumers gave up on.
    pub failed_events: i64,
}

/// One queue, or all; ordered by name; an unknown queue gives no row.
///
/// # Errors
/// The statement failed.
pub fn queues(
    db: &mut impl GenericClient,
    queue: Option<&QueueName>,
) -> Result<Vec<QueueHealth>, Error> {
    let rows = db
        .query_typed(
            "select queue_name, insert_disabled, extract(epoch from ticker_limit)::float8, \
             extract(epoch from rotation_age)::float8, extract(epoch from rotation_overdue)::float8, \
             switch_pending, rotation_blocker, rotation_blocker_name, \
             extract(epoch from rotation_blocker_age)::float8, event_tables_size, retry_events, \
             extract(epoch from retry_overdue)::float8, failed_events \
             from pgq.get_queue_health($1)",
            &[(&queue, Type::TEXT)],
        )
        .during("read the queues' health")?;
    let health = |row: &Row| QueueHealth {
        queue: row.get(0),
        insert_disabled: row.get(1),
        ticker_limit_seconds: row.get(2),
        rotation_age_seconds: row.get(3),
        rotation_overdue_seconds: row.get(4),
        switch_pending: row.get(5),
        rotation_blocker: row.get(6),
        rotation_blocker_name: row.get(7),
        rotation_blocker_seconds: row.get(8),
        event_tables_size_bytes: row.get(9),
        retry_events: row.get(10),
        retry_overdue_seconds: row.get(11),
        failed_events: row.get(12),
    };
    Ok(rows.iter().map(health).collect())
}

/// A row of `pgq.get_consumer_health`; durations in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ConsumerHealth {
    /// Queue it reads.
    pub queue: QueueName,
    /// Its name.
    pub consumer: ConsumerName,
    /// Its open batch.
    pub batch: Option<BatchId>,
    /// For how long it has been open.
    pub batch_age_seconds: Option<f64>,
    /// How long there has been something to do that it has not begun.
    pub waiting_seconds: Option<f64>,
    /// Its position is gone, it cannot read on.
    pub is_lost: bool,
    /// It has not passed the last switch of tables.
    pub blocks_rotation: bool,
    /// Events that wait for their redelivery to it.
    pub retry_events: i64,
    /// Events that it gave up on.
    pub failed_events: i64,
    /// Since when.
    pub failed_oldest_seconds: Option<f64>,
}

/// Consumers of one queue, or one consumer of it, or all; ordered by queue and name.
///
/// # Errors
/// The statement failed.
pub fn consumers(
    db: &mut impl GenericClient,
    queue: Option<&QueueName>,
    consumer: Option<&ConsumerName>,
) -> Result<Vec<ConsumerHealth>, Error> {
    let rows = db
        .query_typed(
            "select queue_name, consumer_name, batch_id, extract(epoch from batch_age)::float8, \
             extract(epoch from waiting)::float8, is_lost, blocks_rotation, retry_events, \
             failed_events, extract(epoch from failed_oldest)::float8 \
             from pgq.get_consumer_health($1, $2)",
            &[(&queue, Type::TEXT), (&consumer, Type::TEXT)],
        )
        .during("read the consumers' health")?;
    let health = |row: &Row| ConsumerHealth {
        queue: row.get(0),
        consumer: row.get(1),
        batch: row.get(2),
        batch_age_seconds: row.get(3),
        waiting_seconds: row.get(4),
        is_lost: row.get(5),
        blocks_rotation: row.get(6),
        retry_events: row.get(7),
        failed_events: row.get(8),
        failed_oldest_seconds: row.get(9),
    };
    Ok(rows.iter().map(health).collect())
}
