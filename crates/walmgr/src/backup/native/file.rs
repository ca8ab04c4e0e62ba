//! Writing a file of a copy.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::digest::{self, Digest};

/// Bytes of a file that are copied before they are sent to the disk.
const FLUSH_AFTER: u64 = 32 << 20;

/// What a file was when its copy began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    pub(crate) size: u64,
    mode: u32,
    /// Since 1970.
    modified: Duration,
}

impl Attributes {
    pub(super) fn of(metadata: &Metadata) -> io::Result<Attributes> {
        let modified = metadata.modified()?;
        Ok(Attributes {
            size: metadata.len(),
            mode: metadata.permissions().mode() & 0o7777,
            modified: modified
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
        })
    }
}

/// Writes a file that is not there yet, with its mode and time; digest and size of what has been written. `each` is
/// told of the bytes of each block.
///
/// # Errors
/// It cannot be read or written, as `unread` and `unwritten` put it; or `each` says so.
pub(super) fn write(
    target: &Path,
    attributes: Attributes,
    from: &mut impl Read,
    unread: impl Fn(io::Error) -> Error,
    unwritten: impl Fn(io::Error) -> Error,
    mut each: impl FnMut(u64) -> Result<(), Error>,
) -> Result<(Digest, u64), Error> {
    let unwritten = &unwritten;
    let to = File::options()
        .create_new(true)
        .write(true)
        .mode(attributes.mode)
        .open(target)
        .map_err(unwritten)?;
    let copied = flushing(&to, attributes.size, unwritten, |more| {
        digest::pump(from, unread, |bytes| {
            let length = bytes.len() as u64;
            (&to).write_all(bytes).map_err(unwritten)?;
            more(length);
            each(length)
        })
    })?;
    to.set_permissions(Permissions::from_mode(attributes.mode))
        .and_then(|()| to.set_modified(SystemTime::UNIX_EPOCH + attributes.modified))
        .map_err(unwritten)?;
    Ok(copied)
}

/// Has a large file written to the disk while it is copied: else the disk has nothing to do before the end, and all
/// wait for it then. `copy` tells how much more there is.
fn flushing<T>(
    to: &File,
    size: u64,
    unwritten: impl Fn(io::Error) -> Error,
    copy: impl FnOnce(&mut dyn FnMut(u64)) -> Result<T, Error>,
) -> Result<T, Error> {
    if size < 2 * FLUSH_AFTER {
        return copy(&mut |_| {});
    }
    let (tell, told) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let flusher = scope.spawn(move || told.into_iter().try_for_each(|()| to.sync_data()));
        let mut waiting = 0;
        let copied = copy(&mut |more| {
            waiting += more;
            // Busy, it is told next time.
            if waiting >= FLUSH_AFTER && tell.try_send(()).is_ok() {
                waiting = 0;
            }
        });
        drop(tell);
        let flushed = flusher.join().expect("syncing does not panic");
        let copied = copied?;
        flushed.map_err(unwritten)?;
        Ok(copied)
    })
}
