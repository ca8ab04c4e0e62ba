//! `cleanup`: what this program has made on a host goes, after it has been shown.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::{Node, Work};
use crate::archive::{Archive, Listing};
use crate::config::{Conninfo, MasterConfig, SlaveConfig};
use crate::init::{self, keys, password};
use crate::lock::BackupLock;
use crate::names::WalName;
use crate::server::DataDir;
use crate::server::change::Change;
use crate::sets::Sets;
use crate::{Error, durable, files, lock};

/// An archive that got a segment since then is in use.
const IN_USE: Duration = Duration::from_secs(24 * 3600);

pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let ini = std::path::absolute(work.job.settings.path())
        .map_err(|error| Error::io("resolve", work.job.settings.path(), error))?;
    let (reason, mut going) = match &work.node {
        Node::Master(config) => (master_in_use(config, &ini)?, of_master(config)?),
        Node::Slave(config) => (slave_in_use(config)?, of_slave(config)?),
    };
    if let Some(reason) = reason {
        match work.options.force {
            true => warn!("{reason}"),
            false => {
                return Err(Error::Refused(format!(
                    "{reason}; --force cleans up all the same"
                )));
            }
        }
    }
    // Last, so that what was interrupted can be run again.
    going.push(ini);
    let list: String = going
        .iter()
        .map(|path| format!("{}\n", path.display()))
        .collect();
    if work.options.not_really {
        skytools::app::output(format!("would remove:\n{list}"))?;
    } else if !work.options.yes && !is_confirmed(&list)? {
        return Err(Error::Refused("nothing is removed".to_owned()));
    }
    remove_access(work)?;
    if work.options.not_really {
        return Ok(());
    }
    let _lock = match &work.node {
        Node::Slave(config) if config.completed_wals.is_dir() && !work.options.force => {
            Some(BackupLock::need(&config.completed_wals, "cleanup", false)?)
        }
        _ => None,
    };
    if let Node::Master(config) = &work.node
        && config.config.is_some()
    {
        let change = Change::begin(config)?;
        // Before the file goes: a server may not start without one that it is to read.
        if going.contains(&change.path) {
            change.stop_including()?;
        }
    }
    for path in &going {
        let removed = match path.is_dir() && !path.is_symlink() {
            true => files::remove_tree(path),
            false => durable::remove(path).map(|_| ()),
        };
        removed.map_err(|error| Error::io("remove", path, error))?;
        info!(path = %path.display(), "removed");
    }
    if let Node::Slave(config) = &work.node
        && let Err(error) = fs::remove_dir(&config.base)
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!(path = %config.base.display(), "stays, since there is something of somebody else in it");
    }
    Ok(())
}

/// Keys and passwords, as far as that is asked for.
fn remove_access(work: &Work<'_>) -> Result<(), Error> {
    let dry_run = work.options.not_really;
    if let Some(text) = &work.first.ssh_remove_key {
        keys::remove(&init::home()?, text, dry_run)?;
    }
    if work.first.remove_password {
        let configured = match &work.node {
            Node::Slave(config) => config.primary_conninfo.as_ref().map(Conninfo::text),
            Node::Master(_) => None,
        };
        let conninfo = work.first.primary_conninfo.as_deref().or(configured);
        password::remove(&init::home()?, conninfo, dry_run)?;
    }
    Ok(())
}

/// Shows what goes, and asks. No answer is none.
fn is_confirmed(list: &str) -> Result<bool, Error> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{list}Remove all of this, for good? (yes/no) ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// Why the master still needs this, if it does.
fn master_in_use(config: &MasterConfig, ini: &Path) -> Result<Option<String>, Error> {
    let command = match config.config {
        Some(_) => Change::begin(config)?.current("archive_command"),
        None => None,
    };
    let is_ours = |command: &String| {
        command.contains("xarchive") && command.contains(&*ini.to_string_lossy())
    };
    Ok(command
        .filter(is_ours)
        .map(|command| format!("the server archives by this configuration ({command}): run stop")))
}

fn of_master(config: &MasterConfig) -> Result<Vec<PathBuf>, Error> {
    let unlisted = |error| Error::io("list", &config.data, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(&config.data).map_err(unlisted)? {
        let entry = entry.map_err(unlisted)?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(".walshipping.")
        {
            found.push(entry.path());
        }
    }
    found.sort();
    if config.config.is_some() {
        found.extend(Change::begin(config)?.own_file()?);
    }
    Ok(found)
}

/// Why the slave still needs this, if it does.
fn slave_in_use(config: &SlaveConfig) -> Result<Option<String>, Error> {
    let archive = &config.completed_wals;
    if let Some(owner) = lock::holder(archive)? {
        return Ok(Some(format!(
            "the backup lock is held by {}",
            owner.describe()
        )));
    }
    let data = DataDir::new(&config.data, config.bin.as_deref());
    if let Some(pid) = data.postmaster()?
        && data.is_standby()
    {
        let settings = fs::read_to_string(config.data.join("postgresql.auto.conf"));
        if settings.is_ok_and(|text| text.contains(&*config.path.to_string_lossy())) {
            return Ok(Some(format!(
                "the standby in {} (pid {pid}) reads this archive: stop it",
                config.data.display()
            )));
        }
    }
    let newest = newest_age(archive)?;
    Ok(newest
        .filter(|age| *age < IN_USE)
        .map(|age| format!("WAL came {} s ago: run stop on the master", age.as_secs())))
}

/// How long ago the last segment came; from the future is now.
fn newest_age(dir: &Path) -> Result<Option<Duration>, Error> {
    if !dir.is_dir() {
        return Ok(None);
    }
    let archive = Archive::new(dir);
    let listing = Listing::read(dir)?;
    let ages = listing.segments().filter_map(|segment| {
        let stored = archive.find(WalName::Segment(segment)).ok()??;
        let modified = fs::metadata(stored.path).ok()?.modified().ok()?;
        Some(
            SystemTime::now()
                .duration_since(modified)
                .unwrap_or_default(),
        )
    });
    Ok(ages.min())
}

/// Everything that is known to be ours, the archive last: it says whose all of it is.
fn of_slave(config: &SlaveConfig) -> Result<Vec<PathBuf>, Error> {
    let sets = Sets::new(config);
    let mut found = Vec::new();
    if sets.parent().is_dir() {
        let all = sets.find()?;
        found.extend(all.sets.into_iter().map(|set| set.path));
        found.extend(all.suspects.into_iter().map(|suspect| suspect.path));
        found.extend(sets.trash()?);
    }
    found.extend(old_data(&config.data)?);
    found.extend(config.config_backup.clone());
    found.extend([config.partial_wals.clone(), config.completed_wals.clone()]);
    found.retain(|path| fs::symlink_metadata(path).is_ok());
    Ok(found)
}

/// Data directories that a restore has moved aside, or was about to make.
fn old_data(data: &Path) -> Result<Vec<PathBuf>, Error> {
    let (Some(parent), Some(name)) = (data.parent(), data.file_name()) else {
        return Ok(Vec::new());
    };
    if !parent.is_dir() {
        return Ok(Vec::new());
    }
    let prefix = format!("{}.", name.to_string_lossy());
    let unlisted = |error| Error::io("list", parent, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(parent).map_err(unlisted)? {
        let entry = entry.map_err(unlisted)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(suffix) = name.strip_prefix(&prefix) else {
            continue;
        };
        let is_number = !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit());
        // A directory with such a name that is no data directory is somebody's own.
        let is_ours = is_number && entry.path().join("PG_VERSION").exists();
        if is_ours || matches!(suffix, "restoring" | "copying") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
