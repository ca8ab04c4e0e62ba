use pgq::failed::{FailedEvent, Page};
use pgq::{ConsumerName, EventId, QueueName};
use serde::Serialize;
use skytools::app::{output, output_json};
use skytools::db::{Connection, Session, Text, Tx};
use tracing::info;

use crate::Error;

/// List, count, retry or delete events that a consumer gave up on
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show failed events, the oldest first
    List {
        #[command(flatten)]
        whose: Whose,
        /// Show so many at most
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i32).range(0..))]
        limit: i32,
        /// Skip so many
        #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..))]
        offset: i32,
    },
    /// Count failed events
    Count {
        #[command(flatten)]
        whose: Whose,
    },
    /// Put failed events back into the queue, for this consumer alone
    Retry(Chosen),
    /// Forget failed events
    Delete(Chosen),
}

#[derive(Debug, clap::Args)]
struct Whose {
    /// Queue
    queue: QueueName,
    /// Consumer that gave up
    consumer: ConsumerName,
}

#[derive(Debug, clap::Args)]
struct Chosen {
    #[command(flatten)]
    whose: Whose,
    /// Ids of events
    #[arg(value_name = "EVENT", value_parser = clap::value_parser!(i64))]
    events: Vec<i64>,
    /// All of the consumer's
    #[arg(long, conflicts_with = "events")]
    all: bool,
}

/// Events that are looked up at a time.
const FIRST: Page = Page {
    count: 1000,
    offset: 0,
};

impl Args {
    /// Whether the command changes something.
    pub(crate) fn changes(&self) -> bool {
        matches!(self.action, Action::Retry(_) | Action::Delete(_))
    }
}

#[derive(Serialize)]
struct Count {
    failed_events: i32,
}

pub(crate) fn run(db: &mut Connection, args: &Args, json: bool) -> Result<(), Error> {
    match &args.action {
        Action::List {
            whose,
            limit,
            offset,
        } => {
            whose.check(db)?;
            let Whose { queue, consumer } = whose;
            let page = Page {
                count: *limit,
                offset: *offset,
            };
            let events = pgq::failed::list(&mut **db, queue, consumer, Some(page))?;
            let events: Vec<Shown> = events.into_iter().map(Shown::from).collect();
            if json {
                return Ok(output_json(&events)?);
            }
            Ok(output(events.iter().map(text).collect::<String>())?)
        }
        Action::Count { whose } => {
            whose.check(db)?;
            let Whose { queue, consumer } = whose;
            let failed_events = pgq::failed::count(&mut **db, queue, consumer)?;
            if json {
                return Ok(output_json(&Count { failed_events })?);
            }
            Ok(output(format_args!("{failed_events}\n"))?)
        }
        Action::Retry(chosen) => chosen.each(db, "Retrying", |db, queue, consumer, event| {
            pgq::failed::retry(db, queue, consumer, event)
        }),
        Action::Delete(chosen) => chosen.each(db, "Deleting", |db, queue, consumer, event| {
            pgq::failed::delete(db, queue, consumer, event)
        }),
    }
}

impl Whose {
    fn check(&self, db: &mut Connection) -> Result<(), Error> {
        let Whose { queue, consumer } = self;
        if pgq::admin::consumer_info(&mut **db, Some(queue), Some(consumer))?.is_empty() {
            return Err(Error::NotRegistered {
                queue: queue.clone(),
                consumer: consumer.clone(),
            });
        }
        Ok(())
    }
}

impl Chosen {
    /// All or nothing.
    fn each(
        &self,
        db: &mut Connection,
        verb: &str,
        act: fn(&mut Session<'_>, &QueueName, &ConsumerName, EventId) -> Result<(), pgq::Error>,
    ) -> Result<(), Error> {
        if self.events.is_empty() && !self.all {
            return Err(Error::NeedEvents);
        }
        self.whose.check(db)?;
        let Whose { queue, consumer } = &self.whose;
        let mut tx = db.begin()?;
        let mut count = 0;
        for event in &self.events {
            act(&mut tx, queue, consumer, EventId::from(*event))?;
            count += 1;
        }
        let page = |tx: &mut Tx<'_>| match self.all {
            true => pgq::failed::list(&mut **tx, queue, consumer, Some(FIRST)),
            false => Ok(Vec::new()),
        };
        let mut events = page(&mut tx)?;
        while !events.is_empty() {
            for event in events {
                act(&mut tx, queue, consumer, event.event.id)?;
                count += 1;
            }
            // What was dealt with is gone from the list.
            events = page(&mut tx)?;
        }
        tx.commit()?;
        info!("{verb} failed events of consumer {consumer} on queue {queue}: {count}");
        Ok(())
    }
}

/// An event as it is shown; what is no UTF-8 in it is replaced.
#[derive(Serialize)]
struct Shown {
    id: EventId,
    time: String,
    failed_time: String,
    reason: Option<String>,
    retries: Option<i32>,
    r#type: Option<String>,
    data: Option<String>,
    extra: [Option<String>; 4],
}

impl From<FailedEvent> for Shown {
    fn from(failed: FailedEvent) -> Shown {
        let text = |text: Option<Text>| text.map(|text| text.to_string_lossy().into_owned());
        let event = failed.event;
        Shown {
            id: event.id,
            time: event.time.to_string(),
            failed_time: failed.failed.to_string(),
            reason: failed.reason,
            retries: event.retry,
            r#type: text(event.kind),
            data: text(event.data),
            extra: event.extra.map(text),
        }
    }
}

/// An event over a few lines; fields that are not set are left out.
fn text(event: &Shown) -> String {
    let mut text = format!("event {}\n", event.id);
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            // Each field keeps to its line.
            let value = value.replace('\\', r"\\").replace('\n', r"\n");
            text.push_str(&format!("    {name:<12}{value}\n"));
        }
    };
    line("inserted", Some(&event.time));
    line("failed", Some(&event.failed_time));
    line("reason", event.reason.as_deref());
    let retries = event.retries.map(|retries| retries.to_string());
    line("retries", retries.as_deref());
    line("type", event.r#type.as_deref());
    line("data", event.data.as_deref());
    for (number, value) in (1..).zip(&event.extra) {
        line(&format!("extra{number}"), value.as_deref());
    }
    text
}
