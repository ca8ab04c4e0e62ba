//! Reads a batch on the provider and applies it in one transaction on the subscriber.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use pgq::batch::{Batch, Event};
use pgq::{BatchId, EventId};
use postgres::types::Type;
use skytools::db::{Connection, DbError, During, Tx};

use super::apply::{Applier, Line, Manner, Routes, Run};
use super::chunk::{COLUMNS, Chunk, EventRef, Limits, ReadError, Reader};
use super::order::{Order, Ordered, OutOfOrder};
use crate::Error;

/// Bytes of events that are read at a time, but for the last of them.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;

/// Events of the first chunk, where the first ones shall soon be applied.
const FIRST_CHUNK: usize = 2_000;

/// How much larger each chunk is than the one before: it is planned while that one is applied, and the more rows a
/// statement changes, the nearer they lie to each other.
const GROWTH: usize = 4;

/// Chunks that wait to be applied, beside the one that was read last.
pub(super) const AHEAD: usize = 1;

/// Bytes of a chunk that is applied before the next one is read.
const LARGE: usize = 16 * 1024 * 1024;

/// What a batch held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events.
    pub(crate) events: i64,
    /// Row events that were not applied: of other tables, or contained in a copy.
    pub(crate) ignored: i64,
    /// Events of types that mean nothing.
    pub(crate) unknown: i64,
    /// Runs of events that could not be applied at once.
    pub(crate) fallback: i64,
}

/// What a process does with events that are no row changes.
pub(crate) trait Control {
    /// Handles the event in the transaction, all events before it applied. False if its type means
    /// nothing.
    ///
    /// # Errors
    /// A statement failed, or going on without understanding the event would lose data.
    fn control(
        &mut self,
        tx: &mut Tx<'_>,
        routes: &mut Routes,
        kind: &str,
        event: &Event,
    ) -> Result<bool, Error>;
}

/// Lets constraints that can be checked at the end of the transaction wait until then. What a
/// statement on the provider did at once, `set n = n + 1` on a unique column or rows that refer to each
/// other, comes row by row, and only the state after it is known to satisfy them.
pub(crate) fn defer_constraints(tx: &mut Tx<'_>) -> Result<(), Error> {
    Ok(tx
        .batch_execute("set constraints all deferred")
        .during("defer constraints")?)
}

/// Applies the events of a batch to the tables of `routes`, in bounded memory: while some are applied,
/// the next are read.
pub(crate) fn apply_events(
    provider: &mut Connection,
    batch: &Batch,
    tx: &mut Tx<'_>,
    routes: &mut Routes,
    manner: Manner,
    careful_from: Option<EventId>,
    control: &mut impl Control,
) -> Result<Counts, Error> {
    let canceller = provider.canceller();
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        let reader = std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn_scoped(scope, move || {
                read(provider, batch, manner, |chunk| sender.send(chunk).is_ok())
            })
            .map_err(Error::Thread)?;
        let applied =
            Applier::new(manner, careful_from).apply_chunks(receiver, tx, routes, control);
        if applied.is_err() && !reader.is_finished() {
            // It may wait for a server that sorts a large batch. If it cannot be told, it waits.
            let _ = canceller.cancel();
        }
        let read = reader.join().expect("reading does not panic");
        // What was read is applied only if all of it was read.
        let counts = applied?;
        read?;
        Ok(counts)
    })
}

/// Applies events that somebody else reads or has read, as [`apply_events`] does.
pub(crate) fn apply_chunks(
    chunks: impl IntoIterator<Item = Chunk>,
    tx: &mut Tx<'_>,
    routes: &mut Routes,
    manner: Manner,
    careful_from: Option<EventId>,
    control: &mut impl Control,
) -> Result<Counts, Error> {
    Applier::new(manner, careful_from).apply_chunks(chunks, tx, routes, control)
}

/// Reads the events of a batch for one who takes them from a channel of [`AHEAD`] chunks; ends early when they are not
/// wanted any more, which makes it false.
pub(super) fn read(
    provider: &mut Connection,
    batch: &Batch,
    manner: Manner,
    mut send: impl FnMut(Chunk) -> bool,
) -> Result<bool, Error> {
    let mut tx = provider.begin()?;
    let send = |chunk: Chunk| {
        // Large values are read when those before them are applied: nothing then fits behind them.
        let fill = if chunk.size() > LARGE { AHEAD + 1 } else { 0 };
        let filled = std::iter::repeat_with(Chunk::default).take(fill);
        std::iter::once(chunk).chain(filled).all(&mut send)
    };
    let whole = match manner.order {
        Order::Sorted => {
            let sizes = Sizes::growing(manner.chunk);
            read_events(&mut tx, batch.id, Order::Sorted, sizes, send)?
        }
        Order::AsStored => read_in_order(&mut tx, batch.id, manner.chunk, send)?,
    };
    if whole {
        tx.commit()?;
    }
    Ok(whole)
}

/// Reads the events of an open batch as they stand, and puts them in order.
fn read_in_order(
    tx: &mut Tx<'_>,
    batch: BatchId,
    chunk: usize,
    mut take: impl FnMut(Chunk) -> bool,
) -> Result<bool, Error> {
    // A scan that joins another one begins in the middle of the table.
    tx.batch_execute("set local synchronize_seqscans = off")
        .during("prepare to read events as they stand")?;
    let mut ordered = Ordered::default();
    let mut in_order = true;
    // What is held back has to be enough from the first chunk on.
    let sizes = Sizes::equal(chunk);
    let read = read_events(tx, batch, Order::AsStored, sizes, |chunk| {
        match ordered.put(chunk) {
            Ok(chunk) => chunk.is_none_or(&mut take),
            Err(OutOfOrder) => {
                in_order = false;
                false
            }
        }
    })?;
    match (in_order, read) {
        (false, _) => Err(Error::OutOfOrder),
        (true, true) => Ok(ordered.end().is_none_or(take)),
        (true, false) => Ok(false),
    }
}

