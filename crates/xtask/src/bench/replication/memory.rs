//! The memory of replay while it applies a large batch.

use std::time::Duration;

use super::Run;
use super::replica::{Peer, Plan, Replica};
use crate::Result;
use crate::bench::measure::Samples;
use crate::bench::report::Goal;

const WORKLOAD: &str = "memory, batch of 2M events";

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let rows = run.common.size(1_000_000, 20_000);
    let plan = Plan {
        name: "memory",
        schema: "create table acc (aid int primary key, bid int, abalance int, filler char(84))",
        tables: &["public.acc"],
        loop_delay: Duration::from_secs(1),
    };
    let mut replica = Replica::create(run.sides, Peer::Ours, &plan)?;
    replica.start_first()?;
    replica.stop()?;
    run.interrupt.check()?;
    let mut peak = Samples::default();
    replica.drain(|replica| {
        Ok(replica.provider()?.batch_execute(&format!(
            "insert into acc select i, 1 + i % 10, 0, '' from generate_series(1, {rows}) i;
             update acc set abalance = abalance + 1 where aid <= {rows}"
        ))?)
    })?;
    let replay = replica.replay().ok_or("replay was started")?;
    peak.push(f64::from(replay.peak_memory_kb()?) / 1024.0);
    replica.stop()?;
    run.report.add(WORKLOAD, Peer::Ours.name(), "MB", &peak);
    run.report
        .limit(WORKLOAD, Peer::Ours.name(), Goal::AtMost(200.0));
    Ok(())
}
