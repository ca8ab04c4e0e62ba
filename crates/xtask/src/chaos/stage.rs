//! Where it plays: two servers, a ticker, and a process for each producer and consumer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use postgres::Client;
use testkit::{Cluster, Job, Program, Running};

use super::{consumer, producer};
use crate::Result;
use crate::scratch::Scratch;

pub(super) const QUEUE: &str = "chaos";

/// Database on each of the servers.
const DATABASE: &str = "chaos";

/// Time for a daemon to be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// What may stand in a log about a process or a server that was killed, and about coming back.
const EXPLAINED: &[&str] = &[
    // Ours, and the driver's.
    "Ignoring stale pidfile",
    "connection closed",
    "error connecting to server",
    "error communicating with the server",
    "Connection refused",
    "Connection reset by peer",
    "No such file or directory",
    "server closed the connection unexpectedly",
    "broken pipe",
    "Broken pipe",
    "unexpected end of file",
    // The members of a group take the batch of one that is slow over, and undo what it did.
    "is not open any more",
    "coop_finish_batch: batch ",
    // The session of a killed predecessor is still at work.
    "is run by another process",
    // A session that was to be ended ended by itself.
    "is not a PostgreSQL backend process",
    // The server's.
    "the database system is not yet accepting connections",
    "the database system is starting up",
    "the database system is in recovery mode",
    "the database system is shutting down",
    "terminating connection due to administrator command",
    // The same, and the server's end, for a session that has not come to its first command.
    "canceling authentication due to timeout",
    "terminating connection because of crash of another server process",
    "terminating connection due to unexpected postmaster exit",
    // A client was killed, or a session terminated, within a message: a row of COPY.
    "terminating connection because protocol synchronization was lost",
    "connection to client lost",
    "could not send data to client",
    "could not receive data from client",
    "unexpected EOF on client connection",
    "terminating background worker",
];

/// What both databases have for consumers to write to.
const SEEN: &str = "
    create table seen (
        place       bigint generated always as identity,
        consumer    text not null,
        ev_id       bigint not null,
        kind        text,
        data        text,
        extra1      text
    );
    create index on seen (data);
    create index on seen (consumer, place);
";

/// What producers write to.
const TABLES: &str = "
    create table ledger (
        producer    int not null,
        number      bigint not null,
        tag         text not null primary key,
        txid        bigint not null default txid_current()
    );
    create index on ledger (producer, number);
    create table item (id int primary key, v text not null);
    create table lot (id int primary key, v text not null);
    select pgq.create_capture('item', 'item_capture', 'json', 'row', array['chaos']);
    select pgq.create_capture('lot', 'lot_capture', 'json', 'statement', array['chaos']);
";

/// Everything that runs. The order of the fields is that of their end.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) processes: Vec<Process>,
    pub(super) ticker: Job,
    pub(super) source: Cluster,
    pub(super) target: Cluster,
    work: PathBuf,
    _scratch: Scratch,
}

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Producer(producer::Kind, i32),
    Consumer(consumer::Kind, &'static str),
    Maintenance,
}

/// A process of ours, alive or not.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) role: Role,
    child: Option<Running>,
    /// What it prints goes there.
    log: PathBuf,
    command: Vec<String>,
}

impl Stage {
    /// Starts the servers, installs PgQ with the programs for that, and registers the consumers.
    pub(super) fn set(seed: u64) -> Result<Stage> {
        let scratch = Scratch::new()?;
        let work = scratch.path().join("work");
        fs::create_dir(&work)?;
        let start = || {
            Cluster::builder()
                .below(scratch.path())
                .setting("max_prepared_transactions", "10")
                // No more than a few seconds of recovery, and some checkpoints in between.
                .setting("checkpoint_timeout", "30s")
                .start()
        };
        let (source, target) = (start()?, start()?);
        for (name, cluster) in [("source", &source), ("target", &target)] {
            cluster.create_database(DATABASE)?;
            let conninfo = cluster.conninfo(DATABASE);
            fs::write(
                work.join(format!("{name}.ini")),
                format!(
                    "[pgqadm]\njob_name = {name}\ndb = {conninfo}\nloop_delay = 0.02\n\
                     maint_delay = 0.3\nretry_period = 0.3\nqueue_refresh_period = 0.5\n\
                     exception_sleep = 0.3\nlogfile = {name}.log\npidfile = {name}.pid\n"
                ),
            )?;
        }
        let mut stage = Stage {
            processes: Vec::new(),
            ticker: Job::new(work.join("source.pid")),
            source,
            target,
            work,
            _scratch: scratch,
        };
        for line in [
            "source.ini install",
            "target.ini install",
            &format!("source.ini create {QUEUE}"),
            &format!(
                "source.ini config {QUEUE} ticker_max_lag=0.05 ticker_idle_period=0.3 \
                 ticker_max_count=10 rotation_period=0.7 notify=1"
            ),
        ] {
            stage.pgqadm(line)?;
        }
        let mut db = stage.source()?;
        db.batch_execute(TABLES)?;
        db.batch_execute(SEEN)?;
        stage.target()?.batch_execute(SEEN)?;
        for kind in consumer::Kind::ALL {
            db.execute(
                "select pgq.register_consumer($1, $2)",
                &[&QUEUE, &kind.name()],
            )?;
        }
        stage.cast(seed)?;
        Ok(stage)
    }

