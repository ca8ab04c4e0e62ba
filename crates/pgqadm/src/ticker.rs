//! The daemon: ticks one database or many, each on a thread and a connection of its own, so that
//! nothing that happens to one concerns another.
//!
//! * `one`: the thread of a database; `session`: its connection; `task`: what it shares
//! * `fleet`: the threads of all databases; this module is their supervisor
//! * `maintenance`, `rounds`: what runs beside the ticks
//! * `pace`: when; `decide`, `older`: PgQ 2
//!
//! Threads, and not tasks of one runtime: what a thread costs at rest, some pages of its stack, is
//! nothing beside the server's side of its connection, and every call that talks to a server is the
//! one that the rest of the suite uses.

mod decide;
mod fleet;
mod maintenance;
mod older;
mod one;
mod pace;
mod rounds;
mod session;
mod task;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use skytools::app::{Program, chain};
use skytools::config::CommonConfig;
use skytools::daemon::{Context, Job, Work, Worker};
use skytools::db::{Connection, During};
use skytools::stats::Stats;
use tracing::{debug, error, info};

use crate::config::{Scope, Server};
use crate::{Args, Config, Error};
use fleet::Fleet;
use pace::Backoff;
use session::Found;
use task::{Complaints, Counts, Label, Plan, Task, printable};

/// How often the supervisor looks after the threads.
const ROUND: Duration = Duration::from_millis(200);

/// Longest pause between two looks at a server that is down.
const PROBE: Duration = Duration::from_secs(1);

/// Ticks and maintains until stopped, or once.
pub(crate) fn run(job: Job<Config>, args: &Args) -> Result<(), Error> {
    let ensure = args.common().ensure;
    Ok(job.run(|job| Daemon::new(job, ensure))?)
}

/// The supervisor of the threads.
struct Daemon {
    common: CommonConfig,
    config: Config,
    /// Name of the section of the configuration.
    section: String,
    scope: Scope,
    once: bool,
    ensure: bool,
    fleet: Arc<Fleet>,
    /// When to look for databases; none: at once.
    check: Option<Instant>,
    /// When to look whether the server is back.
    probe: Option<Instant>,
    backoff: Backoff,
    complaints: Complaints,
    counts: Counts,
    reported: Option<Instant>,
}

impl Daemon {
    fn new(job: &Job<Config>, ensure: bool) -> Result<Daemon, Error> {
        let section = job.settings.main_section().name().to_owned();
        let scope = job.config.scope(&job.common, &section)?;
        if let Scope::Many(_) = scope {
            raise_file_limit();
        }
        Ok(Daemon {
            scope,
            section,
            common: job.common.clone(),
            config: job.config.clone(),
            // A pause of no length asks for the end when there is nothing to do.
            once: job.is_once() || job.common.loop_delay.is_zero(),
            ensure,
            fleet: Arc::default(),
            check: None,
            probe: None,
            backoff: Backoff::default(),
            complaints: Complaints::default(),
            counts: Counts::default(),
            reported: None,
        })
    }

    fn plan(&self, name: Option<&str>) -> Result<Plan, Error> {
        let conninfo = match (&self.scope, name) {
            (Scope::Many(server), Some(name)) => server.database(name),
            _ => self.config.conninfo(&self.common)?,
        };
        Ok(Plan::new(&self.scope, &self.common, &self.config, conninfo))
    }

    /// Starts and stops threads, so that there is one for each database.
    fn settle(&mut self, names: &[Option<String>]) -> Result<(), Error> {
        for name in self.fleet.names() {
            if !names.contains(&name) {
                if let Some(name) = &name {
                    info!("Unregister database: [{}]", printable(name));
                }
                self.fleet.stop(&name);
            }
        }
        for name in names {
            let plan = self.plan(name.as_deref())?;
            if self.fleet.start(name.as_deref(), plan)
                && let Some(name) = name
            {
                debug!("Register database: [{}]", printable(name));
            }
        }
        Ok(())
    }

    /// Looks for databases when it is time to, and whether a server is back that was down.
    fn check(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_none_or(|at| now >= at);
        let Scope::Many(server) = &self.scope else {
            if due(self.check) {
                self.check = now.checked_add(Duration::from_secs(1 << 30));
                self.settle(&[None])?;
            }
            return Ok(());
        };
        let mut down = self.fleet.tasks();
        down.retain(|task| task.is_down());
        let soon = self.fleet.take_check_soon() || !down.is_empty() && due(self.probe);
        if !soon && !due(self.check) {
            return Ok(());
        }
        match look(server, !down.is_empty()) {
            Ok((names, is_writable)) => {
                self.backoff.reset();
                self.complaints.forget();
                self.check = now.checked_add(self.config.check_period);
                self.probe = now.checked_add(PROBE);
                self.settle(&names)?;
                if is_writable {
                    down.iter().for_each(|task| task.nudge());
                }
            }
            Err(error) => {
                let pause = self.backoff.next(PROBE.min(self.common.exception_sleep));
                self.check = now.checked_add(pause);
                self.probe = self.check;
                let text = format!("cannot look for databases: {}", chain(&error));
                let period = self.common.exception_sleep;
                self.complaints.complain(&text, &text, period);
            }
        }
        Ok(())
    }

