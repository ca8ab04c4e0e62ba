//! `cargo xtask bench replication`: copying tables, and keeping up with their changes.

mod bulk;
mod copy;
mod daemon;
mod lag;
mod londiste3;
mod memory;
mod replica;
mod small;

use self::replica::{Peer, Sides};
use super::Common;
use super::report::Report;
use crate::process::Interrupt;
use crate::{Result, packages, process};

/// Replication: copying tables, and keeping up with their changes
///
/// Peers are the server's own logical replication, Londiste 3 where it is installed, and for the
/// copy a pipe between two psql.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) common: Common,
    /// Run only these workloads
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<Workload>,
    /// Measure ours only
    #[arg(long)]
    alone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Workload {
    /// A backlog of small transactions
    Small,
    /// Transactions that insert, update and delete many rows
    Bulk,
    /// Memory while a large batch is applied
    Memory,
    /// From the commit on one side to that on the other
    Lag,
    /// Tables from being added to being followed
    Copy,
}

const WORKLOADS: [Workload; 5] = [
    Workload::Small,
    Workload::Bulk,
    Workload::Memory,
    Workload::Lag,
    Workload::Copy,
];

/// What a workload works with.
struct Run<'a> {
    common: &'a Common,
    interrupt: &'a Interrupt,
    sides: &'a Sides,
    peers: Vec<Peer>,
    report: Report,
}

pub(super) fn run(args: &Args, interrupt: &Interrupt) -> Result<Report> {
    packages::ensure(&[packages::Need::Pgbench], interrupt)?;
    // What is measured is what is in the sources.
    process::succeed(
        process::cargo().args([
            "build",
            "--release",
            "--quiet",
            "--package",
            "londiste",
            "--package",
            "pgqadm",
        ]),
        interrupt,
    )?;
    let sides = Sides::start()?;
    let mut report = Report::new("replication", sides.version()?, args.common.rounds);
    let mut peers = vec![Peer::Ours];
    if !args.alone {
        peers.push(Peer::BuiltIn);
        match londiste3::is_installed(&sides)? {
            true => peers.push(Peer::Londiste3),
            false => report.note("Londiste 3 is not installed."),
        }
    }
    let mut run = Run {
        common: &args.common,
        interrupt,
        sides: &sides,
        peers,
        report,
    };
    for workload in WORKLOADS {
        if args.only.is_empty() || args.only.contains(&workload) {
            eprintln!("{workload:?} ...");
            let measured = match workload {
                Workload::Small => small::measure(&mut run),
                Workload::Bulk => bulk::measure(&mut run),
                Workload::Memory => memory::measure(&mut run),
                Workload::Lag => lag::measure(&mut run),
                Workload::Copy => copy::measure(&mut run),
            };
            // A peer that hangs must not take the results of the others along.
            if let Err(error) = measured {
                interrupt.check()?;
                let error = skytools::app::chain(&*error);
                run.report
                    .fail(format!("{workload:?} cannot be measured: {error}"));
            }
        }
    }
    Ok(run.report)
}
