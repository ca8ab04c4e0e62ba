//! Foreign keys and triggers that SkyTools 2.1 has put aside.
//!
//! It stored definitions as they read under the `search_path` of that moment. Each is created once
//! more, under the path of this session, and put aside again with all names qualified.

use postgres::types::Type;
use skytools::app::chain;
use skytools::db::{DbError, During, Tx};
use tracing::{info, warn};

/// A definition, and the statement that puts it aside again.
struct Stashed {
    table: String,
    name: String,
    definition: String,
}

/// Makes definitions mean the same under every `search_path`. One that cannot be created now stays as
/// it is, with a warning.
pub(super) fn qualify(tx: &mut Tx<'_>) -> Result<(), DbError> {
    for fkey in read(
        tx,
        "select from_table, fkey_name, fkey_def from londiste.subscriber_pending_fkeys",
    )? {
        // Rows that violate it are found when it comes back for good.
        let unchecked = format!("{} not valid", fkey.definition.trim_end_matches([';', ' ']));
        again(
            tx,
            "foreign key",
            &fkey,
            &unchecked,
            &[
                "select londiste.subscriber_drop_table_fkey($1, $2)",
                "update londiste.subscriber_pending_fkeys
                    set fkey_def = pg_catalog.regexp_replace(fkey_def, ' NOT VALID$', '')
                  where londiste.make_fqname(
                            (londiste.split_fqname(from_table)).o_schema,
                            (londiste.split_fqname(from_table)).o_name)
                        = londiste.rel_fqname(londiste.find_table_oid($1))
                    and fkey_name = $2",
                "delete from londiste.subscriber_pending_fkeys
                  where from_table = $1 and fkey_name = $2
                    and from_table <> londiste.rel_fqname(londiste.find_table_oid($1))",
            ],
        )?;
    }
    for trigger in read(
        tx,
        "select table_name, trigger_name, trigger_def from londiste.subscriber_pending_triggers",
    )? {
        again(
            tx,
            "trigger",
            &trigger,
            &trigger.definition,
            &[
                "select londiste.subscriber_drop_table_trigger($1, $2)",
                "delete from londiste.subscriber_pending_triggers
                  where table_name = $1 and trigger_name = $2
                    and table_name <> londiste.rel_fqname(londiste.find_table_oid($1))",
            ],
        )?;
    }
    Ok(())
}

fn read(tx: &mut Tx<'_>, sql: &str) -> Result<Vec<Stashed>, DbError> {
    let rows = tx.query_typed(sql, &[]).during("list what is put aside")?;
    Ok(rows
        .iter()
        .map(|row| Stashed {
            table: row.get(0),
            name: row.get(1),
            definition: row.get(2),
        })
        .collect())
}

fn again(
    tx: &mut Tx<'_>,
    kind: &str,
    stashed: &Stashed,
    definition: &str,
    statements: &[&str],
) -> Result<(), DbError> {
    let Stashed { table, name, .. } = stashed;
    let attempt: Result<(), DbError> = tx.savepoint(|tx| {
        tx.batch_execute(definition)
            .during(format!("create the {kind} {name} of {table}"))?;
        for statement in statements {
            tx.query_typed(statement, &[(table, Type::TEXT), (name, Type::TEXT)])
                .during(format!("put the {kind} {name} of {table} aside again"))?;
        }
        Ok(())
    });
    match attempt {
        Ok(()) => info!("{kind} {name} of {table}: names are qualified now"),
        Err(error) if error.is_connection_lost() => return Err(error),
        Err(error) => warn!("{}; it stays as it was stored", chain(&error)),
    }
    Ok(())
}
