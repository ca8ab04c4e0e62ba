//! A server with a source and a target, queues in both, and the program between them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::Client;
use skytools::conninfo::ConnInfo;
use skytools::db::Connection;
use testkit::{Cluster, Program, TestResult, wait_for};

/// Longest wait for anything that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Everything of an event that moves, in the order of the queue.
pub(crate) const EVENTS: &str = "select row(ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, \
                                 ev_extra4, ev_time)::text from";

pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    dir: tempfile::TempDir,
}

impl Site {
    /// Databases `src` with the queue `from` and `dst` with the queue `to`, both with PgQ, and
    /// `mover.ini`.
    pub(crate) fn start() -> TestResult<Site> {
        Site::with_encoding("UTF8")
    }

    pub(crate) fn with_encoding(source: &str) -> TestResult<Site> {
        let site = Site {
            cluster: Cluster::start()?,
            dir: tempfile::tempdir()?,
        };
        for (name, encoding, queue) in [("src", source, "from"), ("dst", "UTF8", "to")] {
            site.cluster.connect("postgres")?.batch_execute(&format!(
                "create database {name} template template0 encoding '{encoding}' locale 'C'"
            ))?;
            site.install(name)?;
            create_queue(&mut site.db(name)?, queue)?;
        }
        site.write("mover", "")?;
        Ok(site)
    }

    pub(crate) fn install(&self, dbname: &str) -> TestResult {
        let mut db = Connection::open("db", &ConnInfo::parse(&self.cluster.conninfo(dbname))?)?;
        let mut tx = db.begin()?;
        pgq::schema::install(&mut tx)?;
        Ok(tx.commit()?)
    }

    pub(crate) fn db(&self, name: &str) -> TestResult<Client> {
        self.cluster.connect(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Writes `NAME.ini` for a job of that name; later lines win.
    pub(crate) fn write(&self, name: &str, lines: &str) -> TestResult {
        Ok(fs::write(
            self.path(&format!("{name}.ini")),
            format!(
                "[queue_mover]\njob_name = {name}\nsrc_db = {}\ndst_db = {}\n\
                 pgq_queue_name = from\ndst_queue_name = to\nloop_delay = 0.1\n\
                 exception_sleep = 0.2\nlogfile = {name}.log\npidfile = {name}.pid\n{lines}\n",
                self.cluster.conninfo("src"),
                self.cluster.conninfo("dst"),
            ),
        )?)
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// The program with these arguments, blanks between them.
    pub(crate) fn program(&self, line: &str) -> Program {
        Program::new("queue_mover", self.dir()).args(line.split_whitespace())
    }

    /// Applies what there is, until there is nothing left; every batch must succeed at once.
    pub(crate) fn drain(&self, name: &str) -> TestResult {
        let mut running = self
            .program(&format!("{name}.ini --set loop_delay=0"))
            .spawn()?;
        let failed = || self.log(name).contains(" ERROR ");
        let before = failed();
        let status = wait_for("the job to end", PATIENCE, || {
            if !before && failed() {
                return Err(self.log(name).into());
            }
            running.ended()
        })?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{status}: {}", self.log(name)).into()),
        }
    }

    /// Runs a line that must fail with exit code 1, and say why.
    pub(crate) fn refused(&self, line: &str, why: &str) -> TestResult {
        let output = self.program(line).output()?;
        assert_eq!(output.status.code(), Some(1), "{line}: {}", output.stderr);
        assert!(output.stderr.contains(why), "{line}: {}", output.stderr);
        Ok(())
    }
}

/// Creates a queue on which every call of the ticker ticks.
pub(crate) fn create_queue(db: &mut Client, queue: &str) -> TestResult {
    db.execute("select pgq.create_queue($1)", &[&queue])?;
    for setting in ["ticker_max_lag", "ticker_idle_period"] {
        db.execute(
            "select pgq.set_queue_config($1, $2, '0')",
            &[&queue, &setting],
        )?;
    }
    Ok(())
}

pub(crate) fn tick(db: &mut Client, queue: &str) -> TestResult {
    db.execute("select pgq.ticker($1)", &[&queue])?;
    Ok(())
}

/// Events of a queue, or of the template that all its tables come from, in order.
pub(crate) fn events(db: &mut Client, queue: &str) -> TestResult<Vec<String>> {
    let table: String = db
        .query_one(
            "select queue_data_pfx from pgq.queue where queue_name = $1",
            &[&queue],
        )?
        .get(0);
    let rows = db.query(&format!("{EVENTS} {table} order by ev_id"), &[])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
