use tracing::info;

use super::super::Outcome;
use super::super::setup::Setup;
use crate::Error;

pub(super) fn run(setup: &mut Setup<'_>) -> Result<Outcome, Error> {
    let (queue, consumer) = (setup.queue, setup.consumer.clone());
    let db = setup.provider()?;
    if pgq::admin::queue_info(&mut **db, Some(queue))?.is_empty() {
        return Err(Error::NoQueue(queue.clone()));
    }
    if pgq::admin::register_consumer(&mut **db, queue, &consumer)? {
        info!("Consumer {consumer} registered on queue {queue}");
    } else {
        info!("Consumer {consumer} is registered on queue {queue} already");
    }
    Ok(Outcome::Done)
}
