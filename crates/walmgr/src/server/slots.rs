//! Physical replication slots of the master: those of a receiver, or of a standby that streams.

use skytools::db::{Connection, During};

use crate::Error;
use crate::config::MasterConfig;

/// A slot, and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    name: String,
    /// Whether somebody streams from it.
    pub(crate) is_active: bool,
    /// Whether the server has removed WAL that it stood for.
    pub(crate) is_lost: bool,
    /// What is not on the other side yet; the server keeps as much. `None` before the first use.
    behind_bytes: Option<i64>,
}

impl Slot {
    pub(crate) fn describe(&self) -> String {
        let state = match (self.is_lost, self.is_active) {
            (true, _) => "lost",
            (false, true) => "active",
            (false, false) => "not active",
        };
        match self.behind_bytes {
            Some(bytes) => format!("{} {state}, {bytes} bytes behind", self.name),
            None => format!("{} {state}, never used", self.name),
        }
    }
}

/// The slots of a master that runs.
///
/// # Errors
/// It cannot be asked.
pub(crate) fn find(config: &MasterConfig) -> Result<Vec<Slot>, Error> {
    let mut db = Connection::open("master_db", config.need_db()?)?;
    let rows = db
        .query(
            "select slot_name::text, active, coalesce(wal_status = 'lost', false), \
                    greatest(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn), 0)::int8 \
               from pg_replication_slots where slot_type = 'physical' and not temporary order by 1",
            &[],
        )
        .during("look at replication slots")?;
    let slots = rows.iter().map(|row| Slot {
        name: row.get(0),
        is_active: row.get(1),
        is_lost: row.get(2),
        behind_bytes: row.get(3),
    });
    Ok(slots.collect())
}

/// All of them on one line.
pub(crate) fn describe(slots: Vec<Slot>) -> String {
    match slots.is_empty() {
        true => "none".to_owned(),
        false => {
            let slots: Vec<String> = slots.iter().map(Slot::describe).collect();
            slots.join("; ")
        }
    }
}
