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
    /// Some columns are not compared.
    pub(crate) ignores_columns: bool,
    /// Hash of a row `t`, as SQL.
    hash: String,
    provider_from: String,
    subscriber_from: String,
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
    key: Vec<String>,
    deferrable: bool,
    types: HashMap<u32, String>,
    major: i32,
    encoding: String,
    probe: i64,
}

impl Table {
    fn read(db: &mut Session<'_>, name: &TableName) -> Result<Table, Error> {
        let relation = table::relation(db, name)?;
        let row = db
            .query_typed_one(
                "select pg_catalog.current_setting('server_version_num')::int4,
                        pg_catalog.current_setting('server_encoding'),
                        pg_catalog.hashtextextended('probe', 0),
                        exists (select from pg_catalog.pg_index i
                                 where i.indrelid = $1 and i.indisprimary and not i.indimmediate)",
                &[(&relation.oid, Type::OID)],
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
            key: table::primary_key(db, relation.oid)?,
            deferrable: row.get(3),
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
    fn from(&self, name: &TableName) -> String {
        let only = match self.kind {
            RelationKind::PartitionedTable => "",
            _ => "only ",
        };
        format!("{only}{} t", name.quoted())
    }

    fn plain(&self, name: &str) -> Option<&table::Column> {
        self.columns
            .iter()
            .find(|column| column.name == name && !column.generated)
    }
}

impl Layout {
    /// Reads the table on both sides.
    ///
    /// # Errors
    /// It is missing on one of them.
    pub(crate) fn read(
        provider: &mut Session<'_>,
        subscriber: &mut Session<'_>,
        name: &TableName,
    ) -> Result<Layout, Error> {
        let here = Table::read(provider, name)?;
        let there = Table::read(subscriber, name)?;
        let mut order = here.key.clone();
        let rest = here.columns.iter().filter(|c| !here.key.contains(&c.name));
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
        let written = |table: &Table| table.columns.iter().filter(|c| !c.generated).count();
        let key_is_common = here.key == there.key
            && here.key.iter().all(|name| here.plain(name).is_some())
            && here.key.iter().all(|name| there.plain(name).is_some());
        Ok(Layout {
            table: name.clone(),
            hash: hash(&here, &there, &columns),
            ignores_columns: written(&here) != columns.len() || written(&there) != columns.len(),
            columns,
            key_length: if key_is_common { here.key.len() } else { 0 },
            key_decides: !there.deferrable,
            partitioned: there.kind == RelationKind::PartitionedTable,
            provider_from: here.from(name),
            subscriber_from: there.from(name),
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

    /// For `from`, with the alias `t`.
    pub(crate) fn from(&self, side: Side) -> &str {
        match side {
            Side::Provider => &self.provider_from,
            Side::Subscriber => &self.subscriber_from,
        }
    }

    /// The hash of a row `t`, as SQL.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
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
