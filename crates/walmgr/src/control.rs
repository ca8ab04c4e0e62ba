//! Files in `completed_wals` that say something by being there.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use skytools::daemon::Stop;
use tracing::info;

use crate::{Error, durable};

/// A signal by a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Recovery ends: unfinished segments are handed out.
    Stop,
    /// Nothing is handed out.
    Pause,
    /// A segment has been handed out, and is probably being applied.
    Progress,
}

impl Signal {
    fn path(self, archive: &Path) -> PathBuf {
        archive.join(match self {
            Signal::Stop => "STOP",
            Signal::Pause => "PAUSE",
            Signal::Progress => "PROGRESS",
        })
    }

    pub(crate) fn is_up(self, archive: &Path) -> bool {
        self.path(archive).exists()
    }

    /// Raises it, for good.
    pub(crate) fn raise(self, archive: &Path) -> Result<(), Error> {
        let path = self.path(archive);
        durable::write(&path, b"1").map_err(|error| Error::io("write", &path, error))
    }

    /// Raises it as far as that is easy.
    pub(crate) fn raise_lightly(self, archive: &Path) {
        // Only a hint to people.
        let _ = fs::write(self.path(archive), "1");
    }

    /// Takes it down as far as that is easy.
    pub(crate) fn lower_lightly(self, archive: &Path) {
        let _ = fs::remove_file(self.path(archive));
    }

    /// Takes it down, for good.
    pub(crate) fn lower(self, archive: &Path) -> Result<(), Error> {
        let path = self.path(archive);
        durable::remove(&path)
            .and_then(|_| durable::sync_dir(archive))
            .map_err(|error| Error::io("remove", &path, error))
    }
}

/// A lock that every request of a server shares until its process ends, so that one can be waited for that may
/// not have seen a signal.
fn requests(archive: &Path) -> std::io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(archive.join(".walmgr/requests"))
}

/// Marks this process as a request of a server, as far as that can be: what is wanted matters more.
pub(crate) fn begin_request(archive: &Path) {
    if let Ok(file) = requests(archive)
        && file.lock_shared().is_ok()
    {
        // Not before the end of the process.
        std::mem::forget(file);
    }
}

/// Waits for the end of requests that have begun before.
///
/// # Errors
/// One does not end.
pub(crate) fn wait_for_requests(
    archive: &Path,
    patience: Duration,
    stop: &Stop,
) -> Result<(), Error> {
    let failed = |error| Error::io("lock", &archive.join(".walmgr/requests"), error);
    let file = requests(archive).map_err(failed)?;
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if !is_told {
            info!("waiting for a request of the server that has begun before");
            is_told = true;
        }
        if begun.elapsed() > patience || stop.sleep(Duration::from_millis(10)) {
            return Err(Error::Refused(
                "an xrestore of the server does not end".to_owned(),
            ));
        }
    }
}
