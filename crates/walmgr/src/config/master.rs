use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skytools::conninfo::{ConnInfo, parse_connect_string, without_password};
use skytools::shell;

use super::{
    BackupMethod, Config, ConfigMethod, Transport, WalCompression, need, need_path, optional,
    optional_path, place,
};
use crate::Error;
use crate::archive::Form;
use crate::init::locate::Located;
use crate::place::{Place, checked_host};

/// Who copies the files of a base backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copier {
    Rsync,
    /// This program, so many files at once.
    Native {
        jobs: usize,
    },
    /// The server's own program, on the slave.
    BaseBackup,
}

impl Copier {
    /// As `backup_method` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Copier::Rsync => "rsync",
            Copier::Native { .. } => "native",
            Copier::BaseBackup => "basebackup",
        }
    }
}

/// What the master is told.
#[derive(Debug, Clone)]
pub(crate) struct MasterConfig {
    pub(crate) db: Option<ConnInfo>,
    /// The same for the slave, without a password; `None` if it leads nowhere from there.
    pub(crate) db_from_slave: Option<String>,
    pub(crate) data: PathBuf,
    pub(crate) config: Option<PathBuf>,
    pub(crate) bin: Option<PathBuf>,
    pub(crate) restart_cmd: Option<String>,
    pub(crate) config_method: ConfigMethod,
    pub(crate) archive_timeout: Option<String>,
    /// Host of the slave; `None` is this one.
    pub(crate) slave_host: Option<String>,
    pub(crate) slave_config: String,
    pub(crate) full_backup: Place,
    pub(crate) config_backup: Option<Place>,
    pub(crate) use_wal_functions: bool,
    pub(crate) keep_symlinks: bool,
    pub(crate) compress: bool,
    /// How segments are sent, and kept on the slave.
    pub(crate) wal_form: Form,
    pub(crate) ssh_command: Vec<String>,
    pub(crate) ssh_connect_timeout: Duration,
    pub(crate) ssh_keepalive: Duration,
    /// How long a shared connection stays open; `None`: each session has its own.
    pub(crate) ssh_multiplex: Option<Duration>,
    /// Whether ssh tries AES-GCM first, if nobody has chosen its ciphers.
    pub(crate) ssh_prefer_aes: bool,
    /// Where acknowledgements of files are that were sent ahead; `None`: none are.
    pub(crate) spool: Option<PathBuf>,
    pub(crate) remote_walmgr: Option<String>,
    pub(crate) periodic_command: Option<String>,
    pub(crate) command_interval: Duration,
    pub(crate) fast_checkpoint: bool,
    pub(crate) copier: Copier,
    pub(crate) wal_timeout: Duration,
    pub(crate) bwlimit_kb: u64,
}

impl MasterConfig {
    /// A server of which nothing is said but where its data is, on the same host as its slave.
    pub(crate) fn of_data(data: &Path) -> MasterConfig {
        MasterConfig {
            db: None,
            db_from_slave: None,
            data: data.to_owned(),
            config: None,
            bin: None,
            restart_cmd: None,
            config_method: ConfigMethod::Edit,
            archive_timeout: None,
            slave_host: None,
            slave_config: String::new(),
            full_backup: Place::default(),
            config_backup: None,
            use_wal_functions: false,
            keep_symlinks: false,
            compress: false,
            wal_form: Form::Plain,
            ssh_command: vec!["ssh".to_owned()],
            ssh_connect_timeout: Duration::ZERO,
            ssh_keepalive: Duration::ZERO,
            ssh_multiplex: None,
            ssh_prefer_aes: false,
            spool: None,
            remote_walmgr: None,
            periodic_command: None,
            command_interval: Duration::ZERO,
            fast_checkpoint: true,
            copier: Copier::Rsync,
            wal_timeout: Duration::ZERO,
            bwlimit_kb: 0,
        }
    }

    /// A server that was found, and has no configuration.
    ///
    /// # Errors
    /// It says nothing of how it is reached.
    pub(crate) fn of_server(located: Located) -> Result<MasterConfig, Error> {
        let db = located.db();
        Ok(MasterConfig {
            db: Some(
                db.parse()
                    .map_err(|error| Error::Refused(format!("{db}: {error}")))?,
            ),
            config: Some(located.config),
            bin: located.bin,
            ..MasterConfig::of_data(&located.data)
        })
    }

