//! A server that was the master comes back as a standby of the one that took over.
//!
//! What it committed after the other's timeline had begun is not in the other's history, and is thrown away: it is
//! counted first, and only `--force` does that. Then the data directory is rewound to where the histories part, or
//! replaced by a new base backup where it cannot be. What was interrupted is done again, by a base backup if the
//! directory was being rewound.

mod history;
mod lost;
mod primary;
mod rewind;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use skytools::app::chain;
use skytools::daemon::Stop;
use skytools::{config::ConfigError, failpoint};
use tracing::{info, warn};

use crate::args::Options;
use crate::config::SlaveConfig;
use crate::control::Signal;
use crate::files::with_suffix;
use crate::lock::{self, BackupLock};
use crate::server::standby::{self, Stream};
use crate::server::{Control, DataDir, ServerState};
use crate::{Error, basebackup, durable, files, restore};
use lost::Lost;
use primary::Primary;

/// How long a standby may take to begin with streaming.
const STREAM_PATIENCE: Duration = Duration::from_secs(60);

/// What the command line says.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Wanted {
    /// Configuration with which this host was the master: WAL that its disk does not have any more comes from
    /// that archive
    #[arg(long, value_name = "INI")]
    archive_of: Option<PathBuf>,
    /// Take a new base backup, even if the data directory could be rewound
    #[arg(long)]
    base_backup: bool,
}

/// How the data directory is made one of a standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It has nothing that the primary does not have.
    AsItIs,
    Rewind,
    BaseBackup,
}

/// Makes the old master a standby of the primary that `primary_conninfo` leads to.
///
/// # Errors
/// It is refused, and nothing has changed; or a step fails, and the same command goes on.
pub(crate) fn run(
    config: &SlaveConfig,
    options: &Options,
    wanted: &Wanted,
    stop: &Stop,
) -> Result<(), Error> {
    let start_cmd = config.need_start_cmd()?;
    if config.primary_conninfo.is_none() {
        return Err(ConfigError::Missing("primary_conninfo".to_owned()).into());
    }
    restore::refuse_root("rejoin")?;
    let data = DataDir::new(&config.data, config.bin.as_deref());
    check(config, &data, options)?;
    let _lock = match options.not_really {
        true => {
            lock::refuse_held(&config.completed_wals)?;
            None
        }
        false => Some(BackupLock::need(
            &config.completed_wals,
            "rejoin",
            options.force,
        )?),
    };
    let mut primary = Primary::ask(config)?;
    primary.check(&data, &data.control()?)?;
    if options.force && !options.not_really {
        // What it commits until then is to be told, too.
        restore::stop_server(config, options, stop)?;
    }
    let before = data.control()?;
    let lost = find_lost(config, &data, &before, &primary)?;
    let way = choose(config, &data, &primary, &lost, wanted);
    if way == Way::BaseBackup {
        restore::refuse_immovable(&config.data)?;
    }
    if options.not_really {
        return Ok(skytools::app::output(plan(config, &lost, way, start_cmd))?);
    }
    tell(config, &lost, options)?;
    restore::stop_server(config, options, stop)?;
    failpoint::step("rejoin.stopped");
    let old = match way {
        Way::AsItIs => {
            attach(config)?;
            None
        }
        Way::Rewind => match rewind::run(config, &mut primary, wanted.archive_of.as_deref()) {
            Ok(()) => None,
            Err(error) => {
                warn!("{}", chain(&error));
                warn!("the data directory cannot be rewound: a new base backup takes its place");
                replace(config, stop)?
            }
        },
        Way::BaseBackup => replace(config, stop)?,
    };
    failpoint::step("rejoin.ready");
    for signal in [Signal::Stop, Signal::Pause, Signal::Progress] {
        signal.lower(&config.completed_wals)?;
    }
    restore::make_slot(config);
    restore::start_standby(config, start_cmd, stop)?;
    let timeline = wait_for_stream(config, &primary, stop)?;
    info!(timeline, "the server streams from the primary");
    if let Some(old) = old.filter(|_| !config.keep_old_data) {
        info!(path = %old.display(), "removing the old data directory, as backup_datadir says");
        files::remove_tree(&old).map_err(|error| Error::io("remove", &old, error))?;
    }
    rewind::forget(config)
}

/// What has to be in order before anything is touched.
fn check(config: &SlaveConfig, data: &DataDir, options: &Options) -> Result<(), Error> {
    if !config.completed_wals.join(".walmgr").is_dir() {
        return Err(Error::Refused(format!(
            "{} is no archive: run setup first",
            config.completed_wals.display()
        )));
    }
    let (cluster, programs) = (data.major()?, data.major_of_programs()?);
    if cluster != programs {
        return Err(Error::Refused(format!(
            "{} is of PostgreSQL {cluster}, and the programs of slave_bin are of {programs}",
            data.path.display()
        )));
    }
    restore::check_server(config, options)
}

