//! Pidfiles: one process per job, held by a lock, alive or stale.
//!
//! The lock on `FILE.lock` decides; it is held from the check to the end of the process and
//! survives a fork. The pid in `FILE` is for people and for signals, and for tools that know of no
//! lock: a live one counts as running even when the lock is free.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::process::Process;

/// More than a pidfile holds, and little enough to read whatever the path names.
const MAX_BYTES: u64 = 4096;

/// Why a pidfile cannot be taken or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PidfileError {
    /// A live process has the job.
    #[error("Pidfile exists, another process running?")]
    Running,
    /// The file holds something else than a process id.
    #[error("Corrupt pidfile: {}", .0.display())]
    Corrupt(PathBuf),
    /// The file or its lock cannot be read or written.
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

/// What a pidfile says about its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// There is no file.
    Absent,
    /// The process it names is gone, or another program has its id now; or the file is empty.
    Stale,
    /// The process runs.
    Running(Pid),
}

/// Reads a pidfile: the first line, trimmed, so that `postmaster.pid` can be read too.
///
/// # Errors
/// The file cannot be read, or holds no process id.
pub fn status(path: &Path) -> Result<Status, PidfileError> {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Status::Absent),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(PidfileError::Corrupt(path.to_owned()));
        }
        Err(source) => return Err(io_error("read", path, source)),
    };
    if text.trim().is_empty() {
        return Ok(Status::Stale);
    }
    let first = text.lines().next().unwrap_or_default().trim();
    let pid = first.parse().ok().filter(|pid| *pid > 0);
    let Some(pid) = pid.and_then(Pid::from_raw) else {
        return Err(PidfileError::Corrupt(path.to_owned()));
    };
    // Not permitted: it lives, and belongs to somebody else.
    let alive = !matches!(test_kill_process(pid), Err(Errno::SRCH));
    if alive && !is_other(pid, path) {
        Ok(Status::Running(pid))
    } else {
        Ok(Status::Stale)
    }
}

/// As [`status`], but waits a little for the pid of a job that is only starting: it holds its lock and
/// has gone to the background.
///
/// # Errors
/// As those of [`status`].
pub fn status_once_started(path: &Path) -> Result<Status, PidfileError> {
    const PATIENCE: Duration = Duration::from_secs(5);
    const GLANCE: Duration = Duration::from_millis(5);
    let begun = Instant::now();
    loop {
        match status(path)? {
            Status::Absent | Status::Stale if is_locked(path) && begun.elapsed() < PATIENCE => {
                std::thread::park_timeout(GLANCE);
            }
            known => return Ok(known),
        }
    }
}

/// Whether a process holds the lock of the pidfile `path`.
fn is_locked(path: &Path) -> bool {
    File::open(lock_path(path))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Locks the file of a lock, unless a process has it; one that only looks, as [`is_locked`] does, has it for an instant.
fn lock_alone(lock: &File) -> Result<(), TryLockError> {
    const PATIENCE: Duration = Duration::from_secs(1);
    const GLANCE: Duration = Duration::from_millis(1);
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {}
            answer => return answer,
        }
        // Refused to who only looks: there is a job.
        lock.try_lock_shared()?;
        lock.unlock().map_err(TryLockError::Error)?;
        std::thread::park_timeout(GLANCE);
    }
}

/// The beginning of a file; a pipe without a writer is empty instead of a long wait.
fn read(path: &Path) -> io::Result<String> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Whether a live process surely is not the one that wrote the file.
///
/// In a container, where ids are few, it often is this very process. After a reboot it is one that
/// began later than the file was written. And a zombie is none: it only waits to be counted.
fn is_other(pid: Pid, path: &Path) -> bool {
    // Clocks are set while machines run; after a power loss the difference is larger.
    const MARGIN: Duration = Duration::from_secs(60);
    if pid == rustix::process::getpid() {
        return true;
    }
    let Some(process) = Process::read(pid) else {
        return false;
    };
    let written = std::fs::metadata(path).and_then(|file| file.modified());
    process.is_zombie() || written.is_ok_and(|written| process.started() > written + MARGIN)
}

/// The file whose lock keeps the pidfile `path` for one process.
///
/// It stays behind, empty, as users were told: were it removed, one process could lock the removed file while another
/// locks a new one, unless both, whatever their versions, look afterwards whether theirs is still in its place.
pub fn lock_path(path: &Path) -> PathBuf {
    with_suffix(path, ".lock")
}

/// A pidfile that this process has to itself.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    stale: bool,
    // Locked; never read. Closing it frees the lock.
    _lock: File,
}

impl Pidfile {
    /// Makes sure that no other process has the job, and keeps it so. Writes nothing yet.
    ///
    /// # Errors
    /// The job is taken, or the files cannot be used.
    pub fn take(path: &Path) -> Result<Pidfile, PidfileError> {
        let lock_path = lock_path(path);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|source| io_error("open", &lock_path, source))?;
        match lock_alone(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PidfileError::Running),
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &lock_path, source)),
        }
        let stale = match status(path)? {
            Status::Absent => false,
            Status::Stale => true,
            Status::Running(_) => return Err(PidfileError::Running),
        };
        Ok(Pidfile {
            path: path.to_owned(),
            stale,
            _lock: lock,
        })
    }

    /// Whether a dead process left the file behind.
    pub fn was_stale(&self) -> bool {
        self.stale
    }

    /// Writes the id of this process: whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> Result<(), PidfileError> {
        let new = with_suffix(&self.path, ".new");
        let written = std::fs::write(&new, format!("{}\n", std::process::id()))
            .and_then(|()| std::fs::rename(&new, &self.path));
        written.map_err(|source| {
            let _ = std::fs::remove_file(&new);
            io_error("write", &self.path, source)
        })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        remove_own(&self.path);
    }
}

/// Removes the file if it names this process; a failure leaves a stale file, which is harmless.
pub(crate) fn remove_own(path: &Path) {
    let own = std::process::id().to_string();
    if std::fs::read_to_string(path).is_ok_and(|text| text.trim() == own) {
        let _ = std::fs::remove_file(path);
    }
}

/// Appends to the name of a file.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> PidfileError {
    PidfileError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::{Pidfile, PidfileError, Status, is_locked, status};

    #[test]
    fn whatever_the_path_names_is_read_in_no_time_and_memory() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status()?.success());
        assert_eq!(status(&pipe).ok(), Some(Status::Stale));
        let error = status("/dev/zero".as_ref()).expect_err("no pid");
        assert_eq!(error.to_string(), "Corrupt pidfile: /dev/zero");
        assert!(status(dir.path()).is_err());
        Ok(())
    }

    #[test]
    fn whoever_looks_at_the_lock_keeps_nobody_from_it() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("job.pid");
        let done = AtomicBool::new(false);
        let refused = thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        is_locked(&path);
                    }
                });
            }
            let refused = (0..2000).find_map(|_| match Pidfile::take(&path) {
                // A second one is refused all the same.
                Ok(_held) => match Pidfile::take(&path) {
                    Err(PidfileError::Running) => None,
                    other => Some(format!("{other:?}")),
                },
                Err(error) => Some(error.to_string()),
            });
            done.store(true, Ordering::Relaxed);
            refused
        });
        assert_eq!(refused, None);
        Ok(())
    }
}
