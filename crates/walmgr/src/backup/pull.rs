//! A base backup that the slave fetches by itself, by the server's own program over a replication connection.
//!
//! The server begins and ends it, and sends a manifest with it. The master's side says what is to be fetched, and has
//! it made a set as any other copy.

mod fetch;
mod manifest;

use std::collections::BTreeMap;
use std::path::Path;

use postgres::types::PgLsn;
use serde::{Deserialize, Serialize};
use skytools::daemon::Stop;
use skytools::db::{Connection, During};
use skytools::failpoint;
use tracing::info;

use super::preflight::Master;
use super::{Begun, Copied, LABEL, Lock, announced, begin, copy, now};
use crate::Error;
use crate::config::MasterConfig;
use crate::sets::manifest::Digests;
use crate::sets::{Info, Label};
use crate::slave::Slave;
pub(crate) use fetch::{fetch, look};

/// What the slave is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// How it reaches the master if `primary_conninfo` does not say.
    conninfo: Option<String>,
    system_identifier: u64,
    /// Major version of the server.
    major: u32,
    fast_checkpoint: bool,
    /// 0: as fast as it goes.
    kilobytes_a_second: u64,
    /// Seconds in which something has to come once the first bytes have.
    patience: u64,
    /// Where tablespaces are on the master.
    spaces: BTreeMap<u32, String>,
}

/// What the slave has then.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fetched {
    backup_label: String,
    /// Where the backup ends, as the server's manifest has it.
    stop_lsn: String,
    /// Tablespaces that have come.
    spaces: Vec<u32>,
    digests: Digests,
}

impl Order {
    pub(super) fn new(config: &MasterConfig, db: &Connection, master: &Master) -> Order {
        Order {
            conninfo: config.db_from_slave.clone(),
            system_identifier: master.system_identifier,
            major: db.server_version().unsigned_abs() / 10_000,
            fast_checkpoint: config.fast_checkpoint,
            kilobytes_a_second: config.bwlimit_kb,
            patience: config.wal_timeout.as_secs(),
            spaces: BTreeMap::new(),
        }
    }

    /// Has the slave look whether it could fetch a copy; nothing changes.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn check(&self, slave: &Slave) -> Result<(), Error> {
        slave.run(&["xbackup-fetch"], Some(&self.text()?))?;
        Ok(())
    }

    fn text(&self) -> Result<Vec<u8>, Error> {
        Ok(serde_json::to_vec(self).map_err(std::io::Error::from)?)
    }
}

/// Has the slave fetch a copy.
pub(super) fn make(
    config: &MasterConfig,
    slave: &Slave,
    lock: &mut Lock,
    db: &mut Connection,
    master: &Master,
    mut order: Order,
    stop: &Stop,
) -> Result<(Info, Copied), Error> {
    let mut info = announced(config, master, LABEL, before(db)?);
    begin(config, slave, lock, &mut info, false)?;
    let known = copy::known_tablespaces(db)?;
    let elsewhere = known
        .into_iter()
        .filter(|space| space.location.starts_with('/'));
    info.tablespaces = elsewhere.collect();
    let spaces = info.tablespaces.iter();
    order.spaces = spaces
        .map(|space| (space.oid, space.location.clone()))
        .collect();
    let said = slave.run_until(&["xbackup-fetch", &lock.id], &order.text()?, stop)?;
    let fetched: Fetched = serde_json::from_str(&said)
        .map_err(|error| Error::Refused(format!("cannot read what the slave says: {error}")))?;
    lock.check()?;
    failpoint::step("backup.copied");
    let wrong = || Error::Refused("the server's copy does not say where it begins".to_owned());
    let label = Label::parse(&fetched.backup_label).ok_or_else(wrong)?;
    let stop_lsn: PgLsn = fetched.stop_lsn.parse().map_err(|_| wrong())?;
    info!(start_lsn = %label.start_lsn, %stop_lsn, "Fetched by pg_basebackup");
    info.timeline = label.start_segment.timeline;
    info.start_lsn = label.start_lsn;
    info.start_wal = label.start_segment.to_string();
    // One may have been dropped before the server began.
    info.tablespaces
        .retain(|space| fetched.spaces.contains(&space.oid));
    info!(count = info.tablespaces.len(), "Checked tablespaces");
    let copied = Copied {
        stop_lsn,
        backup_label: fetched.backup_label,
        tablespace_map: map_of(&info),
        digests: fetched.digests,
    };
    Ok((info, copied))
}

/// Where the WAL begins that is kept for a backup that has not begun: it begins at a later checkpoint.
fn before(db: &mut Connection) -> Result<Begun, Error> {
    let time = now(db)?;
    let row = db
        .query_one(
            "select timeline_id, redo_lsn from pg_control_checkpoint()",
            &[],
        )
        .during("ask for the last checkpoint")?;
    Ok(Begun {
        time,
        timeline: row.get::<_, i32>(0).cast_unsigned(),
        lsn: row.get(1),
    })
}

/// The server's map of tablespaces, which it does not send with a plain copy.
fn map_of(info: &Info) -> String {
    let escaped = |location: &str| {
        let location = location.replace('\\', "\\\\");
        location.replace('\n', "\\\n").replace('\r', "\\\r")
    };
    let lines = info
        .tablespaces
        .iter()
        .map(|space| format!("{} {}\n", space.oid, escaped(&space.location)));
    lines.collect()
}

/// Where the slave's part of a set's copy is before it is looked at: one that is left behind by a dead backup writes
/// to a place of its own.
fn place(in_progress: &Path, lock: &str) -> std::path::PathBuf {
    in_progress.join(format!("copying-{}", lock.replace('/', "-")))
}
