//! Copying to a directory of this host: several files at once, each digested on its way.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use skytools::daemon::Stop;
use skytools::failpoint;
use tracing::{debug, warn};

use super::rules;
use crate::digest::{self, Digest};
use crate::progress::Progress;
use crate::sets::manifest::{Digests, Known};
use crate::{Error, files, parallel};

/// Bytes of a file that are copied before they are sent to the disk.
const FLUSH_AFTER: u64 = 32 << 20;

/// Copies files of a server that runs.
pub(super) struct Native<'a> {
    /// Files at once.
    pub(super) jobs: usize,
    pub(super) throttle: Throttle,
    pub(super) progress: &'a Progress,
    pub(super) stop: &'a Stop,
}

impl Native<'_> {
    /// The data directory, without the control file and without what is left out.
    pub(super) fn data(&self, from: &Path, to: &Path, digests: &mut Digests) -> Result<(), Error> {
        let log = rules::log_directory(from);
        let is_left_out = |path: &Path, is_link| rules::is_left_out(path, is_link, log);
        self.tree(from, to, Path::new(""), &is_left_out, digests)
    }

    /// A tablespace, into `tmpspc/OID`.
    pub(super) fn tablespace(
        &self,
        from: &Path,
        to: &Path,
        oid: u32,
        digests: &mut Digests,
    ) -> Result<(), Error> {
        let within = Path::new("tmpspc").join(oid.to_string());
        let is_left_out = |path: &Path, _| rules::is_temporary(path);
        self.tree(from, to, &within, &is_left_out, digests)
    }

    /// One file, of the same name on both sides.
    pub(super) fn one(
        &self,
        from: &Path,
        to: &Path,
        path: &str,
        digests: &mut Digests,
    ) -> Result<(), Error> {
        let source = from.join(path);
        let copied = self.file(&source, &to.join(path), &AtomicBool::new(false))?;
        let Some((digest, size)) = copied else {
            let missing = ErrorKind::NotFound.into();
            return Err(Error::io("read", &source, missing));
        };
        digests.insert(path.to_owned(), Known::new(digest, size));
        Ok(())
    }

    /// Everything below a directory into one of the set; what vanishes meanwhile is as if it had not been there.
    ///
    /// # Errors
    /// Something cannot be read or written, or we are told to stop.
    fn tree(
        &self,
        from: &Path,
        set: &Path,
        within: &Path,
        is_left_out: &dyn Fn(&Path, bool) -> bool,
        digests: &mut Digests,
    ) -> Result<(), Error> {
        let to = set.join(within);
        let mut tasks = Vec::new();
        let found = Tree {
            from,
            to: &to,
            is_left_out,
        };
        found.directory(Path::new(""), from, &mut tasks)?;
        // The largest first, so that none is left over in the end while others have nothing to do.
        tasks.sort_by_key(|task| std::cmp::Reverse(task.size));
        let has_failed = AtomicBool::new(false);
        let copied = parallel::map_by(self.jobs, &tasks, |task| {
            let copied = self.file(&task.source, &to.join(&task.path), &has_failed);
            has_failed.fetch_or(copied.is_err(), Ordering::Relaxed);
            copied
        });
        for (task, copied) in tasks.into_iter().zip(copied) {
            // A path that is no text is read again for the manifest.
            if let (Some((digest, size)), Some(path)) = (copied?, within.join(task.path).to_str()) {
                digests.insert(path.to_owned(), Known::new(digest, size));
            }
        }
        Ok(())
    }

    /// Copies a file with its mode and time; `None` if it has vanished.
    ///
    /// It is copied as far as it reached at first: what comes later is in the WAL, as is what it loses meanwhile.
    fn file(
        &self,
        source: &Path,
        target: &Path,
        has_failed: &AtomicBool,
    ) -> Result<Option<(Digest, u64)>, Error> {
        let unread = |error| Error::io("read", source, error);
        let unwritten = |error: io::Error| Error::io("write", target, error);
        let from = match File::open(source) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            from => from.map_err(unread)?,
        };
        let metadata = from.metadata().map_err(unread)?;
        let to = File::options()
            .create_new(true)
            .write(true)
            .mode(metadata.permissions().mode())
            .open(target)
            .map_err(unwritten)?;
        let mut from = from.take(metadata.len());
        let copied = flushing(&to, metadata.len(), unwritten, |more| {
            digest::pump(&mut from, unread, |bytes| {
                // Another has a better reason, if there is one.
                if has_failed.load(Ordering::Relaxed) || self.stop.requested() {
                    return Err(Error::Refused("interrupted".to_owned()));
                }
                (&to).write_all(bytes).map_err(unwritten)?;
                more(bytes.len() as u64);
                failpoint::step("backup.block");
                self.progress.add(bytes.len() as u64);
                self.throttle.wait(bytes.len() as u64, self.stop);
                Ok(())
            })
        })?;
        let modified = metadata.modified().map_err(unread)?;
        to.set_permissions(metadata.permissions())
            .and_then(|()| to.set_modified(modified))
            .map_err(unwritten)?;
        Ok(Some(copied))
    }
}

/// Has a large file written to the disk while it is copied: else the disk has nothing to do before the end, and all
/// wait for it then. `copy` tells how much more there is.
fn flushing<T>(
    to: &File,
    size: u64,
    unwritten: impl Fn(io::Error) -> Error,
    copy: impl FnOnce(&mut dyn FnMut(u64)) -> Result<T, Error>,
) -> Result<T, Error> {
    if size < 2 * FLUSH_AFTER {
        return copy(&mut |_| {});
    }
    let (tell, told) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let flusher = scope.spawn(move || told.into_iter().try_for_each(|()| to.sync_data()));
        let mut waiting = 0;
        let copied = copy(&mut |more| {
            waiting += more;
            // Busy, it is told next time.
            if waiting >= FLUSH_AFTER && tell.try_send(()).is_ok() {
                waiting = 0;
            }
        });
        drop(tell);
        let flushed = flusher.join().expect("syncing does not panic");
        let copied = copied?;
        flushed.map_err(unwritten)?;
        Ok(copied)
    })
}

