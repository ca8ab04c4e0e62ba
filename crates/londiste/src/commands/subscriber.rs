//! `subscriber`: what the subscriber receives.

mod add;
mod add_seq;
mod attached;
mod check;
mod create;
mod install;
mod missing;
mod register;
mod remove;
mod remove_seq;
mod restore_triggers;
mod resync;
mod seqs;
mod structures;
mod tables;
mod unregister;
mod wait_sync;

use std::process::ExitCode;

use skytools::daemon::{Job, Stop};

use super::cascade::{change_provider, relay_init};
use super::setup::Setup;
use super::{Outcome, status};
use crate::args::Options;
use crate::grants::Work;
use crate::{Config, Error};

/// Prepare the subscriber, choose what it receives
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Install Londiste
    Install,
    /// Subscribe to tables
    Add(add::Args),
    /// End the subscription of tables
    Remove(remove::Args),
    /// List the subscribed tables and their states
    Tables,
    /// Copy tables again
    Resync(resync::Args),
    /// List what the provider publishes and this subscriber does not receive
    Missing,
    /// Show how replication does, and what is wrong
    Status(status::Args),
    /// Compare the structures of all published tables
    Check,
    /// List foreign keys of subscribed tables, in place or put aside
    Fkeys(attached::Args),
    /// List triggers of subscribed tables, in place or put aside
    Triggers(attached::Args),
    /// Bring triggers back that were put aside
    RestoreTriggers(restore_triggers::Args),
    /// Wait until tables are replicated
    WaitSync(wait_sync::Args),
    /// Register the consumer on the provider
    Register,
    /// Give the subscriber the queue, too, so that it can be the provider of others
    RelayInit,
    /// Read the queue from another node of the cascade
    ChangeProvider(change_provider::Args),
    /// Remove the consumer from the provider, forget all positions and states
    Unregister,
    /// Subscribe to sequences
    AddSeq(add_seq::Args),
    /// End the subscription of sequences
    RemoveSeq(remove_seq::Args),
    /// List the subscribed sequences
    Seqs,
    #[command(external_subcommand)]
    Unknown(Vec<String>),
}

impl Args {
    /// Whether tables are added, and the options of that have a meaning.
    pub(super) fn adds(&self) -> bool {
        matches!(self.command, Some(Command::Add(_)))
    }

    /// Whether sequences are added.
    pub(super) fn adds_seq(&self) -> bool {
        matches!(self.command, Some(Command::AddSeq(_)))
    }
}

pub(super) fn run(job: Job<Config>, options: Options, args: Args) -> Result<ExitCode, Error> {
    let command = match args.command.ok_or(Error::NeedSubcommand)? {
        Command::Unknown(words) => return Err(Error::BadSubcommand(words.join(" "))),
        Command::Status(args) => return status::run(job, options, &args),
        known => known,
    };
    if job.config.fake {
        let name = match command {
            Command::Register => Some("subscriber register"),
            Command::RelayInit => Some("subscriber relay-init"),
            Command::ChangeProvider(_) => Some("subscriber change-provider"),
            Command::Unregister => Some("subscriber unregister"),
            _ => None,
        };
        if let Some(name) = name {
            return Err(Error::CannotFake(name));
        }
    }
    let job = match command {
        Command::Tables
        | Command::Seqs
        | Command::Missing
        | Command::Check
        | Command::Fkeys(_)
        | Command::Triggers(_)
        | Command::WaitSync(_) => job.without_pidfile(),
        _ => job.with_pidfile_suffix(".setup"),
    };
    let outcome = job.run_command(|job, context| {
        let mut setup = Setup::new(job, &options);
        let work = match command {
            Command::Install => Work::Install,
            Command::RelayInit | Command::ChangeProvider(_) => Work::Cascade,
            Command::Tables | Command::Fkeys(_) | Command::Triggers(_) => Work::Look,
            _ => Work::Subscribe,
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
        Command::Tables => tables::run(setup),
        Command::Resync(args) => resync::run(setup, args),
        Command::Missing => missing::run(setup),
        Command::Check => check::run(setup),
        Command::Fkeys(args) => attached::run(setup, args, &attached::FKEYS),
        Command::Triggers(args) => attached::run(setup, args, &attached::TRIGGERS),
        Command::RestoreTriggers(args) => restore_triggers::run(setup, args),
        Command::WaitSync(args) => wait_sync::run(setup, args, stop),
        Command::Register => register::run(setup),
        Command::RelayInit => relay_init::run(setup, stop),
        Command::ChangeProvider(args) => change_provider::run(setup, args, stop),
        Command::Unregister => unregister::run(setup),
        Command::AddSeq(args) => add_seq::run(setup, args),
        Command::RemoveSeq(args) => remove_seq::run(setup, args),
        Command::Seqs => seqs::run(setup),
        Command::Unknown(_) | Command::Status(_) => Ok(Outcome::Failed),
    }
}
