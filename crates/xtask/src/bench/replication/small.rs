//! A backlog of small transactions.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::Run;
use super::replica::{Peer, Plan, Replica};
use crate::Result;
use crate::bench::measure::in_rounds;
use crate::bench::report::Goal;

const WORKLOAD: &str = "drain, small transactions";

/// The tables of `pgbench -i`, each with a key.
const SCHEMA: &str = "
    create table pgbench_branches (bid int primary key, bbalance int, filler char(88));
    create table pgbench_tellers (tid int primary key, bid int, tbalance int, filler char(84));
    create table pgbench_accounts (aid int primary key, bid int, abalance int, filler char(84))
        with (fillfactor = 90);
    create table pgbench_history (
        tid int, bid int, aid int, delta int, mtime timestamp, filler char(22),
        hid bigserial primary key);
    insert into pgbench_branches select i, 0 from generate_series(1, SCALE) i;
    insert into pgbench_tellers select i, (i - 1) / 10 + 1, 0 from generate_series(1, 10 * SCALE) i;
    insert into pgbench_accounts select i, (i - 1) / 100000 + 1, 0, '' from generate_series(1, 100000 * SCALE) i";

/// Time between two ticks, while the backlog grows.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    // Of one update and one insert each.
    let transactions = run.common.size(60_000_u32, 1_000);
    let scale = run.common.size("10", "1");
    let schema = SCHEMA.replace("SCALE", scale);
    let plan = Plan {
        name: "small",
        schema: &schema,
        tables: &["public.pgbench_accounts", "public.pgbench_history"],
        loop_delay: Duration::from_secs(1),
    };
    let mut replicas = Vec::new();
    for peer in &run.peers {
        let mut replica = Replica::create(run.sides, *peer, &plan)?;
        replica.start_first()?;
        replica.stop()?;
        replicas.push(replica);
    }
    let places: Vec<usize> = (0..replicas.len()).collect();
    let pgbench = run.sides.provider.program("pgbench").ok_or("no pgbench")?;
    let rates = in_rounds(run.common.rounds, &places, run.interrupt, |place| {
        let replica = &mut replicas[place];
        let taken = replica.drain(|replica| {
            let ticker = replica.ticker(PERIOD)?;
            let clients = 4;
            let status = Command::new(&pgbench)
                .args(["-N", "-n", "-M", "prepared", "-j", "2", "-c"])
                .arg(clients.to_string())
                .arg("-t")
                .arg((transactions / clients).to_string())
                .arg(run.sides.provider.conninfo(&replica.database))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            drop(ticker);
            match status.success() {
                true => Ok(()),
                false => Err(format!("pgbench: {status}").into()),
            }
        })?;
        replica.stop()?;
        Ok(f64::from(transactions * 2) / taken)
    })?;
    for (peer, rates) in run.peers.iter().zip(&rates) {
        run.report.add(WORKLOAD, peer.name(), "rows/s", rates);
    }
    for (peer, goal) in [(Peer::BuiltIn, 1.5), (Peer::Londiste3, 6.0)] {
        run.report.compare(
            WORKLOAD,
            Peer::Ours.name(),
            peer.name(),
            Some(Goal::AtLeast(goal)),
        );
    }
    Ok(())
}
