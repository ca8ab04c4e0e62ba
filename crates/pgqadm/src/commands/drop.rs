use pgq::QueueName;
use skytools::db::Connection;
use tracing::info;

use crate::Error;

/// Drop a queue
///
/// Refuses while consumers are registered, unless forced.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Queue to drop
    queue: QueueName,
}

pub(crate) fn run(db: &mut Connection, args: &Args, force: bool) -> Result<(), Error> {
    info!("Dropping queue: {}", args.queue);
    if !force {
        let consumers = pgq::admin::consumer_info(&mut **db, Some(&args.queue), None)?;
        if !consumers.is_empty() {
            let names = consumers.into_iter().map(|info| info.consumer.to_string());
            return Err(Error::StillAttached {
                consumers: names.collect(),
            });
        }
    }
    Ok(pgq::admin::drop_queue(&mut **db, &args.queue, force)?)
}
