//! Triggers that capture changes.

use postgres::types::Type;
use skytools::db::{DbError, During, Tx};
use skytools::table::TableName;

/// Triggers of a table that write into queues of its database. Put aside on a subscriber, another queue
/// loses changes; left, it gets every copied row.
pub(super) fn capturing_triggers(tx: &mut Tx<'_>, name: &str) -> Result<Vec<String>, DbError> {
    let table = TableName::parse(name);
    let rows = tx
        .query_typed(
            "select g.tgname
               from pg_catalog.pg_trigger g
               join pg_catalog.pg_class c on c.oid = g.tgrelid
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
               join pg_catalog.pg_proc p on p.oid = g.tgfoid
               join pg_catalog.pg_namespace f on f.oid = p.pronamespace
              where n.nspname = $1 and c.relname = $2
                and not g.tgisinternal and (f.nspname in ('pgq', 'pgq_gen')
                                             or f.nspname = 'londiste' and p.proname = 'log_truncate')
              order by g.tgname",
            &[(&table.schema(), Type::TEXT), (&table.name(), Type::TEXT)],
        )
        .during("look at the table's triggers")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
