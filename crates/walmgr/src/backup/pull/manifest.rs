//! The server's own manifest of a copy: what was sent, against what is there.

use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::super::rules;
use crate::digest::Digest;
use crate::progress::Progress;
use crate::sets::manifest::{Digests, FILE, Known};
use crate::{Error, parallel};

/// The part of it that counts here.
#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(rename = "Files")]
    files: Vec<Listed>,
    #[serde(rename = "WAL-Ranges")]
    ranges: Vec<Range>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(rename = "Path")]
    path: Option<String>,
    /// One that is no text, in hexadecimal digits.
    #[serde(rename = "Encoded-Path")]
    encoded: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Range {
    #[serde(rename = "End-LSN")]
    end: String,
}

/// What the server says of a copy, and it has been found to be so.
#[derive(Debug)]
pub(super) struct Verified {
    /// Files that belong into a set, by their paths in it.
    pub(super) digests: Digests,
    /// Files of the copy that do not.
    pub(super) left_out: Vec<PathBuf>,
    /// Where its WAL ends.
    pub(super) end: String,
}

/// Compares a copy with its manifest.
///
/// # Errors
/// A file is not what the server has sent, or the manifest is not.
pub(super) fn verify(copy: &Path) -> Result<Verified, Error> {
    let path = copy.join(FILE);
    let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
    let wrong = |problem: &str| Error::Refused(format!("{}: {problem}", path.display()));
    let manifest = parse(&text).map_err(|problem| wrong(&problem))?;
    // A primary has one.
    let [range] = manifest.ranges.as_slice() else {
        return Err(wrong("it does not name one range of WAL"));
    };
    let log = rules::log_directory(copy);
    let progress = Progress::new(
        "verifying",
        manifest.files.iter().map(|file| file.size).sum(),
    );
    let found = parallel::map(&manifest.files, |file| {
        let path = file.path().ok_or_else(|| wrong("it names no file"))?;
        let path = within_a_set(copy, &path);
        let at = copy.join(&path);
        let (digest, size) =
            Digest::of_file(&at, &progress).map_err(|error| Error::io("read", &at, error))?;
        let sent = file.digest().ok_or_else(|| wrong("it has no SHA-256"))?;
        if (digest, size) != (sent, file.size) {
            return Err(Error::Refused(format!(
                "{} is not what the server has sent: try again, and see whether the disk is in order",
                at.display()
            )));
        }
        Ok((path, Known::new(digest, size)))
    });
    let mut verified = Verified {
        digests: Digests::default(),
        left_out: Vec::new(),
        end: range.end.clone(),
    };
    for found in found {
        let (path, known) = found?;
        let is_copied = path == Path::new(rules::CONTROL_FILE);
        if !is_copied && rules::is_left_out(&path, false, log) {
            verified.left_out.push(path);
        } else if let Some(path) = path.to_str() {
            verified.digests.insert(path.to_owned(), known);
        }
    }
    Ok(verified)
}

/// The manifest, if it is whole: its last line is a digest of all before.
fn parse(text: &str) -> Result<Manifest, String> {
    let manifest = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let end = text.rfind("\"Manifest-Checksum\"").unwrap_or_default();
    let (before, last) = text.split_at(end);
    let (digest, _) = Digest::of(&mut before.as_bytes()).map_err(|error| error.to_string())?;
    match last.contains(&digest.to_string()) {
        true => Ok(manifest),
        false => Err("it is not what the server has sent".to_owned()),
    }
}

impl Listed {
    /// `None` if it leads out of the copy, or is not there.
    fn path(&self) -> Option<PathBuf> {
        use std::ffi::OsString;
        use std::os::unix::ffi::OsStringExt;
        let path = match (&self.path, &self.encoded) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(digits)) => {
                let bytes = digits.as_bytes().chunks(2).map(|pair| {
                    let pair = std::str::from_utf8(pair).ok()?;
                    u8::from_str_radix(pair, 16).ok()
                });
                OsString::from_vec(bytes.collect::<Option<_>>()?).into()
            }
            (None, None) => return None,
        };
        let is_within = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        (is_within && path != Path::new("")).then_some(path)
    }

    fn digest(&self) -> Option<Digest> {
        let checksum = self.checksum.as_deref()?;
        let is_ours = self.algorithm.as_deref() == Some("SHA256");
        checksum.parse().ok().filter(|_| is_ours)
    }
}

