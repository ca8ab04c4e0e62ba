//! `repair`: what would make the subscriber's tables what the provider's are.

use std::path::PathBuf;
use std::process::ExitCode;

use skytools::daemon::Job;
use skytools::table::TableName;
use tracing::{error, info};

use super::Outcome;
use super::compare::Tables;
use super::setup::print_json;
use crate::args::Options;
use crate::grants::Work;
use crate::verify::Report;
use crate::verify::apply::Repairer;
use crate::verify::check::{Checked, Checker, Match};
use crate::verify::fix::FixFile;
use crate::verify::resume::{Resume, Totals};
use crate::{Config, Error};

/// Find rows that differ, and write statements that repair them
///
/// Statements for the subscriber go to fix.TABLE.sql in the working directory. The provider is never
/// changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    tables: Tables,
    /// Repair the rows right away instead of writing a file
    #[arg(long)]
    apply: bool,
    /// Look only at rows for which the SQL condition holds, on either side
    #[arg(long, value_name = "CONDITION")]
    repair_where: Option<String>,
    /// Exit with 3 if rows differed
    #[arg(long)]
    strict: bool,
    /// Directory for temporary files; default: the working directory
    #[arg(long, value_name = "DIR")]
    tmpdir: Option<PathBuf>,
}

impl Args {
    /// Whether rows are changed.
    pub(super) fn applies(&self) -> bool {
        self.apply
    }
}

pub(super) fn run(job: Job<Config>, options: Options, args: Args) -> Result<ExitCode, Error> {
    let job = job.with_pidfile_suffix(".repair");
    let outcome = job.run_command(|job, context| {
        let condition = args.repair_where.as_deref();
        let mut checker = args.tables.checker(job, context, &options, condition)?;
        let of = match condition {
            Some(condition) => format!("repair where {condition}"),
            None => "repair".to_owned(),
        };
        let mut resume = args.tables.resume(job, &of)?;
        let mut repairer = match args.apply {
            true => Some(Repairer::new(job, args.tables.terms(context, &options))?),
            false => None,
        };
        let work = match args.apply {
            true => Work::Repair,
            false => Work::Compare,
        };
        let (outcome, reports) = args.tables.each(
            job,
            work,
            &mut checker,
            &mut resume,
            |checker, table, resume| match &mut repairer {
                Some(repairer) => apply(checker, table, resume, repairer),
                None => write(checker, table, resume, &args),
            },
        )?;
        if options.json {
            print_json(&reports)?;
        }
        Ok::<_, Error>(outcome)
    })?;
    Ok(match outcome {
        Outcome::Differs if !args.strict => Outcome::Done,
        outcome => outcome,
    }
    .into())
}

/// Writes the statements to a file.
fn write(
    checker: &mut Checker,
    table: &TableName,
    resume: &mut Resume,
    args: &Args,
) -> Result<(Outcome, Report), Error> {
    let name = table.to_string();
    let place = (resume.state.current.as_ref()).filter(|place| place.table == name);
    let mut file = FixFile::begin(table, args.tmpdir.as_deref(), place, resume.is_kept())?;
    let checked = checker.table(table, resume, &mut file, "Comparing")?;
    let (outcome, mut report) = finish(checker, table, checked)?;
    report.file = file.finish()?;
    if let Some(file) = &report.file {
        info!("{table}: statements are in {file}");
    }
    Ok((outcome, report))
}

/// Repairs right away.
fn apply(
    checker: &mut Checker,
    table: &TableName,
    resume: &mut Resume,
    repairer: &mut Repairer,
) -> Result<(Outcome, Report), Error> {
    repairer.begin();
    let checked = checker.table(table, resume, repairer, "Repairing")?;
    let (outcome, mut report) = finish(checker, table, checked)?;
    if outcome == Outcome::Differs {
        let (repaired, passed) = repairer.counts();
        info!("{table}: {repaired} rows repaired");
        if passed > 0 {
            info!(
                "{table}: {passed} rows had changed meanwhile; if their keys did, another run finds what is left"
            );
        }
        report.repaired = Some(repaired);
    }
    Ok((outcome, report))
}

fn finish(
    checker: &mut Checker,
    table: &TableName,
    checked: Checked,
) -> Result<(Outcome, Report), Error> {
    let mut report = Report::nothing(&table.to_string());
    let (totals, Match(sums)) = match checked {
        Checked::Ranges(totals, sums) => (totals, sums),
        Checked::NoKey => {
            checker.part()?;
            error!(
                "{table}: pkeys do not match: no primary key, and no unique index of columns that are NOT NULL, \
                 is the same on both sides, so its rows cannot be told apart; \"resync\" copies it again"
            );
            return Ok((Outcome::Failed, report));
        }
    };
    let Totals {
        provider_rows,
        subscriber_rows,
        missing,
        extra,
        changed,
        ..
    } = totals;
    info!(
        "finished {table}: src: {provider_rows} rows, dst: {subscriber_rows} rows, missed: \
         {missing} inserts, {changed} updates, {extra} deletes"
    );
    let equal = sums && totals.differences() == 0;
    report.equal = Some(equal);
    report.missing = Some(missing);
    report.extra = Some(extra);
    report.changed = Some(changed);
    let outcome = match equal {
        true => Outcome::Done,
        false => Outcome::Differs,
    };
    Ok((outcome, report))
}
