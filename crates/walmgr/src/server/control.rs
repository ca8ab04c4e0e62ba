use std::collections::HashMap;

use crate::names::Segment;

/// State of a cluster, as its control file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerState {
    /// Accepts writes, or did when it died.
    InProduction,
    ShutDown,
    ShutDownInRecovery,
    InRecovery,
    /// Something else, or not known.
    Other,
}

/// What `pg_controldata` says.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    fields: HashMap<String, String>,
}

impl Control {
    pub(super) fn parse(text: &str) -> Control {
        let fields = text.lines().filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            Some((key.trim().to_owned(), value.trim().to_owned()))
        });
        Control {
            fields: fields.collect(),
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    pub(crate) fn state(&self) -> ServerState {
        match self.get("Database cluster state") {
            Some("in production") => ServerState::InProduction,
            Some("shut down") => ServerState::ShutDown,
            Some("shut down in recovery") => ServerState::ShutDownInRecovery,
            Some("in archive recovery") => ServerState::InRecovery,
            _ => ServerState::Other,
        }
    }

    pub(crate) fn timeline(&self) -> Option<u32> {
        self.get("Latest checkpoint's TimeLineID")?.parse().ok()
    }

    pub(crate) fn redo_segment(&self) -> Option<Segment> {
        self.get("Latest checkpoint's REDO WAL file")?.parse().ok()
    }

    pub(crate) fn system_identifier(&self) -> Option<u64> {
        self.get("Database system identifier")?.parse().ok()
    }
}
