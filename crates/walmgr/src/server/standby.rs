//! The standby on this host, over its socket.

use skytools::app::chain;
use skytools::db::Connection;

use super::DataDir;
use crate::config::SlaveConfig;

/// A connection to the standby, if it takes some.
pub(crate) fn connect(config: &SlaveConfig) -> Option<Connection> {
    let (dir, port) = DataDir::new(&config.data, config.bin.as_deref()).socket()?;
    let conninfo = format!("host='{dir}' port={port} dbname=postgres connect_timeout=5");
    let conninfo = conninfo.parse().ok()?;
    match Connection::open("standby", &conninfo) {
        Ok(db) => Some(db),
        Err(error) => {
            tracing::debug!("{}", chain(&error));
            None
        }
    }
}

/// What a standby receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// WAL of a timeline, from its primary.
    Timeline(i32),
    Nothing,
}

/// Whether the standby streams; `None` if it cannot be asked.
pub(crate) fn stream(config: &SlaveConfig) -> Option<Stream> {
    let mut db = connect(config)?;
    let rows = db
        .query(
            "select received_tli from pg_stat_wal_receiver where status = 'streaming'",
            &[],
        )
        .ok()?;
    Some(match rows.first() {
        Some(row) => Stream::Timeline(row.get::<_, Option<i32>>(0).unwrap_or_default()),
        None => Stream::Nothing,
    })
}
