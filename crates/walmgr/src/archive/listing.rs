//! What is in an archive.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::error::At;
use super::{ArchiveError, Form};
use crate::names::{Segment, SegmentSize, WalName};

/// The files of an archive, as it was when it was looked at. Names of anything else do not count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    names: BTreeSet<WalName>,
}

impl Listing {
    pub(crate) fn read(dir: &Path) -> Result<Listing, ArchiveError> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(dir).at("list", dir)? {
            let entry = entry.at("list", dir)?;
            if let Some((name, _)) = Form::parse(&entry.file_name()) {
                names.insert(name);
            }
        }
        Ok(Listing { names })
    }

    /// Together with the files of another directory.
    pub(crate) fn and(mut self, dir: &Path) -> Result<Listing, ArchiveError> {
        self.names.extend(Listing::read(dir)?.names);
        Ok(self)
    }

    pub(crate) fn has(&self, segment: Segment) -> bool {
        self.names.contains(&WalName::Segment(segment))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = WalName> {
        self.names.iter().copied()
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = Segment> {
        self.names.iter().filter_map(|name| match name {
            WalName::Segment(segment) => Some(*segment),
            _ => None,
        })
    }

    /// The newest segment of a timeline.
    pub(crate) fn newest(&self, timeline: u32) -> Option<Segment> {
        self.segments().filter(|s| s.timeline == timeline).max()
    }

    /// Whether later segments of the timeline are there and this one is not.
    pub(crate) fn is_gap(&self, segment: Segment) -> bool {
        !self.has(segment)
            && self
                .newest(segment.timeline)
                .is_some_and(|newest| newest > segment)
    }

    /// The first segment that is missing between two of a timeline, both included.
    pub(crate) fn missing(&self, from: Segment, to: Segment, size: SegmentSize) -> Option<Segment> {
        (from.number(size)..=to.number(size))
            .map(|number| Segment::numbered(from.timeline, number, size))
            .find(|segment| !self.has(*segment))
    }
}
