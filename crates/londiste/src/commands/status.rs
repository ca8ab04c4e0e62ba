//! `status`: how replication does, what is wrong, and what to type.

mod problems;
mod read;
mod show;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use skytools::app::{json, output, output_more};
use skytools::daemon::{Context, Job};

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
    /// Exit with code 3 if something is wrong
    #[arg(long)]
    check: bool,
    /// Show it again every so many seconds, until interrupted
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = seconds_of
    )]
    watch: Option<Duration>,
}

/// Reads a pause that is one.
fn seconds_of(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(pause) if pause >= Duration::from_millis(100) => Ok(pause),
        _ => Err("not a number of seconds, 0.1 or more".to_owned()),
    }
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

/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

pub(super) fn run(job: Job<Config>, options: Options, args: &Args) -> Result<ExitCode, Error> {
    let healthy = job
        .without_pidfile()
        .run_command(|job, context| show(job, context, args, &options))?;
    Ok(match args.check && !healthy {
        true => Outcome::Differs.into(),
        false => ExitCode::SUCCESS,
    })
}

/// Shows it once or again and again; false if something was wrong at the end.
fn show(
    job: &Job<Config>,
    context: &mut Context,
    args: &Args,
    options: &Options,
) -> Result<bool, Error> {
    let mut source = Source::new(job)?;
    let text = |status: &Status| match options.json {
        true => json(status).map_err(Error::Output),
        false => Ok(status.to_string()),
    };
    let Some(pause) = args.watch else {
        let status = source.read();
        output(text(&status)?).map_err(Error::Output)?;
        return Ok(status.healthy);
    };
    let is_terminal = std::io::stdout().is_terminal() && !options.json;
    let mut before = if is_terminal { CLEAR } else { "" };
    loop {
        let status = source.read();
        let shown = format!("{before}{}", text(&status)?);
        if !output_more(shown).map_err(Error::Output)? {
            return Ok(status.healthy);
        }
        if !is_terminal && !options.json {
            before = "\n";
        }
        if context.stop.sleep(pause) {
            return Ok(status.healthy);
        }
    }
}

impl Status {
    fn is_wrong(problems: &[Problem]) -> bool {
        problems
            .iter()
            .any(|problem| problem.severity != Severity::Note)
    }
}
