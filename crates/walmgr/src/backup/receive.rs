//! The slave's part of a backup: a place for the copy, and making a set of it.

mod resume;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use skytools::daemon::Stop;
use skytools::failpoint;
use tracing::{info, warn};

use super::Finished;
use crate::archive::{Archive, Identity, Listing, stopped};
use crate::config::SlaveConfig;
use crate::names::{Segment, SegmentSize};
use crate::server::DataDir;
use crate::sets::manifest::Digests;
use crate::sets::{Info, Sets, State, manifest};
use crate::{Error, durable, files, lock};

/// Directories that a server insists on, whatever the copy left out.
pub(crate) const DIRECTORIES: [&str; 15] = [
    "pg_wal",
    "pg_tblspc",
    "pg_replslot",
    "pg_notify",
    "pg_dynshmem",
    "pg_serial",
    "pg_snapshots",
    "pg_stat",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_twophase",
    "pg_commit_ts",
    "pg_logical",
    "pg_logical/snapshots",
    "pg_logical/mappings",
];

/// Room that is left beside what the backup takes now: it grows while it is copied.
const MARGIN: f64 = 1.1;

/// Between two looks for WAL.
const LOOK: Duration = Duration::from_millis(200);

/// Between two lines about WAL that does not come.
const REMIND: Duration = Duration::from_secs(60);

/// Only who has the lock may go on.
pub(super) fn need_lock(config: &SlaveConfig, id: &str) -> Result<(), Error> {
    match lock::holder(&config.completed_wals)? {
        Some(owner) if owner.id.as_deref() == Some(id) => Ok(()),
        Some(owner) => Err(Error::Refused(format!(
            "the backup lock is held by {}, and not by this backup",
            owner.describe()
        ))),
        None => Err(Error::Refused(
            "the backup lock is not held any more: the backup has lost its connection".to_owned(),
        )),
    }
}

/// The cluster that a backup is of.
fn identity(info: &Info) -> Result<Identity, Error> {
    let size = SegmentSize::new(info.wal_segment_size);
    match (info.system_identifier.parse(), size) {
        (Ok(system_identifier), Some(segment_size)) => Ok(Identity {
            system_identifier,
            segment_size,
        }),
        _ => Err(Error::Refused(
            "the backup names no system identifier and segment size".to_owned(),
        )),
    }
}

/// The place for a copy.
pub(crate) struct Begun {
    pub(crate) path: String,
    /// Whether there is something in it that an earlier backup has copied.
    pub(crate) has_content: bool,
}

/// Makes the place for a copy; `resume` keeps what a backup of the same kind has left that was interrupted.
///
/// # Errors
/// There is no room, or the archive belongs to another cluster.
pub(crate) fn begin(
    config: &SlaveConfig,
    id: &str,
    info: &Info,
    resume: bool,
) -> Result<Begun, Error> {
    need_lock(config, id)?;
    let sets = Sets::new(config);
    let identity = identity(info)?;
    identity.check(&config.completed_wals, || sets.has_marked())?;
    identity.claim(&config.completed_wals)?;
    let has_content = resume && resume::is_possible(&sets, info)?;
    if !has_content {
        sets.clear_in_progress()?;
    }
    if config.rotate_first {
        sets.expire(config.keep.making_room(), false)?;
    }
    let parent = sets.parent();
    let free = files::free_bytes(parent).map_err(|error| Error::io("look at", parent, error))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an estimate"
    )]
    let needed = (info.bytes as f64 * MARGIN) as u64;
    let needed = needed.saturating_sub(match has_content {
        true => resume::bytes(&sets)?,
        false => 0,
    });
    if free < needed {
        return Err(Error::Refused(format!(
            "disk full: {} has {free} bytes free, and the backup needs {needed}",
            parent.display()
        )));
    }
    let left = match has_content {
        true => Some(sets.set_aside()?),
        false => None,
    };
    let path = sets.in_progress();
    let spaces = path.join("tmpspc");
    files::create_private_dir(&spaces).map_err(|error| Error::io("create", &spaces, error))?;
    // It keeps the WAL that the backup needs.
    info.write(&path)?;
    durable::sync_dir(parent).map_err(|error| Error::io("sync", parent, error))?;
    if let Some(left) = left {
        resume::take_over(&left, &path)?;
        sets.remove_aside(&left);
    }
    Ok(Begun {
        path: path.display().to_string(),
        has_content,
    })
}

/// Makes a set of a copy once its WAL is there; answers with its name.
///
/// # Errors
/// The copy stays where it is, and no set has changed.
pub(crate) fn commit(
    config: &SlaveConfig,
    id: &str,
    finished: Finished,
    patience: Duration,
    stop: &Stop,
) -> Result<String, Error> {
    need_lock(config, id)?;
    let sets = Sets::new(config);
    let path = sets.in_progress();
    let Finished {
        info,
        backup_label,
        tablespace_map,
        digests,
    } = finished;
    match Info::read(&path)? {
        Some(begun) if begun.id == info.id => {}
        _ => {
            return Err(Error::Refused(format!(
                "{} is not the copy of this backup",
                path.display()
            )));
        }
    }
    complete(&path, &info, &backup_label, &tablespace_map)?;
    // Only what will last is said to be whole.
    durable::sync_filesystem(&path).map_err(|error| Error::io("sync", &path, error))?;
    info.write(&path)?;
    failpoint::step("commit.labelled");
    conclude(config, id, info, &digests, patience, stop)
}

