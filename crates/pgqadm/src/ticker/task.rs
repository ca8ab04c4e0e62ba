//! What the thread of one database shares with the supervisor.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skytools::app::chain;
use skytools::config::CommonConfig;
use skytools::conninfo::ConnInfo;
use skytools::daemon::Stop;
use tracing::{debug, error};

use super::session::Backend;
use crate::config::Scope;
use crate::{Config, Error};

/// Everything about one database that the configuration decides.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) conninfo: ConnInfo,
    /// Whether it is one of many databases.
    pub(super) is_one_of_many: bool,
    /// Whether the configuration names it among them: it is missed where it is not, or has no PgQ.
    pub(super) is_listed: bool,
    pub(super) job_name: String,
    pub(super) ticker_period: Duration,
    pub(super) maintenance_period: Duration,
    pub(super) retry_period: Duration,
    pub(super) report_period: Duration,
    pub(super) queue_refresh_period: Duration,
    pub(super) check_period: Duration,
    pub(super) lifetime: Duration,
    pub(super) lock: bool,
    /// Pause after an error that a new connection does not cure.
    pub(super) error_pause: Duration,
    /// Longest pause between two attempts to connect while the server is down.
    pub(super) longest_backoff: Duration,
    /// How often an error that repeats itself is logged.
    pub(super) complaint_period: Duration,
}

/// Pause between attempts while one database's server is down.
const BACKOFF: Duration = Duration::from_secs(1);

/// The same of one of many: a probe of the supervisor ends it early.
const BACKOFF_OF_MANY: Duration = Duration::from_secs(10);

impl Plan {
    pub(super) fn new(
        scope: &Scope,
        common: &CommonConfig,
        config: &Config,
        conninfo: ConnInfo,
    ) -> Plan {
        let is_one_of_many = matches!(scope, Scope::Many(_));
        let pause = common.exception_sleep;
        Plan {
            conninfo,
            is_one_of_many,
            is_listed: matches!(scope, Scope::Many(server) if !server.list.is_empty()),
            job_name: common.job_name.clone(),
            ticker_period: config.ticker_period(common),
            maintenance_period: config.maintenance_period(scope),
            retry_period: config.retry_period,
            report_period: config.report_period(scope),
            queue_refresh_period: config.queue_refresh_period,
            check_period: config.check_period,
            lifetime: config.lifetime(scope, common),
            lock: config.ticker_lock,
            error_pause: match is_one_of_many {
                true => pause.min(Duration::from_secs(10)),
                false => pause,
            },
            longest_backoff: match is_one_of_many {
                true => pause.min(BACKOFF_OF_MANY),
                false => pause.min(BACKOFF),
            },
            complaint_period: pause,
        }
    }
}

/// Counters since they were last reported.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) ticks: i64,
    pub(super) maintained: i64,
    pub(super) retried: i64,
}

/// One database: shared by its thread, its maintenance and the supervisor.
pub(super) struct Task {
    /// Name of the database; none if there is only one.
    pub(super) label: Label,
    /// Ends the thread, and its maintenance.
    pub(super) stop: Stop,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    plan: Arc<Plan>,
    /// Somebody waits for the database to be free of sessions.
    is_wanted: bool,
    /// Do not sleep on.
    is_nudged: bool,
    /// The server does not answer.
    is_down: bool,
    /// Since when a statement runs on the ticker's connection.
    busy: Option<Instant>,
    backend: Option<Backend>,
    counts: Counts,
    /// Why the thread gave up.
    fatal: Option<Error>,
}

