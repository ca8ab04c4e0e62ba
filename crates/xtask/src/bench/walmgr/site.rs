//! A master with segments that wait, a slave's directory, and ssh between them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use postgres::Client;
use testkit::{Owner, Program, Sshd, bin};

use crate::Result;
use crate::bench::stand::Stand;
use crate::process::{Interrupt, pause};

/// How long a command of the server may take for all segments.
const PATIENCE: Duration = Duration::from_secs(600);

/// A master that archives nothing unless it is told to, and what belongs to it.
#[derive(Debug)]
pub(super) struct Site {
    stand: Stand,
    sshd: Sshd,
    owner: Owner,
    /// Segments that are measured, in their order.
    pub(super) segments: Vec<String>,
}

impl Site {
    /// Starts a master that has finished so many segments of the usual size.
    pub(super) fn start(segments: usize) -> Result<Site> {
        let stand = Stand::with(&[
            ("archive_mode", "on"),
            ("wal_keep_size", "8GB"),
            ("autovacuum", "off"),
        ])?;
        let owner = stand.cluster().owner();
        let mut site = Site {
            sshd: Sshd::start(owner)?,
            stand,
            owner,
            segments: Vec::new(),
        };
        for dir in ["w", "w/s"] {
            fs::create_dir(site.stand.file(dir))?;
            owner.give(&site.stand.file(dir))?;
        }
        let program = site.path("walmgr");
        if fs::hard_link(bin("walmgr"), &program).is_err() {
            fs::copy(bin("walmgr"), &program)?;
        }
        site.write_slave()?;
        site.fill(segments)?;
        Ok(site)
    }

    pub(super) fn version(&self) -> Result<String> {
        self.stand.version()
    }

    pub(super) fn db(&self) -> Result<Client> {
        self.stand.connect("postgres")
    }

    pub(super) fn stand(&self) -> &Stand {
        &self.stand
    }

