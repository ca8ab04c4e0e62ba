//! One event a transaction, through a prepared statement.

use std::time::Duration;

use postgres::{Client, Statement};

use super::Run;
use crate::Result;
use crate::bench::measure::{Backend, Samples, in_rounds, rate};
use crate::bench::report::Goal;

const WORKLOAD: &str = "insert_event";
const CPU: &str = "insert_event, backend CPU";

/// A producer: its connection and the statement that it repeats.
struct Producer {
    name: &'static str,
    db: Client,
    insert: Statement,
    backend: Backend,
}

impl Producer {
    fn new(name: &'static str, mut db: Client, setup: &str, insert: &str) -> Result<Producer> {
        db.batch_execute(setup)?;
        Ok(Producer {
            name,
            insert: db.prepare(insert)?,
            backend: Backend::of(&mut db)?,
            db,
        })
    }
}

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let create = "select pgq.create_queue('q')";
    let insert = "select pgq.insert_event('q', 'type', $1)";
    let mut producers = vec![
        Producer::new(
            "table",
            run.stand.empty("insert_table")?,
            "create table t (id bigserial, at timestamptz default now(), txid bigint default txid_current(), \
                             kind text, data text);
             create index on t (txid)",
            "insert into t (kind, data) values ('type', $1) returning id",
        )?,
        Producer::new("ours", run.stand.ours("insert_ours")?, create, insert)?,
    ];
    match run.stand.extension("insert_c")? {
        Some(db) => producers.push(Producer::new("C", db, create, insert)?),
        None => run.report.note("The PgQ extension is not installed."),
    }

    let time = run
        .common
        .size(Duration::from_secs(2), Duration::from_millis(200));
    let data = "x".repeat(100);
    let places: Vec<usize> = (0..producers.len()).collect();
    let mut cpu = vec![Samples::default(); producers.len()];
    let rates = in_rounds(run.common.rounds, &places, run.interrupt, |place| {
        let producer = &mut producers[place];
        let before = producer.backend.cpu()?;
        let rate = rate(time, || {
            producer.db.query_one(&producer.insert, &[&data])?;
            Ok(())
        })?;
        let used = producer.backend.cpu()? - before;
        cpu[place].push(used / (rate * time.as_secs_f64()) * 1e6);
        Ok(rate)
    })?;
    for (place, producer) in producers.iter().enumerate() {
        run.report
            .add(WORKLOAD, producer.name, "1/s", &rates[place]);
        run.report.add(CPU, producer.name, "us", &cpu[place]);
    }
    run.report
        .compare(WORKLOAD, "ours", "C", Some(Goal::AtLeast(0.8)));
    run.report.compare(WORKLOAD, "ours", "table", None);
    run.report.compare(CPU, "ours", "C", None);
    Ok(())
}
