//! Archives WAL, takes base backups, and runs a warm standby.

use std::process::ExitCode;

fn main() -> ExitCode {
    walmgr::main()
}
