//! Runs a command for each event, with the event's data as its input:
//! `retrying_consumer "dbname=shop" orders mailer -- sendmail -t`.
//!
//! A command that fails is run again after a while, as often as the queue's setting `max_retries`
//! allows; then the event goes to the dead letters, with the reason. What a command does is not part
//! of any transaction: after a crash it may be run again for the same event.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use pgq::Error;
use pgq::batch::{Disposition, Event};
use pgq::consumer::{Consumer, ConsumerConfig};
use skytools::app::chain;
use skytools::conninfo::ConnInfo;
use skytools::daemon::{Context, Work};
use skytools::db::Database;

/// Run a command for each event
#[derive(Debug, clap::Parser)]
struct Args {
    /// Connect string of the database with the queue
    db: ConnInfo,
    /// Name of the queue
    queue: String,
    /// Name of the consumer
    consumer: String,
    /// Time until the next attempt, in seconds
    #[arg(long, default_value_t = 60)]
    retry_after: u64,
    /// Command, and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command on an event; says why if it fails.
fn run(command: &[String], event: &Event) -> io::Result<Result<(), String>> {
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .spawn()?;
    if let (Some(mut input), Some(data)) = (child.stdin.take(), &event.data) {
        // A command need not read all of its input.
        let _ = input.write_all(data.as_bytes());
    }
    let status = child.wait()?;
    Ok(match status.success() {
        true => Ok(()),
        false => Err(format!("{}: {status}", command[0])),
    })
}

#[expect(clippy::print_stderr, reason = "this is a program")]
fn main() {
    let args: Args = clap::Parser::parse();
    let after = Duration::from_secs(args.retry_after);
    let mut config = ConsumerConfig::new(args.queue.into(), args.consumer.into());
    // No transaction stays open while commands run.
    (config.autocommit, config.lazy_fetch) = (true, 0);
    let db = Database::new("db", args.db, Duration::from_secs(1200));
    let mut consumer = Consumer::new(db, config);
    let mut context = Context::default();
    loop {
        let work = consumer.work(&mut context, |_, event| {
            let failure = match run(&args.command, event) {
                Ok(Ok(())) => return Ok::<_, Error>(Disposition::Done),
                Ok(Err(status)) => status,
                Err(error) => error.to_string(),
            };
            eprintln!("event {}: {failure}", event.id);
            let reason = failure;
            Ok(Disposition::Nack { after, reason })
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
