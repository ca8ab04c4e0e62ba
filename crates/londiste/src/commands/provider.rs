//! `provider`: what the provider publishes.

mod add;
mod add_seq;
mod check;
mod execute;
mod install;
mod refresh;
mod remove;
mod remove_seq;
mod seqs;
mod tables;

use std::process::ExitCode;

use postgres::types::Type;
use skytools::daemon::{Job, Stop};
use skytools::db::During;
use tracing::info;

use super::Outcome;
use super::cascade::{demote, promote, resurrect};
use super::setup::{Setup, part_failed, provider_step, select, warn_unknown};
use crate::args::Options;
use crate::grants::{self, Work};
use crate::names::Relation;
use crate::schema::Side;
use crate::{Config, Error, registry};

/// Prepare the provider, choose what it publishes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Install PgQ and Londiste, create the queue
    Install,
    /// Capture the changes of tables
    Add(add::Args),
    /// End the capture of tables
    Remove(remove::Args),
    /// Bring the capture of tables up to date
    Refresh(refresh::Args),
    /// Look for registered tables that are not captured as they should be
    Check,
    /// Run scripts on the provider and, in the stream of changes, on its subscribers
    Execute(execute::Args),
    /// List the registered tables
    Tables,
    /// Register sequences
    AddSeq(add_seq::Args),
    /// Forget sequences
    RemoveSeq(remove_seq::Args),
    /// List the registered sequences
    Seqs,
    /// Make the relay of this configuration the root
    Promote,
    /// End the writing on the root, so that a relay can take over
    Demote(demote::Args),
    /// Make a former root a relay of the new one
    Resurrect(resurrect::Args),
    #[command(external_subcommand)]
    Unknown(Vec<String>),
}

impl Args {
    /// Whether tables are added, and the options of that have a meaning.
    pub(super) fn adds(&self) -> bool {
        matches!(self.command, Some(Command::Add(_)))
    }
}

pub(super) fn run(job: Job<Config>, options: Options, args: Args) -> Result<ExitCode, Error> {
    let command = match args.command.ok_or(Error::NeedSubcommand)? {
        Command::Unknown(words) => return Err(Error::BadSubcommand(words.join(" "))),
        known => known,
    };
    if job.config.fake {
        let name = match command {
            Command::Promote => Some("provider promote"),
            Command::Demote(_) => Some("provider demote"),
            Command::Resurrect(_) => Some("provider resurrect"),
            _ => None,
        };
        if let Some(name) = name {
            return Err(Error::CannotFake(name));
        }
    }
    let job = match command {
        Command::Tables | Command::Seqs | Command::Check => job.without_pidfile(),
        _ => job.with_pidfile_suffix(".setup"),
    };
    let outcome = job.run_command(|job, context| {
        let mut setup = Setup::new(job, &options).lenient();
        let work = match command {
            Command::Install => Work::Install,
            Command::Promote | Command::Demote(_) | Command::Resurrect(_) => Work::Cascade,
            _ => Work::Publish,
        };
        one(&mut setup, &command, &context.stop).map_err(|error| setup.explain(error, work))
    })?;
    Ok(outcome.into())
}

fn one(setup: &mut Setup<'_>, command: &Command, stop: &Stop) -> Result<Outcome, Error> {
    match command {
        Command::Install => install::run(setup),
        Command::Add(args) => add::run(setup, args),
        Command::Remove(args) => remove::run(setup, args),
        Command::Refresh(args) => refresh::run(setup, args),
        Command::Check => check::run(setup),
        Command::Execute(args) => execute::run(setup, args),
        Command::Tables => tables::run(setup),
        Command::AddSeq(args) => add_seq::run(setup, args),
        Command::RemoveSeq(args) => remove_seq::run(setup, args),
        Command::Seqs => seqs::run(setup),
        Command::Promote => promote::run(setup, stop),
        Command::Demote(args) => demote::run(setup, args, stop),
        Command::Resurrect(args) => resurrect::run(setup, args, stop),
        Command::Unknown(_) => Ok(Outcome::Failed),
    }
}

/// Calls a function for each registered table that is named, in a transaction of its own. One that
/// fails does not stop the others.
fn each_registered(
    setup: &mut Setup<'_>,
    names: &[String],
    doing: &str,
    step: &'static str,
    sql: &str,
) -> Result<Outcome, Error> {
    setup.need_names(names)?;
    let (config, queue) = (setup.config, setup.queue);
    let db = setup.provider()?;
    let registered: Vec<Relation> = registry::provider_tables(db, queue)?
        .into_iter()
        .map(Relation::registered)
        .collect();
    let selection = select(&registered, names)?;
    let mut outcome = warn_unknown(&selection.unknown, |name| {
        Ok(format!("Table {name} is not registered"))
    })?;
    for name in &selection.names {
        info!("{doing} {name}");
        let done = provider_step(config, db, |tx| {
            tx.query_typed_one(sql, &[(queue, Type::TEXT), (name, Type::TEXT)])
                .during(step)?;
            Ok(())
        });
        if let Err(failure) = done {
            let tables = std::slice::from_ref(name);
            let failure = grants::explain_on(failure, db, Side::Provider, Work::Publish, tables);
            outcome = outcome.max(part_failed(name, failure)?);
        }
    }
    Ok(outcome)
}