    /// A file below a directory that belongs to the server's user.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.stand.file("w").join(name)
    }

    /// A file of the archive.
    pub(super) fn archived(&self, name: &str) -> PathBuf {
        self.path("ship/logs.complete").join(name)
    }

    /// A finished segment of the master.
    pub(super) fn wal(&self, name: &str) -> PathBuf {
        self.stand.cluster().data_dir().join("pg_wal").join(name)
    }

    /// How the slave is reached by ssh: command and host.
    pub(super) fn ssh(&self) -> (String, &'static str) {
        (self.sshd.command(), self.sshd.host())
    }

    /// Writes a configuration of the master under a name; with ssh, or with a directory of this machine.
    pub(super) fn write_master(&self, name: &str, is_remote: bool, lines: &str) -> Result<PathBuf> {
        let (host, ssh) = match is_remote {
            true => (
                format!("{}:", self.sshd.host()),
                format!("ssh_command = {}\n", self.sshd.command()),
            ),
            false => Default::default(),
        };
        let data = self.stand.cluster().data_dir();
        let path = self.path(&format!("{name}.ini"));
        let text = format!(
            "[wal-master]\njob_name = {name}\nmaster_db = {}\nmaster_data = {data}\nmaster_config = \
             {data}/postgresql.conf\nmaster_bin = {}\nslave = {host}{}\nslave_config = {}\n\
             completed_wals = %(slave)s/logs.complete\npartial_wals = %(slave)s/logs.partial\n\
             full_backup = %(slave)s/data.master\nlogfile = {}\n{ssh}{lines}\n",
            self.stand.conninfo("postgres"),
            self.stand.cluster().bindir().display(),
            self.path("ship").display(),
            self.path("slave.ini").display(),
            self.path("walmgr.log").display(),
            data = data.display(),
        );
        fs::write(&path, text)?;
        Ok(path)
    }

    fn write_slave(&self) -> Result {
        let bindir = self.stand.cluster().bindir().display();
        let pg_ctl = format!(
            "{bindir}/pg_ctl -D {} -w -t 60 -l {}",
            self.path("slave").display(),
            self.path("slave.server.log").display(),
        );
        let text = format!(
            "[wal-slave]\njob_name = slave\nslave_data = {}\nslave_bin = {bindir}\nslave_start_cmd = {pg_ctl} \
             -o \"-c unix_socket_directories={} -c listen_addresses= -c port=5432\" start\nslave_stop_cmd = \
             {pg_ctl} -m fast stop\nslave = {}\ncompleted_wals = %(slave)s/logs.complete\npartial_wals = \
             %(slave)s/logs.partial\nfull_backup = %(slave)s/data.master\nlogfile = {}\nbackup_datadir = no\n",
            self.path("slave").display(),
            self.path("s").display(),
            self.path("ship").display(),
            self.path("walmgr.log").display(),
        );
        Ok(fs::write(self.path("slave.ini"), text)?)
    }

    /// The program, as the server's user.
    pub(super) fn walmgr(&self, config: &Path) -> Program {
        Program::at(&self.path("walmgr"), &self.path(""))
            .owned_by(self.owner)
            .args([config])
    }

    /// A shell as the server's user.
    pub(super) fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(line);
        self.owner.apply(&mut command);
        command.current_dir(self.path(""));
        command
    }

    /// The archive, empty.
    pub(super) fn clear(&self) -> Result {
        for dir in ["ship", "spool"] {
            remove_tree(&self.path(dir))?;
        }
        self.walmgr(&self.path("slave.ini"))
            .args(["setup", "-q"])
            .succeed()?;
        // What was written before is not to be waited for by what is measured.
        rustix::fs::sync();
        Ok(())
    }

    /// Has the server finish segments with many small changes.
    fn fill(&mut self, segments: usize) -> Result {
        let mut db = self.db()?;
        db.batch_execute("create table filler (id int primary key, text text, n int)")?;
        let mut from = 0;
        while self.waiting()?.len() < segments {
            db.batch_execute(&format!(
                "insert into filler select i, md5(i::text), i % 100 \
                   from generate_series({from}, {from} + 49999) i; \
                 update filler set n = n + 1 where id >= {from} and id % 2 = 0; checkpoint"
            ))?;
            from += 50_000;
        }
        self.segments = self.waiting()?;
        self.segments.truncate(segments);
        Ok(())
    }

    /// Segments that wait to be archived, in their order.
    fn waiting(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.wal("archive_status"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(name) = name.strip_suffix(".ready").filter(|name| name.len() == 24) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Segments per second that the server archives with a command.
    pub(super) fn drain(&self, command: &str, interrupt: &Interrupt) -> Result<f64> {
        self.archive_with("")?;
        for name in &self.segments {
            let status = |suffix: &str| self.wal(&format!("archive_status/{name}.{suffix}"));
            if !status("ready").exists() {
                fs::rename(status("done"), status("ready"))?;
            }
        }
        let started = Instant::now();
        self.archive_with(command)?;
        let last = self.segments.last().ok_or("no segments")?;
        let last = self.wal(&format!("archive_status/{last}.done"));
        while !last.exists() {
            interrupt.check()?;
            if started.elapsed() > PATIENCE {
                return Err(format!("{command}: {}", self.stand.cluster().log()).into());
            }
            pause(Duration::from_millis(1));
        }
        let seconds = started.elapsed().as_secs_f64();
        self.archive_with("")?;
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        Ok(self.segments.len() as f64 / seconds)
    }

    /// Sets the server's `archive_command`.
    pub(super) fn archive_with(&self, command: &str) -> Result {
        let command = command.replace('\'', "''");
        let mut db = self.db()?;
        db.batch_execute(&format!("alter system set archive_command = '{command}'"))?;
        db.batch_execute("select pg_reload_conf()")?;
        Ok(())
    }
}

/// Removes a directory; none is fine.
pub(super) fn remove_tree(path: &Path) -> Result {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()).into())
        }
        _ => Ok(()),
    }
}

/// Runs a command that has to succeed, without its output.
pub(super) fn succeed(command: &mut Command) -> Result {
    let output = command.stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
        .into()),
    }
}
