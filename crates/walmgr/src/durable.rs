//! Files that are still there after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Makes what was created, renamed or removed in a directory last.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Does two things at once, both of which wait for the disk; the first error, if there is one.
pub(crate) fn both<E: Send>(
    first: impl FnOnce() -> Result<(), E>,
    second: impl FnOnce() -> Result<(), E> + Send,
) -> Result<(), E> {
    std::thread::scope(|scope| {
        let second = scope.spawn(second);
        let first = first();
        first.and(second.join().expect("neither panics"))
    })
}

/// Makes everything on the filesystem of a directory last.
pub(crate) fn sync_filesystem(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

/// Replaces a file, whole or not at all; `new` is the name it has until it is.
fn replace(path: &Path, new: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    match path.parent() {
        Some(dir) => sync_dir(dir),
        None => Ok(()),
    }
}

/// Replaces a file, whole or not at all, for who reads it while the machine runs. It waits for no disk: after a
/// power cut the old one may be there, or an empty one. For what only tells people something.
pub(crate) fn replace_lightly(path: &Path, new: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(new)?;
    file.write_all(content)?;
    fs::rename(new, path)
}

/// Replaces a file in a directory, whole or not at all.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    replace(path, &path.with_file_name(name), content)
}

/// Gives a file its name, unless there is one of that name: then it is left as it is, with
/// [`ErrorKind::AlreadyExists`]. The directory is not synced.
pub(crate) fn publish(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // The filesystem cannot do that in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes a file; none is fine. True if there was one.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A file under a temporary name that one process has to itself; removed when dropped.
///
/// What a dead process has left under the name is not written into: it may have another name by now.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) file: File,
    path: PathBuf,
}

impl Scratch {
    /// `None` if a living process has it.
    pub(crate) fn create(path: &Path) -> io::Result<Option<Scratch>> {
        loop {
            let created = OpenOptions::new()
                .create_new(true)
                .write(true)
                .read(true)
                .mode(0o600)
                .open(path);
            let file = match created {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    match File::open(path) {
                        Ok(old) if is_locked(&old)? => return Ok(None),
                        Ok(old) if is_named(&old, path)? => {
                            remove(path)?;
                        }
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            // Somebody may have taken it for a dead one before it was locked.
            if !is_locked(&file)? && is_named(&file, path)? {
                return Ok(Some(Scratch {
                    file,
                    path: path.to_owned(),
                }));
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Published, it has another name; and a file that stays is found dead by the next one.
        if is_named(&self.file, &self.path).unwrap_or(false) {
            let _ = remove(&self.path);
        }
    }
}

/// Whether somebody else has the lock; nobody else has it then until the file is closed.
fn is_locked(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(fs::TryLockError::WouldBlock) => Ok(true),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a path still names this open file.
pub(crate) fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::{Scratch, publish};

    #[test]
    fn a_scratch_file_is_one_process_and_is_never_reused() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a");
        let first = Scratch::create(&path)?.expect("free");
        assert!(Scratch::create(&path)?.is_none());
        drop(first);
        assert!(!path.exists());
        // Left by a dead process that had linked it already.
        let archived = dir.path().join("archived");
        std::fs::write(&path, "precious")?;
        std::fs::hard_link(&path, &archived)?;
        let next = Scratch::create(&path)?.expect("free");
        next.file.set_len(3)?;
        assert_eq!(std::fs::read(&archived)?, b"precious");
        Ok(())
    }

    #[test]
    fn nothing_is_published_over_another_file() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, "new")?;
        publish(&from, &to)?;
        std::fs::write(&from, "other")?;
        let error = publish(&from, &to).expect_err("it exists");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&to)?, b"new");
        Ok(())
    }
}
