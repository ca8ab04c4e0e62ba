//! Which cluster an archive belongs to: `SYSTEMID`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skytools::daemon::Stop;

use super::ArchiveError;
use super::error::At;
use crate::durable::{self, Scratch};
use crate::names::SegmentSize;
use crate::page::Header;

/// A cluster, and the size of its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) system_identifier: u64,
    pub(crate) segment_size: SegmentSize,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    system_identifier: String,
    wal_segment_size: u64,
}

const FILE: &str = "SYSTEMID";

impl Identity {
    pub(crate) fn of(header: Header) -> Identity {
        Identity {
            system_identifier: header.system_identifier,
            segment_size: header.segment_size,
        }
    }

    /// The cluster that an archive belongs to; `None` if it is new.
    pub(crate) fn read(archive: &Path) -> Result<Option<Identity>, ArchiveError> {
        let path = archive.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("read", &path),
        };
        let read = || {
            let written: Written = serde_json::from_str(&text).ok()?;
            Some(Identity {
                system_identifier: written.system_identifier.parse().ok()?,
                segment_size: SegmentSize::new(written.wal_segment_size)?,
            })
        };
        match read() {
            Some(identity) => Ok(Some(identity)),
            None => Err(ArchiveError::BadIdentity(path)),
        }
    }

    /// Makes sure that an archive is this cluster's, or new.
    ///
    /// `has_sets`: whether there are base backups; then a missing marker means a missing disk.
    pub(crate) fn check(
        &self,
        archive: &Path,
        has_sets: impl FnOnce() -> bool,
    ) -> Result<(), ArchiveError> {
        match Identity::read(archive)? {
            Some(there) if there == *self => Ok(()),
            Some(there) => Err(ArchiveError::Foreign {
                dir: archive.to_owned(),
                expected: there.describe(),
                found: self.describe(),
            }),
            None if has_sets() => Err(ArchiveError::LostIdentity(archive.to_owned())),
            None => Ok(()),
        }
    }

    fn describe(&self) -> String {
        format!(
            "{} (segments of {} bytes)",
            self.system_identifier,
            self.segment_size.bytes()
        )
    }

    /// Makes a new archive this cluster's.
    pub(crate) fn claim(&self, archive: &Path) -> Result<(), ArchiveError> {
        let path = archive.join(FILE);
        let written = Written {
            system_identifier: self.system_identifier.to_string(),
            wal_segment_size: self.segment_size.bytes(),
        };
        let text = skytools::app::json(&written).at("write", &path)?;
        let new = archive.join(format!(".{FILE}.new"));
        let mut scratch = loop {
            if Identity::read(archive)?.is_some() {
                // It may have come there since it was looked for.
                return self.check(archive, || false);
            }
            if let Some(scratch) = Scratch::create(&new).at("create", &new)? {
                break scratch;
            }
            // Another process is about to say the same, or something else.
            Stop::default().sleep(Duration::from_millis(10));
        };
        std::io::Write::write_all(&mut scratch.file, text.as_bytes())
            .and_then(|()| scratch.file.sync_all())
            .at("write", &new)?;
        match durable::publish(&new, &path) {
            Ok(()) => durable::sync_dir(archive).at("sync", archive),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.check(archive, || false),
            Err(error) => Err(error).at("name", &path),
        }
    }
}
