//! `node`: the cascade as a whole.

use std::process::ExitCode;

use skytools::daemon::Job;

use super::cascade::status;
use super::setup::Setup;
use crate::args::Options;
use crate::{Config, Error};

/// Look at the nodes of a cascade
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the nodes, and which could become the root
    Status(status::Args),
    #[command(external_subcommand)]
    Unknown(Vec<String>),
}

pub(super) fn run(job: Job<Config>, options: Options, args: Args) -> Result<ExitCode, Error> {
    let args = match args.command.ok_or(Error::NeedSubcommand)? {
        Command::Status(args) => args,
        Command::Unknown(words) => return Err(Error::BadSubcommand(words.join(" "))),
    };
    let job = job.without_pidfile();
    let outcome =
        job.run_command(|job, _| status::run(&mut Setup::new(job, &options).lenient(), &args))?;
    Ok(outcome.into())
}
