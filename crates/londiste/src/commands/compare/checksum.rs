//! The default comparison: count of the rows, and the sum of a 64-bit hash of each.

use skytools::db::{During, Session};
use skytools::quote;
use skytools::table::{self, Column, RelationKind, TableName};
use tracing::warn;

use super::super::setup::set_local;
use crate::Error;

/// Parameters that the text of values depends on.
const PINNED: [(&str, &str); 7] = [
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("xmlbinary", "base64"),
];

/// A table of one side.
struct Side {
    partitioned: bool,
    columns: Vec<Column>,
    major: i32,
    encoding: String,
}

impl Side {
    fn read(db: &mut Session<'_>, table: &TableName) -> Result<Side, Error> {
        let relation = table::relation(db, table)?;
        let row = db
            .query_typed_one(
                "select pg_catalog.current_setting('server_version_num')::int4,
                        pg_catalog.current_setting('server_encoding')",
                &[],
            )
            .during("read the server version")?;
        let version: i32 = row.get(0);
        Ok(Side {
            partitioned: relation.kind == RelationKind::PartitionedTable,
            columns: table::columns(db, relation.oid)?,
            major: version / 10_000,
            encoding: row.get(1),
        })
    }

    /// Rows of a plain table without those of its children, of a partitioned one with them.
    fn from(&self, table: &TableName) -> String {
        let only = if self.partitioned { "" } else { "only " };
        format!("from {only}{} t", table.quoted())
    }

    fn plain(&self, name: &str) -> bool {
        self.columns
            .iter()
            .any(|column| column.name == name && !column.generated)
    }
}

/// The queries for both sides; pins the parameters of both sessions until their transactions end.
pub(super) fn queries(
    provider: &mut Session<'_>,
    subscriber: &mut Session<'_>,
    table: &TableName,
    count_only: bool,
) -> Result<(String, String), Error> {
    let here = Side::read(provider, table)?;
    let there = Side::read(subscriber, table)?;
    let result = if count_only {
        "count(1)".to_owned()
    } else {
        for (name, value) in PINNED {
            set_local(provider, name, value)?;
            set_local(subscriber, name, value)?;
        }
        let common = common_columns(&here, &there, table);
        format!(
            "count(1), coalesce(sum({}), 0)",
            hash(&here, &there, &common)
        )
    };
    let query = |side: &Side| format!("select {result} {}", side.from(table));
    Ok((query(&here), query(&there)))
}

/// Columns that both sides have and neither computes, in the provider's order, quoted.
fn common_columns(here: &Side, there: &Side, table: &TableName) -> Vec<String> {
    let one_sided = |a: &Side, b: &Side| {
        a.columns
            .iter()
            .any(|column| !column.generated && !b.plain(&column.name))
    };
    if one_sided(here, there) || one_sided(there, here) {
        warn!("{table}: Ignoring some columns");
    }
    here.columns
        .iter()
        .filter(|column| !column.generated && there.plain(&column.name))
        .map(|column| format!("t.{}", quote::ident(&column.name)))
        .collect()
}

/// The hash of a row as SQL. The server's own hash may differ between major versions and is over
/// bytes in the database's encoding; md5 over UTF-8 is not.
fn hash(here: &Side, there: &Side, columns: &[String]) -> String {
    let row = format!("row({})::text", columns.join(", "));
    if here.major == there.major && here.encoding == there.encoding {
        format!("hashtextextended({row} collate \"C\", 0)")
    } else if here.encoding == there.encoding {
        format!("('x' || left(md5({row}), 16))::bit(64)::bigint")
    } else {
        format!("('x' || left(md5(convert_to({row}, 'UTF8')), 16))::bit(64)::bigint")
    }
}
