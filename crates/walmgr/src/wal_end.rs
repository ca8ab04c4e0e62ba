//! Where the WAL that is here ends, and whether its last record is that of a clean shutdown.
//!
//! The records are walked through from the beginning of the last segment but one: each names the one before, so
//! what is left of an older use of the file is no record. Source: `XLogRecord` of the server's
//! `access/xlogrecord.h`, pages of `access/xlog_internal.h`, `CheckPoint` of `catalog/pg_control.h`; the same from
//! 14 to 18, in the byte order of the machine.

use std::io::{ErrorKind, Read};

use postgres::types::PgLsn;

use crate::archive::{Archive, Form, Identity, Listing, Stored};
use crate::config::SlaveConfig;
use crate::names::{Segment, SegmentSize, WalName};
use crate::page::{HEADER, Header, valid_length};
use crate::server::{Control, DataDir};
use crate::{Error, partial, receiver};

/// Bytes of a record's header.
const RECORD: usize = 24;

/// Bytes of the header of a page that does not begin a segment.
const SHORT_HEADER: usize = 24;

/// In `xlp_info`: the page begins with the rest of a record.
const CONTINUES: u16 = 1;

/// In `xlp_info`: the header is one of [`HEADER`] bytes.
const LONG_HEADER: u16 = 2;

/// Bytes of a record that are kept to be looked at: a checkpoint has fewer.
const KEPT: usize = 512;

/// `xl_info` of the record at a clean shutdown, and of the one that ends a segment early; both of `RM_XLOG_ID`.
const SHUTDOWN: u8 = 0x00;
const SWITCH: u8 = 0x40;

/// The end of the WAL that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// End of the last whole record.
    pub(crate) position: PgLsn,
    /// Whether that is the record of a clean shutdown, and nothing follows.
    pub(crate) is_shutdown: bool,
}

/// Finds the end of the WAL that a standby can replay, wherever it is; `None` if there is none.
///
/// # Errors
/// It cannot be read.
pub(crate) fn find(config: &SlaveConfig, control: &Control) -> Result<Option<Ending>, Error> {
    let Some(identity) = Identity::read(&config.completed_wals)? else {
        return Ok(None);
    };
    let size = identity.segment_size;
    let Some(last) = newest(config, control)? else {
        return Ok(None);
    };
    let number = last.number(size);
    let mut walk = Walk::default();
    // A record may reach from one segment into the next.
    for number in number.saturating_sub(1)..=number {
        let segment = Segment::numbered(last.timeline, number, size);
        let Some(stored) = best(config, segment)? else {
            continue;
        };
        let walked = match stored.open() {
            Ok(mut content) => walk.segment(&mut content, segment, size),
            // Archived meanwhile: the next look finds it there.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        };
        let is_whole = walked.map_err(|error| Error::io("read", &stored.path, error))?;
        if !is_whole && segment != last {
            // What follows is here: more of this one was written than has come.
            return Ok(walk.ending().map(|ending| Ending {
                is_shutdown: false,
                ..ending
            }));
        }
    }
    Ok(walk.ending())
}

/// The last segment of the newest timeline, finished or not.
fn newest(config: &SlaveConfig, control: &Control) -> Result<Option<Segment>, Error> {
    let wal = DataDir::new(&config.data, None).wal();
    let mut segments: Vec<Segment> = Vec::new();
    segments.extend(receiver::all_wal(config)?.segments());
    segments.extend(partial::names(config));
    segments.extend(
        receiver::unfinished(config)
            .into_iter()
            .map(|found| found.0),
    );
    // A server keeps files that it has used under names to come.
    let own = Listing::read(&wal)?;
    let is_of = |segment: &Segment| {
        Header::of_file(&wal.join(segment.to_string())).is_some_and(|header| header.is_of(*segment))
    };
    segments.extend(own.segments().filter(is_of));
    let timeline = segments.iter().map(|segment| segment.timeline).max();
    let timeline = timeline.unwrap_or_default().max(control.timeline);
    Ok(segments
        .into_iter()
        .filter(|segment| segment.timeline == timeline)
        .max())
}

/// What there is of a segment: a finished one, or the one that has most.
fn best(config: &SlaveConfig, segment: Segment) -> Result<Option<Stored>, Error> {
    let archive = Archive::new(&config.completed_wals);
    if let Some(stored) = archive.find(WalName::Segment(segment))? {
        return Ok(Some(stored));
    }
    let mut dirs = vec![DataDir::new(&config.data, None).wal()];
    dirs.extend(
        config
            .receiver
            .as_ref()
            .map(|receiver| receiver.dir.clone()),
    );
    let finished = dirs.into_iter().filter_map(|dir| {
        let path = dir.join(segment.to_string());
        Some((valid_length(&path, segment)?, path))
    });
    let most = finished
        .chain(partial::most(config, segment))
        .max_by_key(|(length, _)| *length);
    Ok(most.map(|(_, path)| Stored {
        path,
        form: Form::Plain,
    }))
}

/// A record that has been read to its end.
#[derive(Debug, Clone, Copy)]
struct Record {
    start: u64,
    end: u64,
    is_shutdown: bool,
}

/// A record of which the rest is on the next page.
#[derive(Debug)]
struct Open {
    start: u64,
    missing: usize,
    kept: Vec<u8>,
}

/// What follows a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Page,
    /// The rest of the segment is empty.
    Segment,
    Nothing,
}

