//! `cargo xtask bench movers`: events into queues and tables of another server.

mod bulk;
mod memory;
mod queue;
mod rows;
mod site;

use self::site::Site;
use super::Common;
use super::report::Report;
use crate::process::Interrupt;
use crate::{Result, process};

/// Movers: events into queues and tables of another server
///
/// Peers are what one would write by hand: a pipe between two psql, a statement for each row, and a COPY of rows
/// that are decoded already.
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
    /// A queue into another one
    Queue,
    /// Many changes of fewer rows
    Bulk,
    /// Rows into partitions
    Rows,
    /// Memory while a large batch is applied
    Memory,
}

const WORKLOADS: [Workload; 4] = [
    Workload::Queue,
    Workload::Bulk,
    Workload::Rows,
    Workload::Memory,
];

/// The programs that are measured.
const PROGRAMS: [&str; 4] = [
    "queue_mover",
    "bulk_loader",
    "cube_dispatcher",
    "table_dispatcher",
];

/// What a workload works with.
struct Run<'a> {
    common: &'a Common,
    interrupt: &'a Interrupt,
    site: Site,
    report: Report,
}

pub(super) fn run(args: &Args, interrupt: &Interrupt) -> Result<Report> {
    // What is measured is what is in the sources.
    let packages = PROGRAMS.iter().flat_map(|program| ["--package", program]);
    process::succeed(
        process::cargo()
            .args(["build", "--release", "--quiet"])
            .args(packages),
        interrupt,
    )?;
    let site = Site::start()?;
    let report = Report::new("movers", site.version()?, args.common.rounds);
    let mut run = Run {
        common: &args.common,
        interrupt,
        site,
        report,
    };
    for workload in WORKLOADS {
        if args.only.is_empty() || args.only.contains(&workload) {
            eprintln!("{workload:?} ...");
            match workload {
                Workload::Queue => queue::measure(&mut run)?,
                Workload::Bulk => bulk::measure(&mut run)?,
                Workload::Rows => rows::measure(&mut run)?,
                Workload::Memory => memory::measure(&mut run)?,
            }
        }
    }
    Ok(run.report)
}
