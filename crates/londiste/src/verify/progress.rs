//! How far a comparison is: a bar on a terminal, JSON lines with `--json`, else a log line now and
//! then.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use skytools::table::TableName;
use tracing::{Level, enabled, info};

/// Time between two log lines.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Time between two lines for programs.
const JSON_EVERY: Duration = Duration::from_secs(1);

/// Progress within one table.
pub(crate) struct Progress {
    table: String,
    total: u64,
    rows: u64,
    /// Rows that an earlier run had compared.
    skipped: u64,
    start: Instant,
    shown: Instant,
    shape: Shape,
}

enum Shape {
    Bar(ProgressBar),
    Json,
    Log,
}

/// What a program reads.
#[derive(Serialize)]
struct Line<'a> {
    table: &'a str,
    rows: u64,
    /// From the statistics of the provider, so it may be wrong.
    rows_expected: u64,
    rows_per_second: u64,
    seconds_left: Option<u64>,
    differences: u64,
}

impl Progress {
    pub(crate) fn new(table: &TableName, total: u64, skipped: u64, json: bool) -> Progress {
        let shape = if json {
            Shape::Json
        } else if io::stderr().is_terminal() && enabled!(Level::INFO) {
            Shape::Bar(bar(table, total))
        } else {
            Shape::Log
        };
        let now = Instant::now();
        Progress {
            table: table.to_string(),
            total,
            rows: skipped,
            skipped,
            start: now,
            shown: now,
            shape,
        }
    }

    /// Counts rows of the provider that have been compared.
    pub(crate) fn add(&mut self, rows: u64, differences: u64) {
        self.rows += rows;
        let since = self.shown.elapsed();
        match &self.shape {
            Shape::Bar(bar) => {
                bar.set_length(self.total.max(self.rows));
                bar.set_position(self.rows);
            }
            Shape::Json if since >= JSON_EVERY => self.json(differences),
            Shape::Log if since >= LOG_EVERY => self.log(),
            _ => return,
        }
        self.shown = Instant::now();
    }

    /// Says the last word.
    pub(crate) fn finish(&mut self, differences: u64) {
        match &self.shape {
            Shape::Bar(bar) => bar.finish_and_clear(),
            Shape::Json => {
                self.total = self.rows;
                self.json(differences);
            }
            Shape::Log => {}
        }
    }

    fn rate(&self) -> f64 {
        let done = self.rows - self.skipped;
        done as f64 / self.start.elapsed().as_secs_f64().max(0.001)
    }

    /// Nobody knows when there are more rows than were expected.
    fn left(&self) -> Option<Duration> {
        let rate = self.rate();
        let rows = self.total.checked_sub(self.rows)?;
        (rate > 0.0).then(|| Duration::from_secs_f64(rows as f64 / rate.max(1.0)))
    }

    fn log(&self) {
        info!("{}", self.text());
    }

    fn text(&self) -> String {
        let left = match self.left() {
            Some(left) => format!(", {} s left", left.as_secs()),
            None => String::new(),
        };
        let of = match self.rows <= self.total {
            true => format!(" of about {}", self.total),
            false => String::new(),
        };
        format!(
            "{}: {}{of} rows compared, {:.0} rows/s{left}",
            self.table,
            self.rows,
            self.rate()
        )
    }

    fn json(&self, differences: u64) {
        let line = Line {
            table: &self.table,
            rows: self.rows,
            rows_expected: self.total.max(self.rows),
            rows_per_second: whole(self.rate()),
            seconds_left: self.left().map(|left| left.as_secs()),
            differences,
        };
        if let Ok(text) = serde_json::to_string(&line) {
            // Nobody reading is no reason to stop.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shape::Bar(bar) = &self.shape {
            bar.finish_and_clear();
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive and small"
)]
fn whole(rate: f64) -> u64 {
    rate as u64
}

fn bar(table: &TableName, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{prefix} {wide_bar} {human_pos}/~{human_len} rows, {rate} rows/s, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
            // A buffer takes anything.
            let _ = write!(out, "{:.0}", state.per_sec());
        };
        bar.set_style(style.with_key("rate", rate));
    }
    bar.set_prefix(table.to_string());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_that_is_exceeded_says_nothing_any_more() {
        let progress = |total, rows| Progress {
            table: "public.t".to_owned(),
            total,
            rows,
            skipped: 0,
            start: Instant::now(),
            shown: Instant::now(),
            shape: Shape::Log,
        };
        let text = progress(100, 50).text();
        assert!(
            text.starts_with("public.t: 50 of about 100 rows compared, "),
            "{text}"
        );
        assert!(text.ends_with(" s left"), "{text}");
        for total in [0, 100] {
            let text = progress(total, 150).text();
            assert!(text.starts_with("public.t: 150 rows compared, "), "{text}");
            assert!(text.ends_with(" rows/s"), "{text}");
        }
    }
}
