//! A host: a directory with a manager's configuration, jobs of foreign programs, and the program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use testkit::{Job, Output, Program, Running, TestResult};

/// Longer than anything takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A job that goes to the background and waits for signals, as those of version 2.1 do: without a lock,
/// with a pidfile that it removes at its end. The key `style` makes it another kind.
pub(crate) const WORKER: &str = r#"#!/bin/bash
config=$1
get() { sed -n "s/^$1 *= *//p" "$config"; }
pidfile=$(get pidfile)
dir=$(dirname "$config")
echo "$@" >> "$dir/arguments"
case "$(get style)" in
    refuses) echo "no such database" >&2; exit 7 ;;
    foreground) exec sleep 10 < /dev/null > /dev/null 2>&1 ;;
    dies) exit 0 ;;
esac
style=$(get style)
(
    trap 'rm -f "$pidfile"; exit 0' INT
    trap 'echo reloaded >> "$dir/reloads"' HUP
    case "$style" in
        stubborn) trap '' INT ;;
        immortal) trap '' INT TERM ;;
        slow) trap 'while [ ! -e "$dir/may_end" ]; do sleep 0.05; done; rm -f "$pidfile"; exit 0' INT ;;
        brief) echo "$BASHPID" > "$pidfile"; sleep 0.3; rm -f "$pidfile"; exit 1 ;;
    esac
    printf '%s' "$BASHPID" > "$pidfile"
    while :; do sleep 0.05; done
) < /dev/null > /dev/null 2>&1 &
"#;

pub(crate) struct Site {
    // Before the directory: jobs end first.
    jobs: Vec<Job>,
    dir: TempDir,
}

impl Site {
    /// A manager with one service, `worker`, whose jobs are the files `*.ini` in `conf`.
    pub(crate) fn new() -> TestResult<Site> {
        let mut site = Site {
            jobs: Vec::new(),
            dir: tempfile::tempdir()?,
        };
        fs::set_permissions(site.dir.path(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(site.path("conf"))?;
        site.script("worker.sh", WORKER)?;
        site.manager("[worker]\nscript = ../worker.sh\n")?;
        for name in ["a", "b"] {
            site.job(name, "")?;
        }
        Ok(site)
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> TestResult {
        Ok(fs::write(self.path(file), text)?)
    }

    /// A file's content, or nothing if it is not there.
    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap_or_default()
    }

    /// Writes a program.
    pub(crate) fn script(&self, file: &str, text: &str) -> TestResult {
        self.write(file, text)?;
        Ok(fs::set_permissions(
            self.path(file),
            fs::Permissions::from_mode(0o755),
        )?)
    }

    /// Writes the manager's configuration: jobs run in `conf`, and `services`.
    pub(crate) fn manager(&self, services: &str) -> TestResult {
        self.write(
            "m.ini",
            &format!(
                "[scriptmgr]\nconfig_list = conf/*.ini\nlogfile = m.log\nstart_timeout = 20\n\
                 [DEFAULT]\ncwd = conf\n{services}"
            ),
        )
    }

    /// Writes a job of the service `worker`, with more lines.
    pub(crate) fn job(&mut self, name: &str, lines: &str) -> TestResult {
        let pidfile = self.path(&format!("conf/{name}.pid"));
        self.jobs.push(Job::new(pidfile));
        let text = format!("[worker]\njob_name = {name}\npidfile = {name}.pid\n{lines}");
        self.write(&format!("conf/{name}.ini"), &text)
    }

    /// The process of a job.
    pub(crate) fn daemon(&self, name: &str) -> Job {
        let mut job = Job::new(self.path(&format!("conf/{name}.pid")));
        // The site ends it.
        job.keep();
        job
    }

    pub(crate) fn program(&self, line: &str) -> Program {
        Program::new("scriptmgr", self.dir.path()).args(line.split(' '))
    }

    pub(crate) fn run(&self, line: &str) -> TestResult<Output> {
        self.program(line).output()
    }

    pub(crate) fn succeed(&self, line: &str) -> TestResult<Output> {
        self.program(line).succeed()
    }

    pub(crate) fn spawn(&self, line: &str) -> TestResult<Running> {
        self.program(line).spawn()
    }

    /// Runs what must end with code 1, and returns what it said.
    pub(crate) fn fail(&self, line: &str) -> TestResult<String> {
        let output = self.run(line)?;
        assert_eq!(output.status.code(), Some(1), "{line}: {}", output.stderr);
        Ok(output.stderr)
    }

    /// What `status` prints, and its exit code.
    pub(crate) fn status(&self) -> TestResult<(String, Option<i32>)> {
        let output = self.run("m.ini status")?;
        Ok((output.stdout, output.status.code()))
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// The lines of a log without time and pid: `WARNING job a is not running`.
pub(crate) fn messages(log: &str) -> Vec<String> {
    log.lines()
        .map(|line| line.splitn(4, ' ').nth(3).unwrap_or(line).to_owned())
        .collect()
}
