//! Reads a batch on the provider and applies it in one transaction on the subscriber.

use pgq::EventId;
use pgq::batch::{Batch, Event, EventCursor};
use skytools::db::{Connection, Text, Tx};

use super::apply::{Applier, Routes, table_of};
use crate::Error;

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
    let mut cursor = EventCursor::open(&mut source, batch.id, chunk, None)?;
    loop {
        let events = cursor.fetch(&mut source)?;
        if events.is_empty() {
            break;
        }
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
