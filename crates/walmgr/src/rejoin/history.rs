//! Where a timeline comes from, and where two of them part.

use postgres::types::PgLsn;

/// Timelines from the first one on, each with the position at which it ends: the last one has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lineage {
    steps: Vec<(u32, Option<PgLsn>)>,
}

/// Where two lineages part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fork {
    /// The last timeline that both have.
    pub(crate) timeline: u32,
    /// Where they leave it, the first of them.
    pub(crate) position: PgLsn,
}

/// A part of the WAL: of one timeline, from a position on, to where it is left if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) timeline: u32,
    pub(super) start: PgLsn,
    pub(super) end: Option<PgLsn>,
}

/// Where a lineage and that of a primary part, and what comes after that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parting {
    pub(super) fork: Fork,
    /// What the first has after the fork, if it has WAL there.
    pub(super) own: Vec<Stretch>,
    /// Timelines of the primary.
    primary: Vec<u32>,
}

impl Parting {
    /// Whether the primary's history has a timeline.
    pub(super) fn is_of_primary(&self, timeline: u32) -> bool {
        self.primary.contains(&timeline)
    }

    /// Whether a server has begun a timeline that its primary does not know.
    pub(super) fn has_left(&self) -> bool {
        let mut timelines = self.own.iter().map(|stretch| stretch.timeline);
        timelines.any(|timeline| timeline != self.fork.timeline)
    }
}

impl Lineage {
    /// Of a timeline and the text of its history; `None` if that is no history.
    pub(super) fn parse(timeline: u32, history: &str) -> Option<Lineage> {
        let mut steps = Vec::new();
        for line in history.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let mut words = line.split_whitespace();
            let parent: u32 = words.next()?.parse().ok()?;
            let end: PgLsn = words.next()?.parse().ok()?;
            let is_next = steps.last().is_none_or(|(last, _)| *last < parent);
            if !is_next || parent >= timeline {
                return None;
            }
            steps.push((parent, Some(end)));
        }
        steps.push((timeline, None));
        Some(Lineage { steps })
    }

    /// Where `self` and the lineage of a primary part: `None` if `self` is a part of the other, as it is of one
    /// that has not left it. An error if they have no beginning in common.
    pub(super) fn fork(&self, primary: &Lineage) -> Result<Option<Parting>, NoCommonBeginning> {
        let both = self.steps.iter().zip(&primary.steps);
        let common = both.take_while(|(own, other)| own.0 == other.0).count();
        let Some(last) = common.checked_sub(1) else {
            return Err(NoCommonBeginning);
        };
        let (timeline, end) = self.steps[last];
        let ends = [end, primary.steps[last].1];
        let Some(position) = ends.into_iter().flatten().min() else {
            return Ok(None);
        };
        let mut own = Vec::new();
        let mut start = position;
        for (timeline, end) in &self.steps[last..] {
            // Left where the fork is, it has nothing after it.
            if *end != Some(start) {
                own.push(Stretch {
                    timeline: *timeline,
                    start,
                    end: *end,
                });
            }
            start = end.unwrap_or(start);
        }
        Ok(Some(Parting {
            fork: Fork { timeline, position },
            own,
            primary: primary.steps.iter().map(|step| step.0).collect(),
        }))
    }
}

/// Two lineages of different clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoCommonBeginning;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Lineage, NoCommonBeginning};

    fn lineage(timeline: u32, history: &str) -> Lineage {
        Lineage::parse(timeline, history).expect("a history")
    }

    /// Timeline and position of the fork, and timelines and starts of what the first has after it.
    type Seen = (u32, u64, Vec<(u32, u64)>);

    fn fork(first: &Lineage, second: &Lineage) -> Option<Seen> {
        let parting = first.fork(second).expect("a common beginning")?;
        let own = parting.own.iter();
        Some((
            parting.fork.timeline,
            parting.fork.position.into(),
            own.map(|stretch| (stretch.timeline, stretch.start.into()))
                .collect(),
        ))
    }

    #[test]
    fn lineages_part_where_the_first_leaves_the_last_common_timeline() {
        let first = lineage(1, "");
        let second = lineage(2, "1\t0/5000060\tno recovery target specified\n");
        let third = lineage(3, "# of three\n1\t0/5000060\tx\n\n2\t0/7000000\ty\n");
        let other = lineage(4, "1\t0/4000000\tx\n");
        let (x, y, z) = (0x0400_0000, 0x0500_0060, 0x0700_0000);
        assert_eq!(fork(&first, &first), None);
        assert_eq!(fork(&first, &second), Some((1, y, vec![(1, y)])));
        assert_eq!(fork(&second, &third), Some((2, z, vec![(2, z)])));
        // Opened by itself, it goes on with another timeline where it left the common one, or later.
        assert_eq!(fork(&second, &first), Some((1, y, vec![(2, y)])));
        assert_eq!(fork(&second, &other), Some((1, x, vec![(1, x), (2, y)])));
        assert_eq!(
            fork(&third, &other),
            Some((1, x, vec![(1, x), (2, y), (3, z)]))
        );
        assert_eq!(fork(&other, &third), Some((1, x, vec![(4, x)])));
        assert_eq!(lineage(7, "5\t0/1\tx").fork(&first), Err(NoCommonBeginning));
    }

    #[test]
    fn what_is_no_history_is_none() {
        for text in ["1", "x\t0/1", "1\tx", "2\t0/1", "1\t0/1\n1\t0/2", "3\t0/1"] {
            assert_eq!(Lineage::parse(2, text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(timeline in any::<u32>(), text in "([0-9#]{0,3}[ \t]?[0-9A-F/]{0,6}\n?){0,6}") {
            let _ = Lineage::parse(timeline, &text);
        }
    }
}
