use pgq::{ConsumerName, QueueName, TickId};
use skytools::db::Connection;
use tracing::info;

use crate::Error;

/// Register a consumer on a queue
///
/// Does nothing if it is registered already, unless a position is given. It will see what is put into
/// the queue from the newest tick on, or from the tick given.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Queue to read
    #[arg(value_parser = super::name::<QueueName>())]
    queue: QueueName,
    /// Consumer to register
    #[arg(value_parser = super::name::<ConsumerName>())]
    consumer: ConsumerName,
    /// Start after this tick, which must still be there; moves a registered consumer too
    #[arg(long, value_name = "TICK", value_parser = clap::value_parser!(i64), conflicts_with = "copy")]
    at: Option<i64>,
    /// Start where this consumer of the queue is; moves a registered consumer too
    #[arg(long, value_name = "OTHER")]
    copy: Option<ConsumerName>,
}

pub(crate) fn run(db: &mut Connection, args: &Args) -> Result<(), Error> {
    let Args {
        queue, consumer, ..
    } = args;
    let mut tx = db.begin()?;
    let tick = match (args.at, &args.copy) {
        (Some(tick), _) => Some(TickId::from(tick)),
        (None, None) => None,
        (None, Some(other)) => {
            let info = pgq::admin::consumer_info(&mut *tx, Some(queue), Some(other))?;
            let position = info.into_iter().next().and_then(|info| info.last_tick);
            Some(position.ok_or_else(|| Error::NothingToCopy {
                queue: queue.clone(),
                consumer: other.clone(),
            })?)
        }
    };
    let is_new = match tick {
        None => {
            info!("Registering consumer {consumer} on queue {queue}");
            pgq::admin::register_consumer(&mut *tx, queue, consumer)?
        }
        Some(tick) => {
            info!("Registering consumer {consumer} on queue {queue} at tick {tick}");
            pgq::admin::register_consumer_at(&mut *tx, queue, consumer, tick)?
        }
    };
    tx.commit()?;
    match (is_new, tick) {
        (true, _) => {}
        (false, None) => info!("Consumer already registered"),
        (false, Some(_)) => info!("Consumer already registered, moved"),
    }
    Ok(())
}
