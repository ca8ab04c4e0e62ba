//! The keys of both roles, in both dialects, and which of the two a file is for.

mod master;
mod receiver;
mod slave;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use skytools::app::expand_home;
use skytools::config::{self, ConfigError, Settings};

pub(crate) use master::{Copier, MasterConfig};
pub(crate) use receiver::{Conninfo, ReceiverConfig};
pub(crate) use slave::SlaveConfig;

use crate::Error;
use crate::place::Place;

/// Sections that are accepted, best first.
pub(crate) const SECTIONS: &[&str] = &["wal-master", "wal-slave", "walmgr"];

/// Which side a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Master,
    Slave,
}

/// How the server's settings are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConfigMethod {
    /// In the text of `master_config`.
    #[default]
    Edit,
    /// In a file of our own, which that one includes.
    Include,
    /// By `ALTER SYSTEM`.
    AlterSystem,
}

/// What a restore without the name of a set does with the newest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RestoreMode {
    /// Puts it into service: fast, and it is no backup any more.
    #[default]
    Move,
    /// Keeps it.
    Copy,
}

/// How archived WAL is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WalCompression {
    #[default]
    None,
    /// Fast.
    Lz4,
    /// Small.
    Zstd,
}

/// Who streams WAL to the slave, beside what is archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WalReceiver {
    /// Nobody.
    #[default]
    None,
    /// The server's own program, under `syncdaemon` on the slave.
    PgReceivewal,
}

/// How files of a base backup are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BackupMethod {
    #[default]
    Rsync,
    /// By this program.
    Native,
    /// By the server's own program, which the slave runs.
    Basebackup,
}

/// How WAL gets to the slave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// By this program at both ends.
    #[default]
    Ssh,
    /// As SkyTools did; refused.
    Rsync,
}

/// Keys of a section, as written; a key that is empty counts as not set.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Which side `[walmgr]` is for, when keys of both are there.
    role: Option<Role>,

    /// Connect string of the master.
    #[serde(default)]
    master_db: String,
    #[serde(default)]
    master_data: String,
    /// Path of `postgresql.conf`.
    #[serde(default)]
    master_config: String,
    #[serde(default)]
    master_bin: String,
    /// Empty: the server is only told to reload.
    #[serde(default)]
    master_restart_cmd: String,
    /// Path of the slave's configuration, there.
    #[serde(default)]
    slave_config: String,
    #[serde(default, alias = "use_wal_functions")]
    use_xlog_functions: bool,
    #[serde(default)]
    compression: u32,
    /// Whether linked directories of WAL and of logs are links on the slave, too.
    #[serde(default = "yes")]
    keep_symlinks: bool,
    /// Chose a `wal_level` before PostgreSQL 10.
    #[serde(default, rename = "hot_standby")]
    _hot_standby: bool,
    #[serde(default)]
    periodic_command: String,
    /// Seconds between two runs.
    #[serde(default, with = "config::seconds")]
    command_interval: Duration,
    #[serde(default)]
    config_method: ConfigMethod,
    /// What `setup` sets the server's `archive_timeout` to, as the server takes it.
    #[serde(default)]
    archive_timeout: String,
    #[serde(default)]
    transport: Transport,
    #[serde(default)]
    wal_compression: WalCompression,
    #[serde(default)]
    backup_method: BackupMethod,
    /// Files that are copied at once, where this program copies them.
    #[serde(default = "two")]
    backup_jobs: usize,
    #[serde(default = "ssh")]
    ssh_command: String,
    #[serde(default)]
    remote_walmgr: String,
    #[serde(default = "ten_seconds", with = "config::seconds")]
    ssh_connect_timeout: Duration,
    #[serde(default = "fifteen_seconds", with = "config::seconds")]
    ssh_keepalive: Duration,
    /// Whether sessions of ssh share a connection.
    #[serde(default)]
    ssh_multiplex: bool,
    /// Seconds that it stays open when nobody uses it.
    #[serde(default = "a_minute", with = "config::seconds")]
    ssh_persist: Duration,
    /// Whether ssh tries AES-GCM first, if nobody has chosen its ciphers.
    #[serde(default = "yes")]
    ssh_prefer_aes: bool,
    /// More than one: files that wait are sent along with the one that the server asks for.
    #[serde(default = "one")]
    archive_jobs: usize,
    /// Where it is noted which of them have arrived.
    #[serde(default)]
    archive_spool: String,
    #[serde(default = "yes")]
    backup_fast_checkpoint: bool,
    /// How long a backup waits for its WAL on the slave, in seconds.
    #[serde(default = "an_hour", with = "config::seconds")]
    backup_wal_timeout: Duration,
    /// Kilobytes a second; 0: as fast as it goes.
    #[serde(default)]
    backup_bwlimit: u64,

    /// The slave's host and base directory for the master, the directory alone for the slave.
    #[serde(default)]
    slave: String,
    #[serde(default)]
    walmgr_data: String,
    #[serde(default)]
    completed_wals: String,
    #[serde(default)]
    partial_wals: String,
    #[serde(default)]
    full_backup: String,
    #[serde(default)]
    config_backup: String,

    #[serde(default)]
    slave_data: String,
    #[serde(default)]
    slave_bin: String,
    #[serde(default)]
    slave_start_cmd: String,
    #[serde(default)]
    slave_stop_cmd: String,
    #[serde(default)]
    slave_config_dir: String,
    #[serde(default, alias = "slave_pg_wal")]
    slave_pg_xlog: String,
    #[serde(default)]
    keep_backups: usize,
    #[serde(default = "one")]
    min_backups: usize,
    /// Days to any moment of which a restore has to be possible; 0: the number alone counts.
    #[serde(default)]
    keep_days: u32,
    /// Old sets go before the new one comes, and not after.
    #[serde(default)]
    rotate_first: bool,
    #[serde(default = "yes")]
    backup_datadir: bool,
    /// Run before a set is deleted; not the server's setting of that name.
    #[serde(default)]
    archive_command: String,
    #[serde(default)]
    primary_conninfo: String,
    #[serde(default)]
    primary_slot: String,
    /// `primary_conninfo` with a role that `pg_rewind` may use; empty: the same.
    #[serde(default)]
    rewind_conninfo: String,
    #[serde(default)]
    wal_receiver: WalReceiver,
    /// Where streamed WAL is put: a directory of its own.
    #[serde(default)]
    stream_wals: String,
    /// The receiver's replication slot.
    #[serde(default)]
    wal_slot: String,
    /// Where WAL is streamed from; empty: as `primary_conninfo` says.
    #[serde(default)]
    wal_conninfo: String,
    #[serde(default)]
    restore_mode: RestoreMode,
    /// `OID=DIR, OID=DIR`: where tablespaces go that shall not be below the data directory.
    #[serde(default)]
    tablespace_map: String,
    /// Has to succeed before `boot`: makes sure that the master stays gone.
    #[serde(default)]
    boot_check_command: String,
    /// Stops the master in good order, and sends the last of its WAL if that is not streamed.
    #[serde(default)]
    switchover_stop_command: String,
    /// Seconds that `boot` waits for the end of recovery.
    #[serde(default = "a_minute", with = "config::seconds")]
    boot_timeout: Duration,
    #[serde(default = "boot_archive_command")]
    boot_archive_command: String,
    #[serde(default)]
    restore_wait: bool,
    /// Seconds to wait for a segment that others have overtaken.
    #[serde(default = "five_seconds", with = "config::seconds")]
    gap_grace: Duration,
    #[serde(default = "wal_poll_interval")]
    wal_poll_interval: String,
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn two() -> usize {
    2
}

