//! Events in the order of their ids, of a source that sends them as they stand in its table.
//!
//! A writer takes an id just before it puts the event in, and fills a page of its own; so events stand about in order,
//! and the later ones of a slow writer too early. A part of them is held back and sorted here: the source neither
//! sorts, nor writes what it sorts to disk, and sends the first event at once. The order is exact; if what is held
//! back does not suffice for it, the batch has to be read in another way.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::Error;

/// So many bytes of events are held back: a page each of a hundred writers.
pub(super) const HELD_BYTES: usize = 1024 * 1024;

/// Most memory that pieces may keep for the sake of some of their rows.
const KEPT_BYTES: usize = 4 * HELD_BYTES;

/// Rows that are held back.
#[derive(Debug)]
pub(super) struct Held {
    pieces: VecDeque<Piece>,
    /// Number of the first piece.
    first: usize,
    rows: VecDeque<Row>,
    /// Whether they are by id.
    is_sorted: bool,
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
        Held {
            pieces: VecDeque::new(),
            first: 0,
            rows: VecDeque::new(),
            is_sorted: true,
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
        self.is_sorted &= self.rows.back().is_none_or(|row| row.id <= id);
        self.rows.push_back(Row {
            id,
            piece: self.first + self.pieces.len() - 1,
            place,
        });
        Ok(())
    }

    /// Lets rows go, the first ones first, until so many bytes are left at most.
    ///
    /// # Errors
    /// What `handle` returns.
    pub(super) fn let_go<E>(
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
        if self.kept > KEPT_BYTES {
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
    const ROW: usize = 1024;

    /// Rows that hold their ids come in pieces of so many; the ids in the order in which they go on, and the most
    /// memory that was kept.
    fn pass(ids: &[i64], at_a_time: usize) -> Result<(Vec<i64>, usize), Error> {
        let (mut held, mut out, mut kept) = (Held::new(), Vec::new(), 0);
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
            held.let_go(HELD_BYTES, &mut take)?;
            kept = held.kept.max(kept);
        }
        held.let_go(0, &mut take)?;
        assert_eq!((held.bytes, held.kept, held.pieces.len()), (0, 0, 0));
        Ok((out, kept))
    }

    #[test]
    fn what_comes_in_order_goes_on_so() {
        let ids: Vec<i64> = (0..5000).collect();
        let (out, kept) = pass(&ids, 100).unwrap();
        assert_eq!(out, ids);
        assert!(kept < 2 * HELD_BYTES);
    }

    #[test]
    fn what_comes_too_early_waits_for_its_turn_without_keeping_others() {
        // The first of each hundred comes 900 rows before the others near it.
        let ids = (0..8000).map(|n| if n % 100 == 0 { n + 900 } else { n });
        let ids: Vec<i64> = ids.collect();
        let (out, kept) = pass(&ids, 100).unwrap();
        let mut sorted = ids.clone();
        sorted.sort();
        assert_eq!(out, sorted);
        assert!(kept <= KEPT_BYTES, "{kept}");
        // One that comes before all others.
        let ids: Vec<i64> = std::iter::once(90_000).chain(0..10_000).collect();
        let (out, _) = pass(&ids, 50).unwrap();
        assert!(out.is_sorted());
    }

    #[test]
    fn what_comes_after_its_turn_is_an_error() {
        let rows = i64::try_from(HELD_BYTES / ROW).unwrap();
        let ids = |late: i64| (1..late).chain([0]).collect::<Vec<i64>>();
        assert!(pass(&ids(rows), 1).unwrap().0.is_sorted());
        assert!(matches!(pass(&ids(rows + 2), 1), Err(Error::OutOfOrder)));
    }

    #[test]
    fn a_row_that_is_larger_than_what_is_held_goes_on_at_once() {
        let mut held = Held::new();
        held.begin(vec![0; 3 * HELD_BYTES].into());
        held.put(1, 0..3 * HELD_BYTES).unwrap();
        let mut seen = 0;
        held.let_go(HELD_BYTES, |row| {
            seen += row.len();
            Ok::<(), Error>(())
        })
        .unwrap();
        assert_eq!((seen, held.kept), (3 * HELD_BYTES, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn rows_go_on_in_order_or_not_at_all(
            jumps in prop::collection::vec(-600_i64..600, 2500), at_a_time in 1_usize..400,
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
