//! Table replication over PgQ.
//!
//! Triggers on the provider's tables write every change into a queue; `replay` applies the queue,
//! batch by batch, on the subscriber; `copy` fills a table that was added and hands it over.
//!
//! * [`args`](Args), [`Config`], [`Error`]: what the user says, and what goes wrong
//! * `commands`: one file per command
//! * `replay`, `copy`: the two processes that move data
//! * `verify`: comparing and repairing tables
//! * `execute`: scripts that run in the stream of changes
//! * `grants`: which privileges a role lacks
//! * `node`: the place of a database in the cascade of a queue
//! * `registry`: which tables and sequences are registered, on either side

mod args;
mod commands;
mod config;
mod copy;
mod error;
mod execute;
mod grants;
mod names;
mod node;
mod registry;
mod replay;
mod schema;
mod verify;

use std::process::ExitCode;

use pgq::failpoint;
use skytools::daemon::{Job, Signal};
use tracing::info;

pub use args::Args;
pub use config::Config;
pub use error::{CascadeError, Error, VerifyError};

/// Runs the program; the exit code is 1 if a part failed and 3 if a difference was found.
///
/// # Errors
/// The configuration cannot be used, or the command failed.
pub fn run(args: Args) -> Result<ExitCode, Error> {
    let job: Job<Config> = Job::open(&args)?;
    if let Some(signal) = job.signal_request() {
        deliver(&job, signal);
        return Ok(ExitCode::SUCCESS);
    }
    commands::dispatch(job, args)
}

/// Signals the running replay. A copy does not outlive it, so `-s` and `-k` end the copy first.
fn deliver(job: &Job<Config>, signal: Signal) {
    if signal != Signal::Reload {
        for pidfile in job.pidfiles(".copy") {
            info!("Signaling running COPY first");
            job.deliver_to(&pidfile, Signal::Kill);
        }
    }
    job.deliver(signal);
}
