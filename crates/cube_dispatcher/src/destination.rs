//! A table of a period, and what is on its way there.

use std::sync::Arc;

use pgq::batch::EventText;
use pgq::mover::Courier;
use pgq::mover::partition::Wanted;
use pgq::mover::row::Reason;
use pgq::row::{Op, RowEvent};
use skytools::copy;
use skytools::db::DbError;
use skytools::quote;
use skytools::record::Record;
use skytools::table::TableName;

use crate::all::All;
use crate::config::Mode;
use crate::latest::Latest;
use crate::layout::{ColumnSet, Layout};
use crate::like::Like;

/// A table that rows are written to.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: TableName,
    /// The name for SQL.
    pub(crate) quoted: String,
    pub(crate) layout: Arc<Layout>,
    pub(crate) period: Option<Period>,
}

/// The column that takes the start of the period.
#[derive(Debug)]
pub(crate) struct Period {
    /// Its name for SQL.
    column: String,
    /// Its value for all rows.
    pub(crate) start: String,
    /// The same for SQL.
    pub(crate) value: String,
}

/// A table and the rows for it that were not applied yet.
#[derive(Debug)]
pub(crate) struct Destination {
    /// The table that events name.
    pub(crate) parent: TableName,
    pub(crate) table: Table,
    sets: Vec<ColumnSet>,
    /// Of the last row.
    set: usize,
    keeping: Keeping,
}

#[derive(Debug)]
enum Keeping {
    Latest(Latest),
    All(All),
}

/// What was done to a table, beside rows that the courier counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) inserted: u64,
    pub(crate) deleted: u64,
    /// Versions with a NULL in their key, which no other version replaces.
    pub(crate) null_keys: u64,
}

impl Table {
    pub(crate) fn new(wanted: &Wanted, layout: Arc<Layout>) -> Table {
        let period = wanted.bounds.as_ref().map(|bounds| {
            let literal = quote::literal(&bounds.from);
            let place = layout.place(bounds.column.as_bytes());
            Period {
                column: quote::ident(&bounds.column),
                start: bounds.from.clone(),
                value: match place {
                    Some(place) => format!("{literal}::{}", layout.columns[place].definition),
                    None => literal,
                },
            }
        });
        Table {
            name: wanted.table.clone(),
            quoted: wanted.table.quoted(),
            layout,
            period,
        }
    }

    /// The columns to write for rows of a set, for SQL.
    pub(crate) fn columns(&self, set: &ColumnSet) -> String {
        let columns = self.layout.list(set.places());
        match &self.period {
            Some(period) => format!("{columns}, {}", period.column),
            None => columns,
        }
    }
}

impl Destination {
    /// `number` tells it from the others of the batch: the rows that the courier takes are counted for it.
    pub(crate) fn new(parent: TableName, table: Table, mode: Mode, number: usize) -> Destination {
        Destination {
            parent,
            table,
            sets: Vec::new(),
            set: 0,
            keeping: match mode {
                Mode::KeepLatest => Keeping::Latest(Latest::new(number)),
                Mode::KeepAll => Keeping::All(All::new(number)),
            },
        }
    }

    /// Bytes of the rows that wait.
    pub(crate) fn bytes(&self) -> usize {
        match &self.keeping {
            Keeping::Latest(latest) => latest.bytes(),
            Keeping::All(all) => all.bytes(),
        }
    }

    /// Finds out which columns the row has; returns those that the table lacks, of the first such row.
    pub(crate) fn look_at(&mut self, row: &RowEvent<'_>) -> Vec<String> {
        if self.sets.get(self.set).is_some_and(|set| set.fits(row)) {
            return Vec::new();
        }
        if let Some(known) = self.sets.iter().position(|set| set.fits(row)) {
            self.set = known;
            return Vec::new();
        }
        let (set, lacking) = ColumnSet::of(row, &self.table.layout);
        self.set = self.sets.len();
        self.sets.push(set);
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        lacking.into_iter().map(text).collect()
    }

    /// Whether the table lacks columns of the row that was looked at.
    pub(crate) fn is_partial(&self) -> bool {
        self.sets[self.set].is_partial
    }

    /// Takes the row that was looked at, and of an update the one before it; sends rows when they are many.
    pub(crate) fn put(
        &mut self,
        row: &RowEvent<'_>,
        old: Option<&Record<'_>>,
        courier: &mut Courier<'_, '_, '_>,
    ) -> Result<Result<Done, Reason>, DbError> {
        let set = &self.sets[self.set];
        if row.op != Op::Delete && set.places().next().is_none() {
            let reason = format!("table {} has none of the columns", self.table.name);
            return Ok(Err(Reason::Other(reason)));
        }
        match &mut self.keeping {
            Keeping::Latest(latest) => {
                latest.put(&self.table, &self.sets, self.set, row, old, courier)
            }
            Keeping::All(all) => {
                let period = self.table.period.as_ref();
                let period = period.map(|period| Some(period.start.as_bytes()));
                let push = |rows: &mut Vec<u8>| {
                    copy::row_of(set.values(row).chain(period), rows);
                    true
                };
                all.put(&self.table, &self.sets, self.set, push, courier)?;
                Ok(Ok(Done::default()))
            }
        }
    }

    /// Remembers the row that was put in last, if others like it can follow in the short way; `columns` are those of
    /// the event, in its order.
    pub(crate) fn like(
        &self,
        event: &EventText<'_>,
        row: &RowEvent<'_>,
        columns: &Record<'_>,
        place: usize,
    ) -> Option<Like> {
        let Keeping::All(_) = self.keeping else {
            return None;
        };
        let order = self.sets[self.set].order(row, columns)?;
        Like::new(event, order, place, self.set)
    }

    /// Takes a row that may be like another one; returns whether it is.
    pub(crate) fn put_like(
        &mut self,
        like: &mut Like,
        event: &EventText<'_>,
        courier: &mut Courier<'_, '_, '_>,
    ) -> Result<bool, DbError> {
        let Keeping::All(all) = &mut self.keeping else {
            return Ok(false);
        };
        let period = self.table.period.as_ref();
        let period = period.map(|period| period.start.as_bytes());
        let set = like.set;
        let push = |rows: &mut Vec<u8>| like.push(event, period, rows);
        all.put(&self.table, &self.sets, set, push, courier)
    }

    /// Sends the rows that wait, so that they take no memory.
    pub(crate) fn flush(&mut self, courier: &mut Courier<'_, '_, '_>) -> Result<(), DbError> {
        match &mut self.keeping {
            Keeping::Latest(latest) => latest.stage(&self.table, &self.sets, courier),
            Keeping::All(all) => all.flush(&self.table, &self.sets, courier),
        }
    }

    /// Applies all that is left.
    pub(crate) fn finish(&mut self, courier: &mut Courier<'_, '_, '_>) -> Result<Done, DbError> {
        match &mut self.keeping {
            Keeping::Latest(latest) => latest.apply(&self.table, &self.sets, courier),
            Keeping::All(all) => {
                all.flush(&self.table, &self.sets, courier)?;
                Ok(Done::default())
            }
        }
    }
}
