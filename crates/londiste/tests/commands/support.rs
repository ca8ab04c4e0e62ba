//! A provider and a subscriber, and the program run on them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use postgres::Client;
use tempfile::TempDir;
use testkit::{Cluster, Program, Running, TestResult};

pub(crate) const QUEUE: &str = "replic";

/// Two databases of one server, and a configuration that names them.
pub(crate) struct Pair {
    pub(crate) cluster: Cluster,
    pub(crate) provider: Client,
    pub(crate) subscriber: Client,
    dir: TempDir,
    ini: PathBuf,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    /// The log without time and process id.
    pub(crate) log: String,
}

impl Pair {
    /// Two empty databases.
    pub(crate) fn empty() -> TestResult<Pair> {
        Pair::with_config("")
    }

    /// Two empty databases, and further lines of configuration.
    pub(crate) fn with_config(lines: &str) -> TestResult<Pair> {
        let cluster = Cluster::start()?;
        let provider = cluster.create_database("provider")?;
        let subscriber = cluster.create_database("subscriber")?;
        let dir = TempDir::new()?;
        let ini = dir.path().join("replic.ini");
        let pair = Pair {
            cluster,
            provider,
            subscriber,
            dir,
            ini,
        };
        pair.configure(lines)?;
        Ok(pair)
    }

    /// Both sides installed.
    pub(crate) fn installed() -> TestResult<Pair> {
        let pair = Pair::empty()?;
        pair.install()?;
        Ok(pair)
    }

    pub(crate) fn install(&self) -> TestResult {
        self.ok("provider install")?;
        self.ok("subscriber install")?;
        Ok(())
    }

    /// Writes the configuration again, with these lines added.
    pub(crate) fn configure(&self, lines: &str) -> TestResult {
        let text = format!(
            "[londiste]\n\
             job_name = replic\n\
             provider_db = {}\n\
             subscriber_db = {}\n\
             pgq_queue_name = {QUEUE}\n\
             pidfile = {}/%(job_name)s.pid\n\
             loop_delay = 0.05\n\
             sync_poll = 0.05\n\
             {lines}\n",
            self.cluster.conninfo("provider"),
            self.cluster.conninfo("subscriber"),
            self.dir.path().display(),
        );
        Ok(fs::write(&self.ini, text)?)
    }

    /// Writes a file into the directory of the configuration and the pidfiles.
    pub(crate) fn write(&self, name: &str, text: &str) -> TestResult {
        Ok(fs::write(self.dir.path().join(name), text)?)
    }

    /// Reads a file of that directory, in which the program runs.
    pub(crate) fn read(&self, name: &str) -> TestResult<String> {
        Ok(fs::read_to_string(self.dir.path().join(name))?)
    }

    /// Names of its files that begin so.
    pub(crate) fn files(&self, start: &str) -> TestResult<Vec<String>> {
        let mut names = Vec::new();
        for file in fs::read_dir(self.dir.path())? {
            let name = file?.file_name().to_string_lossy().into_owned();
            if name.starts_with(start) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Runs a statement on both sides.
    pub(crate) fn both(&mut self, sql: &str) -> TestResult {
        self.provider.batch_execute(sql)?;
        self.subscriber.batch_execute(sql)?;
        Ok(())
    }

    fn program<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Program {
        Program::new("londiste", self.dir.path())
            .args([&self.ini])
            .args(arguments)
    }

    /// Runs the program with arguments that hold no blanks.
    pub(crate) fn run(&self, arguments: &str) -> TestResult<Run> {
        self.run_args(&arguments.split(' ').collect::<Vec<_>>())
    }

    /// Runs the program.
    pub(crate) fn run_args(&self, arguments: &[&str]) -> TestResult<Run> {
        let output = self.program(arguments.iter().copied()).output()?;
        Ok(Run {
            code: output.status.code(),
            stdout: output.stdout,
            log: output.stderr.lines().map(message).collect(),
        })
    }

    /// Runs the program and insists on success.
    pub(crate) fn ok(&self, arguments: &str) -> TestResult<Run> {
        let run = self.run(arguments)?;
        if run.code == Some(0) {
            return Ok(run);
        }
        Err(format!("londiste {arguments}: {run:?}").into())
    }

    /// Starts the program in the foreground of the test, with arguments that hold no blanks.
    pub(crate) fn start(&self, arguments: &str) -> TestResult<Running> {
        self.program(arguments.split(' ')).spawn()
    }

    /// Ticks the queue until dropped.
    pub(crate) fn ticker(&self) -> TestResult<Ticker> {
        let mut db = self.cluster.connect("provider")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // A server that goes away ends the test in another place.
                if db.execute("select pgq.ticker($1)", &[&QUEUE]).is_err() {
                    return;
                }
                #[expect(clippy::disallowed_methods, reason = "a ticker has a period")]
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        Ok(Ticker {
            stop,
            thread: Some(thread),
        })
    }
}

/// A log line without time and process id; continuation lines have none.
fn message(line: &str) -> String {
    let mut words = line.splitn(4, ' ');
    let stamped = line.starts_with("20") && words.clone().count() == 4;
    match (stamped, words.nth(3)) {
        (true, Some(rest)) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    }
}

/// Ticks a queue until dropped.
pub(crate) struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The first column of a query's only row.
pub(crate) fn value<T: for<'a> postgres::types::FromSql<'a>>(
    db: &mut Client,
    sql: &str,
) -> TestResult<T> {
    Ok(db.query_one(sql, &[])?.try_get(0)?)
}

/// The first column of a query, as lines.
pub(crate) fn column(db: &mut Client, sql: &str) -> TestResult<Vec<String>> {
    let rows = db.query(sql, &[])?;
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}
