//! Putting a set into service on the slave.
//!
//! The set is made ready in a directory beside the data directory, and takes its place in one step. What was
//! there before is moved aside, and is still whole after any interruption.

mod aside;
pub(crate) mod create;
pub(crate) mod from_slave;
mod limits;
mod movable;
mod prepare;
mod replay;
mod settings;
mod source;
pub(crate) mod tablespaces;
mod target;
mod wanted;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use skytools::app::chain;
use skytools::daemon::Stop;
use skytools::failpoint;
use tracing::{info, warn};

use crate::Error;
use crate::args::Options;
use crate::config::SlaveConfig;
use crate::control::Signal;
use crate::files::with_suffix;
use crate::lock::{self, BackupLock};
use crate::server::{DataDir, ServerState, shell};
use crate::sets::Sets;
use crate::{durable, files, receiver};
pub(crate) use movable::refuse_immovable;
use replay::Replay;
use source::{Source, unfinished};
use target::Action;
pub(crate) use target::PointInTime;
pub(crate) use wanted::Wanted;

/// How long a server may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// How long a server may take to begin with recovery.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// What a data directory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The slave's own server: what it needs no more may go.
    Standby,
    /// One beside it, which may stay behind for long.
    Aside,
}

/// Restores a set: the named one, or the newest.
///
/// # Errors
/// What was there before is where it was, or beside it; the message says where.
pub(crate) fn run(
    config: &SlaveConfig,
    options: &Options,
    wanted: &Wanted,
    stop: &Stop,
) -> Result<(), Error> {
    wanted.check()?;
    if let Some(target) = wanted.destination() {
        return aside::run(config, options, wanted, target);
    }
    let point = &wanted.point;
    let start_cmd = config.need_start_cmd()?;
    refuse_root("restore")?;
    // No backup may give the sets other names, or delete one, while it is copied.
    let _lock = take_lock(config, "restore", options)?;
    let sets = Sets::new(config);
    let source = Source::choose(config, &sets, wanted)?;
    check(config, &source, options)?;
    check_server(config, options)?;
    refuse_immovable(&config.data)?;
    source.refuse_damaged(wanted, options)?;
    if options.not_really {
        let text = source.plan(config, start_cmd);
        return Ok(skytools::app::output(text)?);
    }
    stop_server(config, options, stop)?;
    failpoint::step("restore.stopped");
    let old = match source.has_arrived() {
        true => None,
        false => put_in_place(config, &source, point)?,
    };
    failpoint::step("restore.exchanged");
    for signal in [Signal::Stop, Signal::Pause, Signal::Progress] {
        signal.lower(&config.completed_wals)?;
    }
    if !point.is_wanted() {
        make_slot(config);
    }
    start(config, start_cmd, point, stop)?;
    settle(config, old)
}

/// The files of a server are its user's.
pub(crate) fn refuse_root(command: &str) -> Result<(), Error> {
    match rustix::process::geteuid().is_root() {
        true => Err(Error::Refused(format!(
            "{command} as the user of the server, and not as root: it would own the files"
        ))),
        false => Ok(()),
    }
}

/// The backup lock; for a look, only whether it could be had.
fn take_lock(
    config: &SlaveConfig,
    command: &str,
    options: &Options,
) -> Result<Option<BackupLock>, Error> {
    let archive = &config.completed_wals;
    match options.not_really {
        true => lock::refuse_held(archive).map(|()| None),
        false => BackupLock::need(archive, command, options.force).map(Some),
    }
}

/// What is left to be done when the new server is alive.
fn settle(config: &SlaveConfig, old: Option<PathBuf>) -> Result<(), Error> {
    let unfinished = unfinished(&config.data);
    durable::remove(&unfinished).map_err(|error| Error::io("remove", &unfinished, error))?;
    match old {
        Some(old) if !config.keep_old_data => {
            info!(path = %old.display(), "removing the old data directory, as backup_datadir says");
            files::remove_tree(&old).map_err(|error| Error::io("remove", &old, error))
        }
        _ => Ok(()),
    }
}

/// Makes the slot that a standby streams from. Without one it follows the archive alone.
pub(crate) fn make_slot(config: &SlaveConfig) {
    if let (Some(conninfo), Some(slot)) = (&config.primary_conninfo, &config.primary_slot)
        && let Err(error) = receiver::create_slot(config, conninfo, slot)
    {
        warn!(
            slot,
            "the standby does not stream until the primary has its slot: {}",
            chain(&error)
        );
    }
}

