//! Installs, ticks, maintains and shows PgQ.

use std::process::ExitCode;

fn main() -> ExitCode {
    skytools::app::main(pgqadm::run)
}
