use pgq::ConsumerName;
use postgres::types::Type;
use skytools::app::chain;
use skytools::db::{Connection, During};
use tracing::{error, info, warn};

use super::super::Outcome;
use super::super::cascade::{belongs_to, forget_positions};
use super::super::setup::{Setup, step};
use crate::replay::mirror;
use crate::{CascadeError, Error, registry};

/// Sets every table to be copied again and forgets the positions, then removes the consumers from
/// the provider. In this order: what the provider no longer keeps must not look replicated.
pub(super) fn run(setup: &mut Setup<'_>) -> Result<Outcome, Error> {
    let (queue, options, consumer) = (setup.queue, setup.options, setup.consumer.clone());
    let db = setup.subscriber()?;
    if !pgq::lock::try_consumer(&mut **db, "londiste", &consumer)? {
        if !options.force {
            return Err(Error::ReplayRuns(consumer));
        }
        warn!("replay is running; --force used, going on");
    }
    crate::schema::migrate(db)?;
    let relay = mirror::is_relay(db, queue)?;
    if relay && !options.force {
        return Err(CascadeError::RelayStays(queue.clone()).into());
    }
    step(db, |tx| {
        for table in registry::subscriber_tables(tx, queue)? {
            tx.query_typed_one(
                "select londiste.subscriber_set_table_state($1, $2, null, null)",
                &[(queue, Type::TEXT), (&table.name, Type::TEXT)],
            )
            .during("set the table's state")?;
        }
        forget_positions(tx, &consumer)?;
        if relay {
            warn!("--force used, dropping queue {queue} of the relay");
            tx.query_typed("select londiste.link_del($1, $1)", &[(queue, Type::TEXT)])
                .during("end the relay")?;
            pgq::admin::drop_queue(&mut **tx, queue, true)?;
        }
        Ok(())
    })?;
    // After the consumers are gone it would not be known any more where they were.
    let mut provider = setup.provider_database()?;
    let db = setup.subscriber()?;
    db.query_typed(
        "select londiste.node_forget($1) where to_regclass('londiste.node_info') is not null",
        &[(queue, Type::TEXT)],
    )
    .during("forget the lineage")?;

    let db = match provider.connection() {
        Ok(db) => db,
        Err(failure) => {
            error!(
                "forgotten in subscriber_db, but not unregistered: the provider's queue keeps its events until \
                 {consumer} is unregistered there, with \"pgqadm INI unregister\": {}",
                chain(&failure)
            );
            return Ok(Outcome::Failed);
        }
    };
    crate::schema::require(db, crate::schema::Side::Provider)?;
    let mut registered = false;
    for name in consumers(db, queue, &consumer)? {
        registered |= pgq::admin::unregister_consumer(&mut **db, queue, &name)?;
        info!("Consumer {name} unregistered from queue {queue}");
    }
    if !registered {
        info!("Consumer {consumer} is not registered on queue {queue}");
    }
    Ok(Outcome::Done)
}

fn consumers(
    db: &mut Connection,
    queue: &pgq::QueueName,
    job: &ConsumerName,
) -> Result<Vec<ConsumerName>, Error> {
    Ok(pgq::admin::consumer_info(&mut **db, Some(queue), None)?
        .into_iter()
        .map(|info| info.consumer)
        .filter(|name| belongs_to(name, job))
        .collect())
}
