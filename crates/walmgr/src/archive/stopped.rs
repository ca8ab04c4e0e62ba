//! `ARCHIVE_STOPPED`: there is a gap after the last segment that came, since archiving was switched off.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use jiff::Timestamp;

use super::error::At;
use super::{ArchiveError, Listing};
use crate::durable;

const FILE: &str = "ARCHIVE_STOPPED";

/// Notes that nothing comes any more.
pub(crate) fn note(archive: &Path) -> Result<(), ArchiveError> {
    let path = archive.join(FILE);
    let last = Listing::read(archive)?.segments().max();
    let last = last.map_or("nothing".to_owned(), |segment| segment.to_string());
    let text = format!("time={:.0}\nlast={last}\n", Timestamp::now());
    durable::write(&path, text.as_bytes()).at("write", &path)
}

/// What was noted, in one line; `None` if archiving has not been stopped since the last base backup.
pub(crate) fn read(archive: &Path) -> Result<Option<String>, ArchiveError> {
    let path = archive.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.lines().collect::<Vec<_>>().join(", "))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", &path),
    }
}

/// Forgets it: a new base backup begins after the gap.
pub(crate) fn forget(archive: &Path) -> Result<(), ArchiveError> {
    let path = archive.join(FILE);
    durable::remove(&path).map(|_| ()).at("remove", &path)
}
