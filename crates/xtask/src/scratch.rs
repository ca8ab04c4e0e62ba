//! A temporary directory in which processes live, and which takes them along when it goes.

use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Result;

const PREFIX: &str = "skytools-run-";

/// Locked while the owner lives; a directory whose lock is free has been left by a killed one.
const LOCK: &str = "lock";

/// A temporary directory. Dropping it kills every process that works in it, then deletes it.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: Option<TempDir>,
    _lock: File,
}

impl Scratch {
    /// Makes one, after clearing what killed runs have left.
    pub(crate) fn new() -> Result<Scratch> {
        // Links resolved, so that processes are recognised by the directory they work in.
        let parent = parent().canonicalize()?;
        sweep(&parent);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .map_err(|error| format!("no directory in {}: {error}", parent.display()))?;
        // Servers started by root run as another user, and must get through.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        let lock = File::create(dir.path().join(LOCK))?;
        lock.lock()?;
        Ok(Scratch {
            dir: Some(dir),
            _lock: lock,
        })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.dir
            .as_ref()
            .expect("taken only by keep, which consumes self")
            .path()
    }

    /// Leaves the directory and its processes.
    pub(crate) fn keep(mut self) -> Result {
        fs::remove_file(self.path().join(LOCK))?;
        self.dir.take().map(TempDir::keep);
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(dir) = self.dir.take() {
            kill_inhabitants(dir.path());
            let path = dir.path().to_owned();
            if let Err(error) = dir.close() {
                eprintln!("warning: cannot delete {}: {error}", path.display());
            }
        }
    }
}

/// Where temporary directories go: `/tmp` if `$TMPDIR` is too long for the socket of a server.
fn parent() -> PathBuf {
    let dir = std::env::temp_dir();
    if dir.as_os_str().len() > 40 {
        return PathBuf::from("/tmp");
    }
    dir
}

/// Clears directories whose owner was killed.
fn sweep(parent: &Path) {
    let me = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let path = entry.path();
        let Ok(lock) = File::open(path.join(LOCK)) else {
            continue;
        };
        let mine = lock.metadata().is_ok_and(|file| file.uid() == me);
        if mine && lock.try_lock().is_ok() {
            kill_inhabitants(&path);
            // What cannot be deleted now is tried again next time.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Kills every process whose working directory is below `dir`, as a server's is, or that was
/// started with `dir` as its `$TMPDIR`, as the programs of a test are.
fn kill_inhabitants(dir: &Path) {
    let gone = testkit::wait_until("leftover processes to end", Duration::from_secs(10), || {
        let found = inhabitants(dir);
        for pid in &found {
            // It may have ended by itself, or belong to somebody else.
            let _ = kill_process(*pid, Signal::KILL);
        }
        Ok(found.is_empty())
    });
    if let Err(error) = gone {
        eprintln!("warning: {}: {error}", dir.display());
    }
}

fn inhabitants(dir: &Path) -> Vec<Pid> {
    let mut variable = b"TMPDIR=".to_vec();
    variable.extend_from_slice(dir.as_os_str().as_bytes());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw)
        else {
            continue;
        };
        if pid == rustix::process::getpid() {
            continue;
        }
        let proc = entry.path();
        let works_here = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        let started_here = || {
            fs::read(proc.join("environ"))
                .is_ok_and(|environ| environ.split(|&byte| byte == 0).any(|v| v == variable))
        };
        if works_here || started_here() {
            found.push(pid);
        }
    }
    found
}
