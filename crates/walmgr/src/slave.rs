//! The slave as the master sees it: commands that are run there, by ssh or right here.

mod batch;
mod cipher;
mod link;
mod multiplex;
mod push;
mod session;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use skytools::daemon::Stop;
use skytools::shell;
use tracing::debug;

pub(crate) use batch::{Source, push_all};
pub(crate) use link::Link;
pub(crate) use push::push;
pub(crate) use session::{Sender, Session};

use crate::Error;
use crate::archive::Form;
use crate::config::MasterConfig;
use crate::place::Place;
use crate::report::Finding;

/// Runs walmgr in the slave's role.
#[derive(Debug, Clone)]
pub(crate) struct Slave {
    /// `None`: on this host.
    host: Option<String>,
    /// Program and options of ssh.
    ssh: Vec<String>,
    /// Whether it tries AES-GCM first, if nobody has chosen its ciphers.
    prefer_aes: bool,
    program: String,
    config: String,
    /// How segments are sent, and kept there.
    pub(crate) form: Form,
}

impl Slave {
    pub(crate) fn new(config: &MasterConfig) -> Result<Slave, Error> {
        let own = std::env::current_exe()
            .map_err(|error| Error::io("find the path of", Path::new("walmgr"), error))?;
        let own = own.to_string_lossy().into_owned();
        let mut ssh = config.ssh_command.clone();
        for option in [
            "BatchMode=yes".to_owned(),
            format!(
                "ConnectTimeout={}",
                config.ssh_connect_timeout.as_secs().max(1)
            ),
            format!(
                "ServerAliveInterval={}",
                config.ssh_keepalive.as_secs().max(1)
            ),
            "ServerAliveCountMax=3".to_owned(),
        ] {
            ssh.extend(["-o".to_owned(), option]);
        }
        if config.compress {
            ssh.push("-C".to_owned());
        }
        if let Some(persist) = config.ssh_multiplex
            && config.slave_host.is_some()
        {
            ssh.extend(multiplex::options(persist)?);
        }
        Ok(Slave {
            host: config.slave_host.clone(),
            ssh,
            prefer_aes: config.ssh_prefer_aes,
            program: config.remote_walmgr.clone().unwrap_or(own),
            config: config.slave_config.clone(),
            form: config.wal_form,
        })
    }

    pub(crate) fn is_here(&self) -> bool {
        self.host.is_none()
    }

    /// Path of the slave's configuration, there.
    pub(crate) fn config(&self) -> &str {
        &self.config
    }

    /// Where it is: host, program's configuration.
    pub(crate) fn address(&self) -> String {
        format!("{} {}", self.name(), self.config)
    }

    /// For messages.
    pub(crate) fn name(&self) -> &str {
        self.host.as_deref().unwrap_or("this host")
    }

    /// Ssh and its options, for a connection that is made now.
    fn ssh_to(&self, host: &str) -> Vec<String> {
        let mut words = self.ssh.clone();
        if self.prefer_aes
            && let Some(ciphers) = cipher::preferred(&words, host)
        {
            words.extend(["-o".to_owned(), format!("Ciphers={ciphers}")]);
        }
        words
    }

    /// A program's words, run on the slave.
    fn on_slave(&self, has_input: bool, words: &[&str]) -> Command {
        let Some(host) = &self.host else {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            return command;
        };
        let ssh = self.ssh_to(host);
        let mut command = Command::new(&ssh[0]);
        command.args(&ssh[1..]).arg("-T");
        if !has_input {
            command.arg("-n");
        }
        // The shell there takes apart what ssh puts together.
        let line: Vec<OsString> = words.iter().map(shell::quote).collect();
        command.arg(host).arg(line.join(" ".as_ref()));
        command
    }

    /// Walmgr on the slave, with these arguments.
    pub(crate) fn command(&self, has_input: bool, args: &[&str]) -> Command {
        let mut words = vec![self.program.as_str(), self.config.as_str()];
        words.extend(args);
        let command = self.on_slave(has_input, &words);
        debug!(?command, "on the slave");
        command
    }