/// Makes a set of a copy that was whole when the backup was given up, since its WAL did not come in time.
///
/// # Errors
/// There is no such copy, or its WAL has not come yet.
pub(crate) fn finish(
    config: &SlaveConfig,
    id: &str,
    patience: Duration,
    stop: &Stop,
) -> Result<String, Error> {
    let path = Sets::new(config).in_progress();
    match Info::read(&path)? {
        Some(info) if info.state != State::Copying => {
            conclude(config, id, info, &Digests::default(), patience, stop)
        }
        Some(info) => Err(Error::Refused(format!(
            "{} is {}, so it is not whole: take a new backup",
            path.display(),
            info.state
        ))),
        None => Err(Error::Refused(
            "there is no backup that waits for WAL".to_owned(),
        )),
    }
}

/// Makes a set of a whole copy when its WAL is there.
fn conclude(
    config: &SlaveConfig,
    id: &str,
    mut info: Info,
    digests: &Digests,
    patience: Duration,
    stop: &Stop,
) -> Result<String, Error> {
    let sets = Sets::new(config);
    let path = sets.in_progress();
    let major = DataDir::new(&path, None).major()?;
    let (lines, totals) = manifest::lines(&path, digests)?;
    (info.bytes, info.files) = (totals.bytes, totals.files);
    failpoint::step("commit.synced");
    wait_for_wal(config, id, &info, patience, stop)?;
    info.state = State::Done;
    info.write(&path)?;
    manifest::write(&path, &info, lines, major)?;
    durable::sync_dir(&path).map_err(|error| Error::io("sync", &path, error))?;
    // The last moment: from here on it is a set.
    need_lock(config, id)?;
    failpoint::step("commit.ready");
    sets.commit()?;
    info!(
        set = %sets.full().display(), files = info.files, bytes = info.bytes, "backup is complete"
    );
    stopped::forget(&config.completed_wals)?;
    if let Err(error) = sets.expire(config.keep, false) {
        warn!("an old set stays: {}", skytools::app::chain(&error));
    }
    let name = sets.full().file_name().unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

/// What the copy lacks to be a data directory.
fn complete(
    path: &Path,
    info: &Info,
    backup_label: &str,
    tablespace_map: &str,
) -> Result<(), Error> {
    for name in DIRECTORIES {
        let dir = path.join(name);
        files::create_private_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
    }
    // The copy of a standby that was stopped has none: it goes on as the standby itself would.
    if !backup_label.is_empty() {
        let label = path.join("backup_label");
        durable::write(&label, backup_label.as_bytes())
            .map_err(|error| Error::io("write", &label, error))?;
    }
    if !tablespace_map.trim().is_empty() {
        let map = path.join("tablespace_map");
        durable::write(&map, tablespace_map.as_bytes())
            .map_err(|error| Error::io("write", &map, error))?;
    }
    resume::forget_spaces(path, info)?;
    // Empty for most.
    match fs::remove_dir(path.join("tmpspc")) {
        Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => {
            return Err(Error::io("remove", &path.join("tmpspc"), error));
        }
        _ => {}
    }
    files::restrict(path).map_err(|error| Error::io("protect", path, error))?;
    if !path.join("global/pg_control").exists() {
        return Err(Error::Refused(format!(
            "{} has no control file: does the master's full_backup name the same directory as the slave's?",
            path.display()
        )));
    }
    Ok(())
}

/// Waits until all WAL is there without which the backup cannot be used, and no longer than the backup lives: the
/// next one copies to the same place.
fn wait_for_wal(
    config: &SlaveConfig,
    id: &str,
    info: &Info,
    patience: Duration,
    stop: &Stop,
) -> Result<(), Error> {
    let archive = Archive::new(&config.completed_wals);
    let size = identity(info)?.segment_size;
    let name = |text: Option<&str>| -> Result<Segment, Error> {
        let parsed = text.and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| Error::Refused("the backup does not name its WAL".to_owned()))
    };
    let (first, last) = (
        name(Some(&info.start_wal))?,
        name(info.stop_wal.as_deref())?,
    );
    let begun = Instant::now();
    let mut reminded = Instant::now();
    loop {
        need_lock(config, id)?;
        let listing = Listing::read(archive.dir())?;
        let Some(missing) = listing.missing(first, last, size) else {
            return Ok(());
        };
        if reminded.elapsed() > REMIND {
            reminded = Instant::now();
            warn!(%missing, %last, "the backup's WAL is not in the archive yet");
        }
        if begun.elapsed() >= patience || stop.sleep(LOOK) {
            return Err(Error::Refused(format!(
                "{missing} has not come into {}, and without the WAL up to {last} the backup cannot be \
                 used: see the master's log. When it has come, backup --finish makes the copy a set",
                archive.dir().display()
            )));
        }
    }
}
