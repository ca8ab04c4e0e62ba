//! Whether a set, and the WAL that it needs, is what it was.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use super::{Held, Set, manifest};
use crate::archive::{Archive, Form, Identity, Listing, check_content};
use crate::digest::{self, Digest};
use crate::names::{Segment, SegmentSize, WalName};
use crate::page::HEADER;
use crate::progress::Progress;
use crate::{Error, files, parallel};

/// The part of a manifest that we compare.
#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "Files")]
    files: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Path", default)]
    path: String,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Checksum", default)]
    checksum: String,
}

/// What is wrong with the files of a set: one line each. Several files are read at once.
///
/// # Errors
/// They cannot be looked at.
pub(crate) fn set_problems(set: &Set, held: &Held) -> Result<Vec<String>, Error> {
    // By this path they are found under any name of the set.
    let root = held.path();
    let failed = |name: &Path, error| Error::io("read", &set.path.join(name), error);
    let text = match fs::read_to_string(root.join(manifest::FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(vec![
                "it has no manifest, so nobody knows what it was".to_owned(),
            ]);
        }
        Err(error) => return Err(failed(manifest::FILE.as_ref(), error)),
    };
    let manifest: Manifest = match serde_json::from_str(&text) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(vec![format!("its manifest cannot be read: {error}")]),
    };
    let mut listed: BTreeMap<&str, &Listed> = manifest
        .files
        .iter()
        .map(|file| (file.path.as_str(), file))
        .collect();
    let mut problems = Vec::new();
    let mut same_size = Vec::new();
    let entries = files::walk(&root).map_err(|error| Error::io("list", &set.path, error))?;
    for entry in entries.iter().filter(|entry| entry.metadata.is_file()) {
        if entry.path == Path::new(manifest::FILE) || entry.path.starts_with("pg_wal") {
            continue;
        }
        // People mark a set in it, as one that is to be kept.
        if entry.path == Path::new(super::info::FILE) {
            listed.remove(super::info::FILE);
            continue;
        }
        let name = entry.path.to_string_lossy();
        let Some(known) = listed.remove(&*name) else {
            problems.push(format!("{name}: was not there"));
            continue;
        };
        if entry.metadata.len() != known.size {
            let size = entry.metadata.len();
            problems.push(format!("{name}: has {size} bytes, and had {}", known.size));
            continue;
        }
        same_size.push((entry.path.as_path(), known));
    }
    let bytes = same_size.iter().map(|(_, known)| known.size).sum();
    let progress = Progress::new("verifying", bytes);
    let digests = parallel::map(&same_size, |(path, _)| {
        Digest::of_file(&root.join(path), &progress)
    });
    for ((path, known), digest) in same_size.iter().zip(digests) {
        let (digest, _) = digest.map_err(|error| failed(path, error))?;
        if digest.to_string() != known.checksum {
            problems.push(format!("{}: has changed", path.display()));
        }
    }
    problems.extend(listed.keys().map(|name| format!("{name}: is missing")));
    Ok(problems)
}

/// What is wrong with the WAL from a segment on, to the newest: gaps as ranges, and damaged files. With it the
/// number of segments that were looked at.
///
/// # Errors
/// The archive cannot be looked at.
pub(crate) fn wal_problems(archive: &Archive, start: Segment) -> Result<(Vec<String>, u64), Error> {
    let listing = Listing::read(archive.dir())?;
    let Some(identity) = Identity::read(archive.dir())? else {
        return Ok((vec!["the archive has no SYSTEMID".to_owned()], 0));
    };
    let size = identity.segment_size;
    let chain = chain(archive, &listing, start, size)?;
    let is_there = |segment: &&Segment| listing.has(**segment);
    let count = chain.iter().filter(is_there).count() as u64;
    let progress = Progress::new("verifying WAL", count.saturating_mul(size.bytes()));
    let looks = parallel::map(&chain, |segment| {
        let is_there = listing.has(*segment);
        is_there.then(|| damage(archive, *segment, identity, &progress))
    });
    drop(progress);
    let mut problems = Vec::new();
    let mut gap: Option<(Segment, Segment)> = None;
    for (segment, look) in chain.into_iter().zip(looks) {
        let Some(damage) = look else {
            gap = Some((gap.map_or(segment, |(first, _)| first), segment));
            continue;
        };
        if let Some((first, last)) = gap.take() {
            problems.push(missing(first, last));
        }
        if let Some(problem) = damage? {
            problems.push(format!("{segment}: {problem}"));
        }
    }
    if let Some((first, last)) = gap {
        problems.push(missing(first, last));
    }
    Ok((problems, count))
}