/// Keeps several threads together below a rate.
pub(super) struct Throttle {
    /// Bytes a second; 0: as fast as it goes.
    rate: u64,
    begun: Instant,
    bytes: AtomicU64,
}

impl Throttle {
    pub(super) fn new(kilobytes: u64) -> Throttle {
        Throttle {
            rate: kilobytes.saturating_mul(1024),
            begun: Instant::now(),
            bytes: AtomicU64::new(0),
        }
    }

    /// Waits until so many more bytes were due; not past a request to stop.
    fn wait(&self, more: u64, stop: &Stop) {
        if self.rate == 0 {
            return;
        }
        let bytes = self.bytes.fetch_add(more, Ordering::Relaxed) + more;
        #[expect(clippy::cast_precision_loss, reason = "far below what a float holds")]
        let due = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        stop.sleep(due.saturating_sub(self.begun.elapsed()));
    }
}

/// A file that is to be copied.
struct Task {
    /// Relative to the tree.
    path: PathBuf,
    source: PathBuf,
    size: u64,
}

/// A tree on its way.
struct Tree<'a> {
    from: &'a Path,
    to: &'a Path,
    /// What does not go, by paths relative to the tree, and whether they are links.
    is_left_out: &'a dyn Fn(&Path, bool) -> bool,
}

impl Tree<'_> {
    /// Makes a directory with its directories and links, and finds their files.
    fn directory(&self, path: &Path, source: &Path, tasks: &mut Vec<Task>) -> Result<(), Error> {
        let unread = |error| Error::io("list", source, error);
        let entries = match fs::read_dir(source) {
            // Only what is below may vanish.
            Err(error) if error.kind() == ErrorKind::NotFound && source != self.from => {
                return Ok(());
            }
            entries => entries.map_err(unread)?,
        };
        let target = self.to.join(path);
        files::create_private_dir(&target).map_err(|error| Error::io("create", &target, error))?;
        if let Ok(metadata) = fs::metadata(source) {
            fs::set_permissions(&target, metadata.permissions())
                .map_err(|error| Error::io("create", &target, error))?;
        }
        for entry in entries {
            let entry = entry.map_err(unread)?;
            let path = path.join(entry.file_name());
            let source = entry.path();
            let is_link = match entry.file_type() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                kind => kind.map_err(unread)?.is_symlink(),
            };
            if (self.is_left_out)(&path, is_link) {
                continue;
            }
            let Some(metadata) = look(&path, &source)? else {
                continue;
            };
            if metadata.is_dir() {
                self.directory(&path, &source, tasks)?;
            } else if metadata.is_symlink() {
                let target = self.to.join(&path);
                let to = fs::read_link(&source).map_err(unread)?;
                symlink(to, &target).map_err(|error| Error::io("create", &target, error))?;
            } else if metadata.is_file() {
                let size = metadata.len();
                tasks.push(Task { path, source, size });
            } else {
                debug!(path = %source.display(), "neither file nor directory: left out");
            }
        }
        Ok(())
    }
}

/// What an entry is; of a link that leads out of the tree, what it leads to. `None`: nothing any more.
fn look(path: &Path, source: &Path) -> Result<Option<Metadata>, Error> {
    let found = fs::symlink_metadata(source).and_then(|metadata| {
        if metadata.is_symlink() && leads_out(path, &fs::read_link(source)?) {
            return fs::metadata(source);
        }
        Ok(metadata)
    });
    match found {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if fs::symlink_metadata(source).is_ok() {
                warn!(path = %source.display(), "a link that leads nowhere: left out");
            }
            Ok(None)
        }
        Err(error) => Err(Error::io("look at", source, error)),
    }
}

/// Whether a link at a path of the tree leads out of it, as far as its text tells.
fn leads_out(path: &Path, to: &Path) -> bool {
    let mut depth = path.components().count() - 1;
    for component in to.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::CurDir => {}
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::time::{Duration, Instant, SystemTime};

    use skytools::daemon::Stop;

    use super::{Native, Throttle, leads_out};
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
        let native = Native {
            jobs: 3,
            throttle: Throttle::new(0),
            progress: &progress,
            stop: &stop,
        };
        let mut digests = Digests::default();
        native
            .tablespace(&from, &to, 7, &mut digests)
            .expect("copied");
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

        // Told to stop, it stops, and nothing is written over.
        assert!(
            native
                .tablespace(&from, &dir.path().join("to"), 7, &mut digests)
                .is_err()
        );
        stop.request();
        assert!(
            native
                .tablespace(&from, &dir.path().join("to"), 8, &mut digests)
                .is_err()
        );
        Ok(())
    }

    #[test]
    fn a_rate_is_one_of_all_threads_together() {
        let (throttle, stop) = (Throttle::new(1000), Stop::default());
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| throttle.wait(25 * 1024, &stop));
            }
        });
        assert!(begun.elapsed() >= Duration::from_millis(100));
    }

    #[test]
    fn a_link_leads_out_if_its_text_does() {
        for (path, to, out) in [
            ("a", "b", false),
            ("a/b", "../c", false),
            ("a", "../c", true),
            ("a/b", "../../c", true),
            ("a/b", "c/../../../d", true),
            ("a", "/tmp", true),
        ] {
            let found = leads_out(Path::new(path), Path::new(to));
            assert_eq!(found, out, "{path} {to}");
        }
    }
}