/// Makes a data directory of the set, and puts it in the place of the old one; where that is now.
fn put_in_place(
    config: &SlaveConfig,
    source: &Source,
    point: &PointInTime,
) -> Result<Option<PathBuf>, Error> {
    // Copying takes its time, and leaves what is in place alone.
    let ready = source.make_ready(config)?;
    failpoint::step("restore.ready");
    install(config, &ready, point, Purpose::Standby)
}

/// Makes a copy a standby, or what recovers up to a point, and puts it in the place of the data directory; where
/// that is now.
fn install(
    config: &SlaveConfig,
    ready: &Path,
    point: &PointInTime,
    purpose: Purpose,
) -> Result<Option<PathBuf>, Error> {
    tablespaces::place(ready, config)?;
    if purpose == Purpose::Standby {
        prepare::links(ready, config.wal_dir.is_some())?;
    }
    prepare::directories(ready, config.wal_dir.as_deref())?;
    prepare::clean(ready)?;
    settings::write(ready, config, point, purpose)?;
    prepare::config_files(ready, config)?;
    let unfinished = unfinished(ready);
    durable::write(&unfinished, b"").map_err(|error| Error::io("write", &unfinished, error))?;
    durable::sync_filesystem(ready).map_err(|error| Error::io("sync", ready, error))?;
    failpoint::step("restore.prepared");
    let old = exchange(ready, &config.data)?;
    if let Some(old) = &old {
        info!(path = %old.display(), "the old data directory is kept");
    }
    Ok(old)
}

/// Makes a data directory that was made ready by other means that of this slave's standby; where the old one is
/// now.
pub(crate) fn put_in_service(config: &SlaveConfig, ready: &Path) -> Result<Option<PathBuf>, Error> {
    tablespaces::place(ready, config)?;
    if let Some(wal) = &config.wal_dir {
        // It begins with the WAL that came with the copy.
        warn!(path = %wal.display(), "pg_wal stays in the data directory, and slave_pg_xlog is not used");
    }
    prepare::directories(ready, None)?;
    prepare::clean(ready)?;
    settings::write(ready, config, &PointInTime::none(), Purpose::Standby)?;
    prepare::config_files(ready, config)?;
    durable::sync_filesystem(ready).map_err(|error| Error::io("sync", ready, error))?;
    let old = exchange(ready, &config.data)?;
    if let Some(old) = &old {
        info!(path = %old.display(), "the old data directory is kept");
    }
    Ok(old)
}

/// Makes the data directory that of a standby as it is.
pub(crate) fn make_standby(config: &SlaveConfig) -> Result<(), Error> {
    prepare::clean(&config.data)?;
    settings::write(&config.data, config, &PointInTime::none(), Purpose::Standby)?;
    durable::sync_filesystem(&config.data).map_err(|error| Error::io("sync", &config.data, error))
}

/// What has to be in order of a set before anything is touched.
fn check(config: &SlaveConfig, source: &Source, options: &Options) -> Result<(), Error> {
    let data = DataDir::new(source.path(), config.bin.as_deref());
    let (set, programs) = (data.major()?, data.major_of_programs()?);
    if set != programs {
        return Err(Error::Refused(format!(
            "{} is of PostgreSQL {set}, and the programs of slave_bin are of {programs}",
            source.path().display()
        )));
    }
    let listing = receiver::all_wal(config)?;
    if let Some(problem) = source.missing_wal(&listing)? {
        match options.force {
            true => warn!("{problem}"),
            false => {
                return Err(Error::Refused(format!(
                    "{problem}; --force restores it all the same, as far as the WAL goes"
                )));
            }
        }
    }
    if !options.force {
        source.refuse_too_large(config)?;
    }
    if let Some(wal) = &config.wal_dir
        && !source.has_arrived()
        && !options.force
    {
        prepare::refuse_used(wal)?;
    }
    if !source.has_arrived() && !options.force {
        config.tablespace_map.refuse_used(source.path())?;
    }
    Ok(())
}

/// Refuses to replace a server that may be wanted, or that cannot be stopped.
pub(crate) fn check_server(config: &SlaveConfig, options: &Options) -> Result<(), Error> {
    let data = DataDir::new(&config.data, config.bin.as_deref());
    let Some(pid) = data.postmaster()? else {
        return Ok(());
    };
    // A primary has what no set has. It may even be the live master, by a mistake in the configuration.
    let is_primary = data
        .control()
        .is_ok_and(|control| control.state == ServerState::InProduction);
    if is_primary && !options.force {
        return Err(Error::Refused(format!(
            "the server in {} (pid {pid}) is a primary and not a standby: stop it yourself if it is the one to \
             be replaced, or use --force",
            config.data.display()
        )));
    }
    match config.stop_cmd {
        Some(_) => Ok(()),
        None => Err(Error::Refused(format!(
            "the server in {} runs (pid {pid}), and there is no slave_stop_cmd: stop it first",
            config.data.display()
        ))),
    }
}

