//! Two servers: one with queues, one with what movers fill.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use postgres::Client;
use testkit::Program;

use crate::Result;
use crate::bench::stand::Stand;
use crate::process::pause;

/// Database with the queues.
const SOURCE: &str = "shop";

/// Database that is filled.
const TARGET: &str = "dwh";

/// A source, a target, and `psql`.
#[derive(Debug)]
pub(super) struct Site {
    source: Stand,
    target: Stand,
    psql: PathBuf,
}

/// A queue whose events are one batch for the consumer of the same name.
#[derive(Debug)]
pub(super) struct Backlog {
    /// The queue.
    pub(super) name: String,
    /// The tick before the events.
    start: i64,
}

/// What a run of a program took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) seconds: f64,
    pub(super) peak_mb: f64,
}

impl Site {
    pub(super) fn start() -> Result<Site> {
        let (source, target) = (Stand::start()?, Stand::start()?);
        source.ours(SOURCE)?;
        target.ours(TARGET)?;
        let psql = source.program("psql").ok_or("there is no psql")?;
        Ok(Site {
            source,
            target,
            psql,
        })
    }

    pub(super) fn version(&self) -> Result<String> {
        self.source.version()
    }

    pub(super) fn source(&self) -> Result<Client> {
        self.source.connect(SOURCE)
    }

    pub(super) fn target(&self) -> Result<Client> {
        self.target.connect(TARGET)
    }

    /// A file for SQL or data.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.source.file(name)
    }

    /// Fills a new queue with the rows `type, data, extra1` of a query.
    pub(super) fn backlog(&self, name: &str, events: &str) -> Result<Backlog> {
        let mut db = self.source()?;
        db.execute("select pgq.create_queue($1)", &[&name])?;
        db.batch_execute(&format!(
            "select pgq.set_queue_config('{name}', 'ticker_max_lag', '0'),
                    pgq.set_queue_config('{name}', 'ticker_idle_period', '0')"
        ))?;
        let start = db.query_one("select pgq.ticker($1)", &[&name])?.get(0);
        let table: String = db
            .query_one("select pgq.current_event_table($1)", &[&name])?
            .get(0);
        db.batch_execute(&format!(
            "insert into {table} (ev_time, ev_type, ev_data, ev_extra1) \
             select now(), e.* from ({events}) e"
        ))?;
        db.execute("select pgq.ticker($1)", &[&name])?;
        db.batch_execute(&format!("analyze {table}; checkpoint"))?;
        Ok(Backlog {
            name: name.to_owned(),
            start,
        })
    }

    /// Has the events come again for the consumer.
    pub(super) fn rewind(&self, backlog: &Backlog) -> Result {
        let name = &backlog.name;
        let mut db = self.source()?;
        db.execute("select pgq.unregister_consumer($1, $1)", &[name])?;
        db.execute(
            "select pgq.register_consumer_at($1, $1, $2)",
            &[name, &backlog.start],
        )?;
        let mut db = self.target()?;
        db.execute("select pgq_ext.set_last_tick($1, null)", &[name])?;
        db.batch_execute("checkpoint")?;
        Ok(())
    }

    /// Runs a program once over the events.
    pub(super) fn run(&self, program: &str, lines: &str, backlog: &Backlog) -> Result<Cost> {
        let name = &backlog.name;
        let dir = self.source.file("jobs");
        fs::create_dir_all(&dir)?;
        let log = dir.join(format!("{name}.log"));
        fs::write(
            dir.join(format!("{name}.ini")),
            format!(
                "[{program}]\njob_name = {name}\nsrc_db = {}\ndst_db = {}\npgq_queue_name = {name}\n\
                 logfile = {}\n{lines}\n",
                self.source.conninfo(SOURCE),
                self.target.conninfo(TARGET),
                log.display(),
            ),
        )?;
        let started = Instant::now();
        let mut running = Program::new(program, &dir)
            .args([&format!("{name}.ini"), "-q", "--once"])
            .spawn()?;
        let mut peak = 0;
        let status = loop {
            if let Some(status) = running.ended()? {
                break status;
            }
            // It may end meanwhile.
            peak = running.peak_memory_kb().unwrap_or_default().max(peak);
            pause(Duration::from_millis(5));
        };
        let seconds = started.elapsed().as_secs_f64();
        if !status.success() {
            let log = fs::read_to_string(log).unwrap_or_default();
            return Err(format!("{program}: {status}\n{log}").into());
        }
        Ok(Cost {
            seconds,
            peak_mb: f64::from(peak) / 1024.0,
        })
    }

    /// A psql at the source.
    pub(super) fn psql_source(&self) -> Command {
        self.psql(&self.source.conninfo(SOURCE))
    }

    /// A psql at the target.
    pub(super) fn psql_target(&self) -> Command {
        self.psql(&self.target.conninfo(TARGET))
    }

    fn psql(&self, conninfo: &str) -> Command {
        let mut command = Command::new(&self.psql);
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", conninfo]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// Seconds that a command takes; it has to succeed.
pub(super) fn timed(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    let status = command.status()?;
    match status.success() {
        true => Ok(started.elapsed().as_secs_f64()),
        false => Err(format!("{command:?}: {status}").into()),
    }
}

/// Seconds that one command takes to feed another.
pub(super) fn piped(from: &mut Command, to: &mut Command) -> Result<f64> {
    let started = Instant::now();
    let mut reader = from.stdout(Stdio::piped()).spawn()?;
    let output = reader.stdout.take().ok_or("the output is piped")?;
    let written = to.stdin(output).status()?;
    let read = reader.wait()?;
    match read.success() && written.success() {
        true => Ok(started.elapsed().as_secs_f64()),
        false => Err(format!("{from:?}: {read}, {to:?}: {written}").into()),
    }
}
