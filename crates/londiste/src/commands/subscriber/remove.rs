use std::collections::HashMap;

use postgres::types::Type;
use skytools::db::{Connection, During, Tx};
use tracing::info;

use super::super::Outcome;
use super::super::setup::{
    Setup, fakeable_step, part_failed, restore_pending, select, warn_unknown,
};
use crate::names::Relation;
use crate::{Config, Error, registry};

/// End the subscription of tables
///
/// The rows stay; triggers and foreign keys that were put aside come back.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Subscribed tables: `name`, `schema.name`, or a pattern with `*` and `?`
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    setup.need_names(&args.tables)?;
    let (config, queue) = (setup.config, setup.queue);
    let db = setup.subscriber()?;
    let subscribed = registry::subscriber_tables(db, queue)?;
    let states: HashMap<&str, bool> = subscribed
        .iter()
        .map(|table| (table.name.as_str(), table.is_ok()))
        .collect();
    let relations: Vec<Relation> = subscribed
        .iter()
        .map(|table| Relation::registered(table.name.clone()))
        .collect();
    let selection = select(&relations, &args.tables)?;
    let mut outcome = warn_unknown(&selection.unknown, |name| {
        Ok(format!("Table {name} is not subscribed"))
    })?;
    for name in &selection.names {
        info!("Removing: {name}");
        let settled = states.get(name.as_str()).copied().unwrap_or_default();
        let removed = one(db, config, queue.as_str(), name, settled);
        if let Err(failure) = removed.and_then(|()| restore_fkeys(db, config, name)) {
            outcome = outcome.max(part_failed(name, failure)?);
        }
    }
    Ok(outcome)
}

fn one(
    db: &mut Connection,
    config: &Config,
    queue: &str,
    name: &str,
    settled: bool,
) -> Result<(), Error> {
    let remove = |tx: &mut Tx<'_>| {
        tx.query_typed_one(
            "select londiste.subscriber_remove_table($1, $2)",
            &[(&queue, Type::TEXT), (&name, Type::TEXT)],
        )
        .during("remove the table")?;
        Ok(())
    };
    let restore = |tx: &mut Tx<'_>| {
        tx.query_typed_one(
            "select londiste.subscriber_restore_all_table_triggers($1)",
            &[(&name, Type::TEXT)],
        )
        .during("restore the table's triggers")?;
        Ok(())
    };
    if settled {
        fakeable_step(config, db, |tx| {
            remove(tx)?;
            restore(tx)
        })
    } else {
        // A copy at work holds the table, and gives up when it sees the row gone: first that, then
        // the triggers.
        fakeable_step(config, db, remove)?;
        fakeable_step(config, db, restore)
    }
}

/// Brings back the table's foreign keys whose other end is not being copied, each in a transaction
/// of its own. One that does not hold stays pending.
fn restore_fkeys(db: &mut Connection, config: &Config, name: &str) -> Result<(), Error> {
    if config.fake {
        return Ok(());
    }
    let pending = db
        .query_typed(
            "select f.from_table, f.fkey_name
               from londiste.subscriber_get_table_pending_fkeys($1) f
              where not exists (
                    select from londiste.subscriber_table t
                     where t.table_name in (f.from_table, f.to_table)
                       and t.merge_state is distinct from 'ok')",
            &[(&name, Type::TEXT)],
        )
        .during("list pending foreign keys")?;
    restore_pending(db, &pending)
}
