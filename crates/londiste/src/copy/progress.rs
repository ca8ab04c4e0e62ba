//! How far a copy is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use skytools::full_copy::Copied;

/// How far a copy is, for the threads that show it; and whether it is to end.
#[derive(Debug)]
pub(crate) struct Progress {
    unwanted: AtomicBool,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// 0: not known.
    expected: AtomicU64,
    phase: Mutex<String>,
    start: Instant,
}

/// The progress at a moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Now {
    pub(crate) phase: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) expected: Option<u64>,
    pub(crate) seconds: f64,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            unwanted: AtomicBool::new(false),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            phase: Mutex::new("waiting for the table".to_owned()),
            start: Instant::now(),
        }
    }
}

impl Progress {
    /// Asks the copy to end.
    pub(crate) fn give_up(&self) {
        self.unwanted.store(true, Ordering::Relaxed);
    }

    /// Whether the copy is to end.
    pub(crate) fn is_given_up(&self) -> bool {
        self.unwanted.load(Ordering::Relaxed)
    }

    /// What the copy does from now on.
    pub(crate) fn enter(&self, phase: impl Into<String>) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase.into();
    }

    /// About how many rows there will be.
    pub(crate) fn expect(&self, rows: u64) {
        self.expected.store(rows, Ordering::Relaxed);
    }

    /// What has been sent.
    pub(crate) fn set(&self, copied: Copied) {
        self.rows.store(copied.rows, Ordering::Relaxed);
        self.bytes.store(copied.bytes, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Now {
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = self.expected.load(Ordering::Relaxed);
        Now {
            phase: phase.clone(),
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            expected: (expected > 0).then_some(expected),
            seconds: self.start.elapsed().as_secs_f64(),
        }
    }
}

impl Now {
    /// For the log: rows, bytes, rates, and the time that is left.
    pub(crate) fn line(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
        let (rows, bytes) = (self.rows as f64, self.bytes as f64);
        let seconds = self.seconds.max(0.001);
        let mut text = format!("{} rows", self.rows);
        if let Some(expected) = self.expected {
            text += &format!(" of about {}", expected.max(self.rows));
        }
        text += &format!(
            ", {} bytes copied in {seconds:.0} s, {:.0} rows/s, {:.1} MB/s",
            self.bytes,
            rows / seconds,
            bytes / seconds / 1e6
        );
        if let Some(expected) = self.expected.filter(|&expected| expected > self.rows)
            && rows > 0.0
        {
            #[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
            let left = (expected - self.rows) as f64 * seconds / rows;
            text += &format!(", {left:.0} s left");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_and_rest() {
        let mut now = Now {
            phase: String::new(),
            rows: 1000,
            bytes: 2_000_000,
            expected: Some(3000),
            seconds: 2.0,
        };
        assert_eq!(
            now.line(),
            "1000 rows of about 3000, 2000000 bytes copied in 2 s, 500 rows/s, 1.0 MB/s, 4 s left"
        );
        now.expected = None;
        assert_eq!(
            now.line(),
            "1000 rows, 2000000 bytes copied in 2 s, 500 rows/s, 1.0 MB/s"
        );
    }
}
