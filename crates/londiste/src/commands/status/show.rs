//! The text of `status`.

use std::fmt;

use super::Status;
use super::read::{Copying, Provider, Subscriber, Table};

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = if self.healthy {
            "healthy"
        } else {
            "NOT HEALTHY"
        };
        writeln!(out, "Job: {}   Queue: {}   {health}", self.job, self.queue)?;
        if let Some(provider) = &self.provider {
            write_provider(out, provider)?;
        }
        if let Some(subscriber) = &self.subscriber {
            write_subscriber(out, subscriber)?;
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nProblems")?;
        for problem in &self.problems {
            writeln!(out, "{:<8}{}", problem.severity.name(), problem.message)?;
            writeln!(out, "        -> {}", problem.advice)?;
        }
        Ok(())
    }
}

fn version(londiste: Option<&str>) -> &str {
    londiste.unwrap_or("NULL")
}

fn write_provider(out: &mut fmt::Formatter<'_>, provider: &Provider) -> fmt::Result {
    writeln!(
        out,
        "\nProvider    Postgres {}, Londiste {}, {} tables and {} sequences published",
        provider.postgres_version,
        version(provider.londiste_version.as_deref()),
        provider.published_tables.len(),
        provider.published_seqs
    )?;
    if let Some(queue) = &provider.queue {
        let tick = queue
            .last_tick
            .map_or_else(|| "-".to_owned(), |tick| tick.to_string());
        write!(out, "  ticker    ")?;
        match queue.ticker_lag_seconds {
            Some(lag) => write!(out, "last tick {tick}, {} ago", span(lag))?,
            None => write!(out, "no tick yet")?,
        }
        match queue.events_per_second {
            Some(rate) => writeln!(out, "; {rate:.1} events/s")?,
            None => writeln!(out)?,
        }
    }
    if let Some(consumer) = &provider.consumer {
        let tick = consumer
            .last_tick
            .map_or_else(|| "-".to_owned(), |tick| tick.to_string());
        write!(out, "  consumer  at tick {tick}")?;
        if let Some(next) = consumer.next_tick {
            write!(out, ", in the batch to {next}")?;
        }
        if let Some(lag) = consumer.lag_seconds {
            write!(out, "; lag {}", span(lag))?;
        }
        match consumer.pending_events {
            Some(events) => writeln!(out, ", {events} events")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

fn write_subscriber(out: &mut fmt::Formatter<'_>, subscriber: &Subscriber) -> fmt::Result {
    writeln!(
        out,
        "Subscriber  Postgres {}, Londiste {}, {} tables and {} sequences subscribed",
        subscriber.postgres_version,
        version(subscriber.londiste_version.as_deref()),
        subscriber.tables.len(),
        subscriber.seqs
    )?;
    let position = subscriber
        .position
        .map_or_else(|| "-".to_owned(), |tick| tick.to_string());
    write!(out, "  replay    at tick {position}; ")?;
    match (subscriber.replay_runs, subscriber.replay_pid) {
        (true, Some(pid)) => writeln!(out, "runs, pid {pid}")?,
        (true, None) => writeln!(out, "runs")?,
        (false, Some(pid)) => writeln!(out, "not at work, pid {pid}")?,
        (false, None) => writeln!(out, "does not run")?,
    }
    if !subscriber.copy_pids.is_empty() {
        let pids: Vec<String> = subscriber.copy_pids.iter().map(i32::to_string).collect();
        writeln!(out, "  copies    pid {}", pids.join(", "))?;
    }
    if let Some(over) = subscriber
        .errors
        .iter()
        .find(|error| error.solved_seconds.is_some())
        && let Some(seconds) = over.solved_seconds
    {
        writeln!(
            out,
            "  last error, over {} ago: {}",
            span(seconds),
            over.error
        )?;
    }
    if subscriber.tables.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{:<30}   {:>20}   {:>8}", "Table", "State", "Since")?;
    for table in &subscriber.tables {
        writeln!(out, "{}", line(table))?;
    }
    Ok(())
}

fn line(table: &Table) -> String {
    let since = table.state_age_seconds.map_or_else(String::new, span);
    let state = table.state.as_deref().unwrap_or("-");
    let text = format!("{:<30}   {state:>20}   {since:>8}", table.table);
    match &table.copy {
        Some(copy) => format!("{text}   {}", progress(copy)),
        None => text,
    }
}

/// How far a copy is.
pub(in super::super) fn progress(copy: &Copying) -> String {
    if let Some(index) = &copy.building {
        return format!("building {index}");
    }
    #[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
    let (rows, bytes) = (copy.rows as f64, copy.bytes as f64);
    let mut text = format!("{} rows", copy.rows);
    if let Some(total) = copy.total_rows {
        let percent = (rows / total * 100.0).min(100.0);
        text += &format!(" of about {total:.0} ({percent:.0}%)");
    }
    text += &format!(", {}", size(bytes));
    if let Some(seconds) = copy.seconds.filter(|&seconds| seconds > 0.0) {
        text += &format!(", {}/s", size(bytes / seconds));
    }
    if let Some(left) = copy.seconds_left() {
        text += &format!(", {} left", span(left));
    }
    text
}

/// A number of bytes, for people.
fn size(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return match unit {
                "B" => format!("{value:.0} B"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// A time span, for people.
pub(super) fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is positive, and a span of years at most"
    )]
    let whole = seconds.round() as u64;
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, rest) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m{rest:02}s"),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [
            (0.04, "0.0s"),
            (9.96, "10.0s"),
            (59.4, "59s"),
            (61.0, "1m01s"),
            (3600.0 * 5.0 + 120.0, "5h02m"),
            (86_400.0 * 3.0 + 3600.0, "3d01h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn progress_tells_rows_rate_and_the_time_left() {
        let mut copy = Copying {
            rows: 500,
            bytes: 20_000_000,
            seconds: Some(10.0),
            total_rows: Some(2000.0),
            building: None,
        };
        assert_eq!(
            progress(&copy),
            "500 rows of about 2000 (25%), 20.0 MB, 2.0 MB/s, 30s left"
        );
        copy.total_rows = None;
        assert_eq!(progress(&copy), "500 rows, 20.0 MB, 2.0 MB/s");
        copy.building = Some("i".to_owned());
        assert_eq!(progress(&copy), "building i");
    }
}
