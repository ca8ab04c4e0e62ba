use skytools::conninfo::ConnInfoError;
use skytools::daemon::JobError;
use skytools::db::DbError;

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
    /// A subcommand of `provider` or `subscriber` that does not exist.
    #[error("bad subcommand: {0}")]
    BadSubcommand(String),
    /// The queue cannot be read or changed.
    #[error(transparent)]
    Queue(#[from] pgq::Error),
    /// A statement failed, or a connection.
    #[error(transparent)]
    Db(#[from] DbError),
}
