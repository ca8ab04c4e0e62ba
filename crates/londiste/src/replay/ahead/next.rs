//! The batch after the open one: how large it shall be, and what it holds.

use pgq::batch::{self, Batch, BatchWish};
use pgq::{ConsumerName, QueueName, TickId};
use postgres::types::Type;
use skytools::db::{Connection, DbError, During, GenericClient};
use tracing::debug;

use super::super::chunk::Chunk;
use super::super::order::Order;
use super::super::session::UNANSWERED;
use super::super::stream::{self, Sizes};
use crate::Error;

/// Batches of more events than this are not read ahead: they are read while they are applied.
const EVENTS: i64 = 100_000;

/// Nor are those of more bytes.
const BYTES: usize = 32 * 1024 * 1024;

/// Who is more than so many events behind makes batches of several ticks, until nothing is left.
const BEHIND: i64 = 40_000;

/// Events of a batch that is made of several ticks, about. The larger it is, the fewer times a page of a table is
/// changed, cleared of old rows and logged, and the fewer commits are waited for.
const MERGED: i64 = 40_000;

/// The first batch has fewer: nothing is applied before it is read, and the next one is read meanwhile.
const FIRST: i64 = 10_000;

/// The events of a batch that was not open.
pub(super) struct Ahead {
    /// Events that the batch was asked to have, if it is made of several ticks.
    pub(super) wish: Option<BatchWish>,
    pub(super) prev_tick: TickId,
    pub(super) tick: TickId,
    pub(super) chunks: Vec<Chunk>,
}

impl Ahead {
    pub(super) fn is(&self, batch: &Batch) -> bool {
        self.prev_tick == batch.prev_tick && self.tick == batch.tick
    }
}

pub(super) enum Found {
    /// There is no batch yet, or none that is to be read at once.
    Nothing,
    TooLarge,
    Batch(Ahead),
}

/// Whose batches are read, and how.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) queue: QueueName,
    pub(crate) consumer: ConsumerName,
    /// Events in a chunk, at most.
    pub(crate) chunk: usize,
    /// Whether batches may be made of several ticks.
    pub(crate) merges: bool,
}

/// About how many events there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// Up to the next tick.
    next: i64,
    /// Up to the newest one.
    all: i64,
}

impl Left {
    /// The batch to be made of several ticks, if it shall be; `merged` if the one before was.
    pub(super) fn wish(self, merged: bool) -> Option<BatchWish> {
        self.up_to(MERGED).or_else(|| {
            // The last one has all that is left.
            (merged && self.all > self.next).then(|| wish(self.all))
        })
    }

    /// As [`Left::wish`], for who has not applied anything yet.
    pub(super) fn first_wish(self) -> Option<BatchWish> {
        self.up_to(FIRST)
    }

    /// A batch that ends at the first tick after so many events, if much is left. Of less than half of what is left it
    /// depends on ticks alone that are there already: if it is opened later, it is the one that was read.
    fn up_to(self, most: i64) -> Option<BatchWish> {
        (self.all > BEHIND).then(|| wish(most.min((self.all - 1) / 2)))
    }
}

fn wish(events: i64) -> BatchWish {
    BatchWish {
        min_count: Some(i32::try_from(events).unwrap_or(i32::MAX)),
        ..BatchWish::default()
    }
}

