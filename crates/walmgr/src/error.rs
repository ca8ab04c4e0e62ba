use std::path::{Path, PathBuf};

use skytools::app::UsageError;
use skytools::config::ConfigError;
use skytools::daemon::JobError;
use skytools::db::DbError;

use crate::archive::ArchiveError;

/// What can end a run of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program cannot start.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The command line asks for nothing that can be done.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The master refuses, or is not there.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A file of the archive cannot be taken or given.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file or directory cannot be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A program that was called did not do its work.
    #[error("{what}: {problem}")]
    Program {
        /// Which, and where.
        what: String,
        /// How it ended, and what it said.
        problem: String,
    },
    /// A command of the other role.
    #[error("{0} is not available on this node")]
    WrongRole(&'static str),
    /// What was asked for is not safe, or makes no sense; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// Results cannot be written, or input cannot be read.
    #[error(transparent)]
    Stream(#[from] std::io::Error),
}

impl Error {
    /// Names the file that something failed on.
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Error {
        Error::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
