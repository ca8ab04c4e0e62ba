//! The manager of a host's jobs: starts, stops, reloads and shows what is described by ini files.
//!
//! * [`Args`], [`Config`], [`Error`]: what the user says, and what goes wrong
//! * `service`, `account`: how jobs of a kind are run, and as whom
//! * `discover`, `pattern`, `job`: the jobs of the host, from their own files
//! * `state`, `evidence`: whether a job runs, and whether a process is the job
//! * `launch`, `ending`: starting one and waiting for it, stopping one and waiting for its end
//! * `commands`: one file per command

mod account;
mod args;
mod commands;
mod config;
mod discover;
mod ending;
mod error;
mod evidence;
mod job;
mod launch;
mod pattern;
mod service;
mod state;

use std::process::ExitCode;

use skytools::daemon;

pub use args::Args;
pub use config::Config;
pub use error::Error;

/// Runs the program; the exit code is 1 if anything failed, or `status` finds a job stopped.
///
/// # Errors
/// The configuration cannot be used, or the command line asks for nothing that can be done.
pub fn run(args: Args) -> Result<ExitCode, Error> {
    let manager: daemon::Job<Config> = daemon::Job::open(&args)?;
    if let Some(signal) = manager.signal_request() {
        manager.deliver(signal);
        return Ok(ExitCode::SUCCESS);
    }
    commands::dispatch(manager, &args)
}
