//! What of a table is compared: the columns and the key of both sides, and the hash of a row.

use std::collections::HashMap;

use postgres::types::Type;
use skytools::db::{During, Session};
use skytools::quote;
use skytools::table::{self, Identity, RelationKind, TableName};
use tracing::warn;

use crate::Error;
use crate::schema::Side;

/// Types whose `=` is true for equal texts only, or for values that a guard need not tell apart.
/// Other types have none, or one that takes boxes of one area for equal.
const EQUALITY: [&str; 16] = [
    "pg_catalog.bool",
    "pg_catalog.int2",
    "pg_catalog.int4",
    "pg_catalog.int8",
    "pg_catalog.float4",
    "pg_catalog.float8",
    "pg_catalog.numeric",
    "pg_catalog.text",
    "pg_catalog.\"varchar\"",
    "pg_catalog.bpchar",
    "pg_catalog.date",
    "pg_catalog.timestamp",
    "pg_catalog.timestamptz",
    "pg_catalog.uuid",
    "pg_catalog.bytea",
    "pg_catalog.inet",
];

/// Values whose text has more bytes are told apart by a digest, and read only to be written.
const LONG: usize = 256 * 1024;

/// What is compared of a table, and how it is read on either side.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) table: TableName,
    /// Columns that both sides have and neither computes; those of the key first.
    pub(crate) columns: Vec<Column>,
    /// How many of them are the key; 0 if the sides have no common one.
    pub(crate) key_length: usize,
    /// The key can decide a conflict of an insert.
    pub(crate) key_decides: bool,
    /// The subscriber's table is partitioned.
    pub(crate) partitioned: bool,
    /// A condition leaves rows out.
    pub(crate) restricted: bool,
    /// Some columns are not compared.
    pub(crate) ignores_columns: bool,
    /// Hash of a row `t`, as SQL.
    hash: String,
    /// Encoding in which both sides see the same bytes of a text, as SQL.
    encoding: &'static str,
    provider: From,
    subscriber: From,
}

/// A table of a side for `from`, with the alias `t`.
#[derive(Debug)]
struct From {
    /// The rows that are compared.
    compared: String,
    all: String,
}

/// A column of both sides.
#[derive(Debug)]
pub(crate) struct Column {
    /// Quoted.
    pub(crate) name: String,
    /// The subscriber gives it values of its own unless told otherwise.
    pub(crate) identity_always: bool,
    /// `=` compares it well enough on the subscriber.
    pub(crate) has_equality: bool,
    pub(crate) types_differ: bool,
    provider_type: String,
    subscriber_type: String,
}

/// A table of one side.
struct Table {
    kind: RelationKind,
    columns: Vec<table::Column>,
    keys: Vec<Key>,
    types: HashMap<u32, String>,
    major: i32,
    encoding: String,
    probe: i64,
}

/// Columns that tell the rows of a table apart, none of them null.
struct Key {
    columns: Vec<String>,
    /// It can decide a conflict of an insert.
    decides: bool,
}

impl Key {
    /// The primary key, then unique indexes that are as good, the shorter ones first.
    fn read_all(db: &mut Session<'_>, table: u32) -> Result<Vec<Key>, Error> {
        let step = "look up the keys of a table";
        // An index knows its columns by their numbers; those behind the first `indnkeyatts` are no part of
        // the key.
        let rows = db
            .query_typed(
                "select k.columns, i.indimmediate and not i.indisexclusion
                   from pg_catalog.pg_index i
                   join pg_catalog.pg_class x on x.oid = i.indexrelid,
                        lateral (
                            select array_agg(a.attname::text order by p.place) as columns,
                                   bool_and(a.attnotnull) as not_null
                              from unnest(i.indkey::pg_catalog.int2[]) with ordinality p (number, place)
                              join pg_catalog.pg_attribute a
                                on a.attrelid = i.indrelid and a.attnum = p.number
                             where p.place <= i.indnkeyatts) k
                  where i.indrelid = $1 and i.indisunique and i.indisvalid
                    and i.indpred is null and i.indexprs is null and k.not_null
                    and (i.indisprimary or i.indimmediate)
                  order by i.indisprimary desc, i.indnkeyatts, x.relname",
                &[(&table, Type::OID)],
            )
            .during(step)?;
        Ok(rows
            .iter()
            .map(|row| Key {
                columns: row.get(0),
                decides: row.get(1),
            })
            .collect())
    }
}

