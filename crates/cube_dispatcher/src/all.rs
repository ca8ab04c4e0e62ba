//! Each version of a row: straight into the table.

use pgq::row::RowEvent;
use skytools::copy;
use skytools::db::{DbError, Tx};

use crate::destination::Table;
use crate::layout::ColumnSet;
use crate::send::{PART_BYTES, send};

/// Rows of one set of columns, which are sent before one of another set is.
#[derive(Debug, Default)]
pub(crate) struct All {
    set: usize,
    rows: Vec<u8>,
}

impl All {
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len()
    }

    /// Takes a row whose columns are those of `sets[set]`; returns how many others were sent.
    pub(crate) fn put(
        &mut self,
        table: &Table,
        sets: &[ColumnSet],
        set: usize,
        row: &RowEvent<'_>,
        target: &mut Tx<'_>,
    ) -> Result<u64, DbError> {
        let sent = match self.set == set {
            true => 0,
            false => self.flush(table, sets, target)?,
        };
        self.set = set;
        let period = table
            .period
            .as_ref()
            .map(|period| Some(period.start.as_bytes()));
        copy::row_of(sets[set].values(row).chain(period), &mut self.rows);
        match self.rows.len() >= PART_BYTES {
            true => Ok(sent + self.flush(table, sets, target)?),
            false => Ok(sent),
        }
    }

    /// Sends what is left; returns how many rows.
    pub(crate) fn flush(
        &mut self,
        table: &Table,
        sets: &[ColumnSet],
        target: &mut Tx<'_>,
    ) -> Result<u64, DbError> {
        if self.rows.is_empty() {
            return Ok(0);
        }
        let columns = table.columns(&sets[self.set]);
        send(target, &table.quoted, &columns, &mut self.rows)
    }
}
