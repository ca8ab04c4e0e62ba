//! Administration of PgQ: its schema, its queues and consumers, its ticker.
//!
//! * [`Args`], [`Config`], [`Error`]: what the user says, and what goes wrong
//! * `commands`: one file per command
//! * `ticker`: the daemon, for one database or many

mod args;
mod commands;
mod config;
mod error;
mod ticker;

use std::process::ExitCode;

use skytools::daemon::Job;

pub use args::Args;
pub use config::Config;
pub use error::Error;

/// Runs the program.
///
/// # Errors
/// The configuration cannot be used, or the command failed.
pub fn run(args: Args) -> Result<ExitCode, Error> {
    let job: Job<Config> = Job::open(&args)?;
    if let Some(signal) = job.signal_request() {
        job.deliver(signal);
        return Ok(ExitCode::SUCCESS);
    }
    commands::dispatch(job, args)
}
