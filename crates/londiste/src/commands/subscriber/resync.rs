use postgres::types::Type;
use skytools::db::During;
use tracing::{info, warn};

use super::super::Outcome;
use super::super::setup::{Setup, fakeable_step, literal};
use crate::{Error, registry};

/// Copy tables again
///
/// Replay empties and copies the tables as if they had just been added.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Subscribed tables: `name` or `schema.name`
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    setup.need_names(&args.tables)?;
    let (config, queue) = (setup.config, setup.queue);
    let names = literal(&args.tables)?;
    fakeable_step(config, setup.subscriber()?, |tx| {
        let subscribed = registry::subscriber_tables(tx, queue)?;
        let names = if names.is_empty() {
            subscribed.iter().map(|table| table.name.clone()).collect()
        } else {
            names
        };
        let mut outcome = Outcome::Done;
        for name in &names {
            match subscribed.iter().find(|table| table.name == *name) {
                None => {
                    warn!("Table {name} not found");
                    outcome = Outcome::Failed;
                }
                Some(table) if !table.is_ok() => {
                    warn!("Table {name} is not in stable state");
                    // Without a state it waits for a copy already.
                    if table.state.is_some() {
                        outcome = Outcome::Failed;
                    }
                }
                Some(_) => {
                    info!("Resyncing {name}");
                    tx.query_typed_one(
                        "select londiste.subscriber_set_table_state($1, $2, null, null)",
                        &[(queue, Type::TEXT), (name, Type::TEXT)],
                    )
                    .during("set the table's state")?;
                }
            }
        }
        Ok(outcome)
    })
}
