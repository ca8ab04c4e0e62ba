//! Moves the events of one queue into another.

use std::process::ExitCode;

fn main() -> ExitCode {
    skytools::app::main(queue_mover::run)
}
