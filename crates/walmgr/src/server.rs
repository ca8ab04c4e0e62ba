//! A server's data directory, and the programs that belong to it.

pub(crate) mod change;
pub(crate) mod command;
pub(crate) mod conf;
mod control;
pub(crate) mod slots;
pub(crate) mod standby;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use skytools::daemon::Stop;
use skytools::pidfile::{self, Status};

pub(crate) use control::{Control, ServerState};

use crate::Error;

/// A data directory, and where its server's programs are.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    pub(crate) path: PathBuf,
    bin: Option<PathBuf>,
}

impl DataDir {
    pub(crate) fn new(path: &Path, bin: Option<&Path>) -> DataDir {
        DataDir {
            path: path.to_owned(),
            bin: bin.map(Path::to_owned),
        }
    }

    /// A program of the server's: without a directory, as the shell finds it.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = match &self.bin {
            Some(bin) => Command::new(bin.join(name)),
            None => Command::new(name),
        };
        command.env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// Major version of the cluster in the directory.
    ///
    /// # Errors
    /// It is no data directory.
    pub(crate) fn major(&self) -> Result<u32, Error> {
        let path = self.path.join("PG_VERSION");
        let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
        text.trim()
            .parse()
            .map_err(|_| Error::Refused(format!("{} holds no major version", path.display())))
    }

    /// Major version of the server's programs.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn major_of_programs(&self) -> Result<u32, Error> {
        let text = run(self.program("postgres").arg("-V"))?;
        // postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
        let version = text.split_whitespace().nth(2).unwrap_or_default();
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        digits
            .parse()
            .map_err(|_| Error::Refused(format!("postgres -V says: {}", text.trim())))
    }

    /// What the control file says.
    ///
    /// # Errors
    /// It cannot be read: then nothing is known.
    pub(crate) fn control(&self) -> Result<Control, Error> {
        Control::read(&self.path)
    }

    /// A line of what `pg_controldata` says, for what [`DataDir::control`] does not know.
    ///
    /// # Errors
    /// The program is missing, or says no such thing.
    pub(crate) fn control_text(&self, key: &str) -> Result<String, Error> {
        let mut program = self.program("pg_controldata");
        let text = run(program.arg("--pgdata").arg(&self.path))?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        match value {
            Some(value) => Ok(value.trim().to_owned()),
            None => Err(Error::Refused(format!("pg_controldata says no '{key}'"))),
        }
    }

    /// The postmaster, if it lives.
    ///
    /// # Errors
    /// Its pidfile cannot be read.
    pub(crate) fn postmaster(&self) -> Result<Option<Pid>, Error> {
        let path = self.path.join("postmaster.pid");
        match pidfile::status(&path) {
            Ok(Status::Running(pid)) if is_postgres(pid) => Ok(Some(pid)),
            Ok(_) => Ok(None),
            Err(error) => Err(Error::Refused(skytools::app::chain(&error))),
        }
    }

    /// Waits for the end of the server. False if it still lives then.
    pub(crate) fn wait_for_end(&self, timeout: Duration, stop: &Stop) -> Result<bool, Error> {
        let start = Instant::now();
        loop {
            if self.postmaster()?.is_none() {
                return Ok(true);
            }
            if start.elapsed() > timeout || stop.sleep(Duration::from_millis(100)) {
                return Ok(false);
            }
        }
    }

    /// Directory of WAL.
    pub(crate) fn wal(&self) -> PathBuf {
        self.path.join("pg_wal")
    }

    /// Whether the server is told to be a standby.
    pub(crate) fn is_standby(&self) -> bool {
        self.path.join("standby.signal").exists()
    }

    /// Where its server listens on a socket: directory and port, from `postmaster.pid`.
    pub(crate) fn socket(&self) -> Option<(String, u16)> {
        let text = fs::read_to_string(self.path.join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        let port = lines.nth(3)?.trim().parse().ok()?;
        let dir = lines.next()?.trim();
        (!dir.is_empty()).then(|| (dir.to_owned(), port))
    }
}

/// Whether a process is a server; of others nothing is known, so they count as one.
fn is_postgres(pid: Pid) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => name.trim().starts_with("postgres") || name.trim().starts_with("postmaster"),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// Runs a program to its end, and answers with what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String, Error> {
    let what = command.get_program().to_string_lossy().into_owned();
    let failed = |problem: String| Error::Program {
        what: what.clone(),
        problem,
    };
    let output = command
        .output()
        .map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(failed(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

/// Runs a command of the configuration in the shell; its output goes where our own goes.
pub(crate) fn shell(key: &str, text: &str) -> Result<(), Error> {
    let failed = |problem: String| Error::Program {
        what: format!("{key} ({text})"),
        problem,
    };
    let status = Command::new("sh")
        .args(["-c", text])
        .stdin(Stdio::null())
        // What we print is for programs.
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| failed(error.to_string()))?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(status.to_string())),
    }
}
