//! A streaming standby straight from the master, without a set: `createslave`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use skytools::app::chain;
use skytools::daemon::Stop;
use skytools::db::During;
use skytools::failpoint;
use tracing::{debug, info, warn};

use super::{
    PointInTime, Purpose, START_PATIENCE, check_server, install, refuse_immovable, refuse_root,
    stop_server, take_lock,
};
use crate::archive::Identity;
use crate::args::Options;
use crate::basebackup::{BaseBackup, Kind, Watch};
use crate::config::{Conninfo, SlaveConfig};
use crate::control::Signal;
use crate::files::with_suffix;
use crate::server::DataDir;
use crate::server::standby::{self, Stream};
use crate::{Error, durable, files};

/// Makes a standby by `pg_basebackup`, and puts it in the place of the data directory.
///
/// # Errors
/// What was there before is where it was, or beside it; a slot that was made is gone again.
pub(crate) fn run(
    config: &SlaveConfig,
    job: &str,
    options: &Options,
    stop: &Stop,
) -> Result<(), Error> {
    let start_cmd = config.need_start_cmd()?;
    let Some(conninfo) = &config.primary_conninfo else {
        return Err(skytools::config::ConfigError::Missing("primary_conninfo".to_owned()).into());
    };
    refuse_root("createslave")?;
    let _lock = take_lock(config, "createslave", options)?;
    check_server(config, options)?;
    refuse_immovable(&config.data)?;
    let slot = match &config.primary_slot {
        Some(slot) => slot.clone(),
        None => slot_name(job),
    };
    let interrupted = with_suffix(&config.data, ".restoring");
    if interrupted.exists() && !options.force {
        return Err(Error::Refused(format!(
            "{} is there, of a restore that was interrupted, perhaps the only copy of its set: restore goes on \
             with it; --force deletes it",
            interrupted.display()
        )));
    }
    let conninfo = conninfo.named(job)?;
    let master = Master::ask(&conninfo, &slot);
    if let Some(master) = &master {
        master.check(config, &slot)?;
    }
    let has_slot = master.as_ref().is_some_and(|master| master.slot.is_some());
    if options.not_really {
        let verb = if has_slot { "use" } else { "make" };
        return Ok(skytools::app::output(format!(
            "would {verb} the slot {slot}, copy the master to {}, stop the server if it runs, move the old data \
             directory aside, and run: {start_cmd}\n",
            config.data.display()
        ))?);
    }
    let spaces = master.map(|master| master.spaces).unwrap_or_default();
    let ready = copy(config, &conninfo, &slot, has_slot, &spaces, stop)?;
    failpoint::step("create.copied");
    let mut standby = config.clone();
    standby.primary_conninfo = Some(conninfo.clone());
    standby.primary_slot = Some(slot.clone());
    // It has been linked, and has WAL in it.
    standby.wal_dir = None;
    let placed = stop_server(config, options, stop)
        .and_then(|()| install(&standby, &ready, &PointInTime::none(), Purpose::Standby));
    let old = match placed {
        Ok(old) => old,
        Err(error) => {
            // It is of no use without its slot.
            let _ = files::remove_tree(&ready);
            if !has_slot {
                drop_slot(&conninfo, &slot);
            }
            return Err(error);
        }
    };
    for signal in [Signal::Stop, Signal::Pause, Signal::Progress] {
        signal.lower(&config.completed_wals)?;
    }
    super::start(config, start_cmd, &PointInTime::none(), stop)?;
    super::settle(config, old)?;
    wait_until_it_streams(config, stop)
}

/// A slot's name of the job's: small letters, digits and underscores.
fn slot_name(job: &str) -> String {
    let plain = job.chars().map(|c| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '_') => c,
        _ => '_',
    });
    plain.take(63).collect()
}

/// What the master says of itself.
#[derive(Debug)]
struct Master {
    major: u32,
    system_identifier: u64,
    is_standby: bool,
    keeps_wal_without_limit: bool,
    /// Whether the slot is there, and in use.
    slot: Option<bool>,
    /// Where tablespaces are.
    spaces: BTreeMap<u32, String>,
}

impl Master {
    /// `None` if it takes replication only: then its own programs have to find out what is wrong.
    fn ask(conninfo: &Conninfo, slot: &str) -> Option<Master> {
        match Master::try_to_ask(conninfo, slot) {
            Ok(master) => Some(master),
            Err(error) => {
                warn!(
                    "the master answers no questions, so nothing is looked at before: {}",
                    chain(&error)
                );
                None
            }
        }
    }

