//! `status`: how replication does, what is wrong, and what to type.

mod problems;
mod read;
mod show;

use std::process::ExitCode;

use serde::Serialize;
use skytools::app::{Watch, json};
use skytools::daemon::Job;

use super::Outcome;
use crate::args::Options;
use crate::{Config, Error};
use problems::{Problem, Severity};
use read::Source;
pub(super) use read::tables;
pub(super) use show::progress;

/// Show how replication does, and what is wrong
///
/// Looks at both sides; one that does not answer is a problem that is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    watch: Watch,
}

/// Everything there is to see.
#[derive(Debug, Serialize)]
struct Status {
    job: String,
    queue: String,
    consumer: String,
    /// Nothing is wrong that a person should look at.
    healthy: bool,
    provider: Option<read::Provider>,
    subscriber: Option<read::Subscriber>,
    problems: Vec<Problem>,
}

pub(super) fn run(job: Job<Config>, options: Options, args: &Args) -> Result<ExitCode, Error> {
    let healthy = job.without_pidfile().run_command(|job, context| {
        let mut source = Source::new(job)?;
        let look = || {
            let status = source.read();
            let text = match options.json {
                true => json(&status).map_err(Error::Output)?,
                false => status.to_string(),
            };
            Ok((text, status.healthy))
        };
        let (watch, stop) = (&args.watch, &context.stop);
        watch.show(stop, options.json, look, Error::Output)
    })?;
    Ok(match args.watch.check && !healthy {
        true => Outcome::Differs.into(),
        false => ExitCode::SUCCESS,
    })
}

impl Status {
    fn is_wrong(problems: &[Problem]) -> bool {
        problems
            .iter()
            .any(|problem| problem.severity != Severity::Note)
    }
}
