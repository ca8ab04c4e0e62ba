//! `compare`: do tables hold the same rows on both sides?

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use skytools::daemon::{Context, Job};
use skytools::table::TableName;
use tracing::{info, warn};

use super::Outcome;
use super::setup::{literal, part_failed, print_json};
use crate::args::Options;
use crate::grants::{self, Work};
use crate::registry::SubscriberTable;
use crate::schema::{self, Side};
use crate::verify::check::{Checked, Checker, Count, Fit, Manner};
use crate::verify::fence::Terms;
use crate::verify::{Report, resume::Resume};
use crate::{Config, Error, registry};

/// Compare tables on both sides
///
/// Both sides are read in the same state, that of a tick, and nobody waits for it. The exit code is 3
/// if a table differs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) tables: Tables,
    /// Compare the number of rows only
    #[arg(long)]
    count_only: bool,
}

/// Which tables are read, and how; `repair` has the same options.
#[derive(Debug, clap::Args)]
pub(crate) struct Tables {
    /// Subscribed tables: `name` or `schema.name`; default: all
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Block the writers of a table, one at a time, until the subscriber has come up to them
    #[arg(long)]
    pub(super) lock: bool,
    /// Keep in FILE how far it is, and go on from there if FILE exists
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Rows compared at once
    #[arg(long, value_name = "ROWS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    chunk: u32,
    /// Seconds after which snapshots are let go and new ones taken, so that VACUUM can do its work
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    max_age: u64,
}

impl Tables {
    pub(super) fn terms(&self, context: &Context, options: &Options) -> Terms {
        Terms {
            lock: self.lock,
            force: options.force,
            stop: context.stop.clone(),
        }
    }

    pub(super) fn checker(
        &self,
        job: &Job<Config>,
        context: &Context,
        options: &Options,
        condition: Option<&str>,
    ) -> Result<Checker, Error> {
        let manner = Manner {
            terms: self.terms(context, options),
            chunk: self.chunk,
            max_age: Duration::from_secs(self.max_age),
            json: options.json,
            condition: condition.map(str::to_owned),
        };
        Checker::new(job, manner)
    }

    /// Where an earlier run ended.
    pub(super) fn resume(&self, job: &Job<Config>, command: &str) -> Result<Resume, Error> {
        let of = format!(
            "{command} of job {} on queue {}",
            job.common.job_name, job.config.pgq_queue_name
        );
        Resume::open(self.resume.as_deref(), of)
    }

    /// Goes through the tables with `one`, past those that an earlier run has finished.
    pub(super) fn each(
        &self,
        job: &Job<Config>,
        work: Work,
        checker: &mut Checker,
        resume: &mut Resume,
        one: impl FnMut(&mut Checker, &TableName, &mut Resume) -> Result<(Outcome, Report), Error>,
    ) -> Result<(Outcome, Vec<Report>), Error> {
        let done = self.try_each(job, work, checker, resume, one);
        done.map_err(|error| grants::explain(error, job, work, &[]))
    }

    fn try_each(
        &self,
        job: &Job<Config>,
        work: Work,
        checker: &mut Checker,
        resume: &mut Resume,
        mut one: impl FnMut(&mut Checker, &TableName, &mut Resume) -> Result<(Outcome, Report), Error>,
    ) -> Result<(Outcome, Vec<Report>), Error> {
        let queue = &job.config.pgq_queue_name;
        schema::require(checker.subscriber()?, Side::Subscriber)?;
        schema::require(checker.provider()?, Side::Provider)?;
        let subscribed = registry::subscriber_tables(checker.subscriber()?, queue)?;
        let names = if self.tables.is_empty() {
            subscribed.iter().map(|table| table.name.clone()).collect()
        } else {
            literal(&self.tables)?
        };
        // Names that cannot be compared anyway are not a matter of lag.
        let comparable = |name: &String| {
            let known = subscribed.iter().find(|table| table.name == *name);
            known.is_some_and(SubscriberTable::is_ok)
        };
        if self.tables.is_empty() || names.iter().any(comparable) {
            checker.fence().check_lag()?;
        }
        let mut outcome = Outcome::Done;
        for report in &resume.state.finished {
            info!("{} was finished by an earlier run", report.table);
            if report.equal == Some(false) {
                outcome = Outcome::Differs;
            }
        }
        let mut failed = Vec::new();
        for name in names {
            if resume.state.finished.iter().any(|done| done.table == name) {
                continue;
            }
            let done = match checker.fits(&name, &subscribed)? {
                Fit::No => Ok((Outcome::Failed, Report::nothing(&name))),
                Fit::Yes => one(checker, &TableName::parse(&name), resume),
            };
            let (one, report) = match done {
                Ok(done) => done,
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(failure) => {
                    checker.reset();
                    let tables = std::slice::from_ref(&name);
                    let failure = grants::explain(failure, job, work, tables);
                    (part_failed(&name, failure)?, Report::nothing(&name))
                }
            };
            outcome = outcome.max(one);
            if one == Outcome::Failed {
                failed.push(report);
            } else {
                resume.state.current = None;
                resume.state.finished.push(report);
                resume.save()?;
            }
        }
        if failed.is_empty() {
            resume.remove();
        }
        let mut reports = resume.state.finished.clone();
        reports.extend(failed);
        Ok((outcome, reports))
    }
}

