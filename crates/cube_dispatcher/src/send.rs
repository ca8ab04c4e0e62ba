//! Rows on their way into a table.

use skytools::copy_in;
use skytools::db::{DbError, Tx};

use crate::work::ALL_BYTES;

/// Rows of one table and set of columns are sent when they have so many bytes.
pub(crate) const PART_BYTES: usize = 1024 * 1024;

/// Sends rows in the form of COPY, and forgets them; returns how many.
pub(crate) fn send(
    target: &mut Tx<'_>,
    table: &str,
    columns: &str,
    rows: &mut Vec<u8>,
) -> Result<u64, DbError> {
    let sql = format!("copy {table} ({columns}) from stdin");
    let sent = copy_in::send(target, &sql, rows, format!("copy rows into {table}"))?;
    // A buffer that one huge row has stretched is not worth keeping.
    match rows.capacity() > ALL_BYTES {
        true => *rows = Vec::new(),
        false => rows.clear(),
    }
    Ok(sent)
}
