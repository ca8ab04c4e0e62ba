//! What keeps tables from being compared or repaired.

use std::path::PathBuf;
use std::time::Duration;

use pgq::QueueName;
use skytools::db::DbError;

/// Why `compare` or `repair` cannot do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The consumer is too far behind for a comparison.
    #[error(
        "Consumer lagging too much, cannot proceed; wait until replay has caught up, or use --force"
    )]
    ConsumerLags,
    /// The consumer did not reach the common state while the table was locked.
    #[error("Consumer lagging too much, exiting")]
    ConsumerLagsBehindLock,
    /// No tick of the own can be made.
    #[error(
        "cannot make a tick of queue {queue} at which both sides meet; the role of provider_db needs \
         the role pgq_admin for that; with --lock, writers wait instead"
    )]
    NoFence {
        /// The queue.
        queue: QueueName,
        /// What the server says.
        source: DbError,
    },
    /// The ticker was faster each time.
    #[error("cannot make a tick of queue {0}: others make ticks all the time; use --lock")]
    TickerInTheWay(QueueName),
    /// The replay of a relay is never where its queue is.
    #[error("the relay of queue {0} never stands at its newest tick; does its replay run?")]
    NoLevelRelay(QueueName),
    /// Replay never stood at the tick.
    #[error("replay went past the tick at which both sides meet, {0} times; use --lock")]
    FenceMissed(u32),
    /// The schema lacks a function.
    #[error(
        "schema londiste in subscriber_db is of an older version, and lacks what holds replay at its \
         position; upgrade it, or use --lock"
    )]
    OldSchema(#[source] DbError),
    /// The table left the state `ok` meanwhile.
    #[error("Table {0} not synced yet, no point")]
    NotOk(String),
    /// The primary key changed while a comparison was interrupted.
    #[error(
        "the primary key of {0} has changed since the file of --resume was written; remove the file"
    )]
    KeyChanged(String),
    /// The file of `--resume` cannot be used.
    #[error("cannot use {} for --resume: {reason}", path.display())]
    Resume {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A fix file cannot be written.
    #[error("cannot write {}", path.display())]
    FixFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A value cannot be part of a statement.
    #[error("cannot write a value as SQL")]
    Quote(#[source] skytools::quote::Error),
    /// A table could not be locked in time.
    #[error("cannot lock {table} within {limit:?}: other transactions hold it")]
    Locked {
        /// The table.
        table: String,
        /// `lock_timeout`.
        limit: Duration,
    },
}
