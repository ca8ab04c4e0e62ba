//! Starts, stops, reloads and shows all jobs of a host.

use std::process::ExitCode;

fn main() -> ExitCode {
    skytools::app::main(scriptmgr::run)
}
