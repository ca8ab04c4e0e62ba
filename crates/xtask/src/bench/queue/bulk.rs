//! Many events with one statement.

use std::time::Instant;

use postgres::{Client, Statement};

use super::Run;
use crate::Result;
use crate::bench::measure::in_rounds;
use crate::bench::report::Goal;

const WORKLOAD: &str = "events of 100 bytes, one statement";

/// A way to put an array of events in.
struct Producer {
    name: &'static str,
    db: Client,
    insert: Statement,
    /// Whether the statement takes one event, and is repeated in one transaction.
    is_single: bool,
}

impl Producer {
    fn new(name: &'static str, mut db: Client, setup: &str, insert: &str) -> Result<Producer> {
        db.batch_execute(setup)?;
        let insert = db.prepare(insert)?;
        Ok(Producer {
            name,
            db,
            insert,
            is_single: false,
        })
    }
}

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let create = "select pgq.create_queue('q')";
    let one_by_one = "select count(pgq.insert_event('q', 'type', d)) from unnest($1::text[]) d";
    let mut producers = vec![
        Producer::new(
            "table",
            run.stand.ours("bulk_table")?,
            // An event table by another name, with its sequence.
            "create table t (like pgq.event_template including defaults) with (autovacuum_enabled = off); \
             create sequence s; \
             alter table t alter ev_id set default nextval('s'); \
             create index on t (ev_txid)",
            "with i as (insert into t (ev_time, ev_type, ev_data) \
                        select now(), 'type', d from unnest($1::text[]) d returning 1) \
             select count(*) from i",
        )?,
        Producer::new(
            "ours",
            run.stand.ours("bulk_ours")?,
            create,
            "select cardinality(pgq.insert_events('q', 'type', $1))::bigint",
        )?,
        Producer::new(
            "ours, insert_event",
            run.stand.ours("bulk_single")?,
            create,
            one_by_one,
        )?,
    ];
    match run.stand.extension("bulk_c")? {
        Some(db) => {
            let single = "select pgq.insert_event('q', 'type', $1)";
            let mut each = Producer::new("C, row by row", db, create, single)?;
            each.is_single = true;
            producers.push(each);
            let db = run.stand.connect("bulk_c")?;
            producers.push(Producer::new("C, insert_event", db, "", one_by_one)?);
        }
        None => run.report.note("The PgQ extension is not installed."),
    }

    let count = run.common.size(100_000_u32, 1000);
    let data: Vec<String> = (0..count).map(|n| format!("{n:0>100}")).collect();
    let places: Vec<usize> = (0..producers.len()).collect();
    let rates = in_rounds(run.common.rounds, &places, run.interrupt, |place| {
        let producer = &mut producers[place];
        let start = Instant::now();
        if producer.is_single {
            let mut tx = producer.db.transaction()?;
            for item in &data {
                tx.query_one(&producer.insert, &[item])?;
            }
            tx.commit()?;
            return Ok(f64::from(count) / start.elapsed().as_secs_f64());
        }
        let inserted: i64 = producer.db.query_one(&producer.insert, &[&data])?.get(0);
        if inserted != i64::from(count) {
            return Err(format!("{}: {inserted} of {count} events", producer.name).into());
        }
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    })?;
    for (place, producer) in producers.iter().enumerate() {
        run.report
            .add(WORKLOAD, producer.name, "1/s", &rates[place]);
    }
    run.report
        .compare(WORKLOAD, "ours", "table", Some(Goal::AtLeast(0.7)));
    run.report
        .compare(WORKLOAD, "ours", "C, row by row", Some(Goal::AtLeast(3.0)));
    run.report
        .compare(WORKLOAD, "ours", "C, insert_event", None);
    run.report
        .compare(WORKLOAD, "ours, insert_event", "C, insert_event", None);
    Ok(())
}
