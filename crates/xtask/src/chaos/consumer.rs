//! A consumer of each kind, as a process of its own that writes down what it was given.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use pgq::Error;
use pgq::batch::{Disposition, Event};
use pgq::consumer::{
    Consumer, ConsumerConfig, CoopConsumer, Events, LocalConsumer, RemoteConsumer, SerialConsumer,
};
use postgres::types::Type;
use skytools::conninfo::ConnInfo;
use skytools::daemon::{Context, Work};
use skytools::db::{Database, During, GenericClient, Text};

use crate::Result;

use super::stage::{QUEUE, complain};

/// Consume until killed
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kind of consumer, and its name
    #[arg(value_enum)]
    kind: Kind,
    /// Connect string of the database with the queue
    source: ConnInfo,
    /// Connect string of the other database
    target: ConnInfo,
    /// File for the position of a consumer that keeps it there
    #[arg(long)]
    tracking: PathBuf,
    /// Which one of the processes that share the consumer this is
    #[arg(long, default_value = "")]
    member: String,
}

/// The kinds of consumers. Each has its name in the column `consumer` of what it writes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub(super) enum Kind {
    /// Writes to the target, which remembers the tick.
    Serial,
    /// Writes to the target, which remembers the batch.
    Remote,
    /// Writes to the source in the transaction that ends the batch; asks for some events again.
    Retry,
    /// As `Retry` without asking again, but two of them share the batches.
    Coop,
    /// Writes to the target, event by event, in transactions of their own.
    Plain,
    /// Writes to the target in transactions of their own; a file remembers the tick.
    Local,
}

impl Kind {
    pub(super) const ALL: [Kind; 6] = [
        Kind::Serial,
        Kind::Remote,
        Kind::Retry,
        Kind::Coop,
        Kind::Plain,
        Kind::Local,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Serial => "serial",
            Kind::Remote => "remote",
            Kind::Retry => "retry",
            Kind::Coop => "coop",
            Kind::Plain => "plain",
            Kind::Local => "local",
        }
    }

    /// Whether it promises each event exactly once, and not only at least once.
    pub(super) fn is_exact(self) -> bool {
        !matches!(self, Kind::Plain | Kind::Local)
    }

    /// Whether it promises that events come in order, at their first delivery.
    pub(super) fn is_ordered(self) -> bool {
        matches!(self, Kind::Serial | Kind::Remote)
    }

    /// Whether it writes to the source.
    pub(super) fn is_at_source(self) -> bool {
        matches!(self, Kind::Retry | Kind::Coop)
    }
}

/// The consumer, with what its rounds need beside.
enum Role {
    Serial(SerialConsumer),
    Remote(RemoteConsumer),
    Retry(Consumer),
    Coop(CoopConsumer),
    Plain(Consumer, Database),
    Local(LocalConsumer, Database),
}

/// Between rounds when there is nothing to do, and after a failure.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let mut role = Role::new(args)?;
    let mut context = Context::default();
    loop {
        match role.work(&mut context) {
            Ok(Work::More) => {}
            Ok(_) => role.pause(&context),
            Err(error) if role.is_fatal(&error) => {
                complain(&error);
                return Ok(ExitCode::FAILURE);
            }
            Err(error) => {
                complain(&error);
                role.recover();
                context.stop.sleep(PAUSE * 4);
            }
        }
        role.between();
    }
}

impl Role {
    fn new(args: &Args) -> Result<Role> {
        // Some batches begin on a connection of middle age.
        let lifetime = Duration::from_secs(3);
        let name = args.kind.name();
        let mut config = ConsumerConfig::new(QUEUE.into(), name.into());
        let application = format!("consumer {name}{}", args.member);
        let source = args.source.clone().with_application_name(&application);
        let source = Database::new("source", source, lifetime);
        let target = args.target.clone().with_application_name(&application);
        let target = Database::new("target", target, lifetime);
        Ok(match args.kind {
            Kind::Serial => Role::Serial(SerialConsumer::new(source, target, "pgq_ext", config)),
            Kind::Remote => Role::Remote(RemoteConsumer::new(source, target, config)),
            Kind::Retry => Role::Retry(Consumer::new(source, config)),
            Kind::Coop => {
                config.subconsumer = Some(args.member.as_str().into());
                config.subconsumer_timeout = Some("2 seconds".to_owned());
                Role::Coop(CoopConsumer::new(source, config)?)
            }
            Kind::Plain => {
                (config.autocommit, config.lazy_fetch) = (true, 0);
                Role::Plain(Consumer::new(source, config), target)
            }
            Kind::Local => {
                config.tracking_file = Some(args.tracking.clone());
                Role::Local(LocalConsumer::new(source, config)?, target)
            }
        })
    }

