//! What the receiver has written.
//!
//! The newest file says where it goes on, and stays.

use std::fs::{self, File};
use std::io::Read;

use skytools::failpoint;
use tracing::{debug, info, warn};

use super::{child, create_slot};
use crate::archive::{Identity, Listing};
use crate::config::{ReceiverConfig, SlaveConfig};
use crate::names::{Segment, WalName};
use crate::page::{HEADER, Header};
use crate::{Error, durable, page};

/// What has to be in order before a receiver is started.
///
/// # Errors
/// The directory is missing or holds WAL of another cluster, a receiver that was left does not end, or the
/// master refuses to make the slot.
pub(super) fn prepare(config: &SlaveConfig, receiver: &ReceiverConfig) -> Result<(), Error> {
    let dir = &receiver.dir;
    if !dir.is_dir() {
        return Err(Error::Refused(format!(
            "stream_wals: there is no directory {}: is its disk mounted? setup makes it",
            dir.display()
        )));
    }
    child::end(dir)?;
    let listing = Listing::read(dir)?;
    for segment in partials(&listing) {
        remove_unpadded(config, receiver, segment)?;
    }
    match newest(&Listing::read(dir)?) {
        // Only a new receiver makes a slot. Later none means that this is not the master it began with.
        None => create_slot(config, &receiver.conninfo, &receiver.slot),
        Some(name) => check_identity(config, receiver, name),
    }
}

fn partials(listing: &Listing) -> Vec<Segment> {
    let segments = listing.names().filter_map(|name| match name {
        WalName::Partial(segment) => Some(segment),
        _ => None,
    });
    segments.collect()
}

/// Unfinished segments, and their bytes in whole pages, up to the one that is being filled.
pub(crate) fn unfinished(config: &SlaveConfig) -> Vec<(Segment, u64)> {
    let Some(receiver) = &config.receiver else {
        return Vec::new();
    };
    let listing = Listing::read(&receiver.dir).unwrap_or_default();
    let lengths = partials(&listing).into_iter().filter_map(|segment| {
        let path = receiver.dir.join(WalName::Partial(segment).to_string());
        Some((segment, page::valid_length(&path, segment)?))
    });
    lengths.collect()
}

/// The last file with WAL, finished or not.
fn newest(listing: &Listing) -> Option<WalName> {
    let place = |name: &WalName| name.segment().map(|s| (s.place(), s.timeline));
    listing
        .names()
        .filter(|name| name.holds_wal())
        .max_by_key(place)
}

/// Removes a segment that was being made when the receiver was killed: it is filled up with zeros first, and holds
/// no WAL before it has its full size. The receiver would refuse to go on with it.
fn remove_unpadded(
    config: &SlaveConfig,
    receiver: &ReceiverConfig,
    segment: Segment,
) -> Result<(), Error> {
    let path = receiver.dir.join(WalName::Partial(segment).to_string());
    let size = fs::metadata(&path)
        .map_err(|error| Error::io("look at", &path, error))?
        .len();
    let identity = Identity::read(&config.completed_wals)?;
    let mut head = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(HEADER as u64).read_to_end(&mut head))
        .map_err(|error| Error::io("read", &path, error))?;
    // Its first page says the size, if it has one.
    let full = match (Header::read(&head), identity) {
        (Some(header), _) => header.segment_size.bytes(),
        (None, Some(identity)) => identity.segment_size.bytes(),
        (None, None) => return Ok(()),
    };
    if size == full || Header::read(&head).is_some() {
        return Ok(());
    }
    debug!(%segment, size, "the receiver died while it made this segment");
    durable::remove(&path)
        .map(|_| ())
        .map_err(|error| Error::io("remove", &path, error))
}

/// Makes sure that what comes is WAL of the archive's cluster.
pub(super) fn check_newest(config: &SlaveConfig, receiver: &ReceiverConfig) -> Result<(), Error> {
    match newest(&Listing::read(&receiver.dir)?) {
        Some(name) => check_identity(config, receiver, name),
        None => Ok(()),
    }
}

/// Another cluster would be written over what is here.
fn check_identity(
    config: &SlaveConfig,
    receiver: &ReceiverConfig,
    name: WalName,
) -> Result<(), Error> {
    let path = receiver.dir.join(name.to_string());
    let mut head = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(HEADER as u64).read_to_end(&mut head))
        .map_err(|error| Error::io("read", &path, error))?;
    let (Some(header), Some(identity)) =
        (Header::read(&head), Identity::read(&config.completed_wals)?)
    else {
        return Ok(());
    };
    match header.system_identifier == identity.system_identifier {
        true => Ok(()),
        false => Err(Error::Refused(format!(
            "{} is WAL of system {}, and the archive of {}: does wal_conninfo lead to the master?",
            path.display(),
            header.system_identifier,
            identity.system_identifier
        ))),
    }
}

/// Removes what the archive has.
pub(super) fn remove_archived(
    config: &SlaveConfig,
    receiver: &ReceiverConfig,
) -> Result<(), Error> {
    let archived = Listing::read(&config.completed_wals)?;
    remove(receiver, false, |segment| archived.has(segment)).map(|_| ())
}

/// Removes segments before a boundary, as the archive does. Answers with their number.
///
/// # Errors
/// One cannot be removed.
pub(crate) fn purge(
    config: &SlaveConfig,
    boundary: Segment,
    dry_run: bool,
) -> Result<usize, Error> {
    match &config.receiver {
        Some(receiver) if receiver.dir.is_dir() => remove(receiver, dry_run, |segment| {
            segment.place() < boundary.place()
        }),
        _ => Ok(0),
    }
}

fn remove(
    receiver: &ReceiverConfig,
    dry_run: bool,
    is_wanted: impl Fn(Segment) -> bool,
) -> Result<usize, Error> {
    let listing = Listing::read(&receiver.dir)?;
    let newest = newest(&listing);
    let mut count = 0;
    for name in listing.names().filter(|name| name.holds_wal()) {
        let is_old = name.segment().is_some_and(&is_wanted);
        if !is_old || Some(name) == newest {
            continue;
        }
        if !dry_run {
            failpoint::step("receiver.remove");
            let path = receiver.dir.join(name.to_string());
            durable::remove(&path).map_err(|error| Error::io("remove", &path, error))?;
        }
        debug!(%name, "streamed, and not needed any more");
        count += 1;
    }
    Ok(count)
}

/// Begins anew if the master does not have any more what comes next, and the archive does: its slot was lost.
pub(super) fn forget_lost_position(
    config: &SlaveConfig,
    receiver: &ReceiverConfig,
    error: &Error,
) -> Result<(), Error> {
    let is_lost = matches!(error, Error::Program { problem, .. } if problem.contains("has already been removed"));
    if !is_lost {
        return Ok(());
    }
    let listing = Listing::read(&receiver.dir)?;
    let archived = Listing::read(&config.completed_wals)?;
    let mut segments = listing
        .names()
        .filter(|name| name.holds_wal())
        .filter_map(WalName::segment);
    if !segments.all(|segment| archived.has(segment)) {
        warn!(
            "the master has removed WAL that comes after what was streamed, and the archive does not have all of \
             that yet: streaming begins anew when it has"
        );
        return Ok(());
    }
    info!("the archive has what was streamed: streaming begins anew, where the master is now");
    for name in listing.names().filter(|name| name.holds_wal()) {
        let path = receiver.dir.join(name.to_string());
        durable::remove(&path).map_err(|error| Error::io("remove", &path, error))?;
    }
    Ok(())
}
