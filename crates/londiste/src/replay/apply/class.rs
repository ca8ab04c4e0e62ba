//! What may be done with the events of a table, by what the subscriber's catalogue says about it.

use skytools::db::{During, Tx};
use skytools::quote;
use skytools::shape::{self, Column, Exact, Shape, ShapeError};
use skytools::table::TableName;

use super::plan::Row;
use crate::Error;

/// A table as it is on the subscriber during a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    shape: Shape,
    locked: bool,
    key: Option<Vec<usize>>,
    /// Names of the columns as they are written in SQL.
    spelled: Vec<Vec<u8>>,
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
    fn new(shape: Shape, locked: bool) -> Target {
        let mut target = Target {
            spelled: (shape.columns.iter())
                .map(|column| column.quoted().into_bytes())
                .collect(),
            shape,
            locked,
            key: None,
        };
        target.key = target.find_key();
        target
    }

    /// Whether it has rows in its partitions alone.
    pub(super) fn is_partitioned(&self) -> bool {
        self.shape.partitioned
    }

    /// Names of columns that cannot be written.
    pub(super) fn is_generated(&self, name: &[u8]) -> bool {
        (self.shape.column(name)).is_some_and(|column| column.generated)
    }

    /// Whether only an insert that insists can write the column.
    pub(super) fn is_identity(&self, name: &[u8]) -> bool {
        (self.shape.column(name)).is_some_and(|column| column.identity)
    }

    /// The column of this name, raw.
    pub(super) fn column(&self, name: &[u8]) -> Option<&Column> {
        self.shape.column(name)
    }

    /// Whether partial SQL means what it says: no column is written by the server.
    pub(super) fn takes_partial_sql(&self) -> bool {
        let special = |column: &Column| column.generated || column.identity;
        !self.shape.columns.iter().any(special)
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.shape.columns
    }

    /// A column's name in SQL.
    pub(super) fn spelled(&self, place: usize) -> &[u8] {
        &self.spelled[place]
    }

    pub(super) fn class(&self) -> Class {
        let shape = &self.shape;
        if !shape.plain || !self.locked || shape.refers_to_itself {
            return Class::Ordered;
        }
        if shape.fkeys || shape.excluding {
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

    /// Whether several rows may have the same key for a while: it is deferrable.
    pub(super) fn is_loose(&self) -> bool {
        self.shape.unique.iter().any(|unique| !unique.immediate)
    }

    fn find_key(&self) -> Option<Vec<usize>> {
        let unique = self.shape.unique.first().filter(|unique| unique.decides)?;
        let numbers = unique.columns.iter();
        let places: Option<Vec<usize>> = numbers
            .map(|number| self.shape.place_of_number(*number))
            .collect();
        let exact = |place: &usize| {
            let column = &self.shape.columns[*place];
            column.exact != Exact::No && column.listable
        };
        places.filter(|places| !places.is_empty() && places.iter().all(exact))
    }

    /// Whether a column is in a unique index beside the key.
    pub(super) fn is_unique_elsewhere(&self, place: usize) -> bool {
        let number = self.shape.columns[place].number;
        let mut others = self.shape.unique.iter().skip(1);
        others.any(|unique| unique.columns.contains(&number))
    }

    /// A table of these columns, some of them generated, some identities.
    #[cfg(test)]
    pub(super) fn of_columns(plain: &[&str], generated: &[&str], identity: &[&str]) -> Target {
        let all = plain.iter().chain(generated).chain(identity);
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            type_name: "text".to_owned(),
            listable: true,
            exact: Exact::Text,
            generated: generated.contains(name),
            identity: identity.contains(name),
            ..Column::default()
        };
        let shape = Shape {
            columns: all.map(column).collect(),
            ..Shape::default()
        };
        Target::new(shape, false)
    }

    #[cfg(test)]
    pub(super) fn set_exact(&mut self, place: usize, exact: Exact) {
        self.shape.columns[place].exact = exact;
    }

    /// One with rows in its partitions alone.
    #[cfg(test)]
    pub(super) fn partitioned() -> Target {
        let shape = Shape {
            partitioned: true,
            ..Shape::default()
        };
        Target::new(shape, false)
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
        self.shape.place(&name)
    }

    /// Whether columns that an insert leaves out get a value that may depend on when it runs.
    pub(super) fn fills_in(&self, row: &Row<'_>) -> bool {
        let mut columns = self.shape.columns.iter().enumerate();
        columns.any(|(place, column)| {
            column.has_default && !column.generated && !row.iter().any(|(given, _)| *given == place)
        })
    }
}

fn explained(error: ShapeError) -> Error {
    match error {
        ShapeError::Db(error) => Error::from(error),
        ShapeError::Catalogue(error) => Error::Catalogue(error),
    }
}

/// Has the server ready for [`look_up`], which the first events wait for.
pub(super) fn warm_up(tx: &mut Tx<'_>) -> Result<(), Error> {
    shape::warm_up(tx).map_err(explained)
}

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
    let shapes = shape::look_up(tx, tables).map_err(explained)?;
    let found = shapes.into_iter().zip(tables);
    found
        .map(|(shape, table)| match shape {
            Some(shape) => Ok(Target::new(shape, locked)),
            None => Err(Error::NoTable(table.to_string())),
        })
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
