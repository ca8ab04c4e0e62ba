//! Copies events into a table of another database, each exactly once, whatever dies on the way:
//! `exactly_once "dbname=shop" orders copier "dbname=archive"`.
//!
//! The target's transaction holds the rows of a batch and the position behind it. Whoever kills this
//! program, or either server, finds both or neither.

use std::time::Duration;

use pgq::Error;
use pgq::consumer::{ConsumerConfig, SerialConsumer};
use postgres::types::Type;
use skytools::app::chain;
use skytools::conninfo::ConnInfo;
use skytools::daemon::{Context, Work};
use skytools::db::{Database, During};

/// Copy events into a table of another database
#[derive(Debug, clap::Parser)]
struct Args {
    /// Connect string of the database with the queue
    source: ConnInfo,
    /// Name of the queue
    queue: String,
    /// Name of the consumer
    consumer: String,
    /// Connect string of the database with the schema pgq_ext and a table
    /// received (id bigint, at timestamptz, kind text, data text)
    target: ConnInfo,
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
                target
                    .execute_typed(
                        "insert into received (id, at, kind, data) values ($1, $2, $3, $4)",
                        &[
                            (&event.id, Type::INT8),
                            (&event.time, Type::TIMESTAMPTZ),
                            (&event.kind, Type::TEXT),
                            (&event.data, Type::TEXT),
                        ],
                    )
                    .during("insert an event")?;
            }
            Ok::<_, Error>(())
        });
        match work {
            Ok(Work::More) => {}
            Ok(_) => consumer.pause(&context, Duration::from_secs(1)),
            Err(error) if consumer.is_fatal(&error) => {
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
