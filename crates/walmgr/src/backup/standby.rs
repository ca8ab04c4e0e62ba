//! A base backup of the standby: the slave copies its own server, and the master has no work with it.
//!
//! The server tells where the backup begins, at its last restart point, and where it is consistent: at the
//! minimum recovery point of the control file, which is copied last. It cannot end a segment of WAL itself.

mod cold;

use postgres::types::PgLsn;
use skytools::app::chain;
use skytools::daemon::Stop;
use skytools::db::{Connection, During};
use skytools::failpoint;
use tracing::{error, info, warn};

use super::copy::Copying;
use super::preflight::{self, Master};
use super::{Finished, finish, now, receive, start};
use crate::Error;
use crate::archive::Listing;
use crate::args::Options;
use crate::config::{MasterConfig, SlaveConfig};
use crate::lock::{self, BackupLock};
use crate::names::Segment;
use crate::progress::Progress;
use crate::server::{DataDir, standby};
use crate::sets::{State, retention};
use crate::slave::Slave;

/// As in SkyTools.
const LABEL: &str = "SlaveBackup";

/// Makes a base backup of the standby.
///
/// # Errors
/// There is none then, and the older ones are as they were.
pub(crate) fn run(
    config: &SlaveConfig,
    may_stop: bool,
    options: &Options,
    stop: &Stop,
) -> Result<(), Error> {
    let data = DataDir::new(&config.data, config.bin.as_deref());
    if data.postmaster()?.is_none() {
        return Err(Error::Refused(format!(
            "no server runs in {}: a backup of the slave is one of its standby; the master makes its own",
            data.path.display()
        )));
    }
    let Some(mut db) = standby::connect(config) else {
        if may_stop {
            return cold::run(config, options, stop);
        }
        return Err(Error::Refused(format!(
            "the standby in {} takes no connections, so it cannot be copied while it runs: wait until it \
             is consistent, or use --stop-standby, or run backup on the master",
            data.path.display()
        )));
    };
    let server = preflight::look_at_standby(&mut db)?;
    if options.not_really {
        lock::refuse_held(&config.completed_wals)?;
        return Ok(skytools::app::output(format!(
            "would take the backup lock, copy {} ({} bytes) to {}.inprogress, wait for its WAL, make it the \
             newest set, and purge WAL\n",
            config.data.display(),
            server.bytes,
            config.full_backup.display()
        ))?);
    }
    let lock = BackupLock::need(&config.completed_wals, "backup", options.force)?;
    info!("Backup lock obtained.");
    let made = make(config, &lock.id, &mut db, &server, stop);
    // Ends the server's side, if it has not ended.
    drop(db);
    drop(lock);
    info!("Backup lock released.");
    match made {
        Ok(name) => info!(set = %name, "Backup of the standby successful"),
        Err(error) => {
            error!("Backup of the standby failed");
            return Err(error);
        }
    }
    if let Err(error) = retention::purge(config, None, false) {
        warn!("WAL is not purged: {}", chain(&error));
    }
    Ok(())
}

fn make(
    config: &SlaveConfig,
    lock: &str,
    db: &mut Connection,
    server: &Master,
    stop: &Stop,
) -> Result<String, Error> {
    let from = MasterConfig {
        bwlimit_kb: config.bwlimit_kb,
        fast_checkpoint: true,
        ..MasterConfig::of_data(&config.data)
    };
    let here = Slave::new(&from)?;
    let mut info = start(&from, db, server, LABEL)?;
    info.method = "slave".to_owned();
    info!(start_lsn = %info.start_lsn, "Executed SQL: pg_backup_start");
    let begun = receive::begin(config, lock, &info, false)?;
    let target = here.place(&begun.path);
    failpoint::step("backup.begun");
    let progress = Progress::new("copying", server.bytes);
    let mut copying = Copying::begin(&from, &here, lock, &target, &progress, stop)?;
    copying.data()?;
    info.tablespaces = copying.tablespaces(Some(db))?;
    copying.control_file()?;
    let digests = copying.digests;
    drop(progress);
    failpoint::step("backup.copied");
    let (lsn, timeline) = recovery_point(db)?;
    let (stop_lsn, backup_label, tablespace_map) = finish(db)?;
    info!(%stop_lsn, "Executed SQL: pg_backup_stop");
    if timeline != info.timeline {
        return Err(Error::Refused(format!(
            "the last restart point of the standby is on timeline {}, and it replays timeline {timeline}: back it \
             up after its next one",
            info.timeline
        )));
    }
    let end = lsn.max(stop_lsn);
    // A segment ends with its last byte.
    let last = PgLsn::from(u64::from(end).saturating_sub(1));
    let last = Segment::at(timeline, last, server.segment_size);
    info.stop_wal = Some(last.to_string());
    info.stop_lsn = Some(end.to_string());
    info.min_recovery_lsn = Some(lsn.to_string());
    info.stop_time = Some(now(db)?);
    info.state = State::WaitingWal;
    info!(segment = %info.start_wal, "First useful WAL file");
    let finished = Finished {
        info,
        backup_label,
        tablespace_map,
        digests,
    };
    if !Listing::read(&config.completed_wals)?.has(last) {
        ask_for_a_switch(config, last);
    }
    receive::commit(config, lock, finished, config.wal_timeout, stop)
}

/// Where the standby is consistent, later than any page of it says, and on which timeline.
fn recovery_point(db: &mut Connection) -> Result<(PgLsn, u32), Error> {
    let row = db
        .query_one(
            "select min_recovery_end_lsn, min_recovery_end_timeline from pg_control_recovery()",
            &[],
        )
        .during("ask for the minimum recovery point")?;
    Ok((row.get(0), row.get::<_, i32>(1).cast_unsigned()))
}

/// The last segment comes when it is full. The master ends it earlier, if it can be asked.
fn ask_for_a_switch(config: &SlaveConfig, segment: Segment) {
    let Some(conninfo) = &config.primary_conninfo else {
        info!(%segment, "waiting until the master archives it: with archive_timeout, or when it is full");
        return;
    };
    let ask = || -> Result<(), Error> {
        let mut db = conninfo.open("primary_conninfo")?;
        db.batch_execute("select pg_switch_wal()")
            .during("switch to the next segment")?;
        Ok(())
    };
    if let Err(error) = ask() {
        info!(
            %segment,
            "waiting until the master archives it, as it cannot be asked for it: {}",
            chain(&error)
        );
    }
}
