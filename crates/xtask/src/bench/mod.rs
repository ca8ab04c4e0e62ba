//! `cargo xtask bench`: how fast it is, beside its peers, in one run on one machine.

mod capture;
mod measure;
mod movers;
mod queue;
mod replication;
mod report;
mod stand;
mod walmgr;

use std::process::ExitCode;

use crate::Result;
use crate::packages::{self, Need};
use crate::process::{self, Interrupt};

/// Measure speed against goals
///
/// Starts throwaway servers with the settings of production, runs every workload beside its peers in
/// random order, and prints medians, ratios and whether each goal is met. Peers that are not
/// installed are left out. Exits with 3 if a goal is missed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Capture(capture::Args),
    Movers(movers::Args),
    Queue(queue::Args),
    Replication(replication::Args),
    Walmgr(walmgr::Args),
}

/// What every benchmark can be told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// Measure everything so many times
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Measure small amounts, to see that it works
    #[arg(long)]
    quick: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

impl Common {
    /// `full`, or `quick` if that is asked for.
    pub(crate) fn size<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Exit code when a goal is missed.
const MISSED: u8 = 3;

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    if cfg!(debug_assertions) {
        return optimised(&interrupt);
    }
    packages::ensure(&[Need::Server], &interrupt)?;
    let (report, common) = match &args.what {
        What::Capture(args) => (capture::run(args, &interrupt)?, &args.common),
        What::Movers(args) => (movers::run(args, &interrupt)?, &args.common),
        What::Queue(args) => (queue::run(args, &interrupt)?, &args.common),
        What::Replication(args) => (replication::run(args, &interrupt)?, &args.common),
        What::Walmgr(args) => (walmgr::run(args, &interrupt)?, &args.common),
    };
    if common.json {
        println!("{}", report.json()?);
    } else {
        print!("{}", report.table());
    }
    Ok(if report.missed() {
        ExitCode::from(MISSED)
    } else {
        ExitCode::SUCCESS
    })
}

/// Runs the same in an optimised build: our own client is measured too.
fn optimised(interrupt: &Interrupt) -> Result<ExitCode> {
    let status = process::run(
        process::cargo()
            .args(["run", "--release", "--quiet", "--package", "xtask", "--"])
            .args(std::env::args_os().skip(1)),
        interrupt,
    )?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
