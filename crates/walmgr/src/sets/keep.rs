//! Which sets stay: by number, by time, or both.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Set;

/// What is kept of sets. Whatever one rule keeps, stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keep {
    /// The newest sets, at least one.
    count: usize,
    /// Days before the newest set to any moment of which a restore must be possible.
    days: u32,
}

impl Keep {
    pub(crate) fn new(count: usize, min: usize, days: u32) -> Keep {
        Keep {
            count: count.max(min).max(1),
            days,
        }
    }

    /// The same with room for one more; never without a set.
    pub(crate) fn making_room(self) -> Keep {
        Keep {
            count: (self.count - 1).max(1),
            ..self
        }
    }

    /// Which of some sets go, given when they were begun: newest first; `None` where that is not known.
    ///
    /// A set that is older than the window goes only if a newer one is, too: without it the first part of the
    /// window could not be restored. No clock of this host takes part.
    pub(crate) fn expired(self, begun: &[Option<Timestamp>]) -> Vec<usize> {
        let window = self.window(begun);
        let mut covered = false;
        let mut expired = Vec::new();
        for (index, time) in begun.iter().enumerate() {
            let needed_by_time = self.days > 0 && (!covered || time.is_none());
            if index >= self.count && !needed_by_time {
                expired.push(index);
            }
            covered |= match (time, window) {
                (Some(time), Some(window)) => *time <= window,
                _ => false,
            };
        }
        expired
    }

    /// The first moment that has to be there.
    fn window(self, begun: &[Option<Timestamp>]) -> Option<Timestamp> {
        let newest = begun.iter().flatten().max()?;
        let days = SignedDuration::from_hours(24 * i64::from(self.days));
        newest.checked_sub(days).ok()
    }
}

/// When a set was begun, by the clock of its master.
pub(crate) fn begun(set: &Set) -> Option<Timestamp> {
    if let Some(info) = &set.info {
        return info.start_time.parse().ok();
    }
    // A label names the zone as the server's configuration does: only this one is the same for everybody.
    let (time, zone) = set.label.start_time.rsplit_once(' ')?;
    let time: DateTime = match zone {
        "UTC" | "GMT" => time.replacen(' ', "T", 1).parse().ok()?,
        _ => return None,
    };
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    use super::Keep;

    /// Days before some moment.
    fn at(days: &[i64]) -> Vec<Option<Timestamp>> {
        let day = |days: &i64| Timestamp::UNIX_EPOCH - SignedDuration::from_hours(24 * days);
        days.iter().map(|days| Some(day(days))).collect()
    }

    #[test]
    fn sets_stay_by_number_and_by_time() {
        let expired =
            |count, min, days, begun: &[i64]| Keep::new(count, min, days).expired(&at(begun));
        // By number alone; 0 is the newest alone.
        assert_eq!(expired(2, 1, 0, &[0, 1, 2, 3]), [2, 3]);
        assert_eq!(expired(0, 0, 0, &[0, 1]), [1]);
        assert_eq!(expired(0, 3, 0, &[0, 1, 2, 3]), [3]);
        // The one from nine days ago is what a restore to seven days ago begins with.
        assert_eq!(expired(0, 1, 7, &[0, 3, 6, 9, 12]), [4]);
        assert_eq!(expired(0, 1, 7, &[0, 3, 7, 9]), [3]);
        assert_eq!(expired(0, 1, 7, &[0]), [0; 0]);
        // Either rule keeps.
        assert_eq!(expired(5, 1, 1, &[0, 3, 6, 9, 12]), [0; 0]);
        assert_eq!(expired(1, 1, 7, &[0, 9, 10]), [2]);
        // Of what does not tell, nothing is known.
        let mut begun = at(&[0, 9, 10, 11]);
        begun[2] = None;
        assert_eq!(Keep::new(1, 1, 7).expired(&begun), [3]);
        assert_eq!(Keep::new(1, 1, 0).expired(&begun), [1, 2, 3]);
        assert_eq!(Keep::new(3, 1, 0).making_room().expired(&begun), [2, 3]);
        assert_eq!(Keep::new(0, 1, 0).making_room().expired(&begun), [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn every_moment_of_the_window_can_be_restored(
            count in 0..5_usize, days in 1..20_u32, mut begun in prop::collection::vec(0..40_i64, 1..12),
        ) {
            begun.sort_unstable();
            let expired = Keep::new(count, 1, days).expired(&at(&begun));
            let left: Vec<i64> = (0..begun.len())
                .filter(|index| !expired.contains(index))
                .map(|index| begun[index])
                .collect();
            let newest = begun[0];
            prop_assert_eq!(left[0], newest);
            for day in newest..=newest + i64::from(days) {
                // Where it could be before, it still can be, from the same set.
                let best = |sets: &[i64]| sets.iter().copied().find(|set| *set >= day);
                prop_assert_eq!(best(&left), best(&begun));
            }
            // And nothing stays that neither rule keeps.
            let by_time = begun.iter().filter(|set| **set < newest + i64::from(days)).count() + 1;
            prop_assert!(left.len() <= by_time.max(count.max(1)));
        }
    }
}
