//! Where a comparison stands, in a file: what a run that was ended has done is not done again.
//!
//! The file names the job and the command, the tables that are finished with their results, and of
//! the table in progress the key up to which it is compared. What was compared is not looked at
//! again; each range was compared in some state that both sides were in.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use skytools::db::Text;

use super::Report;
use super::read::Key;
use crate::{Error, VerifyError};

/// Time between two writes.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// Job, queue and command.
    of: String,
    pub(crate) finished: Vec<Report>,
    pub(crate) current: Option<Place>,
}

/// How far a table is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) table: String,
    /// Values of the last key compared, in hexadecimal.
    after: Vec<String>,
    pub(crate) totals: Totals,
    /// Lengths of the parts of the fix file.
    pub(crate) parts: Vec<u64>,
}

/// What was counted of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) provider_rows: u64,
    pub(crate) subscriber_rows: u64,
    pub(crate) provider_hash: i128,
    pub(crate) subscriber_hash: i128,
    pub(crate) missing: u64,
    pub(crate) extra: u64,
    pub(crate) changed: u64,
}

impl Totals {
    pub(crate) fn differences(&self) -> u64 {
        self.missing + self.extra + self.changed
    }
}

impl Place {
    pub(crate) fn new(table: &str, after: Option<&Key>, totals: Totals, parts: Vec<u64>) -> Place {
        let hexadecimal = |value: &Text| {
            let bytes = value.as_bytes().iter();
            bytes.map(|byte| format!("{byte:02x}")).collect()
        };
        Place {
            table: table.to_owned(),
            after: after.into_iter().flatten().map(hexadecimal).collect(),
            totals,
            parts,
        }
    }

    /// The key; `None` at the start, or if the file was changed by hand.
    pub(crate) fn after(&self) -> Option<Key> {
        let value = |text: &String| {
            let pairs = text.as_bytes().chunks(2);
            let bytes: Option<Vec<u8>> = pairs
                .map(|pair| {
                    let pair = std::str::from_utf8(pair).ok()?;
                    u8::from_str_radix(pair, 16).ok()
                })
                .collect();
            bytes.map(Text::from)
        };
        let key: Key = self.after.iter().map(value).collect::<Option<_>>()?;
        (!key.is_empty()).then_some(key)
    }
}

/// Keeps the state in a file, if one was asked for.
pub(crate) struct Resume {
    path: Option<PathBuf>,
    pub(crate) state: State,
    saved: Instant,
}

impl Resume {
    /// Reads the file; one that does not exist is made later.
    ///
    /// # Errors
    /// It cannot be read, or belongs to something else.
    pub(crate) fn open(path: Option<&Path>, of: String) -> Result<Resume, Error> {
        let mut state = State::default();
        if let Some(path) = path {
            let problem = |reason: String| {
                Error::Verify(VerifyError::Resume {
                    path: path.to_owned(),
                    reason,
                })
            };
            match fs::read(path) {
                Ok(text) => {
                    state = serde_json::from_slice(&text)
                        .map_err(|error| problem(error.to_string()))?;
                    if state.of != of {
                        return Err(problem(format!("it is of {}, not of {of}", state.of)));
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(problem(error.to_string())),
            }
        }
        state.of = of;
        Ok(Resume {
            path: path.map(Path::to_owned),
            state,
            saved: Instant::now(),
        })
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.path.is_some()
    }

    /// Whether it is time to write.
    pub(crate) fn is_due(&self) -> bool {
        self.is_kept() && self.saved.elapsed() >= SAVE_EVERY
    }

    /// Writes the file, so that it is whole at any moment.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn save(&mut self) -> Result<(), Error> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let write = || -> std::io::Result<()> {
            let mut file = fs::File::create(&new)?;
            file.write_all(&serde_json::to_vec_pretty(&self.state)?)?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        write().map_err(|error| {
            Error::Verify(VerifyError::Resume {
                path: path.clone(),
                reason: error.to_string(),
            })
        })?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Everything is done: the next run begins anew.
    pub(crate) fn remove(&self) {
        if let Some(path) = &self.path {
            // It says that everything is finished, should it stay.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_any_bytes_comes_back() {
        let key = vec![Text::from(vec![0xff, 0, b'a']), Text::from("")];
        let place = Place::new("s.t", Some(&key), Totals::default(), vec![]);
        assert_eq!(place.after(), Some(key));
        assert_eq!(Place::default().after(), None);
    }
}
