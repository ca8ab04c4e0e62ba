//! Applies the row events of a queue to tables, in bulk: all changes of a row in a batch become one.
//!
//! * [`Args`], [`Config`], [`Error`]: what the user says, and what goes wrong
//! * `loader`: what is done with a batch; `part`: as much of it as is in memory, with its tables
//! * `merge`: what the changes of a row come to; `sets`: which columns they say something about;
//!   `changes`: of all rows of a table
//! * `table`: a table of the target, `distribution`: over what parts of a cluster; `load`: changing its rows
//!
//! All else is the frame of the movers, [`pgq::mover`].

mod args;
mod changes;
mod config;
mod distribution;
mod equality;
mod error;
mod load;
mod loader;
mod merge;
mod part;
mod sets;
mod table;

pub use args::Args;
pub use config::Config;
pub use error::Error;

/// Runs the program.
///
/// # Errors
/// The configuration cannot be used, or the job failed.
pub fn run(args: Args) -> Result<(), Error> {
    pgq::mover::run::<Args, loader::BulkLoader>(&args, args.mover)
}
