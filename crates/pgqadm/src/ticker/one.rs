//! The thread of one database: ticks at its pace, comes back after every failure, and starts the
//! rounds of maintenance, which run beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::error::SqlState;
use skytools::conninfo::ConnInfo;
use skytools::daemon::Stop;
use skytools::stats::Stats;
use tracing::{debug, info, warn};

use super::fleet::Fleet;
use super::pace::{Backoff, Pace};
use super::rounds::Rounds;
use super::session::{Backend, Found, Session};
use super::task::{Complaints, Plan, Task};
use crate::Error;

/// How long a database is left alone that somebody wants for himself: a little longer than the
/// server waits for sessions to end.
const LEAVE_ALONE: Duration = Duration::from_secs(6);

/// How a failure is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The server is gone, starting, or read-only: try again soon.
    Outage,
    /// The database does not exist.
    Gone,
    /// Trying again is pointless.
    Fatal,
    /// Anything else.
    Other,
}

impl Trouble {
    fn of(error: &Error) -> Trouble {
        let Some(db) = error.as_db() else {
            return match error {
                Error::BadTxid => Trouble::Fatal,
                _ => Trouble::Other,
            };
        };
        match db.sql_state() {
            None if db.is_connection_lost() => Trouble::Outage,
            _ if error.is_database_gone() => Trouble::Gone,
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION | &SqlState::TOO_MANY_CONNECTIONS) => {
                Trouble::Outage
            }
            // Shutdown, crash, start-up; broken connections.
            Some(state) if state.code().starts_with("57P") || state.code().starts_with("08") => {
                Trouble::Outage
            }
            _ => Trouble::Other,
        }
    }
}

/// How often it is told that a database is not there which the configuration names.
const MISSED: Duration = Duration::from_secs(3600);

/// What the thread works with.
struct One {
    task: Arc<Task>,
    fleet: Arc<Fleet>,
    session: Session,
    /// What the session was made from.
    conninfo: ConnInfo,
    pace: Pace,
    backoff: Backoff,
    complaints: Complaints,
    rounds: Rounds,
    /// Another ticker was found.
    standing_by: bool,
    /// What was found instead of PgQ, and told.
    told: Option<Found>,
    reported: Option<Instant>,
}

/// Ticks and maintains one database until its task is stopped. `ghost` is a session that an earlier
/// thread left behind.
pub(super) fn run(task: &Arc<Task>, fleet: &Arc<Fleet>, ghost: Option<Backend>) {
    let plan = task.plan();
    let mut one = One {
        session: session(&plan).succeeding(ghost),
        conninfo: plan.conninfo.clone(),
        pace: Pace::new(Instant::now()),
        backoff: Backoff::default(),
        complaints: Complaints::default(),
        rounds: Rounds::new(task),
        standing_by: false,
        told: None,
        reported: None,
        task: Arc::clone(task),
        fleet: Arc::clone(fleet),
    };
    while !task.stop.requested() {
        let plan = task.plan();
        let until = one.pass(&plan);
        task.sleep_until(until);
    }
    one.rounds.end();
    one.session.disconnect(task);
}

fn session(plan: &Plan) -> Session {
    Session::new(&plan.conninfo, plan.lifetime, plan.lock)
}

impl One {
    /// Does what is due; returns when to come back.
    fn pass(&mut self, plan: &Arc<Plan>) -> Instant {
        if plan.conninfo != self.conninfo {
            self.rounds.end();
            self.session.disconnect(&self.task);
            self.session = session(plan);
            self.conninfo = plan.conninfo.clone();
            self.rounds = Rounds::new(&self.task);
        }
        if self.task.take_wanted() {
            info!(
                "{}somebody wants the database for himself, leaving it for a moment",
                self.task.label
            );
            self.rounds.break_off();
            self.session.disconnect(&self.task);
            return Instant::now() + LEAVE_ALONE;
        }
        if self.session.is_expired() {
            self.session.disconnect(&self.task);
        }
        match self.try_pass(plan) {
            Ok(until) => {
                self.complaints.forget();
                until
            }
            Err(error) => self.failed(error, plan),
        }
    }

    fn try_pass(&mut self, plan: &Arc<Plan>) -> Result<Instant, Error> {
        if !self.session.is_ready() {
            let permit = self.fleet.connect_permit(&self.task.stop);
            let found = self.session.prepare(&self.task)?;
            drop(permit);
            self.told = self.told.filter(|told| *told == found);
            if found != Found::Queues {
                return self.look_again(found, plan);
            }
            if std::mem::take(&mut self.standing_by) {
                info!("{}the other ticker is gone, taking over", self.task.label);
            }
            self.pace.restart(Instant::now());
        }
        let ticks = self.session.tick(&self.task)?;
        self.task.set_down(false);
        self.backoff.reset();
        self.task.count(|counts| counts.ticks += ticks);
        if !plan.is_one_of_many {
            self.report(plan);
        }
        if self.fleet.claim_look() {
            self.fleet
                .let_go_of(&self.session.wanted_databases(&self.task)?, &self.task);
        }
        self.rounds.start_due(plan);
        Ok(self.pace.advance(Instant::now(), plan.ticker_period))
    }