/// Reads the batch after the open one, which was made of several ticks if it is `merged`.
pub(super) fn read(
    provider: &mut Connection,
    reader: &Reader,
    open: &Batch,
    merged: bool,
) -> Result<Found, Error> {
    let Reader {
        queue, consumer, ..
    } = reader;
    let Some(left) = left(provider, queue, open.tick)? else {
        return Ok(Found::Nothing);
    };
    if left.next > EVENTS {
        return Ok(Found::Nothing);
    }
    let wish = left.wish(merged).filter(|_| reader.merges);
    let canceller = provider.canceller();
    let mut tx = provider.begin()?;
    // It locks the consumer's place, and nothing holds up the reading.
    tx.batch_execute(&format!("set local {UNANSWERED}"))
        .during("prepare to read ahead")?;
    if !batch::finish_batch(&mut *tx, open.id)? {
        return Ok(Found::Nothing);
    }
    let next = match &wish {
        Some(wish) => batch::next_batch_like(&mut *tx, queue, consumer, wish)?,
        None => batch::next_batch(&mut *tx, queue, consumer)?,
    };
    let Some(next) = next else {
        return Ok(Found::Nothing);
    };
    if wish.is_some() && events(&mut *tx, queue, &next)?.is_none_or(|events| events > EVENTS) {
        // One of the ticks has many; it will come by itself.
        return Ok(Found::Nothing);
    }
    let mut chunks = Vec::new();
    let mut bytes = 0;
    let sizes = Sizes::growing(reader.chunk);
    let whole = stream::read_events(&mut tx, next.id, Order::Sorted, sizes, |chunk| {
        bytes += chunk.size();
        chunks.push(chunk);
        bytes <= BYTES
    })?;
    if !whole {
        // If it cannot be told, the rest comes in vain.
        let _ = canceller.cancel();
        debug!("the next batch is too large to be read ahead");
        return Ok(Found::TooLarge);
    }
    tx.rollback()?;
    Ok(Found::Batch(Ahead {
        wish,
        prev_tick: next.prev_tick,
        tick: next.tick,
        chunks,
    }))
}

/// How much there is after `tick`. `None` if it is the newest, or if nobody knows.
pub(super) fn left(
    provider: &mut Connection,
    queue: &QueueName,
    tick: TickId,
) -> Result<Option<Left>, DbError> {
    let row = provider
        .query_typed_opt(
            "select next.tick_event_seq - last.tick_event_seq, \
                    newest.tick_event_seq - last.tick_event_seq \
             from pgq.queue q \
             join pgq.tick last on last.tick_queue = q.queue_id and last.tick_id = $2 \
             cross join lateral ( \
                 select t.tick_event_seq from pgq.tick t \
                 where t.tick_queue = q.queue_id and t.tick_id > $2 \
                 order by t.tick_queue, t.tick_id limit 1) next \
             cross join lateral ( \
                 select t.tick_event_seq from pgq.tick t \
                 where t.tick_queue = q.queue_id \
                 order by t.tick_queue desc, t.tick_id desc limit 1) newest \
             where q.queue_name = $1",
            &[(queue, Type::TEXT), (&tick, Type::INT8)],
        )
        .during("look for the ticks after this batch")?;
    Ok(row.and_then(|row| {
        Some(Left {
            next: row.get::<_, Option<i64>>(0)?,
            all: row.get::<_, Option<i64>>(1)?,
        })
    }))
}

/// About how many events a batch has; `None` if nobody knows.
pub(crate) fn events(
    provider: &mut impl GenericClient,
    queue: &QueueName,
    batch: &Batch,
) -> Result<Option<i64>, DbError> {
    let row = provider
        .query_typed_opt(
            "select next.tick_event_seq - last.tick_event_seq \
             from pgq.queue q \
             join pgq.tick last on last.tick_queue = q.queue_id and last.tick_id = $2 \
             join pgq.tick next on next.tick_queue = q.queue_id and next.tick_id = $3 \
             where q.queue_name = $1",
            &[
                (queue, Type::TEXT),
                (&batch.prev_tick, Type::INT8),
                (&batch.tick, Type::INT8),
            ],
        )
        .during("look how large the batch is")?;
    Ok(row.and_then(|row| row.get(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_taken_together_by_who_is_far_behind_until_nothing_is_left() {
        let left = |next, all| Left { next, all };
        let count = |wish: Option<BatchWish>| wish.map(|wish| wish.min_count);
        let wish = |next, all, merged| count(left(next, all).wish(merged));
        assert_eq!(wish(1_000, 40_000, false), None);
        assert_eq!(wish(1_000, 40_001, false), Some(Some(20_000)));
        assert_eq!(wish(1_000, 80_000, true), Some(Some(39_999)));
        assert_eq!(wish(1_000, 1_000_000, true), Some(Some(40_000)));
        assert_eq!(wish(1_000, 40_000, true), Some(Some(40_000)));
        assert_eq!(wish(1_000, 3_000, true), Some(Some(3_000)));
        assert_eq!(wish(1_000, 1_000, true), None);
        let first = |all| count(left(1_000, all).first_wish());
        assert_eq!(first(40_000), None);
        assert_eq!(first(40_001), Some(Some(10_000)));
    }
}
