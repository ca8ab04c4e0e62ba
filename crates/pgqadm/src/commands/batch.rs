use pgq::health::ConsumerHealth;
use pgq::{BatchId, ConsumerName, QueueName, TickId};
use postgres::types::Type;
use serde::Serialize;
use skytools::app::{output, output_json};
use skytools::db::{Connection, During};

use crate::Error;

/// Show the open batch of a consumer
///
/// What it has taken and not finished: from which tick to which, and how many events about.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Queue it reads
    queue: QueueName,
    /// Consumer
    consumer: ConsumerName,
}

#[derive(Serialize)]
struct Shown {
    queue: QueueName,
    consumer: ConsumerName,
    /// None: no batch is open.
    batch: Option<Batch>,
    #[serde(flatten)]
    waiting: Waiting,
}

#[derive(Serialize)]
struct Batch {
    batch: BatchId,
    age_seconds: Option<f64>,
    start_tick: Option<TickId>,
    start_time: Option<String>,
    end_tick: Option<TickId>,
    end_time: Option<String>,
    lag_seconds: Option<f64>,
    events: Option<i64>,
}

#[derive(Serialize)]
struct Waiting {
    pending_events: Option<i64>,
    retry_events: i64,
    failed_events: i64,
}

pub(crate) fn run(db: &mut Connection, args: &Args, json: bool) -> Result<(), Error> {
    let Args { queue, consumer } = args;
    let not_registered = || Error::NotRegistered {
        queue: queue.clone(),
        consumer: consumer.clone(),
    };
    let info = pgq::admin::consumer_info(&mut **db, Some(queue), Some(consumer))?;
    let info = info.into_iter().next().ok_or_else(not_registered)?;
    let health = pgq::health::consumers(&mut **db, Some(queue), Some(consumer))?;
    // Not told of an idle member of a cooperative group.
    let health = health.into_iter().next();
    let count = |of: fn(&ConsumerHealth) -> i64| health.as_ref().map_or(0, of);
    let shown = Shown {
        queue: queue.clone(),
        consumer: consumer.clone(),
        batch: match info.current_batch {
            None => None,
            Some(id) => open(
                db,
                id,
                health.as_ref().and_then(|health| health.batch_age_seconds),
            )?,
        },
        waiting: Waiting {
            pending_events: info.pending_events,
            retry_events: count(|health| health.retry_events),
            failed_events: count(|health| health.failed_events),
        },
    };
    if json {
        return Ok(output_json(&shown)?);
    }
    Ok(output(text(&shown))?)
}

fn open(
    db: &mut Connection,
    id: BatchId,
    age_seconds: Option<f64>,
) -> Result<Option<Batch>, Error> {
    let row = db
        .query_typed_opt(
            "select prev_tick_id, batch_start::text, tick_id, batch_end::text, \
             extract(epoch from lag)::float8, seq_end - seq_start \
             from pgq.get_batch_info($1) where queue_name is not null",
            &[(&id, Type::INT8)],
        )
        .during("look at the batch")?;
    // Finished meanwhile.
    Ok(row.map(|row| Batch {
        batch: id,
        age_seconds,
        start_tick: row.get(0),
        start_time: row.get(1),
        end_tick: row.get(2),
        end_time: row.get(3),
        lag_seconds: row.get(4),
        events: row.get(5),
    }))
}

fn text(shown: &Shown) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("{name:<16}{value}\n"));
    let or_null = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
    let seconds = |value: Option<f64>| or_null(value.map(|value| format!("{value:.0}s")));
    let tick = |id: Option<TickId>, time: &Option<String>| {
        format!(
            "{} at {}",
            or_null(id.map(|id| id.to_string())),
            or_null(time.clone())
        )
    };
    match &shown.batch {
        None => line("Batch", "none open".to_owned()),
        Some(batch) => {
            line(
                "Batch",
                format!("{}, open for {}", batch.batch, seconds(batch.age_seconds)),
            );
            line("From tick", tick(batch.start_tick, &batch.start_time));
            line("To tick", tick(batch.end_tick, &batch.end_time));
            line("Lag", seconds(batch.lag_seconds));
            line(
                "Events",
                or_null(batch.events.map(|events| format!("about {events}"))),
            );
        }
    }
    let Waiting {
        pending_events,
        retry_events,
        failed_events,
    } = &shown.waiting;
    line(
        "Pending",
        or_null(pending_events.map(|events| format!("about {events}"))),
    );
    line("To be retried", retry_events.to_string());
    line("Failed", failed_events.to_string());
    text
}
