mod advice;

use std::collections::HashMap;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use pgq::QueueName;
use pgq::admin::{ConsumerInfo, QueueInfo};
use pgq::health::{ConsumerHealth, Problem, QueueHealth, Severity};
use serde::Serialize;
use skytools::app::{Watch, chain, json};
use skytools::conninfo::ConnInfo;
use skytools::daemon::Job;
use skytools::db::{Connection, Database, During};
use tracing::error;

use crate::args::Options;
use crate::config::Scope;
use crate::{Config, Error, ticker};
use advice::Advice;

/// Show queues and consumers, and what is wrong
///
/// Of many databases all that have PgQ are shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show this queue only
    queue: Option<QueueName>,
    #[command(flatten)]
    watch: Watch,
}

/// Everything `status` shows of one database.
#[derive(Serialize)]
struct Status {
    /// Only among many.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    postgres_version: String,
    pgq_version: Option<String>,
    queues: Vec<QueueInfo>,
    consumers: Vec<ConsumerInfo>,
    #[serde(flatten)]
    health: Health,
    #[serde(skip)]
    is_version_2: bool,
    #[serde(skip)]
    advice: Advice,
}

/// What there is to watch.
#[derive(Serialize, Default)]
struct Health {
    /// None: this version of PgQ does not tell.
    problems: Option<Vec<Problem>>,
    queue_health: Vec<QueueHealth>,
    consumer_health: Vec<ConsumerHealth>,
}

impl Health {
    /// Only JSON holds more than the problems, and to find out the sizes of event tables takes long.
    fn read(
        db: &mut Connection,
        queue: Option<&QueueName>,
        is_json: bool,
    ) -> Result<Health, Error> {
        let mut health = Health {
            problems: Some(pgq::health::problems(&mut **db, queue)?),
            ..Health::default()
        };
        if is_json {
            health.queue_health = pgq::health::queues(&mut **db, queue)?;
            health.consumer_health = pgq::health::consumers(&mut **db, queue, None)?;
        }
        Ok(health)
    }
}

/// Exit code for "done, and something is wrong".
const WRONG: u8 = 3;

pub(super) fn run(job: Job<Config>, args: &Args, options: &Options) -> Result<ExitCode, Error> {
    let is_well = job.without_pidfile().run_command(|job, context| {
        let mut source = Source::new(job, options)?;
        let look = || {
            let found = source.read(args, options.json);
            let found = found.inspect_err(|_| source.reset())?;
            let text = text(&found, source.is_one(), options.json)?;
            let is_well = source.failed == 0 && !found.iter().any(Status::is_wrong);
            Ok((text, is_well))
        };
        let (watch, stop) = (&args.watch, &context.stop);
        let is_well = watch.show(stop, options.json, look, Error::from)?;
        source.some_failed().map_or(Ok(is_well), Err)
    })?;
    Ok(match args.watch.check && !is_well {
        true => ExitCode::from(WRONG),
        false => ExitCode::SUCCESS,
    })
}

fn text(found: &[Status], is_one: bool, is_json: bool) -> Result<String, Error> {
    Ok(match (is_json, found) {
        (true, [one]) if is_one => json(one)?,
        (true, all) => json(&all)?,
        (false, all) => {
            let shown: Vec<String> = all.iter().map(Status::to_string).collect();
            shown.join("\n")
        }
    })
}

/// The databases that are shown.
struct Source {
    scope: Scope,
    /// By name, where there are many; one without a name otherwise.
    open: Vec<(Option<String>, Database)>,
    conninfo: Option<ConnInfo>,
    advice: Advice,
    /// Of many databases, those that could not be looked at the last time.
    failed: usize,
}

impl Source {
    fn new(job: &Job<Config>, options: &Options) -> Result<Source, Error> {
        let section = job.settings.main_section();
        let scope = job.config.scope(&job.common, section.name())?;
        let conninfo = match (&scope, &options.dbname) {
            (Scope::One, None) => Some(job.config.conninfo(&job.common)?),
            (Scope::One, Some(name)) => Some(job.config.conninfo(&job.common)?.with_dbname(name)),
            (Scope::Many(server), Some(name)) => Some(server.database(name)),
            (Scope::Many(_), None) => None,
        };
        Ok(Source {
            scope,
            open: Vec::new(),
            conninfo,
            advice: Advice::new(job.settings.path(), options.dbname.as_deref()),
            failed: 0,
        })
    }

