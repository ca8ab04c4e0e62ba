//! Applies the row events of a queue to tables, in bulk.

use std::process::ExitCode;

fn main() -> ExitCode {
    skytools::app::main(bulk_loader::run)
}
