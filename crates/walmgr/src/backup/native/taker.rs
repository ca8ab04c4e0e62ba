//! The slave's end of a copy that comes by connections.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use skytools::failpoint;

use super::super::receive::need_lock;
use super::{Attributes, file};
use crate::channel::{Reply, Request};
use crate::config::SlaveConfig;
use crate::digest::Digest;
use crate::sets::Sets;
use crate::{Error, files};

/// Puts into a copy what comes.
#[derive(Debug)]
pub(crate) struct Taker {
    /// The directory itself, and not its name, which is that of another copy when this one has been given up.
    dir: File,
    /// For messages.
    shown: PathBuf,
}

impl Taker {
    /// For the backup that has the lock.
    ///
    /// # Errors
    /// Another has it, or nothing has been begun.
    pub(crate) fn open(config: &SlaveConfig, lock: &str) -> Result<Taker, Error> {
        need_lock(config, lock)?;
        let shown = Sets::new(config).in_progress();
        let dir = File::open(&shown).map_err(|error| Error::io("open", &shown, error))?;
        Ok(Taker { dir, shown })
    }

    /// Takes a directory, a link or a file.
    ///
    /// # Errors
    /// It cannot be made, or does not come to its end.
    pub(crate) fn take(&self, request: Request, payload: &mut impl Read) -> Result<Reply, Error> {
        let mut reply = Reply {
            ok: true,
            ..Reply::default()
        };
        match request {
            Request::Directory { path, mode } => self.directory(&path, mode)?,
            Request::Link { path, to } => {
                let (target, shown) = self.paths(&path)?;
                symlink(to, target).map_err(|error| Error::io("create", &shown, error))?;
            }
            Request::File { path, attributes } => {
                let (digest, size) = self.file(&path, attributes, payload)?;
                (reply.name, reply.sha256, reply.size) = (path, digest.to_string(), size);
            }
            Request::Receive { .. } | Request::Partial { .. } | Request::Copy { .. } => {
                return Err(Error::Refused("that is no part of a copy".to_owned()));
            }
        }
        Ok(reply)
    }

    fn directory(&self, path: &str, mode: Option<u32>) -> Result<(), Error> {
        let (target, shown) = self.paths(path)?;
        files::create_private_dir(&target)
            .and_then(|()| match mode {
                Some(mode) => fs::set_permissions(&target, Permissions::from_mode(mode & 0o7777)),
                None => Ok(()),
            })
            .map_err(|error| Error::io("create", &shown, error))
    }

    fn file(
        &self,
        path: &str,
        attributes: Attributes,
        payload: &mut impl Read,
    ) -> Result<(Digest, u64), Error> {
        let (target, shown) = self.paths(path)?;
        file::write(
            &target,
            attributes,
            payload,
            |error| Error::io("receive", &shown, error),
            |error| Error::io("write", &shown, error),
            |_| {
                failpoint::step("copy.block");
                Ok(())
            },
        )
    }

    /// Where something is put, and where that is.
    ///
    /// # Errors
    /// It leads out of the copy.
    fn paths(&self, path: &str) -> Result<(PathBuf, PathBuf), Error> {
        let shown = self.shown.join(path);
        let is_within = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        match is_within {
            true => {
                let dir = format!("/proc/self/fd/{}", self.dir.as_raw_fd());
                Ok((Path::new(&dir).join(path), shown))
            }
            false => Err(Error::Refused(format!("'{path}' is no path of a copy"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::Taker;

    #[test]
    fn what_is_sent_stays_within_the_copy_wherever_that_is_now() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (shown, gone) = (dir.path().join("copy"), dir.path().join("gone"));
        fs::create_dir(&shown)?;
        let taker = Taker {
            dir: File::open(&shown)?,
            shown: shown.clone(),
        };
        for path in ["/etc", "..", "a/../../b"] {
            assert!(taker.directory(path, None).is_err(), "{path}");
        }
        fs::rename(&shown, &gone)?;
        fs::create_dir(&shown)?;
        taker.directory("a/b", Some(0o750)).expect("made");
        assert!(gone.join("a/b").is_dir() && !shown.join("a").exists());
        Ok(())
    }
}
