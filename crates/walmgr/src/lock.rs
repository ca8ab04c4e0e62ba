//! `BACKUPLOCK`: one backup at a time.
//!
//! Who has a lock on the file has the backup lock. The process that took it holds it until its input ends, so
//! that it is free again when the backup dies in any way. The text in the file is for people, and for the
//! older form: a process id without a lock.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use tracing::warn;

use crate::Error;
use crate::durable::{self, is_named};

/// A lock of another host that has no holder any more is taken over by force only, and only after this time.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// What is in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) pid: Option<i32>,
    host: Option<String>,
    started: Option<String>,
    command: Option<String>,
    pub(crate) id: Option<String>,
}

impl Owner {
    fn parse(text: &str) -> Owner {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
        };
        Owner {
            pid: text
                .lines()
                .next()
                .and_then(|line| line.trim().parse().ok()),
            host: value("host"),
            started: value("started"),
            command: value("command"),
            id: value("id"),
        }
    }

    /// Who has the lock, for a message.
    pub(crate) fn describe(&self) -> String {
        let unknown = || "unknown".to_owned();
        format!(
            "pid {} on {}, since {}: {}",
            self.pid.map_or_else(unknown, |pid| pid.to_string()),
            self.host.clone().unwrap_or_else(unknown),
            self.started.clone().unwrap_or_else(unknown),
            self.command.clone().unwrap_or_else(unknown),
        )
    }

    fn is_of_this_host(&self) -> bool {
        // The older form does not say: it is the host that runs the backup, which may be another.
        self.host.as_deref() == Some(&host())
    }

    /// Whether it may still be at work although it has no lock on the file, as older programs have none. Of ours,
    /// which leave an id, the lock tells; its process id may be another program's by now.
    fn is_alive(&self) -> bool {
        let pid = self.pid.and_then(Pid::from_raw);
        self.id.is_none()
            && pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(Errno::SRCH)))
    }
}

/// Why the lock is not to be had.
pub(crate) enum Denied {
    Held(Owner),
    Failed(Error),
}

/// The lock, until it is dropped.
#[derive(Debug)]
pub(crate) struct BackupLock {
    file: File,
    path: PathBuf,
    pub(crate) id: String,
}

impl BackupLock {
    /// Takes the lock for a command that cannot do without.
    ///
    /// # Errors
    /// Somebody else has it; the message says who.
    pub(crate) fn need(archive: &Path, command: &str, force: bool) -> Result<BackupLock, Error> {
        BackupLock::take(archive, command, force).map_err(|denied| match denied {
            Denied::Failed(error) => error,
            Denied::Held(owner) => is_held(&owner),
        })
    }

    /// Takes the lock.
    pub(crate) fn take(archive: &Path, command: &str, force: bool) -> Result<BackupLock, Denied> {
        let path = archive.join("BACKUPLOCK");
        let failed =
            |action, error| Denied::Failed(Error::io(action, &archive.join("BACKUPLOCK"), error));
        let file = loop {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|error| failed("open", error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Denied::Held(read(&path).unwrap_or_default()));
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
            }
            // It may have been released, and removed, between the two.
            if is_named(&file, &path).map_err(|error| failed("look at", error))? {
                break file;
            }
        };
        if let Some(owner) = read(&path) {
            may_take_over(&owner, &file, force).map_err(Denied::Held)?;
            warn!(
                "taking over the backup lock of {}: its holder is gone",
                owner.describe()
            );
        }
        let id = format!("{}-{}", host(), Timestamp::now().as_nanosecond());
        let text = format!(
            "{}\nhost={}\nstarted={:.0}\ncommand={command}\nid={id}\n",
            std::process::id(),
            host(),
            Timestamp::now(),
        );
        let written = file
            .set_len(0)
            .and_then(|()| (&file).write_all(text.as_bytes()))
            .and_then(|()| file.sync_all())
            .and_then(|()| durable::sync_dir(archive));
        written.map_err(|error| failed("write", error))?;
        Ok(BackupLock { file, path, id })
    }
}

impl Drop for BackupLock {
    fn drop(&mut self) {
        if is_named(&self.file, &self.path).unwrap_or(false) {
            // What stays is found to have no holder.
            let _ = durable::remove(&self.path);
        }
    }
}

fn is_held(owner: &Owner) -> Error {
    Error::Refused(format!(
        "the backup lock is held by {}; xrelease removes one that is left over",
        owner.describe()
    ))
}

/// For a look at what a command would do that needs the lock.
///
/// # Errors
/// Somebody has it.
pub(crate) fn refuse_held(archive: &Path) -> Result<(), Error> {
    match holder(archive)? {
        Some(owner) => Err(is_held(&owner)),
        None => Ok(()),
    }
}

/// Whether a lock without a holder is left over.
fn may_take_over(owner: &Owner, file: &File, force: bool) -> Result<(), Owner> {
    let is_left = match owner.is_of_this_host() {
        // By an older program that holds nothing, or by one that is gone.
        true => !owner.is_alive(),
        false => force && age(file) > ABANDONED,
    };
    match is_left {
        true => Ok(()),
        false => Err(owner.clone()),
    }
}

fn age(file: &File) -> Duration {
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    modified
        .ok()
        .and_then(|modified| SystemTime::now().duration_since(modified).ok())
        .unwrap_or_default()
}

/// What is in the file; `None` if that is nothing, as somebody has left it who died right after he had made it.
fn read(path: &Path) -> Option<Owner> {
    match fs::read(path) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => None,
        Ok(bytes) => Some(Owner::parse(&String::from_utf8_lossy(&bytes))),
        Err(_) => Some(Owner::default()),
    }
}

/// Takes the lock in the older way: a file with the process id of the backup, wherever that runs.
pub(crate) fn take_plainly(archive: &Path, pid: i32) -> Result<(), Denied> {
    let lock = BackupLock::take(archive, "xlock", false)?;
    let text = format!("{pid}\n");
    let written = lock
        .file
        .set_len(0)
        .and_then(|()| io::Seek::rewind(&mut &lock.file))
        .and_then(|()| (&lock.file).write_all(text.as_bytes()))
        .and_then(|()| lock.file.sync_all());
    written.map_err(|error| Denied::Failed(Error::io("write", &lock.path, error)))?;
    // The file is what stays.
    std::mem::forget(lock);
    Ok(())
}

/// Who has the lock; `None` if nobody has.
pub(crate) fn holder(archive: &Path) -> Result<Option<Owner>, Error> {
    let path = archive.join("BACKUPLOCK");
    let failed = |error| Error::io("look at", &path, error);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let owner = read(&path);
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(Some(owner.unwrap_or_default())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
        // Without a lock on it, but perhaps of a process elsewhere.
        Ok(()) => Ok(owner.filter(|owner| !owner.is_of_this_host() || owner.is_alive())),
    }
}

/// Takes the lock away from nobody, or from whoever has it.
pub(crate) fn release(archive: &Path, force: bool) -> Result<(), Error> {
    let path = archive.join("BACKUPLOCK");
    let failed = |error| Error::io("remove", &path, error);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) if !force => Err(Error::Refused(format!(
            "the backup lock is held by {}; --force removes it all the same",
            read(&path).unwrap_or_default().describe()
        ))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
        _ => durable::remove(&path).map(|_| ()).map_err(failed),
    }
}

fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
