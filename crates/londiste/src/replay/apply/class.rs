//! What may be done with the events of a table, by what the subscriber's catalogue says about it.

use std::cmp::Ordering;

use postgres::types::Type;
use serde::Deserialize;
use skytools::db::{During, Tx};
use skytools::quote;
use skytools::table::TableName;

use super::plan::Row;
use crate::Error;

/// A table as it is on the subscriber during a batch.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Target {
    /// A partitioned table has no rows of its own: ONLY would touch nothing.
    pub(super) partitioned: bool,
    /// Columns, those that were dropped left out.
    columns: Vec<Column>,
    /// Unique indexes, the primary key first.
    unique: Vec<Unique>,
    /// Rows can be given to COPY: a plain table without rules, row security, or triggers of users
    /// that fire. A COPY that is refused before it reads leaves the driver out of step, so the
    /// privilege is part of it.
    plain: bool,
    /// Some constraint is more than a unique index, or an index is on more than columns.
    excluding: bool,
    /// Foreign keys of it or to it are checked.
    fkeys: bool,
    /// Rows may refer to rows of the same table.
    refers_to_itself: bool,
    #[serde(skip)]
    locked: bool,
    #[serde(skip)]
    key: Option<Vec<usize>>,
    /// Names of the columns as they are written in SQL.
    #[serde(skip)]
    spelled: Vec<Vec<u8>>,
}

/// A column.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Column {
    number: i16,
    pub(super) name: String,
    /// Type without a length, as SQL.
    pub(super) type_name: String,
    /// Values can be passed as elements of an array of the type.
    pub(super) listable: bool,
    /// Two values are equal if their texts are, and only then.
    exact: Exact,
    /// Written by the server.
    pub(super) generated: bool,
    /// GENERATED ALWAYS AS IDENTITY.
    pub(super) identity: bool,
    /// Has a value when an insert does not say one.
    has_default: bool,
}

/// Which texts of a type are those that the server writes, so that they are equal if the values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Exact {
    Integer,
    Uuid,
    /// Any text.
    Text,
    /// Any text that does not end in a blank, which may be cut off.
    Limited,
    No,
}

#[derive(Debug, Clone, Deserialize)]
struct Unique {
    columns: Vec<i16>,
}

/// How events of a table may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// In their order, one by one, and nothing moves past them.
    Ordered,
    /// Consecutive inserts at once.
    Insertable,
    /// In any order with those of other free tables, and merged by key.
    Free,
}

impl Target {
    /// Names of columns that cannot be written.
    pub(super) fn is_generated(&self, name: &[u8]) -> bool {
        self.column(name).is_some_and(|column| column.generated)
    }

    /// Whether only an insert that insists can write the column.
    pub(super) fn is_identity(&self, name: &[u8]) -> bool {
        self.column(name).is_some_and(|column| column.identity)
    }

    fn column(&self, name: &[u8]) -> Option<&Column> {
        let mut columns = self.columns.iter();
        columns.find(|column| column.name.as_bytes() == name)
    }

    /// Whether partial SQL means what it says: no column is written by the server.
    pub(super) fn takes_partial_sql(&self) -> bool {
        let special = |column: &Column| column.generated || column.identity;
        !self.columns.iter().any(special)
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// A column's name in SQL.
    pub(super) fn spelled(&self, place: usize) -> &[u8] {
        &self.spelled[place]
    }

    pub(super) fn class(&self) -> Class {
        if !self.plain || !self.locked || self.refers_to_itself {
            return Class::Ordered;
        }
        if self.fkeys || self.excluding {
            return Class::Insertable;
        }
        match self.key() {
            Some(_) => Class::Free,
            None => Class::Insertable,
        }
    }

    /// Places of the columns of the key, if values can be compared by their text.
    pub(super) fn key(&self) -> Option<&[usize]> {
        self.key.as_deref()
    }

    fn find_key(&self) -> Option<Vec<usize>> {
        let unique = self.unique.first()?;
        let places: Option<Vec<usize>> = unique.columns.iter().map(|n| self.place(*n)).collect();
        let exact = |place: &usize| {
            let column = &self.columns[*place];
            column.exact != Exact::No && column.listable
        };
        places.filter(|places| !places.is_empty() && places.iter().all(exact))
    }

    /// Whether a column is in a unique index beside the key.
    pub(super) fn is_unique_elsewhere(&self, place: usize) -> bool {
        let number = self.columns[place].number;
        self.unique
            .iter()
            .skip(1)
            .any(|unique| unique.columns.contains(&number))
    }

    /// A table of these columns, some of them generated, some identities.
    #[cfg(test)]
    pub(super) fn of_columns(plain: &[&str], generated: &[&str], identity: &[&str]) -> Target {
        let all = plain.iter().chain(generated).chain(identity);
        let columns: Vec<Column> = all
            .map(|name| Column {
                number: 0,
                name: (*name).to_owned(),
                type_name: "text".to_owned(),
                listable: true,
                exact: Exact::Text,
                generated: generated.contains(name),
                identity: identity.contains(name),
                has_default: false,
            })
            .collect();
        Target {
            spelled: (columns.iter())
                .map(|column| quote::ident(&column.name).into_bytes())
                .collect(),
            columns,
            ..Target::default()
        }
    }

    fn place(&self, number: i16) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.number == number)
    }

    /// The place of a column by its name as it is written in an event; it is likely `hint`.
    pub(super) fn find(&self, written: &[u8], hint: usize) -> Option<usize> {
        if self.spelled.get(hint).is_some_and(|name| name == written) {
            return Some(hint);
        }
        if let Some(place) = self.spelled.iter().position(|name| name == written) {
            return Some(place);
        }
        // Another version quotes other names.
        let name = quote::unquote_ident(written).ok()?;
        self.columns
            .iter()
            .position(|column| column.name.as_bytes() == name.as_ref())
    }

    /// Whether columns that an insert leaves out get a value that may depend on when it runs.
    pub(super) fn fills_in(&self, row: &Row<'_>) -> bool {
        let mut columns = self.columns.iter().enumerate();
        columns.any(|(place, column)| {
            column.has_default && !column.generated && !row.iter().any(|(given, _)| *given == place)
        })
    }
}

