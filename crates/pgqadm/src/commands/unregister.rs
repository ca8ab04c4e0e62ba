use pgq::{ConsumerName, QueueName};
use skytools::db::Connection;
use tracing::info;

use crate::Error;

/// Remove a consumer from a queue
///
/// Its retry and failed events are deleted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Queue it reads
    queue: QueueName,
    /// Consumer to remove
    consumer: ConsumerName,
}

pub(crate) fn run(db: &mut Connection, args: &Args) -> Result<(), Error> {
    let Args { queue, consumer } = args;
    info!("Unregistering consumer {consumer} from queue {queue}");
    if pgq::admin::unregister_consumer(&mut **db, queue, consumer)? {
        return Ok(());
    }
    Err(Error::NotRegistered {
        queue: queue.clone(),
        consumer: consumer.clone(),
    })
}
