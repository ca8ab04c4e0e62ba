//! Applies row events of many tables to copies of them, one for each period.

use std::process::ExitCode;

fn main() -> ExitCode {
    skytools::app::main(cube_dispatcher::run)
}
