use postgres::types::Type;
use skytools::db::During;
use tracing::info;

use super::super::Outcome;
use super::super::setup::{Setup, part_failed, provider_step, select, warn_unknown};
use crate::names::Relation;
use crate::{Error, registry};

/// End the capture of tables
///
/// Drops the triggers; subscribers drop their subscriptions when they reach this point of the queue.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Registered tables: `name`, `schema.name`, or a pattern with `*` and `?`
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    setup.need_names(&args.tables)?;
    let (config, queue) = (setup.config, setup.queue);
    let db = setup.provider()?;
    let registered: Vec<Relation> = registry::provider_tables(db, queue)?
        .into_iter()
        .map(Relation::registered)
        .collect();
    let selection = select(&registered, &args.tables)?;
    let mut outcome = warn_unknown(&selection.unknown, |name| {
        Ok(format!("Table {name} is not registered"))
    })?;
    for name in &selection.names {
        info!("Removing {name}");
        let removed = provider_step(config, db, |tx| {
            tx.query_typed_one(
                "select londiste.provider_remove_table($1, $2)",
                &[(queue, Type::TEXT), (name, Type::TEXT)],
            )
            .during("remove the table")?;
            Ok(())
        });
        if let Err(failure) = removed {
            outcome = outcome.max(part_failed(name, failure)?);
        }
    }
    provider_step(config, db, |tx| {
        tx.query_typed_one(
            "select londiste.provider_notify_change($1)",
            &[(queue, Type::TEXT)],
        )
        .during("tell the subscribers")?;
        Ok(())
    })?;
    Ok(outcome)
}
