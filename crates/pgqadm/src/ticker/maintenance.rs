//! Rounds of maintenance: rotation, vacuum, events to be retried. Each round has a connection of its
//! own, so that nothing of it delays a tick.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pgq::maintenance::Operation;
use skytools::app::chain;
use skytools::daemon::Stop;
use skytools::db::{Canceller, Connection, Database, During};
use skytools::stats::Stats;
use tracing::{debug, error, info};

use super::older;
use super::session::guarded;
use super::task::{Label, Plan, Task};
use crate::Error;

/// Most times that an operation is repeated in one round because it asks for it: some versions of the
/// schema have functions that always do.
const MOST_REPEATS: u32 = 1000;

/// What a round is doing, for who wants to end it early.
#[derive(Default)]
pub(super) struct Current {
    statement: Mutex<Statement>,
}

#[derive(Default)]
struct Statement {
    canceller: Option<Canceller>,
    /// Can be cancelled whenever the program ends: it is only postponed.
    is_vacuum: bool,
}

impl Current {
    fn set(&self, canceller: Option<Canceller>, is_vacuum: bool) {
        let mut statement = self
            .statement
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *statement = Statement {
            canceller,
            is_vacuum,
        };
    }

    /// Cancels what runs, if it is a VACUUM or `everything` shall go.
    pub(super) fn cancel(&self, everything: bool) {
        let canceller = {
            let statement = self
                .statement
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            statement
                .canceller
                .clone()
                .filter(|_| everything || statement.is_vacuum)
        };
        if let Some(Err(error)) = canceller.map(|canceller| canceller.cancel()) {
            debug!("cannot end maintenance early: {}", chain(&error));
        }
    }
}

/// A round, and what it needs.
pub(super) struct Round<'a> {
    pub(super) label: &'a Label,
    pub(super) plan: &'a Plan,
    pub(super) stop: &'a Stop,
    pub(super) current: &'a Current,
}

impl Round<'_> {
    fn database(&self) -> Database {
        Database::new("db", guarded(&self.plan.conninfo), Duration::ZERO)
    }

    /// Logs a failure, unless the round was to end.
    fn complain(&self, error: &Error) {
        let text = format!("{}Maintenance failed: {}", self.label, chain(error));
        // The ticker notices it too, and of many databases one may go.
        let is_gone = self.plan.is_one_of_many && error.is_database_gone();
        if self.stop.requested() || is_gone {
            debug!("{text}");
        } else {
            error!("{text}");
        }
    }

    /// Runs what is due. True if all of it succeeded; what did not is logged.
    pub(super) fn maintain(&self) -> bool {
        let mut all_well = true;
        self.each_operation(&mut |error| {
            self.complain(&error);
            all_well = false;
        });
        all_well
    }

    /// Puts events back whose time has come; returns how many, or nothing after a failure, which is
    /// logged.
    pub(super) fn retry(&self) -> Option<i64> {
        match self.try_retry() {
            Ok(moved) => Some(moved),
            Err(error) => {
                self.complain(&error);
                None
            }
        }
    }

    /// A failed operation does not keep the next one from running.
    fn each_operation(&self, failed: &mut dyn FnMut(Error)) {
        let start = Instant::now();
        let mut database = self.database();
        let operations = match self.operations(&mut database) {
            Ok(operations) => operations,
            Err(error) => return failed(error),
        };
        for operation in operations {
            if self.stop.requested() {
                break;
            }
            if let Err(error) = self.repeat(&mut database, &operation) {
                let is_lost = error.as_db().is_some_and(|db| db.is_connection_lost());
                failed(error);
                if is_lost {
                    break;
                }
                database.reset();
            }
        }
        self.current.set(None, false);
        if !self.plan.is_one_of_many {
            let mut stats = Stats::default();
            stats.put("maint_duration", start.elapsed().as_secs_f64());
            stats.flush();
        }
    }

    fn operations(&self, database: &mut Database) -> Result<Vec<Operation>, Error> {
        let db = database.connection()?;
        self.current.set(Some(db.canceller()), false);
        if decides(db)? {
            Ok(pgq::maintenance::operations(&mut **db)?)
        } else {
            older::operations(db)
        }
    }

    /// Runs an operation as often as it asks for it.
    fn repeat(&self, database: &mut Database, operation: &Operation) -> Result<(), Error> {
        debug!(
            name = operation.name,
            argument = ?operation.argument,
            "{}maintenance", self.label
        );
        let db = database.connection()?;
        let is_vacuum = operation.name.to_ascii_lowercase().starts_with("vacuum");
        self.current.set(Some(db.canceller()), is_vacuum);
        for _ in 0..MOST_REPEATS {
            if !operation.run(&mut **db)? || self.stop.requested() {
                break;
            }
            match operation.name.as_str() {
                "pgq.maint_rotate_tables_step1" => {
                    let queue = operation.argument.as_deref().unwrap_or("tables");
                    info!("{}Rotating {queue}", self.label);
                    break;
                }
                // Always 1 in PgQ 2.
                "pgq.maint_rotate_tables_step2" => break,
                _ => {}
            }
        }
        Ok(())
    }

    fn try_retry(&self) -> Result<i64, Error> {
        let mut database = self.database();
        let db = database.connection()?;
        self.current.set(Some(db.canceller()), false);
        let mut total = 0;
        while !self.stop.requested() {
            match pgq::maintenance::retry_events(&mut **db)? {
                0 => break,
                moved => total += i64::from(moved),
            }
        }
        if total > 0 {
            info!("{}Got {total} events for retry", self.label);
        }
        self.current.set(None, false);
        Ok(total)
    }
}

/// Whether the server says what maintenance there is.
fn decides(db: &mut Connection) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pg_catalog.to_regprocedure('pgq.maint_operations()') is not null",
            &[],
        )
        .during("look at the version of pgq")?;
    Ok(row.get(0))
}

/// One round without a thread, to its end.
///
/// # Errors
/// The first failure; further ones are logged.
pub(super) fn once(task: &Task, plan: &Plan, stop: &Stop) -> Result<(), Error> {
    let round = Round {
        label: &task.label,
        plan,
        stop,
        current: &Current::default(),
    };
    let mut first = None;
    let mut note = |error: Error| match first {
        None => first = Some(error),
        Some(_) => round.complain(&error),
    };
    round.each_operation(&mut note);
    if let Err(error) = round.try_retry() {
        note(error);
    }
    first.map_or(Ok(()), Err)
}
