//! Reaching other processes of a job: signals by pidfile, starting the program again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;
use rustix::process::kill_process;
use tracing::{error, warn};

use crate::app::CommonArgs;
use crate::pidfile::{Status, status_once_started};

/// What `-s`, `-k` and `-r` ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `-s`: SIGINT, finish the current batch.
    Stop,
    /// `-k`: SIGTERM, end at once.
    Kill,
    /// `-r`: SIGHUP, read the configuration again.
    Reload,
}

/// Signals the process that a pidfile names; does not wait for its end and leaves the file alone. False
/// if there is no such file.
pub(super) fn deliver(pidfile: &Path, signal: Signal) -> bool {
    const NOT_RUNNING: &str = "pidfile exist, but process not running";
    let number = match signal {
        Signal::Stop => rustix::process::Signal::INT,
        Signal::Kill => rustix::process::Signal::TERM,
        Signal::Reload => rustix::process::Signal::HUP,
    };
    match status_once_started(pidfile) {
        Ok(Status::Absent) => return false,
        Ok(Status::Stale) => warn!("{NOT_RUNNING}"),
        Ok(Status::Running(pid)) => match kill_process(pid, number) {
            Ok(()) => {}
            Err(Errno::SRCH) => warn!("{NOT_RUNNING}"),
            Err(error) => warn!("cannot signal process {pid}: {error}"),
        },
        Err(error) => error!("{}", crate::app::chain(&error)),
    }
    true
}

/// Files beside `pidfile` whose name is its own with `suffix` and perhaps more.
pub(super) fn beside(pidfile: &Path, suffix: &str) -> Vec<PathBuf> {
    let directory = match pidfile.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    let Some(name) = pidfile.file_name() else {
        return Vec::new();
    };
    let mut prefix = name.to_owned();
    prefix.push(suffix);
    let prefix = prefix.into_encoded_bytes();
    // A directory that cannot be read holds none that could be.
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name().into_encoded_bytes();
            let helper = name.ends_with(b".lock") || name.ends_with(b".new");
            name.starts_with(&prefix) && !helper
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// How to start this program again: the same program on the same configuration, with `-q`, `-v`,
/// `-d` and `--set` as they were given.
#[derive(Debug, Clone)]
pub struct Relaunch {
    program: PathBuf,
    args: Vec<OsString>,
}

impl Relaunch {
    /// Takes down how the program was started. After an upgrade its path is that of the new one, so
    /// do it at the start.
    pub fn new(args: &CommonArgs, config: &Path) -> Relaunch {
        let mut passed: Vec<OsString> = Vec::new();
        if args.quiet {
            passed.push("-q".into());
        }
        passed.extend((0..args.verbose).map(|_| "-v".into()));
        if args.daemon {
            passed.push("-d".into());
        }
        for set in &args.set {
            passed.push(format!("--set={}={}", set.key, set.value).into());
        }
        passed.push(config.into());
        let invoked = || std::env::args_os().next().unwrap_or_default().into();
        Relaunch {
            program: std::env::current_exe().unwrap_or_else(|_| invoked()),
            args: passed,
        }
    }

    /// The program with its options and its configuration; add a command.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        command
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Relaunch, beside};
    use crate::app::{CommonArgs, Override};

    #[test]
    fn a_program_is_started_again_with_its_options() {
        let mut args = CommonArgs::default();
        args.quiet = true;
        args.verbose = 2;
        args.daemon = true;
        args.once = true;
        args.set.push(Override {
            key: "a".to_owned(),
            value: "b = c".to_owned(),
        });
        let command = Relaunch::new(&args, Path::new("x.ini")).command();
        let passed: Vec<_> = command.get_args().collect();
        assert_eq!(passed, ["-q", "-v", "-v", "-d", "--set=a=b = c", "x.ini"]);
        assert!(Path::new(command.get_program()).is_file());
    }

    #[test]
    fn pidfiles_of_a_suffix_are_found_without_their_locks() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        for name in [
            "j.pid",
            "j.pid.copy",
            "j.pid.copy.lock",
            "j.pid.copy.t",
            "j.pid.copy.t.new",
            "k.pid.copy",
        ] {
            std::fs::write(dir.path().join(name), "")?;
        }
        let found = beside(&dir.path().join("j.pid"), ".copy");
        assert_eq!(
            found,
            [
                dir.path().join("j.pid.copy"),
                dir.path().join("j.pid.copy.t")
            ]
        );
        assert!(beside(Path::new("/nowhere/j.pid"), ".copy").is_empty());
        Ok(())
    }
}