    /// There is nothing to tick yet.
    fn look_again(&mut self, found: Found, plan: &Plan) -> Result<Instant, Error> {
        let label = &self.task.label;
        let is_news = self.told.replace(found) != Some(found);
        let pause = match found {
            Found::Queues => Duration::ZERO,
            Found::AnotherTicker => {
                if is_news {
                    warn!("{label}another ticker is running on this database, waiting for its end");
                }
                self.standing_by = true;
                plan.queue_refresh_period
            }
            Found::Standby => {
                if is_news {
                    warn!("{label}the server is a standby, waiting for its promotion");
                }
                self.task.set_down(true);
                plan.longest_backoff
            }
            Found::NoPgq | Found::StrangePgq if !plan.is_one_of_many => {
                return Err(Error::NotInstalled);
            }
            Found::NoPgq => {
                if is_news && plan.is_listed {
                    warn!("{label}{}", Error::NotInstalled);
                } else {
                    debug!("{label}no pgq here");
                }
                plan.check_period
            }
            Found::StrangePgq => {
                if is_news {
                    info!("{label}bad pgq version, ignoring");
                }
                plan.check_period
            }
        };
        if found != Found::Standby {
            self.task.set_down(false);
        }
        Ok(Instant::now() + pause)
    }

    /// Decides when to try again.
    fn failed(&mut self, error: Error, plan: &Plan) -> Instant {
        self.session.reset();
        let trouble = Trouble::of(&error);
        let text = self.task.describe(&error);
        self.task.set_down(trouble == Trouble::Outage);
        let pause = match trouble {
            Trouble::Outage => self.backoff.next(plan.longest_backoff),
            Trouble::Fatal if !plan.is_one_of_many => {
                self.task.fail(error);
                self.task.stop.request();
                return Instant::now();
            }
            Trouble::Gone if plan.is_listed => {
                self.complaints.complain("gone", &text, MISSED);
                return Instant::now() + plan.check_period;
            }
            Trouble::Gone if plan.is_one_of_many => {
                // Dropped a moment ago: the supervisor will see it too.
                debug!("{text}");
                self.fleet.check_soon();
                return Instant::now() + plan.check_period;
            }
            Trouble::Fatal => plan.check_period,
            Trouble::Gone | Trouble::Other => plan.error_pause,
        };
        // Of a server that goes down and comes back, many databases have little to tell.
        let kind = match trouble {
            Trouble::Outage if plan.is_one_of_many => "outage",
            _ => &text,
        };
        self.complaints.complain(kind, &text, plan.complaint_period);
        Instant::now() + pause
    }

    fn report(&mut self, plan: &Plan) {
        if self
            .reported
            .is_none_or(|last| last.elapsed() >= plan.report_period)
        {
            let mut stats = Stats::default();
            stats.put("ticks", self.task.take_counts().ticks);
            stats.flush();
            self.reported = Some(Instant::now());
        }
    }
}

/// One pass and one round of maintenance.
///
/// # Errors
/// The first failure, also where another process ticks.
pub(super) fn once(task: &Task, stop: &Stop) -> Result<Found, Error> {
    let plan = task.plan();
    let mut session = session(&plan);
    let found = session.prepare(task)?;
    match found {
        Found::Queues => {}
        Found::Standby => return Err(Error::Standby),
        other => return Ok(other),
    }
    let ticks = session.tick_once(task)?;
    if !plan.is_one_of_many {
        let mut stats = Stats::default();
        stats.put("ticks", ticks);
        stats.flush();
    }
    let result = super::maintenance::once(task, &plan, stop);
    session.disconnect(task);
    result.map(|()| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_cannot_be_reached_is_an_outage_and_txid_is_fatal() {
        let conninfo = ConnInfo::parse("host=/nowhere dbname=x user=u").expect("a string");
        let error = skytools::db::Connection::open("db", &conninfo).expect_err("nobody there");
        assert_eq!(Trouble::of(&Error::Db(error)), Trouble::Outage);
        assert_eq!(Trouble::of(&Error::BadTxid), Trouble::Fatal);
        assert_eq!(Trouble::of(&Error::NotInstalled), Trouble::Other);
    }
}
