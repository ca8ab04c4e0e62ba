//! Which WAL is still needed, and purging what is not.

use std::path::Path;

use skytools::failpoint;
use tracing::{debug, info};

use super::{Label, Sets};
use crate::archive::{Archive, ArchiveError, Identity, Listing, leftovers};
use crate::config::SlaveConfig;
use crate::names::{Segment, WalName};
use crate::server::DataDir;
use crate::{Error, partial, receiver};

/// The first segment that somebody needs, and who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) segment: Segment,
    pub(crate) by: String,
}

/// The first segment that a set, a backup under way or the standby needs; `None` if nobody needs any.
///
/// # Errors
/// It is not known of one of them: then nothing may be purged.
pub(crate) fn earliest_needed(config: &SlaveConfig) -> Result<Option<Needed>, Error> {
    let found = Sets::new(config).find()?;
    let mut needed = Vec::new();
    for set in &found.sets {
        needed.push(Needed {
            segment: set.start(),
            by: set.name.clone(),
        });
    }
    for suspect in &found.suspects {
        let by = suspect.path.display().to_string();
        match suspect.start {
            Some(segment) => needed.push(Needed { segment, by }),
            None => {
                return Err(Error::Refused(format!(
                    "{by} does not tell which WAL it needs ({}): nothing is purged until it is removed",
                    suspect.problem
                )));
            }
        }
    }
    // In the order in which a restore moves a set: seen too late in one place, it is in the next.
    for dir in [
        crate::files::with_suffix(&config.data, ".restoring"),
        config.data.clone(),
    ] {
        if dir.join("global/pg_control").exists() {
            needed.push(Needed {
                segment: restart_point(config, &dir)?,
                by: dir.display().to_string(),
            });
        }
    }
    Ok(needed
        .into_iter()
        .min_by_key(|needed| needed.segment.place()))
}

/// First segment that the server in a data directory needs to start.
pub(crate) fn restart_point(config: &SlaveConfig, data: &Path) -> Result<Segment, Error> {
    Ok(restart_position(config, data)?.0)
}

/// The same, with the position in it where replay begins.
pub(crate) fn restart_position(
    config: &SlaveConfig,
    data: &Path,
) -> Result<(Segment, String), Error> {
    // Until it is consistent for the first time, the label counts, and not the control file.
    if data.join("backup_label").exists() {
        let label = Label::read(data)?;
        return Ok((label.start_segment, label.start_lsn));
    }
    let Some(identity) = Identity::read(&config.completed_wals)? else {
        return Err(ArchiveError::LostIdentity(config.completed_wals.clone()).into());
    };
    let control = DataDir::new(data, config.bin.as_deref()).control()?;
    Ok((
        control.redo_segment(identity.segment_size),
        control.redo().to_string(),
    ))
}

/// Deletes WAL before what is needed, and before `limit` if the server names one. Answers with the number of
/// files.
///
/// Histories of timelines stay for ever: without them a standby does not find its way.
///
/// # Errors
/// Something cannot be looked at, or removed: nothing that is needed is gone.
pub(crate) fn purge(
    config: &SlaveConfig,
    limit: Option<Segment>,
    dry_run: bool,
) -> Result<usize, Error> {
    let archive = Archive::new(&config.completed_wals);
    let sets = Sets::new(config);
    if Identity::read(archive.dir())?.is_none() && sets.has_marked() {
        return Err(ArchiveError::LostIdentity(archive.dir().to_owned()).into());
    }
    let Some(needed) = earliest_needed(config)? else {
        debug!("no set and no standby: nothing is purged");
        return Ok(0);
    };
    let boundary = match limit {
        Some(limit) if limit.place() < needed.segment.place() => limit,
        _ => needed.segment,
    };
    debug!(first_needed = %needed.segment, by = %needed.by, %boundary, "purging");
    let is_old = |name: WalName| {
        name.segment()
            .is_some_and(|segment| segment.place() < boundary.place())
    };
    // From the oldest, so that whatever is left has no hole.
    let mut old: Vec<WalName> = Listing::read(archive.dir())?
        .names()
        .filter(|n| is_old(*n))
        .collect();
    old.sort_by_key(|name| name.segment().map(Segment::place));
    let mut count = 0;
    for name in old {
        if !dry_run {
            failpoint::step("purge.before");
            archive.remove(name)?;
        }
        debug!(%name, "not needed any more");
        count += 1;
    }
    let done = Listing::read(archive.dir())?;
    for segment in partial::names(config) {
        if is_old(WalName::Segment(segment)) || done.has(segment) {
            if !dry_run {
                partial::remove(config, segment)?;
            }
            count += 1;
        }
    }
    count += receiver::purge(config, boundary, dry_run)?;
    if !dry_run {
        count += leftovers::clear(archive.dir())?;
    }
    if count > 0 {
        let first_needed = boundary.to_string();
        match dry_run {
            true => info!(files = count, first_needed, "would be purged"),
            false => info!(files = count, first_needed, "purged"),
        }
    }
    Ok(count)
}
