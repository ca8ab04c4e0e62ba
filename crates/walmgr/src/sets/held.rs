//! A set that somebody reads: it may get another name meanwhile, and is not deleted.

use std::fs::{File, TryLockError};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::{Info, Set};
use crate::Error;

/// A lock on the directory of a set, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    dir: File,
}

impl Held {
    /// Keeps a set from being deleted.
    ///
    /// # Errors
    /// It is being deleted, or has got another name since it was looked for.
    pub(crate) fn share(set: &Set) -> Result<Held, Error> {
        let failed = |error| Error::io("open", &set.path, error);
        let dir = File::open(&set.path).map_err(failed)?;
        match dir.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Refused(format!("{} is being deleted", set.name)));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let held = Held { dir };
        let id = |info: &Option<Info>| info.as_ref().map(|info| info.id.clone());
        match id(&Info::read(&held.path())?) == id(&set.info) {
            true => Ok(held),
            false => Err(Error::Refused(format!(
                "{} is another set now: a backup has become the newest meanwhile; try again",
                set.name
            ))),
        }
    }

    /// The set for who deletes it; `None` if somebody reads it.
    pub(super) fn alone(path: &Path) -> Result<Option<Held>, Error> {
        let failed = |error| Error::io("open", path, error);
        let dir = File::open(path).map_err(failed)?;
        match dir.try_lock() {
            Ok(()) => Ok(Some(Held { dir })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// A path that leads to it, whatever its name is.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.dir.as_raw_fd()).into()
    }
}
