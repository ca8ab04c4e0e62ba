//! A few versions of rows as single statements, one after another.

use std::borrow::Cow;

use postgres::SimpleQueryMessage;
use skytools::copy;
use skytools::db::{DbError, During, Tx};
use skytools::quote;

use crate::destination::{Done, Table};
use crate::latest::{GONE, Keys};
use crate::layout::ColumnSet;

/// Statements for one table.
pub(crate) struct Script {
    sql: String,
    /// For each statement, whether it is a delete.
    deletes: Vec<bool>,
}

/// A version as it waits: its number and set of columns, and the values.
struct Version<'r> {
    number: u64,
    set: i64,
    values: Vec<Option<Cow<'r, [u8]>>>,
}

impl<'r> Version<'r> {
    fn parse(line: &'r [u8]) -> Option<Version<'r>> {
        let mut fields = copy::fields(line);
        let mut text = || String::from_utf8(fields.next()?.ok()??.into_owned()).ok();
        let (number, set) = (text()?.parse().ok()?, text()?.parse().ok()?);
        Some(Version {
            number,
            set,
            values: fields.collect::<Result<_, _>>().ok()?,
        })
    }
}

impl Script {
    /// The statements for rows in buffers; `None` if they are no text that the driver sends.
    pub(crate) fn of<'r>(
        table: &Table,
        sets: &[ColumnSet],
        keys: &Keys,
        buffers: impl Iterator<Item = &'r Vec<u8>>,
    ) -> Option<Script> {
        let lines = buffers.flat_map(|rows| rows.split_inclusive(|&byte| byte == b'\n'));
        let mut versions = lines.map(Version::parse).collect::<Option<Vec<_>>>()?;
        versions.sort_by_key(|version| version.number);
        let mut out = Vec::new();
        let mut deletes = Vec::new();
        for version in &versions {
            let set = match version.set {
                GONE => None,
                set => Some(sets.get(usize::try_from(set).ok()?)?),
            };
            let places: Vec<usize> = match set {
                Some(set) => set.places().collect(),
                None => keys.places.clone(),
            };
            let value_at = |place: &usize| -> Option<&[u8]> {
                let at = places.iter().position(|other| other == place)?;
                version.values.get(at)?.as_deref()
            };
            // A NULL is in no key.
            let key: Option<Vec<&[u8]>> = keys.places.iter().map(value_at).collect();
            if let Some(key) = key {
                push_delete(table, keys, &key, &mut out)?;
                deletes.push(true);
            }
            if let Some(set) = set {
                push_insert(table, set, &version.values, &mut out)?;
                deletes.push(false);
            }
        }
        let sql = String::from_utf8(out).ok()?;
        Some(Script { sql, deletes })
    }

    pub(crate) fn run(&self, table: &Table, target: &mut Tx<'_>) -> Result<Done, DbError> {
        let mut done = Done::default();
        let messages = target
            .simple_query(&self.sql)
            .during(format!("apply events to table {}", table.name))?;
        let counts = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
            _ => None,
        });
        for (rows, is_delete) in counts.zip(&self.deletes) {
            match is_delete {
                true => done.deleted += rows,
                false => done.inserted += rows,
            }
        }
        Ok(done)
    }
}

fn push_delete(table: &Table, keys: &Keys, key: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(format!("delete from {} where ", table.quoted).as_bytes());
    for (at, (place, value)) in keys.places.iter().zip(key).enumerate() {
        if at > 0 {
            out.extend_from_slice(b" and ");
        }
        let column = &table.layout.columns[*place];
        out.extend_from_slice(format!("{} {} ", column.quoted(), column.equals).as_bytes());
        quote::push_literal(Some(value), out).ok()?;
    }
    out.extend_from_slice(b";\n");
    Some(())
}

fn push_insert(
    table: &Table,
    set: &ColumnSet,
    values: &[Option<Cow<'_, [u8]>>],
    out: &mut Vec<u8>,
) -> Option<()> {
    let columns = table.columns(set);
    out.extend_from_slice(
        format!(
            "insert into {} ({columns}) overriding system value values (",
            table.quoted
        )
        .as_bytes(),
    );
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        quote::push_literal(value.as_deref(), out).ok()?;
    }
    if let Some(period) = &table.period {
        out.extend_from_slice(format!(", {}", period.value).as_bytes());
    }
    out.extend_from_slice(b");\n");
    Some(())
}
