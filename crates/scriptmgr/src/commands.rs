//! The commands: one file each.

mod info;
mod reload;
mod restart;
mod start;
mod status;
mod stop;

use std::process::ExitCode;

use skytools::app::UsageError;
use skytools::daemon::{self, Stop};

use crate::args::{Args, Options};
use crate::discover::{Jobs, Selection, discover};
use crate::state::Look;
use crate::{Config, Error};

/// What the program is asked to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show which jobs run
    Status(Names),
    /// Show how jobs are run
    Info(Names),
    /// Start jobs that do not run
    Start(Names),
    /// Let jobs end after their current batch, and wait for it
    Stop(Names),
    /// Stop jobs, and start them when they have ended
    Restart(Names),
    /// Have jobs read their configuration again
    Reload(Names),
}

/// The jobs that a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Names {
    /// Names of jobs
    #[arg(value_name = "JOB")]
    names: Vec<String>,
}

/// What a command works with.
struct Work<'a> {
    selection: Selection<'a>,
    look: Look,
    config: &'a Config,
    options: &'a Options,
    stop: Stop,
}

/// Runs the command of the command line.
pub(crate) fn dispatch(manager: daemon::Job<Config>, args: &Args) -> Result<ExitCode, Error> {
    let options = &args.options;
    let is_well = match args.command.as_ref().ok_or(UsageError::NeedCommand)? {
        Command::Status(args) => read(manager, args, options, status::run),
        Command::Info(args) => read(manager, args, options, info::run),
        Command::Start(args) => change(manager, args, options, start::run),
        Command::Stop(args) => change(manager, args, options, stop::run),
        Command::Restart(args) => change(manager, args, options, restart::run),
        Command::Reload(args) => change(manager, args, options, reload::run),
    }?;
    Ok(match is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Runs a command that only shows jobs: all, if none are asked for. It runs beside every other one.
fn read(
    manager: daemon::Job<Config>,
    args: &Names,
    options: &Options,
    command: fn(&Jobs, &Selection<'_>, &Look, &Options) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let is_well = manager.without_pidfile().run_command(|manager, _| {
        let jobs = discover(manager)?;
        let selection = jobs.select(&args.names, options).unwrap_or(Selection {
            jobs: jobs.list.iter().collect(),
            is_named: false,
            has_failed: false,
        });
        let is_well = command(&jobs, &selection, &Look::new(&jobs), options)?;
        Ok::<bool, Error>(is_well && !selection.has_failed && jobs.problems.is_empty())
    })?;
    Ok(is_well)
}

/// Runs a command that does something to jobs, which have to be asked for.
fn change(
    manager: daemon::Job<Config>,
    args: &Names,
    options: &Options,
    command: fn(&Work<'_>) -> bool,
) -> Result<bool, Error> {
    if args.names.is_empty() && !options.all && options.service.is_none() {
        return Err(Error::NeedJobs);
    }
    let is_well = manager.run_command(|manager, context| {
        let jobs = discover(manager)?;
        let selection = jobs.select(&args.names, options).ok_or(Error::NeedJobs)?;
        let work = Work {
            look: Look::new(&jobs),
            config: &manager.config,
            options,
            stop: context.stop.clone(),
            selection,
        };
        let is_well = command(&work);
        Ok::<bool, Error>(is_well && !work.selection.has_failed && jobs.problems.is_empty())
    })?;
    Ok(is_well)
}
