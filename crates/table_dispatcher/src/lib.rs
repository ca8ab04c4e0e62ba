//! Appends the rows of a queue to one table, or to its partitions by a date of the row.
//!
//! * [`Args`], [`Config`], [`Error`]: what the user says, and what goes wrong
//! * `dispatcher`: what is done with a batch
//! * `fields`, `label`: which columns a row gets, and which partition
//! * `sorter`: rows on their way there; `known`: the short way for those that are like the last one
//! * `loader`: rows into the tables
//!
//! All else is the frame of the movers, [`pgq::mover`].

mod args;
mod config;
mod dispatcher;
mod error;
mod fields;
mod label;
mod loader;
mod sorter;

pub use args::Args;
pub use config::Config;
pub use error::Error;

/// Runs the program.
///
/// # Errors
/// The configuration cannot be used, or the job failed.
pub fn run(args: Args) -> Result<(), Error> {
    pgq::mover::run::<Args, dispatcher::TableDispatcher>(&args, args.mover)
}
