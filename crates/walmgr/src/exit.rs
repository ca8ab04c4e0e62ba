//! What the server is told by an exit code.
//!
//! To `restore_command`, 1 to 125 mean that there is no such file: a standby asks again, anybody else ends its
//! recovery and opens for writes, perhaps too early. Above that the server stops. So whatever keeps us from
//! knowing is 1 for a standby, which must not stop for an outage, and 200 for others, which must not take an
//! outage for the end of the WAL.

use std::ffi::OsString;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;

use crate::commands;

/// What `xrestore` says of a file that is not there; the server is told 1.
pub(crate) const ABSENT: u8 = 4;

/// What `check --nagios` says of a warning, and of a failure; a monitoring system is told 1 and 2.
pub(crate) const WARNED: u8 = 5;
pub(crate) const FAILED: u8 = 6;

/// To a monitoring system: nobody has looked.
const UNKNOWN: u8 = 3;

/// What ends a recovery without an end of the WAL.
const STOP_RECOVERY: u8 = 200;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// A person, or another program.
    Anybody,
    /// A monitoring system, with codes of its own.
    Monitor,
    /// `archive_command`: everything but success is one thing.
    Archiver,
    /// `restore_command` of a standby.
    Standby,
    /// `restore_command` of a server that recovers up to the end of the WAL, or to a target.
    Recovery,
}

impl Caller {
    /// From a command line that need not parse, in the directory of a server or not.
    fn of(args: impl Iterator<Item = OsString>) -> Caller {
        for word in args.skip(1) {
            match word.to_str() {
                Some("--nagios") => return Caller::Monitor,
                Some("xarchive") => return Caller::Archiver,
                Some("xrestore") if Path::new("standby.signal").exists() => return Caller::Standby,
                Some("xrestore") => return Caller::Recovery,
                _ => {}
            }
        }
        Caller::Anybody
    }

    /// The code for the server; `None` for the program's own end: a panic.
    fn code(self, own: Option<ExitCode>) -> ExitCode {
        match (self, own) {
            (_, Some(code)) if code == ExitCode::SUCCESS => code,
            (Caller::Anybody, Some(code)) => code,
            (Caller::Monitor, Some(code)) if code == ExitCode::from(WARNED) => ExitCode::from(1),
            (Caller::Monitor, Some(code)) if code == ExitCode::from(FAILED) => ExitCode::from(2),
            (Caller::Monitor, _) => ExitCode::from(UNKNOWN),
            (Caller::Recovery, Some(code)) if code != ExitCode::from(ABSENT) => {
                ExitCode::from(STOP_RECOVERY)
            }
            (Caller::Recovery, None) => ExitCode::from(STOP_RECOVERY),
            _ => ExitCode::FAILURE,
        }
    }
}

/// What to type when the master is gone.
const RUNBOOK: &str = include_str!("../../../docs/walmgr-failover.md");

/// Whether a command line asks for the runbook: `--help failover`.
fn wants_runbook(args: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<OsString> = args.skip(1).collect();
    let [.., help, topic] = words.as_slice() else {
        return false;
    };
    (help == "--help" || help == "-h") && topic == "failover"
}

/// Runs the program.
pub fn main() -> ExitCode {
    if wants_runbook(std::env::args_os()) {
        return match skytools::app::output(RUNBOOK) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let caller = Caller::of(std::env::args_os());
    let own = catch_unwind(|| skytools::app::main(commands::run));
    caller.code(own.ok())
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::{ABSENT, Caller, FAILED, WARNED, wants_runbook};

    #[test]
    fn a_server_is_told_only_what_it_takes_for_what_it_is() {
        let code = |n: u8| Some(ExitCode::from(n));
        for (caller, own, told) in [
            (Caller::Anybody, code(3), 3),
            (Caller::Anybody, code(2), 2),
            (Caller::Anybody, None, 1),
            (Caller::Monitor, code(0), 0),
            (Caller::Monitor, code(WARNED), 1),
            (Caller::Monitor, code(FAILED), 2),
            (Caller::Monitor, code(1), 3),
            (Caller::Monitor, code(2), 3),
            (Caller::Monitor, None, 3),
            (Caller::Archiver, code(0), 0),
            (Caller::Archiver, code(2), 1),
            (Caller::Archiver, None, 1),
            (Caller::Standby, code(0), 0),
            (Caller::Standby, code(ABSENT), 1),
            (Caller::Standby, code(2), 1),
            (Caller::Standby, None, 1),
            (Caller::Recovery, code(0), 0),
            (Caller::Recovery, code(ABSENT), 1),
            (Caller::Recovery, code(1), 200),
            (Caller::Recovery, code(2), 200),
            (Caller::Recovery, None, 200),
        ] {
            assert_eq!(caller.code(own), ExitCode::from(told), "{caller:?} {own:?}");
        }
    }

    #[test]
    fn the_caller_is_known_from_a_line_that_does_not_parse() {
        let caller = |line: &str| Caller::of(line.split(' ').map(Into::into));
        assert_eq!(caller("walmgr --no-such x.ini xarchive"), Caller::Archiver);
        assert_eq!(caller("walmgr x.ini xrestore"), Caller::Recovery);
        assert_eq!(caller("walmgr x.ini setup"), Caller::Anybody);
        assert_eq!(caller("walmgr x.ini check --nagios"), Caller::Monitor);
    }

    #[test]
    fn the_runbook_is_a_topic_of_help() {
        let wants = |line: &str| wants_runbook(line.split(' ').map(Into::into));
        assert!(wants("walmgr --help failover"));
        assert!(wants("walmgr x.ini -h failover"));
        for other in [
            "walmgr --help",
            "walmgr failover",
            "walmgr x.ini boot --help",
            "walmgr",
        ] {
            assert!(!wants(other), "{other}");
        }
    }
}
