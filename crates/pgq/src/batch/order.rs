//! Events in the order of their ids, of a source that sends them as they stand in its table.
//!
//! A writer takes an id just before it puts the event in, and fills a page of its own; so events stand about in order,
//! some of them too early. A part of them is held back and sorted here: the source neither sorts, nor writes what it
//! sorts to disk, and sends the first event at once. The order is exact; if what is held back does not suffice for it,
//! the batch has to be read in another way.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::Error;

/// How many bytes of events are held back.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// As long as all have come in order, about.
    orderly: usize,
    /// As soon as one has not.
    disorderly: usize,
}

/// A hundred writers have a server add some megabytes to a table at once, and fill these pages in any order.
const LIMITS: Limits = Limits {
    orderly: 1024 * 1024,
    disorderly: 8 * 1024 * 1024,
};

/// Ids that are so near may be exchanged by a single writer: where a large event has not fit into the rest of a page,
/// a smaller one may.
const NEAR: i64 = 100;

/// Rows that are held back.
#[derive(Debug)]
pub(super) struct Held {
    pieces: VecDeque<Piece>,
    /// Number of the first piece.
    first: usize,
    rows: VecDeque<Row>,
    /// Whether they are by id, and whether all were so as they came, about.
    is_sorted: bool,
    is_orderly: bool,
    limits: Limits,
    /// Bytes of the rows.
    bytes: usize,
    /// Bytes of the pieces.
    kept: usize,
    /// The id that was let go last.
    last: i64,
}

/// Some rows as they came.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// How many of them are held back.
    left: usize,
}

#[derive(Debug)]
struct Row {
    id: i64,
    piece: usize,
    place: Range<usize>,
}

impl Held {
    pub(super) fn new() -> Held {
        Held::with(LIMITS)
    }

    fn with(limits: Limits) -> Held {
        Held {
            pieces: VecDeque::new(),
            first: 0,
            rows: VecDeque::new(),
            is_sorted: true,
            is_orderly: true,
            limits,
            bytes: 0,
            kept: 0,
            last: i64::MIN,
        }
    }

    /// Takes some rows, which [`Held::put`] finds in them.
    pub(super) fn begin(&mut self, bytes: Bytes) {
        self.kept += bytes.len();
        self.pieces.push_back(Piece { bytes, left: 0 });
    }

    /// Holds back a row of the last piece.
    ///
    /// # Errors
    /// One behind it was let go already.
    pub(super) fn put(&mut self, id: i64, place: Range<usize>) -> Result<(), Error> {
        let piece = self.pieces.back_mut().ok_or(Error::OutOfOrder)?;
        if id < self.last {
            return Err(Error::OutOfOrder);
        }
        piece.left += 1;
        self.bytes += place.len();
        if let Some(row) = self.rows.back().filter(|row| id < row.id) {
            self.is_sorted = false;
            self.is_orderly &= row.id.saturating_sub(id) <= NEAR;
        }
        self.rows.push_back(Row {
            id,
            piece: self.first + self.pieces.len() - 1,
            place,
        });
        Ok(())
    }

    /// Lets those rows go that need not be held back any longer, the first ones first.
    ///
    /// # Errors
    /// What `handle` returns.
    pub(super) fn let_go<E>(
        &mut self,
        handle: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let leave = match self.is_orderly {
            true => self.limits.orderly,
            false => self.limits.disorderly,
        };
        self.let_go_until(leave, handle)
    }

    /// Lets all rows go: no more will come.
    ///
    /// # Errors
    /// What `handle` returns.
    pub(super) fn let_all_go<E>(
        &mut self,
        handle: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.let_go_until(0, handle)
    }

    fn let_go_until<E>(
        &mut self,
        leave: usize,
        mut handle: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.is_sorted {
            self.rows.make_contiguous().sort_by_key(|row| row.id);
            self.is_sorted = true;
        }
        while self.bytes > leave
            && let Some(row) = self.rows.pop_front()
        {
            self.bytes -= row.place.len();
            self.last = row.id;
            let piece = &mut self.pieces[row.piece - self.first];
            handle(&piece.bytes[row.place])?;
            piece.left -= 1;
            if piece.left == 0 {
                self.kept -= piece.bytes.len();
                piece.bytes = Bytes::new();
            }
        }
        while self.pieces.front().is_some_and(|piece| piece.left == 0) {
            self.pieces.pop_front();
            self.first += 1;
        }
        if self.kept > 2 * self.limits.disorderly {
            self.tidy();
        }
        Ok(())
    }

