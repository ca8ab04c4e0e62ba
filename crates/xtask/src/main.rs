//! The project's own chores: `cargo xtask test | demo | bench | chaos | sql`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a person at a terminal is who it works for"
)]

mod bench;
mod chaos;
mod demo;
mod packages;
mod postgres_versions;
mod process;
mod scratch;
mod sql;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// What goes wrong in a chore is for a person to read.
type Error = Box<dyn std::error::Error + Send + Sync>;

type Result<T = (), E = Error> = std::result::Result<T, E>;

/// The project's own chores
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Chore {
    Bench(bench::Args),
    Chaos(Box<chaos::Args>),
    Demo(demo::Args),
    Sql(sql::Args),
    Test(test::Args),
}

fn main() -> ExitCode {
    let result = match Chore::parse() {
        Chore::Bench(args) => bench::run(&args),
        Chore::Chaos(args) => chaos::run(&args),
        Chore::Demo(args) => demo::run(&args),
        Chore::Sql(args) => sql::run(&args),
        Chore::Test(args) => test::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", skytools::app::chain(&*error));
        ExitCode::FAILURE
    })
}
