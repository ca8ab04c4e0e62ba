//! Rows like the one before: of the same table and operation, with the same columns.

use pgq::batch::EventText;
use pgq::mover::row::written::{Line, Written};

/// Lines of so many bytes are few.
const LONG_LINE: usize = 256 * 1024;

/// A row that was put into a table, for others like it to follow in the short way.
#[derive(Debug)]
pub(crate) struct Like {
    kind: Vec<u8>,
    table: Vec<u8>,
    written: Written,
    /// The destination that it went to, and the set of columns there.
    pub(crate) place: usize,
    pub(crate) set: usize,
    /// For each column that is written, in the order of COPY, the number of its value in the event.
    order: Vec<usize>,
    /// Whether that is the order of the event.
    is_whole: bool,
    /// The one that was read last.
    line: Line,
}

impl Like {
    /// Remembers the row of an event that was put in; `None` if it is not URL-encoded with a key list.
    pub(crate) fn new(
        event: &EventText<'_>,
        order: Vec<usize>,
        place: usize,
        set: usize,
    ) -> Option<Like> {
        let kind = event.kind.as_deref()?;
        let [b'I' | b'U', b':', ..] = kind else {
            return None;
        };
        Some(Like {
            kind: kind.to_vec(),
            table: event.extra[0].as_deref()?.to_vec(),
            written: Written::of(event.data.as_deref()?, order.len())?,
            place,
            set,
            is_whole: order.iter().copied().eq(0..order.len()),
            order,
            line: Line::default(),
        })
    }

    /// Whether an event is of the same operation on the same table.
    pub(crate) fn is_of(&self, event: &EventText<'_>) -> bool {
        event.kind.as_deref() == Some(&self.kind) && event.extra[0].as_deref() == Some(&self.table)
    }

    /// Appends the row of such an event, with a value behind it, in the form of COPY; false if it has other columns, or
    /// there is anything special about it.
    pub(crate) fn push(
        &mut self,
        event: &EventText<'_>,
        tail: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> bool {
        let data = event.data.as_deref();
        if !data.is_some_and(|data| self.written.read(data, &mut self.line)) {
            return false;
        }
        match self.is_whole {
            true => out.extend_from_slice(self.line.text()),
            false => self
                .line
                .push_some(self.order.iter().copied().map(Some), out),
        }
        // One that a huge row has stretched is not worth keeping.
        if self.line.text().len() >= LONG_LINE {
            self.line = Line::default();
        }
        if let Some(tail) = tail {
            out.push(b'\t');
            out.extend_from_slice(tail);
        }
        out.push(b'\n');
        true
    }
}
