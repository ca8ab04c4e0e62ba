//! When the next pass is due, and when the next attempt after a failure.

use std::time::{Duration, Instant};

/// A fixed rate: passes are due at multiples of the period, however long one takes; those that were
/// missed are not made up for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    next: Instant,
}

impl Pace {
    /// The first pass is due at once.
    pub(super) fn new(now: Instant) -> Pace {
        Pace { next: now }
    }

    /// Takes note of a pass that began when it was due; returns when the next one is.
    pub(super) fn advance(&mut self, now: Instant, period: Duration) -> Instant {
        self.next = match self.next.checked_add(period) {
            // On time, or a little late.
            Some(next) if next > now => next,
            // A pass took longer than a period, or the machine slept.
            Some(next) if !period.is_zero() => {
                let late = now.duration_since(next).as_nanos() % period.as_nanos();
                let rest = period - Duration::from_nanos(u64::try_from(late).unwrap_or(0));
                now.checked_add(rest).unwrap_or(now)
            }
            Some(_) => now,
            // Too long for a clock is as good as for ever.
            None => now + Duration::from_secs(1 << 30),
        };
        self.next
    }

    /// Makes a pass due now, after an outage.
    pub(super) fn restart(&mut self, now: Instant) {
        self.next = now;
    }
}

/// Pauses between attempts: the first follows at once, then they double up to a limit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff {
    failures: u32,
}

/// The first pause that is one.
const SHORTEST: Duration = Duration::from_millis(100);

impl Backoff {
    /// The pause after one more failure.
    pub(super) fn next(&mut self, limit: Duration) -> Duration {
        let doublings = self.failures;
        self.failures = self.failures.saturating_add(1);
        match doublings {
            0 => Duration::ZERO,
            n => SHORTEST
                .saturating_mul(1_u32.checked_shl(n - 1).unwrap_or(u32::MAX))
                .min(limit),
        }
    }

    /// Takes note of a success.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(10);

    #[test]
    fn the_time_a_pass_takes_does_not_delay_the_next_one() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut pace = Pace::new(start);
        assert_eq!(pace.advance(at(3), PERIOD), at(10));
        assert_eq!(pace.advance(at(19), PERIOD), at(20));
        assert_eq!(pace.advance(at(20), PERIOD), at(30));
    }

    #[test]
    fn missed_passes_are_skipped_and_the_rhythm_stays() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut pace = Pace::new(start);
        assert_eq!(pace.advance(at(57), PERIOD), at(60));
        assert_eq!(
            pace.advance(at(70), PERIOD),
            at(80),
            "due exactly now counts as missed"
        );
        pace.restart(at(75));
        assert_eq!(pace.advance(at(75), PERIOD), at(85));
    }

    #[test]
    fn odd_periods_do_no_harm() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.advance(start, Duration::ZERO), start);
        assert!(pace.advance(start, Duration::MAX) > start + Duration::from_secs(1 << 20));
    }

    #[test]
    fn attempts_come_at_once_then_ever_more_slowly_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let limit = Duration::from_secs(1);
        let pauses: Vec<u128> = (0..7).map(|_| backoff.next(limit).as_millis()).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1000, 1000]);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.next(limit), limit);
        backoff.reset();
        assert_eq!(backoff.next(limit), Duration::ZERO);
    }
}
