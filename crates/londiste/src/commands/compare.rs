//! `compare`: do tables hold the same rows on both sides?

mod checksum;
mod fence;

use std::process::ExitCode;

use postgres::SimpleQueryMessage;
use serde::Serialize;
use skytools::daemon::{Context, Job};
use skytools::db::{Connection, Database, During, Isolation, Session, Tx};
use skytools::table::{self, TableName};
use tracing::{info, warn};

use super::Outcome;
use super::setup::{literal, part_failed, print_json, set_local};
use crate::args::Options;
use crate::registry::SubscriberTable;
use crate::schema::{self, Side};
use crate::{Config, Error, registry};
use fence::{Fence, Limits};

/// Compare tables on both sides
///
/// Blocks writers of one table at a time until the subscriber has applied everything before, then
/// compares count and checksum of the rows in snapshots of both sides. The exit code is 3 if a
/// table differs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Subscribed tables: `name` or `schema.name`; default: all
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Compare the number of rows only
    #[arg(long)]
    count_only: bool,
}

/// What was found out about a table.
#[derive(Debug, Serialize)]
struct Report {
    table: String,
    /// Null if it could not be compared.
    equal: Option<bool>,
    provider: Option<String>,
    subscriber: Option<String>,
}

pub(super) fn run(job: Job<Config>, options: Options, args: Args) -> Result<ExitCode, Error> {
    let job = job.with_pidfile_suffix(".repair");
    let outcome = job.run_command(|job, context| {
        let mut comparison = Comparison::open(job, context, &options, &args)?;
        let (outcome, reports) = comparison.all()?;
        if options.json {
            print_json(&reports)?;
        }
        Ok::<_, Error>(outcome)
    })?;
    Ok(outcome.into())
}

/// The connections of a comparison, and what was asked for.
struct Comparison<'a> {
    job: &'a Job<Config>,
    context: &'a Context,
    options: &'a Options,
    args: &'a Args,
    fence: Fence,
    provider: Database,
    subscriber: Database,
}

impl<'a> Comparison<'a> {
    fn open(
        job: &'a Job<Config>,
        context: &'a Context,
        options: &'a Options,
        args: &'a Args,
    ) -> Result<Comparison<'a>, Error> {
        let (config, common) = (&job.config, &job.common);
        Ok(Comparison {
            job,
            context,
            options,
            args,
            fence: Fence::new(config, common)?,
            provider: config.provider(common)?,
            subscriber: config.subscriber(common)?,
        })
    }

    /// Compares every table asked for.
    fn all(&mut self) -> Result<(Outcome, Vec<Report>), Error> {
        let queue = &self.job.config.pgq_queue_name;
        schema::require(self.subscriber.connection()?, Side::Subscriber)?;
        schema::require(self.provider.connection()?, Side::Provider)?;
        let subscribed = registry::subscriber_tables(self.subscriber.connection()?, queue)?;
        let names = if self.args.tables.is_empty() {
            subscribed.iter().map(|table| table.name.clone()).collect()
        } else {
            literal(&self.args.tables)?
        };
        // Names that cannot be compared anyway are not a matter of lag.
        let comparable = |name: &String| {
            let known = subscribed.iter().find(|table| table.name == *name);
            known.is_some_and(SubscriberTable::is_ok)
        };
        if self.args.tables.is_empty() || names.iter().any(comparable) {
            self.fence.check_lag(self.options.force)?;
        }
        let mut outcome = Outcome::Done;
        let mut reports = Vec::new();
        for name in names {
            let (one, report) = match self.one(&name, &subscribed) {
                Ok(done) => done,
                Err(failure) => (part_failed(&name, failure)?, Report::nothing(&name)),
            };
            outcome = outcome.max(one);
            reports.push(report);
        }
        Ok((outcome, reports))
    }

    fn one(
        &mut self,
        name: &str,
        subscribed: &[SubscriberTable],
    ) -> Result<(Outcome, Report), Error> {
        let skipped = Ok((Outcome::Failed, Report::nothing(name)));
        match subscribed.iter().find(|table| table.name == name) {
            None => {
                warn!("Table not subscribed: {name}");
                return skipped;
            }
            Some(table) if !table.is_ok() => {
                info!("Table {name} not synced yet, no point");
                return skipped;
            }
            Some(_) => {}
        }
        let table = TableName::parse(name);
        for (side, database) in [
            ("provider", &mut self.provider),
            ("subscriber", &mut self.subscriber),
        ] {
            if !table::exists_table(&mut **database.connection()?, &table)? {
                warn!("Table {name} does not exist on {side} side");
                return skipped;
            }
        }

        let limits = Limits {
            stop: &self.context.stop,
            force: self.options.force,
        };
        let subscriber = self.subscriber.connection()?;
        let held = self.fence.hold(&table, subscriber, &limits)?;
        let mut provider = snapshot(self.provider.connection()?)?;
        let mut subscriber = snapshot(subscriber)?;
        held.release()?;

        info!("Counting {name}");
        let (here, there) = match &self.job.config.compare_sql {
            Some(sql) if !self.args.count_only => {
                let sql = sql.replace("_TABLE_", &table.quoted());
                (sql.clone(), sql)
            }
            _ => checksum::queries(&mut provider, &mut subscriber, &table, self.args.count_only)?,
        };
        let here = first_row(&mut provider, &here, "provider")?;
        info!("srcdb: res = {here}");
        let there = first_row(&mut subscriber, &there, "subscriber")?;
        info!("dstdb: res = {there}");
        provider.rollback()?;
        subscriber.rollback()?;

        let equal = here == there;
        if !equal {
            warn!("{name}: Results do not match!");
        }
        let report = Report {
            table: name.to_owned(),
            equal: Some(equal),
            provider: Some(here),
            subscriber: Some(there),
        };
        let outcome = if equal {
            Outcome::Done
        } else {
            Outcome::Differs
        };
        Ok((outcome, report))
    }
}

impl Report {
    fn nothing(table: &str) -> Report {
        Report {
            table: table.to_owned(),
            equal: None,
            provider: None,
            subscriber: None,
        }
    }
}

/// Begins a transaction whose snapshot is taken. A policy that would hide rows is an error.
fn snapshot(db: &mut Connection) -> Result<Tx<'_>, Error> {
    let mut tx = db.begin_with(Isolation::RepeatableRead)?;
    set_local(&mut tx, "row_security", "off")?;
    set_local(&mut tx, "statement_timeout", "0")?;
    tx.query_typed("select 1", &[]).during("take a snapshot")?;
    Ok(tx)
}

/// The first row of the first result, its values as text joined by `, `.
fn first_row(db: &mut Session<'_>, sql: &str, side: &str) -> Result<String, Error> {
    let messages = db
        .simple_query(sql)
        .during(format!("run the comparing query on the {side}"))?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let Some(row) = row else {
        return Ok(String::new());
    };
    let values: Vec<&str> = (0..row.len())
        .map(|nr| row.get(nr).unwrap_or("NULL"))
        .collect();
    Ok(values.join(", "))
}
