use pgq::{ConsumerName, QueueName};
use skytools::db::Connection;
use tracing::info;

use super::ALL;
use crate::Error;

/// Remove a consumer from a queue
///
/// Its retry and failed events are deleted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Queue it reads
    queue: QueueName,
    /// Consumer to remove, or '*' for all of the queue
    consumer: ConsumerName,
}

pub(crate) fn run(db: &mut Connection, args: &Args) -> Result<(), Error> {
    let Args { queue, consumer } = args;
    let mut tx = db.begin()?;
    if consumer.as_str() != ALL {
        info!("Unregistering consumer {consumer} from queue {queue}");
        if !pgq::admin::unregister_consumer(&mut *tx, queue, consumer)? {
            return Err(Error::NotRegistered {
                queue: queue.clone(),
                consumer: consumer.clone(),
            });
        }
        return Ok(tx.commit()?);
    }
    if pgq::admin::queue_info(&mut *tx, Some(queue))?.is_empty() {
        return Err(Error::NoSuchQueue(queue.clone()));
    }
    for info in pgq::admin::consumer_info(&mut *tx, Some(queue), None)? {
        info!(
            "Unregistering consumer {} from queue {queue}",
            info.consumer
        );
        // One that is gone already went with the group that it belonged to.
        pgq::admin::unregister_consumer(&mut *tx, queue, &info.consumer)?;
    }
    Ok(tx.commit()?)
}
