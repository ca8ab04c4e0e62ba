//! The password file, `~/.pgpass`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The four fields that a line is matched by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) dbname: &'a str,
    pub(super) user: &'a str,
}

/// Lines of a password file.
pub(super) struct PassFile {
    lines: Vec<String>,
}

impl PassFile {
    /// Reads the file. It is never an error: a missing file has no lines, one that others can read
    /// is ignored with a warning.
    pub(super) fn read(path: &Path) -> PassFile {
        let lines = match std::fs::metadata(path) {
            Err(_) => Vec::new(),
            Ok(metadata) if !metadata.is_file() => {
                warn_once(path, "password file is not a plain file, ignored");
                Vec::new()
            }
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                warn_once(
                    path,
                    "password file has group or world access, ignored; permissions should be 0600",
                );
                Vec::new()
            }
            Ok(_) => match std::fs::read(path) {
                Ok(bytes) => String::from_utf8_lossy(&bytes)
                    .lines()
                    .map(|line| line.trim_end_matches('\r').to_owned())
                    .filter(|line| !line.starts_with('#'))
                    .collect(),
                Err(error) => {
                    warn_once(path, &format!("password file cannot be read: {error}"));
                    Vec::new()
                }
            },
        };
        PassFile { lines }
    }

    /// Password of the first line that matches.
    pub(super) fn password(&self, key: Key<'_>) -> Option<String> {
        let port = key.port.to_string();
        let wanted = [key.host, &port, key.dbname, key.user];
        self.lines.iter().find_map(|line| {
            let mut rest = line.as_str();
            for wanted in wanted {
                rest = match_field(rest, wanted)?;
            }
            Some(unescape(rest))
        })
    }
}

/// What follows the first field and its colon, if the field is `*` or the text wanted.
fn match_field<'a>(line: &'a str, wanted: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let mut field = String::new();
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ':' => return (field == wanted).then(|| &line[at + 1..]),
            '\\' => field.push(chars.next()?.1),
            c => field.push(c),
        }
    }
    None
}

fn unescape(password: &str) -> String {
    let mut plain = String::with_capacity(password.len());
    let mut chars = password.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(chars.next().unwrap_or('\\')),
            c => plain.push(c),
        }
    }
    plain
}

/// Warns about a file at most once in a process: connections are made again and again.
fn warn_once(path: &Path, problem: &str) {
    static WARNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    // A panic elsewhere leaves the set as good as it was.
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.insert(path.to_owned()) {
        tracing::warn!(file = %path.display(), "{problem}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    fn password(lines: &str, host: &str, port: u16, dbname: &str, user: &str) -> Option<String> {
        let file = PassFile {
            lines: lines.lines().map(str::to_owned).collect(),
        };
        file.password(Key {
            host,
            port,
            dbname,
            user,
        })
    }

    #[test]
    fn the_first_line_that_matches_counts() {
        let lines = "h:5432:d:u:first\nh:5432:d:u:second\n*:*:*:u:any\n*:*:*:*:";
        assert_eq!(
            password(lines, "h", 5432, "d", "u").as_deref(),
            Some("first")
        );
        assert_eq!(password(lines, "h", 5433, "d", "u").as_deref(), Some("any"));
        assert_eq!(password(lines, "h", 5433, "d", "v").as_deref(), Some(""));
    }

    #[test]
    fn colons_and_backslashes_are_escaped() {
        let lines = r"fe80\:\:1:5432:a\\b:u:pa\:ss:word\\";
        assert_eq!(
            password(lines, "fe80::1", 5432, r"a\b", "u").as_deref(),
            Some(r"pa:ss:word\")
        );
    }

    #[test]
    fn a_star_matches_only_when_it_is_the_whole_field() {
        assert_eq!(password("h*:*:*:*:x", "host", 1, "d", "u"), None);
        assert_eq!(
            password("h*:*:*:*:x", "h*", 1, "d", "u").as_deref(),
            Some("x")
        );
        assert_eq!(password(r"\*:*:*:*:x", "h", 1, "d", "u"), None);
    }

    #[test]
    fn short_lines_match_nothing() {
        for line in ["", "h", "h:1:d", "h:1:d:u", "h:1:d:u\\"] {
            assert_eq!(password(line, "h", 1, "d", "u"), None, "{line}");
        }
    }

    #[test]
    fn only_a_plain_private_file_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pgpass");
        assert!(PassFile::read(&path).lines.is_empty());
        assert!(PassFile::read(dir.path()).lines.is_empty());
        std::fs::write(&path, "# *:*:*:*:comment\r\n*:*:*:*:x\r\n").expect("written");
        for (mode, lines) in [(0o600, 1), (0o400, 1), (0o640, 0), (0o604, 0), (0o660, 0)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
            assert_eq!(PassFile::read(&path).lines.len(), lines, "{mode:o}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("changed");
        let key = Key {
            host: "h",
            port: 1,
            dbname: "d",
            user: "u",
        };
        assert_eq!(PassFile::read(&path).password(key).as_deref(), Some("x"));
    }
}
