//! Reads a batch on the provider and applies it in one transaction on the subscriber.

use pgq::EventId;
use pgq::batch::{Batch, Event, EventCursor};
use skytools::db::{Connection, During, Text, Tx};

use super::apply::{Applier, Routes, table_of};
use crate::Error;

/// Events of the first fetch of a batch, before anything is known about their size.
const FIRST_CHUNK: u32 = 50;

/// Bytes of events that a fetch shall hold at most.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;

/// What a batch held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events.
    pub(crate) events: i64,
    /// Row events that were not applied: of other tables, or contained in a copy.
    pub(crate) ignored: i64,
    /// Events of types that mean nothing.
    pub(crate) unknown: i64,
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

/// Applies the events of a batch to the tables of `routes`, in bounded memory.
pub(crate) fn apply_events(
    provider: &mut Connection,
    batch: &Batch,
    chunk: u32,
    tx: &mut Tx<'_>,
    routes: &mut Routes,
    careful_from: Option<EventId>,
    control: &mut impl Control,
) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    let mut applier = Applier::new(careful_from);
    let mut source = provider.begin()?;
    let most = chunk;
    let mut chunk = FIRST_CHUNK.min(most);
    let mut cursor = EventCursor::open(&mut source, batch.id, chunk, None)?;
    loop {
        let events = cursor.fetch(&mut source)?;
        if events.is_empty() {
            break;
        }
        chunk = next_chunk(chunk, size_of(&events), most);
        cursor.set_chunk(chunk);
        for event in &events {
            counts.events += 1;
            if event.retry.is_some_and(|retry| retry > 0) {
                return Err(Error::Retried { event: event.id });
            }
            let Some(table) = table_of(event)? else {
                applier.flush(tx)?;
                let kind = event.kind.as_ref().map(Text::to_string_lossy);
                let kind = kind.as_deref().unwrap_or_default();
                if !control.control(tx, routes, kind, event)? {
                    counts.unknown += 1;
                }
                continue;
            };
            match routes.get_mut(&table) {
                Some(route) if !route.contains(event) => applier.row(tx, route, event)?,
                _ => counts.ignored += 1,
            }
        }
    }
    applier.flush(tx)?;
    source.commit()?;
    Ok(counts)
}

/// How many events to fetch after a chunk of this size: more while they are small, fewer when they
/// are large, `most` at most.
fn next_chunk(chunk: u32, bytes: usize, most: u32) -> u32 {
    if bytes > CHUNK_BYTES {
        (chunk / 2).max(1)
    } else if bytes < CHUNK_BYTES / 4 {
        chunk.saturating_mul(2).min(most)
    } else {
        chunk
    }
}

fn size_of(events: &[Event]) -> usize {
    let size = |event: &Event| {
        let fields = event.extra.iter().chain([&event.data]).flatten();
        fields.map(|field| field.as_bytes().len()).sum::<usize>()
    };
    events.iter().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_events_are_fetched_in_small_numbers() {
        assert_eq!(next_chunk(50, 1000, 500), 100);
        assert_eq!(next_chunk(400, 1000, 500), 500);
        assert_eq!(next_chunk(500, CHUNK_BYTES / 2, 500), 500);
        assert_eq!(next_chunk(500, CHUNK_BYTES * 3, 500), 250);
        assert_eq!(next_chunk(1, CHUNK_BYTES * 3, 500), 1);
    }
}
