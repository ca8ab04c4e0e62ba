use postgres::types::Type;
use skytools::db::{During, Tx};
use skytools::table::TableName;
use tracing::{error, info};

use super::super::Outcome;
use super::super::setup::{Setup, fakeable_step};
use crate::{Error, registry};

/// Bring triggers back that were put aside
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A subscribed table: `name` or `schema.name`
    #[arg(value_name = "TABLE")]
    table: String,
    /// Triggers; default: all of the table
    #[arg(value_name = "TRIGGER")]
    triggers: Vec<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    let (config, queue) = (setup.config, setup.queue);
    let table = TableName::parse_argument(&args.table)?.to_string();
    let db = setup.subscriber()?;
    let subscribed = registry::subscriber_tables(db, queue)?;
    if subscribed.iter().all(|other| other.name != table) {
        error!("Table {table} is not in the subscriber queue.");
        return Ok(Outcome::Failed);
    }
    fakeable_step(config, db, |tx| {
        let pending = names(
            tx,
            "select trigger_name from londiste.subscriber_get_table_pending_triggers($1)",
            &table,
        )?;
        if args.triggers.is_empty() {
            if pending.is_empty() {
                info!("No pending triggers found for {table}.");
                return Ok(Outcome::Done);
            }
            tx.query_typed_one(
                "select londiste.subscriber_restore_all_table_triggers($1)",
                &[(&table, Type::TEXT)],
            )
            .during(format!("restore the triggers of {table}"))?;
            return Ok(Outcome::Done);
        }
        let active = names(
            tx,
            "select trigger_name from londiste.find_table_triggers($1)",
            &table,
        )?;
        let mut outcome = Outcome::Done;
        for trigger in &args.triggers {
            if active.contains(trigger) {
                info!("Trigger {trigger} on {table} is already active.");
            } else if !pending.contains(trigger) {
                info!("Trigger {trigger} not found on {table}");
                outcome = Outcome::Failed;
            } else {
                tx.query_typed_one(
                    "select londiste.subscriber_restore_table_trigger($1, $2)",
                    &[(&table, Type::TEXT), (trigger, Type::TEXT)],
                )
                .during(format!("restore the trigger {trigger}"))?;
            }
        }
        Ok(outcome)
    })
}

fn names(tx: &mut Tx<'_>, sql: &str, table: &str) -> Result<Vec<String>, Error> {
    let rows = tx
        .query_typed(sql, &[(&table, Type::TEXT)])
        .during("look at the table's triggers")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