/// How many events chunks hold, at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    next: usize,
    most: usize,
}

impl Sizes {
    /// The first ones are small.
    pub(super) fn growing(most: usize) -> Sizes {
        Sizes {
            next: most.min(FIRST_CHUNK),
            most,
        }
    }

    fn equal(most: usize) -> Sizes {
        Sizes { next: most, most }
    }

    /// The size of the next chunk.
    fn take(&mut self) -> usize {
        let now = self.next;
        self.next = now.saturating_mul(GROWTH).min(self.most);
        now
    }
}

/// Reads the events of an open batch, in chunks of such sizes, as long as `take` wants more. False
/// if it did not take all.
pub(super) fn read_events(
    tx: &mut Tx<'_>,
    batch: BatchId,
    order: Order,
    mut sizes: Sizes,
    mut take: impl FnMut(Chunk) -> bool,
) -> Result<bool, Error> {
    let step = "read the events of the batch";
    let query: String = tx
        .query_typed_one("select pgq.batch_event_sql($1)", &[(&batch, Type::INT8)])
        .during("ask for the query of the batch")?
        .get(0);
    // Of several tables, or parts of one, each has an order of its own.
    let as_stored = query
        .strip_suffix(" order by 1")
        .filter(|query| order == Order::AsStored && !query.contains("union all"));
    let (query, order) = match as_stored {
        Some(query) => (query, ""),
        None => (query.as_str(), "order by ev_id"),
    };
    let copy = tx
        .copy_out(&format!(
            "copy (select {COLUMNS} from ({query}\n) e {order}) to stdout (format binary)"
        ))
        .during(step)?;
    let mut reader = Reader::new(copy);
    loop {
        let limits = Limits {
            events: sizes.take(),
            bytes: CHUNK_BYTES,
        };
        let chunk = reader.next(limits).map_err(|error| match error {
            ReadError::Io(error) if error.get_ref().is_some() => {
                Error::Db(DbError::in_copy(step, error))
            }
            ReadError::Io(error) => Error::Events(error),
            ReadError::Malformed(error) => Error::Events(std::io::Error::other(error)),
        })?;
        let Some(chunk) = chunk else {
            return Ok(true);
        };
        if !take(chunk) {
            return Ok(false);
        }
    }
}

impl Applier {
    fn apply_chunks(
        mut self,
        chunks: impl IntoIterator<Item = Chunk>,
        tx: &mut Tx<'_>,
        routes: &mut Routes,
        control: &mut impl Control,
    ) -> Result<Counts, Error> {
        let mut counts = Counts::default();
        std::thread::scope(|scope| {
            let mut line = Line::new(scope, tx);
            for chunk in chunks {
                let large = chunk.size() > LARGE;
                self.apply_chunk(&Arc::new(chunk), &mut line, routes, control, &mut counts)?;
                if large {
                    // Nothing is planned while it takes its memory.
                    self.settle(&mut line)?;
                }
            }
            self.flush(&mut line).map(|_| ())
        })?;
        counts.fallback = self.fallbacks();
        Ok(counts)
    }

    fn apply_chunk(
        &mut self,
        chunk: &Arc<Chunk>,
        line: &mut Line<'_, '_, '_>,
        routes: &mut Routes,
        control: &mut impl Control,
        counts: &mut Counts,
    ) -> Result<(), Error> {
        self.look_up(line, routes, chunk)?;
        let mut run = Run::new(chunk);
        for event in chunk.events() {
            counts.events += 1;
            if event.retry().is_some_and(|retry| retry > 0) {
                return Err(Error::Retried { event: event.id() });
            }
            match self.table_of(event)? {
                Some(table) => match routes.get(self.name(table)) {
                    Some(route) if !route.contains(event.txid()) => {
                        self.row(line, &mut run, table, event)?;
                    }
                    _ => counts.ignored += 1,
                },
                None => {
                    self.close(line, &mut run)?;
                    let tx = self.flush(line)?;
                    if !control_event(control, tx, routes, event)? {
                        counts.unknown += 1;
                    }
                    if event.kind() == Some(b"EXECUTE") {
                        // It may have changed tables, and what the session keeps.
                        tx.forget_kept();
                        self.forget();
                    }
                }
            }
        }
        self.close(line, &mut run)
    }
}

fn control_event(
    control: &mut impl Control,
    tx: &mut Tx<'_>,
    routes: &mut Routes,
    event: EventRef<'_>,
) -> Result<bool, Error> {
    let kind = String::from_utf8_lossy(event.kind().unwrap_or_default());
    let event = event
        .to_event()
        .map_err(|error| Error::Events(std::io::Error::other(error)))?;
    control.control(tx, routes, &kind, &event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_chunks_are_small_if_they_shall_be_and_none_is_larger_than_allowed() {
        let sizes = |mut sizes: Sizes| [(); 5].map(|()| sizes.take());
        let growing = |most| sizes(Sizes::growing(most));
        assert_eq!(growing(50_000), [2_000, 8_000, 32_000, 50_000, 50_000]);
        assert_eq!(growing(300), [300; 5]);
        assert_eq!(sizes(Sizes::equal(50_000)), [50_000; 5]);
    }
}
