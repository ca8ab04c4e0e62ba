//! The commands: one file each.

mod batch;
mod config;
mod create;
mod drop;
mod failed;
mod install;
mod pause;
mod register;
mod status;
mod tick;
mod uninstall;
mod unregister;
mod upgrade;

use std::process::ExitCode;

use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use pgq::QueueName;
use pgq::admin::QueueInfo;

use skytools::app::UsageError;
use skytools::daemon::Job;
use skytools::db::{Connection, Database, GenericClient};

use crate::args::Args;
use crate::config::Scope;
use crate::{Config, Error, ticker};

/// Stands for all queues, or all consumers of one.
const ALL: &str = "*";

/// What the program is asked to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Tick and maintain the queues, until stopped
    Ticker,
    /// Show queues and consumers, and what is wrong
    Status(status::Args),
    /// Install PgQ in the database
    Install,
    /// Bring an older PgQ up to date
    Upgrade(upgrade::Args),
    /// Remove PgQ from the database
    Uninstall,
    /// Create a queue
    Create(create::Args),
    /// Drop a queue
    Drop(drop::Args),
    /// Register a consumer on a queue
    Register(register::Args),
    /// Remove a consumer from a queue
    Unregister(unregister::Args),
    /// Show or change the settings of queues
    Config(config::Args),
    /// Stop ticking a queue
    Pause(pause::Args),
    /// Tick a paused queue again
    Resume(pause::Args),
    /// Tick a queue now
    Tick(tick::Args),
    /// Show the open batch of a consumer
    Batch(batch::Args),
    /// List, count, retry or delete events that a consumer gave up on
    Failed(failed::Args),
}

/// Reads the name of something new, which must not be empty.
fn name<T: From<String> + Clone + Send + Sync + 'static>() -> impl TypedValueParser<Value = T> {
    NonEmptyStringValueParser::new().map(T::from)
}

/// Runs the command of the command line.
pub(crate) fn dispatch(job: Job<Config>, args: Args) -> Result<ExitCode, Error> {
    let options = &args.options;
    let dbname = options.dbname.as_deref();
    let json = options.json;
    match args.command.as_ref().ok_or(UsageError::NeedCommand)? {
        Command::Ticker => ticker::run(job, &args),
        Command::Status(args) => return status::run(job, args, options),
        Command::Install => change(job, dbname, install::run),
        Command::Upgrade(args) => change(job, dbname, |db| upgrade::run(db, args)),
        Command::Uninstall => change(job, dbname, |db| uninstall::run(db, options.force)),
        Command::Create(args) => change(job, dbname, |db| create::run(db, args)),
        Command::Drop(args) => change(job, dbname, |db| drop::run(db, args, options.force)),
        Command::Register(args) => change(job, dbname, |db| register::run(db, args)),
        Command::Unregister(args) => change(job, dbname, |db| unregister::run(db, args)),
        Command::Config(args) if args.changes.is_empty() => {
            look(job, dbname, |db| config::show(db, args, json))
        }
        Command::Config(args) => change(job, dbname, |db| config::change(db, args)),
        Command::Pause(args) => change(job, dbname, |db| pause::run(db, args, true)),
        Command::Resume(args) => change(job, dbname, |db| pause::run(db, args, false)),
        Command::Tick(args) => change(job, dbname, |db| tick::run(db, args, json)),
        Command::Batch(args) => look(job, dbname, |db| batch::run(db, args, json)),
        Command::Failed(args) if args.changes() => {
            change(job, dbname, |db| failed::run(db, args, json))
        }
        Command::Failed(args) => look(job, dbname, |db| failed::run(db, args, json)),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The database of a command.
fn database(job: &Job<Config>, dbname: Option<&str>) -> Result<Database, Error> {
    let section = job.settings.main_section();
    let conninfo = match (job.config.scope(&job.common, section.name())?, dbname) {
        (Scope::One, None) => job.config.conninfo(&job.common)?,
        (Scope::One, Some(name)) => job.config.conninfo(&job.common)?.with_dbname(name),
        (Scope::Many(server), Some(name)) => server.database(name),
        (Scope::Many(_), None) => return Err(Error::WhichDatabase),
    };
    Ok(Database::new(
        "db",
        conninfo,
        job.common.connection_lifetime,
    ))
}

/// Runs a command that changes something; two of them exclude each other, the ticker may run.
fn change(
    job: Job<Config>,
    dbname: Option<&str>,
    command: impl FnOnce(&mut Connection) -> Result<(), Error>,
) -> Result<(), Error> {
    job.with_pidfile_suffix(".admin").run_command(|job, _| {
        let mut database = database(job, dbname)?;
        command(database.connection()?)
    })?;
    Ok(())
}

/// Runs a command that only reads and prints.
fn look(
    job: Job<Config>,
    dbname: Option<&str>,
    command: impl FnOnce(&mut Connection) -> Result<(), Error>,
) -> Result<(), Error> {
    job.without_pidfile().run_command(|job, _| {
        let mut database = database(job, dbname)?;
        command(database.connection()?)
    })?;
    Ok(())
}

/// The queues that a command is about: the one named, or all of `*`.
///
/// # Errors
/// There is no such queue.
fn queues(db: &mut impl GenericClient, name: &QueueName) -> Result<Vec<QueueInfo>, Error> {
    let all = name.as_str() == ALL;
    let queues = pgq::admin::queue_info(db, (!all).then_some(name))?;
    if queues.is_empty() && !all {
        return Err(Error::NoSuchQueue(name.clone()));
    }
    Ok(queues)
}