/// What this server has committed and the primary does not have.
fn find_lost(
    config: &SlaveConfig,
    data: &DataDir,
    control: &Control,
    primary: &Primary,
) -> Result<Lost, Error> {
    if rewind::was_interrupted(config) {
        // It was told before, and what is in the directory is neither the old nor the new state.
        return Ok(Lost::Told);
    }
    match primary.fork(data, control)? {
        Some(parting) => lost::find(data, control, &parting, primary.segment_size),
        None => Ok(Lost::Nothing),
    }
}

fn choose(
    config: &SlaveConfig,
    data: &DataDir,
    primary: &Primary,
    lost: &Lost,
    wanted: &Wanted,
) -> Way {
    if wanted.base_backup || rewind::was_interrupted(config) {
        return Way::BaseBackup;
    }
    if *lost == Lost::Nothing {
        return Way::AsItIs;
    }
    match rewind::obstacle(data, primary) {
        None => Way::Rewind,
        Some(obstacle) => {
            info!("no pg_rewind, but a new base backup: {obstacle}");
            Way::BaseBackup
        }
    }
}

/// For `-n`.
fn plan(config: &SlaveConfig, lost: &Lost, way: Way, start_cmd: &str) -> String {
    let data = config.data.display();
    let way = match way {
        Way::AsItIs => format!("make {data} a standby as it is"),
        Way::Rewind => format!("rewind {data} by pg_rewind"),
        Way::BaseBackup => {
            format!("take a new base backup of the primary, and move {data} aside")
        }
    };
    format!(
        "{}\nwould stop the server if it runs, {way}, and run: {start_cmd}\n",
        lost.describe()
    )
}

/// Says what is lost, and keeps a list of it.
fn tell(config: &SlaveConfig, lost: &Lost, options: &Options) -> Result<(), Error> {
    if !lost.is_something() {
        info!("{}", lost.describe());
        return Ok(());
    }
    if !options.force {
        return Err(Error::Refused(format!(
            "{}; rejoin throws that away. Copy {} first if it is wanted, or use --force",
            lost.describe(),
            config.data.display()
        )));
    }
    warn!("{}: thrown away, as --force says", lost.describe());
    if let Some(list) = lost.list() {
        let path = with_suffix(&config.data, ".lost");
        durable::write(&path, list.as_bytes()).map_err(|error| Error::io("write", &path, error))?;
        warn!(path = %path.display(), "a list of what is thrown away");
    }
    Ok(())
}

/// Makes the directory that of a standby, with the data that it has.
fn attach(config: &SlaveConfig) -> Result<(), Error> {
    // Slots of its time as a master would keep WAL for nobody.
    let slots = config.data.join("pg_replslot");
    files::remove_tree(&slots)
        .and_then(|()| files::create_private_dir(&slots))
        .map_err(|error| Error::io("empty", &slots, error))?;
    restore::make_standby(config)
}

/// Puts a new base backup in the place of the data directory; where that is now.
fn replace(config: &SlaveConfig, stop: &Stop) -> Result<Option<PathBuf>, Error> {
    // Also where a rewind was tried before.
    restore::refuse_immovable(&config.data)?;
    rewind::put_back(config)?;
    let ready = basebackup::take(config, stop)?;
    failpoint::step("rejoin.copied");
    restore::put_in_service(config, &ready)
}

fn wait_for_stream(config: &SlaveConfig, primary: &Primary, stop: &Stop) -> Result<i32, Error> {
    let begun = Instant::now();
    let data = DataDir::new(&config.data, config.bin.as_deref());
    loop {
        if let Some(Stream::Timeline(timeline)) = standby::stream(config)
            && timeline.cast_unsigned() == primary.timeline
        {
            return Ok(timeline);
        }
        let problem = match data.postmaster()? {
            None => "the server has ended again: see its log",
            Some(_) if begun.elapsed() > STREAM_PATIENCE => {
                "the server is a standby, and does not stream yet: see its log"
            }
            Some(_) if stop.sleep(Duration::from_millis(200)) => {
                "the server is a standby, and was not waited for"
            }
            Some(_) => continue,
        };
        return Err(Error::Refused(format!(
            "{}: {problem}",
            config.data.display()
        )));
    }
}

/// Whether a server was a primary when it ended.
fn was_primary(control: &Control) -> bool {
    matches!(
        control.state,
        ServerState::InProduction | ServerState::ShutDown | ServerState::Other
    )
}

/// Path of the history of a timeline in a data directory.
fn history_path(wal: &Path, timeline: u32) -> PathBuf {
    wal.join(crate::names::WalName::History(timeline).to_string())
}
