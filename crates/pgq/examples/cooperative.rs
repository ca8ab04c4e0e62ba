//! One of several processes that share the work of a consumer:
//! `cooperative "dbname=shop" orders resizer host1`, and the same with `host2` elsewhere.
//!
//! Start as many as you like, each with a name of its own, and kill any of them: what it had begun is
//! undone, and after ten seconds its batch goes to another one. The database has the schema `pgq_coop`
//! and a table `done (member text, data text)`.

use std::time::Duration;

use pgq::Error;
use pgq::batch::Disposition;
use pgq::consumer::{ConsumerConfig, CoopConsumer};
use postgres::types::Type;
use skytools::app::chain;
use skytools::conninfo::ConnInfo;
use skytools::daemon::{Context, Work};
use skytools::db::{Database, During};

/// Share the work of a consumer with other processes
#[derive(Debug, clap::Parser)]
struct Args {
    /// Connect string of the database with the queue
    db: ConnInfo,
    /// Name of the queue
    queue: String,
    /// Name of the consumer
    consumer: String,
    /// Name of this process among those of the consumer
    member: String,
    /// Silence after which the batch of another member is taken over; an interval
    #[arg(long, default_value = "10 seconds")]
    timeout: String,
}

#[expect(clippy::print_stderr, reason = "this is a program")]
fn main() -> Result<(), Error> {
    let args: Args = clap::Parser::parse();
    let mut config = ConsumerConfig::new(args.queue.into(), args.consumer.into());
    config.subconsumer = Some(args.member.as_str().into());
    config.subconsumer_timeout = Some(args.timeout);
    let db = Database::new("db", args.db, Duration::from_secs(1200));
    let mut consumer = CoopConsumer::new(db, config)?;
    let mut context = Context::default();
    loop {
        let work = consumer.work(&mut context, |tx, event| {
            tx.execute_typed(
                "insert into done (member, data) values ($1, $2)",
                &[(&args.member, Type::TEXT), (&event.data, Type::TEXT)],
            )
            .during("do the work of an event")?;
            Ok::<_, Error>(Disposition::Done)
        });
        match work {
            Ok(Work::More) => {}
            Ok(_) => consumer.pause(&context, Duration::from_secs(1)),
            Err(error) => {
                eprintln!("{}", chain(&error));
                consumer.recover();
                context.stop.sleep(Duration::from_secs(5));
            }
        }
        consumer.between();
    }
}
