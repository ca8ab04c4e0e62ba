//! The server that took over.

use std::fs;
use std::io::ErrorKind;

use skytools::db::{Connection, During};

use super::history::{Lineage, Parting};
use super::{history_path, was_primary};
use crate::Error;
use crate::archive::Listing;
use crate::config::SlaveConfig;
use crate::names::{SegmentSize, WalName};
use crate::server::{Control, DataDir};

/// A primary, as it was when it was asked.
pub(super) struct Primary {
    db: Connection,
    system_identifier: u64,
    pub(super) timeline: u32,
    lineage: Lineage,
    pub(super) segment_size: SegmentSize,
    /// Whether it has tablespaces.
    pub(super) has_tablespaces: bool,
}

impl Primary {
    /// Asks the server that `rewind_conninfo` or `primary_conninfo` lead to.
    ///
    /// # Errors
    /// It cannot be reached, is no primary, or its role may not read the history of its timeline.
    pub(super) fn ask(config: &SlaveConfig) -> Result<Primary, Error> {
        let mut db = config.rewind()?.open("rewind_conninfo")?;
        let is_standby: bool = db
            .query_one("select pg_is_in_recovery()", &[])
            .during("look at the primary")?
            .get(0);
        if is_standby {
            return Err(Error::Refused(
                "primary_conninfo leads to a server in recovery: boot it first, or say where the primary is"
                    .to_owned(),
            ));
        }
        let row = db
            .query_one(
                "select (select system_identifier from pg_control_system()), \
                        substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8), \
                        (select setting::int8 from pg_settings where name = 'wal_segment_size'), \
                        exists (select from pg_tablespace where spcname not in ('pg_default', 'pg_global'))",
                &[],
            )
            .during("look at the primary")?;
        let odd = |what: &str| Error::Refused(format!("the primary does not tell its {what}"));
        let timeline = u32::from_str_radix(row.get(1), 16).map_err(|_| odd("timeline"))?;
        let segment_size = SegmentSize::new(row.get::<_, i64>(2).cast_unsigned())
            .ok_or_else(|| odd("size of segments"))?;
        let history: String = match timeline {
            1 => String::new(),
            _ => {
                let path = format!("pg_wal/{}", WalName::History(timeline));
                let sql = "select convert_from(pg_read_binary_file($1), 'UTF8')";
                db.query_one(sql, &[&path])
                    .during("read the history of the primary's timeline")?
                    .get(0)
            }
        };
        Ok(Primary {
            system_identifier: row.get::<_, i64>(0).cast_unsigned(),
            timeline,
            lineage: Lineage::parse(timeline, &history).ok_or_else(|| odd("history"))?,
            segment_size,
            has_tablespaces: row.get(3),
            db,
        })
    }

    /// Whether a data directory can be made one of its standbys.
    ///
    /// # Errors
    /// It is of another cluster.
    pub(super) fn check(&self, data: &DataDir, control: &Control) -> Result<(), Error> {
        match self.system_identifier == control.system_identifier {
            true => Ok(()),
            false => Err(Error::Refused(format!(
                "{} is of system {}, and the primary of {}",
                data.path.display(),
                control.system_identifier,
                self.system_identifier
            ))),
        }
    }

    /// Where the history of a data directory leaves this one's; `None` if it is a part of it.
    ///
    /// # Errors
    /// The two do not fit together.
    pub(super) fn fork(&self, data: &DataDir, control: &Control) -> Result<Option<Parting>, Error> {
        let timeline = timeline(data, control)?;
        let history = match fs::read_to_string(history_path(&data.wal(), timeline)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && timeline == 1 => String::new(),
            Err(error) => {
                return Err(Error::io(
                    "read",
                    &history_path(&data.wal(), timeline),
                    error,
                ));
            }
        };
        let unrelated = || {
            Error::Refused(format!(
                "timeline {timeline} of {} and timeline {} of the primary have nothing in common",
                data.path.display(),
                self.timeline
            ))
        };
        let own = Lineage::parse(timeline, &history).ok_or_else(unrelated)?;
        let fork = own.fork(&self.lineage).map_err(|_| unrelated())?;
        if fork.is_none() && was_primary(control) {
            return Err(Error::Refused(format!(
                "the primary is on timeline {timeline}, as {} is, which was a primary, too: it was not opened by \
                 boot. Is it the right one?",
                data.path.display()
            )));
        }
        Ok(fork)
    }

    /// Has its control file say which timeline it is on. Before its first checkpoint it does not, and pg_rewind
    /// would take it for one that has not left the old one.
    pub(super) fn checkpoint(&mut self) -> Result<(), Error> {
        let sql = "select timeline_id from pg_control_checkpoint()";
        let ask = |db: &mut Connection| -> Result<u32, Error> {
            let row = db.query_one(sql, &[]).during("look at the primary")?;
            Ok(row.get::<_, i32>(0).cast_unsigned())
        };
        if ask(&mut self.db)? == self.timeline {
            return Ok(());
        }
        self.db
            .batch_execute("checkpoint")
            .during("make a checkpoint on the primary")?;
        Ok(())
    }
}

/// The timeline that a server was on. Its control file tells it only after the first checkpoint.
fn timeline(data: &DataDir, control: &Control) -> Result<u32, Error> {
    if !was_primary(control) {
        return Ok(control.timeline);
    }
    let listing = Listing::read(&data.wal())?;
    let histories = listing.names().filter_map(|name| match name {
        WalName::History(timeline) => Some(timeline),
        _ => None,
    });
    Ok(histories.max().unwrap_or(1).max(control.timeline))
}