fn ssh() -> String {
    "ssh".to_owned()
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn fifteen_seconds() -> Duration {
    Duration::from_secs(15)
}

fn a_minute() -> Duration {
    Duration::from_secs(60)
}

fn an_hour() -> Duration {
    Duration::from_secs(3600)
}

fn boot_archive_command() -> String {
    "/bin/true".to_owned()
}

fn wal_poll_interval() -> String {
    "5s".to_owned()
}

impl Config {
    /// Which side the file is for.
    ///
    /// # Errors
    /// `[walmgr]` has the data directory of both or of none, and does not say `role`.
    pub(crate) fn role(&self, settings: &Settings) -> Result<Role, Error> {
        match settings.main_section().name() {
            "wal-master" => return Ok(Role::Master),
            "wal-slave" => return Ok(Role::Slave),
            _ => {}
        }
        match (
            self.role,
            self.master_data.is_empty(),
            self.slave_data.is_empty(),
        ) {
            (Some(role), ..) => Ok(role),
            (None, false, true) => Ok(Role::Master),
            (None, true, false) => Ok(Role::Slave),
            (None, false, false) => Err(Error::Refused(
                "ambiguous role: both master_data and slave_data are set; say role = master or \
                 role = slave"
                    .to_owned(),
            )),
            (None, true, true) => Err(Error::Refused(
                "no role: neither master_data nor slave_data is set".to_owned(),
            )),
        }
    }
}

/// A value that has to be there.
fn need<'a>(key: &str, value: &'a str) -> Result<&'a str, Error> {
    match optional(value) {
        Some(value) => Ok(value),
        None => Err(ConfigError::Missing(key.to_owned()).into()),
    }
}

fn optional(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}

/// A path on this host that has to be there.
fn need_path(key: &str, value: &str) -> Result<PathBuf, Error> {
    let path = expand_home(need(key, value)?);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(Error::Refused(format!(
            "{key}: '{value}' is not an absolute path: commands of the server start in its data \
             directory"
        ))),
    }
}

fn optional_path(key: &str, value: &str) -> Result<Option<PathBuf>, Error> {
    match value {
        "" => Ok(None),
        value => need_path(key, value).map(Some),
    }
}

fn place(key: &str, value: &str) -> Result<Place, Error> {
    Place::parse(need(key, value)?).map_err(|error| Error::Refused(format!("{key}: {error}")))
}
