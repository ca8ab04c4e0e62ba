//! `cargo xtask bench capture`: what a captured change costs the writer.

mod side;
mod tables;
mod variants;

use self::side::Side;
use self::tables::{OPERATIONS, TABLES, Table};
use self::variants::{FORMATS, Format, How, Variant, variants};
use super::Common;
use super::measure::{Samples, shuffle};
use super::report::{Goal, Report};
use super::stand::Stand;
use crate::Result;
use crate::process::Interrupt;

/// Capturing changes: what a row costs the writer
///
/// Peers are the C triggers of the server's packages, each held against the captures of its format, no
/// trigger at all, and a generic trigger without generated code. The cost is the processor time of the
/// server's process.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) common: Common,
    /// Capture in these formats only
    #[arg(long, value_name = "FORMAT", value_delimiter = ',')]
    format: Vec<Format>,
    /// Write to these tables only
    #[arg(long, value_name = "TABLE", value_delimiter = ',', value_parser = ["acc", "wide"])]
    table: Vec<String>,
    /// Write in these ways only
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<Mode>,
    /// Measure only these ways to capture, as the report names them, beside the C trigger
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    variant: Vec<String>,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Many rows by one statement
    Bulk,
    /// By a prepared statement each, in a transaction each, in a session that has done so before
    Single,
    /// One row by the first statement of a session
    First,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Bulk => "bulk",
            Mode::Single => "single",
            Mode::First => "first",
        }
    }

    /// What the rows are put through.
    fn operations(self) -> &'static [&'static str] {
        match self {
            Mode::Bulk | Mode::Single => &OPERATIONS,
            Mode::First => &OPERATIONS[1..2],
        }
    }
}

const MODES: [Mode; 3] = [Mode::Bulk, Mode::Single, Mode::First];

/// A table, a format and a way to write: what is measured side by side.
#[derive(Debug, Clone, Copy)]
struct Workload {
    table: &'static Table,
    format: Format,
    mode: Mode,
}

pub(super) fn run(args: &Args, interrupt: &Interrupt) -> Result<Report> {
    // Nothing but the writers themselves is to touch their tables.
    let stand = Stand::with(&[("autovacuum", "off")])?;
    let mut report = Report::new("capture", stand.version()?, args.common.rounds);
    stand.ours("ours")?;
    let has_c = stand.extension("c")?.is_some();
    if !has_c {
        report.note("The PgQ extension is not installed.");
    }
    for table in TABLES {
        for format in FORMATS {
            let list = args.variants(table, format, has_c);
            for mode in MODES {
                let workload = Workload {
                    table,
                    format,
                    mode,
                };
                if args.wants(workload) {
                    eprintln!("{} {} {} ...", table.name, format.name(), mode.name());
                    measure(
                        &stand,
                        workload,
                        &list,
                        &args.common,
                        interrupt,
                        &mut report,
                    )?;
                }
            }
        }
    }
    Ok(report)
}

impl Args {
    fn wants(&self, workload: Workload) -> bool {
        let Workload {
            table,
            format,
            mode,
        } = workload;
        (self.format.is_empty() || self.format.contains(&format))
            && (self.table.is_empty() || self.table.iter().any(|name| name == table.name))
            && (self.only.is_empty() || self.only.contains(&mode))
    }

    fn variants(&self, table: &Table, format: Format, has_c: bool) -> Vec<Variant> {
        let mut list = variants(table, format);
        list.retain(|variant| {
            let is_wanted = self.variant.is_empty()
                || variant.how == How::C
                || self.variant.iter().any(|name| name == variant.name);
            is_wanted && (has_c || variant.how != How::C)
        });
        list
    }
}

/// Measures the variants of a workload side by side.
fn measure(
    stand: &Stand,
    workload: Workload,
    list: &[Variant],
    common: &Common,
    interrupt: &Interrupt,
    report: &mut Report,
) -> Result {
    let databases: Vec<String> = list
        .iter()
        .map(|variant| variant.name.replace([' ', ','], "_"))
        .collect();
    let mut sides = Vec::new();
    for (variant, database) in list.iter().zip(&databases) {
        let template = if variant.how == How::C { "c" } else { "ours" };
        stand.copy(database, template)?;
        sides.push(Side::prepare(
            stand,
            common,
            workload,
            variant.how,
            database,
        )?);
    }
    // Pages that were written before are not written whole in the middle of the measurement.
    stand.connect("postgres")?.batch_execute("checkpoint")?;

    let operations = workload.mode.operations();
    let mut samples = vec![vec![Samples::default(); operations.len()]; list.len()];
    let mut order: Vec<usize> = (0..list.len()).collect();
    let blocks = match workload.mode {
        Mode::Bulk => 1,
        Mode::Single => common.size(5, 1),
        Mode::First => common.size(10, 1),
    };
    for _ in 0..common.rounds * blocks {
        shuffle(&mut order);
        for &place in &order {
            interrupt.check()?;
            let costs = sides[place].block()?;
            for (samples, cost) in samples[place].iter_mut().zip(costs) {
                samples.push(cost);
            }
        }
    }
    drop(sides);

    for (number, operation) in operations.iter().enumerate() {
        let name = format!(
            "{} {} {operation}, {}",
            workload.table.name,
            workload.mode.name(),
            workload.format.name(),
        );
        let of = |peer: &str| {
            let place = list.iter().position(|variant| variant.name == peer)?;
            Some(&samples[place][number])
        };
        for (place, variant) in list.iter().enumerate() {
            let ours = &samples[place][number];
            report.add(&name, variant.name, "us", ours);
            let goal = variant.goal(workload.mode).map(Goal::AtMost);
            let mut compare = |peer, goal| {
                if let Some(theirs) = of(peer) {
                    report.compare_pairs(&name, variant.name, peer, &ours.ratios(theirs), goal);
                }
            };
            match variant.how {
                How::C => {}
                How::Ours(..) if of("C").is_none() => {
                    compare("no trigger", None);
                    compare("naive", None);
                }
                _ => compare("C", goal),
            }
        }
    }
    Ok(())
}
