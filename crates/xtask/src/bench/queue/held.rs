//! A consumer while somebody holds an old snapshot, as a dump or a forgotten session does.

use std::time::{Duration, Instant};

use postgres::Client;

use super::Run;
use crate::Result;
use crate::bench::measure::Samples;
use crate::bench::report::Goal;
use crate::process::Interrupt;

const WORKLOAD: &str = "consumer loop under a held snapshot, end to start";
const START: &str = "consumer loop at its start";

/// So many parts of the run are its start and its end.
const PARTS: usize = 10;

/// Enough to see what becomes of it.
const LONGEST: Duration = Duration::from_secs(90);

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let loops = run.common.size(10_000, 1_000);
    let mut variants = vec![("ours", run.stand.ours("held_ours")?, "held_ours")];
    if let Some(db) = run.stand.extension("held_c")? {
        variants.push(("C", db, "held_c"));
    }
    for (name, mut db, database) in variants {
        let mut holder = run.stand.connect(database)?;
        let rates = one(&mut db, &mut holder, loops, run.interrupt)?;
        let (Some(first), Some(last)) = (rates.first(), rates.last()) else {
            continue;
        };
        let (mut start, mut share) = (Samples::default(), Samples::default());
        start.push(*first);
        share.push(last / first);
        run.report.add(START, name, "1/s", &start);
        run.report.add(WORKLOAD, name, "", &share);
    }
    run.report.limit(WORKLOAD, "ours", Goal::AtLeast(0.8));
    Ok(())
}

/// Loops a second, part by part.
fn one(
    db: &mut Client,
    holder: &mut Client,
    loops: usize,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    db.batch_execute(
        "select pgq.create_queue('q');
         select pgq.register_consumer('q', 'c');
         update pgq.queue set queue_ticker_max_count = 1",
    )?;
    let insert = db.prepare("select pgq.insert_event('q', 'type', 'data')")?;
    let tick = db.prepare("select pgq.ticker('q')")?;
    let next = db.prepare("select pgq.next_batch('q', 'c')")?;
    let read = db.prepare("select ev_id, ev_data from pgq.get_batch_events($1)")?;
    let finish = db.prepare("select pgq.finish_batch($1)")?;
    let mut turn = || -> Result {
        db.query_one(&insert, &[])?;
        db.query_one(&tick, &[])?;
        let batch: i64 = db.query_one(&next, &[])?.try_get(0)?;
        db.query(&read, &[&batch])?;
        db.query_one(&finish, &[&batch])?;
        Ok(())
    };
    // Warm, and the tick that every queue makes at first is gone.
    for _ in 0..100 {
        turn()?;
    }
    holder.batch_execute("begin isolation level repeatable read; select 1")?;
    let begin = Instant::now();
    let mut rates = Vec::new();
    while rates.len() < PARTS && begin.elapsed() < LONGEST {
        interrupt.check()?;
        let start = Instant::now();
        for _ in 0..loops / PARTS {
            turn()?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        rates.push((loops / PARTS) as f64 / start.elapsed().as_secs_f64());
    }
    holder.batch_execute("commit")?;
    Ok(rates)
}
