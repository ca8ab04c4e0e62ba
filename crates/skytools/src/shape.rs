//! Tables as those see them who write many rows at once: columns, unique keys, and what stands in the way.

use std::cmp::Ordering;

use postgres::types::Type;
use serde::Deserialize;

use crate::db::{During, Tx};
use crate::quote;
use crate::table::TableName;

/// A table as it is now; nothing keeps it from being changed but a lock.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Shape {
    /// Its `pg_class.oid`.
    pub oid: u32,
    /// Its rows are in its partitions: ONLY would touch nothing.
    pub partitioned: bool,
    /// It holds rows, itself or through partitions; a view, for one, does not.
    pub table: bool,
    /// Rows may be in tables that inherit from it, where its indexes do not reach.
    pub inherited: bool,
    /// Columns in their order, those that were dropped left out.
    pub columns: Vec<Column>,
    /// Unique indexes, the primary key first.
    pub unique: Vec<Unique>,
    /// Rows can be given to COPY and nobody sees it: a plain table without rules, row security, or
    /// triggers of users that fire. A COPY that is refused before it reads leaves the driver out of step,
    /// so the privilege is part of it.
    pub plain: bool,
    /// Some constraint is more than a unique index, or an index is on more than columns.
    pub excluding: bool,
    /// Foreign keys of it or to it are checked.
    pub fkeys: bool,
    /// Rows may refer to rows of the same table.
    pub refers_to_itself: bool,
}

/// A column.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Column {
    /// `pg_attribute.attnum`.
    pub number: i16,
    /// Its name, unquoted.
    pub name: String,
    /// Type without a length, as SQL.
    pub type_name: String,
    /// `pg_attribute.atttypmod`: the length, or what else the type has; -1 if it has none.
    pub modifier: i32,
    /// Values can be passed as elements of an array of the type.
    pub listable: bool,
    /// Two values are equal if their texts are, and only then.
    pub exact: Exact,
    /// Written by the server.
    pub generated: bool,
    /// GENERATED ALWAYS AS IDENTITY.
    pub identity: bool,
    /// Has a value when an insert does not say one.
    pub has_default: bool,
    /// NULL is refused.
    pub not_null: bool,
}

/// Which texts of a type are those that the server writes, so that they are equal if the values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exact {
    /// Digits, without zeros in front.
    Integer,
    /// Lower case, with dashes.
    Uuid,
    /// Any text.
    Text,
    /// Any text that does not end in a blank, which may be cut off.
    Limited,
    /// None is known.
    #[default]
    No,
}

/// A unique index.
#[derive(Debug, Clone, Deserialize)]
pub struct Unique {
    /// Numbers of its columns; 0 is an expression.
    pub columns: Vec<i16>,
    /// It decides for each row, at once: ON CONFLICT can name it.
    pub decides: bool,
    /// It is checked for each row; one that is deferrable is checked at the end of a statement or transaction.
    pub immediate: bool,
}

impl Shape {
    /// The place of the column with this `pg_attribute.attnum`.
    pub fn place_of_number(&self, number: i16) -> Option<usize> {
        let mut columns = self.columns.iter();
        columns.position(|column| column.number == number)
    }

    /// The place of the column of this name, raw.
    pub fn place(&self, name: &[u8]) -> Option<usize> {
        let mut columns = self.columns.iter();
        columns.position(|column| column.name.as_bytes() == name)
    }

    /// The column of this name, raw.
    pub fn column(&self, name: &[u8]) -> Option<&Column> {
        Some(&self.columns[self.place(name)?])
    }
}

impl Column {
    /// Its name as SQL.
    pub fn quoted(&self) -> String {
        quote::ident(&self.name)
    }

