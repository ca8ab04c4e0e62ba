//! By files: every segment that the slave does not have whole, also of a server that is dead.

use std::fs;
use std::path::Path;

use tracing::{info, warn};

use super::there::There;
use super::{PIECE, Shipped, read_piece};
use crate::Error;
use crate::config::MasterConfig;
use crate::names::{Segment, SegmentSize, WalName};
use crate::page::Header;
use crate::partial::Taken;
use crate::server::{DataDir, ServerState};
use crate::slave::{Link, push};

/// Ships what the slave does not have. What a dead server has finished goes into the archive.
///
/// # Errors
/// Something could not be shipped; the rest was tried all the same.
pub(super) fn ship(
    config: &MasterConfig,
    link: &mut Link,
    is_alive: bool,
    dry_run: bool,
) -> Result<Shipped, Error> {
    let data = DataDir::new(&config.data, config.bin.as_deref());
    let there = There::ask(link.slave())?;
    let wal = data.wal();
    let last = last_of_clean_shutdown(&data, is_alive);
    let mut shipped = Shipped::default();
    let mut failed = Vec::new();
    for name in candidates(&wal, &there, last)? {
        let path = wal.join(name.to_string());
        let is_finished = wal
            .join("archive_status")
            .join(format!("{name}.ready"))
            .exists();
        if dry_run {
            info!(%name, "would be sent");
            continue;
        }
        let sent = match name {
            WalName::Segment(segment) if is_alive || !is_finished => whole(link, segment, &path),
            // The archiver of a server that lives does this by itself.
            WalName::History(_) if is_alive => continue,
            name => push(link.slave(), name, &path).map(|()| size_of(&path)),
        };
        match sent {
            Ok(bytes) => {
                info!(%name, bytes, is_finished, "sent");
                shipped.count += 1;
                shipped.bytes += bytes;
            }
            Err(error) => {
                warn!("{name}: {}", skytools::app::chain(&error));
                failed.push(name.to_string());
            }
        }
    }
    match failed.is_empty() {
        true => Ok(shipped),
        false => Err(Error::Refused(format!(
            "not on the slave: {}",
            failed.join(", ")
        ))),
    }
}

fn size_of(path: &Path) -> u64 {
    fs::metadata(path)
        .map(|metadata| metadata.len())
        .unwrap_or_default()
}

/// All of a segment, as an unfinished one; bytes that were sent.
fn whole(link: &mut Link, segment: Segment, path: &Path) -> Result<u64, Error> {
    let size = size_of(path);
    let mut offset = 0;
    while offset < size {
        let end = size.min(offset + PIECE);
        let Some(bytes) = read_piece(path, offset, end)? else {
            return Ok(offset);
        };
        if link.send(segment, offset, &bytes)? == Taken::Complete {
            return Ok(offset);
        }
        offset = end;
    }
    Ok(size)
}

/// The segment of the last record of a server that was shut down cleanly: after it there is nothing.
fn last_of_clean_shutdown(data: &DataDir, is_alive: bool) -> Option<(u32, u32)> {
    if is_alive {
        return None;
    }
    let control = match data.control() {
        Ok(control) => control,
        // What it would tell only saves work.
        Err(error) => {
            warn!("{}", skytools::app::chain(&error));
            return None;
        }
    };
    match control.state {
        ServerState::ShutDown => {
            let size = segment_size(&data.wal())?;
            Some(control.checkpoint_segment(size).place())
        }
        _ => None,
    }
}

/// Size of the segments in a directory, as the first one says that is found.
fn segment_size(wal: &Path) -> Option<SegmentSize> {
    let entries = fs::read_dir(wal).ok()?.flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str()
                .is_some_and(|name| name.parse::<Segment>().is_ok())
        })
        .find_map(|entry| Some(Header::of_file(&entry.path())?.segment_size))
}

/// Histories first, then segments that hold WAL of their own, in their order.
fn candidates(wal: &Path, there: &There, last: Option<(u32, u32)>) -> Result<Vec<WalName>, Error> {
    let mut histories = Vec::new();
    let mut segments = Vec::new();
    let listed = fs::read_dir(wal).map_err(|error| Error::io("list", wal, error))?;
    for entry in listed {
        let entry = entry.map_err(|error| Error::io("list", wal, error))?;
        let Some(name) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if there.has(name) {
            continue;
        }
        match name {
            WalName::History(_) => histories.push(name),
            WalName::Segment(segment) => {
                let is_after = last.is_some_and(|last| segment.place() > last);
                if !is_after && is_own(&entry.path(), segment) {
                    segments.push(segment);
                }
            }
            _ => {}
        }
    }
    segments.sort();
    // What is older than all that the slave has was archived, and is not needed there any more.
    segments.retain(|segment| {
        there
            .newest(segment.timeline)
            .is_none_or(|newest| *segment > newest)
            || is_ready(wal, *segment)
    });
    histories.sort();
    histories.extend(segments.into_iter().map(WalName::Segment));
    Ok(histories)
}

fn is_ready(wal: &Path, segment: Segment) -> bool {
    wal.join("archive_status")
        .join(format!("{segment}.ready"))
        .exists()
}

/// Whether a file holds the segment that it is named for, and not one that it held before it was recycled.
fn is_own(path: &Path, segment: Segment) -> bool {
    Header::of_file(path).is_some_and(|header| header.is_of(segment))
}
