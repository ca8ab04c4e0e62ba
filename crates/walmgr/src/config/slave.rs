use std::path::{Path, PathBuf};
use std::time::Duration;

use skytools::app::Override;
use skytools::config::{ConfigError, Settings};

use super::receiver;
use super::{
    Config, Conninfo, MasterConfig, ReceiverConfig, RestoreMode, Role, SECTIONS, need_path,
    optional, optional_path,
};
use crate::Error;
use crate::restore::tablespaces::TablespaceMap;
use crate::sets::Keep;

/// What the slave is told.
#[derive(Debug, Clone)]
pub(crate) struct SlaveConfig {
    /// The file itself, absolute: commands of the server name it.
    pub(crate) path: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) bin: Option<PathBuf>,
    pub(crate) start_cmd: Option<String>,
    pub(crate) stop_cmd: Option<String>,
    pub(crate) config_dir: Option<PathBuf>,
    pub(crate) wal_dir: Option<PathBuf>,
    pub(crate) base: PathBuf,
    pub(crate) completed_wals: PathBuf,
    pub(crate) partial_wals: PathBuf,
    pub(crate) full_backup: PathBuf,
    pub(crate) config_backup: Option<PathBuf>,
    /// Whether a restore replaces files of `config_dir` that are there.
    pub(crate) overwrite_config: bool,
    /// Whether there shall be a base backup at any time.
    pub(crate) keeps_backups: bool,
    pub(crate) keep: Keep,
    pub(crate) rotate_first: bool,
    /// Whether a restore keeps the data directory that it replaces.
    pub(crate) keep_old_data: bool,
    pub(crate) archive_command: Option<String>,
    pub(crate) primary_conninfo: Option<Conninfo>,
    pub(crate) primary_slot: Option<String>,
    rewind_conninfo: Option<Conninfo>,
    /// `None`: nobody streams WAL to the slave.
    pub(crate) receiver: Option<ReceiverConfig>,
    pub(crate) restore_mode: RestoreMode,
    pub(crate) tablespace_map: TablespaceMap,
    pub(crate) boot_check_command: Option<String>,
    pub(crate) switchover_stop_command: Option<String>,
    pub(crate) boot_timeout: Duration,
    pub(crate) boot_archive_command: String,
    pub(crate) restore_wait: bool,
    pub(crate) gap_grace: Duration,
    pub(crate) wal_poll_interval: String,
    /// How long a backup of the standby waits for its WAL.
    pub(crate) wal_timeout: Duration,
    pub(crate) bwlimit_kb: u64,
}

impl SlaveConfig {
    /// Checks the keys of the slave.
    ///
    /// # Errors
    /// A key is missing, or its value makes no sense.
    pub(crate) fn new(config: &Config, path: &Path) -> Result<SlaveConfig, Error> {
        // `slave` of SkyTools 2.1, `walmgr_data` of 3.
        let base = match optional(&config.walmgr_data) {
            Some(base) => need_path("walmgr_data", base)?,
            None => need_path("slave", &config.slave)?,
        };
        let full_backup = need_path("full_backup", &config.full_backup)?;
        if full_backup.file_name().is_none() || full_backup.parent().is_none() {
            return Err(Error::Refused(format!(
                "full_backup: '{}' is not the path of a directory below another",
                config.full_backup
            )));
        }
        Ok(SlaveConfig {
            path: std::path::absolute(path).map_err(|error| Error::io("resolve", path, error))?,
            data: need_path("slave_data", &config.slave_data)?,
            bin: optional_path("slave_bin", &config.slave_bin)?,
            start_cmd: optional(&config.slave_start_cmd).map(str::to_owned),
            stop_cmd: optional(&config.slave_stop_cmd).map(str::to_owned),
            config_dir: optional_path("slave_config_dir", &config.slave_config_dir)?,
            wal_dir: optional_path("slave_pg_xlog", &config.slave_pg_xlog)?,
            base,
            completed_wals: need_path("completed_wals", &config.completed_wals)?,
            partial_wals: need_path("partial_wals", &config.partial_wals)?,
            full_backup,
            config_backup: optional_path("config_backup", &config.config_backup)?,
            overwrite_config: false,
            keeps_backups: config.keep_backups > 0 || config.keep_days > 0,
            keep: Keep::new(config.keep_backups, config.min_backups, config.keep_days),
            rotate_first: config.rotate_first,
            keep_old_data: config.backup_datadir,
            archive_command: optional(&config.archive_command).map(str::to_owned),
            primary_conninfo: Conninfo::optional("primary_conninfo", &config.primary_conninfo)?,
            primary_slot: receiver::slot("primary_slot", &config.primary_slot)?,
            rewind_conninfo: Conninfo::optional("rewind_conninfo", &config.rewind_conninfo)?,
            receiver: ReceiverConfig::new(config)?,
            restore_mode: config.restore_mode,
            tablespace_map: config
                .tablespace_map
                .parse()
                .map_err(|error| Error::Refused(format!("tablespace_map: {error}")))?,
            boot_check_command: optional(&config.boot_check_command).map(str::to_owned),
            switchover_stop_command: optional(&config.switchover_stop_command).map(str::to_owned),
            boot_timeout: config.boot_timeout,
            boot_archive_command: config.boot_archive_command.clone(),
            restore_wait: config.restore_wait,
            gap_grace: config.gap_grace,
            wal_poll_interval: config.wal_poll_interval.clone(),
            wal_timeout: config.backup_wal_timeout,
            bwlimit_kb: config.backup_bwlimit,
        })
    }

