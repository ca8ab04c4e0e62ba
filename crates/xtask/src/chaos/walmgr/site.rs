//! Where it plays: a master under load, its slave on the same machine or behind ssh, and the programs between them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use postgres::{Client, NoTls};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Cluster, Output, Owner, Program, Running, Sshd, bin, wait_until};

use crate::Result;
use crate::chaos::random::Random;
use crate::scratch::Scratch;

/// Servers, configuration, and what runs. The order of the fields is that of their end.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) backup: Option<Running>,
    pub(super) restore: Option<Running>,
    pub(super) sshd: Option<Sshd>,
    pub(super) master: Cluster,
    owner: Owner,
    dir: PathBuf,
    _scratch: Scratch,
}

impl Site {
    /// Starts a master that archives.
    pub(super) fn set_up(random: &mut Random) -> Result<Site> {
        let scratch = Scratch::new()?;
        let master = Cluster::builder()
            .below(scratch.path())
            // Rows come at a pace that a segment at a time over ssh can follow.
            .setting("fsync", "on")
            .setting("commit_delay", "8000")
            .setting("commit_siblings", "0")
            .setting("checkpoint_timeout", "30s")
            .setting("max_wal_size", "32MB")
            .start()?;
        let owner = master.owner();
        let sshd = match random.one_in(2) {
            true => Some(Sshd::start(owner)?),
            false => None,
        };
        let dir = scratch.path().join("w");
        for path in [&dir, &dir.join("s")] {
            fs::create_dir(path)?;
            owner.give(path)?;
        }
        fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
        let mut site = Site {
            backup: None,
            restore: None,
            sshd,
            master,
            owner,
            dir,
            _scratch: scratch,
        };
        // Of its own, to be told from others.
        fs::copy(bin("walmgr"), site.path("walmgr"))?;
        site.write_configuration(random.below(4))?;
        site.succeed("master.ini setup")?;
        site.master.restart(testkit::Shutdown::Fast)?;
        Ok(site)
    }

    fn write_configuration(&self, keep_backups: u32) -> Result {
        let (host, ssh) = match &self.sshd {
            Some(sshd) => (
                format!("{}:", sshd.host()),
                format!("ssh_command = {}\n", sshd.command()),
            ),
            None => Default::default(),
        };
        let base = self.path("ship").display().to_string();
        let bin = self.master.bindir().display().to_string();
        let data = self.master.data_dir().display().to_string();
        let places = "completed_wals = %(slave)s/logs.complete\npartial_wals = %(slave)s/logs.partial\n\
                      full_backup = %(slave)s/data.master\nconfig_backup = %(slave)s/config.backup\n";
        fs::write(
            self.path("master.ini"),
            format!(
                "[wal-master]\njob_name = master\nmaster_db = {}\nmaster_data = {data}\nmaster_config = \
                 {data}/postgresql.conf\nmaster_bin = {bin}\nslave = {host}{base}\nslave_config = {}\n{places}\
                 use_xlog_functions = 1\nloop_delay = 0.1\nssh_keepalive = 1\nssh_connect_timeout = 3\n\
                 backup_wal_timeout = 60\nlogfile = {}\npidfile = {}\n{ssh}",
                self.master.conninfo("postgres"),
                self.path("slave.ini").display(),
                self.path("master.log").display(),
                self.path("master.pid").display(),
            ),
        )?;
        fs::write(
            self.path("slave.ini"),
            format!(
                "[wal-slave]\njob_name = slave\nslave_data = {}\nslave_bin = {bin}\nslave_start_cmd = {}\n\
                 slave_stop_cmd = {bin}/pg_ctl -D {} -w -t 60 -m fast stop\nslave = {base}\n{places}\
                 keep_backups = {keep_backups}\nbackup_datadir = no\nwal_poll_interval = 200ms\nlogfile = {}\n",
                self.path("slave").display(),
                self.start_command(),
                self.path("slave").display(),
                self.path("slave.log").display(),
            ),
        )?;
        Ok(())
    }