    /// Checks the keys of the master.
    ///
    /// # Errors
    /// A key is missing, or its value makes no sense.
    pub(crate) fn new(config: &Config) -> Result<MasterConfig, Error> {
        if config.transport == Transport::Rsync {
            return Err(Error::Refused(
                "transport: WAL does not go by rsync, which would replace a file of the archive by another one of \
                 its name: remove the key, or set it to ssh"
                    .to_owned(),
            ));
        }
        let slave_host = slave_host(config)?;
        let there = |key: &str, value: &str| -> Result<Place, Error> {
            let mut place = place(key, value)?;
            // The sample of SkyTools 3 forgets the host.
            if place.host.is_none() {
                place.host.clone_from(&slave_host);
            }
            if place.host != slave_host {
                return Err(Error::Refused(format!(
                    "{key}: '{value}' is on another host than slave = {}",
                    config.slave
                )));
            }
            Ok(place)
        };
        // Where they are is for the slave to say; what is written here has to make sense all the same.
        there("completed_wals", &config.completed_wals)?;
        there("partial_wals", &config.partial_wals)?;
        let config_backup = match optional(&config.config_backup) {
            Some(value) => Some(there("config_backup", value)?),
            None => None,
        };
        let ssh_command = shell::split(&config.ssh_command).filter(|words| !words.is_empty());
        let db = match optional(&config.master_db) {
            Some(text) => Some(
                text.parse::<ConnInfo>()
                    .map_err(|error| Error::Refused(format!("master_db: {error}")))?,
            ),
            None => None,
        };
        Ok(MasterConfig {
            db,
            db_from_slave: from_slave(&config.master_db, slave_host.is_none())?,
            data: need_path("master_data", &config.master_data)?,
            config: optional_path("master_config", &config.master_config)?,
            bin: optional_path("master_bin", &config.master_bin)?,
            restart_cmd: optional(&config.master_restart_cmd).map(str::to_owned),
            config_method: config.config_method,
            archive_timeout: optional(&config.archive_timeout).map(str::to_owned),
            slave_config: need("slave_config", &config.slave_config)?.to_owned(),
            full_backup: there("full_backup", &config.full_backup)?,
            config_backup,
            use_wal_functions: config.use_xlog_functions,
            keep_symlinks: config.keep_symlinks,
            compress: config.compression > 0,
            wal_form: match config.wal_compression {
                WalCompression::None => Form::Plain,
                WalCompression::Lz4 => Form::Lz4,
                WalCompression::Zstd => Form::Zstd,
            },
            ssh_command: ssh_command.ok_or_else(|| {
                Error::Refused(format!(
                    "ssh_command: '{}' is no command line",
                    config.ssh_command
                ))
            })?,
            ssh_connect_timeout: config.ssh_connect_timeout,
            ssh_keepalive: config.ssh_keepalive,
            ssh_multiplex: config.ssh_multiplex.then_some(config.ssh_persist),
            ssh_prefer_aes: config.ssh_prefer_aes,
            spool: spool(config)?,
            remote_walmgr: optional(&config.remote_walmgr).map(str::to_owned),
            periodic_command: optional(&config.periodic_command).map(str::to_owned),
            command_interval: config.command_interval,
            fast_checkpoint: config.backup_fast_checkpoint,
            copier: copier(config)?,
            wal_timeout: config.backup_wal_timeout,
            bwlimit_kb: config.backup_bwlimit,
            slave_host,
        })
    }

    /// Path of `postgresql.conf`, for commands that need it.
    pub(crate) fn need_config(&self) -> Result<&PathBuf, Error> {
        match &self.config {
            Some(path) => Ok(path),
            None => Err(skytools::config::ConfigError::Missing("master_config".to_owned()).into()),
        }
    }

    /// Connect string of the master, for commands that need it.
    pub(crate) fn need_db(&self) -> Result<&ConnInfo, Error> {
        match &self.db {
            Some(db) => Ok(db),
            None => Err(skytools::config::ConfigError::Missing("master_db".to_owned()).into()),
        }
    }
}

/// Files are sent ahead if there is a place to note it, and more than one at a time is asked for.
fn spool(config: &Config) -> Result<Option<PathBuf>, Error> {
    let spool = optional_path("archive_spool", &config.archive_spool)?;
    if config.archive_jobs > 1 && spool.is_none() {
        return Err(Error::Refused(
            "archive_jobs: more than one needs archive_spool, a directory of its own".to_owned(),
        ));
    }
    Ok(spool.filter(|_| config.archive_jobs > 1))
}

/// The server's own program takes not every rate.
fn copier(config: &Config) -> Result<Copier, Error> {
    match config.backup_method {
        BackupMethod::Rsync => Ok(Copier::Rsync),
        BackupMethod::Native => Ok(Copier::Native {
            jobs: config.backup_jobs.max(1),
        }),
        BackupMethod::Basebackup if (1..32).contains(&config.backup_bwlimit) => {
            Err(Error::Refused(
                "backup_bwlimit: with backup_method = basebackup it is at least 32, or 0"
                    .to_owned(),
            ))
        }
        BackupMethod::Basebackup => Ok(Copier::BaseBackup),
    }
}

/// What the slave can reach the master by, of what the master reaches itself by.
fn from_slave(master_db: &str, is_here: bool) -> Result<Option<String>, Error> {
    let wrong = |error| Error::Refused(format!("master_db: {error}"));
    let (public, _) = without_password(master_db).map_err(wrong)?;
    let settings = parse_connect_string(&public).map_err(wrong)?;
    let value = |key: &str| {
        let mut found = settings.iter().filter(|(name, _)| name == key);
        found.next_back().map(|(_, value)| value.as_str())
    };
    let is_near = |host: &str| {
        let is_loopback = host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        host.is_empty() || host.starts_with(['/', '@']) || host == "localhost" || is_loopback
    };
    let hosts = value("hostaddr").or(value("host")).unwrap_or_default();
    let leads_there = is_here || !hosts.split(',').any(is_near);
    Ok(leads_there.then_some(public))
}

/// `HOST:/base/dir` as in SkyTools 2.1, or `HOST` alone as in 3; a path alone is on this host.
fn slave_host(config: &Config) -> Result<Option<String>, Error> {
    let slave = need("slave", &config.slave)?;
    let wrong = |error| Error::Refused(format!("slave: {error}"));
    if slave.contains(['/', '~']) || (slave.contains(':') && !slave.starts_with('[')) {
        return Ok(Place::parse(slave).map_err(wrong)?.host);
    }
    checked_host(slave).map(Some).map_err(wrong)
}
