//! A standby that takes no connections: it is stopped, copied, and started again. The copy has no label, and goes
//! on from the restart point of its control file, as the standby itself does.

use std::time::Duration;

use jiff::Timestamp;
use postgres::types::PgLsn;
use skytools::app::chain;
use skytools::daemon::Stop;
use tracing::{info, warn};

use super::LABEL;
use crate::Error;
use crate::archive::Identity;
use crate::args::Options;
use crate::backup::copy::Copying;
use crate::backup::{Finished, receive};
use crate::config::{MasterConfig, SlaveConfig};
use crate::files;
use crate::lock::{self, BackupLock};
use crate::names::Segment;
use crate::progress::Progress;
use crate::server::{DataDir, ServerState, shell};
use crate::sets::{Info, State, retention};
use crate::slave::Slave;

/// How long a server may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(config: &SlaveConfig, options: &Options, stop: &Stop) -> Result<(), Error> {
    let start_cmd = config.need_start_cmd()?;
    let Some(stop_cmd) = &config.stop_cmd else {
        return Err(skytools::config::ConfigError::Missing("slave_stop_cmd".to_owned()).into());
    };
    let data = DataDir::new(&config.data, config.bin.as_deref());
    if data.control()?.state != ServerState::InRecovery {
        return Err(Error::Refused(format!(
            "the server in {} is no standby that replays WAL",
            data.path.display()
        )));
    }
    if options.not_really {
        lock::refuse_held(&config.completed_wals)?;
        return Ok(skytools::app::output(format!(
            "would take the backup lock, run: {stop_cmd}, copy {}, run: {start_cmd}, and make the copy the newest \
             set\n",
            data.path.display()
        ))?);
    }
    let lock = BackupLock::need(&config.completed_wals, "backup", options.force)?;
    info!(command = stop_cmd, "stopping the standby");
    shell("slave_stop_cmd", stop_cmd)?;
    let copied = match data.wait_for_end(STOP_PATIENCE, stop)? {
        true => copy_stopped(config, &data, &lock.id, stop),
        false => Err(Error::Refused("the standby does not stop".to_owned())),
    };
    // Whatever became of the copy.
    info!(command = start_cmd, "starting the standby");
    if let Err(error) = shell("slave_start_cmd", start_cmd) {
        warn!("see whether the standby runs: {}", chain(&error));
    }
    let name = receive::commit(config, &lock.id, copied?, config.wal_timeout, stop)?;
    drop(lock);
    info!(set = %name, "Backup of the standby successful");
    if let Err(error) = retention::purge(config, None, false) {
        warn!("WAL is not purged: {}", chain(&error));
    }
    Ok(())
}

/// Copies the directory of a server that does not run.
fn copy_stopped(
    config: &SlaveConfig,
    data: &DataDir,
    lock: &str,
    stop: &Stop,
) -> Result<Finished, Error> {
    let control = data.control()?;
    if control.state != ServerState::ShutDownInRecovery {
        return Err(Error::Refused(
            "the standby was not stopped cleanly, so a copy of it would be of no use".to_owned(),
        ));
    }
    let Some(identity) = Identity::read(&config.completed_wals)? else {
        return Err(Error::Refused(
            "the archive belongs to no cluster yet, so the copy would have no WAL".to_owned(),
        ));
    };
    let bytes =
        files::size_of_tree(&data.path).map_err(|error| Error::io("list", &data.path, error))?;
    // The only clock at hand.
    let start_time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let first = control.redo_segment(identity.segment_size).to_string();
    let consistent = data.control_text("Minimum recovery ending location")?;
    let end: PgLsn = consistent.parse().map_err(|_| {
        Error::Refused(format!(
            "pg_controldata says '{consistent}', which is no position"
        ))
    })?;
    // A segment ends with its last byte; what has been replayed up to a restart point needs no more than that.
    let last = PgLsn::from(u64::from(end).saturating_sub(1));
    let last = Segment::at(control.timeline, last, identity.segment_size).to_string();
    let last = last.max(first.clone());
    let info = Info {
        format: 1,
        id: format!(
            "{}-{:016x}",
            start_time.replace(['-', ':'], ""),
            control.system_identifier
        ),
        state: State::Copying,
        label: LABEL.to_owned(),
        method: Info::COLD.to_owned(),
        pg_version: data.major()?.to_string(),
        system_identifier: control.system_identifier.to_string(),
        timeline: control.timeline,
        wal_segment_size: identity.segment_size.bytes(),
        start_lsn: data.control_text("Latest checkpoint's REDO location")?,
        start_wal: first.clone(),
        start_time: start_time.clone(),
        stop_lsn: Some(consistent.clone()),
        stop_wal: Some(last),
        stop_time: Some(start_time),
        min_recovery_lsn: Some(consistent),
        bytes,
        files: 0,
        tablespaces: Vec::new(),
        links: std::collections::BTreeMap::new(),
        keep: false,
        verified_at: None,
        walmgr_version: env!("CARGO_PKG_VERSION").to_owned(),
        more: serde_json::Map::new(),
    };
    let from = MasterConfig {
        bwlimit_kb: config.bwlimit_kb,
        ..MasterConfig::of_data(&config.data)
    };
    let here = Slave::new(&from)?;
    let begun = receive::begin(config, lock, &info, false)?;
    let target = here.place(&begun.path);
    let progress = Progress::new("copying", bytes);
    let mut copying = Copying::begin(&from, &here, lock, &target, &progress, stop)?;
    copying.data()?;
    let tablespaces = copying.tablespaces(None)?;
    copying.control_file()?;
    Ok(Finished {
        info: Info {
            tablespaces,
            state: State::WaitingWal,
            ..info
        },
        backup_label: String::new(),
        tablespace_map: String::new(),
        digests: copying.digests,
    })
}
