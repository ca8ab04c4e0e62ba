//! A server, a directory with a configuration, and the program.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use postgres::Client;
use tempfile::TempDir;
use testkit::{Cluster, Job, Output, Program, Running, TestResult, wait_until};

/// Longer than anything takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    // Before the directory: daemons end first.
    _jobs: Vec<Job>,
    pub(crate) cluster: Cluster,
    dir: TempDir,
}

impl Site {
    /// A database without PgQ.
    pub(crate) fn bare() -> TestResult<Site> {
        Site::on(Cluster::start()?)
    }

    pub(crate) fn on(cluster: Cluster) -> TestResult<Site> {
        let dir = tempfile::tempdir()?;
        let site = Site {
            _jobs: ["t.pid", "u.pid"]
                .map(|file| Job::new(dir.path().join(file)))
                .into(),
            cluster,
            dir,
        };
        site.configure("t.ini", "pidfile = t.pid\nlogfile = t.log")?;
        Ok(site)
    }

    /// A database with PgQ, and a configuration that makes the ticker quick.
    pub(crate) fn new() -> TestResult<Site> {
        let site = Site::bare()?;
        site.succeed(&["t.ini", "-q", "install"])?;
        fs::remove_file(site.path("t.log"))?;
        Ok(site)
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Writes a configuration: the database, short delays, and `more`.
    pub(crate) fn configure(&self, file: &str, more: &str) -> TestResult {
        let text = format!(
            "[pgqadm]\njob_name = test\ndb = {}\nloop_delay = 0.05\nexception_sleep = 0.2\n\
             queue_refresh_period = 0.1\n{more}\n",
            self.cluster.conninfo("postgres")
        );
        Ok(fs::write(self.path(file), text)?)
    }

    fn program(&self, args: &[&str]) -> Program {
        Program::new("pgqadm", self.dir.path()).args(args)
    }

    pub(crate) fn run(&self, args: &[&str]) -> TestResult<Output> {
        self.program(args).output()
    }

    pub(crate) fn succeed(&self, args: &[&str]) -> TestResult<Output> {
        self.program(args).succeed()
    }

    /// Runs what must end with code 1, and returns what it said.
    pub(crate) fn fail(&self, args: &[&str]) -> TestResult<String> {
        let output = self.run(args)?;
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", output.stderr);
        assert_eq!(output.stdout, "", "{args:?}");
        Ok(output.stderr)
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> TestResult<Running> {
        self.program(args).spawn()
    }

    pub(crate) fn db(&self) -> TestResult<Client> {
        self.cluster.connect("postgres")
    }

    /// The log of the first configuration.
    pub(crate) fn log(&self) -> TestResult<String> {
        self.log_of("t.log")
    }

    /// A log; empty if there is none yet.
    pub(crate) fn log_of(&self, file: &str) -> TestResult<String> {
        match fs::read_to_string(self.path(file)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            text => Ok(text?),
        }
    }

    pub(crate) fn wait_for_log(&self, file: &str, text: &str) -> TestResult {
        wait_until(&format!("{text:?} in {file}"), LONG, || {
            Ok(self.log_of(file)?.contains(text))
        })
        .map_err(|error| format!("{error}\n{}", self.log_of(file).unwrap_or_default()).into())
    }

    /// Creates a queue on which the ticker always finds a tick due.
    pub(crate) fn eager_queue(&self, queue: &str) -> TestResult {
        self.succeed(&["t.ini", "-q", "create", queue])?;
        self.succeed(&[
            "t.ini",
            "-q",
            "config",
            queue,
            "ticker_max_lag=0",
            "ticker_idle_period=0",
        ])?;
        Ok(())
    }

    /// Waits until the newest tick of any queue is past the newest so far.
    pub(crate) fn wait_for_tick(&self) -> TestResult {
        let mut db = self.db()?;
        let mut newest = || -> TestResult<i64> {
            let row = db.query_one("select coalesce(max(tick_id), 0) from pgq.tick", &[])?;
            Ok(row.get(0))
        };
        let before = newest()?;
        wait_until("a tick", LONG, || Ok(newest()? > before))
            .map_err(|error| format!("{error}\n{}", self.log().unwrap_or_default()).into())
    }
}
