//! Applies the changed rows of a queue to tables of another database, one statement for each, with all that a program
//! of this project can: configuration, log, daemon, `--register`, `--rewind`, `--dry-run`, statistics.
//! `queue_loader loader.ini`; `--ini` prints a configuration.
//!
//! It is a [`Mover`](pgq::mover::Mover): the frame does the rest.

use std::collections::HashMap;
use std::process::ExitCode;

use clap::Parser;
use pgq::consumer::OpenBatch;
use pgq::mover::{Mover, MoverArgs, Report};
use pgq::row::{Fields, Op, RowEvent};
use serde::Deserialize;
use skytools::app::{CommonArgs, Program, Service};
use skytools::daemon::JobError;
use skytools::db::{DbError, During, Tx};
use skytools::quote::Strings;

/// Apply the changed rows of a queue to tables
#[derive(Debug, Parser)]
#[command(name = "queue_loader", infer_long_args = true)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    mover: MoverArgs,
}

impl Program for Args {
    const SERVICE: Service = Service {
        name: "queue_loader",
        sections: &["queue_loader"],
        sample: "[queue_loader]
job_name = loader
src_db = dbname=shop
dst_db = dbname=dwh
pgq_queue_name = shop.rows

# Tables that are called something else at the target; the others keep their names.
#tables = public.orders:stage.orders

logfile = loader.log
pidfile = loader.pid
",
    };

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// Keys of the section, beside those of every mover.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    /// `old:new, …`.
    #[serde(default)]
    tables: Vec<String>,
}

/// Why the program ends, or a batch comes again.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Queue(#[from] pgq::Error),
    #[error("tables: {0:?} is not of the form old:new")]
    Tables(String),
    #[error("event {0} cannot be read")]
    Row(pgq::EventId, #[source] pgq::row::Error),
    #[error("event {0} cannot be applied")]
    Statement(pgq::EventId, #[source] skytools::statement::Error),
    #[error("event {0} is not UTF-8")]
    NotUtf8(pgq::EventId),
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Error {
        Error::Queue(error.into())
    }
}

struct Loader {
    tables: HashMap<String, String>,
}

impl Mover for Loader {
    type Config = Config;
    type Error = Error;

    fn new(config: Config) -> Result<Loader, Error> {
        let pair = |item: String| match item.split_once(':') {
            Some((old, new)) => Ok((old.trim().to_owned(), new.trim().to_owned())),
            None => Err(Error::Tables(item)),
        };
        let tables: Result<_, Error> = config.tables.into_iter().map(pair).collect();
        Ok(Loader { tables: tables? })
    }

    fn apply(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        batch.for_each(|event| {
            let row = RowEvent::parse(Fields::from(&event), Strings::Standard);
            let Some(row) = row.map_err(|error| Error::Row(event.id, error))? else {
                report.of("other events").skipped += 1;
                return Ok(());
            };
            let table = String::from_utf8_lossy(row.table.as_deref().unwrap_or_default());
            let table = self.tables.get(&*table).map_or(&*table, String::as_str);
            let mut sql = Vec::new();
            let pushed = row.push_statement(table.as_bytes(), &mut sql);
            pushed.map_err(|error| Error::Statement(event.id, error))?;
            let sql = String::from_utf8(sql).map_err(|_| Error::NotUtf8(event.id))?;
            let rows = target.execute_typed(&sql, &[]).during("apply an event")?;
            let counts = report.of(table);
            match row.op {
                Op::Insert => counts.inserted += rows,
                Op::Update => counts.updated += rows,
                Op::Delete => counts.deleted += rows,
                Op::Truncate => counts.skipped += 1,
            }
            Ok(())
        })
    }

    fn as_queue_error(error: &Error) -> Option<&pgq::Error> {
        match error {
            Error::Queue(error) => Some(error),
            _ => None,
        }
    }
}

fn run(args: Args) -> Result<(), Error> {
    pgq::mover::run::<Args, Loader>(&args, args.mover)
}

fn main() -> ExitCode {
    skytools::app::main(run)
}
