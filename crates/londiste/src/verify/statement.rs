//! The statement that repairs a row, guarded by the values that it expects.

use postgres::Row;
use postgres::types::{ToSql, Type};
use skytools::db::{During, Session, Text, TextValue};
use skytools::quote;

use super::difference::{self, Difference};
use super::layout::{self, Column, Layout};
use super::read::{self, Key, Value, Values};
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

/// A statement for the subscriber. It changes nothing if the subscriber's row has changed since it was
/// read.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) kind: Kind,
    pieces: Vec<Piece>,
    /// Of the row.
    key: Key,
}

#[derive(Debug)]
enum Piece {
    Sql(String),
    Value(Text),
    /// The provider's value in the column at this place, which is read when it is needed.
    Long(usize),
}

/// The statements that make the subscriber's row what the provider's is.
pub(crate) fn statements(layout: &Layout, difference: &Difference) -> Vec<Statement> {
    match difference {
        Difference::Missing(row) => vec![insert(layout, row)],
        Difference::Extra(row) => vec![delete(layout, row)],
        Difference::Changed {
            provider,
            subscriber,
        } => {
            let places: Vec<usize> = difference::changed(layout, provider, subscriber).collect();
            match places.iter().any(|&nr| layout.columns[nr].identity_always) {
                // The server lets nobody update such a column.
                true => vec![delete(layout, subscriber), insert(layout, provider)],
                false => vec![update(layout, provider, subscriber, &places)],
            }
        }
    }
}

fn insert(layout: &Layout, row: &Values) -> Statement {
    let names: Vec<&str> = layout.columns.iter().map(|c| c.name.as_str()).collect();
    let overriding = match layout.columns.iter().any(|column| column.identity_always) {
        true => " overriding system value",
        false => "",
    };
    let mut statement = Statement::new(Kind::Insert, read::key(layout, row));
    statement.sql(&format!(
        "insert into {} ({}){overriding} values (",
        layout.table.quoted(),
        names.join(", ")
    ));
    for (place, value) in row.iter().enumerate() {
        statement.sql(if place > 0 { ", " } else { "" });
        statement.value(place, value);
    }
    statement.sql(")");
    if layout.key_decides {
        let key: Vec<&str> = layout.key().iter().map(|c| c.name.as_str()).collect();
        statement.sql(&format!(" on conflict ({}) do nothing", key.join(", ")));
    }
    statement
}

fn delete(layout: &Layout, row: &Values) -> Statement {
    let mut statement = Statement::new(Kind::Delete, read::key(layout, row));
    statement.sql(&format!("delete from {} where ", target(layout)));
    statement.conditions(layout, row, 0..layout.columns.len());
    statement
}

fn update(layout: &Layout, provider: &Values, subscriber: &Values, places: &[usize]) -> Statement {
    let mut statement = Statement::new(Kind::Update, read::key(layout, provider));
    statement.sql(&format!("update {} set ", target(layout)));
    for (nr, &place) in places.iter().enumerate() {
        let comma = if nr > 0 { ", " } else { "" };
        statement.sql(&format!("{comma}{} = ", layout.columns[place].name));
        statement.value(place, &provider[place]);
    }
    statement.sql(" where ");
    let key = 0..layout.key_length;
    let others = places.iter().copied().filter(|place| !key.contains(place));
    statement.conditions(layout, subscriber, key.clone().chain(others));
    statement
}

/// Rows of children are rows of other tables.
fn target(layout: &Layout) -> String {
    match layout.partitioned {
        true => layout.table.quoted(),
        false => format!("only {}", layout.table.quoted()),
    }
}

impl Statement {
    fn new(kind: Kind, key: Key) -> Statement {
        Statement {
            kind,
            pieces: Vec::new(),
            key,
        }
    }

    fn sql(&mut self, sql: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Sql(piece)) => piece.push_str(sql),
            _ => self.pieces.push(Piece::Sql(sql.to_owned())),
        }
    }

    /// The provider's value in the column at a place.
    fn value(&mut self, place: usize, value: &Option<Value>) {
        match value {
            None => self.sql("null"),
            Some(Value::Short(text)) => self.pieces.push(Piece::Value(text.clone())),
            Some(Value::Long { .. }) => self.pieces.push(Piece::Long(place)),
        }
    }

    fn conditions(&mut self, layout: &Layout, row: &Values, places: impl Iterator<Item = usize>) {
        for (nr, place) in places.enumerate() {
            self.sql(if nr > 0 { " and " } else { "" });
            let key = place < layout.key_length;
            self.condition(layout, &layout.columns[place], key, &row[place]);
        }
    }

    fn condition(&mut self, layout: &Layout, column: &Column, key: bool, value: &Option<Value>) {
        let name = &column.name;
        match value {
            None => self.sql(&format!("{name} is null")),
            Some(Value::Long { digest, .. }) => {
                self.sql(&format!("{} = ", layout.digest(name)));
                self.pieces.push(Piece::Value(digest.as_str().into()));
            }
            Some(Value::Short(text)) => {
                let compared = match key || column.has_equality {
                    true => name.clone(),
                    // Not null: the condition is for a value.
                    false => layout::output(name),
                };
                self.sql(&format!("{compared} = "));
                self.pieces.push(Piece::Value(text.clone()));
            }
        }
    }

    /// Writes it as SQL, ended by `;` and a newline, piece by piece.
    ///
    /// # Errors
    /// A value cannot be read on the provider or not be written as SQL, or `write` fails.
    pub(crate) fn write(
        &self,
        layout: &Layout,
        provider: &mut Session<'_>,
        write: &mut impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for piece in &self.pieces {
            let mut literal = Vec::new();
            let quoted = match piece {
                Piece::Sql(sql) => {
                    write(sql.as_bytes())?;
                    continue;
                }
                Piece::Value(text) => quote::push_literal(Some(text.as_bytes()), &mut literal),
                Piece::Long(place) => {
                    let row = read::long_value(provider, layout, &self.key, *place)?;
                    quote::push_literal(text(&row), &mut literal)
                }
            };
            quoted.map_err(VerifyError::Quote)?;
            write(&literal)?;
        }
        write(b";\n")
    }

    /// Runs it, its values as parameters.
    ///
    /// # Errors
    /// A value cannot be read on the provider, or the subscriber refuses the statement.
    pub(crate) fn run(
        &self,
        layout: &Layout,
        provider: &mut Session<'_>,
        subscriber: &mut Session<'_>,
    ) -> Result<(), Error> {
        let mut long = Vec::new();
        for piece in &self.pieces {
            if let Piece::Long(place) = piece {
                long.push(read::long_value(provider, layout, &self.key, *place)?);
            }
        }
        let mut long = long.iter();
        let (mut sql, mut values) = (String::new(), Vec::new());
        for piece in &self.pieces {
            let value = match piece {
                Piece::Sql(piece) => {
                    sql.push_str(piece);
                    continue;
                }
                Piece::Value(text) => Some(text.as_bytes()),
                Piece::Long(_) => long.next().and_then(text),
            };
            values.push(value.map(TextValue));
            sql.push_str(&format!("${}", values.len()));
        }
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> = (values.iter())
            .map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN))
            .collect();
        (subscriber.execute_typed(&sql, &parameters))
            .during(format!("repair a row of {}", layout.table))?;
        Ok(())
    }
}

/// The text in a row of one value.
fn text(row: &Row) -> Option<&[u8]> {
    let value: Option<TextValue<'_>> = row.get(0);
    value.map(|TextValue(text)| text)
}
