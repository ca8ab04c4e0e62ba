use std::fmt;

use pgq::admin::{ConsumerInfo, QueueInfo};
use serde::Serialize;
use skytools::app::{output, output_json};
use skytools::db::{Connection, During};

use crate::Error;

/// Everything `status` shows.
#[derive(Serialize)]
struct Status {
    postgres_version: String,
    pgq_version: Option<String>,
    queues: Vec<QueueInfo>,
    consumers: Vec<ConsumerInfo>,
}

pub(crate) fn run(db: &mut Connection, json: bool) -> Result<(), Error> {
    let row = db
        .query_typed_one("select current_setting('server_version')", &[])
        .during("read the server's version")?;
    let status = Status {
        postgres_version: row.get(0),
        pgq_version: pgq::admin::version(&mut **db)?,
        queues: pgq::admin::queue_info(&mut **db, None)?,
        consumers: pgq::admin::consumer_info(&mut **db, None, None)?,
    };
    if json {
        return Ok(output_json(&status)?);
    }
    Ok(output(status)?)
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ruler = "-".repeat(78);
        let pgq_version = self.pgq_version.as_deref().unwrap_or("NULL");
        writeln!(
            out,
            "Postgres version: {}   PgQ version: {pgq_version}",
            self.postgres_version
        )?;

        writeln!(out)?;
        write_queue(
            out,
            ["Event queue", "Rotation", "Ticker", "TLag", "EPS", "New"],
        )?;
        writeln!(out, "{ruler}")?;
        for queue in &self.queues {
            let rotation = format!(
                "{}/{}",
                queue.ntables,
                seconds(queue.rotation_period_seconds)
            );
            let ticker = format!(
                "{}/{}/{}",
                queue.ticker_max_count,
                seconds(Some(queue.ticker_max_lag_seconds)),
                seconds(Some(queue.ticker_idle_period_seconds)),
            );
            let fields = [
                queue.queue.as_str(),
                &rotation,
                &ticker,
                &seconds(queue.ticker_lag_seconds),
                &queue
                    .events_per_second
                    .map_or_else(null, |rate| format!("{rate:.1}")),
                &count(queue.new_events),
            ];
            write_queue(out, fields)?;
        }
        writeln!(out, "{ruler}")?;

        writeln!(out)?;
        writeln!(
            out,
            "{:<48} {:>9} {:>9} {:>8}",
            "Consumer", "Lag", "LastSeen", "Pending"
        )?;
        writeln!(out, "{ruler}")?;
        for queue in &self.queues {
            writeln!(out, "{}:", queue.queue)?;
            for consumer in &self.consumers {
                if consumer.queue == queue.queue {
                    writeln!(
                        out,
                        "  {:<46} {:>9} {:>9} {:>8}",
                        consumer.consumer.as_str(),
                        seconds(consumer.lag_seconds),
                        seconds(consumer.last_seen_seconds),
                        count(consumer.pending_events),
                    )?;
                }
            }
        }
        writeln!(out, "{ruler}")
    }
}

fn write_queue(out: &mut fmt::Formatter<'_>, fields: [&str; 6]) -> fmt::Result {
    let [name, rotation, ticker, lag, rate, new] = fields;
    writeln!(
        out,
        "{name:<33} {rotation:>9} {ticker:>13} {lag:>6} {rate:>6} {new:>5}"
    )
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(null, |value| format!("{value:.0}s"))
}

fn count(value: Option<i64>) -> String {
    value.map_or_else(null, |value| value.to_string())
}

fn null() -> String {
    "NULL".to_owned()
}
