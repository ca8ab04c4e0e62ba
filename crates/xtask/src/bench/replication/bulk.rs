//! Transactions that change many rows.

use std::time::Duration;

use super::Run;
use super::replica::{Peer, Plan, Replica};
use crate::Result;
use crate::bench::measure::{Samples, in_rounds, seconds};
use crate::bench::report::Goal;

const SCHEMA: &str = "
    create table acc (aid int primary key, bid int, abalance int, filler char(84))";

/// The same statement, run on the subscriber's server by itself: what changing the rows takes there.
const ALONE: &str = "statement alone";

/// Workloads with the goals beside the server's own replication and beside Londiste 3.
const WORKLOADS: [(&str, f64, f64); 3] = [
    ("drain, one insert of 300k rows", 2.0, 14.0),
    ("drain, one update of 300k rows", 2.0, 9.0),
    ("drain, one delete of 150k rows", 2.0, 9.0),
];

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let rows = run.common.size(300_000_i32, 10_000);
    let plan = Plan {
        name: "bulk",
        schema: SCHEMA,
        tables: &["public.acc"],
        loop_delay: Duration::from_secs(1),
    };
    let mut replicas = Vec::new();
    for peer in &run.peers {
        let mut replica = Replica::create(run.sides, *peer, &plan)?;
        replica.start_first()?;
        replica.stop()?;
        replicas.push(replica);
    }
    let statements = [
        (
            format!(
                "insert into acc select i, 1 + i % 10, 0, '' from generate_series(1, {rows}) i"
            ),
            rows,
        ),
        ("update acc set abalance = abalance + 1".to_owned(), rows),
        ("delete from acc where aid % 2 = 0".to_owned(), rows / 2),
    ];
    let mut alone = run.sides.subscriber.empty("bulk_alone")?;
    alone.batch_execute(SCHEMA)?;
    let mut rates: [Vec<Samples>; 3] =
        std::array::from_fn(|_| vec![Samples::default(); replicas.len() + 1]);
    let places: Vec<usize> = (0..=replicas.len()).collect();
    in_rounds(run.common.rounds, &places, run.interrupt, |place| {
        let Some(replica) = replicas.get_mut(place) else {
            alone.batch_execute("truncate acc")?;
            alone.batch_execute("checkpoint")?;
            for ((statement, rows), rates) in statements.iter().zip(&mut rates) {
                let taken = seconds(|| Ok(alone.batch_execute(statement)?))?;
                rates[place].push(f64::from(*rows) / taken);
            }
            return Ok(0.0);
        };
        for mut side in [replica.provider()?, replica.subscriber()?] {
            // Neither captured nor denied.
            side.batch_execute("set session_replication_role = replica; truncate acc")?;
            side.batch_execute("checkpoint")?;
        }
        for ((statement, rows), rates) in statements.iter().zip(&mut rates) {
            let taken =
                replica.drain(|replica| Ok(replica.provider()?.batch_execute(statement)?))?;
            replica.stop()?;
            rates[place].push(f64::from(*rows) / taken);
        }
        Ok(0.0)
    })?;
    for ((workload, built_in, londiste3), rates) in WORKLOADS.iter().zip(&rates) {
        let names = run.peers.iter().map(|peer| peer.name()).chain([ALONE]);
        for (name, rates) in names.zip(rates) {
            run.report.add(workload, name, "rows/s", rates);
        }
        let ours = Peer::Ours.name();
        run.report.compare(workload, ours, ALONE, None);
        for (peer, goal) in [(Peer::BuiltIn, *built_in), (Peer::Londiste3, *londiste3)] {
            run.report
                .compare(workload, ours, peer.name(), Some(Goal::AtLeast(goal)));
        }
    }
    drop(alone);
    Ok(run
        .sides
        .subscriber
        .connect("postgres")?
        .batch_execute("drop database bulk_alone")?)
}
