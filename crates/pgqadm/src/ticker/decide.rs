//! When to tick a queue of PgQ 2, whose `pgq.ticker` ticks whenever it is called.

use std::time::Duration;

/// Settings of a queue, as PgQ 2 has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// Ticks at least this often while nothing comes.
    pub(super) idle_period: Duration,
    /// Events wait no longer.
    pub(super) max_lag: Duration,
    /// Events that make a tick due.
    pub(super) max_count: i64,
}

/// What the ticker remembers of a queue between two passes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Memory {
    /// When it was ticked last, on the clock of [`Memory::is_due`].
    ticked: Option<Duration>,
    /// Last value of the event sequence then.
    sequence: i64,
    /// Ticks made since the sequence moved.
    quiet: u32,
}

/// Ticks made at the pace of a busy queue after the last event: a sequence moves before its
/// transaction commits.
const QUIET_TICKS: u32 = 5;

impl Memory {
    /// Decides whether the queue is due for a tick, and takes note of it if so. `now` is the time
    /// since any fixed moment.
    ///
    /// Source: framework.md 8.5.
    pub(super) fn is_due(&mut self, limits: &Limits, sequence: i64, now: Duration) -> bool {
        // Right after the start every queue is ticked.
        let lag = self.ticked.map(|ticked| now.saturating_sub(ticked));
        let longer = |than: Duration| lag.is_none_or(|lag| lag >= than);
        let new = sequence - self.sequence;
        let due = if new != 0 {
            self.quiet = 0;
            new >= limits.max_count || longer(limits.max_lag)
        } else if self.quiet < QUIET_TICKS {
            let due = longer(limits.max_lag);
            self.quiet += u32::from(due);
            due
        } else {
            longer(limits.idle_period)
        };
        if due {
            self.ticked = Some(now);
            self.sequence = sequence;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        idle_period: Duration::from_secs(60),
        max_lag: Duration::from_secs(3),
        max_count: 500,
    };

    /// Feeds seconds with the sequence's value then; returns the seconds at which ticks were made.
    fn ticks(values: impl IntoIterator<Item = (u64, i64)>) -> Vec<u64> {
        let mut memory = Memory::default();
        let due = |&(second, sequence): &(u64, i64)| {
            memory.is_due(&LIMITS, sequence, Duration::from_secs(second))
        };
        let due = values.into_iter().filter(due);
        due.map(|(second, _)| second).collect()
    }

    #[test]
    fn an_idle_queue_is_ticked_a_few_times_and_then_once_a_period() {
        let idle = ticks((0..200).map(|second| (second, 7)));
        // The first one takes note of the sequence; five quiet ones follow.
        assert_eq!(idle, [0, 3, 6, 9, 12, 15, 75, 135, 195]);
    }

    #[test]
    fn a_queue_whose_sequence_never_moved_is_ticked_at_once_too() {
        assert_eq!(
            ticks((0..80).map(|second| (second, 0))),
            [0, 3, 6, 9, 12, 72]
        );
    }

    #[test]
    fn many_events_are_ticked_at_once_and_few_after_the_lag() {
        assert_eq!(ticks([(0, 0), (1, 499), (2, 500)]), [0, 2]);
        assert_eq!(ticks([(0, 0), (1, 1), (2, 1), (3, 1), (4, 1)]), [0, 3]);
    }

    #[test]
    fn an_event_after_a_quiet_time_is_ticked_at_once_and_starts_the_quiet_ticks_anew() {
        let quiet = (0..50).map(|second| (second, 7));
        let event = (50..90).map(|second| (second, 8));
        assert_eq!(
            ticks(quiet.chain(event)),
            [0, 3, 6, 9, 12, 15, 50, 53, 56, 59, 62, 65]
        );
    }

    #[test]
    fn a_sequence_that_was_set_back_counts_as_events() {
        assert_eq!(ticks([(0, 900), (1, 5), (2, 5), (3, 5), (4, 5)]), [0, 3]);
    }
}
