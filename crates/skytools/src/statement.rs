//! Statements made of rows: insert, update, delete, and loading many rows at once.
//!
//! The texts are bytes; [`Rows::copy`] sends them as such, while the driver takes statements only
//! in UTF-8.

use std::io::Write;

use crate::copy;
use crate::db::{DbError, During, Failed, GenericClient, Session};
use crate::full_copy::driver_error;
use crate::quote::{self, push_ident, push_literal};
use crate::record::Record;

/// Why there is no statement, or why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Without key columns, an update would change every row.
    #[error("update needs pkeys")]
    UpdateNeedsKeys,
    /// Without key columns, a delete would remove every row.
    #[error("delete needs pkeys")]
    DeleteNeedsKeys,
    /// A key column, or one of the field map, is not in the row.
    #[error("column {0} is missing in the row")]
    MissingColumn(String),
    /// Positional rows do not say what they hold.
    #[error("Non-dict data needs field list")]
    NoFieldList,
    /// A row is longer than the list of columns.
    #[error("row has {values} values for {columns} columns")]
    TooManyValues {
        /// Values of the row.
        values: usize,
        /// Columns of the list.
        columns: usize,
    },
    /// The driver sends statements in UTF-8 only; COPY has no such limit.
    #[error("statement is not valid UTF-8")]
    NotUtf8,
    /// A value that no literal can hold.
    #[error(transparent)]
    Quote(#[from] quote::Error),
    /// The server refused, or the connection broke.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Where rows go: makes the statement that writes one row.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Table, raw: `schema.name`.
    pub table: &'a [u8],
    /// Key columns, under their names in the rows.
    pub keys: &'a [&'a [u8]],
    /// Columns to write and their names in the table; empty for all, under their own names.
    pub fields: &'a [(&'a [u8], &'a [u8])],
}

/// A column of the target and its value.
pub type Pair<'r> = (&'r [u8], Option<&'r [u8]>);

impl<'a> Target<'a> {
    /// Appends `insert into public.tbl (id, data) values ('1', null);`.
    ///
    /// # Errors
    /// A mapped column is missing, or a value holds a NUL byte.
    pub fn push_insert(&self, row: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        push_insert(self.table, &self.pairs(row)?, out)
    }

    /// Appends `update only public.tbl set data = 'x' where id = '1';`. Keys are not set.
    ///
    /// # Errors
    /// There are no keys, a key or mapped column is missing, or a value holds a NUL byte.
    pub fn push_update(&self, row: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let keys = self.key_pairs(row)?;
        let is_key = |name: &[u8]| keys.iter().any(|(key, _)| *key == name);
        let mut values = self.pairs(row)?;
        values.retain(|(name, _)| !is_key(name));
        push_update(self.table, &values, &keys, out)
    }

    /// Appends `delete from only public.tbl where id = '1';`.
    ///
    /// # Errors
    /// There are no keys, a key column is missing, or a value holds a NUL byte.
    pub fn push_delete(&self, row: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        push_delete(self.table, &self.key_pairs(row)?, out)
    }

    fn pairs<'r>(&'r self, row: &'r Record<'_>) -> Result<Vec<Pair<'r>>, Error> {
        if self.fields.is_empty() {
            return Ok(row.iter().collect());
        }
        (self.fields.iter())
            .map(|(source, target)| Ok((*target, column(row, source)?)))
            .collect()
    }

    fn key_pairs<'r>(&'r self, row: &'r Record<'_>) -> Result<Vec<Pair<'r>>, Error> {
        let target_name = |key: &'a [u8]| {
            let mapped = self.fields.iter().find(|(source, _)| *source == key);
            mapped.map_or(key, |(_, target)| *target)
        };
        (self.keys.iter())
            .map(|key| Ok((target_name(key), column(row, key)?)))
            .collect()
    }
}

fn column<'r>(row: &'r Record<'_>, name: &[u8]) -> Result<Option<&'r [u8]>, Error> {
    row.get(name)
        .ok_or_else(|| Error::MissingColumn(String::from_utf8_lossy(name).into_owned()))
}

