//! Columns by which a cluster of the Greenplum family distributes the rows of a table.

use postgres::types::Type;
use skytools::db::{DbError, During, Tx};
use skytools::shape::Shape;

/// Places of the columns that distribute the rows; none on a server that does not do such a thing.
///
/// Source: `pg_catalog.mpp_distribution_policy` of the first servers of the family and
/// `gp_distribution_policy` of the later ones, whose column `attrnums` became `distkey` in version 6.
pub(crate) fn columns(tx: &mut Tx<'_>, shape: &Shape) -> Result<Vec<usize>, DbError> {
    let step = "look up how rows are distributed";
    let found = tx
        .query_kept(
            "select c.relname::text, a.attname::text \
               from pg_catalog.pg_class c \
               join pg_catalog.pg_attribute a on a.attrelid = c.oid \
              where c.relnamespace = 'pg_catalog'::regnamespace \
                and c.relname in ('mpp_distribution_policy', 'gp_distribution_policy') \
                and a.attname in ('attrnums', 'distkey') and not a.attisdropped",
            &[],
        )
        .during(step)?;
    let Some(row) = found.first() else {
        return Ok(Vec::new());
    };
    let (policy, column): (String, String) = (row.get(0), row.get(1));
    let rows = tx
        .query_typed(
            &format!(
                "select pg_catalog.unnest(p.{column}::int2[]) \
                 from pg_catalog.{policy} p where p.localoid = $1"
            ),
            &[(&shape.oid, Type::OID)],
        )
        .during(step)?;
    let numbers = rows.iter().map(|row| row.get::<_, i16>(0));
    Ok(numbers
        .filter_map(|number| shape.place_of_number(number))
        .collect())
}