/// Stops the server of the data directory, if it runs.
pub(crate) fn stop_server(
    config: &SlaveConfig,
    options: &Options,
    stop: &Stop,
) -> Result<(), Error> {
    let data = DataDir::new(&config.data, config.bin.as_deref());
    let Some(pid) = data.postmaster()? else {
        return Ok(());
    };
    let Some(command) = &config.stop_cmd else {
        return Err(Error::Refused(format!(
            "the server in {} has been started (pid {pid})",
            config.data.display()
        )));
    };
    info!(command, force = options.force, "stopping the server");
    if let Err(error) = shell("slave_stop_cmd", command) {
        warn!("{}", chain(&error));
    }
    match data.wait_for_end(STOP_PATIENCE, stop)? {
        true => Ok(()),
        false => Err(Error::Refused(format!(
            "the server in {} still runs (pid {pid}): stop it, and restore again",
            config.data.display()
        ))),
    }
}

/// Puts the new directory in the place of the old one; where the old one is now.
fn exchange(ready: &Path, data: &Path) -> Result<Option<PathBuf>, Error> {
    let renamed = |from: &Path, to: &Path| {
        fs::rename(from, to).map_err(|error| Error::io("rename", from, error))
    };
    let old = match fs::symlink_metadata(data) {
        Err(_) => None,
        // Nothing is lost with it, and `initdb` or a package may have made it.
        Ok(_) if fs::remove_dir(data).is_ok() => None,
        Ok(_) => {
            let free = (0..).map(|number| with_suffix(data, &format!(".{number}")));
            let old = free
                .into_iter()
                .find(|path| fs::symlink_metadata(path).is_err())
                .unwrap_or_else(|| with_suffix(data, ".old"));
            renamed(data, &old)?;
            Some(old)
        }
    };
    failpoint::step("restore.moved");
    if let Err(error) = renamed(ready, data) {
        if let Some(old) = &old {
            renamed(old, data)?;
        }
        return Err(error);
    }
    let parent = data.parent().unwrap_or(Path::new("/"));
    durable::sync_dir(parent).map_err(|error| Error::io("sync", parent, error))?;
    Ok(old)
}

/// Where WAL ends, for a server that has perhaps not reached its target.
fn unreached(config: &SlaveConfig, point: &PointInTime) -> String {
    let last = receiver::all_wal(config).map(|listing| listing.segments().max());
    match last {
        Ok(Some(last)) if point.is_wanted() => {
            format!(". It ends, too, if the target is not in the WAL that is here, up to {last}")
        }
        _ => String::new(),
    }
}

/// Starts a standby and waits until it recovers.
pub(crate) fn start_standby(config: &SlaveConfig, command: &str, stop: &Stop) -> Result<(), Error> {
    start(config, command, &PointInTime::none(), stop)
}

/// Starts the server and waits until it recovers. What the command says of it is not enough: it may give up
/// waiting while all is well.
fn start(
    config: &SlaveConfig,
    command: &str,
    point: &PointInTime,
    stop: &Stop,
) -> Result<(), Error> {
    limits::warn_if_low(config);
    let replay = Replay::of(config)?;
    info!(command, "starting the server");
    let start = || shell("slave_start_cmd", command);
    let said = match &replay {
        Some(replay) => replay.watch(start),
        None => start(),
    };
    if let Err(error) = &said {
        warn!("{}", chain(error));
    }
    let data = DataDir::new(&config.data, config.bin.as_deref());
    let begun = Instant::now();
    loop {
        let state = data.control()?.state;
        let is_done = match point.is_wanted().then(|| point.action()) {
            Some(Action::Promote) => state == ServerState::InProduction,
            Some(Action::Shutdown) => state == ServerState::ShutDownInRecovery,
            _ => false,
        };
        if is_done {
            info!("the server has reached the target");
            return Ok(());
        }
        if data.postmaster()?.is_some() {
            if state == ServerState::InRecovery {
                match &replay {
                    Some(replay) => replay.tell(),
                    None => info!("the server is alive and replays WAL"),
                }
                return Ok(());
            }
        } else if begun.elapsed() > Duration::from_secs(5) || said.is_err() {
            return Err(Error::Refused(format!(
                "the server in {} has not started, or has ended again: see its log{}",
                config.data.display(),
                unreached(config, point)
            )));
        }
        if begun.elapsed() > START_PATIENCE || stop.sleep(Duration::from_millis(100)) {
            return Err(Error::Refused(format!(
                "the server in {} does not say that it recovers: see its log",
                config.data.display()
            )));
        }
    }
}
