//! From the commit on the provider to that on the subscriber, under a steady load.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use postgres::Client;

use super::Run;
use super::replica::{PATIENCE, Peer, Plan, Replica};
use crate::Result;
use crate::bench::measure::Samples;
use crate::bench::report::Goal;
use crate::process::pause;

/// Of the ticker; consumers without anything to do look again after half of it.
const PERIOD: Duration = Duration::from_millis(100);

/// Transactions a second.
const RATE: u32 = 300;

/// Commit times in microseconds, by key.
const COMMITS: &str = "
    select id, (extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::int8 from event
    where id > 0";

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let time = run
        .common
        .size(Duration::from_secs(20), Duration::from_secs(3));
    let plan = Plan {
        name: "lag",
        schema: "create table event (id int primary key, data text)",
        tables: &["public.event"],
        loop_delay: PERIOD / 2,
    };
    for peer in run.peers.clone() {
        let mut replica = Replica::create(run.sides, peer, &plan)?;
        if peer != Peer::BuiltIn {
            replica
                .provider()?
                .batch_execute("update pgq.queue set queue_ticker_max_lag = '100 ms'")?;
        }
        replica.start_first()?;
        let ticker = replica.ticker(PERIOD)?;
        let (mut middle, mut high) = (Samples::default(), Samples::default());
        for _ in 0..run.common.rounds.min(3) {
            run.interrupt.check()?;
            let lags = round(&replica, time)?;
            middle.push(lags.quantile(0.5));
            high.push(lags.quantile(0.99));
        }
        drop(ticker);
        for (workload, samples, goal) in [
            ("lag at 300 tps, p50", &middle, 200.0),
            ("lag at 300 tps, p99", &high, 500.0),
        ] {
            run.report.add(workload, peer.name(), "ms", samples);
            if peer == Peer::Ours {
                run.report.limit(workload, peer.name(), Goal::AtMost(goal));
            }
        }
    }
    Ok(())
}

/// Milliseconds of every transaction of a while.
fn round(replica: &Replica<'_>, time: Duration) -> Result<Samples> {
    let mut provider = replica.provider()?;
    let mut subscriber = replica.subscriber()?;
    let row = provider.query_one("select coalesce(max(id), 0) from event", &[])?;
    let before: i32 = row.get(0);
    let insert = provider.prepare("insert into event values ($1, 'some data of an event')")?;
    let start = Instant::now();
    let mut id = before;
    while start.elapsed() < time {
        id += 1;
        provider.execute(&insert, &[&id])?;
        let due = start + Duration::from_secs(1) * u32::try_from(id - before)? / RATE;
        pause(due.saturating_duration_since(Instant::now()));
    }
    let arrived = subscriber.prepare("select from event where id = $1")?;
    testkit::wait_until("the last event", PATIENCE, || {
        Ok(subscriber.query_opt(&arrived, &[&id])?.is_some())
    })?;
    let committed = commits(&mut provider, before)?;
    let mut lags = Samples::default();
    for (id, at) in commits(&mut subscriber, before)? {
        let start = committed.get(&id).ok_or("a row that nobody has written")?;
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a few seconds")]
        lags.push((at - start) as f64 / 1000.0);
    }
    Ok(lags)
}

fn commits(db: &mut Client, before: i32) -> Result<HashMap<i32, i64>> {
    let rows = db.query(&format!("{COMMITS} and id > $1"), &[&before])?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
