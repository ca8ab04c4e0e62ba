use postgres::types::Type;
use skytools::db::During;

use super::super::Outcome;
use super::super::setup::{Setup, provider_step};
use super::each_registered;
use crate::Error;

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
    let outcome = each_registered(
        setup,
        &args.tables,
        "Removing",
        "remove the table",
        "select londiste.provider_remove_table($1, $2)",
    )?;
    let (config, queue) = (setup.config, setup.queue);
    provider_step(config, setup.provider()?, |tx| {
        tx.query_typed_one(
            "select londiste.provider_notify_change($1)",
            &[(queue, Type::TEXT)],
        )
        .during("tell the subscribers")?;
        Ok(())
    })?;
    Ok(outcome)
}
