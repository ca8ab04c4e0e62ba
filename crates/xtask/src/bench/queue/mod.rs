//! `cargo xtask bench queue`: producing, consuming, ticking.

mod bulk;
mod consume;
mod held;
mod idle;
mod insert;
mod latency;

use super::Common;
use super::report::Report;
use super::stand::Stand;
use crate::Result;
use crate::process::Interrupt;

/// The queue: producing, consuming, ticking
///
/// Peers are a plain table, the PgQ extension of the server's packages, psql, and python3-pgq.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) common: Common,
    /// Run only these workloads
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<Workload>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Workload {
    /// One event a transaction, prepared
    Insert,
    /// Many events in one call
    Bulk,
    /// Reading batches
    Consume,
    /// From the commit to the consumer, woken up by the ticker
    Latency,
    /// The ticker with queues in which nothing happens
    Idle,
    /// A consumer while somebody holds an old snapshot
    Held,
}

const WORKLOADS: [Workload; 6] = [
    Workload::Insert,
    Workload::Bulk,
    Workload::Consume,
    Workload::Latency,
    Workload::Idle,
    Workload::Held,
];

/// What a workload works with.
struct Run<'a> {
    common: &'a Common,
    interrupt: &'a Interrupt,
    stand: Stand,
    report: Report,
}

pub(super) fn run(args: &Args, interrupt: &Interrupt) -> Result<Report> {
    let stand = Stand::start()?;
    let report = Report::new("queue", stand.version()?, args.common.rounds);
    let mut run = Run {
        common: &args.common,
        interrupt,
        stand,
        report,
    };
    for workload in WORKLOADS {
        if args.only.is_empty() || args.only.contains(&workload) {
            eprintln!("{workload:?} ...");
            match workload {
                Workload::Insert => insert::measure(&mut run)?,
                Workload::Bulk => bulk::measure(&mut run)?,
                Workload::Consume => consume::measure(&mut run)?,
                Workload::Latency => latency::measure(&mut run)?,
                Workload::Idle => idle::measure(&mut run)?,
                Workload::Held => held::measure(&mut run)?,
            }
        }
    }
    Ok(run.report)
}