    /// Makes the processes, without starting them.
    fn cast(&mut self, seed: u64) -> Result {
        let (source, target) = (
            self.source.conninfo(DATABASE),
            self.target.conninfo(DATABASE),
        );
        let mut add = |role: Role, name: String, words: Vec<String>| {
            self.processes.push(Process {
                role,
                child: None,
                log: self.work.join(format!("{name}.log")),
                command: words,
            });
        };
        add(
            Role::Maintenance,
            "maintenance".to_owned(),
            vec!["maintenance".to_owned(), source.clone()],
        );
        for (id, kind) in (1..).zip(producer::Kind::ALL) {
            let words = [
                "producer",
                kind.name(),
                &id.to_string(),
                &source,
                &format!("--acknowledged={id}.acknowledged"),
                &format!("--seed={}", seed.wrapping_add(1000 * u64::try_from(id)?)),
            ];
            let name = format!("producer-{id}-{}", kind.name());
            add(
                Role::Producer(kind, id),
                name,
                words.map(str::to_owned).to_vec(),
            );
        }
        for kind in consumer::Kind::ALL {
            let members: &[&'static str] = match kind {
                consumer::Kind::Coop => &["one", "two"],
                _ => &[""],
            };
            for member in members {
                let words = [
                    "consumer",
                    kind.name(),
                    &source,
                    &target,
                    &format!("--member={member}"),
                    "--tracking=local.tick",
                ];
                let name = format!("consumer-{}{member}", kind.name());
                add(
                    Role::Consumer(kind, member),
                    name,
                    words.map(str::to_owned).to_vec(),
                );
            }
        }
        Ok(())
    }

    pub(super) fn source(&self) -> Result<Client> {
        self.source.connect(DATABASE)
    }

    pub(super) fn target(&self) -> Result<Client> {
        self.target.connect(DATABASE)
    }

    /// Runs an administrator's command and insists on its success.
    pub(super) fn pgqadm(&self, line: &str) -> Result {
        Program::new("pgqadm", &self.work)
            .args(line.split_whitespace())
            .succeed()?;
        Ok(())
    }

    /// Sees to it that the ticker runs, as cron would.
    pub(super) fn ensure_ticker(&self) -> Result {
        self.pgqadm("source.ini ticker -d --ensure")
    }

    /// Waits until the ticker runs.
    pub(super) fn await_ticker(&self) -> Result {
        self.ensure_ticker()?;
        self.ticker.wait_alive(PATIENCE)?;
        Ok(())
    }

    /// Starts a process unless it runs.
    pub(super) fn ensure(&mut self, place: usize) -> Result {
        let work = self.work.clone();
        self.processes[place].ensure(&work)
    }

    /// Numbers of transactions whose commit a producer was told of.
    pub(super) fn acknowledged(&self, id: i32) -> Result<Vec<i64>> {
        let path = self.work.join(format!("{id}.acknowledged"));
        let text = fs::read_to_string(path).unwrap_or_default();
        // A killed process may have left half a line at worst.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        Ok(whole
            .lines()
            .map(str::parse)
            .collect::<Result<Vec<i64>, _>>()?)
    }

    /// Lines of all logs that no kill explains.
    pub(super) fn complaints(&self) -> Result<Vec<String>> {
        let mut found: Vec<String> =
            testkit::log_problems(&self.work.join("source.log"), EXPLAINED)?
                .iter()
                .map(|line| format!("ticker: {}", without_stamp(line, 3)))
                .collect();
        for process in &self.processes {
            let name = process.log.file_name().unwrap_or_default().display();
            for line in read(&process.log).lines() {
                if !is_explained(line) {
                    found.push(format!("{name}: {line}"));
                }
            }
        }
        for (name, log) in [("source", self.source.log()), ("target", self.target.log())] {
            let bad = |line: &&str| {
                ["WARNING:  ", "ERROR:  ", "FATAL:  ", "PANIC:  "]
                    .iter()
                    .any(|level| line.contains(level))
            };
            for line in log.lines().filter(bad).filter(|line| !is_explained(line)) {
                found.push(format!("server {name}: {}", without_stamp(line, 3)));
            }
        }
        // Whatever is wrong goes wrong again and again.
        found.sort();
        found.dedup();
        Ok(found)
    }
}

impl Process {
    /// Whether it runs.
    pub(super) fn is_alive(&mut self) -> Result<bool> {
        let Some(child) = &mut self.child else {
            return Ok(false);
        };
        if child.ended()?.is_some() {
            self.child = None;
        }
        Ok(self.child.is_some())
    }

    fn ensure(&mut self, work: &Path) -> Result {
        if self.is_alive()? {
            return Ok(());
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("chaos").args(&self.command).current_dir(work);
        self.child = Some(Running::start(&mut command, &self.log)?);
        Ok(())
    }

    /// Kills it with SIGKILL; false if it does not run.
    pub(super) fn kill(&mut self) -> Result<bool> {
        if !self.is_alive()? {
            return Ok(false);
        }
        if let Some(mut child) = self.child.take() {
            child.kill()?;
        }
        Ok(true)
    }
}

/// Says on stderr what went wrong, on one line.
pub(super) fn complain(error: &(dyn std::error::Error + 'static)) {
    eprintln!("{}", skytools::app::chain(error).replace('\n', " "));
}

/// Name of a prepared transaction of a producer.
pub(super) fn prepared_name(producer: i32, number: &str) -> String {
    format!("producer-{producer}-{number}")
}

/// A line without its first words, which hold time and process id.
fn without_stamp(line: &str, words: usize) -> &str {
    line.splitn(words + 1, ' ').last().unwrap_or(line)
}

fn is_explained(line: &str) -> bool {
    EXPLAINED.iter().any(|text| line.contains(text))
}

fn read(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
