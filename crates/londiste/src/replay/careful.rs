//! Finding the event that a batch fails at.

use pgq::batch::Batch;
use pgq::{EventId, TickId};

use crate::Error;

/// The batch that failed last, and the first event of the unit of statements that it failed in. From there on its events
/// are sent one by one, with constraints deferred, so that the error names the event, or there is none.
#[derive(Debug, Default)]
pub(crate) struct Careful(Option<(TickId, EventId)>);

impl Careful {
    /// The event of the batch from which on it is gone through so; `None` if it has not failed.
    pub(crate) fn from(&self, batch: &Batch) -> Option<EventId> {
        let (_, event) = self.0.filter(|(tick, _)| *tick == batch.tick)?;
        Some(event)
    }

    /// Takes note of an error of the batch; true if it is of use to go through it once more.
    pub(crate) fn may_help(&mut self, batch: &Batch, error: &Error) -> bool {
        let failed = error.worth_explaining().map(|first| (batch.tick, first));
        let new = failed.is_some() && failed != self.0;
        if new {
            self.0 = failed;
        }
        new
    }
}
