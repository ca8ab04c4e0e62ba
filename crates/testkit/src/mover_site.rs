//! A source and a target, and one of the movers between them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::Client;
use tempfile::TempDir;

use crate::{Cluster, Program, TestResult, wait_for};

/// Longest wait for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the databases need.
const SCHEMAS: [&str; 2] = [
    include_str!("../../../sql/dist/pgq.sql"),
    include_str!("../../../sql/dist/pgq_ext.sql"),
];

/// A server with the databases `src`, which has the queue `from`, and `dst`, both with PgQ; and a directory
/// for configurations of a mover.
#[derive(Debug)]
pub struct MoverSite {
    /// The server.
    pub cluster: Cluster,
    program: &'static str,
    lines: &'static str,
    dir: TempDir,
}

impl MoverSite {
    /// A site for a program, whose configurations have these lines; `mover.ini` has no others.
    ///
    /// # Errors
    /// The server does not start.
    pub fn start(program: &'static str, lines: &'static str) -> TestResult<MoverSite> {
        MoverSite::with_encoding(program, lines, "UTF8")
    }

    /// The same, with a source of this encoding.
    ///
    /// # Errors
    /// The server does not start, or knows no such encoding.
    pub fn with_encoding(
        program: &'static str,
        lines: &'static str,
        source: &str,
    ) -> TestResult<MoverSite> {
        let site = MoverSite {
            cluster: Cluster::start()?,
            program,
            lines,
            dir: tempfile::tempdir()?,
        };
        for (name, encoding) in [("src", source), ("dst", "UTF8")] {
            site.cluster.connect("postgres")?.batch_execute(&format!(
                "create database {name} template template0 encoding '{encoding}' locale 'C'"
            ))?;
            let mut db = site.db(name)?;
            for schema in SCHEMAS {
                db.batch_execute(schema)?;
            }
        }
        create_queue(&mut site.db("src")?, "from")?;
        site.write("mover", "")?;
        Ok(site)
    }

    /// Turns to another program: configurations are written, and lines run, for that one from now on.
    pub fn turn_to(&mut self, program: &'static str, lines: &'static str) {
        (self.program, self.lines) = (program, lines);
    }

    /// Connects to `src` or `dst`.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn db(&self, name: &str) -> TestResult<Client> {
        self.cluster.connect(name)
    }

    /// Directory of configurations, logs and pidfiles.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Writes `NAME.ini` for a job of that name, with more lines; of a key that is set twice the last one
    /// counts.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, name: &str, lines: &str) -> TestResult {
        Ok(fs::write(
            self.path(&format!("{name}.ini")),
            format!(
                "[{}]\njob_name = {name}\nsrc_db = {}\ndst_db = {}\n\
                 pgq_queue_name = from\nloop_delay = 0.1\n\
                 exception_sleep = 0.2\nlogfile = {name}.log\npidfile = {name}.pid\n{}\n{lines}\n",
                self.program,
                self.cluster.conninfo("src"),
                self.cluster.conninfo("dst"),
                self.lines,
            ),
        )?)
    }

    /// What a job has logged so far.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// The program with these arguments, blanks between them.
    pub fn program(&self, line: &str) -> Program {
        Program::new(self.program, self.dir()).args(line.split_whitespace())
    }

    /// Applies what there is, until there is nothing left; every batch must succeed at once.
    ///
    /// # Errors
    /// The job fails; its log is in the message.
    pub fn drain(&self, name: &str) -> TestResult {
        let before = self.log(name).matches(" ERROR ").count();
        let mut running = self
            .program(&format!("{name}.ini --set loop_delay=0"))
            .spawn()?;
        let status = wait_for("the job to end", PATIENCE, || {
            let log = self.log(name);
            match log.matches(" ERROR ").count() > before {
                true => Err(log.into()),
                false => running.ended(),
            }
        })?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{status}: {}", self.log(name)).into()),
        }
    }

    /// Runs a line that must fail with exit code 1, and say why.
    ///
    /// # Panics
    /// It does not.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn refused(&self, line: &str, why: &str) -> TestResult {
        let output = self.program(line).output()?;
        assert_eq!(output.status.code(), Some(1), "{line}: {}", output.stderr);
        assert!(output.stderr.contains(why), "{line}: {}", output.stderr);
        Ok(())
    }

    /// Lets the program die at each of these steps, with something `put` before, and compares after a
    /// further run.
    ///
    /// # Errors
    /// A step is not reached, or `same` fails.
    pub fn survives_death_at(
        &self,
        steps: &[&str],
        mut put: impl FnMut(&str) -> TestResult,
        mut same: impl FnMut() -> TestResult,
    ) -> TestResult {
        for step in steps {
            put(step)?;
            let output = self
                .program("mover.ini --set loop_delay=0")
                .env("FAILPOINTS", format!("{step}=return(kill)"))
                .output()?;
            assert_eq!(output.status.code(), None, "{step} was not reached");
            self.drain("mover")?;
            same().map_err(|error| format!("after death at {step}: {error}"))?;
        }
        Ok(())
    }

    /// Kills the program at moments of its own choice while `put` goes on, and lets the last one do the rest.
    ///
    /// # Errors
    /// A program cannot be started, or `put` fails.
    pub fn survives_random_kills(
        &self,
        rounds: u64,
        mut put: impl FnMut() -> TestResult,
        mut arrived: impl FnMut() -> TestResult<i64>,
    ) -> TestResult {
        for round in 0..rounds {
            let mut running = self.program("mover.ini --set loop_delay=0.01").spawn()?;
            let before = arrived()?;
            wait_for("something to arrive", PATIENCE, || {
                put()?;
                Ok((arrived()? > before).then_some(()))
            })?;
            put()?;
            std::thread::sleep(Duration::from_millis(round * 7 % 40));
            running.kill()?;
        }
        self.drain("mover")
    }
}

/// Creates a queue on which every call of the ticker ticks.
///
/// # Errors
/// The database has no PgQ.
pub fn create_queue(db: &mut Client, queue: &str) -> TestResult {
    db.execute("select pgq.create_queue($1)", &[&queue])?;
    for setting in ["ticker_max_lag", "ticker_idle_period"] {
        db.execute(
            "select pgq.set_queue_config($1, $2, '0')",
            &[&queue, &setting],
        )?;
    }
    Ok(())
}

/// Ticks a queue.
///
/// # Errors
/// There is no such queue.
pub fn tick(db: &mut Client, queue: &str) -> TestResult {
    db.execute("select pgq.ticker($1)", &[&queue])?;
    Ok(())
}

/// Everything of the events of a queue that movers move, as text, in their order.
///
/// # Errors
/// There is no such queue.
pub fn events_of(db: &mut Client, queue: &str) -> TestResult<Vec<String>> {
    let table: String = db
        .query_one(
            "select queue_data_pfx from pgq.queue where queue_name = $1",
            &[&queue],
        )?
        .get(0);
    let rows = db.query(
        &format!(
            "select row(ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4, ev_time)::text \
             from {table} order by ev_id"
        ),
        &[],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