    /// Whether a value that equals this one is written as this one is.
    pub fn is_exact(&self, text: &[u8]) -> bool {
        match self.exact {
            Exact::Integer => {
                let digits = text.strip_prefix(b"-").unwrap_or(text);
                digits.iter().all(u8::is_ascii_digit)
                    && match digits {
                        [] => false,
                        [b'0'] => text.len() == 1,
                        [first, ..] => *first != b'0',
                    }
            }
            Exact::Uuid => {
                text.len() == 36
                    && text.iter().enumerate().all(|(place, byte)| match place {
                        8 | 13 | 18 | 23 => *byte == b'-',
                        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
                    })
            }
            Exact::Text => true,
            Exact::Limited => !text.ends_with(b" "),
            Exact::No => false,
        }
    }

    /// The order in which an index likely has two values.
    pub fn order(&self, a: &[u8], b: &[u8]) -> Ordering {
        if self.exact != Exact::Integer {
            return a.cmp(b);
        }
        let digits = |a: &[u8], b: &[u8]| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
        match (a.strip_prefix(b"-"), b.strip_prefix(b"-")) {
            (None, None) => digits(a, b),
            (Some(a), Some(b)) => digits(b, a),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        }
    }
}

/// Everything about some tables; `$1` are their schemas, `$2` their names.
const LOOK_UP: &str = "
select wanted.place::int4, pg_catalog.json_build_object(
    'oid', c.oid::int8,
    'partitioned', c.relkind = 'p',
    'table', c.relkind in ('r', 'p'),
    'inherited', c.relkind <> 'p' and exists (
            select from pg_catalog.pg_inherits h where h.inhparent = c.oid),
    'columns', (
        select coalesce(json_agg(json_build_object(
            'number', a.attnum,
            'name', a.attname,
            'type_name', pg_catalog.format_type(a.atttypid, -1),
            'modifier', a.atttypmod,
            'listable', t.typarray <> 0 and t.typdelim = ',' and t.typcategory <> 'A'
                and not (t.typtype = 'd' and exists (
                    select from pg_catalog.pg_type b
                    where b.oid = t.typbasetype and b.typcategory = 'A'))
                and not (a.atttypid = 'pg_catalog.interval'::regtype and a.atttypmod >= 0),
            'exact', case
                when a.atttypid in ('pg_catalog.int2'::regtype, 'pg_catalog.int4'::regtype,
                                    'pg_catalog.int8'::regtype) then 'integer'
                when a.atttypid = 'pg_catalog.uuid'::regtype then 'uuid'
                when a.atttypid in ('pg_catalog.text'::regtype, 'pg_catalog.varchar'::regtype)
                     and (select o.collisdeterministic from pg_catalog.pg_collation o
                          where o.oid = a.attcollation)
                    then case when a.atttypmod >= 0 then 'limited' else 'text' end
                else 'no' end,
            'generated', a.attgenerated <> '',
            'identity', a.attidentity = 'a',
            'has_default', a.atthasdef or a.attidentity <> '',
            'not_null', a.attnotnull) order by a.attnum), '[]'::json)
        from pg_catalog.pg_attribute a
        join pg_catalog.pg_type t on t.oid = a.atttypid
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
    'unique', (
        select coalesce(json_agg(json_build_object(
            'columns', (select json_agg(k.number order by k.place)
                        from pg_catalog.unnest(i.indkey::int2[])
                             with ordinality k (number, place)
                        where k.place <= i.indnkeyatts),
            'decides', i.indimmediate and i.indisvalid and i.indexprs is null
                       and i.indpred is null,
            'immediate', i.indimmediate)
            order by i.indisprimary desc, i.indexrelid), '[]'::json)
        from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisunique),
    'plain', c.relkind = 'r' and not c.relhasrules and not c.relrowsecurity
        and pg_catalog.has_table_privilege(c.oid, 'insert')
        and not exists (
            select from pg_catalog.pg_trigger t
            where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled = any (fires.modes)),
    'excluding', exists (
            select from pg_catalog.pg_index i
            where i.indrelid = c.oid
              and (i.indisexclusion
                   or i.indisunique and (i.indexprs is not null or i.indpred is not null))),
    'fkeys', exists (
            select from pg_catalog.pg_trigger t
            join pg_catalog.pg_constraint k on k.oid = t.tgconstraint
            where t.tgrelid = c.oid and k.contype = 'f' and t.tgenabled = any (fires.modes)),
    'refers_to_itself', exists (
            select from pg_catalog.pg_constraint k
            where k.contype = 'f' and k.conrelid = c.oid and k.confrelid = c.oid)
    )::text
from rows from (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[]))
     with ordinality wanted (nsp, rel, place)
