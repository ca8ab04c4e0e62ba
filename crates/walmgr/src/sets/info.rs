use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::durable;

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Copying,
    WaitingWal,
    Done,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Copying => "copying",
            State::WaitingWal => "waiting for WAL",
            State::Done => "done",
        })
    }
}

/// A tablespace of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TablespaceInfo {
    pub(crate) oid: u32,
    pub(crate) name: String,
    pub(crate) location: String,
    pub(crate) bytes: u64,
}

/// `walmgr_backup.json`: what a set is. Keys that are not known are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Info {
    pub(crate) format: u32,
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) label: String,
    pub(crate) method: String,
    pub(crate) pg_version: String,
    pub(crate) system_identifier: String,
    pub(crate) timeline: u32,
    pub(crate) wal_segment_size: u64,
    pub(crate) start_lsn: String,
    pub(crate) start_wal: String,
    pub(crate) start_time: String,
    pub(crate) stop_lsn: Option<String>,
    pub(crate) stop_wal: Option<String>,
    pub(crate) stop_time: Option<String>,
    pub(crate) min_recovery_lsn: Option<String>,
    #[serde(default)]
    pub(crate) bytes: u64,
    #[serde(default)]
    pub(crate) files: u64,
    #[serde(default)]
    pub(crate) tablespaces: Vec<TablespaceInfo>,
    /// Directories that were links, and where they led: WAL, and logs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) links: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) keep: bool,
    #[serde(default)]
    pub(crate) verified_at: Option<String>,
    #[serde(default)]
    pub(crate) walmgr_version: String,
    #[serde(flatten)]
    pub(crate) more: serde_json::Map<String, serde_json::Value>,
}

pub(crate) const FILE: &str = "walmgr_backup.json";

impl Info {
    /// Method of a copy of a standby that was stopped.
    pub(crate) const COLD: &str = "slave-cold";

    pub(crate) fn path(set: &Path) -> PathBuf {
        set.join(FILE)
    }

    /// What a set says of itself; `None` for one of an older installation.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn read(set: &Path) -> Result<Option<Info>, Error> {
        let path = Info::path(set);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &path, error)),
        };
        match serde_json::from_str(&text) {
            Ok(info) => Ok(Some(info)),
            Err(error) => Err(Error::io("read", &path, error.into())),
        }
    }

    pub(crate) fn write(&self, set: &Path) -> Result<(), Error> {
        let path = Info::path(set);
        let written =
            skytools::app::json(self).and_then(|text| durable::write(&path, text.as_bytes()));
        written.map_err(|error| Error::io("write", &path, error))
    }
}
