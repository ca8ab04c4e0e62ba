use pgq::{ConsumerName, QueueName};
use postgres::error::SqlState;
use skytools::app::UsageError;
use skytools::conninfo::ConnInfoError;
use skytools::daemon::JobError;
use skytools::db::DbError;

/// What can end a run of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The job cannot start, or its work failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The command line asks for nothing that can be done.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A key that the command needs is missing.
    #[error("Config value not set: {0}")]
    NotSet(&'static str),
    /// A connect string does not parse.
    #[error("{key} is no connect string")]
    ConnInfo {
        /// Configuration key.
        key: &'static str,
        /// What is wrong with it.
        source: ConnInfoError,
    },
    /// A queue that does not exist.
    #[error("no such queue: {0}")]
    NoSuchQueue(QueueName),
    /// A consumer that is not on the queue.
    #[error("consumer not registered on queue: {consumer} on {queue}")]
    NotRegistered {
        /// The queue.
        queue: QueueName,
        /// The consumer.
        consumer: ConsumerName,
    },
    /// A change of settings without a queue.
    #[error("need queue name")]
    NeedQueue,
    /// A change of settings without a value.
    #[error("expected VAR=VAL, got '{0}'")]
    NotAChange(String),
    /// A setting that queues do not have.
    #[error("unknown config var: {name}; there are {}", known.join(", "))]
    UnknownSetting {
        /// What was asked for.
        name: String,
        /// The settings that they have.
        known: &'static [&'static str],
    },
    /// A queue that consumers read.
    #[error(
        "cannot drop queue, consumers still attached: {}; unregister them, or add --force",
        consumers.join(", ")
    )]
    StillAttached {
        /// Names of the consumers.
        consumers: Vec<String>,
    },
    /// Transaction ids went back, as after restoring a dump into a younger server: ticks would lose
    /// events.
    #[error("txid in bad state")]
    BadTxid,
    /// Another process ticks this database.
    #[error("another ticker is running on this database")]
    AnotherTicker,
    /// The server cannot be written to.
    #[error("the server is a standby")]
    Standby,
    /// Of many databases, some could not be served; the log says why.
    #[error("{failed} of {all} databases failed")]
    SomeDatabases {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
    },
    /// One of many databases has to be named.
    #[error("the configuration is for many databases: add --dbname NAME")]
    WhichDatabase,
    /// A queue that takes no ticks from here.
    #[error("queue {queue} {reason}")]
    NoTicks {
        /// The queue.
        queue: QueueName,
        /// Why.
        reason: &'static str,
    },
    /// A command on failed events without a choice.
    #[error("need ids of events, or --all")]
    NeedEvents,
    /// A consumer whose position was to be copied is not there.
    #[error("not registered on queue: {consumer} on {queue}, whose position was to be copied")]
    NothingToCopy {
        /// The queue.
        queue: QueueName,
        /// The consumer to copy from.
        consumer: ConsumerName,
    },
    /// The database has no PgQ.
    #[error("PgQ is not installed in this database; run: pgqadm INI install")]
    NotInstalled,
    /// PgQ would take something with it.
    #[error("PgQ is in use, see above; to remove it all the same: pgqadm INI uninstall --force")]
    InUse,
    /// Something else has to be typed.
    #[error("{error}; {advice}")]
    Advice {
        /// What is wrong.
        error: pgq::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The queue cannot be read or changed.
    #[error(transparent)]
    Queue(pgq::Error),
    /// A statement failed, or a connection.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The results cannot be written, or a thread cannot be started.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// What a server or a connection said.
    pub(crate) fn as_db(&self) -> Option<&DbError> {
        match self {
            Error::Db(error) | Error::Queue(pgq::Error::Db(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether the database is not there, or not for us any more.
    pub(crate) fn is_database_gone(&self) -> bool {
        let refused = self.as_db().filter(|db| db.is_connection_lost());
        matches!(
            refused.and_then(DbError::sql_state),
            Some(
                &SqlState::INVALID_CATALOG_NAME
                    | &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
                    | &SqlState::DATABASE_DROPPED
            )
        )
    }
}

impl From<pgq::Error> for Error {
    fn from(error: pgq::Error) -> Error {
        match &error {
            pgq::Error::NoSchema => Error::NotInstalled,
            pgq::Error::Db(db) if db.sql_state() == Some(&SqlState::INVALID_SCHEMA_NAME) => {
                Error::NotInstalled
            }
            _ => Error::Queue(error),
        }
    }
}
