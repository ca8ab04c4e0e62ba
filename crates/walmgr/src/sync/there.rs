//! What the slave has, as it says itself.

use std::collections::BTreeSet;

use crate::Error;
use crate::names::{Segment, WalName};
use crate::slave::Slave;

/// Files of the archive.
#[derive(Debug, Clone, Default)]
pub(crate) struct There {
    complete: BTreeSet<WalName>,
}

impl There {
    pub(crate) fn ask(slave: &Slave) -> Result<There, Error> {
        let mut there = There::default();
        for line in slave.run(&["xwals"], None)?.lines() {
            let mut words = line.split(' ');
            if let (Some("complete"), Some(name)) = (words.next(), words.next()) {
                there.complete.extend(name.parse::<WalName>());
            }
        }
        Ok(there)
    }

    pub(crate) fn has(&self, name: WalName) -> bool {
        self.complete.contains(&name)
    }

    /// The newest finished segment of a timeline.
    pub(crate) fn newest(&self, timeline: u32) -> Option<Segment> {
        let segments = self.complete.iter().filter_map(|name| match name {
            WalName::Segment(segment) if segment.timeline == timeline => Some(*segment),
            _ => None,
        });
        segments.max()
    }
}