/// Where a file of the server is in a set: those of tablespaces elsewhere are in `tmpspc`.
fn within_a_set(copy: &Path, path: &Path) -> PathBuf {
    let Ok(rest) = path.strip_prefix("pg_tblspc") else {
        return path.to_owned();
    };
    let mut parts = rest.components();
    let Some(oid) = parts.next() else {
        return path.to_owned();
    };
    let space = Path::new("tmpspc").join(oid);
    match copy.join(&space).is_dir() {
        true => space.join(parts.as_path()),
        false => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::path::Path;

    use super::{Listed, parse, verify};
    use crate::digest::Digest;
    use crate::sets::manifest::FILE;

    /// A manifest of the server, of a file in the data directory and one in a tablespace.
    fn text(a: &[u8], b: &[u8]) -> io::Result<String> {
        let line = |path: &str, mut bytes: &[u8]| -> io::Result<String> {
            let (digest, size) = Digest::of(&mut bytes)?;
            Ok(format!(
                "{{ \"Path\": \"{path}\", \"Size\": {size}, \"Last-Modified\": \"2026-11-22 05:50:32 GMT\", \
                 \"Checksum-Algorithm\": \"SHA256\", \"Checksum\": \"{digest}\" }}"
            ))
        };
        let text = format!(
            "{{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{},\n{},\n{}\n],\n\"WAL-Ranges\": [\n\
             {{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }}\n],\n",
            line("base/1/1259", a)?,
            line("pg_tblspc/16400/PG_15/1/2", b)?,
            line(".walshipping.last", b"x")?,
        );
        let (digest, _) = Digest::of(&mut text.as_bytes())?;
        Ok(format!("{text}\"Manifest-Checksum\": \"{digest}\"}}\n"))
    }

    #[test]
    fn a_copy_is_what_the_server_has_sent_or_refused() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let copy = dir.path();
        fs::create_dir_all(copy.join("base/1"))?;
        fs::create_dir_all(copy.join("tmpspc/16400/PG_15/1"))?;
        fs::write(copy.join("base/1/1259"), "first")?;
        fs::write(copy.join("tmpspc/16400/PG_15/1/2"), "second")?;
        fs::write(copy.join(".walshipping.last"), "x")?;
        fs::write(copy.join(FILE), text(b"first", b"second")?)?;
        let verified = verify(copy).expect("it is as it was sent");
        let paths: Vec<&str> = verified.digests.keys().map(String::as_str).collect();
        assert_eq!(paths, ["base/1/1259", "tmpspc/16400/PG_15/1/2"]);
        assert_eq!(verified.left_out, [Path::new(".walshipping.last")]);
        assert_eq!(verified.end, "0/2000100");

        // Other bytes, fewer, none; and a manifest of something else.
        for wrong in ["First", "firs"] {
            fs::write(copy.join("base/1/1259"), wrong)?;
            assert!(verify(copy).is_err(), "{wrong}");
        }
        fs::remove_file(copy.join("base/1/1259"))?;
        assert!(verify(copy).is_err());
        let whole = text(b"first", b"second")?;
        assert!(parse(&whole).is_ok());
        assert!(parse(&whole.replace("0/2000100", "0/2000200")).is_err());
        assert!(parse(&whole[..whole.len() / 2]).is_err());
        Ok(())
    }

    #[test]
    fn a_file_is_within_its_copy() {
        let listed = |path: Option<&str>, encoded: Option<&str>| Listed {
            path: path.map(str::to_owned),
            encoded: encoded.map(str::to_owned),
            size: 0,
            algorithm: None,
            checksum: None,
        };
        let path = listed(None, Some("612f62")).path();
        assert_eq!(path.as_deref(), Some(Path::new("a/b")));
        for path in ["", "/a", "../a", "a/../../b"] {
            assert_eq!(listed(Some(path), None).path(), None, "{path}");
        }
        assert_eq!(listed(None, Some("6x")).path(), None);
    }
}
