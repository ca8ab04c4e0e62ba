//! Moves the events of one queue into another, usually in another database.
//!
//! * [`Args`], [`Config`], [`Error`]: what the user says, and what goes wrong
//! * `mover`: what is done with a batch; `transfer`: how its events get from here to there
//!
//! All else is the frame of the movers, [`pgq::mover`].

mod args;
mod config;
mod error;
mod mover;
mod transfer;

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