    /// Runs walmgr on the slave to its end; what it logs goes where our own log on stderr goes. Answers with
    /// what it printed.
    ///
    /// # Errors
    /// It cannot be reached, or fails.
    pub(crate) fn run(&self, args: &[&str], input: Option<&[u8]>) -> Result<String, Error> {
        let mut command = self.command(input.is_some(), args);
        command
            .stdin(match input {
                Some(_) => Stdio::piped(),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped());
        let what = || self.what(args);
        let mut child = command
            .spawn()
            .map_err(|error| self.unstarted(args, &error))?;
        if let (Some(bytes), Some(mut stdin)) = (input, child.stdin.take()) {
            // Who does not read it has a reason, which is told by how it ends.
            let _ = stdin.write_all(bytes);
        }
        let output = child
            .wait_with_output()
            .map_err(|error| self.unstarted(args, &error))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(Error::Program {
                what: what(),
                problem: self.ending(output.status, ""),
            }),
        }
    }

    /// As [`Slave::run`], and has what runs there end when we are told to stop.
    ///
    /// # Errors
    /// As [`Slave::run`], or it was interrupted.
    pub(crate) fn run_until(
        &self,
        args: &[&str],
        input: &[u8],
        stop: &Stop,
    ) -> Result<String, Error> {
        let (mut child, mut stdin) = self.start(args)?;
        let said = child
            .stdout
            .take()
            .map(|pipe| thread::spawn(|| push::text_of(pipe)));
        // Who does not read it has a reason, which is told by how it ends.
        let _ = stdin.write_all(input);
        drop(stdin);
        let unstarted = |error| self.unstarted(args, &error);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(unstarted)? {
                break status;
            }
            if stop.sleep(Duration::from_millis(50)) {
                // It may just have ended. By ssh, the other end learns of it when the lock is gone.
                let _ = kill_process(Pid::from_child(&child), Signal::INT);
                break child.wait().map_err(unstarted)?;
            }
        };
        let said = said.and_then(|thread| thread.join().ok());
        match status.success() {
            true => Ok(said.unwrap_or_default()),
            false => Err(Error::Program {
                what: self.what(args),
                problem: self.ending(status, ""),
            }),
        }
    }

    /// What a command on the slave finds, which ends with code 3 if something is wrong.
    ///
    /// # Errors
    /// It cannot be reached, or says something else.
    pub(crate) fn findings(&self, args: &[String]) -> Result<Vec<Finding>, Error> {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = self
            .command(false, &args)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| self.unstarted(&args, &error))?;
        serde_json::from_slice(&output.stdout).map_err(|_| Error::Program {
            what: self.what(&args),
            problem: self.ending(output.status, &String::from_utf8_lossy(&output.stderr)),
        })
    }

    /// Starts walmgr on the slave and keeps its input open, as what it does depends on that.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(&self, args: &[&str]) -> Result<(Child, ChildStdin), Error> {
        let mut child = self
            .command(true, args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| self.unstarted(args, &error))?;
        match child.stdin.take() {
            Some(stdin) => Ok((child, stdin)),
            None => Err(Error::Refused("a program without its input".to_owned())),
        }
    }

    /// `xlock on db2`.
    pub(crate) fn what(&self, args: &[&str]) -> String {
        format!("{} on {}", args.first().unwrap_or(&"walmgr"), self.name())
    }

    fn unstarted(&self, args: &[&str], error: &std::io::Error) -> Error {
        let program = match &self.host {
            Some(_) => &self.ssh[0],
            None => &self.program,
        };
        Error::Program {
            what: self.what(args),
            problem: format!("cannot run {program}: {error}"),
        }
    }

    /// How a program on the slave ended, and what it said.
    pub(crate) fn ending(&self, status: ExitStatus, said: &str) -> String {
        let meaning = match (status.code(), &self.host) {
            (Some(255), Some(_)) => " (no connection, or it was cut)",
            (Some(127), _) => " (there is no such program there: see remote_walmgr)",
            _ => "",
        };
        let said = said.trim();
        let colon = if said.is_empty() { "" } else { ": " };
        format!("{status}{meaning}{colon}{said}")
    }

    /// What rsync is told to reach the slave.
    pub(crate) fn rsync_shell(&self) -> Option<String> {
        let words = self.ssh_to(self.host.as_deref()?);
        // Its own quoting: in single quotes, with a quote doubled.
        let words = words
            .iter()
            .map(|word| match word.contains([' ', '\'', '"']) {
                true => format!("'{}'", word.replace('\'', "''")),
                false => word.clone(),
            });
        Some(words.collect::<Vec<_>>().join(" "))
    }

    /// A path there, as rsync takes it.
    pub(crate) fn place(&self, path: &str) -> Place {
        Place {
            host: self.host.clone(),
            path: path.to_owned(),
        }
    }
}
