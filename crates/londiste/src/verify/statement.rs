//! The statement that repairs a row, guarded by the values that it expects.

use skytools::db::Text;
use skytools::quote;

use super::difference::{self, Difference};
use super::layout::{self, Column, Layout};
use super::read::Values;
use crate::{Error, VerifyError};

/// What a statement does; they are run in this order, so that values are free when they are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Delete,
    Update,
    Insert,
}

impl Kind {
    /// In the order in which they are run.
    pub(crate) const ALL: [Kind; 3] = [Kind::Delete, Kind::Update, Kind::Insert];
}

/// The statements that make the subscriber's row what the provider's is, each ended by `;` and a
/// newline. They change nothing if the subscriber's row has changed since it was read.
///
/// # Errors
/// A value cannot be written as SQL.
pub(crate) fn statements(
    layout: &Layout,
    difference: &Difference,
) -> Result<Vec<(Kind, Vec<u8>)>, Error> {
    Ok(match difference {
        Difference::Missing(row) => vec![(Kind::Insert, insert(layout, row)?)],
        Difference::Extra(row) => vec![(Kind::Delete, delete(layout, row)?)],
        Difference::Changed {
            provider,
            subscriber,
        } => {
            let places: Vec<usize> = difference::changed(layout, provider, subscriber).collect();
            match places.iter().any(|&nr| layout.columns[nr].identity_always) {
                // The server lets nobody update such a column.
                true => vec![
                    (Kind::Delete, delete(layout, subscriber)?),
                    (Kind::Insert, insert(layout, provider)?),
                ],
                false => vec![(Kind::Update, update(layout, provider, subscriber, &places)?)],
            }
        }
    })
}

fn insert(layout: &Layout, row: &Values) -> Result<Vec<u8>, Error> {
    let names: Vec<&str> = layout.columns.iter().map(|c| c.name.as_str()).collect();
    let overriding = match layout.columns.iter().any(|column| column.identity_always) {
        true => " overriding system value",
        false => "",
    };
    let mut sql = format!(
        "insert into {} ({}){overriding} values (",
        layout.table.quoted(),
        names.join(", ")
    )
    .into_bytes();
    for (nr, value) in row.iter().enumerate() {
        if nr > 0 {
            sql.extend_from_slice(b", ");
        }
        literal(value, &mut sql)?;
    }
    sql.push(b')');
    if layout.key_decides {
        let key: Vec<&str> = layout.key().iter().map(|c| c.name.as_str()).collect();
        sql.extend_from_slice(format!(" on conflict ({}) do nothing", key.join(", ")).as_bytes());
    }
    sql.extend_from_slice(b";\n");
    Ok(sql)
}

fn delete(layout: &Layout, row: &Values) -> Result<Vec<u8>, Error> {
    let mut sql = format!("delete from {} where ", target(layout)).into_bytes();
    conditions(layout, row, 0..layout.columns.len(), &mut sql)?;
    sql.extend_from_slice(b";\n");
    Ok(sql)
}

fn update(
    layout: &Layout,
    provider: &Values,
    subscriber: &Values,
    places: &[usize],
) -> Result<Vec<u8>, Error> {
    let mut sql = format!("update {} set ", target(layout)).into_bytes();
    for (nr, &place) in places.iter().enumerate() {
        if nr > 0 {
            sql.extend_from_slice(b", ");
        }
        sql.extend_from_slice(layout.columns[place].name.as_bytes());
        sql.extend_from_slice(b" = ");
        literal(&provider[place], &mut sql)?;
    }
    sql.extend_from_slice(b" where ");
    let key = 0..layout.key_length;
    let others = places.iter().copied().filter(|place| !key.contains(place));
    conditions(layout, subscriber, key.clone().chain(others), &mut sql)?;
    sql.extend_from_slice(b";\n");
    Ok(sql)
}

/// Rows of children are rows of other tables.
fn target(layout: &Layout) -> String {
    match layout.partitioned {
        true => layout.table.quoted(),
        false => format!("only {}", layout.table.quoted()),
    }
}

fn conditions(
    layout: &Layout,
    row: &Values,
    places: impl Iterator<Item = usize>,
    sql: &mut Vec<u8>,
) -> Result<(), Error> {
    for (nr, place) in places.enumerate() {
        if nr > 0 {
            sql.extend_from_slice(b" and ");
        }
        let key = place < layout.key_length;
        condition(&layout.columns[place], key, &row[place], sql)?;
    }
    Ok(())
}

fn condition(
    column: &Column,
    key: bool,
    value: &Option<Text>,
    sql: &mut Vec<u8>,
) -> Result<(), Error> {
    if value.is_none() {
        sql.extend_from_slice(format!("{} is null", column.name).as_bytes());
        return Ok(());
    }
    let compared = match key || column.has_equality {
        true => column.name.clone(),
        // Not null: the condition is for a value.
        false => layout::output(&column.name),
    };
    sql.extend_from_slice(compared.as_bytes());
    sql.extend_from_slice(b" = ");
    literal(value, sql)
}

fn literal(value: &Option<Text>, sql: &mut Vec<u8>) -> Result<(), Error> {
    let value = value.as_ref().map(Text::as_bytes);
    quote::push_literal(value, sql).map_err(|error| VerifyError::Quote(error).into())
}