    /// Replaces threads to which the server has not answered for too long.
    fn watch(&self) {
        let patience = self.config.answer_timeout;
        if patience.is_zero() {
            return;
        }
        for task in self.fleet.tasks() {
            if task.busy_for().is_some_and(|busy| busy > patience) {
                let seconds = patience.as_secs_f64();
                error!("{}no answer in {seconds} s, connecting anew", task.label);
                self.fleet.replace(&task);
            }
        }
    }

    /// Logs what the threads of many databases did.
    fn report(&mut self) {
        if self.scope == Scope::One {
            return;
        }
        for task in self.fleet.tasks() {
            let Counts {
                ticks,
                maintained,
                retried,
            } = task.take_counts();
            self.counts.ticks += ticks;
            self.counts.maintained += maintained;
            self.counts.retried += retried;
        }
        let period = self.config.report_period(&self.scope);
        if self.reported.get_or_insert_with(Instant::now).elapsed() >= period {
            let counts = std::mem::take(&mut self.counts);
            let mut stats = Stats::default();
            stats.put("ticks", counts.ticks);
            stats.put("maint", counts.maintained);
            stats.put("retry", counts.retried);
            stats.flush();
            self.reported = Some(Instant::now());
        }
    }

    /// One pass over every database.
    fn run_once(&self, context: &Context) -> Result<(), Error> {
        let Scope::Many(server) = &self.scope else {
            let task = Task::new(Label(None), self.plan(None)?);
            return match one::once(&task, &context.stop)? {
                Found::Queues => Ok(()),
                Found::AnotherTicker if self.ensure => Ok(()),
                Found::AnotherTicker => Err(Error::AnotherTicker),
                Found::NoPgq | Found::StrangePgq => Err(Error::NotInstalled),
                Found::Standby => Err(Error::Standby),
            };
        };
        let (names, _) = look(server, false)?;
        let (mut failed, all) = (0, names.len());
        for name in names {
            if context.stop.requested() {
                break;
            }
            let plan = self.plan(name.as_deref())?;
            let task = Task::new(Label(name), plan);
            let found = match one::once(&task, &context.stop) {
                Ok(Found::AnotherTicker) if !self.ensure => Err(Error::AnotherTicker),
                other => other,
            };
            if let Err(error) = found {
                error!("{}", task.describe(&error));
                failed += 1;
            }
        }
        match failed {
            0 => Ok(()),
            failed => Err(Error::SomeDatabases { failed, all }),
        }
    }
}

/// What lines about one of many databases begin with.
pub(crate) fn label(database: &str) -> String {
    Label(Some(database.to_owned())).to_string()
}

/// The databases of a server that are ticked, by name.
///
/// # Errors
/// They are not listed, and the server does not tell.
pub(crate) fn databases(server: &Server) -> Result<Vec<String>, Error> {
    let (names, _) = look(server, false)?;
    Ok(names.into_iter().flatten().collect())
}

/// The databases of a server, by name, and whether it takes writes. With a list only a `probe` asks
/// the server.
fn look(server: &Server, probe: bool) -> Result<(Vec<Option<String>>, bool), Error> {
    let listed: Vec<Option<String>> = server.list.iter().cloned().map(Some).collect();
    if !listed.is_empty() && !probe {
        return Ok((listed, true));
    }
    let mut db = Connection::open("db", &server.database(server.anchor()))?;
    let row = db
        .query_typed_one("select not pg_catalog.pg_is_in_recovery()", &[])
        .during("look at the server")?;
    if !listed.is_empty() {
        return Ok((listed, row.get(0)));
    }
    let found = db
        .query_typed(
            // -2: half dropped.
            "select datname from pg_catalog.pg_database \
             where not datistemplate and datallowconn and datconnlimit <> -2 \
             and pg_catalog.has_database_privilege(oid, 'connect') order by datname",
            &[],
        )
        .during("read the names of the databases")?;
    Ok((
        found.iter().map(|row| Some(row.get(0))).collect(),
        row.get(0),
    ))
}

/// Many connections need many file descriptors; the default is meant for programs that use
/// `select`.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        debug!("cannot raise the limit of open files: {error}");
    }
}

impl Worker for Daemon {
    type Config = Config;
    type Error = Error;

    fn work(&mut self, context: &mut Context) -> Result<Work, Error> {
        if self.once {
            self.run_once(context)?;
            return Ok(Work::Done);
        }
        if self.fleet.reap() {
            self.check = None;
        }
        self.check()?;
        self.watch();
        self.report();
        for task in self.fleet.tasks() {
            if let Some(error) = task.take_failure() {
                return Err(error);
            }
        }
        context.stop.sleep(ROUND);
        Ok(Work::More)
    }

    fn recover(&mut self) {}

    fn reload(&mut self, common: &CommonConfig, config: Config) -> Result<(), Error> {
        // Before anything is changed: the new settings may be of no use.
        let scope = config.scope(common, &self.section)?;
        if let Scope::Many(_) = scope {
            raise_file_limit();
        }
        self.scope = scope;
        self.common = common.clone();
        self.config = config;
        self.check = None;
        Ok(())
    }

    fn is_fatal(&self, error: &Error) -> bool {
        matches!(
            error,
            Error::BadTxid
                | Error::AnotherTicker
                | Error::SomeDatabases { .. }
                | Error::NotSet(_)
                | Error::ConnInfo { .. }
        )
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.fleet.end();
    }
}
