//! Several sessions of ssh over one connection, which stays open for a while.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, files};

/// Where sockets are: the path of one has to be short, and `$TMPDIR` need not be.
const PARENT: &str = "/tmp";

/// What ssh has to be told.
///
/// # Errors
/// There is no directory that is ours alone: who else writes there could read what we send.
pub(super) fn options(persist: Duration) -> Result<Vec<String>, Error> {
    let dir = directory()?;
    Ok([
        "ControlMaster=auto".to_owned(),
        format!("ControlPath={}/%C", dir.display()),
        format!("ControlPersist={}", persist.as_secs().max(1)),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect())
}

fn directory() -> Result<PathBuf, Error> {
    let own = rustix::process::geteuid().as_raw();
    let dir = Path::new(PARENT).join(OsString::from(format!("walmgr-{own}")));
    files::create_private_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
    // A link, or a directory of somebody else's, may have been there before.
    let metadata = fs::symlink_metadata(&dir).map_err(|error| Error::io("look at", &dir, error))?;
    match metadata.is_dir() && metadata.uid() == own && metadata.mode() & 0o077 == 0 {
        true => Ok(dir),
        false => Err(Error::Refused(format!(
            "ssh_multiplex: {} is not a directory of this user's alone: remove it, or set ssh_multiplex = 0",
            dir.display()
        ))),
    }
}
