//! Base backups on the slave: which directories are sets, and which of them is which.
//!
//! The newest is `FULL`, older ones are `FULL.0`, `FULL.1` and so on. A backup under way is
//! `FULL.inprogress`, which is never taken for a set.

mod held;
mod info;
pub(crate) mod keep;
mod label;
pub(crate) mod manifest;
pub(crate) mod retention;
mod rotate;
pub(crate) mod verify;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use held::Held;
pub(crate) use info::{Info, State, TablespaceInfo};
pub(crate) use keep::Keep;
pub(crate) use label::Label;

use crate::Error;
use crate::config::SlaveConfig;
use crate::files::with_suffix;
use crate::names::Segment;

/// Where the sets are.
#[derive(Debug, Clone)]
pub(crate) struct Sets {
    full: PathBuf,
    /// Run before a set is deleted.
    archive_command: Option<String>,
}

/// A directory that holds a whole base backup.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) path: PathBuf,
    /// `data.master.0`
    pub(crate) name: String,
    /// Number in the name; `None` for the newest.
    pub(crate) number: Option<u32>,
    pub(crate) label: Label,
    /// `None` for a set of an older installation.
    pub(crate) info: Option<Info>,
}

impl Set {
    /// First segment that is needed to use it.
    pub(crate) fn start(&self) -> Segment {
        self.label.start_segment
    }

    /// Last segment without which it cannot be used, if that is known.
    pub(crate) fn stop(&self) -> Option<Segment> {
        self.info.as_ref()?.stop_wal.as_deref()?.parse().ok()
    }
}

/// A directory that looks like a set and is none, or one under way.
#[derive(Debug, Clone)]
pub(crate) struct Suspect {
    pub(crate) path: PathBuf,
    pub(crate) problem: String,
    /// First segment that it needs, if that is known.
    pub(crate) start: Option<Segment>,
}

/// What is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Newest first.
    pub(crate) sets: Vec<Set>,
    pub(crate) suspects: Vec<Suspect>,
}

impl Sets {
    pub(crate) fn new(config: &SlaveConfig) -> Sets {
        Sets {
            full: config.full_backup.clone(),
            archive_command: config.archive_command.clone(),
        }
    }

    /// Path of the newest set.
    pub(crate) fn full(&self) -> &Path {
        &self.full
    }

    /// Where a backup is copied to.
    pub(crate) fn in_progress(&self) -> PathBuf {
        with_suffix(&self.full, ".inprogress")
    }

    pub(crate) fn parent(&self) -> &Path {
        // The configuration is refused otherwise.
        self.full.parent().unwrap_or(Path::new("/"))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        with_suffix(&self.full, &format!(".{number}"))
    }

    /// Whether there is a base backup of this program, whole or not: each has a marker of its cluster beside
    /// it, in the archive.
    pub(crate) fn has_marked(&self) -> bool {
        let candidates = self.candidates().unwrap_or_default();
        candidates.iter().any(|(path, _)| Info::path(path).exists())
    }

    /// Directories with the name of a set, and their numbers.
    fn candidates(&self) -> Result<Vec<(PathBuf, Option<u32>)>, Error> {
        let base = self.full.file_name().unwrap_or_default().to_string_lossy();
        let parent = self.parent();
        let unlisted = |error| Error::io("list", parent, error);
        let mut found = Vec::new();
        for entry in fs::read_dir(parent).map_err(unlisted)? {
            let entry = entry.map_err(unlisted)?;
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(&*base)) else {
                continue;
            };
            let number = match rest.strip_prefix('.') {
                None if rest.is_empty() => None,
                Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    match digits.parse() {
                        // As it would be written: "007" is somebody's own.
                        Ok(number) if format!("{number}") == digits => Some(number),
                        _ => continue,
                    }
                }
                _ => continue,
            };
            if entry.path().is_dir() {
                found.push((entry.path(), number));
            }
        }
        found.sort_by_key(|(_, number)| *number);
        Ok(found)
    }

    /// Looks at all of them.
    ///
    /// # Errors
    /// The directory above them cannot be read.
    pub(crate) fn find(&self) -> Result<Found, Error> {
        let mut found = Found::default();
        for (path, number) in self.candidates()? {
            match read(&path, number) {
                Ok(set) => found.sets.push(set),
                // Older installations make it empty.
                Err(_) if number.is_none() && is_empty(&path) => {}
                Err(suspect) => found.suspects.push(suspect),
            }
        }
        let under_way = self.in_progress();
        if under_way.is_dir() {
            let info = Info::read(&under_way).ok().flatten();
            let start = info.as_ref().and_then(|info| info.start_wal.parse().ok());
            found.suspects.push(Suspect {
                problem: match info {
                    Some(info) => format!("a backup under way or given up: {}", info.state),
                    None => "a backup under way or given up".to_owned(),
                },
                path: under_way,
                start,
            });
        }
        Ok(found)
    }

    /// The set that somebody means: its name, number, path or id; without a word the newest.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn choose(&self, word: Option<&str>) -> Result<Set, Error> {
        let found = self.find()?;
        let Some(word) = word else {
            return found.sets.into_iter().next().ok_or_else(|| {
                Error::Refused(format!("no backup found as {}*", self.full.display()))
            });
        };
        let names: Vec<String> = found.sets.iter().map(|set| set.name.clone()).collect();
        let is_meant = |set: &Set| {
            set.name == word
                || set.number.is_some_and(|number| number.to_string() == word)
                || set.info.as_ref().is_some_and(|info| info.id == word)
                || set.path == Path::new(word)
        };
        found.sets.into_iter().find(is_meant).ok_or_else(|| {
            let list = match names.is_empty() {
                true => "there are none".to_owned(),
                false => format!("there are: {}", names.join(", ")),
            };
            Error::Refused(format!("no backup set {word}; {list}"))
        })
    }
}

/// Whether a directory of the right name is a set.
fn read(path: &Path, number: Option<u32>) -> Result<Set, Suspect> {
    let suspect = |problem: String, start: Option<Segment>| Suspect {
        path: path.to_owned(),
        problem,
        start,
    };
    let label = Label::read(path);
    let start = label.as_ref().ok().map(|label| label.start_segment);
    let info = match Info::read(path) {
        Ok(Some(info)) if info.state == State::Done => Some(info),
        Ok(Some(info)) => {
            return Err(suspect(format!("a backup that is {}", info.state), start));
        }
        Ok(None) => None,
        Err(error) => return Err(suspect(skytools::app::chain(&error), start)),
    };
    let label = label.or_else(|error| match info.as_ref().and_then(Label::of_cold_copy) {
        Some(label) => Ok(label),
        None => Err(error),
    });
    match label {
        Ok(label) => Ok(Set {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            path: path.to_owned(),
            number,
            label,
            info,
        }),
        Err(error) => Err(suspect(skytools::app::chain(&error), None)),
    }
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}
