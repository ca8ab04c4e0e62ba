use pgq::QueueName;
use skytools::db::Connection;
use tracing::info;

use crate::Error;

/// Stop ticking a queue, or tick it again
///
/// While a queue is paused its consumers get nothing; events are kept. `resume` does not tick: the
/// ticker does.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Queue, or '*' for all
    queue: QueueName,
}

pub(crate) fn run(db: &mut Connection, args: &Args, pause: bool) -> Result<(), Error> {
    let mut tx = db.begin()?;
    for info in super::queues(&mut *tx, &args.queue)? {
        let queue = &info.queue;
        let verb = if pause { "Pausing" } else { "Resuming" };
        info!("{verb} queue {queue}");
        if info.ticker_paused == pause {
            let state = if pause {
                "paused already"
            } else {
                "not paused"
            };
            info!("Queue is {state}");
        }
        let value = if pause { "true" } else { "false" };
        pgq::admin::set_queue_config(&mut *tx, queue, "ticker_paused", Some(value))?;
    }
    Ok(tx.commit()?)
}