    fn work(&mut self, context: &mut Context) -> Result<Work, Error> {
        match self {
            Role::Serial(consumer) => consumer.work(context, |events, target| {
                note_all(&mut **target, Kind::Serial, events)
            }),
            Role::Remote(consumer) => consumer.work(context, |target, event| {
                note(&mut **target, Kind::Remote, event)?;
                Ok::<_, Error>(Disposition::Done)
            }),
            Role::Retry(consumer) => consumer.work(context, |source, event| {
                if event.retry.is_none() && event.id.get() % 29 == 0 {
                    let after = Duration::from_secs(1);
                    return Ok::<_, Error>(Disposition::Retry { after });
                }
                note(&mut **source, Kind::Retry, event)?;
                Ok(Disposition::Done)
            }),
            Role::Coop(consumer) => consumer.work(context, |source, event| {
                note(&mut **source, Kind::Coop, event)?;
                Ok::<_, Error>(Disposition::Done)
            }),
            Role::Plain(consumer, target) => consumer.work(context, |_, event| {
                note(&mut **target.connection()?, Kind::Plain, event)?;
                Ok::<_, Error>(Disposition::Done)
            }),
            Role::Local(consumer, target) => consumer.work(context, |events| {
                note_all(&mut **target.connection()?, Kind::Local, events)
            }),
        }
    }

    fn pause(&mut self, context: &Context) {
        match self {
            Role::Serial(consumer) => consumer.pause(context, PAUSE),
            Role::Remote(consumer) => consumer.pause(context, PAUSE),
            Role::Retry(consumer) | Role::Plain(consumer, _) => consumer.pause(context, PAUSE),
            Role::Coop(consumer) => consumer.pause(context, PAUSE),
            Role::Local(consumer, _) => consumer.pause(context, PAUSE),
        }
    }

    fn recover(&mut self) {
        match self {
            Role::Serial(consumer) => consumer.recover(),
            Role::Remote(consumer) => consumer.recover(),
            Role::Retry(consumer) => consumer.recover(),
            Role::Coop(consumer) => consumer.recover(),
            Role::Plain(consumer, target) => {
                consumer.recover();
                target.reset();
            }
            Role::Local(consumer, target) => {
                consumer.recover();
                target.reset();
            }
        }
    }

    fn between(&mut self) {
        let lifetime = Duration::from_secs(3);
        match self {
            Role::Serial(consumer) => consumer.between(lifetime),
            Role::Remote(consumer) => consumer.between(lifetime),
            Role::Retry(consumer) => consumer.between(),
            Role::Coop(consumer) => consumer.between(),
            Role::Plain(consumer, target) => {
                consumer.between();
                target.expire();
            }
            Role::Local(consumer, target) => {
                consumer.between();
                target.expire();
            }
        }
    }

    fn is_fatal(&self, error: &Error) -> bool {
        match self {
            Role::Serial(consumer) => consumer.is_fatal(error),
            Role::Remote(consumer) => consumer.is_fatal(error),
            _ => false,
        }
    }
}

/// Writes an event down.
fn note(db: &mut impl GenericClient, consumer: Kind, event: &Event) -> Result<(), Error> {
    db.execute_typed(
        "insert into seen (consumer, ev_id, kind, data, extra1) values ($1, $2, $3, $4, $5)",
        &[
            (&consumer.name(), Type::TEXT),
            (&event.id, Type::INT8),
            (&event.kind, Type::TEXT),
            (&event.data, Type::TEXT),
            (&event.extra[0], Type::TEXT),
        ],
    )
    .during("note an event")?;
    Ok(())
}

/// Writes all events of a batch down, in order.
fn note_all(
    db: &mut impl GenericClient,
    consumer: Kind,
    events: &mut Events<'_>,
) -> Result<(), Error> {
    let mut ids = Vec::new();
    let mut texts: [Vec<Option<Text>>; 3] = Default::default();
    while let Some(event) = events.next()? {
        ids.push(event.id);
        let [extra1, ..] = event.extra;
        texts[0].push(event.kind);
        texts[1].push(event.data);
        texts[2].push(extra1);
    }
    let [kinds, data, extras] = texts;
    db.execute_typed(
        "insert into seen (consumer, ev_id, kind, data, extra1) \
         select $1, e.id, e.kind, e.data, e.extra1 \
         from unnest($2, $3, $4, $5) with ordinality e (id, kind, data, extra1, place) \
         order by e.place",
        &[
            (&consumer.name(), Type::TEXT),
            (&ids, Type::INT8_ARRAY),
            (&kinds, Type::TEXT_ARRAY),
            (&data, Type::TEXT_ARRAY),
            (&extras, Type::TEXT_ARRAY),
        ],
    )
    .during("note the events of a batch")?;
    Ok(())
}
