//! Unfinished segments on the slave: `partial_wals`.
//!
//! Each has its final name and full size; what has not come yet is zeros, or what an earlier sync brought. Bytes
//! are only ever added, or written over by the same bytes, so that what was safe stays safe.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use skytools::failpoint;

use crate::archive::{Archive, Identity};
use crate::config::SlaveConfig;
use crate::names::{Segment, WalName};
use crate::page::{HEADER, Header, valid_length};
use crate::sets::Sets;
use crate::{Error, durable};

/// A piece of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) segment: Segment,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// What has become of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is on disk.
    Stored,
    /// The whole segment is in the archive, so it was not needed.
    Complete,
}

pub(crate) fn path(config: &SlaveConfig, segment: Segment) -> PathBuf {
    config.partial_wals.join(segment.to_string())
}

/// Where it is noted how much has come. WAL itself does not tell: after a switch the rest is zeros.
fn note_path(config: &SlaveConfig, segment: Segment) -> PathBuf {
    config.partial_wals.join(format!(".{segment}.len"))
}

/// Bytes of a segment that are there, from its beginning on; 0 if none are. Of one that an older version has
/// brought, whole pages of WAL count.
pub(crate) fn length(config: &SlaveConfig, segment: Segment) -> u64 {
    let path = path(config, segment);
    let valid = || valid_length(&path, segment).unwrap_or_default();
    match fs::read_to_string(note_path(config, segment)) {
        Ok(text) if path.exists() => text.trim().parse().unwrap_or_else(|_| valid()),
        _ => valid(),
    }
}

/// Removes what there is of a segment.
pub(crate) fn remove(config: &SlaveConfig, segment: Segment) -> Result<(), Error> {
    for path in [path(config, segment), note_path(config, segment)] {
        durable::remove(&path).map_err(|error| Error::io("remove", &path, error))?;
    }
    Ok(())
}

/// Takes a piece; when this returns, it is there for good.
///
/// # Errors
/// It does not follow what is there, is of another cluster, or cannot be written.
pub(crate) fn receive(
    config: &SlaveConfig,
    piece: &Piece,
    from: &mut impl Read,
) -> Result<Taken, Error> {
    let Piece {
        segment,
        offset,
        bytes,
    } = *piece;
    let archive = Archive::new(&config.completed_wals);
    let mut data = Vec::new();
    // Not more than the largest segment, whatever is asked for.
    let read = from.take(bytes.min(1 << 30)).read_to_end(&mut data)?;
    if read as u64 != bytes {
        return Err(Error::Refused(format!(
            "{segment}: {read} of {bytes} bytes came"
        )));
    }
    if archive.find(WalName::Segment(segment))?.is_some() {
        return Ok(Taken::Complete);
    }
    let identity = identity(config, &archive, segment, offset, &data)?;
    let size = identity.segment_size.bytes();
    if offset + bytes > size {
        return Err(Error::Refused(format!(
            "{segment}: {offset} and {bytes} bytes are more than a segment has, {size}"
        )));
    }
    let there = length(config, segment);
    if offset > there {
        return Err(Error::Refused(format!(
            "{segment}: bytes from {offset} on came, and there are only {there}"
        )));
    }
    need_space(&config.partial_wals, bytes)?;
    let path = path(config, segment);
    write(&path, offset, size, &data).map_err(|error| Error::io("write", &path, error))?;
    durable::sync_dir(&config.partial_wals)
        .map_err(|error| Error::io("sync", &config.partial_wals, error))?;
    // After the bytes themselves: noted too low, they are only sent again.
    let note = note_path(config, segment);
    fs::write(&note, format!("{}\n", there.max(offset + bytes)))
        .map_err(|error| Error::io("write", &note, error))?;
    Ok(Taken::Stored)
}

/// The cluster of the archive; of a piece that begins a segment, it has to be the same.
fn identity(
    config: &SlaveConfig,
    archive: &Archive,
    segment: Segment,
    offset: u64,
    data: &[u8],
) -> Result<Identity, Error> {
    let known = Identity::read(archive.dir())?;
    if offset > 0 || data.len() < HEADER {
        return known.ok_or_else(|| {
            Error::Refused("nothing is known yet of the cluster of this archive".to_owned())
        });
    }
    let header = Header::read(data).filter(|header| header.is_of(segment));
    let Some(header) = header else {
        return Err(Error::Refused(format!(
            "{segment}: what came does not begin this segment"
        )));
    };
    let identity = Identity::of(header);
    let sets = Sets::new(config);
    identity.check(archive.dir(), || sets.has_marked())?;
    identity.claim(archive.dir())?;
    Ok(identity)
}

fn need_space(dir: &Path, bytes: u64) -> Result<(), Error> {
    let free = crate::files::free_bytes(dir).map_err(|error| Error::io("look at", dir, error))?;
    match free < bytes + (1 << 20) {
        true => Err(Error::Refused(format!(
            "disk full: {} has {free} bytes free, and {bytes} are needed",
            dir.display()
        ))),
        false => Ok(()),
    }
}

fn write(path: &Path, offset: u64, size: u64, data: &[u8]) -> std::io::Result<()> {
    // Never truncated: what is there may be all that is left of it.
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.len() != size {
        file.set_len(size)?;
    }
    file.seek(SeekFrom::Start(offset))?;
    let (first, second) = data.split_at(data.len() / 2);
    file.write_all(first)?;
    failpoint::step("xpartialsync.half");
    file.write_all(second)?;
    failpoint::step("xpartialsync.written");
    file.sync_data()
}

/// Names of the files that are there; none if the directory is not.
pub(crate) fn names(config: &SlaveConfig) -> Vec<Segment> {
    let entries = fs::read_dir(&config.partial_wals).into_iter().flatten();
    let mut names: Vec<Segment> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    names.sort();
    names
}

/// The unfinished segment that has most valid WAL, and how many bytes: of what was sent, of what was archived at the
/// end of a timeline, and of what is streamed.
pub(crate) fn most(config: &SlaveConfig, segment: Segment) -> Option<(u64, PathBuf)> {
    let name = WalName::Partial(segment);
    let streamed = config.receiver.as_ref();
    let candidates = [
        Some(path(config, segment)),
        Some(Archive::new(&config.completed_wals).path(name)),
        streamed.map(|receiver| receiver.dir.join(name.to_string())),
    ];
    candidates
        .into_iter()
        .flatten()
        .filter_map(|path| Some((valid_length(&path, segment)?, path)))
        .max_by_key(|(length, _)| *length)
}
