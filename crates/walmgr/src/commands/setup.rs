use std::collections::BTreeSet;

use skytools::app::chain;
use tracing::{info, warn};

use super::{Node, Work};
use crate::archive::{Archive, Listing, stopped};
use crate::config::{MasterConfig, SlaveConfig};
use crate::names::WalName;
use crate::server::change::{Change, Setting};
use crate::server::{DataDir, shell};
use crate::slave::{Slave, push};
use crate::sync::There;
use crate::{Error, files, receiver};

pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let common = &work.job.common;
    for (key, path) in [("logfile", &common.logfile), ("pidfile", &common.pidfile)] {
        if path.as_ref().is_some_and(|path| path.is_relative()) {
            warn!("{key} is a relative path: commands of the server start in its data directory");
        }
    }
    match &work.node {
        Node::Master(config) => master(work, config),
        Node::Slave(config) => slave(work, config),
    }
}

/// Has the server archive, and the slave ready for it.
fn master(work: &Work<'_>, config: &MasterConfig) -> Result<(), Error> {
    let slave = Slave::new(config)?;
    let path = std::path::absolute(work.job.settings.path())
        .map_err(|error| Error::io("resolve", work.job.settings.path(), error))?;
    let command = crate::server::command::own(&path, "xarchive %p %f")?;
    let mut change = Change::begin(config)?;
    change.refuse_library()?;
    let mut settings = vec![Setting::new("archive_command", &command)];
    if change
        .current("archive_mode")
        .is_none_or(|mode| mode != "always")
    {
        settings.insert(0, Setting::new("archive_mode", "on"));
    }
    // Others may need more than we do.
    if change
        .current("wal_level")
        .is_some_and(|level| level == "minimal")
    {
        settings.push(Setting::new("wal_level", "replica"));
        // Off with it, as stop --minimal leaves it: nothing could stream.
        if change
            .current("max_wal_senders")
            .is_some_and(|most| most == "0")
        {
            settings.push(Setting::new("max_wal_senders", "10"));
        }
    }
    if let Some(timeout) = &config.archive_timeout {
        settings.push(Setting::new("archive_timeout", timeout));
    }
    let mut args = vec!["setup"];
    if work.options.not_really {
        skytools::app::output(change.show(&settings)?)?;
        args.push("--not-really");
        return Ok(skytools::app::output(slave.run(&args, None)?)?);
    }
    // The slave first: what the server archives at once has to have a place.
    slave.run(&args, None)?;
    if change.apply(&settings)? {
        info!("the server's settings are changed");
    }
    match &config.restart_cmd {
        Some(command) if change.needs_restart(&settings)? => {
            info!(command, "restarting the server");
            shell("master_restart_cmd", command)?;
        }
        _ => change.reload()?,
    }
    change.verify(&settings)?;
    if let Err(error) = send_histories(config, &slave) {
        warn!(
            "without the histories of the master's timelines a standby cannot follow to the newest: {}",
            chain(&error)
        );
    }
    Ok(())
}

/// Sends what tells of timelines: a server that was opened before it archived has sent it nowhere.
fn send_histories(config: &MasterConfig, slave: &Slave) -> Result<(), Error> {
    let wal = DataDir::new(&config.data, None).wal();
    let is_history = |name: &WalName| matches!(name, WalName::History(_));
    let histories: Vec<WalName> = Listing::read(&wal)?.names().filter(is_history).collect();
    if histories.is_empty() {
        return Ok(());
    }
    let there = There::ask(slave)?;
    for name in histories.into_iter().filter(|name| !there.has(*name)) {
        push(slave, name, &wal.join(name.to_string()))?;
        info!(%name, "sent");
    }
    Ok(())
}

/// Makes the directories.
fn slave(work: &Work<'_>, config: &SlaveConfig) -> Result<(), Error> {
    let mut dirs = vec![
        Some(config.base.as_path()),
        Some(&config.completed_wals),
        Some(&config.partial_wals),
        // Not itself: empty it would look like a set that is broken.
        config.full_backup.parent(),
    ];
    dirs.push(config.config_backup.as_deref());
    dirs.extend(
        config
            .receiver
            .iter()
            .map(|receiver| Some(receiver.dir.as_path())),
    );
    let missing = dirs.into_iter().flatten().filter(|dir| !dir.is_dir());
    let missing: BTreeSet<_> = missing.map(std::path::Path::to_owned).collect();
    for dir in &missing {
        if work.options.not_really {
            skytools::app::output(format!("would create {}\n", dir.display()))?;
            continue;
        }
        files::create_private_dir(dir).map_err(|error| Error::io("create", dir, error))?;
        info!(path = %dir.display(), "created");
    }
    if work.options.not_really {
        if let Some(receiver) = &config.receiver {
            let line = format!("would make slot {}, if there is none\n", receiver.slot);
            skytools::app::output(line)?;
        }
        return Ok(());
    }
    Archive::new(&config.completed_wals).create()?;
    if let Some(receiver) = &config.receiver {
        // The master may be about to be set up for it; syncdaemon says so if not.
        match receiver::create_slot(config, &receiver.conninfo, &receiver.slot) {
            Ok(()) => info!(slot = receiver.slot, "the receiver's slot is there"),
            Err(error) => warn!("no slot for the receiver yet: {}", chain(&error)),
        }
    }
    if let Some(noted) = stopped::read(&config.completed_wals)? {
        warn!(
            "archiving was stopped ({noted}): base backups from before do not reach beyond that, take a new one"
        );
    }
    let is_near = files::is_same_filesystem(&config.base, &config.data)
        .map_err(|error| Error::io("look at", &config.base, error))?;
    if !is_near {
        warn!(
            "{} and slave_data are on different filesystems: restore copies, and does not rename",
            config.base.display()
        );
    }
    Ok(())
}