    /// Whether one database was asked for.
    fn is_one(&self) -> bool {
        self.conninfo.is_some()
    }

    fn reset(&mut self) {
        self.open.clear();
    }

    fn some_failed(&self) -> Option<Error> {
        let (failed, all) = (self.failed, self.open.len());
        (failed > 0).then_some(Error::SomeDatabases { failed, all })
    }

    /// What there is to show. Of many databases one that fails is logged, and left out.
    fn read(&mut self, args: &Args, is_json: bool) -> Result<Vec<Status>, Error> {
        if self.open.is_empty() {
            self.open = match (&self.conninfo, &self.scope) {
                (Some(conninfo), _) => vec![(None, connection(conninfo.clone()))],
                (None, Scope::One) => Vec::new(),
                (None, Scope::Many(server)) => ticker::databases(server)?
                    .into_iter()
                    .map(|name| (Some(name.clone()), connection(server.database(&name))))
                    .collect(),
            };
        }
        let mut found = Vec::new();
        self.failed = 0;
        for (name, database) in &mut self.open {
            let status = (database.connection().map_err(Error::from))
                .and_then(|db| Status::read(db, args, is_json, name.clone(), &self.advice));
            let Some(name) = name else {
                found.push(status?);
                continue;
            };
            // A session that is kept is in the way of others.
            database.reset();
            match status {
                Ok(status) => found.push(status),
                Err(Error::NotInstalled) => {}
                Err(error) => {
                    error!("{}{}", ticker::label(name), chain(&error));
                    self.failed += 1;
                }
            }
        }
        if let (Some(error), true) = (self.some_failed(), found.is_empty()) {
            return Err(error);
        }
        if let (Some(queue), true) = (&args.queue, found.iter().all(|one| one.queues.is_empty())) {
            return Err(Error::NoSuchQueue(queue.clone()));
        }
        Ok(found)
    }
}

fn connection(conninfo: ConnInfo) -> Database {
    Database::new("db", conninfo, Duration::ZERO)
}

impl Status {
    fn read(
        db: &mut Connection,
        args: &Args,
        is_json: bool,
        database: Option<String>,
        advice: &Advice,
    ) -> Result<Status, Error> {
        let queue = args.queue.as_ref();
        let row = db
            .query_typed_one(
                "select pg_catalog.current_setting('server_version'), \
                 pg_catalog.to_regprocedure('pgq.get_problems(text)') is not null",
                &[],
            )
            .during("read the server's version")?;
        Ok(Status {
            advice: advice.of(database.as_deref()),
            database,
            postgres_version: row.get(0),
            pgq_version: pgq::admin::version(&mut **db)?,
            queues: pgq::admin::queue_info(&mut **db, queue)?,
            consumers: pgq::admin::consumer_info(&mut **db, queue, None)?,
            is_version_2: pgq::admin::is_version_2(&mut **db)?,
            health: match row.get(1) {
                false => Health::default(),
                true => Health::read(db, queue, is_json)?,
            },
        })
    }

    /// Whether somebody should do something.
    fn is_wrong(&self) -> bool {
        let problems = self.health.problems.iter().flatten();
        problems
            .into_iter()
            .any(|problem| problem.severity != Severity::Note)
    }