pub(super) fn run(job: Job<Config>, options: Options, args: Args) -> Result<ExitCode, Error> {
    let job = job.with_pidfile_suffix(".repair");
    let outcome = job.run_command(|job, context| {
        let mut checker = args.tables.checker(job, context, &options, None)?;
        let mut resume = args.tables.resume(job, "compare")?;
        let sql = job.config.compare_sql.as_deref();
        let tables = &args.tables;
        let (outcome, reports) = tables.each(
            job,
            Work::Compare,
            &mut checker,
            &mut resume,
            |checker, table, resume| match sql.filter(|_| !args.count_only) {
                Some(sql) => {
                    checker.meet(table)?;
                    let sql = sql.replace("_TABLE_", &table.quoted());
                    by_query(checker, table, &sql, &sql)
                }
                None if args.count_only => whole(checker, table, true),
                None => by_ranges(checker, table, resume),
            },
        )?;
        if options.json {
            print_json(&reports)?;
        }
        Ok::<_, Error>(outcome)
    })?;
    Ok(outcome.into())
}

/// Compares range by range.
fn by_ranges(
    checker: &mut Checker,
    table: &TableName,
    resume: &mut Resume,
) -> Result<(Outcome, Report), Error> {
    let (totals, sums) = match checker.table(table, resume, &mut Count, "Counting")? {
        Checked::NoKey => return whole_of_met(checker, table, false),
        Checked::Ranges(totals, sums) => (totals, sums),
    };
    let mut report = Report::nothing(&table.to_string());
    let here = format!("{}, {}", totals.provider_rows, totals.provider_hash);
    let there = format!("{}, {}", totals.subscriber_rows, totals.subscriber_hash);
    let equal = sums.0 && totals.differences() == 0;
    show(table, &here, &there, equal);
    if !equal {
        info!(
            "{table}: {} rows missing, {} too many, {} different",
            totals.missing, totals.extra, totals.changed
        );
        report.missing = Some(totals.missing);
        report.extra = Some(totals.extra);
        report.changed = Some(totals.changed);
    }
    report.equal = Some(equal);
    report.provider = Some(here);
    report.subscriber = Some(there);
    Ok((outcome(equal), report))
}

/// Compares the whole table at once.
fn whole(
    checker: &mut Checker,
    table: &TableName,
    count_only: bool,
) -> Result<(Outcome, Report), Error> {
    checker.meet(table)?;
    whole_of_met(checker, table, count_only)
}

fn whole_of_met(
    checker: &mut Checker,
    table: &TableName,
    count_only: bool,
) -> Result<(Outcome, Report), Error> {
    let layout = checker.layout(table)?;
    if !count_only {
        layout.warn();
    }
    let here = layout.whole_sql(Side::Provider, count_only);
    let there = layout.whole_sql(Side::Subscriber, count_only);
    by_query(checker, table, &here, &there)
}

/// Compares the results of a query; both sides have met.
fn by_query(
    checker: &mut Checker,
    table: &TableName,
    here: &str,
    there: &str,
) -> Result<(Outcome, Report), Error> {
    info!("Counting {table}");
    let (here, there) = checker.both(here, there)?;
    checker.part()?;
    let equal = here == there;
    show(table, &here, &there, equal);
    let mut report = Report::nothing(&table.to_string());
    report.equal = Some(equal);
    report.provider = Some(here);
    report.subscriber = Some(there);
    Ok((outcome(equal), report))
}

fn show(table: &TableName, here: &str, there: &str, equal: bool) {
    info!("srcdb: res = {here}");
    info!("dstdb: res = {there}");
    if !equal {
        warn!("{table}: Results do not match!");
    }
}

fn outcome(equal: bool) -> Outcome {
    match equal {
        true => Outcome::Done,
        false => Outcome::Differs,
    }
}
