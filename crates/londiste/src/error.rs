use std::time::Duration;

use pgq::{ConsumerName, QueueName};
use skytools::conninfo::ConnInfoError;
use skytools::daemon::JobError;
use skytools::db::DbError;
use skytools::install::InstallError;
use skytools::table::{NameError, TableError};

/// What can end or interrupt a run of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The job cannot start, or its work failed.
    #[error(transparent)]
    Job(#[from] JobError),
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
    /// `method` has a value that never existed.
    #[error("unknown method, quitting")]
    UnknownMethod,
    /// `method` names one of the unfinished file methods.
    #[error("method = {0} is not supported; use method = direct")]
    FileMethod(String),
    /// `mirror_queue` is set.
    #[error("mirror_queue is not supported yet; remove the key")]
    MirrorQueue,
    /// `parallel_copies` is zero.
    #[error("parallel_copies is 0; it must be at least 1")]
    NoCopies,
    /// No command on the command line.
    #[error("need command")]
    NeedCommand,
    /// A command that does not exist.
    #[error("Unknown command '{0}', use --help for help")]
    UnknownCommand(String),
    /// `provider` or `subscriber` alone.
    #[error("need subcommand")]
    NeedSubcommand,
    /// A subcommand of `provider` that does not exist.
    #[error("bad subcommand")]
    BadProviderSubcommand,
    /// A subcommand of `subscriber` that does not exist.
    #[error("bad subcommand: {0}")]
    BadSubscriberSubcommand(String),
    /// A command on tables or sequences names none.
    #[error("no names given; name some, or use --all")]
    NeedNames,
    /// Two options of `subscriber add` that exclude each other.
    #[error("Too many options: --expect-sync and --skip-truncate")]
    TooManyOptions,
    /// A name on the command line cannot be read.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A schema is missing.
    #[error("schema {schema} is missing in {side}_db; run: londiste INI {side} install")]
    NotInstalled {
        /// `pgq` or `londiste`.
        schema: &'static str,
        /// `provider` or `subscriber`.
        side: &'static str,
    },
    /// The queue of the configuration does not exist.
    #[error("Event queue does not exist yet: {0}; run: londiste INI provider install")]
    NoQueue(QueueName),
    /// The subscriber's table feeds another queue.
    #[error(
        "trigger {trigger} writes changes of {table} into a queue; put aside, that queue would \
         miss changes; use --force, or --expect-sync to keep it"
    )]
    Captured {
        /// The subscriber's table.
        table: String,
        /// Its trigger.
        trigger: String,
    },
    /// Another process holds the lock of the consumer.
    #[error("replay of consumer {0} is running; stop it first, or use --force")]
    ReplayRuns(ConsumerName),
    /// A relation cannot be looked up.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Installing the schema failed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The job's consumer is not registered.
    #[error("No such consumer: {0}; has replay been started?")]
    NoConsumer(ConsumerName),
    /// The consumer is too far behind for a comparison.
    #[error(
        "Consumer lagging too much, cannot proceed; wait until replay has caught up, or use --force"
    )]
    ConsumerLags,
    /// The consumer did not reach the common state while the table was locked.
    #[error("Consumer lagging too much, exiting")]
    ConsumerLagsBehindLock,
    /// No tick came.
    #[error("Ticker seems dead; is pgqadm ticker running on provider_db?")]
    TickerDead,
    /// A table could not be locked in time.
    #[error("cannot lock {table} within {limit:?}: other transactions hold it")]
    Locked {
        /// The table.
        table: String,
        /// `lock_timeout`.
        limit: Duration,
    },
    /// A signal ended the command.
    #[error("interrupted")]
    Interrupted,
    /// Stdout cannot be written.
    #[error("cannot print the result")]
    Output(#[source] std::io::Error),
    /// A result cannot be written as JSON.
    #[error("cannot print the result as JSON")]
    Json(#[source] serde_json::Error),
    /// The queue cannot be read or changed.
    #[error(transparent)]
    Queue(#[from] pgq::Error),
    /// A statement failed, or a connection.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Error {
    /// Whether a connection broke, so that the command cannot go on with its next part.
    pub(crate) fn is_connection_lost(&self) -> bool {
        match self {
            Error::Db(error) | Error::Queue(pgq::Error::Db(error)) => error.is_connection_lost(),
            _ => false,
        }
    }

    /// The error and its causes in one text, for the log.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
