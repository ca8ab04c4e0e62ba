//! A rate that several threads keep together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use skytools::daemon::Stop;

/// Keeps several threads together below a rate.
pub(super) struct Throttle {
    /// Bytes a second; 0: as fast as it goes.
    rate: u64,
    begun: Instant,
    bytes: AtomicU64,
}

impl Throttle {
    pub(super) fn new(kilobytes: u64) -> Throttle {
        Throttle {
            rate: kilobytes.saturating_mul(1024),
            begun: Instant::now(),
            bytes: AtomicU64::new(0),
        }
    }

    /// Waits until so many more bytes were due; not past a request to stop.
    pub(super) fn wait(&self, more: u64, stop: &Stop) {
        if self.rate == 0 {
            return;
        }
        let bytes = self.bytes.fetch_add(more, Ordering::Relaxed) + more;
        #[expect(clippy::cast_precision_loss, reason = "far below what a float holds")]
        let due = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        stop.sleep(due.saturating_sub(self.begun.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use skytools::daemon::Stop;

    use super::Throttle;

    #[test]
    fn a_rate_is_one_of_all_threads_together() {
        let (throttle, stop) = (Throttle::new(1000), Stop::default());
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| throttle.wait(25 * 1024, &stop));
            }
        });
        assert!(begun.elapsed() >= Duration::from_millis(100));
    }
}
