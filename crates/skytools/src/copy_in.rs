//! COPY into a table, row by row or many at once.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::copy;
use crate::db::{CopyInWriter, DbError, During, Tx};

/// Rows are sent in pieces of so many bytes.
const PIECE_BYTES: usize = 128 * 1024;

/// Sends rows that are text of COPY already, by a statement `copy … from stdin`; returns how many there were.
/// `step` says in errors what it is for.
///
/// # Errors
/// The server refuses the statement or a row, or the connection is gone.
pub fn send(
    tx: &mut Tx<'_>,
    sql: &str,
    rows: &[u8],
    step: impl Into<Cow<'static, str>>,
) -> Result<u64, DbError> {
    let step = step.into();
    let mut writer = tx.copy_in(sql).during(step.clone())?;
    write(&mut writer, rows).map_err(|error| DbError::in_copy(step.clone(), error))?;
    writer.finish().during(step)
}

/// Writes rows into a COPY, however many they are.
///
/// # Errors
/// The driver's, wrapped.
pub fn write(writer: &mut CopyInWriter<'_>, rows: &[u8]) -> io::Result<()> {
    // The driver copies what it is given at once.
    (rows.chunks(PIECE_BYTES)).try_for_each(|piece| writer.write_all(piece))
}

/// A COPY in text form that takes rows as they come.
///
/// The server may say only at the end that it refuses a row. Dropped before [`CopyIn::finish`], it leaves
/// the transaction failed.
pub struct CopyIn<'t> {
    writer: CopyInWriter<'t>,
    piece: Vec<u8>,
    step: &'static str,
}

impl<'t> CopyIn<'t> {
    /// Begins with a statement `copy … from stdin`; `step` says in errors what it is for.
    ///
    /// # Errors
    /// The server refuses it, or the connection is gone.
    pub fn begin(tx: &'t mut Tx<'_>, sql: &str, step: &'static str) -> Result<CopyIn<'t>, DbError> {
        Ok(CopyIn {
            writer: tx.copy_in(sql).during(step)?,
            piece: Vec::with_capacity(PIECE_BYTES * 2),
            step,
        })
    }

    /// Adds a row of values.
    ///
    /// # Errors
    /// The connection is gone, or the server has refused an earlier row.
    pub fn row(&mut self, values: &[Option<&[u8]>]) -> Result<(), DbError> {
        copy::row(values, &mut self.piece);
        self.sent()
    }

    /// Where text of COPY can be put, whole rows or parts of them; [`CopyIn::sent`] follows.
    pub fn text(&mut self) -> &mut Vec<u8> {
        &mut self.piece
    }

    /// Sends what was put in if it is much.
    ///
    /// # Errors
    /// The connection is gone, or the server has refused an earlier row.
    pub fn sent(&mut self) -> Result<(), DbError> {
        match self.piece.len() >= PIECE_BYTES {
            true => self.send(),
            false => Ok(()),
        }
    }

    /// Ends; returns how many rows there were.
    ///
    /// # Errors
    /// The server refuses a row.
    pub fn finish(mut self) -> Result<u64, DbError> {
        self.send()?;
        self.writer.finish().during(self.step)
    }

    fn send(&mut self) -> Result<(), DbError> {
        let sent = self.writer.write_all(&self.piece);
        self.piece.clear();
        sent.map_err(|error| DbError::in_copy(self.step, error))
    }
}
