//! The commands: one file each.

use std::process::ExitCode;

use skytools::daemon::Job;

use crate::args::{Args, Options};
use crate::{Config, Error, copy, replay};

/// What the program is asked to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Apply the queue on the subscriber, until stopped
    Replay,
    /// Fill one table and hand it over to replay; replay starts this by itself
    Copy(copy::Args),
    #[command(external_subcommand)]
    Unknown(Vec<String>),
}

/// Runs the command of the command line.
pub(crate) fn dispatch(job: Job<Config>, args: Args) -> Result<ExitCode, Error> {
    job.config.check()?;
    let Options { rewind, reset, .. } = args.options;
    if rewind {
        return done(replay::rewind(job));
    }
    if reset {
        return done(replay::reset(job));
    }
    match args.command.ok_or(Error::NeedCommand)? {
        Command::Replay => done(replay::run(job)),
        Command::Copy(args) => done(copy::run(job, &args)),
        Command::Unknown(words) => Err(Error::UnknownCommand(
            words.into_iter().next().unwrap_or_default(),
        )),
    }
}

fn done(result: Result<(), Error>) -> Result<ExitCode, Error> {
    result.map(|()| ExitCode::SUCCESS)
}
