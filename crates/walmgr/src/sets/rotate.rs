//! Making room for a new set, and letting old ones go.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use skytools::{failpoint, shell};
use tracing::{info, warn};

use super::keep::begun;
use super::{Held, Info, Keep, Set, Sets};
use crate::files::remove_tree;
use crate::{Error, durable};

/// Prefix of a set that is being deleted.
const TRASH: &str = ".trash.";

impl Sets {
    /// Puts the backup under way in the place of the newest set, which becomes an older one.
    ///
    /// A crash in between leaves every set whole under some name.
    pub(crate) fn commit(&self) -> Result<(), Error> {
        let under_way = self.in_progress();
        self.shift()?;
        failpoint::step("commit.shifted");
        rename(&under_way, self.full())?;
        self.sync()?;
        failpoint::step("commit.committed");
        Ok(())
    }

    /// Frees the name of the newest set: each set gets the next number, as far as numbers are taken.
    pub(crate) fn shift(&self) -> Result<(), Error> {
        let full = self.full();
        if !full.is_dir() {
            return Ok(());
        }
        // What older installations made, and what a set cannot replace.
        if fs::remove_dir(full).is_ok() {
            return Ok(());
        }
        let free = (0..)
            .find(|number| !self.numbered(*number).exists())
            .unwrap_or(u32::MAX);
        for number in (0..free).rev() {
            rename(&self.numbered(number), &self.numbered(number + 1))?;
        }
        rename(full, &self.numbered(0))?;
        self.sync()
    }

    /// Deletes the sets that nothing keeps, from the oldest on, and never the newest. Answers with their names;
    /// for `dry_run` nothing is done.
    ///
    /// # Errors
    /// A set cannot be deleted, or the command that archives it fails: it and newer ones stay.
    pub(crate) fn expire(&self, keep: Keep, dry_run: bool) -> Result<Vec<String>, Error> {
        let sets = self.find()?.sets;
        let begun: Vec<Option<Timestamp>> = sets.iter().map(begun).collect();
        if begun.iter().flatten().any(|time| *time > Timestamp::now()) {
            warn!("the clock of this host is behind that of the master");
        }
        let kept = |set: &Set| set.info.as_ref().is_some_and(|info| info.keep);
        let mut gone = Vec::new();
        for set in keep
            .expired(&begun)
            .into_iter()
            .rev()
            .map(|index| &sets[index])
        {
            if kept(set) {
                info!(set = %set.name, "kept by its own mark");
                continue;
            }
            // Held until it is gone: nobody begins to read it now.
            let Some(_held) = Held::alone(&set.path)? else {
                info!(set = %set.name, "stays, since it is being read");
                continue;
            };
            gone.push(set.name.clone());
            if !dry_run {
                self.delete(set)?;
            }
        }
        if !dry_run {
            self.empty_trash();
        }
        Ok(gone)
    }

    fn delete(&self, set: &Set) -> Result<(), Error> {
        if let Some(command) = &self.archive_command {
            run_archive_command(command, &set.path)?;
        }
        failpoint::step("expire.archived");
        let trash = self.parent().join(format!("{TRASH}{}", set.name));
        remove_tree(&trash).map_err(|error| Error::io("remove", &trash, error))?;
        rename(&set.path, &trash)?;
        self.sync()?;
        failpoint::step("expire.renamed");
        remove_tree(&trash).map_err(|error| Error::io("remove", &trash, error))?;
        info!(set = %set.name, "expired");
        Ok(())
    }

    /// Sets that are being deleted, or were when that was interrupted.
    pub(crate) fn trash(&self) -> Result<Vec<PathBuf>, Error> {
        let parent = self.parent();
        let unlisted = |error| Error::io("list", parent, error);
        let base = self
            .full()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let prefix = format!("{TRASH}{base}");
        let mut found = Vec::new();
        for entry in fs::read_dir(parent).map_err(unlisted)? {
            let entry = entry.map_err(unlisted)?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }

    /// Goes on with deletions that were interrupted.
    fn empty_trash(&self) {
        for path in self.trash().unwrap_or_default() {
            if let Err(error) = remove_tree(&path) {
                warn!(path = %path.display(), %error, "cannot remove");
            }
        }
    }

    /// Removes what an earlier backup has left.
    pub(crate) fn clear_in_progress(&self) -> Result<(), Error> {
        let under_way = self.in_progress();
        if !under_way.exists() {
            return Ok(());
        }
        let what = match Info::read(&under_way) {
            Ok(Some(info)) => info.start_time,
            _ => "unknown time".to_owned(),
        };
        warn!(path = %under_way.display(), started = %what, "removing what an earlier backup has left");
        match self.set_aside() {
            Ok(trash) => self.remove_aside(&trash),
            Err(error) => {
                warn!("{}", skytools::app::chain(&error));
                remove_tree(&under_way).map_err(|error| Error::io("remove", &under_way, error))?;
            }
        }
        Ok(())
    }

    /// Gives what an earlier backup has left another name, which is that of something to be deleted. What copied there
    /// may still run, as the master died without it: it goes on where nobody looks.
    pub(crate) fn set_aside(&self) -> Result<PathBuf, Error> {
        let base = self
            .full()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let name = format!("{TRASH}{base}.inprogress");
        let mut trash = self.parent().join(&name);
        // One that something still writes to may not be gone: then it is another one.
        let mut number = 0;
        while remove_tree(&trash).is_err() && trash.exists() {
            number += 1;
            trash = self.parent().join(format!("{name}.{number}"));
        }
        rename(&self.in_progress(), &trash)?;
        self.sync()?;
        Ok(trash)
    }

    /// Deletes what has been set aside.
    pub(crate) fn remove_aside(&self, trash: &Path) {
        if let Err(error) = remove_tree(trash) {
            warn!(path = %trash.display(), %error, "cannot remove, and will try again");
        }
    }

    fn sync(&self) -> Result<(), Error> {
        let parent = self.parent();
        durable::sync_dir(parent).map_err(|error| Error::io("sync", parent, error))
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|error| Error::io("rename", from, error))
}

/// The command of the configuration, with `$BACKUPDIR` in its text and in its environment.
fn run_archive_command(command: &str, set: &Path) -> Result<(), Error> {
    let quoted = shell::quote(set);
    let text = command.replace("$BACKUPDIR", &quoted.to_string_lossy());
    info!(command = %text, "archiving a set before it goes");
    let failed = |problem: String| Error::Program {
        what: format!("archive_command for {}", set.display()),
        problem,
    };
    let status = Command::new("sh")
        .args(["-c", &text])
        .env("BACKUPDIR", set)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| failed(error.to_string()))?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(format!("{status}; the set stays"))),
    }
}