    fn try_to_ask(conninfo: &Conninfo, slot: &str) -> Result<Master, Error> {
        let mut db = conninfo.open("primary_conninfo")?;
        let row = db
            .query_one(
                "select system_identifier, pg_is_in_recovery(), \
                        current_setting('max_slot_wal_keep_size') = '-1', \
                        (select active from pg_replication_slots where slot_name = $1) \
                   from pg_control_system()",
                &[&slot],
            )
            .during("look at the master")?;
        let spaces = db
            .query(
                "select oid, pg_tablespace_location(oid) from pg_tablespace",
                &[],
            )
            .during("list tablespaces")?;
        Ok(Master {
            major: db.server_version().unsigned_abs() / 10_000,
            system_identifier: row.get::<_, i64>(0).cast_unsigned(),
            is_standby: row.get(1),
            keeps_wal_without_limit: row.get(2),
            slot: row.get(3),
            spaces: spaces
                .iter()
                .map(|row| (row.get(0), row.get::<_, String>(1)))
                // What lies in the data directory is copied with it.
                .filter(|(_, location)| location.starts_with('/'))
                .collect(),
        })
    }

    /// Whether a standby of it can be made here.
    fn check(&self, config: &SlaveConfig, slot: &str) -> Result<(), Error> {
        let programs = DataDir::new(&config.data, config.bin.as_deref()).major_of_programs()?;
        if self.major != programs {
            return Err(Error::Refused(format!(
                "the master is PostgreSQL {}, and the programs of slave_bin are of {programs}",
                self.major
            )));
        }
        let archive = Identity::read(&config.completed_wals)?;
        if let Some(archive) = archive
            && archive.system_identifier != self.system_identifier
        {
            return Err(Error::Refused(format!(
                "primary_conninfo leads to the cluster {}, and {} is of {}",
                self.system_identifier,
                config.completed_wals.display(),
                archive.system_identifier
            )));
        }
        if self.slot == Some(true) {
            return Err(Error::Refused(format!(
                "the slot {slot} is in use: another standby has it, or the old one still runs; primary_slot \
                 names another"
            )));
        }
        if self.is_standby {
            warn!("primary_conninfo leads to a standby: this one will follow it");
        }
        if self.keeps_wal_without_limit {
            warn!(
                "max_slot_wal_keep_size of the master is -1: should this standby be gone for long, the WAL that \
                 is kept for it fills the master's disk"
            );
        }
        Ok(())
    }
}

/// Copies the master to where it is made ready.
fn copy(
    config: &SlaveConfig,
    conninfo: &Conninfo,
    slot: &str,
    has_slot: bool,
    spaces: &BTreeMap<u32, String>,
    stop: &Stop,
) -> Result<PathBuf, Error> {
    let (copying, ready) = (
        with_suffix(&config.data, ".copying"),
        with_suffix(&config.data, ".restoring"),
    );
    for dir in [&copying, &ready] {
        files::remove_tree(dir).map_err(|error| Error::io("remove", dir, error))?;
    }
    info!(slot, "copying the master");
    let copy = BaseBackup {
        conninfo,
        name: slot,
        kind: Kind::Server {
            slot: Some((slot, has_slot)),
            wal_dir: config.wal_dir.as_deref(),
        },
        spaces,
    };
    let copied = copy
        .run(config, &copying, &Watch::only(stop))
        .and_then(|()| {
            let parent = config.data.parent().unwrap_or(Path::new("/"));
            fs::rename(&copying, &ready)
                .and_then(|()| durable::sync_dir(parent))
                .map_err(|error| Error::io("rename", &copying, error))
        });
    if let Err(error) = copied {
        // What is left is removed by the next try, too.
        let _ = files::remove_tree(&copying);
        if !has_slot {
            drop_slot(conninfo, slot);
        }
        return Err(error);
    }
    Ok(ready)
}

/// Drops a slot that was made for nothing; where that cannot be done, who has to know is told.
fn drop_slot(conninfo: &Conninfo, slot: &str) {
    let sql = "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
               where slot_name = $1 and not active";
    let dropped = conninfo
        .open("primary_conninfo")
        .and_then(|mut db| Ok(db.query(sql, &[&slot]).during("drop the slot")?));
    match dropped {
        Ok(rows) => debug!(slot, dropped = rows.len(), "after a failure"),
        Err(error) => warn!(
            "if the slot {slot} is there on the master, drop it, or WAL piles up there: {}",
            chain(&error)
        ),
    }
}

/// Waits until the standby has a connection to the master.
fn wait_until_it_streams(config: &SlaveConfig, stop: &Stop) -> Result<(), Error> {
    let begun = Instant::now();
    while !matches!(standby::stream(config), Some(Stream::Timeline(_))) {
        if begun.elapsed() > START_PATIENCE || stop.sleep(Duration::from_millis(100)) {
            return Err(Error::Refused(format!(
                "the standby runs, and does not stream: see the log of the server in {}",
                config.data.display()
            )));
        }
    }
    info!("the standby streams");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::slot_name;

    #[test]
    fn a_slot_has_a_name_that_the_server_takes() {
        assert_eq!(slot_name("Standby-1 x.ini"), "standby_1_x_ini");
        assert_eq!(slot_name(&"ä".repeat(80)).len(), 63);
    }
}
