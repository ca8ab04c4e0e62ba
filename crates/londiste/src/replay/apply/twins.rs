//! Rows that have one key for a while, because it is deferrable, and which of them an event is about.
//!
//! What a statement did at once, `set id = id + 1`, comes row by row, and between two of the events two rows
//! have one key. Capture sends the old row along with changes of such a table: rows with the same key
//! differ in it, or it is all the same which of them changes. What is found so is exact; what cannot be
//! found stops replay.

use pgq::row::{Format, Op, RowEvent};
use postgres::types::{ToSql, Type};
use skytools::db::{DbError, During, Text, TextValue, Tx};
use skytools::quote;
use skytools::record::Record;
use skytools::urlencode;

use super::class::Target;

/// Where a row is stored, until the next statement that changes it.
#[derive(Debug)]
pub(super) struct Place {
    /// The table or partition.
    relation: String,
    /// The row in it.
    row: String,
}

impl Place {
    /// The condition for `where`.
    pub(super) fn condition(&self) -> String {
        format!("tableoid = {} and ctid = '{}'", self.relation, self.row)
    }
}

/// The row before the event, as far as the event says; `extra2` is its `ev_extra2`.
pub(super) fn old_row<'a>(row: &'a RowEvent<'_>, extra2: Option<&'a [u8]>) -> Option<Record<'a>> {
    let old = match (row.op, row.format) {
        (Op::Update, Format::Partial | Format::UrlEncoded) | (Op::Delete, Format::Partial) => {
            urlencode::decode(extra2?).ok()?
        }
        (Op::Delete, Format::UrlEncoded | Format::Json) => {
            let columns = row.keys.iter().chain(row.values.iter());
            let columns = columns.map(|(name, value)| (name.into(), value.map(Into::into)));
            columns.collect()
        }
        _ => return None,
    };
    // Otherwise it is something else: a list of keys, or an expression of the capture's.
    let is_same = row
        .keys
        .iter()
        .all(|(name, value)| old.get(name) == Some(value));
    is_same.then_some(old)
}

/// Finds the row that an event is about among those with its key. `Ok(None)` if there are no two, and the
/// number of them if nothing tells them apart.
pub(super) fn find(
    tx: &mut Tx<'_>,
    table: &str,
    target: &Target,
    row: &RowEvent<'_>,
    old: Option<&Record<'_>>,
) -> Result<Result<Option<Place>, u64>, DbError> {
    let mut values: Vec<TextValue<'_>> = Vec::new();
    let only = if target.is_partitioned() { "" } else { "only " };
    let same = old.map_or_else(|| "true".to_owned(), |old| same(target, old, &mut values));
    let key = key(row, &mut values);
    let sql = format!(
        "select t.tableoid::text, t.ctid::text, (t.*)::text, {same} from {only}{table} t where {key} for update"
    );
    let parameters: Vec<(&(dyn ToSql + Sync), Type)> = values
        .iter()
        .map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN))
        .collect();
    let rows = tx
        .query_typed(&sql, &parameters)
        .during("look for the row of an event")?;
    if rows.len() < 2 {
        return Ok(Ok(None));
    }
    let mut meant = rows.iter().filter(|row| row.get(3));
    let Some(first) = meant.next() else {
        return Ok(Err(rows.len() as u64));
    };
    let whole = |row: &postgres::Row| row.get::<_, Text>(2);
    if meant.any(|other| whole(other) != whole(first)) {
        return Ok(Err(rows.len() as u64));
    }
    Ok(Ok(Some(Place {
        relation: first.get(0),
        row: first.get(1),
    })))
}

/// The condition that a row is the old one, by the text of its columns as the subscriber writes it.
fn same<'a>(target: &Target, old: &'a Record<'_>, values: &mut Vec<TextValue<'a>>) -> String {
    let mut conditions = Vec::new();
    for (name, value) in old.iter() {
        let Some(column) = target.column(name).filter(|column| !column.generated) else {
            continue;
        };
        let name = quote::ident(&column.name);
        conditions.push(match value {
            None => format!("t.{name}::text is null"),
            Some(value) => {
                values.push(TextValue(value));
                let (number, of_type) = (values.len(), &column.type_name);
                format!("t.{name}::text is not distinct from ${number}::{of_type}::text")
            }
        });
    }
    match conditions.is_empty() {
        true => "true".to_owned(),
        false => conditions.join(" and "),
    }
}

fn key<'a>(row: &'a RowEvent<'_>, values: &mut Vec<TextValue<'a>>) -> String {
    let mut conditions = Vec::new();
    for (name, value) in row.keys.iter() {
        let mut condition = b"t.".to_vec();
        quote::push_ident(name, &mut condition);
        let condition = String::from_utf8_lossy(&condition);
        conditions.push(match value {
            None => format!("{condition} is null"),
            Some(value) => {
                values.push(TextValue(value));
                format!("{condition} = ${}", values.len())
            }
        });
    }
    conditions.join(" and ")
}