    /// What a master has of all this that makes a set of its slave's a data directory of its own.
    ///
    /// # Errors
    /// The directory cannot be found.
    pub(crate) fn of_master(
        master: &MasterConfig,
        ini: &Path,
        data: &Path,
    ) -> Result<SlaveConfig, Error> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| Error::io("resolve", path, error))
        };
        Ok(SlaveConfig {
            path: absolute(ini)?,
            data: absolute(data)?,
            bin: master.bin.clone(),
            start_cmd: None,
            stop_cmd: None,
            config_dir: None,
            wal_dir: None,
            // All that is there is on the slave.
            base: PathBuf::new(),
            completed_wals: PathBuf::new(),
            partial_wals: PathBuf::new(),
            full_backup: PathBuf::new(),
            config_backup: None,
            overwrite_config: false,
            keeps_backups: true,
            keep: Keep::new(0, 1, 0),
            rotate_first: false,
            keep_old_data: true,
            archive_command: None,
            primary_conninfo: None,
            primary_slot: None,
            rewind_conninfo: None,
            receiver: None,
            restore_mode: RestoreMode::Copy,
            tablespace_map: TablespaceMap::default(),
            boot_check_command: None,
            switchover_stop_command: None,
            boot_timeout: Duration::ZERO,
            boot_archive_command: super::boot_archive_command(),
            restore_wait: false,
            gap_grace: Duration::ZERO,
            wal_poll_interval: super::wal_poll_interval(),
            wal_timeout: Duration::ZERO,
            bwlimit_kb: 0,
        })
    }

    /// Reads the slave's own file, from the master of a slave on the same host.
    ///
    /// # Errors
    /// The file cannot be used, or is no slave's.
    pub(crate) fn load(path: &Path) -> Result<SlaveConfig, Error> {
        let none: &[Override] = &[];
        let settings = Settings::load(path, SECTIONS, none)?;
        let config: Config = settings.main()?;
        match config.role(&settings)? {
            Role::Slave => SlaveConfig::new(&config, path),
            Role::Master => Err(Error::Refused(format!(
                "slave_config: {} is the configuration of a master",
                path.display()
            ))),
        }
    }

    /// The primary, by a role that may read its files.
    pub(crate) fn rewind(&self) -> Result<&Conninfo, Error> {
        let conninfo = self.rewind_conninfo.as_ref();
        conninfo
            .or(self.primary_conninfo.as_ref())
            .ok_or_else(|| ConfigError::Missing("primary_conninfo".to_owned()).into())
    }

    /// The command that starts the server, for commands that need it.
    pub(crate) fn need_start_cmd(&self) -> Result<&str, Error> {
        match &self.start_cmd {
            Some(command) => Ok(command),
            None => Err(ConfigError::Missing("slave_start_cmd".to_owned()).into()),
        }
    }
}