    fn problems(&self, out: &mut fmt::Formatter<'_>, ruler: &str) -> fmt::Result {
        let Some(problems) = &self.health.problems else {
            writeln!(out)?;
            let advice = self.advice.command(&["upgrade"]);
            return writeln!(
                out,
                "This version of PgQ does not tell what is wrong; {advice}"
            );
        };
        if problems.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nProblems\n{ruler}")?;
        for problem in problems {
            let severity = match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            let place = match (&problem.queue, &problem.consumer) {
                (Some(queue), Some(consumer)) => format!("{queue}/{consumer}: "),
                (Some(queue), None) => format!("{queue}: "),
                _ => String::new(),
            };
            let since = match problem.since_seconds {
                Some(seconds) => format!(" ({seconds:.0}s)"),
                None => String::new(),
            };
            writeln!(out, "{severity:<8}{place}{}{since}", problem.message)?;
            writeln!(out, "        -> {}", self.advice.on(problem))?;
        }
        writeln!(out, "{ruler}")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ruler = "-".repeat(78);
        let pgq_version = self.pgq_version.as_deref().unwrap_or("NULL");
        if let Some(database) = &self.database {
            writeln!(out, "Database: {database}")?;
        }
        writeln!(
            out,
            "Postgres version: {}   PgQ version: {pgq_version}",
            self.postgres_version
        )?;

        writeln!(out)?;
        let version_2 = self.is_version_2;
        let header = ["Event queue", "Rotation", "Ticker", "TLag", "EPS", "New"];
        write_queue(out, header, version_2)?;
        writeln!(out, "{ruler}")?;
        for queue in &self.queues {
            let rotation = format!(
                "{}/{}",
                queue.ntables,
                seconds(queue.rotation_period_seconds)
            );
            let ticker = format!(
                "{}/{}/{}",
                queue.ticker_max_count,
                seconds(Some(queue.ticker_max_lag_seconds)),
                seconds(Some(queue.ticker_idle_period_seconds)),
            );
            let fields = [
                queue.queue.as_str(),
                &rotation,
                &ticker,
                &seconds(queue.ticker_lag_seconds),
                &queue
                    .events_per_second
                    .map_or_else(null, |rate| format!("{rate:.1}")),
                &count(queue.new_events),
            ];
            write_queue(out, fields, version_2)?;
        }
        writeln!(out, "{ruler}")?;

        writeln!(out)?;
        let header = ["Consumer", "Lag", "LastSeen", "Pending"];
        write_consumer(out, header, 0, version_2)?;
        writeln!(out, "{ruler}")?;
        let mut of_queue: HashMap<&QueueName, Vec<&ConsumerInfo>> = HashMap::new();
        for consumer in &self.consumers {
            of_queue.entry(&consumer.queue).or_default().push(consumer);
        }
        for queue in &self.queues {
            writeln!(out, "{}:", queue.queue)?;
            for consumer in of_queue.get(&queue.queue).into_iter().flatten() {
                let fields = [
                    consumer.consumer.as_str(),
                    &seconds(consumer.lag_seconds),
                    &seconds(consumer.last_seen_seconds),
                    &count(consumer.pending_events),
                ];
                write_consumer(out, fields, 2, version_2)?;
            }
        }
        writeln!(out, "{ruler}")?;
        self.problems(out, &ruler)
    }
}

/// A line of the table of queues; PgQ 2 knows no rates.
fn write_queue(out: &mut fmt::Formatter<'_>, fields: [&str; 6], version_2: bool) -> fmt::Result {
    let [name, rotation, ticker, lag, rate, new] = fields;
    if version_2 {
        return writeln!(out, "{name:<45} {rotation:>9} {ticker:>13} {lag:>6}");
    }
    writeln!(
        out,
        "{name:<33} {rotation:>9} {ticker:>13} {lag:>6} {rate:>6} {new:>5}"
    )
}

/// A line of the table of consumers, indented; PgQ 2 does not know what is pending.
fn write_consumer(
    out: &mut fmt::Formatter<'_>,
    fields: [&str; 4],
    indent: usize,
    version_2: bool,
) -> fmt::Result {
    let [name, lag, seen, pending] = fields;
    let width = if version_2 { 56 } else { 48 } - indent;
    write!(out, "{:indent$}{name:<width$} {lag:>9} {seen:>9}", "")?;
    if version_2 {
        writeln!(out)
    } else {
        writeln!(out, " {pending:>8}")
    }
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(null, |value| format!("{value:.0}s"))
}

fn count(value: Option<i64>) -> String {
    value.map_or_else(null, |value| value.to_string())
}

fn null() -> String {
    "NULL".to_owned()
}
