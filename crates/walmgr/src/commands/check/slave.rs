use std::fs;
use std::time::SystemTime;

use jiff::Timestamp;

use super::{Args, standby};
use crate::archive::{Archive, Identity, stopped};
use crate::config::{ReceiverConfig, SlaveConfig};
use crate::control::Signal;
use crate::report::{Level, Report};
use crate::sets::{Sets, retention};
use crate::{Error, files, lock, receiver};

pub(super) fn check(config: &SlaveConfig, args: &Args, report: &mut Report) {
    report.add_result("archive", archive(config));
    report.add_result("archiving", stopped(config));
    report.add_result("free space", free_space(config));
    report.add_result("filesystem", filesystem(config));
    report.add_result("conflicts", conflicts(config));
    report.add_result("backups", backups(config, args));
    report.add_result("leftovers", leftovers(config));
    report.add_result("WAL", gaps(config));
    standby::check(config, report);
    if let Some(receiver) = &config.receiver {
        report.add_result("receiver", stream(config, receiver));
    }
}

fn archive(config: &SlaveConfig) -> Result<(Level, String), Error> {
    for dir in [&config.completed_wals, &config.partial_wals] {
        let probe = dir.join(format!(".check.{}", std::process::id()));
        fs::write(&probe, "").map_err(|error| Error::io("write to", dir, error))?;
        fs::remove_file(&probe).map_err(|error| Error::io("write to", dir, error))?;
    }
    Ok(match Identity::read(&config.completed_wals)? {
        Some(identity) => (
            Level::Ok,
            format!("of system {}", identity.system_identifier),
        ),
        None if Sets::new(config).has_marked() => (
            Level::Failed,
            "SYSTEMID is missing: is its disk mounted?".to_owned(),
        ),
        None => (Level::Warning, "nothing has come yet".to_owned()),
    })
}

/// Whether the master has been told to send nothing any more.
fn stopped(config: &SlaveConfig) -> Result<(Level, String), Error> {
    Ok(match stopped::read(&config.completed_wals)? {
        None => (Level::Ok, String::new()),
        Some(noted) => (
            Level::Failed,
            format!("was stopped ({noted}), and there has been no base backup since"),
        ),
    })
}

fn filesystem(config: &SlaveConfig) -> Result<(Level, String), Error> {
    let (base, data) = (&config.base, &config.data);
    let is_same =
        files::is_same_filesystem(base, data).map_err(|error| Error::io("look at", base, error))?;
    let detail = match is_same {
        true => "restore can rename",
        false => "slave_data is on another one, so restore copies",
    };
    Ok((Level::Ok, detail.to_owned()))
}

/// Room for a hundred segments, or it is time to look.
fn free_space(config: &SlaveConfig) -> Result<(Level, String), Error> {
    let dir = &config.completed_wals;
    let free = files::free_bytes(dir).map_err(|error| Error::io("look at", dir, error))?;
    let segment = Identity::read(dir)?.map_or(16 << 20, |identity| identity.segment_size.bytes());
    let level = match free / segment {
        0..10 => Level::Failed,
        10..100 => Level::Warning,
        _ => Level::Ok,
    };
    Ok((level, format!("{} MB", free >> 20)))
}

fn conflicts(config: &SlaveConfig) -> Result<(Level, String), Error> {
    let dir = config.completed_wals.join(".walmgr/conflict");
    let count = fs::read_dir(&dir).map(Iterator::count).unwrap_or_default();
    Ok(match count {
        0 => (Level::Ok, String::new()),
        count => (
            Level::Failed,
            format!("{count} files were refused, see {}", dir.display()),
        ),
    })
}

fn backups(config: &SlaveConfig, args: &Args) -> Result<(Level, String), Error> {
    let found = Sets::new(config).find()?;
    let Some(newest) = found.sets.first() else {
        return Ok((Level::Failed, "there is none".to_owned()));
    };
    let known = newest.info.as_ref().map(|info| info.start_time.as_str());
    let started = known.and_then(|text| text.parse::<Timestamp>().ok());
    let started = started.map(SystemTime::from);
    let age = started.and_then(|time| SystemTime::now().duration_since(time).ok());
    let verified = newest
        .info
        .as_ref()
        .and_then(|info| info.verified_at.as_ref());
    let verified = match verified {
        Some(time) => format!("verified {time}"),
        None => "never verified".to_owned(),
    };
    let detail = format!(
        "{}, {} from {}, {verified}",
        found.sets.len(),
        newest.name,
        newest.label.start_time
    );
    // Begun in the future by this clock: as good as now.
    let is_old = age.is_some_and(|age| age > args.backup_age());
    Ok(match is_old {
        true => (Level::Failed, format!("{detail}: too old")),
        false => (Level::Ok, detail),
    })
}

/// What an interrupted command has left.
fn leftovers(config: &SlaveConfig) -> Result<(Level, String), Error> {
    let mut found = Vec::new();
    let holder = lock::holder(&config.completed_wals)?;
    for suspect in Sets::new(config).find()?.suspects {
        let is_running =
            holder.is_some() && suspect.path.to_string_lossy().ends_with(".inprogress");
        if !is_running {
            found.push(format!("{}: {}", suspect.path.display(), suspect.problem));
        }
    }
    for path in Sets::new(config).trash()? {
        if holder.is_none() {
            found.push(format!("{}: a set that was being deleted", path.display()));
        }
    }
    if holder.is_none() && config.completed_wals.join("BACKUPLOCK").exists() {
        found.push("BACKUPLOCK: its holder is gone; the next backup takes it over".to_owned());
    }
    for (suffix, command) in [
        (".restoring", "restore"),
        (".copying", "restore"),
        (".receiving", "rejoin"),
        (".rejoining", "rejoin"),
    ] {
        let path = files::with_suffix(&config.data, suffix);
        if path.exists() {
            found.push(format!(
                "{}: a {command} that was interrupted",
                path.display()
            ));
        }
    }
    Ok(match found.is_empty() {
        true => (Level::Ok, String::new()),
        false => (Level::Warning, found.join("; ")),
    })
}

/// WAL that is needed and not there, although later WAL is.
fn gaps(config: &SlaveConfig) -> Result<(Level, String), Error> {
    let archive = Archive::new(&config.completed_wals);
    let Some(identity) = Identity::read(archive.dir())? else {
        return Ok((Level::Ok, String::new()));
    };
    let Some(needed) = retention::earliest_needed(config)? else {
        return Ok((Level::Ok, "none is needed".to_owned()));
    };
    let listing = receiver::all_wal(config)?;
    let first = needed.segment;
    let missing = listing
        .newest(first.timeline)
        .and_then(|newest| listing.missing(first, newest, identity.segment_size));
    Ok(match missing {
        Some(missing) => (
            Level::Failed,
            format!("{missing} is missing, and needed by {}", needed.by),
        ),
        None => (Level::Ok, format!("from {first} on, by {}", needed.by)),
    })
}

/// Whether WAL is streamed to here.
fn stream(config: &SlaveConfig, receiver: &ReceiverConfig) -> Result<(Level, String), Error> {
    let newest = receiver::unfinished(config).pop();
    let to = newest.map_or_else(String::new, |(segment, _)| format!(" to {segment}.partial"));
    Ok(match receiver::pid(&receiver.dir) {
        Some(pid) => (Level::Ok, format!("streams{to} (pid {pid})")),
        None if Signal::Stop.is_up(&config.completed_wals) => {
            (Level::Ok, "ended by boot".to_owned())
        }
        None => (
            Level::Failed,
            "does not run: start syncdaemon, or see its log".to_owned(),
        ),
    })
}
