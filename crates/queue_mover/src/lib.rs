//! Moves the events of one queue into another, usually in another database.
//!
//! * [`Args`], [`Config`], [`Error`]: what the user says, and what goes wrong
//! * `mover`: what is done with a batch; `place`: whether the queues are two; `queue`: how events get
//!   into a queue
//!
//! All else is the frame of the movers, [`pgq::mover`].

mod args;
mod config;
mod error;
mod mover;
mod place;
mod queue;

pub use args::Args;
pub use config::Config;
pub use error::Error;

/// Runs the program.
///
/// # Errors
/// The configuration cannot be used, or the job failed.
pub fn run(args: Args) -> Result<(), Error> {
    pgq::mover::run::<Args, mover::QueueMover>(&args, args.mover)
}
