//! How far long work is, in bytes: a bar on a terminal, else a line in the log now and then.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tracing::{Level, enabled, info};

/// Time between two lines in the log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Progress of one piece of work; several threads may do it.
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    /// Bytes of a segment, where that is what is counted, too; else 0.
    segment: u64,
    done: AtomicU64,
    begun: Instant,
    told: Mutex<Instant>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Work on so many bytes, as far as that is known before.
    pub(crate) fn new(what: &'static str, total: u64) -> Progress {
        Progress::of_segments(what, total, 0)
    }

    /// The same, on WAL in segments of so many bytes.
    pub(crate) fn of_segments(what: &'static str, total: u64, segment: u64) -> Progress {
        let has_bar = io::stderr().is_terminal() && enabled!(Level::INFO);
        let mut progress = Progress::silent();
        progress.what = what;
        progress.total = total;
        progress.segment = segment;
        progress.bar = has_bar.then(|| bar(what, total));
        progress
    }

    /// Of work that takes no time.
    pub(crate) fn silent() -> Progress {
        let now = Instant::now();
        Progress {
            what: "",
            total: 0,
            segment: 0,
            done: AtomicU64::new(0),
            begun: now,
            told: Mutex::new(now),
            bar: None,
        }
    }

    /// Bytes that are done, beside those before.
    pub(crate) fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.show(done);
    }

    /// All bytes that are done.
    pub(crate) fn reach(&self, bytes: u64) {
        self.done.store(bytes, Ordering::Relaxed);
        self.show(bytes);
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn show(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(self.total.max(done));
            bar.set_position(done);
            bar.set_message(self.segments(done));
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() < LOG_EVERY {
            return;
        }
        *told = Instant::now();
        info!(
            "{}: {}{}",
            self.what,
            line(done, self.total, self.begun.elapsed()),
            self.segments(done)
        );
    }

    /// `, 32 of 128 segments`
    fn segments(&self, done: u64) -> String {
        match self.segment {
            0 => String::new(),
            size => format!(
                ", {} of {} segments",
                done / size,
                self.total.max(done).div_ceil(size)
            ),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `512 of 2048 MB, 64 MB/s, 24 s left`
fn line(done: u64, total: u64, elapsed: Duration) -> String {
    let total = total.max(done);
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let mut text = format!(
        "{} of {} MB, {:.0} MB/s",
        done >> 20,
        total >> 20,
        rate / f64::from(1 << 20)
    );
    if done > 0 {
        let left = (total - done) as f64 / rate;
        text.push_str(&format!(", {left:.0} s left"));
    }
    text
}

fn bar(what: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{prefix} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left{msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    bar
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Progress, line};

    #[test]
    fn a_line_tells_how_much_how_fast_and_how_long() {
        let ten = Duration::from_secs(10);
        assert_eq!(
            line(512 << 20, 2048 << 20, ten),
            "512 of 2048 MB, 51 MB/s, 30 s left"
        );
        // More than was thought, or nothing yet.
        assert_eq!(line(3 << 20, 1 << 20, ten), "3 of 3 MB, 0 MB/s, 0 s left");
        assert_eq!(line(0, 1 << 20, Duration::ZERO), "0 of 1 MB, 0 MB/s");
        let replay = Progress::of_segments("replaying", 40 << 20, 16 << 20);
        assert_eq!(replay.segments(17 << 20), ", 1 of 3 segments");
        assert_eq!(Progress::new("copying", 40 << 20).segments(1), "");
    }
}
