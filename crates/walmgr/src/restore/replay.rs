//! How far replay is while a server comes up, and how much WAL is left to the end of what is here.

use std::fs;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use postgres::types::PgLsn;
use rustix::process::Pid;
use tracing::{debug, info};

use crate::archive::Identity;
use crate::config::SlaveConfig;
use crate::names::{Segment, SegmentSize};
use crate::progress::Progress;
use crate::server::{DataDir, standby};
use crate::{Error, receiver};

/// Between two looks at the server.
const POLL: Duration = Duration::from_secs(1);

/// WAL that a server has to replay.
pub(super) struct Replay<'a> {
    config: &'a SlaveConfig,
    data: DataDir,
    size: SegmentSize,
    /// Where it begins.
    start: PgLsn,
}

impl Replay<'_> {
    /// What a server that is about to be started has to replay; `None` while nothing was archived.
    ///
    /// # Errors
    /// The archive or the control file cannot be read.
    pub(super) fn of(config: &SlaveConfig) -> Result<Option<Replay<'_>>, Error> {
        let data = DataDir::new(&config.data, config.bin.as_deref());
        let start = data.control()?.redo();
        let identity = Identity::read(&config.completed_wals)?;
        Ok(identity.map(|identity| Replay {
            config,
            data,
            size: identity.segment_size,
            start,
        }))
    }

    /// The end of the last segment that is here.
    fn end(&self) -> PgLsn {
        let listing = receiver::all_wal(self.config).unwrap_or_default();
        let last = listing.segments().map(|segment| segment.number(self.size));
        let end = last.max().map_or(0, |last| last + 1);
        PgLsn::from(end * self.size.bytes())
    }

    fn left(&self, position: PgLsn) -> (u64, u64) {
        let bytes = u64::from(self.end()).saturating_sub(position.into());
        (bytes, bytes.div_ceil(self.size.bytes()))
    }

    /// Runs what starts the server, and shows meanwhile how far replay is.
    pub(super) fn watch<T>(&self, start: impl FnOnce() -> T) -> T {
        let (bytes, segments) = self.left(self.start);
        info!(from = %self.start, bytes, segments, "WAL to replay, to the end of what is here");
        let progress = Progress::of_segments("replaying", bytes, self.size.bytes());
        thread::scope(|scope| {
            let (done, is_done) = mpsc::channel::<()>();
            let progress = &progress;
            scope.spawn(move || {
                while is_done.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                    if let Some(segment) = self.replaying() {
                        let position = u64::from(segment.start(self.size));
                        progress.reach(position.saturating_sub(self.start.into()));
                    }
                }
            });
            let said = start();
            drop(done);
            said
        })
    }

    /// Says how far replay is now.
    pub(super) fn tell(&self) {
        let segment = || {
            let start = self.replaying()?.start(self.size);
            // A server that has just begun says no segment yet.
            Some(start.max(self.start))
        };
        let position = self.position().or_else(segment).unwrap_or(self.start);
        let (behind_bytes, behind_segments) = self.left(position);
        info!(
            %position,
            behind_bytes,
            behind_segments,
            "the server is alive and replays WAL"
        );
    }

    /// As the server says, if it takes connections.
    fn position(&self) -> Option<PgLsn> {
        let mut db = standby::connect(self.config)?;
        let row = db.query_one("select pg_last_wal_replay_lsn()", &[]).ok()?;
        row.get(0)
    }

    /// The segment that is being replayed, as the process that does it says: also when nobody can connect.
    fn replaying(&self) -> Option<Segment> {
        let postmaster = self.data.postmaster().ok()??;
        let found = children(postmaster).into_iter().find_map(|child| {
            let title = fs::read(format!("/proc/{child}/cmdline")).ok()?;
            segment_in(&String::from_utf8_lossy(&title))
        });
        debug!(?found, "replaying");
        found
    }
}

/// Ids of the processes that a process has started.
fn children(parent: Pid) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    let ids = text.split_whitespace().filter_map(|id| id.parse().ok());
    ids.collect()
}

/// `postgres: startup recovering 000000010000000000000003`
fn segment_in(title: &str) -> Option<Segment> {
    let (_, rest) = title.split_once("startup ")?;
    let words = ["recovering ", "waiting for "];
    let name = words.iter().find_map(|words| rest.strip_prefix(words))?;
    name.get(..24)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::segment_in;

    #[test]
    fn the_title_of_the_process_tells_the_segment() {
        let name = "00000002000000010000000A";
        for title in [
            format!("postgres: startup recovering {name}\0\0"),
            format!("postgres: shop: startup waiting for {name}"),
        ] {
            let segment = segment_in(&title).map(|segment| segment.to_string());
            assert_eq!(segment.as_deref(), Some(name), "{title}");
        }
        for title in [
            "postgres: startup ",
            "postgres: startup recovering 0000",
            "postgres: walreceiver streaming 0/3000148",
            "",
        ] {
            assert_eq!(segment_in(title), None, "{title}");
        }
    }
}