/// A walk from record to record.
#[derive(Debug, Default)]
struct Walk {
    last: Option<Record>,
    open: Option<Open>,
    /// Bytes of a record whose beginning was not seen.
    skipped: usize,
}

impl Walk {
    /// Walks through a segment; false if the WAL ends in it.
    fn segment(
        &mut self,
        content: &mut dyn Read,
        segment: Segment,
        size: SegmentSize,
    ) -> std::io::Result<bool> {
        let start = u64::from(segment.start(size));
        let mut page = vec![0; HEADER];
        // The first page says how large they are.
        if !read_whole(content, &mut page)? {
            return Ok(false);
        }
        let Some(header) = Header::read(&page) else {
            return Ok(false);
        };
        page.resize(header.page_size as usize, 0);
        let mut unread = HEADER;
        for address in (start..start + size.bytes()).step_by(page.len()) {
            if !read_whole(content, &mut page[unread..])? {
                return Ok(false);
            }
            unread = 0;
            match self.page(&page, address) {
                Next::Page => {}
                Next::Segment => return Ok(true),
                Next::Nothing => return Ok(false),
            }
        }
        Ok(true)
    }

    fn page(&mut self, page: &[u8], address: u64) -> Next {
        let two = |at: usize| u16::from_ne_bytes([page[at], page[at + 1]]);
        let flags = two(2);
        if number(page, 8) != address {
            return Next::Nothing;
        }
        let mut at = match flags & LONG_HEADER {
            0 => SHORT_HEADER,
            _ => HEADER,
        };
        let rest = match flags & CONTINUES {
            0 => 0,
            _ => length(page, 16),
        };
        match &self.open {
            // A server that died did not write its rest, and began anew.
            Some(open) if open.missing != rest => {
                self.open = None;
                self.last = None;
                self.skipped = rest;
            }
            Some(_) => {}
            None => self.skipped = rest,
        }
        loop {
            if self.skipped > 0 {
                let there = self.skipped.min(page.len() - at);
                self.skipped -= there;
                at = aligned(at + there);
            }
            if let Some(open) = &mut self.open {
                let there = open.missing.min(page.len() - at);
                let kept = there.min(KEPT.saturating_sub(open.kept.len()));
                open.kept.extend_from_slice(&page[at..at + kept]);
                open.missing -= there;
                at = aligned(at + there);
                if open.missing == 0
                    && let Some(next) = self.close(address + at as u64)
                {
                    return next;
                }
            }
            if at >= page.len() {
                return Next::Page;
            }
            let missing = length(page, at);
            if missing < RECORD {
                return Next::Nothing;
            }
            self.open = Some(Open {
                start: address + at as u64,
                missing,
                kept: Vec::new(),
            });
        }
    }

    /// A record is whole: what follows it, if that is not just the next one.
    fn close(&mut self, end: u64) -> Option<Next> {
        let Open { start, kept, .. } = self.open.take()?;
        let before = number(&kept, 8);
        if self.last.is_some_and(|last| last.start != before) {
            return Some(Next::Nothing);
        }
        let kind = (kept[17] == 0).then_some(kept[16] & 0xF0);
        self.last = Some(Record {
            start,
            end,
            is_shutdown: kind == Some(SHUTDOWN) && is_checkpoint(&kept, start),
        });
        (kind == Some(SWITCH)).then_some(Next::Segment)
    }

    fn ending(&self) -> Option<Ending> {
        let last = self.last?;
        Some(Ending {
            position: last.end.into(),
            is_shutdown: last.is_shutdown && self.open.is_none(),
        })
    }
}

/// Whether a record is whole, by its own checksum, and a checkpoint that begins where it stands.
fn is_checkpoint(record: &[u8], start: u64) -> bool {
    let body = &record[RECORD..];
    // Two bytes before it say that data follow, and how many.
    length(record, 0) == record.len()
        && body.len() >= 10
        && number(body, 2) == start
        && crc32c(&[body, &record[..RECORD - 4]])
            == u32::from_ne_bytes([record[20], record[21], record[22], record[23]])
}

/// Eight bytes of a page or a record.
fn number(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(eight)
}

/// Four bytes that say how long something is.
fn length(bytes: &[u8], at: usize) -> usize {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    usize::try_from(u32::from_ne_bytes(four)).unwrap_or(usize::MAX)
}

