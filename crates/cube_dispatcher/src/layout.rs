//! The columns of a table of the target, and those of events.

use pgq::row::RowEvent;
use postgres::types::Type;
use skytools::db::{DbError, During, GenericClient};
use skytools::quote;
use skytools::record::Record;
use skytools::table::TableName;

/// The columns of a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) columns: Vec<Column>,
}

/// A column of a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Its type with modifier and collation as SQL spells them; of a domain, what it is over.
    pub(crate) definition: String,
    /// What says that two values of it are the same key.
    pub(crate) equals: String,
    /// Whether the server computes it.
    generated: bool,
}

impl Column {
    /// The name for SQL.
    pub(crate) fn quoted(&self) -> String {
        quote::ident(&self.name)
    }
}

impl Layout {
    /// Looks a table up that exists.
    pub(crate) fn look(db: &mut impl GenericClient, table: &TableName) -> Result<Layout, DbError> {
        // Equality is that of the type's own index operators: a search path may find another one first.
        let rows = db
            .query_typed(
                "with recursive base as (
                     select a.attnum, a.attname, a.attgenerated <> '' as generated, a.attcollation,
                            a.atttypid as type, a.atttypmod as modifier
                       from pg_catalog.pg_attribute a
                       join pg_catalog.pg_class c on c.oid = a.attrelid
                       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                      where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped
                     union all
                     select b.attnum, b.attname, b.generated, b.attcollation, t.typbasetype, t.typtypmod
                       from base b
                       join pg_catalog.pg_type t on t.oid = b.type
                      where t.typtype = 'd')
                 select b.attname::pg_catalog.text, b.generated,
                        pg_catalog.format_type(b.type, b.modifier)
                            || case when co.oid is null then ''
                                    else pg_catalog.format(' collate %I.%I', cn.nspname, co.collname) end,
                        case when o.oprname is null then '='
                             else pg_catalog.format('operator(%I.%s)', o.nspname, o.oprname) end
                   from base b
                   join pg_catalog.pg_type t on t.oid = b.type and t.typtype <> 'd'
                   left join pg_catalog.pg_collation co on co.oid = b.attcollation
                   left join pg_catalog.pg_namespace cn on cn.oid = co.collnamespace
                   left join lateral (
                       select n.nspname, p.oprname
                         from pg_catalog.pg_opclass c
                         join pg_catalog.pg_am m on m.oid = c.opcmethod and m.amname = 'btree'
                         join pg_catalog.pg_amop a on a.amopfamily = c.opcfamily and a.amopstrategy = 3
                          and a.amoplefttype = c.opcintype and a.amoprighttype = c.opcintype
                         join pg_catalog.pg_operator p on p.oid = a.amopopr
                         join pg_catalog.pg_namespace n on n.oid = p.oprnamespace
                        where c.opcdefault and c.opcintype = b.type) o on true
                  order by b.attnum",
                &[
                    (&table.schema(), Type::TEXT),
                    (&table.name(), Type::TEXT),
                ],
            )
            .during("look up the columns of a table")?;
        let column = |row: &postgres::Row| Column {
            name: row.get(0),
            generated: row.get(1),
            definition: row.get(2),
            equals: row.get(3),
        };
        Ok(Layout {
            columns: rows.iter().map(column).collect(),
        })
    }

    /// Place of the column of a name.
    pub(crate) fn place(&self, name: &[u8]) -> Option<usize> {
        (self.columns.iter()).position(|column| column.name.as_bytes() == name)
    }

    /// The columns at these places, for SQL.
    pub(crate) fn list(&self, places: impl IntoIterator<Item = usize>) -> String {
        let names: Vec<String> = (places.into_iter())
            .map(|place| self.columns[place].quoted())
            .collect();
        names.join(", ")
    }
}

/// Columns that events have together, in their order.
#[derive(Debug)]
pub(crate) struct ColumnSet {
    names: Vec<Vec<u8>>,
    /// Where they are in the table; `None` for what is not written.
    places: Vec<Option<usize>>,
    /// Whether the table lacks one of them.
    pub(crate) is_partial: bool,
}

impl ColumnSet {
    /// The columns of an event, and the names of those that the table lacks.
    pub(crate) fn of<'r>(row: &'r RowEvent<'_>, layout: &Layout) -> (ColumnSet, Vec<&'r [u8]>) {
        let names: Vec<&[u8]> = cells(row).map(|(name, _)| name).collect();
        let found: Vec<Option<usize>> = names.iter().map(|name| layout.place(name)).collect();
        let lacking = names
            .iter()
            .zip(&found)
            .filter(|(_, place)| place.is_none());
        let lacking: Vec<&[u8]> = lacking.map(|(name, _)| *name).collect();
        let written = |place: &usize| !layout.columns[*place].generated;
        let set = ColumnSet {
            names: names.iter().map(|name| name.to_vec()).collect(),
            places: found.iter().map(|place| place.filter(written)).collect(),
            is_partial: !lacking.is_empty(),
        };
        (set, lacking)
    }

    /// Whether the event has these columns.
    pub(crate) fn fits(&self, row: &RowEvent<'_>) -> bool {
        self.names.len() == row.values.len() + row.keys.len()
            && cells(row)
                .zip(&self.names)
                .all(|((name, _), known)| name == known)
    }

    /// For each column, in the order of the values, its number among those of the event; `None` if some are not
    /// written.
    pub(crate) fn order(&self, row: &RowEvent<'_>, columns: &Record<'_>) -> Option<Vec<usize>> {
        if self.is_partial || self.places.contains(&None) || columns.len() != self.names.len() {
            return None;
        }
        let number = |(name, _)| columns.iter().position(|(column, _)| column == name);
        cells(row).map(number).collect()
    }

    /// Places of the columns that are written.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        self.places.iter().copied().flatten()
    }

    /// Values of the columns that are written.
    pub(crate) fn values<'r>(
        &'r self,
        row: &'r RowEvent<'_>,
    ) -> impl Iterator<Item = Option<&'r [u8]>> {
        let written = cells(row)
            .zip(&self.places)
            .filter(|(_, place)| place.is_some());
        written.map(|((_, value), _)| value)
    }
}

/// The columns of an event and their values, keys last.
fn cells<'r>(row: &'r RowEvent<'_>) -> impl Iterator<Item = (&'r [u8], Option<&'r [u8]>)> {
    row.values.iter().chain(row.keys.iter())
}
