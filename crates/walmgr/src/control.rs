//! Files in `completed_wals` that say something by being there.

use std::fs;
use std::path::{Path, PathBuf};

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

    /// Takes it down. True if it was up.
    pub(crate) fn lower(self, archive: &Path) -> Result<bool, Error> {
        let path = self.path(archive);
        let lowered = durable::remove(&path).and_then(|was_up| {
            durable::sync_dir(archive)?;
            Ok(was_up)
        });
        lowered.map_err(|error| Error::io("remove", &path, error))
    }
}
