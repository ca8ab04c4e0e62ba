//! Applies row events of many tables to copies of them, one for each period.
//!
//! * [`Args`], [`Config`], [`Error`]: what the user says, and what goes wrong
//! * `cube`: what is done with a batch; `work`: its events on their way to the tables
//! * `destination`: one table, and the rows for it; of its rows `latest` keeps the last version of each, by
//!   a temporary table or, if they are `few`, by statements; `all` keeps them all
//! * `layout`: the columns of tables and of events; `like`: rows with those of the one before
//!
//! All else is the frame of the movers, [`pgq::mover`].

mod all;
mod args;
mod config;
mod cube;
mod destination;
mod error;
mod few;
mod latest;
mod layout;
mod like;
mod work;

pub use args::Args;
pub use config::{Config, CubeConfig};
pub use error::Error;

/// Runs the program.
///
/// # Errors
/// The configuration cannot be used, or the job failed.
pub fn run(args: Args) -> Result<(), Error> {
    pgq::mover::run::<Args, cube::CubeDispatcher>(&args, args.mover)
}
