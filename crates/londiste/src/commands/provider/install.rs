use tracing::info;

use super::super::Outcome;
use super::super::setup::Setup;
use crate::schema::{self, Side};
use crate::{Error, node};

/// Installs what is missing and creates the queue, in one transaction.
pub(super) fn run(setup: &mut Setup<'_>) -> Result<Outcome, Error> {
    let (config, queue) = (setup.config, setup.queue);
    let mut tx = setup.bare_provider()?.begin()?;
    pgq::schema::install(&mut tx)?;
    schema::install(&mut tx, Side::Provider)?;
    if pgq::admin::create_queue(&mut *tx, queue)? {
        info!("Creating queue {queue}");
    } else {
        info!("queue {queue} is in place");
    }
    // An older schema gets its lineage when the first subscriber comes.
    node::create(&mut tx, queue)?;
    if config.fake {
        tx.rollback()?;
    } else {
        tx.commit()?;
    }
    Ok(Outcome::Done)
}
