//! Replicates tables and sequences from one database to another, through a PgQ queue.

use std::process::ExitCode;

fn main() -> ExitCode {
    skytools::app::main(londiste::run)
}