    fn start_command(&self) -> String {
        format!(
            "{}/pg_ctl -D {} -w -t 60 -l {} -o \"-c unix_socket_directories={} -c listen_addresses= -c \
             port=5432\" start",
            self.master.bindir().display(),
            self.path("slave").display(),
            self.path("slave.server.log").display(),
            self.path("s").display(),
        )
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The program, with arguments that hold no blanks.
    pub(super) fn program(&self, line: &str) -> Program {
        Program::at(&self.path("walmgr"), &self.dir)
            .owned_by(self.owner)
            .env("PGUSER", "postgres")
            .args(line.split_whitespace())
    }

    /// Runs a line, however it ends.
    pub(super) fn run(&self, line: &str) -> Result<Output> {
        self.program(line).output()
    }

    /// Runs a line that has to succeed.
    pub(super) fn succeed(&self, line: &str) -> Result<Output> {
        self.program(line)
            .succeed()
            .map_err(|error| format!("{error}\n{}", self.logs()).into())
    }

    /// The same for one that may find something in its way at first.
    pub(super) fn succeed_in_time(&self, line: &str, time: Duration) -> Result {
        let mut last = String::new();
        let done = wait_until(line, time, || {
            let output = self.run(line)?;
            last = output.stderr;
            Ok(output.status.success())
        });
        done.map_err(|error| format!("{error}: {last}\n{}", self.logs()).into())
    }

    /// The ends of all logs.
    pub(super) fn logs(&self) -> String {
        let names = ["master.log", "slave.log", "slave.server.log"];
        let mut text = String::new();
        for name in names {
            let log = fs::read_to_string(self.path(name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            text.push_str(&format!("{name}:\n{tail}\n"));
        }
        text
    }

    /// Connect string of the slave's server.
    pub(super) fn slave_conninfo(&self) -> String {
        format!(
            "host={} port=5432 user=postgres dbname=postgres",
            self.path("s").display()
        )
    }

    /// A connection to the slave's server.
    pub(super) fn slave(&self) -> Result<Client> {
        Ok(Client::connect(&self.slave_conninfo(), NoTls)?)
    }

    /// The slave's postmaster, if it runs.
    pub(super) fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.path("slave/postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        let works = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (works == self.path("slave"))
            .then(|| Pid::from_raw(pid))
            .flatten()
    }

    /// Kills the slave's server, as a power cut does; false if there is none.
    pub(super) fn kill_slave(&self) -> Result<bool> {
        let Some(pid) = self.postmaster() else {
            return Ok(false);
        };
        // It may just have ended.
        let _ = kill_process(pid, Signal::KILL);
        let data = self.path("slave");
        wait_until("the slave's server to end", Duration::from_secs(30), || {
            let left = working_in(&data);
            for pid in &left {
                let _ = kill_process(*pid, Signal::KILL);
            }
            // A new server takes one for alive that has not been waited for.
            let is_there = Path::new(&format!("/proc/{pid}")).exists();
            Ok(left.is_empty() && !is_there)
        })?;
        Ok(true)
    }

    /// Starts it again, as its host does after a boot.
    pub(super) fn start_slave(&self) -> Result {
        let mut command = Command::new("sh");
        self.owner.apply(&mut command);
        let status = command
            .args(["-c", &self.start_command()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the slave's server does not start\n{}", self.logs()).into()),
        }
    }

    /// Kills one of our programs, or of what they have started; its name.
    pub(super) fn kill_one(&self, random: &mut Random) -> Option<String> {
        let found = self.programs();
        if found.is_empty() {
            return None;
        }
        let (pid, name) = random.choose(&found);
        kill_process(*pid, Signal::KILL)
            .is_ok()
            .then(|| name.clone())
    }

    /// Our programs, and ssh and rsync that they have started.
    fn programs(&self) -> Vec<(Pid, String)> {
        let own = self.path("walmgr");
        let dir = self.dir.to_string_lossy().into_owned();
        let ssh = self.sshd.as_ref().map(Sshd::command);
        let ssh = ssh.as_deref().and_then(|text| text.split(' ').next_back());
        let mut found = Vec::new();
        for (pid, path) in processes() {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            let words: Vec<&str> = line.split('\0').collect();
            let program = words.first().copied().unwrap_or_default();
            let name = match Path::new(program)
                .file_name()
                .and_then(|name| name.to_str())
            {
                Some("walmgr") if Path::new(program) == own => {
                    words.iter().skip(1).find(|word| !word.ends_with(".ini"))
                }
                Some("rsync") if line.contains(&dir) => Some(&"rsync"),
                Some("ssh") if ssh.is_some_and(|ssh| line.contains(ssh)) => Some(&"ssh"),
                _ => None,
            };
            found.extend(name.map(|name| (pid, (*name).to_owned())));
        }
        found
    }
}

/// All processes, and where `/proc` has them.
fn processes() -> Vec<(Pid, PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((Pid::from_raw(pid)?, entry.path()))
        })
        .collect()
}

/// Processes that work in a directory.
fn working_in(dir: &Path) -> Vec<Pid> {
    processes()
        .into_iter()
        .filter(|(_, path)| fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == dir))
        .map(|(pid, _)| pid)
        .collect()
}
