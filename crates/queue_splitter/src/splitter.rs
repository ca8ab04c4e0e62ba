use std::collections::BTreeSet;

use pgq::consumer::{ConsumerConfig, OpenBatch};
use pgq::mover::{Mover, Place, Report};
use pgq::{QueueName, admin};
use postgres::types::Type;
use skytools::db::{Connection, During, Tx};
use tracing::{info, warn};

use crate::config::MissingQueue;
use crate::routes::{Routes, Skipped, queue_of};
use crate::{Config, Error};

/// Puts the events of each batch into the queues that they name.
pub(crate) struct QueueSplitter {
    config: Config,
    /// The queue that is read, if the target has it, too.
    own: Option<QueueName>,
    /// Queues of which it was said that events take a slower way.
    warned: BTreeSet<QueueName>,
}

impl Mover for QueueSplitter {
    type Config = Config;
    type Error = Error;

    fn new(config: Config) -> Result<QueueSplitter, Error> {
        Ok(QueueSplitter {
            config,
            own: None,
            warned: BTreeSet::new(),
        })
    }

    fn check(
        &mut self,
        consumer: &ConsumerConfig,
        source: &mut Connection,
        target: &mut Connection,
    ) -> Result<(), Error> {
        let same = Place::of(&mut **source)? == Place::of(&mut **target)?;
        self.own = same.then(|| consumer.queue.clone());
        Ok(())
    }

    fn prepare(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<bool, Error> {
        if self.config.missing_queue != MissingQueue::Create {
            return Ok(false);
        }
        let names = names(batch, self.config.queue_field.column())?;
        let rows = target
            .query_typed(
                "select name from unnest($1) name \
                 where not exists (select from pgq.queue where queue_name = name)",
                &[(&names, Type::TEXT_ARRAY)],
            )
            .during("look for queues that do not exist")?;
        for row in &rows {
            let queue: QueueName = row.get(0);
            if admin::create_queue(&mut **target, &queue)? {
                info!("created queue {queue}");
                report.created(queue.as_str());
            }
        }
        Ok(!rows.is_empty())
    }

    fn apply(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let mut routes = Routes::new(&self.config, self.own.as_ref());
        batch.for_each(|event| routes.put(target, event, report))?;
        routes.flush(target, report)?;
        for (queue, drawback) in routes.drawbacks() {
            if self.warned.insert(queue.clone()) {
                warn!("may not write to the tables of queue {queue}: {drawback}");
            }
        }
        for Skipped { name, events } in routes.skipped() {
            report.of(name).skipped += events;
            warn!("{events} events for queue {name} are skipped: it does not exist");
        }
        Ok(())
    }

    fn as_queue_error(error: &Error) -> Option<&pgq::Error> {
        match error {
            Error::Queue(error) => Some(error),
            _ => None,
        }
    }

    fn is_fatal(error: &Error) -> bool {
        matches!(error, Error::SameQueue { .. })
    }
}

/// The queues that the events of a batch name. What cannot be a name is told of with its first event.
fn names(batch: &mut OpenBatch<'_>, column: &str) -> Result<Vec<QueueName>, Error> {
    let (mut source, query) = batch.query(&[column])?;
    let rows = source
        .query_typed(
            &format!("select distinct {column} from ({query}) e where {column} is not null"),
            &[],
        )
        .during("read the names of queues")?;
    let names = rows.iter().filter_map(|row| queue_of(&row.get(0)));
    let names = names.collect();
    source.rollback()?;
    Ok(names)
}
