//! An ssh server of a test's own: on a free port of 127.0.0.1, with keys of its own, for its own user.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::owner::Owner;
use crate::program::Running;
use crate::{TestResult, wait_until};

/// Name of the host in the client's configuration.
const HOST: &str = "slave";

/// A running sshd; ended when dropped. Neither it nor its clients touch the user's own files of ssh.
#[derive(Debug)]
pub struct Sshd {
    dir: TempDir,
    owner: Owner,
    port: u16,
    running: Option<Running>,
}

impl Sshd {
    /// Starts one that lets in its owner alone.
    ///
    /// # Errors
    /// sshd or ssh-keygen are not installed, or it does not start; its log is in the message.
    pub fn start(owner: Owner) -> TestResult<Sshd> {
        let dir = tempfile::Builder::new().prefix("ssh").tempdir()?;
        owner.give(dir.path())?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut sshd = Sshd {
            dir,
            owner,
            port,
            running: None,
        };
        for name in ["host_key", "user_key"] {
            let mut command = Command::new("ssh-keygen");
            command
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(sshd.path(name));
            owner.apply(&mut command);
            let status = command.stdin(Stdio::null()).status()?;
            if !status.success() {
                return Err(format!("ssh-keygen: {status}").into());
            }
        }
        let host_key = fs::read_to_string(sshd.path("host_key.pub"))?;
        sshd.write("known_hosts", &format!("[127.0.0.1]:{port} {host_key}"))?;
        sshd.write(
            "sshd_config",
            &format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile {}\nAuthorizedKeysFile {}\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n\
                 AllowUsers {}\nMaxStartups 100:30:200\n",
                sshd.path("host_key").display(),
                sshd.path("pid").display(),
                sshd.path("user_key.pub").display(),
                owner.name()?,
            ),
        )?;
        sshd.write(
            "ssh_config",
            &format!(
                "Host {HOST}\nHostName 127.0.0.1\nPort {port}\nUser {}\nIdentityFile {}\nIdentitiesOnly yes\n\
                 UserKnownHostsFile {}\nStrictHostKeyChecking yes\nBatchMode yes\n",
                owner.name()?,
                sshd.path("user_key").display(),
                sshd.path("known_hosts").display(),
            ),
        )?;
        sshd.start_again()?;
        Ok(sshd)
    }

    /// Starts it after [`Sshd::stop`].
    ///
    /// # Errors
    /// It does not listen.
    pub fn start_again(&mut self) -> TestResult {
        // It runs itself again for each connection, and wants to know where it is for that.
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"]
            .into_iter()
            .find(|path| Path::new(path).is_file())
            .ok_or("sshd is not installed; cargo xtask test installs it")?;
        let mut command = Command::new(program);
        command.arg("-D").arg("-f").arg(self.path("sshd_config"));
        command.arg("-E").arg(self.path("log"));
        self.owner.apply(&mut command);
        let mut running = Running::start(&mut command, &self.path("output"))?;
        let port = self.port;
        wait_until("sshd to listen", Duration::from_secs(20), || {
            if let Some(status) = running.ended()? {
                return Err(format!("sshd ended with {status}").into());
            }
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
        })
        .map_err(|error| format!("{error}\n{}", self.log()))?;
        self.running = Some(running);
        Ok(())
    }

    /// Ends it; connections that are open go on.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Starts it again with one more line in its configuration.
    ///
    /// # Errors
    /// It does not listen.
    pub fn configure(&mut self, line: &str) -> TestResult {
        self.stop();
        let text = fs::read_to_string(self.path("sshd_config"))?;
        self.write("sshd_config", &format!("{text}{line}\n"))?;
        self.start_again()
    }

    /// Cuts every connection, as when its host is gone; commands that run there find their input at its end.
    ///
    /// # Errors
    /// A process cannot be killed.
    pub fn cut(&self) -> TestResult {
        for pid in self.processes().into_iter().skip(1) {
            signal(pid, Signal::KILL)?;
        }
        Ok(())
    }

    /// Has it answer nobody any more, without closing a connection; new ones are taken, and wait.
    ///
    /// # Errors
    /// A process cannot be stopped.
    pub fn freeze(&self) -> TestResult {
        let mut pids = self.processes();
        for pid in &pids {
            signal(*pid, Signal::STOP)?;
        }
        // One may have started another in between.
        pids = self.processes();
        for pid in pids {
            signal(pid, Signal::STOP)?;
        }
        Ok(())
    }

    /// Ends what [`Sshd::freeze`] began.
    ///
    /// # Errors
    /// A process cannot be continued.
    pub fn thaw(&self) -> TestResult {
        for pid in self.processes() {
            signal(pid, Signal::CONT)?;
        }
        Ok(())
    }

    /// The one that listens, and then those that serve a connection; not the commands they run.
    fn processes(&self) -> Vec<Pid> {
        let Some(first) = self.running.as_ref() else {
            return Vec::new();
        };
        let first = i32::try_from(first.pid()).ok().and_then(Pid::from_raw);
        let mut found: Vec<Pid> = first.into_iter().collect();
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(children(parent, "sshd"));
            next += 1;
        }
        found
    }

    /// What ssh has to be called with: `ssh -F FILE`.
    pub fn command(&self) -> String {
        format!("ssh -F {}", self.path("ssh_config").display())
    }

    /// The host that this leads to.
    pub fn host(&self) -> &'static str {
        HOST
    }

    /// What it has logged, and printed.
    pub fn log(&self) -> String {
        let text = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        text("log") + &text("output")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> TestResult {
        let path = self.path(name);
        fs::write(&path, text)?;
        Ok(self.owner.give(&path)?)
    }
}

/// Processes that a process has started, as far as their name begins so.
fn children(parent: Pid, name: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // `PID (NAME) STATE PARENT ...`, and the name may hold anything.
        let Some((front, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let Some((pid, its_name)) = front.split_once(" (") else {
            continue;
        };
        let its_parent = rest.split(' ').nth(1).and_then(|text| text.parse().ok());
        if its_name.starts_with(name) && its_parent.and_then(Pid::from_raw) == Some(parent) {
            found.extend(pid.parse().ok().and_then(Pid::from_raw));
        }
    }
    found
}

/// Sends a signal to a process that may just have ended.
fn signal(pid: Pid, signal: Signal) -> TestResult {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
