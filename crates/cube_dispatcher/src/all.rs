//! Each version of a row: straight into the table.

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

    /// Takes a row whose columns are those of `sets[set]`; `push` appends it, or returns false. Returns whether there
    /// was one, and how many others were sent.
    pub(crate) fn put(
        &mut self,
        table: &Table,
        sets: &[ColumnSet],
        set: usize,
        push: impl FnOnce(&mut Vec<u8>) -> bool,
        target: &mut Tx<'_>,
    ) -> Result<(bool, u64), DbError> {
        let mut sent = match self.set == set {
            true => 0,
            false => self.flush(table, sets, target)?,
        };
        self.set = set;
        let pushed = push(&mut self.rows);
        if self.rows.len() >= PART_BYTES {
            sent += self.flush(table, sets, target)?;
        }
        Ok((pushed, sent))
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
