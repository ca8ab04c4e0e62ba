//! Appends the rows of a queue to a table, by partitions if wanted.

use std::process::ExitCode;

fn main() -> ExitCode {
    skytools::app::main(table_dispatcher::run)
}