join pg_catalog.pg_namespace n on n.nspname = wanted.nsp
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = wanted.rel
cross join (
    select case pg_catalog.current_setting('session_replication_role')
           when 'replica' then array['R', 'A'] else array['O', 'A'] end::\"char\"[]) fires (modes)";

/// Why tables cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub enum ShapeError {
    /// The server did not answer.
    #[error(transparent)]
    Db(#[from] crate::db::DbError),
    /// What the catalogue says cannot be read.
    #[error("cannot read the definitions of the tables of events")]
    Catalogue(#[source] serde_json::Error),
}

/// Has the server read what it needs to look relations up, so that the first time takes no longer than others.
///
/// # Errors
/// The server did not answer.
pub fn warm_up(tx: &mut Tx<'_>) -> Result<(), ShapeError> {
    match tx.keeps(LOOK_UP) {
        true => Ok(()),
        false => look_up(tx, &[]).map(|_| ()),
    }
}

/// Looks relations up, all at once; `None` for one that does not exist.
///
/// # Errors
/// The server did not answer.
pub fn look_up(tx: &mut Tx<'_>, tables: &[&TableName]) -> Result<Vec<Option<Shape>>, ShapeError> {
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name()).collect();
    let rows = tx
        .query_kept(
            LOOK_UP,
            &[(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)],
        )
        .during("look up the tables of events")?;
    let mut shapes: Vec<Option<Shape>> = vec![None; tables.len()];
    for row in &rows {
        let place = usize::try_from(row.get::<_, i32>(0) - 1).ok();
        let shape: Shape = serde_json::from_str(row.get(1)).map_err(ShapeError::Catalogue)?;
        if let Some(place) = place.and_then(|place| shapes.get_mut(place)) {
            *place = Some(shape);
        }
    }
    Ok(shapes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(exact: Exact) -> Column {
        Column {
            exact,
            ..Column::default()
        }
    }

    #[test]
    fn values_are_in_the_order_of_an_index() {
        let ordered = |exact, texts: &[&str]| {
            let column = column(exact);
            texts.is_sorted_by(|a, b| column.order(a.as_bytes(), b.as_bytes()).is_lt())
        };
        assert!(ordered(
            Exact::Integer,
            &["-10", "-9", "-1", "0", "2", "10"]
        ));
        assert!(ordered(Exact::Text, &["", "10", "2", "a"]));
    }

    #[test]
    fn only_texts_that_the_server_writes_identify_a_value() {
        let check = |exact, good: &[&str], bad: &[&str]| {
            let column = column(exact);
            for text in good {
                assert!(column.is_exact(text.as_bytes()), "{text}");
            }
            for text in bad {
                assert!(!column.is_exact(text.as_bytes()), "{text}");
            }
        };
        check(
            Exact::Integer,
            &["0", "-1", "12", "9223372036854775807"],
            &["", "-", "-0", "01", " 1", "1 ", "+1", "1.0", "1e3", "0x1"],
        );
        check(
            Exact::Uuid,
            &["00000000-0000-4000-8000-0000deadbeef"],
            &[
                "",
                "00000000-0000-4000-8000-0000DEADBEEF",
                "{0}",
                "00000000000040008000000000000000",
            ],
        );
        check(Exact::Text, &["", " ", "a "], &[]);
        check(Exact::Limited, &["", "a"], &["a "]);
        check(Exact::No, &[], &["", "1"]);
    }
}
