use pgq::{ConsumerName, QueueName};
use skytools::db::Connection;
use tracing::info;

use crate::Error;

/// Register a consumer on a queue
///
/// Does nothing if it is registered already. It will see what is put into the queue from the newest
/// tick on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Queue to read
    #[arg(value_parser = super::name::<QueueName>())]
    queue: QueueName,
    /// Consumer to register
    #[arg(value_parser = super::name::<ConsumerName>())]
    consumer: ConsumerName,
}

pub(crate) fn run(db: &mut Connection, args: &Args) -> Result<(), Error> {
    let Args { queue, consumer } = args;
    info!("Registering consumer {consumer} on queue {queue}");
    if !pgq::admin::register_consumer(&mut **db, queue, consumer)? {
        info!("Consumer already registered");
    }
    Ok(())
}
