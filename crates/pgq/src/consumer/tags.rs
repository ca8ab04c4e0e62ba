use skytools::db::GenericClient;
use skytools::stats::Stats;
use tracing::error;

use super::FailedEventAction;
use crate::batch::{self, Batch, Disposition, Nacked, RETRY_AFTER};
use crate::features::Features;
use crate::{Error, EventId};

/// Events of a batch that are not done: memory is taken for these only.
#[derive(Default)]
pub(super) struct Tags {
    events: Vec<(EventId, Disposition)>,
    retried: i64,
    failed: i64,
}

impl Tags {
    pub(super) fn note(&mut self, event: EventId, disposition: Disposition) {
        match disposition {
            Disposition::Done => return,
            // Which of the two it will be, the server says at the end.
            Disposition::Retry { .. } | Disposition::Nack { .. } => self.retried += 1,
            Disposition::Failed { .. } => self.failed += 1,
        }
        self.events.push((event, disposition));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Tells the source, in the caller's transaction. `action` is for servers without a queue of
    /// failed events.
    pub(super) fn write(
        &mut self,
        db: &mut impl GenericClient,
        batch: &Batch,
        features: Features,
        action: FailedEventAction,
    ) -> Result<(), Error> {
        for (event, disposition) in &self.events {
            match disposition {
                Disposition::Done => {}
                Disposition::Nack { after, reason } if features.nack => {
                    if batch::nack(db, batch.id, *event, *after, reason)? == Nacked::Failed {
                        self.retried -= 1;
                        self.failed += 1;
                    }
                }
                Disposition::Retry { after } | Disposition::Nack { after, .. } => {
                    batch::event_retry(db, batch.id, *event, *after)?;
                }
                Disposition::Failed { reason } if features.failed_queue => {
                    batch::event_failed(db, batch.id, *event, reason)?;
                }
                Disposition::Failed { reason } => {
                    error!("event {event} has failed: {reason}");
                    match action {
                        FailedEventAction::Refuse => {
                            return Err(Error::NoFailedQueue {
                                event: *event,
                                reason: reason.clone(),
                            });
                        }
                        FailedEventAction::Retry => {
                            batch::event_retry(db, batch.id, *event, RETRY_AFTER)?;
                        }
                        FailedEventAction::Drop => {}
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn count(&self, stats: &mut Stats) {
        for (key, number) in [
            ("retry-events", self.retried),
            ("failed-events", self.failed),
        ] {
            if number > 0 {
                stats.put(key, number);
            }
        }
    }
}
