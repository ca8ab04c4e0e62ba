//! What the master still has to archive, as its directory says: also where the archiver dies of a command that
//! fails with a code above 125, which the server does not count.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::Error;

/// Files that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) count: usize,
    /// The one that waits longest, and for how long.
    pub(crate) oldest: Option<(String, Duration)>,
}

/// Looks into `pg_wal/archive_status`.
pub(crate) fn waiting(wal: &Path) -> Result<Waiting, Error> {
    let dir = wal.join("archive_status");
    let failed = |error| Error::io("list", &dir, error);
    let mut waiting = Waiting::default();
    for entry in fs::read_dir(&dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".ready") else {
            continue;
        };
        waiting.count += 1;
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        // Archived since.
        let Ok(modified) = modified else { continue };
        let age = SystemTime::now()
            .duration_since(modified)
            .unwrap_or_default();
        if waiting
            .oldest
            .as_ref()
            .is_none_or(|(_, oldest)| age > *oldest)
        {
            waiting.oldest = Some((name.to_owned(), age));
        }
    }
    Ok(waiting)
}
