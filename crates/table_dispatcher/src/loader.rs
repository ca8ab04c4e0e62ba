//! Rows into the tables of the target.

use std::collections::HashMap;

use pgq::mover::Report;
use pgq::mover::drift::{Drift, Lacking};
use pgq::mover::partition::{Partitions, Wanted};
use skytools::db::{DbError, During, Tx};
use skytools::table::{self, TableName};
use skytools::{copy_in, quote};

use crate::dispatcher::Sorted;
use crate::sorter::{Piece, Place};
use crate::{Config, Error};

/// A COPY ends behind so many bytes, for the ids of its events are remembered until then.
const COPY_BYTES: usize = 16 * 1024 * 1024;

/// What has to be made before the rows of a batch go in.
#[derive(Debug, Default)]
pub(crate) struct Todo {
    pub(crate) tables: Vec<Wanted>,
    pub(crate) columns: Vec<Lacking>,
}

/// A table of the target.
struct Table {
    name: TableName,
    /// Columns that take values, and those that the server computes.
    columns: HashMap<String, bool>,
}

/// Puts the rows of one batch into tables.
pub(crate) struct Loader<'a> {
    config: &'a Config,
    partitions: &'a mut Partitions,
    /// Column of the target that partitions are by, if the server is to know.
    bounds: Option<&'a str>,
    /// By label; `None` if it has to be made.
    tables: HashMap<String, Option<Table>>,
    todo: Todo,
}

impl Todo {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.columns.is_empty()
    }
}

impl<'a> Loader<'a> {
    pub(crate) fn new(
        config: &'a Config,
        partitions: &'a mut Partitions,
        bounds: Option<&'a str>,
    ) -> Loader<'a> {
        Loader {
            config,
            partitions,
            bounds,
            tables: HashMap::new(),
            todo: Todo::default(),
        }
    }

    /// Puts rows in, and those behind them that go to the same place. As soon as something has to be made first, only
    /// looks for more of that. Returns what `next` gave last, if it is to be done with something else.
    ///
    /// # Errors
    /// The target refuses.
    pub(crate) fn load(
        &mut self,
        target: &mut Tx<'_>,
        piece: Piece,
        next: &mut impl FnMut() -> Option<Sorted>,
        report: &mut Report,
    ) -> Result<Option<Sorted>, Error> {
        let label = &piece.place.label;
        if !self.tables.contains_key(label) {
            let table = self.open(target, &piece.place)?;
            self.tables.insert(label.clone(), table);
        }
        let Some(table) = &self.tables[label] else {
            return Ok(next());
        };
        let columns = &piece.shape.layout.columns;
        let takes: Vec<Option<bool>> = columns
            .iter()
            .map(|column| table.columns.get(column).copied())
            .collect();
        let is_unknown = |place: &usize| takes[*place].is_none();
        let unknown: Vec<usize> = (0..columns.len()).filter(is_unknown).collect();
        if !unknown.is_empty() {
            match self.config.drift {
                Drift::Fail => {
                    return Err(Error::UnknownColumns {
                        table: table.name.clone(),
                        columns: unknown.iter().map(|at| columns[*at].clone()).collect(),
                        event: piece.events[0],
                    });
                }
                Drift::Ignore => {}
                Drift::Add => {
                    let lacking = unknown
                        .iter()
                        .map(|at| lacking(&piece, *at, table, self.config));
                    for lacking in lacking {
                        if !self.todo.columns.contains(&lacking) {
                            self.todo.columns.push(lacking);
                        }
                    }
                    return Ok(next());
                }
            }
        }
        if !self.todo.is_empty() {
            return Ok(next());
        }
        let kept: Vec<usize> = (0..columns.len())
            .filter(|place| takes[*place] == Some(true))
            .collect();
        if kept.is_empty() {
            return Err(Error::UnknownColumns {
                table: table.name.clone(),
                columns: columns.clone(),
                event: piece.events[0],
            });
        }
        let list: Vec<String> = kept.iter().map(|at| quote::ident(&columns[*at])).collect();
        let sql = format!(
            "copy {} ({}) from stdin",
            table.name.quoted(),
            list.join(", ")
        );
        let kept = (kept.len() < columns.len()).then_some(kept);
        let (rows, behind) = copy(target, &sql, piece, kept.as_deref(), next, table)?;
        report.of(&table.name.to_string()).inserted += rows;
        Ok(behind)
    }

    /// The tables that rows are for, as far as they exist.
    pub(crate) fn tables(&self) -> Vec<TableName> {
        let tables = self.tables.values().flatten();
        tables.map(|table| table.name.clone()).collect()
    }

    /// What has to be made first, if there is anything.
    pub(crate) fn finish(self) -> Todo {
        self.todo
    }

    /// Looks a table up.
    fn open(&mut self, target: &mut Tx<'_>, place: &Place) -> Result<Option<Table>, Error> {
        let mut wanted =
            (self.partitions).wanted(&self.config.dest_table, &place.label, self.bounds)?;
        wanted.keys.clone_from(&place.keys);
        if !self.partitions.exists(&mut **target, &wanted)? {
            self.todo.tables.push(wanted);
            return Ok(None);
        }
        let columns = match table::find(&mut **target, &wanted.table)? {
            Some(found) => table::columns(&mut **target, found.oid)?,
            // It was there for another batch.
            None => {
                self.partitions.forget();
                self.todo.tables.push(wanted);
                return Ok(None);
            }
        };
        let columns = columns
            .into_iter()
            .map(|column| (column.name, !column.generated));
        Ok(Some(Table {
            name: wanted.table,
            columns: columns.collect(),
        }))
    }
}

