//! Spreads the events of one queue over many.

use std::process::ExitCode;

fn main() -> ExitCode {
    skytools::app::main(queue_splitter::run)
}
