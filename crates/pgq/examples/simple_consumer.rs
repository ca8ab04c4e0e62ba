//! Runs a statement in another database for each changed row, each exactly once:
//! `simple_consumer "dbname=shop" shop.rows noter "dbname=dwh" "insert into notes values (%(id)s, %(pgq.ev_type)s)"`.
//!
//! Placeholders are columns of the row, and `pgq.tick_id`, `pgq.ev_id`, `pgq.ev_time`, `pgq.ev_type`, `pgq.ev_data` and
//! `pgq.ev_extra1` to `pgq.ev_extra4`; they become literals, whose type the statement decides. Events that are no
//! changed rows are passed over. What fails is tried again with its batch.

use std::time::Duration;

use pgq::TickId;
use pgq::batch::Event;
use pgq::consumer::{ConsumerConfig, SerialConsumer};
use pgq::row::{Fields, Op, RowEvent};
use skytools::app::chain;
use skytools::conninfo::ConnInfo;
use skytools::daemon::{Context, Work};
use skytools::db::{Database, During};
use skytools::quote::{self, Strings, Values};

/// Run a statement for each changed row
#[derive(Debug, clap::Parser)]
struct Args {
    /// Connect string of the database with the queue
    source: ConnInfo,
    /// Name of the queue
    queue: String,
    /// Name of the consumer
    consumer: String,
    /// Connect string of the database with the schema pgq_ext, to run the statement in
    target: ConnInfo,
    /// Statement, with placeholders %(column)s; a percent sign is %%
    statement: String,
}

/// Why a batch could not be applied.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Queue(#[from] pgq::Error),
    #[error("event {0} cannot be read")]
    Row(pgq::EventId, #[source] pgq::row::Error),
    #[error("no statement for event {0}")]
    Statement(pgq::EventId, #[source] quote::Error),
    #[error("the statement for event {0} is not UTF-8")]
    NotUtf8(pgq::EventId),
}

/// The statement for an event; `None` if it is no changed row.
fn statement(template: &str, tick: TickId, event: &Event) -> Result<Option<String>, Error> {
    let parsed = RowEvent::parse(Fields::from(event), Strings::Standard);
    let row = match parsed.map_err(|error| Error::Row(event.id, error))? {
        Some(row) if row.op != Op::Truncate => row.into_row(),
        _ => return Ok(None),
    };
    let (tick, id, time) = (
        tick.to_string(),
        event.id.to_string(),
        event.time.to_string(),
    );
    let text = |text: &'_ Option<skytools::db::Text>| text.as_ref().map(|t| t.as_bytes().to_vec());
    let texts = [&event.kind, &event.data]
        .into_iter()
        .chain(&event.extra)
        .map(text);
    let texts: Vec<Option<Vec<u8>>> = texts.collect();
    let names =
        ["type", "data", "extra1", "extra2", "extra3", "extra4"].map(|n| format!("pgq.ev_{n}"));
    let mut values: Vec<(&str, Option<&[u8]>)> = vec![
        ("pgq.tick_id", Some(tick.as_bytes())),
        ("pgq.ev_id", Some(id.as_bytes())),
        ("pgq.ev_time", Some(time.as_bytes())),
    ];
    let fields = names.iter().zip(&texts);
    values.extend(fields.map(|(name, text)| (name.as_str(), text.as_deref())));
    // A column whose name no placeholder can have has none.
    let columns = row.iter();
    values
        .extend(columns.filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value))));
    let sql = quote::statement(template, Values::Map(&values));
    let sql = sql.map_err(|error| Error::Statement(event.id, error))?;
    let sql = String::from_utf8(sql).map_err(|_| Error::NotUtf8(event.id))?;
    Ok(Some(sql))
}

#[expect(clippy::print_stderr, reason = "this is a program")]
fn main() {
    let args: Args = clap::Parser::parse();
    let lifetime = Duration::from_secs(1200);
    let source = Database::new("source", args.source, lifetime);
    let target = Database::new("target", args.target, lifetime);
    let config = ConsumerConfig::new(args.queue.into(), args.consumer.into());
    let mut consumer = SerialConsumer::new(source, target, "pgq_ext", config);
    let mut context = Context::default();
    loop {
        let work = consumer.work(&mut context, |events, target| {
            while let Some(event) = events.next()? {
                if let Some(sql) = statement(&args.statement, events.batch().tick, &event)? {
                    let done = target.batch_execute(&sql).during("run the statement");
                    done.map_err(pgq::Error::from)?;
                }
            }
            Ok::<_, Error>(())
        });
        match work {
            Ok(Work::More) => {}
            Ok(_) => consumer.pause(&context, Duration::from_secs(1)),
            Err(Error::Queue(error)) if consumer.is_fatal(&error) => {
                eprintln!("{}", chain(&error));
                return;
            }
            Err(error) => {
                eprintln!("{}", chain(&error));
                consumer.recover();
                context.stop.sleep(Duration::from_secs(5));
            }
        }
        consumer.between(lifetime);
    }
}
