//! Spreads the events of one queue over many, by a field that names the queue.
//!
//! * [`Args`], [`Config`], [`Error`]: what the user says, and what goes wrong
//! * `splitter`: what is done with a batch; `routes`: the queues, and events on their way there
//!
//! All else is the frame of the movers, [`pgq::mover`].

mod args;
mod config;
mod error;
mod routes;
mod splitter;

pub use args::Args;
pub use config::Config;
pub use error::Error;

/// Runs the program.
///
/// # Errors
/// The configuration cannot be used, or the job failed.
pub fn run(args: Args) -> Result<(), Error> {
    pgq::mover::run::<Args, splitter::QueueSplitter>(&args, args.mover)
}
