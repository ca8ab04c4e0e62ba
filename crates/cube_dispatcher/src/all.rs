//! Each version of a row: straight into the table.

use pgq::mover::Courier;
use skytools::db::DbError;

use crate::destination::Table;
use crate::layout::ColumnSet;

/// Rows are sent when they have so many bytes.
const PART_BYTES: usize = 256 * 1024;

/// Rows of one set of columns, which are sent before one of another set is.
#[derive(Debug)]
pub(crate) struct All {
    /// What they are counted for.
    number: usize,
    set: usize,
    rows: Vec<u8>,
}

impl All {
    pub(crate) fn new(number: usize) -> All {
        All {
            number,
            set: 0,
            rows: Vec::new(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.len()
    }

    /// Takes a row whose columns are those of `sets[set]`; `push` appends it, or returns false. Returns whether there
    /// was one.
    pub(crate) fn put(
        &mut self,
        table: &Table,
        sets: &[ColumnSet],
        set: usize,
        push: impl FnOnce(&mut Vec<u8>) -> bool,
        courier: &mut Courier<'_, '_, '_>,
    ) -> Result<bool, DbError> {
        if self.set != set {
            self.flush(table, sets, courier)?;
        }
        self.set = set;
        let pushed = push(&mut self.rows);
        if self.rows.len() >= PART_BYTES {
            self.flush(table, sets, courier)?;
        }
        Ok(pushed)
    }

    /// Sends what is left.
    pub(crate) fn flush(
        &mut self,
        table: &Table,
        sets: &[ColumnSet],
        courier: &mut Courier<'_, '_, '_>,
    ) -> Result<(), DbError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let columns = table.columns(&sets[self.set]);
        let rows = std::mem::take(&mut self.rows);
        courier.send(Some(self.number), &table.quoted, &columns, rows)
    }
}
