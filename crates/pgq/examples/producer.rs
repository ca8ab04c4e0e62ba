//! Puts the lines of its input into a queue: `producer "dbname=shop" orders < lines`.
//!
//! Lines go in by the thousand, each thousand with one call and in one transaction.

use std::io::{self, BufRead};
use std::process::ExitCode;

use pgq::producer::{self, NewEvent};
use pgq::{QueueName, admin};
use skytools::app::chain;
use skytools::conninfo::ConnInfo;
use skytools::db::Connection;

/// Put the lines of the input into a queue
#[derive(Debug, clap::Parser)]
struct Args {
    /// Connect string of the database with the queue
    db: ConnInfo,
    /// Name of the queue
    queue: String,
    /// Type of the events
    #[arg(long, default_value = "line")]
    kind: String,
    /// Create the queue if it does not exist
    #[arg(long)]
    create: bool,
}

#[expect(clippy::print_stderr, reason = "this is a program")]
fn main() -> ExitCode {
    match run(clap::Parser::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let queue = QueueName::from(args.queue);
    let mut db = Connection::open("db", &args.db)?;
    if args.create {
        admin::create_queue(&mut *db, &queue)?;
    }
    let mut lines = io::stdin().lock().lines();
    loop {
        let events = lines
            .by_ref()
            .take(1000)
            .map(|line| Ok(NewEvent::new(args.kind.as_str(), line?.as_str())))
            .collect::<io::Result<Vec<NewEvent>>>()?;
        if events.is_empty() {
            return Ok(());
        }
        producer::insert_events(&mut *db, &queue, &events)?;
    }
}