/// Appends an insert into a table, named raw; a row of no columns is one of defaults.
///
/// # Errors
/// A value holds a NUL byte.
pub fn push_insert(table: &[u8], row: &[Pair<'_>], out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(b"insert into ");
    quote::push_fqident(table, out);
    if row.is_empty() {
        out.extend_from_slice(b" default values;");
        return Ok(());
    }
    out.extend_from_slice(b" (");
    push_joined(out, b", ", row, |(name, _), out| {
        push_ident(name, out);
        Ok(())
    })?;
    out.extend_from_slice(b") values (");
    push_joined(out, b", ", row, |(_, value), out| push_literal(*value, out))?;
    out.extend_from_slice(b");");
    Ok(())
}

/// Appends an update of the row of `keys` in a table, named raw.
///
/// Without `values`, the keys are set to themselves: the row is touched, and counted.
///
/// # Errors
/// There are no keys, or a value holds a NUL byte.
pub fn push_update(
    table: &[u8],
    values: &[Pair<'_>],
    keys: &[Pair<'_>],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    if keys.is_empty() {
        return Err(Error::UpdateNeedsKeys);
    }
    out.extend_from_slice(b"update only ");
    quote::push_fqident(table, out);
    out.extend_from_slice(b" set ");
    let set = if values.is_empty() { keys } else { values };
    push_joined(out, b", ", set, |(name, value), out| {
        push_ident(name, out);
        out.extend_from_slice(b" = ");
        push_literal(*value, out)
    })?;
    push_where(keys, out)
}

/// Appends a delete of the row of `keys` from a table, named raw.
///
/// # Errors
/// There are no keys, or a value holds a NUL byte.
pub fn push_delete(table: &[u8], keys: &[Pair<'_>], out: &mut Vec<u8>) -> Result<(), Error> {
    if keys.is_empty() {
        return Err(Error::DeleteNeedsKeys);
    }
    out.extend_from_slice(b"delete from only ");
    quote::push_fqident(table, out);
    push_where(keys, out)
}

fn push_where(keys: &[Pair<'_>], out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(b" where ");
    push_joined(out, b" and ", keys, |(name, value), out| {
        push_ident(name, out);
        if value.is_none() {
            // `= null` would find no row, and say nothing.
            out.extend_from_slice(b" is null");
            return Ok(());
        }
        out.extend_from_slice(b" = ");
        push_literal(*value, out)
    })?;
    out.push(b';');
    Ok(())
}

fn push_joined<T>(
    out: &mut Vec<u8>,
    separator: &[u8],
    items: &[T],
    push: impl Fn(&T, &mut Vec<u8>) -> Result<(), quote::Error>,
) -> Result<(), Error> {
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.extend_from_slice(separator);
        }
        push(item, out)?;
    }
    Ok(())
}

/// Many rows for one table.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    table: String,
    columns: Vec<&'a [u8]>,
    rows: Vec<Vec<Option<&'a [u8]>>>,
}

impl<'a> Rows<'a> {
    /// Rows whose values are in the order of `columns`; values missing at the end are NULL.
    /// `table` is raw, `schema.name`.
    ///
    /// # Errors
    /// There are rows and no columns, or a row is longer than the list.
    pub fn positional<V: AsRef<[Option<&'a [u8]>]>>(
        table: &str,
        columns: &[&'a str],
        rows: &[V],
    ) -> Result<Rows<'a>, Error> {
        if columns.is_empty() && !rows.is_empty() {
            return Err(Error::NoFieldList);
        }
        let filled = |row: &V| {
            let mut row = row.as_ref().to_vec();
            if row.len() > columns.len() {
                return Err(Error::TooManyValues {
                    values: row.len(),
                    columns: columns.len(),
                });
            }
            row.resize(columns.len(), None);
            Ok(row)
        };
        Ok(Rows {
            table: quote::fqident(table),
            columns: columns.iter().map(|name| name.as_bytes()).collect(),
            rows: rows.iter().map(filled).collect::<Result<_, _>>()?,
        })
    }

    /// Rows that name their columns; without a list, the columns of the first row are written.
    /// A column that a row lacks is NULL. `table` is raw, `schema.name`.
    pub fn records(table: &str, columns: Option<&[&'a str]>, rows: &'a [Record<'a>]) -> Rows<'a> {
        let columns: Vec<&[u8]> = match columns {
            Some(columns) => columns.iter().map(|name| name.as_bytes()).collect(),
            None => rows
                .first()
                .map_or(Vec::new(), |row| row.iter().map(|(name, _)| name).collect()),
        };
        let values = |row: &'a Record<'a>| {
            let value = |name: &&[u8]| row.get(name).flatten();
            columns.iter().map(value).collect()
        };
        Rows {
            table: quote::fqident(table),
            rows: rows.iter().map(values).collect(),
            columns,
        }
    }

    /// Names the table in SQL instead, ready for a statement.
    #[must_use]
    pub fn quoted_table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// A script for psql: `COPY … FROM STDIN;`, the rows, `\.`; `None` without rows.
    pub fn copy_sql(&self) -> Option<Vec<u8>> {
        (!self.rows.is_empty()).then(|| {
            let mut out = self.copy_statement();
            out.extend_from_slice(b";\n");
            for row in &self.rows {
                copy::row(row, &mut out);
            }
            out.extend_from_slice(b"\\.\n");
            out
        })
    }

    /// A line `insert into t (a,b) values ('1',null);` per row; `None` without rows.
    ///
    /// # Errors
    /// A value holds a NUL byte.
    pub fn insert_sql(&self) -> Result<Option<Vec<u8>>, Error> {
        let mut out = Vec::new();
        for row in &self.rows {
            out.extend_from_slice(b"insert into ");
            out.extend_from_slice(self.table.as_bytes());
            self.push_columns(&mut out);
            out.extend_from_slice(b" values (");
            push_joined(&mut out, b",", row, |value, out| push_literal(*value, out))?;
            out.extend_from_slice(b");\n");
        }
        Ok((!self.rows.is_empty()).then_some(out))
    }

    /// Writes the rows through COPY, and returns their number. Without rows nothing is sent.
    ///
    /// # Errors
    /// The server refused a row, and has written none.
    pub fn copy(&self, db: &mut Session<'_>) -> Result<u64, Error> {
        if self.rows.is_empty() {
            return Ok(0);
        }
        let statement = utf8(self.copy_statement())?;
        Ok(self
            .send(db, &statement)
            .during(format!("copy rows into {}", self.table))?)
    }

    /// Writes the rows with insert statements, sent at once. Without rows nothing is sent.
    ///
    /// # Errors
    /// The server refused a row, and has written none.
    pub fn insert(&self, db: &mut impl GenericClient) -> Result<u64, Error> {
        let Some(script) = self.insert_sql()? else {
            return Ok(0);
        };
        db.batch_execute(&utf8(script)?)
            .during(format!("insert rows into {}", self.table))?;
        Ok(self.rows.len() as u64)
    }

    fn send(&self, db: &mut Session<'_>, statement: &str) -> Result<u64, Failed> {
        let mut writer = db.copy_in(statement)?;
        let mut chunk = Vec::new();
        for row in &self.rows {
            copy::row(row, &mut chunk);
            if chunk.len() >= CHUNK_BYTES {
                writer.write_all(&chunk).map_err(driver_error)?;
                chunk.clear();
            }
        }
        writer.write_all(&chunk).map_err(driver_error)?;
        Ok(writer.finish()?)
    }

    fn copy_statement(&self) -> Vec<u8> {
        let mut out = b"COPY ".to_vec();
        out.extend_from_slice(self.table.as_bytes());
        self.push_columns(&mut out);
        out.extend_from_slice(b" FROM STDIN");
        out
    }

    fn push_columns(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b" (");
        for (place, column) in self.columns.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            push_ident(column, out);
        }
        out.push(b')');
    }
}

/// Rows are sent in pieces of this size.
const CHUNK_BYTES: usize = 512 * 1024;

fn utf8(sql: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(sql).map_err(|_| Error::NotUtf8)
}

#[cfg(test)]
mod tests;
