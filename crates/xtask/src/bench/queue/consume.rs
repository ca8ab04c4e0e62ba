//! Reading batches into nothing.

use std::process::Command;

use pgq::batch::EventCursor;
use pgq::{BatchId, ConsumerName, QueueName};
use postgres::Client;
use skytools::conninfo::ConnInfo;
use skytools::db::Connection;

use super::Run;
use crate::Result;
use crate::bench::measure::{in_rounds, seconds};
use crate::bench::report::Goal;

const WORKLOAD: &str = "consumer to nothing";

/// Events that our consumers fetch at a time.
const CHUNK: u32 = 10_000;

/// Reads a batch with the consumer library of the packages; prints the seconds that it takes.
const PYTHON: &str = "
import sys, time, skytools
from pgq.baseconsumer import BaseBatchWalker
db = skytools.connect_database(sys.argv[1])
start = time.time()
size = 0
for event in BaseBatchWalker(db.cursor(), int(sys.argv[2]), 'q'):
    size += len(event.ev_data)
db.commit()
print(time.time() - start)
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Ours,
    Psql,
    Python,
}

impl Reader {
    fn name(self) -> &'static str {
        match self {
            Reader::Ours => "ours",
            Reader::Psql => "psql \\copy",
            Reader::Python => "python3-pgq",
        }
    }
}

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let count = run.common.size(100_000_i32, 5_000);
    let mut db = run.stand.ours("consume")?;
    let batch = prepare(&mut db, count)?;

    let mut readers = vec![Reader::Ours];
    let psql = run.stand.program("psql");
    match psql {
        Some(_) => readers.push(Reader::Psql),
        None => run.report.note("There is no psql."),
    }
    // The first in the path may be one without the packages of the system.
    let python = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        Command::new(python)
            .args(["-c", "import skytools, pgq.baseconsumer"])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    match python {
        Some(_) => readers.push(Reader::Python),
        None => run.report.note("python3-pgq is not installed."),
    }

    let conninfo = run.stand.conninfo("consume");
    let mut reader_db = Connection::open("db", &ConnInfo::parse(&conninfo)?)?;
    let file = run.stand.file("events");
    let rates = in_rounds(run.common.rounds, &readers, run.interrupt, |reader| {
        let taken = match reader {
            Reader::Ours => seconds(|| {
                let read = ours(&mut reader_db, batch)?;
                expect(read, count)
            })?,
            Reader::Psql => {
                let sql = format!(
                    "\\copy (select * from pgq.get_batch_events({batch})) to '{}'",
                    file.display()
                );
                let mut command = Command::new(psql.as_ref().expect("looked up above"));
                command.args(["-X", "-q", "-d", &conninfo, "-c", "\\timing on", "-c", &sql]);
                let text = output(&mut command)?;
                let millis = text
                    .lines()
                    .find_map(|line| line.strip_prefix("Time: ")?.split(' ').next())
                    .ok_or_else(|| format!("no time of psql: {text}"))?;
                millis.parse::<f64>()? / 1000.0
            }
            Reader::Python => {
                let mut command = Command::new(python.expect("looked up above"));
                command.args(["-c", PYTHON, &conninfo, &batch.to_string()]);
                output(&mut command)?.trim().parse()?
            }
        };
        Ok(f64::from(count) / taken)
    })?;
    for (reader, rates) in readers.iter().zip(&rates) {
        run.report.add(WORKLOAD, reader.name(), "1/s", rates);
    }
    for (peer, goal) in [(Reader::Psql, 0.8), (Reader::Python, 3.0)] {
        run.report
            .compare(WORKLOAD, "ours", peer.name(), Some(Goal::AtLeast(goal)));
    }
    Ok(())
}

/// Opens a batch of so many events.
fn prepare(db: &mut Client, count: i32) -> Result<BatchId> {
    db.batch_execute("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')")?;
    db.execute(
        "select pgq.insert_events('q', 'type', array_agg(repeat('x', 100))) from generate_series(1, $1::int)",
        &[&count],
    )?;
    db.batch_execute("select pgq.ticker('q')")?;
    let batch = pgq::batch::next_batch(db, &QueueName::from("q"), &ConsumerName::from("c"))?;
    Ok(batch.ok_or("no batch after a tick")?.id)
}

/// As our consumers do it: through a cursor, in a transaction.
fn ours(db: &mut Connection, batch: BatchId) -> Result<usize> {
    let mut tx = db.begin()?;
    let mut cursor = EventCursor::open(&mut tx, batch, CHUNK, None)?;
    let mut read = 0;
    loop {
        let events = cursor.fetch(&mut tx)?;
        if events.is_empty() {
            break;
        }
        for event in events {
            if event.data.is_some() {
                read += 1;
            }
        }
    }
    tx.commit()?;
    Ok(read)
}

fn expect(read: usize, count: i32) -> Result {
    if usize::try_from(count) == Ok(read) {
        return Ok(());
    }
    Err(format!("read {read} events instead of {count}").into())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