impl Column {
    /// Whether a value that equals this one is written as this one is.
    pub(super) fn is_exact(&self, text: &[u8]) -> bool {
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
    pub(super) fn order(&self, a: &[u8], b: &[u8]) -> Ordering {
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
    'partitioned', c.relkind = 'p',
    'columns', (
        select coalesce(json_agg(json_build_object(
            'number', a.attnum,
            'name', a.attname,
            'type_name', pg_catalog.format_type(a.atttypid, -1),
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
            'has_default', a.atthasdef or a.attidentity <> '') order by a.attnum), '[]'::json)
        from pg_catalog.pg_attribute a
        join pg_catalog.pg_type t on t.oid = a.atttypid
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
    'unique', (
        select coalesce(json_agg(json_build_object(
            'columns', (select json_agg(k.number order by k.place)
                        from pg_catalog.unnest(i.indkey::int2[])
                             with ordinality k (number, place)
                        where k.place <= i.indnkeyatts))
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

/// Looks tables up; one that does not exist is an error.
///
/// With `lock`, nobody can change them until the transaction ends, and events may be merged. Without,
/// all of them are ordered.
pub(super) fn look_up(
    tx: &mut Tx<'_>,
    tables: &[&TableName],
    lock: bool,
) -> Result<Vec<Target>, Error> {
    let locked = lock && lock_all(tx, tables)?;
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name()).collect();
    let rows = tx
        .query_kept(
            LOOK_UP,
            &[(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)],
        )
        .during("look up the tables of events")?;
    let mut targets: Vec<Option<Target>> = vec![None; tables.len()];
    for row in &rows {
        let place = usize::try_from(row.get::<_, i32>(0) - 1).ok();
        let mut target: Target = serde_json::from_str(row.get(1)).map_err(Error::Catalogue)?;
        target.locked = locked;
        target.key = target.find_key();
        target.spelled = (target.columns.iter())
            .map(|column| quote::ident(&column.name).into_bytes())
            .collect();
        if let Some(place) = place.and_then(|place| targets.get_mut(place)) {
            *place = Some(target);
        }
    }
    let found = targets.into_iter().zip(tables);
    found
        .map(|(target, table)| target.ok_or_else(|| Error::NoTable(table.to_string())))
        .collect()
}

/// Takes the locks that writing takes, before anything is looked up that must not change. False if
/// not all of them can be had: what writes them says why.
fn lock_all(tx: &mut Tx<'_>, tables: &[&TableName]) -> Result<bool, Error> {
    let names: Vec<String> = tables
        .iter()
        .map(|table| format!("only {}", table.quoted()))
        .collect();
    let sql = format!("lock table {} in row exclusive mode", names.join(", "));
    let locked = tx.savepoint(|tx| tx.batch_execute(&sql).during("lock the tables of events"));
    match locked {
        Ok(()) => Ok(true),
        Err(error) if error.is_connection_lost() => Err(error.into()),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(exact: Exact) -> Column {
        Column {
            number: 1,
            name: "c".to_owned(),
            type_name: "int4".to_owned(),
            listable: true,
            exact,
            generated: false,
            identity: false,
            has_default: false,
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
