//! From the commit of an event to the consumer, with the ticker at 10 ms and wake-up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pgq::batch::Disposition;
use pgq::consumer::{Consumer, ConsumerConfig};
use postgres::Client;
use skytools::conninfo::ConnInfo;
use skytools::daemon::{Context, Work};
use skytools::db::Database;

use super::Run;
use crate::Result;
use crate::bench::measure::Samples;
use crate::bench::report::Goal;
use crate::process::pause;

const WORKLOAD: &str = "commit to consumer, ticker at 10 ms";

/// Between calls of the ticker.
const PERIOD: Duration = Duration::from_millis(10);

/// Between events: the events fall into every moment of a period.
const DISTANCE: Duration = Duration::from_micros(13_700);

/// Without a notification the consumer asks by itself so late that it shows.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let mut db = run.stand.ours("latency")?;
    db.batch_execute(
        "select pgq.create_queue('q');
         select pgq.set_queue_config('q', 'notify', 'true');
         select pgq.set_queue_config('q', 'ticker_max_count', '1');
         select pgq.register_consumer('q', 'c')",
    )?;
    let count: usize = run.common.size(400, 50);
    let mut ticking = run.stand.connect("latency")?;
    let conninfo = run.stand.conninfo("latency");
    let (mut middle, mut high) = (Samples::default(), Samples::default());
    for _ in 0..run.common.rounds {
        run.interrupt.check()?;
        let round = round(&mut db, &mut ticking, &conninfo, count)?;
        middle.push(round.quantile(0.5));
        high.push(round.quantile(0.99));
    }
    run.report.add(WORKLOAD, "p50", "ms", &middle);
    run.report.limit(WORKLOAD, "p50", Goal::AtMost(15.0));
    run.report.add(WORKLOAD, "p99", "ms", &high);
    run.report.limit(WORKLOAD, "p99", Goal::AtMost(40.0));
    Ok(())
}

/// Milliseconds that each of `count` events takes.
fn round(
    producing: &mut Client,
    ticking: &mut Client,
    conninfo: &str,
    count: usize,
) -> Result<Samples> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| -> Result<Samples> {
        let ticker = scope.spawn(|| tick(ticking, &done));
        let consumer = scope.spawn(|| consume(conninfo, count));
        let produced = produce(producing, count);
        let received = consumer.join().expect("the consumer does not panic");
        done.store(true, Ordering::Relaxed);
        ticker.join().expect("the ticker does not panic")?;
        let committed = produced?;
        let mut samples = Samples::default();
        for (place, at) in received? {
            let start = committed.get(place).ok_or("an event of another round")?;
            samples.push(at.saturating_duration_since(*start).as_secs_f64() * 1000.0);
        }
        Ok(samples)
    })
}

/// When each event was committed; its place is its data.
fn produce(db: &mut Client, count: usize) -> Result<Vec<Instant>> {
    let insert = db.prepare("select pgq.insert_event('q', 'type', $1)")?;
    let mut committed = Vec::with_capacity(count);
    for place in 0..count {
        pause(DISTANCE);
        db.query_one(&insert, &[&place.to_string()])?;
        committed.push(Instant::now());
    }
    Ok(committed)
}

fn tick(db: &mut Client, done: &AtomicBool) -> Result {
    let ticker = db.prepare("select pgq.ticker()")?;
    let mut next = Instant::now();
    while !done.load(Ordering::Relaxed) {
        db.query_one(&ticker, &[])?;
        next += PERIOD;
        pause(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Places of the events and when they were here, as a program with the library sees it.
fn consume(conninfo: &str, count: usize) -> Result<Vec<(usize, Instant)>> {
    let db = Database::new("db", ConnInfo::parse(conninfo)?, Duration::ZERO);
    let config = ConsumerConfig::new("q".into(), "c".into());
    let mut consumer = Consumer::new(db, config);
    let mut context = Context::default();
    let mut received = Vec::with_capacity(count);
    while received.len() < count {
        let work = consumer.work(&mut context, |_, event| -> Result<Disposition> {
            let place = event.data.as_ref().ok_or("an event without data")?;
            received.push((place.to_string_lossy().parse()?, Instant::now()));
            Ok(Disposition::Done)
        })?;
        if work == Work::Idle {
            consumer.pause(&context, PATIENCE);
        }
    }
    Ok(received)
}
