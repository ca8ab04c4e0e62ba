use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use postgres::{Client, NoTls};
use tempfile::TempDir;
use testkit::{Cluster, Output, Owner, Program, Running, Sshd, TestResult, bin, wait_until};

use crate::PATIENCE;

/// A master, and the place and the configuration of its slave.
pub(crate) struct Site {
    pub(crate) master: Cluster,
    pub(crate) sshd: Option<Sshd>,
    pub(crate) owner: Owner,
    dir: TempDir,
}

impl Site {
    /// A slave directory on the same machine.
    pub(crate) fn new() -> TestResult<Site> {
        Site::with(false, "")
    }

    /// The same behind ssh.
    pub(crate) fn behind_ssh() -> TestResult<Site> {
        Site::with(true, "")
    }

    /// With more lines in the slave's file.
    pub(crate) fn with(is_remote: bool, slave_lines: &str) -> TestResult<Site> {
        let site = Site::of(Site::cluster(None)?, is_remote)?;
        site.write_slave(slave_lines)?;
        Ok(site)
    }

    /// With segments of so many megabytes.
    pub(crate) fn with_segments(megabytes: u32) -> TestResult<Site> {
        let cluster = Cluster::builder().segment_megabytes(megabytes);
        Site::of(cluster.start()?, false)
    }

    /// With the master's data in a directory of its own.
    pub(crate) fn with_master_below(parent: &Path) -> TestResult<Site> {
        Site::of(Site::cluster(Some(parent))?, false)
    }

    fn cluster(parent: Option<&Path>) -> TestResult<Cluster> {
        let builder = Cluster::builder().setting("wal_keep_size", "64MB");
        match parent {
            Some(parent) => builder.below(parent).start(),
            None => builder.start(),
        }
    }

