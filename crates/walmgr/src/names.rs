//! Names of WAL files, and where a position lies among them.
//!
//! Names are computed here and never by the server: its own functions answer with the segment before at a
//! boundary up to version 16, and not at all during recovery.

use std::fmt;
use std::str::FromStr;

use postgres::types::PgLsn;

/// Size of the cluster's segments: a power of two from 1 MB to 1 GB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentSize(u32);

impl SegmentSize {
    pub(crate) fn new(bytes: u64) -> Option<SegmentSize> {
        let is_size = bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes);
        is_size.then(|| u32::try_from(bytes).ok().map(SegmentSize))?
    }

    pub(crate) fn bytes(self) -> u64 {
        self.0.into()
    }

    /// Segments per 4 GB, which the middle part of a name counts.
    fn per_log(self) -> u64 {
        (1 << 32) / self.bytes()
    }
}

/// A segment: timeline and place. Of one timeline, the order is that of the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Segment {
    pub(crate) timeline: u32,
    log: u32,
    seg: u32,
}

impl Segment {
    /// The segment that holds the byte at a position.
    pub(crate) fn at(timeline: u32, lsn: PgLsn, size: SegmentSize) -> Segment {
        Segment::numbered(timeline, u64::from(lsn) / size.bytes(), size)
    }

    /// A segment by its number, counted from the beginning of the WAL. Numbers past the end of all
    /// positions come out as the last one.
    pub(crate) fn numbered(timeline: u32, number: u64, size: SegmentSize) -> Segment {
        let part = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Segment {
            timeline,
            log: part(number / size.per_log()),
            seg: part(number % size.per_log()),
        }
    }

    pub(crate) fn number(self, size: SegmentSize) -> u64 {
        u64::from(self.log) * size.per_log() + u64::from(self.seg)
    }

    /// Position of its first byte.
    pub(crate) fn start(self, size: SegmentSize) -> PgLsn {
        PgLsn::from(self.number(size).saturating_mul(size.bytes()))
    }

    /// Its place whatever the timeline: what purging compares.
    pub(crate) fn place(self) -> (u32, u32) {
        (self.log, self.seg)
    }

    /// Whether the server means "unknown" by it: `%r` before the first restart point.
    pub(crate) fn is_none(self) -> bool {
        self.timeline == 0
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline, self.log, self.seg)
    }
}

/// A text that is no name of a WAL file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no name of a WAL file")]
pub(crate) struct NotAName(String);

impl FromStr for Segment {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Segment, NotAName> {
        match text.parse()? {
            WalName::Segment(segment) => Ok(segment),
            _ => Err(NotAName(text.to_owned())),
        }
    }
}

/// Any file that a server archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum WalName {
    /// `000000010000000000000002`
    Segment(Segment),
    /// `000000010000000000000002.partial`: the last one of a timeline, as a promoted standby leaves it.
    Partial(Segment),
    /// `00000002.history`: where a timeline comes from.
    History(u32),
    /// `000000010000000000000002.00000028.backup`: when a base backup was taken.
    Backup(Segment, u32),
}

impl WalName {
    /// The segment that it is, or belongs to.
    pub(crate) fn segment(self) -> Option<Segment> {
        match self {
            WalName::Segment(segment) | WalName::Partial(segment) | WalName::Backup(segment, _) => {
                Some(segment)
            }
            WalName::History(_) => None,
        }
    }

    /// Whether its content is WAL, of the size of a segment.
    pub(crate) fn holds_wal(self) -> bool {
        matches!(self, WalName::Segment(_) | WalName::Partial(_))
    }
}

impl fmt::Display for WalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalName::Segment(segment) => write!(f, "{segment}"),
            WalName::Partial(segment) => write!(f, "{segment}.partial"),
            WalName::History(timeline) => write!(f, "{timeline:08X}.history"),
            WalName::Backup(segment, offset) => write!(f, "{segment}.{offset:08X}.backup"),
        }
    }
}