    /// Moves the rows together, so that nothing else is kept.
    fn tidy(&mut self) {
        let next = self.first + self.pieces.len();
        let mut bytes = Vec::with_capacity(self.bytes);
        for row in &mut self.rows {
            let start = bytes.len();
            let piece = &self.pieces[row.piece - self.first];
            bytes.extend_from_slice(&piece.bytes[row.place.clone()]);
            (row.piece, row.place) = (next, start..bytes.len());
        }
        self.kept = bytes.len();
        self.first = next;
        self.pieces.clear();
        self.pieces.push_back(Piece {
            bytes: bytes.into(),
            left: self.rows.len(),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of a row.
    const ROW: usize = 64;

    const LIMITS: Limits = Limits {
        orderly: 100 * ROW,
        disorderly: 800 * ROW,
    };

    /// Rows that hold their ids come in pieces of so many; the ids in the order in which they go on, and the most
    /// memory that was kept.
    fn pass(ids: &[i64], at_a_time: usize) -> Result<(Vec<i64>, usize), Error> {
        let (mut held, mut out, mut kept) = (Held::with(LIMITS), Vec::new(), 0);
        let mut take = |row: &[u8]| {
            out.push(i64::from_be_bytes(row[..8].try_into().unwrap()));
            Ok::<(), Error>(())
        };
        for piece in ids.chunks(at_a_time) {
            let rows = piece.iter().flat_map(|id| {
                let mut row = id.to_be_bytes().to_vec();
                row.resize(ROW, 0);
                row
            });
            held.begin(rows.collect::<Vec<u8>>().into());
            for (number, id) in piece.iter().enumerate() {
                held.put(*id, number * ROW..(number + 1) * ROW)?;
            }
            held.let_go(&mut take)?;
            kept = held.kept.max(kept);
        }
        held.let_all_go(&mut take)?;
        assert_eq!((held.bytes, held.kept, held.pieces.len()), (0, 0, 0));
        Ok((out, kept))
    }

    #[test]
    fn what_comes_in_order_goes_on_so() {
        let ids: Vec<i64> = (0..5000).collect();
        let (out, kept) = pass(&ids, 10).unwrap();
        assert_eq!(out, ids);
        assert!(kept <= LIMITS.orderly + 10 * ROW);
    }

    #[test]
    fn what_comes_too_early_waits_for_its_turn_without_keeping_others() {
        // The first of each hundred comes 700 rows before the others near it.
        let ids = (0..8000).map(|n| if n % 100 == 0 { n + 700 } else { n });
        let ids: Vec<i64> = ids.collect();
        let (out, kept) = pass(&ids, 10).unwrap();
        let mut sorted = ids.clone();
        sorted.sort();
        assert_eq!(out, sorted);
        assert!(kept <= 2 * LIMITS.disorderly, "{kept}");
        // Each twentieth of those that come before all others keeps a piece.
        let early = |n: i64| if n % 20 == 0 { n + 100_000 } else { n };
        let ids: Vec<i64> = (0..12_000).map(early).collect();
        let (out, kept) = pass(&ids, 20).unwrap();
        assert!(out.is_sorted());
        assert!(kept <= 2 * LIMITS.disorderly, "{kept}");
    }

    #[test]
    fn what_comes_after_its_turn_is_an_error() {
        let late = |rows: i64| pass(&(1..rows).chain([0]).collect::<Vec<i64>>(), 1);
        assert!(late(100).unwrap().0.is_sorted());
        assert!(matches!(late(102), Err(Error::OutOfOrder)));
        // Where others have come out of order it is waited for longer.
        let later = |first: i64, rows: i64| {
            let ids = [first].into_iter().chain(1..rows).chain([0]);
            pass(&ids.collect::<Vec<i64>>(), 1)
        };
        assert!(later(5000, 800).unwrap().0.is_sorted());
        assert!(matches!(later(5000, 801), Err(Error::OutOfOrder)));
        assert!(later(NEAR + 1, 100).unwrap().0.is_sorted());
        assert!(matches!(later(NEAR + 1, 101), Err(Error::OutOfOrder)));
    }

    #[test]
    fn a_row_that_is_larger_than_what_is_held_goes_on_at_once() {
        let size = 2 * LIMITS.orderly;
        let mut held = Held::with(LIMITS);
        held.begin(vec![0; size].into());
        held.put(1, 0..size).unwrap();
        let mut seen = 0;
        held.let_go(|row| {
            seen += row.len();
            Ok::<(), Error>(())
        })
        .unwrap();
        assert_eq!((seen, held.kept), (size, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn rows_go_on_in_order_or_not_at_all(
            jumps in prop::collection::vec(prop_oneof![9 => -20_i64..20, 1 => -900_i64..900], 2000),
            at_a_time in 1_usize..400,
        ) {
            let ids = jumps.iter().zip(0..).map(|(jump, place)| place + jump);
            let ids: Vec<i64> = ids.collect();
            match pass(&ids, at_a_time) {
                Ok((out, _)) => {
                    let mut sorted = ids;
                    sorted.sort();
                    prop_assert_eq!(out, sorted);
                }
                Err(error) => prop_assert!(matches!(error, Error::OutOfOrder)),
            }
        }
    }
}