fn lacking(piece: &Piece, at: usize, table: &Table, config: &Config) -> Lacking {
    let column = &piece.shape.layout.columns[at];
    let place = piece.shape.layout.places[at];
    let name = place.map_or(column, |place| &piece.shape.names[place]);
    Lacking {
        source: (piece.shape.source.as_deref())
            .map(|source| (TableName::parse(source), name.clone())),
        // A partition gets it from its parent, where it has one.
        tables: vec![config.dest_table.clone(), table.name.clone()],
        column: column.clone(),
    }
}

/// The same rows with some of their columns.
fn only(rows: &[u8], kept: &[usize]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len());
    for row in rows.split_inclusive(|&byte| byte == b'\n') {
        let row = row.strip_suffix(b"\n").unwrap_or(row);
        // Tabs within values are escaped.
        let values: Vec<&[u8]> = row.split(|&byte| byte == b'\t').collect();
        for (place, column) in kept.iter().enumerate() {
            if place > 0 {
                out.push(b'\t');
            }
            out.extend_from_slice(values[*column]);
        }
        out.push(b'\n');
    }
    out
}

/// Puts rows into a table, those of the first piece and of others behind it; some of their columns, if not all are
/// wanted. Returns how many there were, and what came that goes elsewhere.
fn copy(
    target: &mut Tx<'_>,
    sql: &str,
    first: Piece,
    kept: Option<&[usize]>,
    next: &mut impl FnMut() -> Option<Sorted>,
    table: &Table,
) -> Result<(u64, Option<Sorted>), Error> {
    let step = || format!("copy rows into {}", table.name);
    let mut writer = target.copy_in(sql).during(step())?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    let mut piece = first;
    let behind = loop {
        let rows = match kept {
            None => std::mem::take(&mut piece.rows),
            Some(kept) => only(&piece.rows, kept),
        };
        copy_in::write(&mut writer, &rows).map_err(|error| DbError::in_copy(step(), error))?;
        bytes += rows.len();
        drop(rows);
        events.append(&mut piece.events);
        if bytes >= COPY_BYTES {
            break next();
        }
        match next() {
            Some(Sorted::Rows(other)) if other.is_like(&piece) => piece = other,
            other => break other,
        }
    };
    let finished = writer.finish();
    let refusal = finished
        .as_ref()
        .err()
        .and_then(|error| error.as_db_error());
    let line = refusal.and_then(|error| line_of(error.where_()?));
    let rows = finished.during(step()).map_err(|source| {
        let source = Box::new(source);
        let table = table.name.clone();
        match line.and_then(|line| events.get(line.checked_sub(1)?)) {
            Some(event) => Error::Refused {
                event: *event,
                table,
                source,
            },
            None => Error::SomeRefused {
                first: events[0],
                last: events[events.len() - 1],
                table,
                source,
            },
        }
    })?;
    Ok((rows, behind))
}

/// The number of the line in what the server says of where it failed: `COPY orders, line 7, column id`.
/// In another language it is not found.
fn line_of(context: &str) -> Option<usize> {
    let (_, rest) = context.rsplit_once(", line ")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_left_out_of_rows() {
        let rows = b"1\ta\\tb\t\\N\n2\t\t\\\\\n";
        assert_eq!(only(rows, &[0, 2]), b"1\t\\N\n2\t\\\\\n");
        assert_eq!(only(rows, &[1]), b"a\\tb\n\n");
    }

    #[test]
    fn the_server_says_in_which_line_it_failed() {
        assert_eq!(line_of("COPY orders, line 7, column id: \"x\""), Some(7));
        assert_eq!(line_of("COPY \"a, line b\", line 12"), Some(12));
        assert_eq!(line_of("COPY orders, Zeile 7"), None);
    }
}
