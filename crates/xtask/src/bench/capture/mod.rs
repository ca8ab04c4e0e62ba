//! `cargo xtask bench capture`: what a captured change costs the writer.

mod tables;

use postgres::Client;

use self::tables::{OPERATIONS, TABLES, Table};
use super::Common;
use super::measure::{Backend, Samples, in_rounds};
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Sql,
    Urlenc,
    Json,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Sql => "sql",
            Format::Urlenc => "urlenc",
            Format::Json => "json",
        }
    }

    /// The generic trigger function, which the C extension has too.
    fn function(self) -> &'static str {
        match self {
            Format::Sql => "sqltriga",
            Format::Urlenc => "logutriga",
            Format::Json => "jsontriga",
        }
    }
}

const FORMATS: [Format; 3] = [Format::Sql, Format::Urlenc, Format::Json];

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// By one statement.
    Bulk,
    /// By a prepared statement each, in a transaction each.
    Single,
}

/// A way to capture.
#[derive(Debug, Clone, Copy)]
struct Variant {
    name: &'static str,
    how: How,
    /// Most that a row may cost, in parts of the C trigger's cost, for bulk and single rows.
    goals: [Option<f64>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Nothing,
    C,
    /// The generic trigger, without code generated for it.
    Naive,
    /// A capture of ours: its level, and arguments beside the queue.
    Ours(&'static str, &'static str),
}

/// The ways for a table and a format.
fn variants(table: &Table, format: Format) -> Vec<Variant> {
    let variant = |name, how, bulk, single| Variant {
        name,
        how,
        goals: [bulk, single],
    };
    let row = if format == Format::Urlenc { 1.3 } else { 1.0 };
    let statement = (format != Format::Urlenc).then_some(table.statement_goal);
    let mut list = vec![
        variant("no trigger", How::Nothing, None, None),
        variant("C", How::C, None, None),
        variant("naive", How::Naive, None, None),
        variant("row", How::Ours("row", ""), Some(row), Some(row)),
        variant("statement", How::Ours("statement", ""), statement, None),
        variant("generic", How::Ours("generic", ""), Some(1.8), Some(1.8)),
    ];
    match format {
        Format::Sql => list.push(variant(
            "row for londiste",
            How::Ours(
                "row",
                ", 'key_updates=log', 'changes=text', 'settings=pinned'",
            ),
            Some(1.15),
            Some(1.15),
        )),
        Format::Urlenc => list.push(variant(
            "row, minimal",
            How::Ours("row", ", 'encoding=minimal'"),
            Some(1.0),
            Some(1.0),
        )),
        Format::Json => {}
    }
    list
}

/// The databases, and how much is written to them.
struct Bench<'a> {
    stand: Stand,
    has_c: bool,
    common: &'a Common,
}

pub(super) fn run(args: &Args, interrupt: &Interrupt) -> Result<Report> {
    let stand = Stand::start()?;
    let mut report = Report::new("capture", stand.version()?, args.common.rounds);
    stand.ours("ours")?;
    let has_c = stand.extension("c")?.is_some();
    if !has_c {
        report.note("The PgQ extension is not installed.");
    }
    let bench = Bench {
        stand,
        has_c,
        common: &args.common,
    };
    for table in TABLES {
        for format in FORMATS {
            if args.format.is_empty() || args.format.contains(&format) {
                eprintln!("{} {} ...", table.name, format.name());
                bench.measure(table, format, &mut report, interrupt)?;
            }
        }
    }
    Ok(report)
}

impl Bench<'_> {
    fn measure(
        &self,
        table: &Table,
        format: Format,
        report: &mut Report,
        interrupt: &Interrupt,
    ) -> Result {
        let mut list = variants(table, format);
        list.retain(|variant| self.has_c || variant.how != How::C);
        for mode in [Mode::Bulk, Mode::Single] {
            let mut samples: Vec<[Samples; OPERATIONS.len()]> =
                vec![Default::default(); list.len()];
            let places: Vec<usize> = (0..list.len()).collect();
            in_rounds(self.common.rounds, &places, interrupt, |place| {
                let costs = self.write(table, format, list[place].how, mode)?;
                for (samples, cost) in samples[place].iter_mut().zip(costs) {
                    samples.push(cost);
                }
                Ok(costs.iter().sum())
            })?;
            for (number, operation) in OPERATIONS.iter().enumerate() {
                let workload = format!(
                    "{} {} {operation}, {}",
                    table.name,
                    if mode == Mode::Bulk { "bulk" } else { "single" },
                    format.name(),
                );
                for (place, variant) in list.iter().enumerate() {
                    report.add(&workload, variant.name, "us", &samples[place][number]);
                    let goal = variant.goals[usize::from(mode == Mode::Single)].map(Goal::AtMost);
                    if variant.how != How::C {
                        report.compare(&workload, variant.name, "C", goal);
                    }
                    if !self.has_c && matches!(variant.how, How::Ours(..)) {
                        report.compare(&workload, variant.name, "no trigger", None);
                        report.compare(&workload, variant.name, "naive", None);
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes to a fresh table. Returns what a row cost the server's process per operation, in
    /// microseconds.
    fn write(
        &self,
        table: &Table,
        format: Format,
        how: How,
        mode: Mode,
    ) -> Result<[f64; OPERATIONS.len()]> {
        let database = if how == How::C { "c" } else { "ours" };
        let mut db = self.stand.connect(database)?;
        db.batch_execute(&format!(
            "drop table if exists {name}; {create};
             select pgq.drop_queue('q', true) from pgq.queue where queue_name = 'q';
             select pgq.create_queue('q')",
            name = table.name,
            create = table.create,
        ))?;
        match how {
            How::Nothing => {}
            How::C | How::Naive => db.batch_execute(&format!(
                "create trigger capture after insert or update or delete on {}
                     for each row execute function pgq.{}('q')",
                table.name,
                format.function()
            ))?,
            How::Ours(level, arguments) => db.batch_execute(&format!(
                "select pgq.create_capture('{}', 'capture', '{}', '{level}', array['q'{arguments}])",
                table.name,
                format.name()
            ))?,
        }

        // Plans are made for few rows, as they would be.
        let mut db = self.stand.connect(database)?;
        for statement in table.bulk(3) {
            db.batch_execute(&statement)?;
        }
        let backend = Backend::of(&mut db)?;
        let mut costs = [0.0; OPERATIONS.len()];
        // The naive trigger is slow enough to be seen in few rows.
        let few = how == How::Naive;
        match mode {
            Mode::Bulk => {
                let rows = self.common.size(50_000, 1_000) / if few { 20 } else { 1 };
                for (cost, statement) in costs.iter_mut().zip(table.bulk(rows)) {
                    *cost = per_row(backend, rows, || Ok(db.batch_execute(&statement)?))?;
                }
            }
            Mode::Single => {
                let rows = self.common.size(3_000, 100) / if few { 10 } else { 1 };
                for (cost, statement) in costs.iter_mut().zip(table.single) {
                    let statement = db.prepare(statement)?;
                    *cost = per_row(backend, rows, || each(&mut db, &statement, rows))?;
                }
            }
        }
        Ok(costs)
    }
}

fn each(db: &mut Client, statement: &postgres::Statement, rows: i32) -> Result {
    for key in 1..=rows {
        db.execute(statement, &[&key])?;
    }
    Ok(())
}

/// Processor time of a row, in microseconds.
fn per_row(backend: Backend, rows: i32, write: impl FnOnce() -> Result) -> Result<f64> {
    let before = backend.cpu()?;
    write()?;
    Ok((backend.cpu()? - before) / f64::from(rows) * 1e6)
}
