//! Rows like the one before: of the same table and operation, with the same columns.

use pgq::batch::EventText;
use pgq::mover::row::written::{Place, Written, push_plain};
use skytools::copy;

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
    /// Where the values of the next one are.
    values: Vec<Place>,
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
            order,
            values: Vec::new(),
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
        let data = event.data.as_deref().filter(|data| data.is_ascii());
        let Some(data) = data.filter(|data| self.written.find(data, &mut self.values)) else {
            return false;
        };
        let before = out.len();
        for (number, value) in self.order.iter().enumerate() {
            if number > 0 {
                out.push(b'\t');
            }
            let pushed = match self.values[*value].clone() {
                None => {
                    copy::push_field(None, out);
                    Some(())
                }
                Some(encoded) => push_plain(&data[encoded], out),
            };
            if pushed.is_none() {
                out.truncate(before);
                return false;
            }
        }
        if let Some(tail) = tail {
            out.push(b'\t');
            out.extend_from_slice(tail);
        }
        out.push(b'\n');
        true
    }
}