/// Records begin at multiples of eight.
fn aligned(at: usize) -> usize {
    at.next_multiple_of(8)
}

/// The server's checksum of records, a bit at a time: it is for one short record.
fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// Fills a block; false if there is less.
fn read_whole(content: &mut dyn Read, block: &mut [u8]) -> std::io::Result<bool> {
    match content.read_exact(block) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use proptest::prelude::*;
    use testkit::{Cluster, Shutdown, TestResult};

    use super::{Ending, Walk, crc32c};
    use crate::names::{Segment, SegmentSize};
    use crate::page::Header;
    use crate::page::tests::page;

    /// The end of the WAL in a server's directory, which goes on in the segment that is named.
    fn ending(cluster: &Cluster, last: Segment, size: SegmentSize) -> TestResult<Option<Ending>> {
        let mut walk = Walk::default();
        let number = last.number(size);
        for number in number.saturating_sub(1)..=number {
            let segment = Segment::numbered(last.timeline, number, size);
            let path = cluster.data_dir().join("pg_wal").join(segment.to_string());
            if let Ok(mut file) = File::open(path) {
                walk.segment(&mut file, segment, size)?;
            }
        }
        Ok(walk.ending())
    }

    #[test]
    fn the_end_of_a_clean_shutdown_is_told_from_any_other() -> TestResult {
        let mut cluster = Cluster::start()?;
        let mut db = cluster.connect("postgres")?;
        let wal = cluster.data_dir().join("pg_wal");
        let current = |db: &mut postgres::Client| -> TestResult<Segment> {
            let row = db.query_one("select pg_walfile_name(pg_current_wal_insert_lsn())", &[])?;
            Ok(row.get::<_, String>(0).parse()?)
        };
        let first = current(&mut db)?;
        let size = Header::of_file(&wal.join(first.to_string()))
            .ok_or("a header")?
            .segment_size;
        // Records of many lengths, also over the end of a page, and of a segment; and one that ends a segment early.
        db.batch_execute(
            "create table t (x text); alter table t alter x set storage external; \
             insert into t select repeat('x', n % 2000) from generate_series(1, 4000) n; \
             select pg_switch_wal(); insert into t values ('x'); checkpoint",
        )?;
        for sql in ["checkpoint", "insert into t select repeat('y', 3000)"] {
            db.batch_execute(sql)?;
            let last = current(&mut db)?;
            let end: postgres::types::PgLsn = db
                .query_one("select pg_current_wal_flush_lsn()", &[])?
                .get(0);
            let found = ending(&cluster, last, size)?.ok_or("no end")?;
            assert!(found.position >= end, "{sql}: {found:?}, flushed {end}");
            assert!(!found.is_shutdown, "{sql}: {found:?}");
        }
        assert!(current(&mut db)?.number(size) > first.number(size) + 2);
        drop(db);
        cluster.stop(Shutdown::Fast)?;
        let names = std::fs::read_dir(&wal)?.flatten();
        let segments = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let own = |segment: &Segment| {
            Header::of_file(&wal.join(segment.to_string()))
                .is_some_and(|header| header.is_of(*segment))
        };
        let last = segments.filter(own).max().ok_or("no WAL")?;
        let found = ending(&cluster, last, size)?.ok_or("no end")?;
        assert!(found.is_shutdown, "{found:?}");
        // Without its last byte it is none.
        let path = wal.join(last.to_string());
        let mut bytes = std::fs::read(&path)?;
        let start = u64::from(last.start(size));
        let at = usize::try_from(u64::from(found.position) - start)? - 8;
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes)?;
        let damaged = ending(&cluster, last, size)?.ok_or("no end")?;
        assert!(!damaged.is_shutdown, "{damaged:?}");
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes)?;
        cluster.start_again()?;
        let mut db = cluster.connect("postgres")?;
        db.batch_execute("insert into t values ('z')")?;
        drop(db);
        cluster.stop(Shutdown::Kill)?;
        let found = ending(&cluster, last, size)?.ok_or("no end")?;
        assert!(!found.is_shutdown, "{found:?}");
        Ok(())
    }

    #[test]
    fn the_checksum_is_the_servers() {
        assert_eq!(crc32c(&[b"123456789"]), 0xE306_9283);
        assert_eq!(crc32c(&[b"1234", b"56789"]), 0xE306_9283);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000), at in 40usize..20_000) {
            let size = SegmentSize::new(1 << 20).expect("a size");
            let segment: Segment = "000000010000000000000001".parse().expect("a name");
            let mut content = page(segment, size, 77);
            content.resize(8192 * 3, 0);
            // Anywhere after the header of the first page.
            let end = (at + bytes.len()).min(content.len());
            content[at..end].copy_from_slice(&bytes[..end - at]);
            let mut walk = Walk::default();
            let _ = walk.segment(&mut &content[..], segment, size);
            let _ = walk.ending();
        }
    }
}
