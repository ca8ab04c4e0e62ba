//! The commands: one file each.

mod captured;
mod cascade;
mod compare;
mod node;
mod provider;
mod repair;
mod setup;
mod status;
mod structure;
mod subscriber;
mod upgrade;

use std::process::ExitCode;

use skytools::app::UsageError;
use skytools::daemon::Job;

use crate::args::{Args, Options};
use crate::grants::{self, Work};
use crate::{Config, Error, copy, replay};

use captured::capturing_triggers;

/// What the program is asked to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Prepare the provider, choose what it publishes
    Provider(provider::Args),
    /// Prepare the subscriber, choose what it receives
    Subscriber(subscriber::Args),
    /// Apply the queue on the subscriber, until stopped
    Replay,
    /// Fill one table and hand it over to replay; replay starts this by itself
    Copy(copy::Args),
    /// Show how replication does, and what is wrong
    Status(status::Args),
    /// Bring the schema londiste of an older version up to date
    Upgrade(upgrade::Args),
    /// Look at the nodes of a cascade
    Node(node::Args),
    /// Compare tables on both sides
    Compare(compare::Args),
    /// Find rows that differ, and repair them
    Repair(repair::Args),
}

/// How a command ended that could do its work; of several parts the worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Outcome {
    /// Everything is done.
    #[default]
    Done,
    /// Everything is done, and a difference was found.
    Differs,
    /// A part failed; the log says which.
    Failed,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        ExitCode::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Differs => 3,
        })
    }
}

/// Runs the command of the command line.
pub(crate) fn dispatch(mut job: Job<Config>, args: Args) -> Result<ExitCode, Error> {
    let options = args.options;
    need_fitting(&options, args.command.as_ref())?;
    job.config.check()?;
    if job.config.fake {
        let name = match args.command {
            _ if options.rewind => Some("--rewind"),
            _ if options.reset => Some("--reset"),
            Some(Command::Repair(ref args)) if args.applies() => Some("repair --apply"),
            _ => None,
        };
        if let Some(name) = name {
            return Err(Error::CannotFake(name));
        }
    }
    if options.rewind {
        return done(replay::rewind(job));
    }
    if options.reset {
        return done(replay::reset(job));
    }
    match args.command.ok_or(UsageError::NeedCommand)? {
        Command::Provider(args) => provider::run(job, options, args),
        Command::Subscriber(args) => subscriber::run(job, options, args),
        Command::Node(args) => node::run(job, options, args),
        Command::Replay => done(replay::run(job)),
        Command::Copy(args) => done(copy::run(job, &args)),
        Command::Upgrade(args) => upgrade::run(job, options, &args),
        Command::Status(args) => {
            // A subscriber that does not answer is what it has to show.
            let _ = job.config.follow_stored_provider(&job.common);
            status::run(job, options, &args)
        }
        Command::Compare(args) => {
            follow_stored_provider(&mut job)?;
            compare::run(job, options, args)
        }
        Command::Repair(args) => {
            follow_stored_provider(&mut job)?;
            repair::run(job, options, args)
        }
    }
}

/// Refuses options that the command would pass over.
fn need_fitting(options: &Options, command: Option<&Command>) -> Result<(), Error> {
    let given = |options: &[(&'static str, bool)]| {
        let found = options.iter().find(|(_, given)| *given);
        found.map(|&(name, _)| name)
    };
    let (adds_seq, subscribes, publishes) = match command {
        Some(Command::Subscriber(args)) => (args.adds_seq(), args.adds(), false),
        Some(Command::Provider(args)) => (false, false, args.adds()),
        _ => (false, false, false),
    };
    let subscribing = options.of_subscribing();
    let subscribing = match (subscribes, adds_seq) {
        (true, _) => &[],
        // Sequences can be created, too.
        (false, true) => &subscribing[..2],
        (false, false) => &subscribing[..],
    };
    if let Some(option) = given(subscribing) {
        return Err(Error::OptionOf(option, "subscriber add"));
    }
    if !publishes && let Some(option) = given(&options.of_publishing()) {
        return Err(Error::OptionOf(option, "provider add"));
    }
    let alone = matches!(command, None | Some(Command::Replay));
    match given(&[("--rewind", options.rewind), ("--reset", options.reset)]) {
        Some(option) if !alone => Err(Error::OptionAlone(option)),
        _ => Ok(()),
    }
}

fn follow_stored_provider(job: &mut Job<Config>) -> Result<(), Error> {
    let followed = job.config.follow_stored_provider(&job.common);
    followed.map_err(|error| grants::explain(error, job, Work::Compare, &[]))
}

fn done(result: Result<(), Error>) -> Result<ExitCode, Error> {
    result.map(|()| ExitCode::SUCCESS)
}