fn missing(first: Segment, last: Segment) -> String {
    match first == last {
        true => format!("{first} is missing"),
        false => format!("{first} to {last} are missing"),
    }
}

/// Segments that a standby reads from a start on: to where the next timeline begins, and so on.
fn chain(
    archive: &Archive,
    listing: &Listing,
    start: Segment,
    size: SegmentSize,
) -> Result<Vec<Segment>, Error> {
    let mut segments = Vec::new();
    let mut next = start;
    loop {
        let timeline = next.timeline;
        let switch = successor(archive, listing, timeline)?;
        let last = match switch {
            // The segment of the switch may only be there on the new timeline.
            Some((_, number)) => number.checked_sub(1),
            None => listing.newest(timeline).map(|newest| newest.number(size)),
        };
        if let Some(last) = last {
            let numbers = next.number(size)..=last;
            segments.extend(numbers.map(|number| Segment::numbered(timeline, number, size)));
        }
        match switch {
            Some((newer, number)) if newer > timeline => {
                next = Segment::numbered(newer, number.max(start.number(size)), size);
            }
            _ => break,
        }
        if listing.newest(next.timeline).is_none() {
            break;
        }
    }
    if segments.is_empty() {
        segments.push(start);
    }
    Ok(segments)
}

/// The timeline that went on from one, and the number of the segment where it did; the newest, if there are
/// several.
fn successor(
    archive: &Archive,
    listing: &Listing,
    timeline: u32,
) -> Result<Option<(u32, u64)>, Error> {
    let Some(identity) = Identity::read(archive.dir())? else {
        return Ok(None);
    };
    let mut found = None;
    for name in listing.names() {
        let WalName::History(newer) = name else {
            continue;
        };
        let path = archive.path(name);
        let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
        // The last line tells the parent.
        let parent = text
            .lines()
            .rfind(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let mut words = parent.unwrap_or_default().split_whitespace();
        let of: Option<u32> = words.next().and_then(|word| word.parse().ok());
        let at: Option<postgres::types::PgLsn> = words.next().and_then(|word| word.parse().ok());
        if let (Some(of), Some(at)) = (of, at)
            && of == timeline
        {
            found = Some((newer, u64::from(at) / identity.segment_size.bytes()));
        }
    }
    Ok(found)
}

/// What is wrong with one file of the archive.
fn damage(
    archive: &Archive,
    segment: Segment,
    identity: Identity,
    progress: &Progress,
) -> Result<Option<String>, Error> {
    let name = WalName::Segment(segment);
    let Some(stored) = archive.find(name)? else {
        return Ok(Some("it has just been removed".to_owned()));
    };
    let mut head = Vec::new();
    let read = stored.open().and_then(|mut content| {
        digest::pump(
            &mut content,
            |error| error,
            |bytes| {
                progress.add(bytes.len() as u64);
                if head.len() < HEADER {
                    head.extend(bytes.iter().take(HEADER - head.len()));
                }
                Ok(())
            },
        )
    });
    let (digest, size) = match read {
        Ok(read) => read,
        // What cannot be decompressed cannot be used.
        Err(error) if stored.form != Form::Plain => return Ok(Some(error.to_string())),
        Err(error) => return Err(Error::io("read", &stored.path, error)),
    };
    match check_content(name, size, &head) {
        Err(error) => return Ok(Some(error.to_string())),
        Ok(Some(header)) if header.system_identifier != identity.system_identifier => {
            return Ok(Some(format!(
                "it is of the cluster {}",
                header.system_identifier
            )));
        }
        Ok(_) => {}
    }
    let Some(sum) = archive.sum(name)? else {
        return Ok(None);
    };
    match (digest, size) == sum {
        true => Ok(None),
        false => Ok(Some("it has changed since it was archived".to_owned())),
    }
}