impl Task {
    pub(super) fn new(label: Label, plan: Plan) -> Task {
        Task {
            label,
            stop: Stop::default(),
            state: Mutex::new(State {
                plan: Arc::new(plan),
                is_wanted: false,
                is_nudged: false,
                is_down: false,
                busy: None,
                backend: None,
                counts: Counts::default(),
                fatal: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// No panic can leave it half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.state().plan)
    }

    /// Hands over a changed configuration.
    pub(super) fn replan(&self, plan: Plan) {
        self.state().plan = Arc::new(plan);
        self.nudge();
    }

    /// Wakes the thread.
    pub(super) fn nudge(&self) {
        self.state().is_nudged = true;
        self.changed.notify_all();
    }

    /// Asks the thread to end.
    pub(super) fn end(&self) {
        self.stop.request();
        self.nudge();
    }

    /// Asks the thread to let go of the database for a moment.
    pub(super) fn let_go(&self) {
        self.state().is_wanted = true;
        self.nudge();
    }

    /// Whether somebody wants the database; asked once.
    pub(super) fn take_wanted(&self) -> bool {
        std::mem::take(&mut self.state().is_wanted)
    }

    /// Sleeps until then, or until something has changed.
    pub(super) fn sleep_until(&self, until: Instant) {
        let mut state = self.state();
        while !state.is_nudged && !self.stop.requested() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_nudged = false;
    }

    /// Runs a statement under the eyes of the supervisor.
    pub(super) fn busy<T>(&self, statement: impl FnOnce() -> T) -> T {
        self.state().busy = Some(Instant::now());
        let result = statement();
        self.state().busy = None;
        result
    }

    /// How long the current statement has been running.
    pub(super) fn busy_for(&self) -> Option<Duration> {
        self.state().busy.map(|since| since.elapsed())
    }

    pub(super) fn set_backend(&self, backend: Option<Backend>) {
        self.state().backend = backend;
    }

    pub(super) fn backend(&self) -> Option<Backend> {
        self.state().backend.clone()
    }

    pub(super) fn set_down(&self, is_down: bool) {
        self.state().is_down = is_down;
    }

    pub(super) fn is_down(&self) -> bool {
        self.state().is_down
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.state().counts);
    }

    pub(super) fn take_counts(&self) -> Counts {
        std::mem::take(&mut self.state().counts)
    }

    /// Gives up for good.
    pub(super) fn fail(&self, error: Error) {
        self.state().fatal = Some(error);
    }

    pub(super) fn take_failure(&self) -> Option<Error> {
        self.state().fatal.take()
    }

    /// What is logged of a failed pass.
    pub(super) fn describe(&self, error: &Error) -> String {
        match self.label.0 {
            None => format!("Job {} crashed: {}", self.plan().job_name, chain(error)),
            Some(_) => format!("{}{}", self.label, chain(error)),
        }
    }
}

/// `[DBNAME]: ` in front of what is logged about one of many databases; empty for a single one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label(pub(super) Option<String>);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => Ok(()),
            Some(name) => write!(f, "[{}]: ", printable(name)),
        }
    }
}

/// A name with its control characters replaced, so that it cannot forge lines of a log.
pub(super) fn printable(name: &str) -> String {
    name.replace(char::is_control, "?")
}

/// Logs a failure that repeats itself only now and then.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Option<(String, Instant)>,
}

impl Complaints {
    /// Logs `text`, unless a failure of the same kind was logged within the period.
    pub(super) fn complain(&mut self, kind: &str, text: &str, period: Duration) {
        if self.is_news(kind, period) {
            error!("{text}");
        } else {
            debug!("{text}");
        }
    }

    fn is_news(&mut self, kind: &str, period: Duration) -> bool {
        let is_news = match &self.last {
            Some((last, since)) => last != kind || since.elapsed() >= period,
            None => true,
        };
        if is_news {
            self.last = Some((kind.to_owned(), Instant::now()));
        }
        is_news
    }

    /// The next failure is news.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_repeats_itself_is_news_once_a_period() {
        let long = Duration::from_secs(3600);
        let mut complaints = Complaints::default();
        assert!(complaints.is_news("refused", long));
        assert!(!complaints.is_news("refused", long));
        assert!(complaints.is_news("starting", long));
        assert!(complaints.is_news("starting", Duration::ZERO));
        complaints.forget();
        assert!(complaints.is_news("starting", long));
    }

    #[test]
    fn a_label_shows_the_database_on_one_line() {
        assert_eq!(Label(None).to_string(), "");
        assert_eq!(Label(Some("a b".to_owned())).to_string(), "[a b]: ");
        let forged = Label(Some("x\n2012-03-13 ERROR \u{1b}[2J".to_owned()));
        assert_eq!(forged.to_string(), "[x?2012-03-13 ERROR ?[2J]: ");
    }
}
