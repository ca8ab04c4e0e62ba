//! Copying by this program itself: several files at once, each digested on its way, within a host or to another one.

mod file;
mod find;
mod stream;
mod taker;
mod throttle;

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Take};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use skytools::daemon::Stop;
use skytools::failpoint;

use super::rules;
use crate::digest::Digest;
use crate::progress::Progress;
use crate::sets::manifest::{Digests, Known};
use crate::slave::Slave;
use crate::{Error, files, parallel};
pub(crate) use file::Attributes;
use find::{Found, Rule, Task, find};
use stream::Stream;
pub(crate) use taker::Taker;
use throttle::Throttle;

/// Copies files of a server that runs.
pub(super) struct Native<'a> {
    target: Target,
    work: Work<'a>,
}

/// Where they go.
enum Target {
    /// To a directory of this host, so many files at once.
    Here { root: PathBuf, jobs: usize },
    /// By so many connections.
    There(Vec<Stream>),
}

/// What is common to all threads that copy.
struct Work<'a> {
    throttle: Throttle,
    progress: &'a Progress,
    stop: &'a Stop,
    has_failed: AtomicBool,
    /// Why, of who was the first.
    reason: Mutex<Option<Error>>,
}

impl<'a> Native<'a> {
    /// Copies to a directory of this host.
    pub(super) fn here(
        root: &Path,
        jobs: usize,
        kilobytes_a_second: u64,
        progress: &'a Progress,
        stop: &'a Stop,
    ) -> Native<'a> {
        Native {
            target: Target::Here {
                root: root.to_owned(),
                jobs,
            },
            work: Work {
                throttle: Throttle::new(kilobytes_a_second),
                progress,
                stop,
                has_failed: AtomicBool::new(false),
                reason: Mutex::default(),
            },
        }
    }

    /// Copies to where the slave has made a place for who holds the lock.
    ///
    /// # Errors
    /// The slave cannot be reached, or lets nobody copy.
    pub(super) fn there(self, slave: &Slave, lock: &str) -> Result<Native<'a>, Error> {
        let Target::Here { jobs, .. } = self.target else {
            return Ok(self);
        };
        let streams = (0..jobs).map(|_| Stream::open(slave, lock));
        Ok(Native {
            target: Target::There(streams.collect::<Result<_, Error>>()?),
            ..self
        })
    }

    /// The data directory, without the control file and without what is left out.
    pub(super) fn data(&mut self, from: &Path, digests: &mut Digests) -> Result<(), Error> {
        let log = rules::log_directory(from);
        let is_left_out = |path: &Path, is_link| rules::is_left_out(path, is_link, log);
        self.tree(from, Path::new(""), &is_left_out, digests)
    }

    /// A tablespace, into `tmpspc/OID`.
    pub(super) fn tablespace(
        &mut self,
        from: &Path,
        oid: u32,
        digests: &mut Digests,
    ) -> Result<(), Error> {
        let within = Path::new("tmpspc").join(oid.to_string());
        self.tree(from, &within, &|path, _| rules::is_temporary(path), digests)
    }

    /// One file, of the same name on both sides.
    pub(super) fn one(
        &mut self,
        from: &Path,
        path: &str,
        digests: &mut Digests,
    ) -> Result<(), Error> {
        let found = Found {
            files: vec![Task {
                path: path.into(),
                source: from.join(path),
                size: 0,
            }],
            ..Found::default()
        };
        self.copy(Path::new(""), &found, digests)?;
        match digests.contains_key(path) {
            true => Ok(()),
            false => Err(Error::io(
                "read",
                &from.join(path),
                ErrorKind::NotFound.into(),
            )),
        }
    }

    /// Everything below a directory into one of the set; what vanishes meanwhile is as if it had not been there.
    ///
    /// # Errors
    /// Something cannot be read or written, or we are told to stop.
    fn tree(
        &mut self,
        from: &Path,
        within: &Path,
        is_left_out: Rule<'_>,
        digests: &mut Digests,
    ) -> Result<(), Error> {
        let found = find(from, is_left_out)?;
        match &mut self.target {
            Target::Here { root, .. } => make(&root.join(within), &found)?,
            Target::There(streams) => stream::make(streams, within, &found)?,
        }
        self.copy(within, &found, digests)
    }

    /// The files that have been found.
    fn copy(&mut self, within: &Path, found: &Found, digests: &mut Digests) -> Result<(), Error> {
        match &mut self.target {
            Target::There(streams) => {
                stream::copy(streams, within, &found.files, &self.work, digests);
            }
            Target::Here { root, jobs } => {
                let to = root.join(within);
                let copied = parallel::map_by(*jobs, &found.files, |task| {
                    let copied = self.work.file(&task.source, &to.join(&task.path));
                    copied.unwrap_or_else(|error| self.work.fail(error))
                });
                for (task, copied) in found.files.iter().zip(copied) {
                    // A path that is no text is read again for the manifest.
                    let path = within.join(&task.path);
                    if let (Some((digest, size)), Some(path)) = (copied, path.to_str()) {
                        digests.insert(path.to_owned(), Known::new(digest, size));
                    }
                }
            }
        }
        match self.work.reason().take() {
            None => Ok(()),
            Some(reason) => Err(reason),
        }
    }
}

