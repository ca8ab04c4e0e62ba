//! What says that two values of a column are the same key.

use postgres::types::Type;
use skytools::db::{DbError, During, Tx};
use skytools::shape::Shape;

/// The operator that the search path finds: for the types of the server itself it is theirs.
pub(crate) const BY_PATH: &str = "=";

/// For each column the operator of its type's own index operators, as SQL. A type of an extension may be in a schema that
/// the search path does not have; by its name alone another operator would be found, of texts for example.
pub(crate) fn of_columns(tx: &mut Tx<'_>, shape: &Shape) -> Result<Vec<String>, DbError> {
    let rows = tx
        .query_kept(
            "with recursive base as (
                 select a.attnum as number, a.atttypid as type
                   from pg_catalog.pg_attribute a
                  where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
                 union all
                 select b.number, t.typbasetype
                   from base b
                   join pg_catalog.pg_type t on t.oid = b.type and t.typtype = 'd')
             select b.number, pg_catalog.format('operator(%I.%s)', n.nspname, o.oprname)
               from base b
               join pg_catalog.pg_opclass c on c.opcintype = b.type and c.opcdefault
               join pg_catalog.pg_am m on m.oid = c.opcmethod and m.amname = 'btree'
               join pg_catalog.pg_amop a on a.amopfamily = c.opcfamily and a.amopstrategy = 3
                and a.amoplefttype = c.opcintype and a.amoprighttype = c.opcintype
               join pg_catalog.pg_operator o on o.oid = a.amopopr
               join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
              where n.nspname <> 'pg_catalog'",
            &[(&shape.oid, Type::OID)],
        )
        .during("look up how values are compared")?;
    let mut equals = vec![BY_PATH.to_owned(); shape.columns.len()];
    for row in &rows {
        if let Some(place) = shape.place_of_number(row.get(0)) {
            equals[place] = row.get(1);
        }
    }
    Ok(equals)
}