    fn of(master: Cluster, is_remote: bool) -> TestResult<Site> {
        let owner = master.owner();
        let sshd = match is_remote {
            true => Some(Sshd::start(owner)?),
            false => None,
        };
        let dir = tempfile::Builder::new().prefix("wm").tempdir()?;
        owner.give(dir.path())?;
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        let site = Site {
            master,
            sshd,
            owner,
            dir,
        };
        // The servers run it, wherever it was built.
        if fs::hard_link(bin("walmgr"), site.path("walmgr")).is_err() {
            fs::copy(bin("walmgr"), site.path("walmgr"))?;
        }
        fs::create_dir(site.path("s"))?;
        owner.give(&site.path("s"))?;
        site.write_master("")?;
        site.write_slave("")?;
        Ok(site)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file below the slave's base directory.
    pub(crate) fn shipped(&self, name: &str) -> PathBuf {
        self.path("ship").join(name)
    }

    /// A file of the archive.
    pub(crate) fn archived(&self, name: &str) -> PathBuf {
        self.shipped("logs.complete").join(name)
    }

    /// `master.ini`, with more lines.
    pub(crate) fn write_master(&self, lines: &str) -> TestResult {
        let (host, ssh) = match &self.sshd {
            Some(sshd) => (
                format!("{}:", sshd.host()),
                format!("ssh_command = {}\n", sshd.command()),
            ),
            None => Default::default(),
        };
        let data = self.master.data_dir();
        let text = format!(
            "[wal-master]\njob_name = master\nmaster_db = {}\nmaster_data = {}\nmaster_config = \
             DATA/postgresql.conf\nmaster_bin = {}\nslave = {host}{}\nslave_config = {}\n\
             completed_wals = %(slave)s/logs.complete\npartial_wals = %(slave)s/logs.partial\n\
             full_backup = %(slave)s/data.master\nconfig_backup = %(slave)s/config.backup\n\
             backup_wal_timeout = 60\nlogfile = {}\npidfile = {}\n{ssh}{lines}\n",
            self.master.conninfo("postgres"),
            data.display(),
            self.master.bindir().display(),
            self.path("ship").display(),
            self.path("slave.ini").display(),
            self.path("master.log").display(),
            self.path("master.pid").display(),
        );
        let text = text.replace("DATA", &data.display().to_string());
        Ok(fs::write(self.path("master.ini"), text)?)
    }

    /// `slave.ini`, with more lines.
    pub(crate) fn write_slave(&self, lines: &str) -> TestResult {
        let pg_ctl = format!(
            "{}/pg_ctl -D {} -w -t 60 -l {}",
            self.master.bindir().display(),
            self.path("slave").display(),
            self.path("slave.server.log").display(),
        );
        Ok(fs::write(
            self.path("slave.ini"),
            format!(
                "[wal-slave]\njob_name = slave\nslave_data = {}\nslave_bin = {}\n\
                 slave_start_cmd = {pg_ctl} -o \"-c unix_socket_directories={} -c listen_addresses= -c \
                 port=5432\" start\nslave_stop_cmd = {pg_ctl} -m fast stop\nslave = {}\n\
                 completed_wals = %(slave)s/logs.complete\npartial_wals = %(slave)s/logs.partial\n\
                 full_backup = %(slave)s/data.master\nconfig_backup = %(slave)s/config.backup\n\
                 logfile = {}\nwal_poll_interval = 200ms\n{lines}\n",
                self.path("slave").display(),
                self.master.bindir().display(),
                self.path("s").display(),
                self.path("ship").display(),
                self.path("slave.log").display(),
            ),
        )?)
    }

    /// The program, with arguments that hold no blanks.
    pub(crate) fn program(&self, line: &str) -> Program {
        self.program_in(line, self.dir.path())
    }

    pub(crate) fn program_in(&self, line: &str, dir: &Path) -> Program {
        Program::at(&self.path("walmgr"), dir)
            .owned_by(self.owner)
            .env("PGUSER", "postgres")
            .args(line.split_whitespace())
    }

    /// Runs a line on the master's side, which must succeed.
    pub(crate) fn on_master(&self, line: &str) -> TestResult<Output> {
        let ini = self.path("master.ini");
        self.program(&format!("{} {line}", ini.display())).succeed()
    }

    /// Runs a line on the slave's side, which must succeed.
    pub(crate) fn on_slave(&self, line: &str) -> TestResult<Output> {
        let ini = self.path("slave.ini");
        self.program(&format!("{} {line}", ini.display())).succeed()
    }

    /// Runs a line that must fail with exit code 1, and say why.
    pub(crate) fn refused(&self, line: &str, why: &str) -> TestResult {
        let output = self.program(line).output()?;
        assert_eq!(output.status.code(), Some(1), "{line}: {}", output.stderr);
        assert!(output.stderr.contains(why), "{line}: {}", output.stderr);
        Ok(())
    }

    /// Has the master archive.
    pub(crate) fn set_up(&mut self) -> TestResult {
        self.on_master("setup")?;
        self.master.restart(testkit::Shutdown::Fast)
    }

    pub(crate) fn db(&self) -> TestResult<Client> {
        self.master.connect("postgres")
    }

    /// The standby, once it takes connections.
    pub(crate) fn standby(&self) -> TestResult<Client> {
        let conninfo = format!(
            "host={} port=5432 user=postgres dbname=postgres",
            self.path("s").display()
        );
        let mut client = None;
        wait_until("the standby to take connections", PATIENCE, || {
            client = Client::connect(&conninfo, NoTls).ok();
            Ok(client.is_some())
        })
        .map_err(|error| format!("{error}\n{}", self.logs()))?;
        client.ok_or_else(|| "no standby".into())
    }

    /// Waits until a server has so many rows in the table `t`.
    pub(crate) fn wait_for_rows(&self, db: &mut Client, rows: i64) -> TestResult {
        wait_until("the rows to be there", PATIENCE, || {
            let row = db.query_one("select count(*) from t", &[])?;
            Ok(row.get::<_, i64>(0) == rows)
        })
        .map_err(|error| format!("{error}\n{}{}", self.logs(), self.master.log()).into())
    }

    /// The standby when it has replayed up to its target, with so many rows in the table `t`.
    pub(crate) fn at_target(&self, rows: i64) -> TestResult<Client> {
        let mut standby = self.standby()?;
        wait_until("the target to be reached", PATIENCE, || {
            let row = standby.query_one("select pg_is_wal_replay_paused()", &[])?;
            Ok(row.get(0))
        })
        .map_err(|error| format!("{error}\n{}", self.logs()))?;
        let row = standby.query_one("select count(*) from t", &[])?;
        assert_eq!(row.get::<_, i64>(0), rows);
        Ok(standby)
    }

    /// Starts a line that stops at a step, and waits until it is there. It goes on when the file is removed.
    pub(crate) fn hold_at(&self, line: &str, step: &str) -> TestResult<(Running, PathBuf)> {
        let held = self.path("held");
        let running = self
            .program(line)
            .env(
                "FAILPOINTS",
                format!("{step}=return(hold:{})", held.display()),
            )
            .spawn()?;
        wait_until("the step to be reached", PATIENCE, || Ok(held.exists()))?;
        Ok((running, held))
    }

    /// All that was logged, for messages of failed tests.
    pub(crate) fn logs(&self) -> String {
        let text = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        format!(
            "master.log:\n{}slave.log:\n{}slave's server:\n{}",
            text("master.log"),
            text("slave.log"),
            text("slave.server.log")
        )
    }

    /// Ends the current segment, which has to have something of its own; its name.
    pub(crate) fn end_segment(&self, db: &mut Client) -> TestResult<String> {
        let name: String = db
            .query_one("select pg_walfile_name(pg_current_wal_insert_lsn())", &[])?
            .get(0);
        db.batch_execute("select pg_switch_wal()")?;
        Ok(name)
    }

    /// Ends the current segment, and waits until it is in the archive; its name.
    pub(crate) fn switch(&self, db: &mut Client) -> TestResult<String> {
        let name = self.end_segment(db)?;
        let path = self.archived(&name);
        wait_until("the segment to be archived", PATIENCE, || Ok(path.exists()))
            .map_err(|error| format!("{error}: {name}\n{}{}", self.logs(), self.master.log()))?;
        Ok(name)
    }

    /// A finished segment of a master that does not archive: its path and its name.
    pub(crate) fn finished_segment(&self) -> TestResult<(PathBuf, String)> {
        let mut db = self.db()?;
        let name: String = db
            .query_one("select pg_walfile_name(pg_current_wal_insert_lsn())", &[])?
            .get(0);
        db.batch_execute(
            "create table if not exists filler (x int); insert into filler values (1); \
             select pg_switch_wal()",
        )?;
        Ok((self.master.data_dir().join("pg_wal").join(&name), name))
    }

    /// Names of everything in a directory, in their order.
    pub(crate) fn names_in(&self, dir: &Path) -> TestResult<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.path("slave/postmaster.pid").exists() {
            let mut command = self.master.command("pg_ctl");
            command
                .arg("-D")
                .arg(self.path("slave"))
                .args(["-m", "immediate", "-w", "stop"])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null());
            // The directory goes away next.
            let _ = command.status();
        }
    }
}
