//! A set in a directory of its own: to look at what was, beside a standby that goes on.

use std::fs;
use std::path::Path;

use tracing::info;

use super::source::{Source, unfinished};
use super::{Purpose, Wanted, check, install, refuse_immovable, refuse_root, take_lock};
use crate::args::Options;
use crate::config::{RestoreMode, SlaveConfig};
use crate::server::DataDir;
use crate::sets::Sets;
use crate::{Error, durable};

/// Makes a set ready in a directory. No server is stopped, and none is started.
pub(super) fn run(
    config: &SlaveConfig,
    options: &Options,
    wanted: &Wanted,
    target: &Path,
) -> Result<(), Error> {
    refuse_root("restore")?;
    let target =
        std::path::absolute(target).map_err(|error| Error::io("resolve", target, error))?;
    if target == config.data {
        return Err(Error::Refused(format!(
            "{} is slave_data: restore without DST puts a set into service there",
            target.display()
        )));
    }
    let _lock = take_lock(config, "restore", options)?;
    let config = beside(config, &target);
    let source = Source::choose(&config, &Sets::new(&config), wanted)?;
    check(&config, &source, options)?;
    refuse_used(&config)?;
    source.refuse_damaged(wanted, options)?;
    if options.not_really {
        return Ok(skytools::app::output(format!(
            "would copy {} to {}, and start no server\n",
            source.path().display(),
            target.display()
        ))?);
    }
    let ready = source.make_ready(&config)?;
    install(&config, &ready, &wanted.point, Purpose::Aside)?;
    tell(&config, wanted)
}

/// The same slave with another data directory, which nobody else knows of.
fn beside(config: &SlaveConfig, target: &Path) -> SlaveConfig {
    let mut config = config.clone();
    config.data = target.to_owned();
    config.restore_mode = RestoreMode::Copy;
    // They are the standby's own: a slot, a directory for WAL, a place for its configuration.
    config.primary_conninfo = None;
    config.primary_slot = None;
    config.wal_dir = None;
    config.config_dir = None;
    config
}

/// Refuses a directory that a server runs in, or that holds something else.
pub(super) fn refuse_used(config: &SlaveConfig) -> Result<(), Error> {
    let data = DataDir::new(&config.data, config.bin.as_deref());
    if let Some(pid) = data.postmaster()? {
        return Err(Error::Refused(format!(
            "a server runs in {} (pid {pid}): stop it first",
            data.path.display()
        )));
    }
    let has_content = fs::read_dir(&data.path).is_ok_and(|mut entries| entries.next().is_some());
    if has_content && !data.path.join("PG_VERSION").exists() {
        return Err(Error::Refused(format!(
            "{} is not empty, and no data directory",
            data.path.display()
        )));
    }
    refuse_immovable(&data.path)
}

/// Says what there is now, and what is left to be done by hand.
pub(super) fn tell(config: &SlaveConfig, wanted: &Wanted) -> Result<(), Error> {
    let unfinished = unfinished(&config.data);
    durable::remove(&unfinished).map_err(|error| Error::io("remove", &unfinished, error))?;
    let opens = match wanted.point.is_wanted() {
        true => "it stops at the target: see recovery_target_action",
        false => "it replays all WAL that there is, can be read, and is opened by pg_ctl promote",
    };
    info!(
        path = %config.data.display(),
        "ready, and not started: look at its configuration, at port above all. Started, {opens}"
    );
    Ok(())
}