/// Makes directories and links.
fn make(to: &Path, found: &Found) -> Result<(), Error> {
    for directory in &found.directories {
        let path = to.join(&directory.path);
        files::create_private_dir(&path)
            .and_then(|()| match directory.mode {
                Some(mode) => fs::set_permissions(&path, Permissions::from_mode(mode)),
                None => Ok(()),
            })
            .map_err(|error| Error::io("create", &path, error))?;
    }
    for link in &found.links {
        let path = to.join(&link.path);
        symlink(&link.to, &path).map_err(|error| Error::io("create", &path, error))?;
    }
    Ok(())
}

impl Work<'_> {
    /// Opens a file as it is now; `None` if it has vanished.
    ///
    /// It is copied as far as it reaches at first: what comes later is in the WAL, as is what it loses meanwhile.
    fn open(&self, source: &Path) -> Result<Option<(Take<File>, Attributes)>, Error> {
        let unread = |error| Error::io("read", source, error);
        let from = match File::open(source) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            from => from.map_err(unread)?,
        };
        let metadata = from.metadata().map_err(unread)?;
        let attributes = Attributes::of(&metadata).map_err(unread)?;
        Ok(Some((from.take(attributes.size), attributes)))
    }

    /// Copies a file with its mode and time; `None` if it has vanished.
    fn file(&self, source: &Path, target: &Path) -> Result<Option<(Digest, u64)>, Error> {
        let Some((mut from, attributes)) = self.open(source)? else {
            return Ok(None);
        };
        let unread = |error| Error::io("read", source, error);
        let unwritten = |error| Error::io("write", target, error);
        let each = |bytes| self.done(bytes);
        file::write(target, attributes, &mut from, unread, unwritten, each).map(Some)
    }

    /// So many bytes are copied: counts them, keeps to the rate, and says whether to go on.
    fn done(&self, bytes: u64) -> Result<(), Error> {
        failpoint::step("backup.block");
        self.progress.add(bytes);
        self.throttle.wait(bytes, self.stop);
        match self.has_failed.load(Ordering::Relaxed) || self.stop.requested() {
            true => Err(Error::Refused("interrupted".to_owned())),
            false => Ok(()),
        }
    }

    /// Has all others end.
    fn fail<T>(&self, error: Error) -> Option<T> {
        self.has_failed.store(true, Ordering::Relaxed);
        self.reason().get_or_insert(error);
        None
    }

    fn reason(&self) -> MutexGuard<'_, Option<Error>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use skytools::daemon::Stop;

    use super::Native;
    use crate::digest::Digest;
    use crate::progress::Progress;
    use crate::sets::manifest::{Digests, Known};

    #[test]
    fn a_tree_is_copied_with_modes_and_times_and_what_its_links_lead_to() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("base/1"))?;
        let large = vec![7; 3 << 20];
        fs::write(from.join("base/1/large"), &large)?;
        fs::write(from.join("base/1/small"), "small")?;
        fs::write(from.join("base/1/pgsql_tmp1"), "not needed")?;
        fs::write(dir.path().join("outside"), "outside")?;
        symlink("small", from.join("base/1/inside"))?;
        symlink(dir.path().join("outside"), from.join("out"))?;
        symlink("nowhere", from.join("dangling"))?;
        symlink("/no/such/file", from.join("dead"))?;
        fs::set_permissions(from.join("base"), fs::Permissions::from_mode(0o750))?;
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        fs::File::options()
            .write(true)
            .open(from.join("base/1/small"))?
            .set_modified(old)?;
        let (progress, stop) = (Progress::silent(), Stop::default());
        let mut digests = Digests::default();
        let mut native = Native::here(&to, 3, 0, &progress, &stop);
        native.tablespace(&from, 7, &mut digests).expect("copied");
        let to = to.join("tmpspc/7");
        let mut expected = Digests::default();
        for path in ["base/1/large", "base/1/small", "out"] {
            let (digest, size) = Digest::of_file(&to.join(path), &Progress::silent())?;
            expected.insert(format!("tmpspc/7/{path}"), Known::new(digest, size));
        }
        assert_eq!(digests, expected);
        assert!(fs::read(to.join("base/1/large"))? == large);
        assert_eq!(progress.done(), large.len() as u64 + 5 + 7);
        assert_eq!(fs::read_to_string(to.join("base/1/inside"))?, "small");
        assert_eq!(fs::read_to_string(to.join("out"))?, "outside");
        assert!(!to.join("out").is_symlink());
        assert!(to.join("dangling").is_symlink() && !to.join("dead").exists());
        assert!(!to.join("base/1/pgsql_tmp1").exists());
        let mode = fs::metadata(to.join("base"))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o750);
        assert_eq!(fs::metadata(to.join("base/1/small"))?.modified()?, old);

        // Nothing is written over, and told to stop, it stops.
        let error = native.tablespace(&from, 7, &mut digests);
        assert!(error.is_err_and(|error| error.to_string().starts_with("cannot create")));
        stop.request();
        let error = native.tablespace(&from, 8, &mut digests);
        assert!(error.is_err_and(|error| error.to_string() == "interrupted"));
        Ok(())
    }
}
