use std::fs;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::Wanted;
use crate::archive::{Identity, Listing};
use crate::args::Options;
use crate::config::{RestoreMode, SlaveConfig};
use crate::files::with_suffix;
use crate::names::Segment;
use crate::progress::Progress;
use crate::sets::{Held, Set, Sets, retention, verify};
use crate::{Error, durable, files};

/// What a data directory is made of.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    /// First segment of WAL that it needs.
    start: Segment,
    /// Last one without which it is not consistent, if that is known.
    stop: Option<Segment>,
    segments: Option<Identity>,
    way: Way,
    /// `None` if a restore has taken it from its place already.
    set: Option<Set>,
}

/// Sets up to this size are verified unless that is declined: it takes half a second a gigabyte.
const VERIFIED: u64 = 100 << 30;

/// Problems of a set that a message names.
const MOST_PROBLEMS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The set becomes the data directory.
    Move,
    Copy,
    /// An interrupted restore has moved it already.
    GoOn,
    /// It is in its place, and its server has not been started.
    Arrived,
}

/// Where a set is made ready.
fn ready(data: &Path) -> PathBuf {
    with_suffix(data, ".restoring")
}

/// There until the server of a restored directory has been started.
pub(super) fn unfinished(data: &Path) -> PathBuf {
    data.join(".walshipping.restoring")
}

impl Source {
    /// The set that is meant, and whether it is moved or copied.
    pub(super) fn choose(
        config: &SlaveConfig,
        sets: &Sets,
        wanted: &Wanted,
    ) -> Result<Source, Error> {
        let (word, point) = (wanted.set(), &wanted.point);
        let segments = Identity::read(&config.completed_wals)?;
        let under_way = ready(&config.data);
        if point.is_wanted() {
            return Source::copy_of(config, point.choose(sets, word)?);
        }
        let chosen = sets.choose(word);
        // A set that was moved there is nowhere else.
        let is_gone = word.is_none() && chosen.as_ref().map_or(true, |set| set.number.is_some());
        let interrupted = [
            (under_way.join("PG_VERSION"), Way::GoOn, under_way),
            (unfinished(&config.data), Way::Arrived, config.data.clone()),
        ];
        for (sign, way, path) in interrupted {
            if is_gone && sign.exists() {
                info!(path = %path.display(), "going on with a restore that was interrupted");
                return Ok(Source {
                    start: retention::restart_point(config, &path)?,
                    stop: None,
                    segments,
                    way,
                    path,
                    set: None,
                });
            }
        }
        let set = chosen?;
        let way = match wanted.copy {
            true => Way::Copy,
            false => way(config, sets, &set, word)?,
        };
        Ok(Source {
            way,
            ..Source::copy_of(config, set)?
        })
    }

