//! The header of a WAL segment's first page: whose segment it is.
//!
//! Source: `XLogLongPageHeaderData`, the server's `access/xlog_internal.h`; in the byte order of the machine.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::names::{Segment, SegmentSize};

/// Bytes of the header.
pub(crate) const HEADER: usize = 40;

/// Set in `xlp_info` of the first page of each segment.
const LONG_HEADER: u16 = 2;

/// `xlp_magic` of the versions that are known, 14 to 18 and two before.
const MAGICS: [u16; 7] = [0xD101, 0xD106, 0xD10D, 0xD110, 0xD113, 0xD116, 0xD118];

/// What the first page says of its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) magic: u16,
    pub(crate) timeline: u32,
    /// Position of the page.
    pub(crate) address: u64,
    pub(crate) system_identifier: u64,
    pub(crate) segment_size: SegmentSize,
    /// Bytes of a page.
    pub(crate) page_size: u32,
}

impl Header {
    /// Reads the header; `None` if these bytes begin no segment.
    pub(crate) fn read(page: &[u8]) -> Option<Header> {
        let two = |at: usize| Some(u16::from_ne_bytes(page.get(at..at + 2)?.try_into().ok()?));
        let four = |at: usize| Some(u32::from_ne_bytes(page.get(at..at + 4)?.try_into().ok()?));
        let eight = |at: usize| Some(u64::from_ne_bytes(page.get(at..at + 8)?.try_into().ok()?));
        if page.len() < HEADER || two(2)? & LONG_HEADER == 0 {
            return None;
        }
        Some(Header {
            magic: two(0)?,
            timeline: four(4)?,
            address: eight(8)?,
            system_identifier: eight(24)?,
            segment_size: SegmentSize::new(four(32)?.into())?,
            page_size: four(36)
                .filter(|size| size.is_power_of_two() && (1024..=65536).contains(size))?,
        })
    }

    /// That of a file; `None` if it has none.
    pub(crate) fn of_file(path: &Path) -> Option<Header> {
        let mut head = [0; HEADER];
        File::open(path).ok()?.read_exact(&mut head).ok()?;
        Header::read(&head)
    }

    pub(crate) fn is_known_version(&self) -> bool {
        MAGICS.contains(&self.magic)
    }

    /// Whether it begins this segment.
    ///
    /// A segment that a timeline has taken over from the one before may still say so on its first page.
    pub(crate) fn is_of(&self, segment: Segment) -> bool {
        self.timeline <= segment.timeline
            && self.address == u64::from(segment.start(self.segment_size))
    }
}

/// Bytes from the beginning of an unfinished segment to the first page that is not of it; `None` if not even
/// the first page is.
pub(crate) fn valid_length(path: &Path, segment: Segment) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    let mut head = [0; HEADER];
    file.read_exact(&mut head).ok()?;
    let header = Header::read(&head).filter(|header| header.is_of(segment))?;
    let page = u64::from(header.page_size);
    let mut length = page;
    let mut short = [0; 16];
    while length < header.segment_size.bytes() {
        file.seek(SeekFrom::Start(length)).ok()?;
        let address = match file.read_exact(&mut short) {
            Ok(()) => u64::from_ne_bytes(short[8..].try_into().ok()?),
            Err(_) => break,
        };
        if address != header.address + length {
            break;
        }
        length += page;
    }
    Some(length)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::Header;
    use crate::names::{Segment, SegmentSize};

    /// The first bytes of a segment, as a server would write them.
    pub(crate) fn page(segment: Segment, size: SegmentSize, system_identifier: u64) -> Vec<u8> {
        let mut page = Vec::new();
        page.extend(0xD110u16.to_ne_bytes());
        page.extend(6u16.to_ne_bytes());
        page.extend(segment.timeline.to_ne_bytes());
        page.extend(u64::from(segment.start(size)).to_ne_bytes());
        page.extend([0; 8]);
        page.extend(system_identifier.to_ne_bytes());
        page.extend(u32::try_from(size.bytes()).expect("fits").to_ne_bytes());
        page.extend(8192u32.to_ne_bytes());
        page
    }

    #[test]
    fn a_header_tells_whose_segment_it_is() {
        let size = SegmentSize::new(1 << 20).expect("a size");
        let segment: Segment = "0000000200000001000000A0".parse().expect("a name");
        let header = Header::read(&page(segment, size, 77)).expect("a header");
        assert_eq!(header.system_identifier, 77);
        assert!(header.is_known_version());
        assert!(header.is_of(segment));
        assert!(!header.is_of(Segment::numbered(2, segment.number(size) + 1, size)));
        assert_eq!(Header::read(&[0; 8192]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Header::read(&bytes);
        }
    }
}
