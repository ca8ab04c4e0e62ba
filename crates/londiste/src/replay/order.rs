//! Events in the order of their ids, of a provider that sends them as they stand in its table.
//!
//! A writer takes an id just before it puts the event in, and fills pages of its own, so events stand about in
//! order. A chunk is held back and merged with the one that follows: the provider need not sort, and the first events
//! come at once. The order is exact; if what is held back does not suffice for it, the batch has to be read again,
//! sorted.

use std::ops::RangeInclusive;

use super::chunk::Chunk;

/// How the provider sends the events of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// By their ids.
    #[default]
    Sorted,
    /// As they stand; what is too far out of order is an error.
    AsStored,
}

/// Batches of as many events, about, are read as they stand: fewer are soon sorted, and too much would be applied in
/// vain of more.
const EVENTS: RangeInclusive<i64> = 50_000..=2_000_000;

/// Large batches that are read sorted after one that was out of order.
const REST: u32 = 20;

/// Decides how batches are read.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// How many large batches more are to be sorted.
    rest: u32,
}

impl Choice {
    /// How to read a batch of so many events.
    pub(super) fn order(&mut self, events: Option<i64>) -> Order {
        if !events.is_some_and(|events| EVENTS.contains(&events)) {
            return Order::Sorted;
        }
        match self.rest {
            0 => Order::AsStored,
            _ => {
                self.rest -= 1;
                Order::Sorted
            }
        }
    }

    /// Takes note of a batch that was out of order.
    pub(super) fn failed(&mut self) {
        self.rest = REST;
    }
}

/// More than this is not held back.
const LARGE: usize = 16 * 1024 * 1024;

/// An event comes too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutOfOrder;

/// Puts chunks in order.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    held: Option<Chunk>,
    /// The last id that was given on.
    last: Option<i64>,
}

impl Ordered {
    /// Takes a chunk as it came; gives on what is before all that is yet to come: half a chunk is held back at least.
    pub(super) fn put(&mut self, mut chunk: Chunk) -> Result<Option<Chunk>, OutOfOrder> {
        chunk.sort();
        let (Some([first, _]), Some(middle)) = (chunk.ids(), chunk.middle()) else {
            return Ok(None);
        };
        if self.last.is_some_and(|last| first < last) {
            return Err(OutOfOrder);
        }
        let Some(held) = self.held.take() else {
            self.held = Some(chunk);
            return Ok(None);
        };
        if held.size() > LARGE || chunk.size() > LARGE {
            return Err(OutOfOrder);
        }
        let follows = held.ids().is_none_or(|[_, last]| last < first);
        let (now, later) = match follows {
            true => (held, chunk),
            false => held.merge(chunk, middle),
        };
        self.last = now.ids().map(|[_, last]| last);
        self.held = Some(later);
        Ok(Some(now))
    }

    /// What is held back, when nothing more comes.
    pub(super) fn end(self) -> Option<Chunk> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::chunk::tests::chunk;

    /// What becomes of chunks of these ids.
    fn ordered(chunks: &[&[i64]]) -> Result<Vec<i64>, OutOfOrder> {
        let mut ordered = Ordered::default();
        let mut ids = Vec::new();
        let mut take = |chunk: Option<Chunk>| {
            for event in chunk.iter().flat_map(Chunk::events) {
                let data = String::from_utf8(event.data().unwrap().to_vec()).unwrap();
                assert_eq!(data, format!("data of {}", event.id()));
                assert_eq!((event.kind(), event.extra(0)), (Some(&b"I"[..]), None));
                ids.push(data["data of ".len()..].parse().unwrap());
            }
        };
        for ids in chunks {
            take(ordered.put(chunk(ids))?);
        }
        take(ordered.end());
        Ok(ids)
    }

    #[test]
    fn events_of_neighbouring_chunks_change_places() {
        assert_eq!(ordered(&[]), Ok(vec![]));
        assert_eq!(ordered(&[&[2, 1], &[3, 4]]), Ok(vec![1, 2, 3, 4]));
        assert_eq!(
            ordered(&[&[1, 6, 3], &[2, 5, 4], &[8, 7], &[9]]),
            Ok((1..=9).collect())
        );
    }

    #[test]
    fn events_that_come_much_too_early_wait() {
        assert_eq!(
            ordered(&[&[100, 1], &[2, 3], &[4, 99], &[5], &[6, 7]]),
            Ok(vec![1, 2, 3, 4, 5, 6, 7, 99, 100])
        );
    }

    #[test]
    fn after_a_batch_that_was_out_of_order_some_are_sorted() {
        let mut choice = Choice::default();
        assert_eq!(choice.order(None), Order::Sorted);
        assert_eq!(choice.order(Some(49_999)), Order::Sorted);
        assert_eq!(choice.order(Some(50_000)), Order::AsStored);
        choice.failed();
        for _ in 0..REST {
            assert_eq!(choice.order(Some(50_000)), Order::Sorted);
        }
        assert_eq!(choice.order(Some(50_000)), Order::AsStored);
    }

    #[test]
    fn an_event_that_comes_too_late_is_noticed() {
        assert_eq!(ordered(&[&[2, 3], &[4, 5], &[1]]), Err(OutOfOrder));
        assert_eq!(ordered(&[&[1, 9], &[2, 5, 8], &[4], &[3]]), Err(OutOfOrder));
    }
}
