//! The commands: one file each.

mod config;
mod create;
mod drop;
mod install;
mod register;
mod status;
mod uninstall;
mod unregister;
mod upgrade;

use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use skytools::app::UsageError;
use skytools::daemon::Job;
use skytools::db::Connection;

use crate::args::Args;
use crate::{Config, Error, ticker};

/// What the program is asked to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Tick and maintain the queues, until stopped
    Ticker,
    /// Show queues and consumers
    Status,
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
}

/// Reads the name of something new, which must not be empty.
fn name<T: From<String> + Clone + Send + Sync + 'static>() -> impl TypedValueParser<Value = T> {
    NonEmptyStringValueParser::new().map(T::from)
}

/// Runs the command of the command line.
pub(crate) fn dispatch(job: Job<Config>, args: Args) -> Result<(), Error> {
    let options = args.options;
    match args.command.as_ref().ok_or(UsageError::NeedCommand)? {
        Command::Ticker => ticker::run(job, &args),
        Command::Status => look(job, |db| status::run(db, options.json)),
        Command::Install => change(job, install::run),
        Command::Upgrade(args) => change(job, |db| upgrade::run(db, args)),
        Command::Uninstall => change(job, |db| uninstall::run(db, options.force)),
        Command::Create(args) => change(job, |db| create::run(db, args)),
        Command::Drop(args) => change(job, |db| drop::run(db, args, options.force)),
        Command::Register(args) => change(job, |db| register::run(db, args)),
        Command::Unregister(args) => change(job, |db| unregister::run(db, args)),
        Command::Config(args) if args.changes.is_empty() => {
            look(job, |db| config::show(db, args, options.json))
        }
        Command::Config(args) => change(job, |db| config::change(db, args)),
    }
}

/// Runs a command that changes something; two of them exclude each other, the ticker may run.
fn change(
    job: Job<Config>,
    command: impl FnOnce(&mut Connection) -> Result<(), Error>,
) -> Result<(), Error> {
    job.with_pidfile_suffix(".admin").run_command(|job, _| {
        let mut database = job.config.database(&job.common)?;
        command(database.connection()?)
    })?;
    Ok(())
}

/// Runs a command that only reads and prints.
fn look(
    job: Job<Config>,
    command: impl FnOnce(&mut Connection) -> Result<(), Error>,
) -> Result<(), Error> {
    job.without_pidfile().run_command(|job, _| {
        let mut database = job.config.database(&job.common)?;
        command(database.connection()?)
    })?;
    Ok(())
}
