//! Going on with a copy that was interrupted.
//!
//! What is kept is a hint: whoever copies compares all of it. It gets new directories, since what copied into the old
//! ones may still run, as when its master was cut off, and would replace files that have been compared.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use skytools::failpoint;
use tracing::{info, warn};

use super::super::rules::LEFT_OUT;
use crate::sets::{Info, Sets};
use crate::{Error, files};

/// Directories, beside the copy's own, that something copies into by itself.
const SPACES: &str = "tmpspc";
const GLOBAL: &str = "global";

/// Whether an earlier backup has left something that this one can go on with.
///
/// # Errors
/// It cannot be looked at.
pub(super) fn is_possible(sets: &Sets, info: &Info) -> Result<bool, Error> {
    let path = sets.in_progress();
    if !path.exists() {
        info!("there is no copy to go on with: a new one begins");
        return Ok(false);
    }
    let Some(left) = Info::read(&path).unwrap_or_default() else {
        warn!(path = %path.display(), "nobody knows what this is: a new copy begins");
        return Ok(false);
    };
    let of = |info: &Info| {
        let major = info.pg_version.split('.').next().map(str::to_owned);
        (info.method.clone(), info.system_identifier.clone(), major)
    };
    if of(&left) != of(info) {
        warn!(
            method = left.method,
            system_identifier = left.system_identifier,
            version = left.pg_version,
            "what was copied is of another kind: a new copy begins"
        );
        return Ok(false);
    }
    info!(
        started = left.start_time,
        "going on with the copy that was interrupted"
    );
    Ok(true)
}

/// Bytes that are there.
///
/// # Errors
/// They cannot be looked at.
pub(super) fn bytes(sets: &Sets) -> Result<u64, Error> {
    let path = sets.in_progress();
    files::size_of_tree(&path).map_err(|error| Error::io("list", &path, error))
}

/// Puts what is left into new directories.
///
/// # Errors
/// Something cannot be renamed; what has been is where it was meant to be.
pub(super) fn take_over(left: &Path, to: &Path) -> Result<(), Error> {
    for path in entries(left)? {
        let name = path.file_name().unwrap_or_default();
        if name == SPACES {
            for space in entries(&path)? {
                renew(&space, &to.join(SPACES))?;
            }
        } else if name == GLOBAL {
            renew(&path, to)?;
        // What only a backup that was nearly done has.
        } else if !LEFT_OUT.iter().any(|rule| *name == **rule) {
            rename(&path, to)?;
        }
        failpoint::step("begin.taken");
    }
    Ok(())
}

/// A new directory with what is in an old one.
fn renew(old: &Path, parent: &Path) -> Result<(), Error> {
    let new = parent.join(old.file_name().unwrap_or_default());
    let failed = |error| Error::io("create", &new, error);
    files::create_private_dir(&new).map_err(failed)?;
    let mode = fs::metadata(old).map_err(failed)?.permissions().mode();
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).map_err(failed)?;
    entries(old)?.iter().try_for_each(|path| rename(path, &new))
}

fn rename(path: &Path, to: &Path) -> Result<(), Error> {
    let to = to.join(path.file_name().unwrap_or_default());
    fs::rename(path, to).map_err(|error| Error::io("rename", path, error))
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs::read_dir(dir).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect()) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.map_err(|error| Error::io("list", dir, error)),
    }
}

/// Removes tablespaces that were there when the copy was interrupted, and are not in the backup.
///
/// # Errors
/// One cannot be removed.
pub(super) fn forget_spaces(path: &Path, info: &Info) -> Result<(), Error> {
    for space in entries(&path.join(SPACES))? {
        let name = space.file_name().unwrap_or_default().to_string_lossy();
        let is_known = info
            .tablespaces
            .iter()
            .any(|space| space.oid.to_string() == name);
        if !is_known {
            files::remove_tree(&space).map_err(|error| Error::io("remove", &space, error))?;
        }
    }
    Ok(())
}
