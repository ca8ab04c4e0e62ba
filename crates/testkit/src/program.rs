//! Running the workspace's programs as a user would start them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::owner::Owner;
use crate::{TestResult, wait_for};

/// Path of a program of the workspace, built beside the running test.
///
/// # Panics
/// It has not been built: run the tests of the whole workspace.
pub fn bin(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test
        .ancestors()
        .find(|dir| dir.join(name).is_file())
        .unwrap_or_else(|| panic!("{name} is not built; run: cargo build --workspace"));
    profile.join(name)
}

/// A program with its arguments, working directory and environment.
#[derive(Debug)]
pub struct Program {
    command: Command,
}

/// What a finished program left.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
}

impl Program {
    /// A program of the workspace, run in `dir`, without the caller's `PG*` variables.
    pub fn new(name: &str, dir: &Path) -> Program {
        Program::at(&bin(name), dir)
    }

    /// A program anywhere, run as [`Program::new`] does.
    pub fn at(path: &Path, dir: &Path) -> Program {
        let mut command = Command::new(path);
        command.current_dir(dir).stdin(Stdio::null());
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        Program { command }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Program {
        self.command.args(args);
        self
    }

    /// Runs it as another user.
    #[must_use]
    pub fn owned_by(mut self, owner: Owner) -> Program {
        owner.run_as(&mut self.command);
        self
    }

    /// Gives it a file to read.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn input(mut self, path: &Path) -> TestResult<Program> {
        self.command.stdin(File::open(path)?);
        Ok(self)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Program {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It cannot be started. An exit code other than zero is no error here.
    pub fn output(mut self) -> TestResult<Output> {
        let output = self.command.output()?;
        Ok(Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it to its end and insists on exit code 0.
    ///
    /// # Errors
    /// It failed; its output is in the message.
    pub fn succeed(self) -> TestResult<Output> {
        let shown = format!("{:?}", self.command);
        let output = self.output()?;
        if output.status.success() {
            return Ok(output);
        }
        Err(format!(
            "{shown}: {}\n{}{}",
            output.status, output.stdout, output.stderr
        )
        .into())
    }

    /// Starts it in the foreground; it is killed when the handle is dropped.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(mut self) -> TestResult<Running> {
        Ok(Running {
            child: self
                .command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?,
        })
    }
}

/// A program running in the foreground of the test; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts any program; what it prints goes to the end of `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> TestResult<Running> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Running { child })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub fn ended(&mut self) -> TestResult<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Most memory that it has had, in kilobytes.
    ///
    /// # Errors
    /// It is gone already.
    pub fn peak_memory_kb(&self) -> TestResult<u32> {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
            .ok_or_else(|| format!("{path} has no VmHWM"))?;
        Ok(peak.trim().parse()?)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone already.
    pub fn signal(&self, signal: Signal) -> TestResult {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> TestResult {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> TestResult<ExitStatus> {
        wait_for("the program to end", timeout, || {
            Ok(self.child.try_wait()?)
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; either way nothing is left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
