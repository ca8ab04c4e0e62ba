use pgq::QueueName;
use pgq::admin::queue_info;
use pgq::consumer::{ConsumerConfig, OpenBatch};
use pgq::mover::queue::Way;
use pgq::mover::{Mover, Place, Report};
use skytools::db::{Connection, Tx};
use tracing::warn;

use crate::transfer::transfer;
use crate::{Config, Error};

/// Puts the events of each batch into another queue.
pub(crate) struct QueueMover {
    queue: QueueName,
    /// Whether it was said that events take a slower way.
    warned: bool,
}

impl Mover for QueueMover {
    type Config = Config;
    type Error = Error;

    fn new(config: Config) -> Result<QueueMover, Error> {
        Ok(QueueMover {
            queue: config.dst_queue_name,
            warned: false,
        })
    }

    fn check(
        &mut self,
        consumer: &ConsumerConfig,
        source: &mut Connection,
        target: &mut Connection,
    ) -> Result<(), Error> {
        if consumer.queue == self.queue && Place::of(&mut **source)? == Place::of(&mut **target)? {
            return Err(Error::SameQueue(self.queue.clone()));
        }
        // With the first batch it would be found, too, which may be a long time from now.
        if queue_info(&mut **target, Some(&self.queue))?.is_empty() {
            return Err(Error::NoTarget(self.queue.clone()));
        }
        Ok(())
    }

    fn apply(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        // For an empty batch too: a queue that is missing stops the job at once.
        let way = Way::into(target, &self.queue)?;
        if let Some(drawback) = way.drawback()
            && !self.warned
        {
            self.warned = true;
            warn!(
                "may not write to the tables of queue {}: {drawback}",
                self.queue
            );
        }
        let events = transfer(batch, target, &self.queue, way, report)?;
        report.of(self.queue.as_str()).inserted += events;
        Ok(())
    }

    fn as_queue_error(error: &Error) -> Option<&pgq::Error> {
        match error {
            Error::Queue(error) => Some(error),
            _ => None,
        }
    }

    fn is_fatal(error: &Error) -> bool {
        matches!(error, Error::SameQueue(_))
    }
}
