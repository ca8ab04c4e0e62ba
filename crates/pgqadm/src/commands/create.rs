use pgq::QueueName;
use skytools::db::Connection;
use tracing::info;

use crate::Error;

/// Create a queue
///
/// Does nothing if the queue exists already.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Queue to create
    #[arg(value_parser = super::name::<QueueName>())]
    queue: QueueName,
}

pub(crate) fn run(db: &mut Connection, args: &Args) -> Result<(), Error> {
    info!("Creating queue: {}", args.queue);
    if !pgq::admin::create_queue(&mut **db, &args.queue)? {
        info!("Queue already exists");
    }
    Ok(())
}
