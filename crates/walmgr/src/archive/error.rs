use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::names::WalName;

/// Why a file is not archived, or not handed out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(private_interfaces, reason = "read as a text outside")]
pub enum ArchiveError {
    /// There is no archive: the slave has not been set up, or its disk is not mounted.
    #[error("{} is no archive: is its disk mounted? The slave's setup creates it", .0.display())]
    NoArchive(PathBuf),
    /// There is no room.
    #[error("disk full: {} has {free} bytes free, and {needed} are needed", dir.display())]
    DiskFull {
        /// The directory.
        dir: PathBuf,
        /// Bytes needed, with a reserve.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// Another process is archiving the same file.
    #[error("{0} is just being archived by another process")]
    Busy(WalName),
    /// The connection ended, or the sender did.
    #[error("{name}: {got} of {size} bytes came")]
    Short {
        /// The file.
        name: WalName,
        /// Bytes that came.
        got: u64,
        /// Bytes that were announced.
        size: u64,
    },
    /// It cannot be read.
    #[error("cannot read {name}")]
    Input {
        /// The file.
        name: WalName,
        /// Why.
        source: io::Error,
    },
    /// The content is not that of a file of this name, or of these digest and size.
    #[error("{name}: {problem}")]
    Wrong {
        /// The file.
        name: WalName,
        /// What is wrong.
        problem: String,
    },
    /// A file of this name is there, and holds something else.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// WAL of another cluster.
    #[error(
        "{} belongs to the cluster with system identifier {expected}, and this is WAL of {found}: \
         another server archives here; give each a base directory of its own",
        dir.display()
    )]
    Foreign {
        /// The archive.
        dir: PathBuf,
        /// Its cluster.
        expected: String,
        /// The cluster of what came.
        found: String,
    },
    /// The marker of the cluster is gone although its base backups are there.
    #[error("{} has no SYSTEMID, although base backups are there: is its disk mounted?", .0.display())]
    LostIdentity(PathBuf),
    /// The marker of the cluster cannot be read.
    #[error("{} does not hold a system identifier and a segment size", .0.display())]
    BadIdentity(PathBuf),
    /// A file or directory cannot be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Two files of one name, in the archive and on the way to it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is there with other content, and stays: it has {} bytes, SHA-256 {}{}; the one that came has {} \
     bytes, SHA-256 {}{}. {}{}",
    path.display(), there.1, there.0, system(*there_system), new.1, new.0, system(*new_system),
    explain(*is_damaged), kept(aside)
)]
pub struct Conflict {
    /// The file in the archive.
    pub(super) path: PathBuf,
    /// Its digest and size.
    pub(super) there: (Digest, u64),
    /// System identifier and timeline of its cluster.
    pub(super) there_system: Option<(u64, u32)>,
    /// Digest and size of the one that came.
    pub(super) new: (Digest, u64),
    /// System identifier and timeline of its cluster.
    pub(super) new_system: Option<(u64, u32)>,
    /// Where the one that came is kept.
    pub(super) aside: Option<PathBuf>,
    /// Whether the file in the archive is not any more what was archived.
    pub(super) is_damaged: bool,
}

impl ArchiveError {
    pub(crate) fn wrong(name: WalName, problem: String) -> ArchiveError {
        ArchiveError::Wrong { name, problem }
    }
}

/// Names the file that something failed on.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, ArchiveError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, ArchiveError> {
        self.map_err(|source| ArchiveError::Io {
            action,
            path: path.to_owned(),
            source,
        })
    }
}

fn system(known: Option<(u64, u32)>) -> String {
    match known {
        Some((system, timeline)) => format!(", of system {system}, timeline {timeline}"),
        None => String::new(),
    }
}

fn explain(is_damaged: bool) -> &'static str {
    match is_damaged {
        true => "The file in the archive has been damaged since it was archived.",
        false => "Two servers archive here, or one has gone on from an earlier state.",
    }
}

fn kept(aside: &Option<PathBuf>) -> String {
    match aside {
        Some(path) => format!(" The one that came is kept as {}", path.display()),
        None => " It is not kept: enough of them are".to_owned(),
    }
}
