use std::time::Duration;

use pgq::{QueueName, TickId};
use serde::Serialize;
use skytools::app::{output, output_json};
use skytools::db::Connection;
use tracing::info;

use super::ALL;
use crate::Error;

/// Tick a queue now
///
/// Makes a tick whether one is due or not, and prints its id. Works with and without a ticker.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Queue, or '*' for all that can be ticked
    queue: QueueName,
}

/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// What was made.
#[derive(Serialize)]
struct Tick {
    queue: QueueName,
    tick: TickId,
}

pub(crate) fn run(db: &mut Connection, args: &Args, json: bool) -> Result<(), Error> {
    let mut ticks = Vec::new();
    for info in super::queues(&mut **db, &args.queue)? {
        let reason = match (info.ticker_paused, info.external_ticker) {
            (true, _) => "is paused",
            (_, true) => "is ticked from elsewhere",
            _ => "",
        };
        let queue = info.queue;
        if !reason.is_empty() {
            if args.queue.as_str() == ALL {
                continue;
            }
            return Err(Error::NoTicks { queue, reason });
        }
        let tick = force(db, &queue, info.last_tick)?;
        info!("Ticked queue {queue}");
        ticks.push(Tick { queue, tick });
    }
    if json {
        return Ok(output_json(&ticks)?);
    }
    let line = |Tick { queue, tick }: &Tick| format!("{queue}\t{tick}\n");
    Ok(output(ticks.iter().map(line).collect::<String>())?)
}

/// Ticks, or sees another session do it.
fn force(db: &mut Connection, queue: &QueueName, last: Option<TickId>) -> Result<TickId, Error> {
    loop {
        let newest = pgq::admin::force_tick(&mut **db, queue)?;
        if newest > last
            && let Some(newest) = newest
        {
            return Ok(newest);
        }
        // None while another session ticks: it may have begun before, so that is not enough.
        if let Some(tick) = pgq::admin::tick_queue(&mut **db, queue)? {
            return Ok(tick);
        }
        std::thread::park_timeout(PAUSE);
    }
}