impl Table {
    fn read(db: &mut Session<'_>, name: &TableName) -> Result<Table, Error> {
        let relation = table::relation(db, name)?;
        let row = db
            .query_typed_one(
                "select pg_catalog.current_setting('server_version_num')::int4,
                        pg_catalog.current_setting('server_encoding'),
                        pg_catalog.hashtextextended('probe', 0)",
                &[],
            )
            .during("read the server version")?;
        let version: i32 = row.get(0);
        let types = db
            .query_typed(
                "select distinct t.oid, n.nspname::text, t.typname::text
                   from pg_catalog.pg_attribute a
                   join pg_catalog.pg_type t on t.oid = a.atttypid
                   join pg_catalog.pg_namespace n on n.oid = t.typnamespace
                  where a.attrelid = $1 and a.attnum > 0",
                &[(&relation.oid, Type::OID)],
            )
            .during("look up the types of a table")?;
        Ok(Table {
            kind: relation.kind,
            columns: table::columns(db, relation.oid)?,
            keys: Key::read_all(db, relation.oid)?,
            // Without modifier: a cast to char(3) would cut a key off.
            types: types
                .iter()
                .map(|row| {
                    let (schema, name): (String, String) = (row.get(1), row.get(2));
                    let name = format!("{}.{}", quote::ident(&schema), quote::ident(&name));
                    (row.get(0), name)
                })
                .collect(),
            major: version / 10_000,
            encoding: row.get(1),
            probe: row.get(2),
        })
    }

    /// Rows of a plain table without those of its children, of a partitioned one with them.
    fn from(&self, name: &TableName, condition: Option<&str>) -> From {
        let only = match self.kind {
            RelationKind::PartitionedTable => "",
            _ => "only ",
        };
        let all = format!("{only}{} t", name.quoted());
        From {
            // The condition may end in a comment.
            compared: match condition {
                Some(condition) => format!("(select t.* from {all} where ({condition}\n)) t"),
                None => all.clone(),
            },
            all,
        }
    }

    fn plain(&self, name: &str) -> Option<&table::Column> {
        self.columns
            .iter()
            .find(|column| column.name == name && !column.generated)
    }
}

impl Layout {
    /// Reads the table on both sides. Rows for which `condition`, SQL, does not hold are not compared.
    ///
    /// # Errors
    /// It is missing on one of them.
    pub(crate) fn read(
        provider: &mut Session<'_>,
        subscriber: &mut Session<'_>,
        name: &TableName,
        condition: Option<&str>,
    ) -> Result<Layout, Error> {
        let here = Table::read(provider, name)?;
        let there = Table::read(subscriber, name)?;
        let written =
            |column: &String| here.plain(column).is_some() && there.plain(column).is_some();
        let common = here.keys.iter().find_map(|key| {
            let other = there
                .keys
                .iter()
                .find(|other| other.columns == key.columns)?;
            key.columns.iter().all(written).then_some((key, other))
        });
        let key = common.map_or(&[][..], |(key, _)| &key.columns);
        let mut order = key.to_vec();
        let rest = here.columns.iter().filter(|c| !key.contains(&c.name));
        order.extend(rest.map(|column| column.name.clone()));
        let columns: Vec<Column> = order
            .iter()
            .filter_map(|name| {
                let (column, other) = (here.plain(name)?, there.plain(name)?);
                let provider_type = here.types.get(&column.type_oid)?.clone();
                let subscriber_type = there.types.get(&other.type_oid)?.clone();
                Some(Column {
                    name: quote::ident(name),
                    identity_always: other.identity == Some(Identity::Always),
                    has_equality: EQUALITY.contains(&subscriber_type.as_str()),
                    types_differ: provider_type != subscriber_type,
                    provider_type,
                    subscriber_type,
                })
            })
            .collect();
        let count = |table: &Table| table.columns.iter().filter(|c| !c.generated).count();
        Ok(Layout {
            table: name.clone(),
            hash: hash(&here, &there, &columns),
            encoding: match here.encoding == there.encoding {
                true => "pg_catalog.getdatabaseencoding()",
                false => "'UTF8'",
            },
            ignores_columns: count(&here) != columns.len() || count(&there) != columns.len(),
            columns,
            key_length: key.len(),
            key_decides: common.is_some_and(|(_, other)| other.decides),
            partitioned: there.kind == RelationKind::PartitionedTable,
            restricted: condition.is_some(),
            provider: here.from(name, condition),
            subscriber: there.from(name, condition),
        })
    }

    /// Says once that some columns are not compared.
    pub(crate) fn warn(&self) {
        if self.ignores_columns {
            warn!("{}: Ignoring some columns", self.table);
        }
    }

    pub(crate) fn key(&self) -> &[Column] {
        &self.columns[..self.key_length]
    }

    /// The rows that are compared, for `from`, with the alias `t`.
    pub(crate) fn from(&self, side: Side) -> &str {
        &self.side(side).compared
    }