    /// A set that stays where it is.
    pub(super) fn copy_of(config: &SlaveConfig, set: Set) -> Result<Source, Error> {
        Ok(Source {
            start: set.start(),
            stop: set.stop(),
            segments: Identity::read(&config.completed_wals)?,
            way: Way::Copy,
            path: set.path.clone(),
            set: Some(set),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether only the start of the server is left to be done.
    pub(super) fn has_arrived(&self) -> bool {
        self.way == Way::Arrived
    }

    /// What is missing of the WAL from its beginning to the newest of its timeline, if something is.
    pub(super) fn missing_wal(&self, listing: &Listing) -> Result<Option<String>, Error> {
        let Some(identity) = self.segments else {
            return Ok(None);
        };
        let newest = listing.newest(self.start.timeline);
        let last = [newest, self.stop].into_iter().flatten().max();
        let missing = match last {
            Some(last) => listing.missing(self.start, last, identity.segment_size),
            None => Some(self.start),
        };
        Ok(missing.map(|missing| {
            format!(
                "{missing} is not in the archive, and the WAL from {} on is needed",
                self.start
            )
        }))
    }

    fn bytes(&self) -> Result<u64, Error> {
        files::size_of_tree(&self.path).map_err(|error| Error::io("list", &self.path, error))
    }

    /// Refuses a copy that there is no room for.
    pub(super) fn refuse_too_large(&self, config: &SlaveConfig) -> Result<(), Error> {
        if self.way != Way::Copy {
            return Ok(());
        }
        let parent = config.data.parent().unwrap_or(Path::new("/"));
        let free =
            files::free_bytes(parent).map_err(|error| Error::io("look at", parent, error))?;
        let needed = self.bytes()?;
        match free < needed {
            true => Err(Error::Refused(format!(
                "disk full: {} has {free} bytes free, and a copy of {} needs {needed}; --force tries it all the \
                 same",
                parent.display(),
                self.path.display()
            ))),
            false => Ok(()),
        }
    }

    /// Refuses a set whose files are not what they were.
    pub(super) fn refuse_damaged(&self, wanted: &Wanted, options: &Options) -> Result<(), Error> {
        match &self.set {
            Some(set) if !options.force => refuse_damaged(set, wanted),
            _ => Ok(()),
        }
    }

    /// For `-n`.
    pub(super) fn plan(&self, config: &SlaveConfig, start_cmd: &str) -> String {
        let verb = match self.way {
            Way::Move => "move",
            Way::Copy => "copy",
            Way::GoOn | Way::Arrived => "go on with",
        };
        format!(
            "would stop the server if it runs, {verb} {} to {}, move the old data directory aside, and run: \
             {start_cmd}\n",
            self.path.display(),
            config.data.display()
        )
    }

    /// Gets the files to where they are made ready, all of them, or none under that name.
    pub(super) fn make_ready(&self, config: &SlaveConfig) -> Result<PathBuf, Error> {
        let ready = ready(&config.data);
        if self.way == Way::GoOn {
            return Ok(ready);
        }
        let removed = |path: &Path| {
            files::remove_tree(path).map_err(|error| Error::io("remove", path, error))
        };
        removed(&ready)?;
        let parent = config.data.parent().unwrap_or(Path::new("/"));
        let renamed = |from: &Path| {
            fs::rename(from, &ready)
                .and_then(|()| durable::sync_dir(parent))
                .map_err(|error| Error::io("rename", from, error))
        };
        match self.way {
            Way::Copy => {
                let copy = with_suffix(&config.data, ".copying");
                removed(&copy)?;
                info!(from = %self.path.display(), "copying the set");
                let progress = Progress::new("copying", self.bytes()?);
                files::copy_tree(&self.path, &copy, &progress)
                    .and_then(|()| durable::sync_filesystem(&copy))
                    .map_err(|error| Error::io("copy", &self.path, error))?;
                drop(progress);
                renamed(&copy)?;
            }
            _ => {
                info!(from = %self.path.display(), "moving the set");
                renamed(&self.path)?;
            }
        }
        Ok(ready)
    }
}

/// Refuses a set whose files are not what they were, as far as that is known and wanted.
pub(super) fn refuse_damaged(set: &Set, wanted: &Wanted) -> Result<(), Error> {
    let Some(about) = &set.info else {
        warn!(set = %set.name, "of an older version: nobody knows whether it is what it was");
        return Ok(());
    };
    if !wanted.verify().unwrap_or(about.bytes <= VERIFIED) {
        info!(set = %set.name, "not verified");
        return Ok(());
    }
    let problems = verify::set_problems(set, &Held::share(set)?)?;
    if problems.is_empty() {
        info!(set = %set.name, "every file is as it was");
        return Ok(());
    }
    let more = match problems.len().saturating_sub(MOST_PROBLEMS) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let named = &problems[..problems.len().min(MOST_PROBLEMS)];
    Err(Error::Refused(format!(
        "{} is damaged: {}{more}. Take another set, or use --force",
        set.name,
        named.join(", ")
    )))
}

/// A named set is kept; the newest one is moved, if that is allowed and can be done.
fn way(config: &SlaveConfig, sets: &Sets, set: &Set, word: Option<&str>) -> Result<Way, Error> {
    if word.is_some() || config.restore_mode == RestoreMode::Copy {
        return Ok(Way::Copy);
    }
    if config.keeps_backups && sets.find()?.sets.len() < 2 {
        warn!(set = %set.name, "it is the only backup, so it is copied, and stays");
        return Ok(Way::Copy);
    }
    let parent = config.data.parent().unwrap_or(Path::new("/"));
    let is_near = files::is_same_filesystem(&set.path, parent)
        .map_err(|error| Error::io("look at", &set.path, error))?;
    if !is_near {
        info!("slave_data is on another filesystem, so the set is copied");
        return Ok(Way::Copy);
    }
    Ok(Way::Move)
}