impl FromStr for WalName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<WalName, NotAName> {
        parse(text).ok_or_else(|| NotAName(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<WalName> {
    let mut parts = text.split('.');
    let first = parts.next()?;
    match (first.len(), parts.next(), parts.next(), parts.next()) {
        (24, None, None, None) => Some(WalName::Segment(segment(first)?)),
        (24, Some("partial"), None, None) => Some(WalName::Partial(segment(first)?)),
        (24, Some(offset), Some("backup"), None) => {
            Some(WalName::Backup(segment(first)?, word(offset)?))
        }
        (8, Some("history"), None, None) => Some(WalName::History(word(first)?)),
        _ => None,
    }
}

fn segment(text: &str) -> Option<Segment> {
    Some(Segment {
        timeline: word(text.get(..8)?)?,
        log: word(text.get(8..16)?)?,
        seg: word(text.get(16..)?)?,
    })
}

/// Eight hexadecimal digits, in capitals.
fn word(text: &str) -> Option<u32> {
    let digits = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    let is_word = text.len() == 8 && text.as_bytes().iter().all(digits);
    is_word.then(|| u32::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use postgres::types::PgLsn;
    use proptest::prelude::*;

    use super::{Segment, SegmentSize, WalName};

    fn size(bytes: u64) -> SegmentSize {
        SegmentSize::new(bytes).expect("a size")
    }

    #[test]
    fn only_powers_of_two_within_the_servers_limits_are_sizes() {
        for bytes in [0, 1, 1 << 19, (1 << 20) + 1, 3 << 20, 1 << 31, u64::MAX] {
            assert_eq!(SegmentSize::new(bytes), None, "{bytes}");
        }
        assert_eq!(size(1 << 20).bytes(), 1 << 20);
        assert_eq!(size(1 << 30).bytes(), 1 << 30);
    }

    #[test]
    fn names_wrap_where_the_size_says() {
        let name = |lsn: &str, bytes| {
            let lsn: PgLsn = lsn.parse().expect("a position");
            Segment::at(1, lsn, size(bytes)).to_string()
        };
        assert_eq!(name("0/1000028", 16 << 20), "000000010000000000000001");
        assert_eq!(name("0/FFFFFFFF", 16 << 20), "0000000100000000000000FF");
        assert_eq!(name("1/0", 16 << 20), "000000010000000100000000");
        assert_eq!(name("A/FFFFFFFF", 1 << 20), "000000010000000A00000FFF");
        assert_eq!(name("A/FFFFFFFF", 1 << 30), "000000010000000A00000003");
        let last: Segment = "000000010000000000000FFF".parse().expect("a name");
        let next = Segment::numbered(1, last.number(size(1 << 20)) + 1, size(1 << 20));
        assert_eq!(next.to_string(), "000000010000000100000000");
    }

    #[test]
    fn what_a_server_does_not_write_is_no_name() {
        for text in [
            "",
            "00000001000000000000000",
            "0000000100000000000000011",
            "00000001000000000000000a",
            "+0000001000000000000000A",
            "000000010000000000000001.",
            "000000010000000000000001.partial.partial",
            "000000010000000000000001.28.backup",
            "000000010000000000000001.00000028.backup.x",
            "../000000010000000000000001",
            "00000001.history/",
            "0000001.history",
            ".00000001.history",
            "é0000010000000000000001",
        ] {
            assert!(text.parse::<WalName>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_are_read_back(
            timeline in any::<u32>(), lsn in any::<u64>(), shift in 20u32..=30, offset in any::<u32>(),
        ) {
            let size = size(1 << shift);
            let segment = Segment::at(timeline, PgLsn::from(lsn), size);
            prop_assert_eq!(u64::from(segment.start(size)), lsn / size.bytes() * size.bytes());
            for name in [
                WalName::Segment(segment),
                WalName::Partial(segment),
                WalName::History(timeline),
                WalName::Backup(segment, offset),
            ] {
                prop_assert_eq!(name.to_string().parse(), Ok(name));
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>(), near in "[0-9A-F]{8,24}(\\.[a-z0-9]{1,8}){0,2}") {
            for text in [text, near] {
                if let Ok(name) = text.parse::<WalName>() {
                    prop_assert_eq!(name.to_string(), text);
                }
            }
        }
    }
}
