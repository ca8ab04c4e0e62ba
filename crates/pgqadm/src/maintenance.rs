//! Maintenance: rotation, retried events and vacuum, on a thread and a connection of its own, so that
//! nothing of it delays a tick.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use pgq::maintenance::Operation;
use skytools::app::chain;
use skytools::config::CommonConfig;
use skytools::daemon::Stop;
use skytools::db::Database;
use skytools::stats::Stats;
use tracing::{debug, error, info};

use crate::{Config, Error};

/// How often the thread looks whether something is due.
const PAUSE: Duration = Duration::from_secs(5);

/// Pause after an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(20);

/// Most times that an operation is repeated in one round because it asks for it: some versions of the
/// schema have functions that always do.
const MOST_REPEATS: u32 = 1000;

/// The running maintenance; ends with its current statement when dropped.
pub(crate) struct Maintenance {
    plan: Arc<Mutex<Plan>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

/// What the ticker tells the thread.
struct Plan {
    common: CommonConfig,
    config: Config,
    /// Whether it was changed since the thread looked last.
    fresh: bool,
}

impl Maintenance {
    /// Starts the thread: after detaching, since a fork keeps only the thread that calls it.
    pub(crate) fn start(
        common: &CommonConfig,
        config: &Config,
        stop: Stop,
    ) -> Result<Maintenance, Error> {
        let plan = Arc::new(Mutex::new(Plan {
            common: common.clone(),
            config: config.clone(),
            fresh: true,
        }));
        let thread = Builder::new().name("maintenance".to_owned()).spawn({
            let (plan, stop) = (Arc::clone(&plan), stop.clone());
            move || run(&plan, &stop)
        })?;
        Ok(Maintenance {
            plan,
            stop,
            thread: Some(thread),
        })
    }

    /// Hands a changed configuration to the thread.
    pub(crate) fn reload(&self, common: &CommonConfig, config: &Config) {
        *lock(&self.plan) = Plan {
            common: common.clone(),
            config: config.clone(),
            fresh: true,
        };
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.stop.request();
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            error!("maintenance ended by a defect of the program");
        }
    }
}

/// The plan is replaced whole, so a thread that died with the lock left a good one.
fn lock(plan: &Mutex<Plan>) -> std::sync::MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(plan: &Mutex<Plan>, stop: &Stop) {
    let mut database = None;
    let mut maintained: Option<Instant> = None;
    let mut retried: Option<Instant> = None;
    while !stop.requested() {
        let (period, retry_period) = {
            let mut plan = lock(plan);
            if std::mem::take(&mut plan.fresh) {
                database = plan.config.database(&plan.common).ok();
            }
            (plan.config.maintenance_period(), plan.config.retry_period)
        };
        // The ticker has opened the same database, so it is there.
        let Some(database) = &mut database else {
            return;
        };
        let due = |last: Option<Instant>, period| last.is_none_or(|last| last.elapsed() >= period);
        if due(maintained, period) {
            maintained = Some(Instant::now());
            round(database, stop, &mut |database, error| {
                pause_after(error, database, stop);
            });
        }
        if due(retried, retry_period) && !stop.requested() {
            retried = Some(Instant::now());
            if let Err(error) = retry(database, stop) {
                pause_after(error, database, stop);
            }
        }
        database.expire();
        stop.sleep(PAUSE);
    }
}

fn pause_after(error: Error, database: &mut Database, stop: &Stop) {
    error!("Maintenance failed: {}", chain(&error));
    database.reset();
    stop.sleep(PAUSE_AFTER_ERROR);
}

/// One round without a thread, to its end.
///
/// # Errors
/// The first failure; further ones are logged.
pub(crate) fn once(database: &mut Database, stop: &Stop) -> Result<(), Error> {
    let mut first = None;
    let mut note = |error: Error| match first {
        None => first = Some(error),
        Some(_) => error!("Maintenance failed: {}", chain(&error)),
    };
    round(database, stop, &mut |database, error| {
        database.reset();
        note(error);
    });
    if let Err(error) = retry(database, stop) {
        note(error);
    }
    first.map_or(Ok(()), Err)
}

/// Runs what is due. A failed operation does not keep the next one from running.
fn round(database: &mut Database, stop: &Stop, failed: &mut dyn FnMut(&mut Database, Error)) {
    let start = Instant::now();
    let operations = match operations(database) {
        Ok(operations) => operations,
        Err(error) => return failed(database, error),
    };
    for operation in operations {
        if stop.requested() {
            return;
        }
        if let Err(error) = repeat(database, &operation, stop) {
            failed(database, error);
        }
    }
    let mut stats = Stats::default();
    stats.put("maint_duration", start.elapsed().as_secs_f64());
    stats.flush();
}

fn operations(database: &mut Database) -> Result<Vec<Operation>, Error> {
    Ok(pgq::maintenance::operations(&mut **database.connection()?)?)
}

/// Runs an operation as often as it asks for it.
fn repeat(database: &mut Database, operation: &Operation, stop: &Stop) -> Result<(), Error> {
    debug!(name = operation.name, argument = ?operation.argument, "maintenance");
    let db = database.connection()?;
    for _ in 0..MOST_REPEATS {
        if !operation.run(&mut **db)? || stop.requested() {
            break;
        }
    }
    Ok(())
}

/// Puts events back whose time has come.
fn retry(database: &mut Database, stop: &Stop) -> Result<(), Error> {
    let db = database.connection()?;
    let mut total = 0;
    while !stop.requested() {
        match pgq::maintenance::retry_events(&mut **db)? {
            0 => break,
            moved => total += i64::from(moved),
        }
    }
    if total > 0 {
        info!("Got {total} events for retry");
    }
    Ok(())
}
