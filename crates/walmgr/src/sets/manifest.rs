//! `backup_manifest` in the server's own format, so that `pg_verifybackup` checks our sets.
//!
//! Source: the server's documentation, "Backup Manifest Format".

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Info;
use crate::digest::Digest;
use crate::files::{self, Entry};
use crate::progress::Progress;
use crate::{Error, durable, parallel};

pub(crate) const FILE: &str = "backup_manifest";

/// What a set amounts to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// One file of a set.
pub(crate) struct Line {
    path: String,
    text: String,
}

/// What is known of a file from copying it: of the very bytes that were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    size: u64,
    sha256: String,
}

impl Known {
    pub(crate) fn new(digest: Digest, size: u64) -> Known {
        let sha256 = digest.to_string();
        Known { size, sha256 }
    }
}

/// Files of a set, by their paths in it.
pub(crate) type Digests = BTreeMap<String, Known>;

/// Puts the lines of a set's files together, and reads those of which nothing is known; what the manifest leaves
/// out is left out here.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn lines(set: &Path, digests: &Digests) -> Result<(Vec<Line>, Totals), Error> {
    let mut entries = files::walk(set).map_err(|error| Error::io("list", set, error))?;
    entries.retain(|entry| entry.metadata.is_file() && !is_left_out(&entry.path));
    let totals = Totals {
        files: entries.len() as u64,
        bytes: entries.iter().map(|entry| entry.metadata.len()).sum(),
    };
    let progress = Progress::new("reading for the manifest", totals.bytes);
    let lines = parallel::map(&entries, |entry| {
        let known = entry.path.to_str().and_then(|path| digests.get(path));
        line(set, entry, known, &progress)
    });
    let lines = lines.into_iter().collect::<Result<Vec<Line>, Error>>()?;
    Ok((lines, totals))
}

/// The manifest itself, WAL, and what is written after the lines are put together.
fn is_left_out(path: &Path) -> bool {
    path == Path::new(FILE) || path == Path::new(super::info::FILE) || path.starts_with("pg_wal")
}

fn line(
    set: &Path,
    entry: &Entry,
    known: Option<&Known>,
    progress: &Progress,
) -> Result<Line, Error> {
    let path = set.join(&entry.path);
    let failed = |error| Error::io("read", &path, error);
    let size = entry.metadata.len();
    let known = known.filter(|known| known.size == size);
    let (digest, size) = match known.and_then(|known| known.sha256.parse().ok()) {
        Some(digest) => {
            progress.add(size);
            (digest, size)
        }
        None => Digest::of_file(&path, progress).map_err(failed)?,
    };
    let modified = entry.metadata.modified().map_err(failed)?;
    let modified = Timestamp::try_from(modified).unwrap_or_default();
    let modified = modified.strftime("%Y-%m-%d %H:%M:%S GMT").to_string();
    let name = match entry.path.to_str() {
        Some(name) => json!({ "Path": name }),
        None => json!({ "Encoded-Path": hex(entry.path.as_os_str().as_encoded_bytes()) }),
    };
    let mut object = name;
    object["Size"] = size.into();
    object["Last-Modified"] = modified.into();
    object["Checksum-Algorithm"] = "SHA256".into();
    object["Checksum"] = digest.to_string().into();
    Ok(Line {
        path: entry.path.to_string_lossy().into_owned(),
        text: object.to_string(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes the manifest of a set whose `walmgr_backup.json` is in its last state.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn write(
    set: &Path,
    info: &Info,
    mut lines: Vec<Line>,
    major: u32,
) -> Result<(), Error> {
    let path = Info::path(set);
    let metadata = std::fs::metadata(&path).map_err(|error| Error::io("read", &path, error))?;
    lines.push(line(
        set,
        &Entry {
            path: super::info::FILE.into(),
            metadata,
        },
        None,
        &Progress::silent(),
    )?);
    lines.sort_by(|a, b| a.path.cmp(&b.path));
    let mut text = String::from("{ ");
    match major {
        ..=16 => text.push_str("\"PostgreSQL-Backup-Manifest-Version\": 1,\n"),
        _ => {
            let _ = writeln!(
                text,
                "\"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {},",
                info.system_identifier
            );
        }
    }
    text.push_str("\"Files\": [\n");
    let files: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    text.push_str(&files.join(",\n"));
    let ranges = json!([{
        "Timeline": info.timeline,
        "Start-LSN": info.start_lsn,
        "End-LSN": info.stop_lsn,
    }]);
    let _ = write!(text, "\n],\n\"WAL-Ranges\": {ranges},\n");
    let (digest, _) = Digest::of(&mut text.as_bytes())?;
    let _ = writeln!(text, "\"Manifest-Checksum\": \"{digest}\"}}");
    let path = set.join(FILE);
    durable::write(&path, text.as_bytes()).map_err(|error| Error::io("write", &path, error))
}

/// Brings a manifest up to date after `walmgr_backup.json` has changed.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn refresh(set: &Path) -> Result<(), Error> {
    let path = set.join(FILE);
    let old = std::fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
    let info = Info::path(set);
    let metadata = std::fs::metadata(&info).map_err(|error| Error::io("read", &info, error))?;
    let entry = Entry {
        path: super::info::FILE.into(),
        metadata,
    };
    let new = line(set, &entry, None, &Progress::silent())?.text;
    let own = json!({ "Path": super::info::FILE }).to_string();
    let own = own.trim_matches(['{', '}']);
    let lines = old
        .lines()
        .filter(|line| !line.starts_with("\"Manifest-Checksum\""));
    let mut text: String = lines
        .map(|line| match line.contains(own) {
            true if line.ends_with(',') => format!("{new},\n"),
            true => format!("{new}\n"),
            false => format!("{line}\n"),
        })
        .collect();
    let (digest, _) = Digest::of(&mut text.as_bytes())?;
    let _ = writeln!(text, "\"Manifest-Checksum\": \"{digest}\"}}");
    durable::write(&path, text.as_bytes()).map_err(|error| Error::io("write", &path, error))
}
