//! On the master: a set of the slave's becomes a data directory here. WAL comes from the slave, too.
//!
//! What the old data directory has of WAL and the slave has not is kept: the server replays it after the rest.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use skytools::daemon::Stop;
use skytools::failpoint;
use tracing::{info, warn};

use super::aside::{refuse_used, tell};
use super::source::{Source, refuse_damaged};
use super::{Purpose, Wanted, install, refuse_root};
use crate::archive::Listing;
use crate::args::Options;
use crate::backup::{self, Lock};
use crate::config::{MasterConfig, SlaveConfig};
use crate::files::with_suffix;
use crate::names::WalName;
use crate::page::Header;
use crate::progress::Progress;
use crate::server::DataDir;
use crate::sets::Sets;
use crate::slave::Slave;
use crate::sync::There;
use crate::{Error, durable, files, receiver};

/// A set that the slave has.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    name: String,
    /// Where it is there.
    path: String,
    bytes: u64,
    major: u32,
    system_identifier: u64,
    /// What is missing of the WAL that it needs.
    missing_wal: Option<String>,
}

/// Looks on the slave for the set that is wanted, which has to be whole.
///
/// # Errors
/// There is none, or it is damaged.
pub(crate) fn offer(config: &SlaveConfig, wanted: &Wanted, force: bool) -> Result<Offer, Error> {
    let sets = Sets::new(config);
    let set = match wanted.point.is_wanted() {
        true => wanted.point.choose(&sets, wanted.set())?,
        false => sets.choose(wanted.set())?,
    };
    if !force {
        refuse_damaged(&set, wanted)?;
    }
    let data = DataDir::new(&set.path, config.bin.as_deref());
    let bytes = match &set.info {
        Some(info) => info.bytes,
        None => {
            files::size_of_tree(&set.path).map_err(|error| Error::io("list", &set.path, error))?
        }
    };
    Ok(Offer {
        name: set.name.clone(),
        path: set.path.display().to_string(),
        bytes,
        major: data.major()?,
        system_identifier: data.control()?.system_identifier,
        missing_wal: Source::copy_of(config, set)?.missing_wal(&receiver::all_wal(config)?)?,
    })
}

/// Copies a set from the slave, and makes it a data directory. No server is started.
///
/// # Errors
/// What was there before is where it was, or beside it.
pub(crate) fn run(
    master: &MasterConfig,
    config: &SlaveConfig,
    options: &Options,
    wanted: &Wanted,
    stop: &Stop,
) -> Result<(), Error> {
    refuse_root("restore")?;
    refuse_used(config)?;
    let slave = Slave::new(master)?;
    // No backup may give the sets other names, or delete one, while it is copied.
    let lock = match options.not_really {
        true => None,
        false => Some(Lock::take(&slave, options.force)?),
    };
    let offer = ask(&slave, wanted, options)?;
    check(config, &offer, options)?;
    if options.not_really {
        return Ok(skytools::app::output(format!(
            "would copy {} of {} to {}, and start no server\n",
            offer.path,
            slave.name(),
            config.data.display()
        ))?);
    }
    let copied = copy(master, &slave, &offer, &config.data, stop);
    // Only the copy needs the set.
    if let Some(lock) = lock {
        lock.release();
    }
    let ready = copied?;
    failpoint::step("restore.ready");
    keep_wal(&slave, config, &offer, &ready)?;
    if let Some(old) = install(config, &ready, &wanted.point, Purpose::Aside)? {
        info!(path = %old.display(), "remove it when all is well");
    }
    tell(config, wanted)
}

fn ask(slave: &Slave, wanted: &Wanted, options: &Options) -> Result<Offer, Error> {
    let mut words = vec!["xset".to_owned()];
    words.extend(options.force.then(|| "--force".to_owned()));
    words.extend(wanted.arguments());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let text = slave.run(&words, None)?;
    serde_json::from_str(&text).map_err(|error| Error::Program {
        what: slave.what(&words),
        problem: format!("its answer makes no sense: {error}"),
    })
}

/// What has to be in order before anything is copied.
fn check(config: &SlaveConfig, offer: &Offer, options: &Options) -> Result<(), Error> {
    let programs = DataDir::new(&config.data, config.bin.as_deref()).major_of_programs()?;
    if offer.major != programs {
        return Err(Error::Refused(format!(
            "{} is of PostgreSQL {}, and the programs of master_bin are of {programs}",
            offer.name, offer.major
        )));
    }
    match &offer.missing_wal {
        Some(problem) if options.force => warn!("{problem}"),
        Some(problem) => {
            return Err(Error::Refused(format!(
                "{problem}; --force restores it all the same, as far as the WAL goes"
            )));
        }
        None => {}
    }
    let parent = config.data.parent().unwrap_or(Path::new("/"));
    let free = files::free_bytes(parent).map_err(|error| Error::io("look at", parent, error))?;
    match free < offer.bytes && !options.force {
        true => Err(Error::Refused(format!(
            "disk full: {} has {free} bytes free, and {} needs {}; --force tries it all the same",
            parent.display(),
            offer.name,
            offer.bytes
        ))),
        false => Ok(()),
    }
}

/// Copies the set to where it is made ready.
fn copy(
    master: &MasterConfig,
    slave: &Slave,
    offer: &Offer,
    data: &Path,
    stop: &Stop,
) -> Result<PathBuf, Error> {
    let (copying, ready) = (
        with_suffix(data, ".copying"),
        with_suffix(data, ".restoring"),
    );
    for dir in [&copying, &ready] {
        files::remove_tree(dir).map_err(|error| Error::io("remove", dir, error))?;
    }
    files::create_private_dir(&copying).map_err(|error| Error::io("create", &copying, error))?;
    info!(set = offer.name, from = slave.name(), "copying the set");
    let progress = Progress::new("copying", offer.bytes);
    backup::fetch(master, slave, &offer.path, &copying, &progress, stop)?;
    drop(progress);
    let parent = data.parent().unwrap_or(Path::new("/"));
    durable::sync_filesystem(&copying)
        .and_then(|()| fs::rename(&copying, &ready))
        .and_then(|()| durable::sync_dir(parent))
        .map_err(|error| Error::io("rename", &copying, error))?;
    Ok(ready)
}

/// Copies WAL of the old data directory that the slave does not have.
fn keep_wal(slave: &Slave, config: &SlaveConfig, offer: &Offer, ready: &Path) -> Result<(), Error> {
    let (old, new) = (config.data.join("pg_wal"), ready.join("pg_wal"));
    if !old.is_dir() {
        return Ok(());
    }
    files::create_private_dir(&new).map_err(|error| Error::io("create", &new, error))?;
    let there = There::ask(slave)?;
    let mut count = 0;
    for name in Listing::read(&old)?.names() {
        let path = old.join(name.to_string());
        let is_wanted = match name {
            WalName::History(_) => true,
            // It also keeps files of earlier WAL under names to come.
            WalName::Segment(segment) => Header::of_file(&path).is_some_and(|header| {
                header.is_of(segment) && header.system_identifier == offer.system_identifier
            }),
            _ => false,
        };
        if is_wanted && !there.has(name) {
            let to = new.join(name.to_string());
            fs::copy(&path, &to).map_err(|error| Error::io("copy", &path, error))?;
            count += 1;
        }
    }
    if count > 0 {
        info!(
            files = count,
            "WAL that the slave does not have, of the old data directory, is replayed, too"
        );
    }
    Ok(())
}