    /// All rows of the table, for `from`, with the alias `t`.
    pub(crate) fn all_rows(&self, side: Side) -> &str {
        &self.side(side).all
    }

    fn side(&self, side: Side) -> &From {
        match side {
            Side::Provider => &self.provider,
            Side::Subscriber => &self.subscriber,
        }
    }

    /// The hash of a row `t`, as SQL.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// The length of the text of a row `t`, as SQL.
    pub(crate) fn length(&self) -> String {
        let names: Vec<String> = (self.columns.iter())
            .map(|column| format!("t.{}", column.name))
            .collect();
        format!("octet_length(row({})::text)", names.join(", "))
    }

    /// The value of a column of a row `t` as [`Value`](super::read::Value) reads it, as SQL.
    pub(crate) fn value(&self, column: &Column) -> String {
        let name = format!("t.{}", column.name);
        let (output, digest) = (output(&name), self.digest(&name));
        let length = format!("pg_catalog.octet_length({output})");
        // A composite value that holds a null is neither `is null` nor `is not null`.
        format!(
            "case when {name} is distinct from null then
                 case when {length} > {LONG} then '#' || {length} || ':' || {digest} else '=' || {output} end
             end"
        )
    }

    /// What tells a value from others by few bytes, as SQL.
    pub(crate) fn digest(&self, expression: &str) -> String {
        format!(
            "pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to({}, {})), 'hex')",
            output(expression),
            self.encoding
        )
    }

    /// The query that counts and sums up the whole table on a side.
    pub(crate) fn whole_sql(&self, side: Side, count_only: bool) -> String {
        let from = self.from(side);
        match count_only {
            true => format!("select count(1) from {from}"),
            false => format!(
                "select count(1), coalesce(sum({}), 0) from {from}",
                self.hash
            ),
        }
    }

    /// `t.a, t.b`
    pub(crate) fn key_list(&self) -> String {
        self.key_columns(|column| format!("t.{}", column.name))
    }

    /// Key columns as text.
    pub(crate) fn key_text(&self) -> String {
        self.key_columns(|column| text(&format!("t.{}", column.name)))
    }

    fn key_columns(&self, show: impl Fn(&Column) -> String) -> String {
        self.key().iter().map(show).collect::<Vec<_>>().join(", ")
    }

    /// A condition on the key with parameters from `first` on: `(t.a, t.b) > ($1::int4, $2::text)`.
    pub(crate) fn beyond(&self, side: Side, operator: &str, first: usize) -> String {
        format!(
            "({}) {operator} ({})",
            self.key_list(),
            self.parameters(side, first)
        )
    }

    /// Parameters that hold a key.
    pub(crate) fn parameters(&self, side: Side, first: usize) -> String {
        let parameters: Vec<String> = (self.key().iter().enumerate())
            .map(|(nr, column)| format!("${}::{}", first + nr, column.type_on(side)))
            .collect();
        parameters.join(", ")
    }
}

impl Column {
    /// The type that a value is cast to on a side. Integers of different width compare through an
    /// index, and a wide one must not be cut.
    fn type_on(&self, side: Side) -> &str {
        let integer = |name: &str| {
            matches!(
                name,
                "pg_catalog.int2" | "pg_catalog.int4" | "pg_catalog.int8"
            )
        };
        if integer(&self.provider_type) && integer(&self.subscriber_type) {
            return "pg_catalog.int8";
        }
        match side {
            Side::Provider => &self.provider_type,
            Side::Subscriber => &self.subscriber_type,
        }
    }
}

/// The text that the type's output function writes, which a cast does not for all types.
pub(crate) fn text(expression: &str) -> String {
    let output = output(expression);
    // A composite value that holds a null is neither `is null` nor `is not null`.
    format!("case when {expression} is distinct from null then {output} end")
}

/// As [`text`], for what is not null.
pub(crate) fn output(expression: &str) -> String {
    format!("pg_catalog.format('%s', {expression})")
}

/// The hash of a row as SQL. The server's own hash may differ between major versions and machines,
/// and is over bytes in the database's encoding; md5 over UTF-8 is not.
fn hash(here: &Table, there: &Table, columns: &[Column]) -> String {
    let names: Vec<String> = columns
        .iter()
        .map(|column| format!("t.{}", column.name))
        .collect();
    let row = format!("row({})::text", names.join(", "));
    let same_hash = here.major == there.major && here.probe == there.probe;
    if here.encoding != there.encoding {
        format!("('x' || left(md5(convert_to({row}, 'UTF8')), 16))::bit(64)::bigint")
    } else if same_hash {
        format!("hashtextextended({row} collate \"C\", 0)")
    } else {
        format!("('x' || left(md5({row}), 16))::bit(64)::bigint")
    }
}
