//! The connection that ticks one database.

use std::time::{Duration, Instant};

use postgres::types::Type;
use skytools::conninfo::ConnInfo;
use skytools::db::{Connection, Database, During};

use super::older::Older;
use super::task::Task;
use crate::Error;

/// How a dead server or network is noticed: unacknowledged data on this side ends a connection
/// after this many milliseconds, unless the connect string says otherwise.
const TCP_USER_TIMEOUT: &str = "15000";

/// The settings, with which a dead server is noticed.
pub(super) fn guarded(conninfo: &ConnInfo) -> ConnInfo {
    let guarded = conninfo
        .clone()
        .with_default("tcp_user_timeout", TCP_USER_TIMEOUT);
    guarded.expect("the value suits the option")
}

/// The same on the server's side, where the session would hold the ticker's lock for hours.
const NOTICE_DEAD_CLIENTS: &str = "select pg_catalog.set_config('tcp_keepalives_idle', '10', false), \
     pg_catalog.set_config('tcp_keepalives_interval', '5', false), \
     pg_catalog.set_config('tcp_keepalives_count', '3', false), \
     pg_catalog.set_config('tcp_user_timeout', '15000', false)";

/// A session of the server, by what makes it unique.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Backend {
    pid: i32,
    started: String,
}

/// What was found behind a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Queues that this process may tick.
    Queues,
    /// Another process ticks them.
    AnotherTicker,
    /// A standby: its primary is elsewhere, or it is about to become one.
    Standby,
    /// No schema `pgq`.
    NoPgq,
    /// A schema `pgq` that cannot be ticked.
    StrangePgq,
}

/// A connection to one database, and what is known of it.
pub(super) struct Session {
    database: Database,
    lock: bool,
    /// Set while the connection is checked and holds the lock.
    ready: bool,
    /// Decides for the server, where that is PgQ 2.
    older: Option<Older>,
    /// The last session that had the lock; after a broken connection the server may think that it
    /// still lives.
    ghost: Option<Backend>,
}

impl Session {
    pub(super) fn new(conninfo: &ConnInfo, lifetime: Duration, lock: bool) -> Session {
        Session {
            database: Database::new("db", guarded(conninfo), lifetime),
            lock,
            ready: false,
            older: None,
            ghost: None,
        }
    }

    /// Takes over from a session that no answer came from.
    pub(super) fn succeeding(self, ghost: Option<Backend>) -> Session {
        Session { ghost, ..self }
    }

    /// Whether [`Session::tick`] may be called.
    pub(super) fn is_ready(&self) -> bool {
        self.ready && self.database.is_open()
    }

    /// Whether its time is over; then disconnect and prepare anew.
    pub(super) fn is_expired(&self) -> bool {
        self.database.is_expired()
    }

    /// Connects, looks at what is there and takes the lock.
    pub(super) fn prepare(&mut self, task: &Task) -> Result<Found, Error> {
        self.ready = false;
        let db = self.database.connection()?;
        let found = task.busy(|| look(db, self.lock, &mut self.ghost))?;
        if found == Found::Queues {
            self.older = match task.busy(|| server_decides(db))? {
                true => None,
                false => Some(Older::default()),
            };
            task.set_backend(self.ghost.clone());
            self.ready = true;
        } else {
            self.database.reset();
        }
        Ok(found)
    }

    /// Ticks the queues that are due; returns how many.
    pub(super) fn tick(&mut self, task: &Task) -> Result<i64, Error> {
        let db = self.database.connection()?;
        task.busy(|| match &mut self.older {
            None => Ok(pgq::admin::ticker(&mut **db)?),
            Some(older) => older.tick(db, task.plan().queue_refresh_period),
        })
    }

    /// Ticks once, without a history.
    pub(super) fn tick_once(&mut self, task: &Task) -> Result<i64, Error> {
        if self.older.is_none() {
            return self.tick(task);
        }
        super::older::tick_once(self.database.connection()?)
    }

    /// Which databases somebody waits for, and whether each is this one: to drop or rename a
    /// database, or to copy it, it must be free of sessions. The server gives up after five seconds.
    pub(super) fn wanted_databases(&mut self, task: &Task) -> Result<Vec<(String, bool)>, Error> {
        let db = self.database.connection()?;
        let rows = task.busy(|| {
            db.query_typed(
                "select d.datname, d.datname = pg_catalog.current_database() \
                 from pg_catalog.pg_locks l \
                 join pg_catalog.pg_database d on d.oid = l.objid \
                 where l.locktype = 'object' and l.classid = 'pg_catalog.pg_database'::regclass \
                 and l.granted and l.mode in ('ShareLock', 'AccessExclusiveLock')",
                &[],
            )
            .during("look for databases that somebody waits for")
        })?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Closes the connection. The lock is given back first: it would outlive the connection by the
    /// moment the server needs to notice, and keep the next one waiting.
    pub(super) fn disconnect(&mut self, task: &Task) {
        if self.is_ready()
            && self.lock
            && let Ok(db) = self.database.connection()
            // What is wrong with the connection is no news now.
            && task.busy(|| pgq::lock::release_ticker(&mut **db)).is_ok()
        {
            self.ghost = None;
        }
        self.reset();
    }

    /// Drops the connection, as after an error.
    pub(super) fn reset(&mut self) {
        self.ready = false;
        self.older = None;
        self.database.reset();
    }
}

/// Looks at a new connection and takes the lock, if wanted.
fn look(db: &mut Connection, lock: bool, ghost: &mut Option<Backend>) -> Result<Found, Error> {
    let row = db
        .query_typed_one(
            "select pg_catalog.pg_is_in_recovery(), pg_catalog.to_regnamespace('pgq') is not null, \
             pg_catalog.to_regprocedure('pgq.ticker(text)') is not null, \
             pg_catalog.to_regclass('txid.epoch') is not null, pg_catalog.pg_backend_pid(), \
             (select extract(epoch from backend_start)::text from pg_catalog.pg_stat_activity \
              where pid = pg_catalog.pg_backend_pid())",
            &[],
        )
        .during("look at the database")?;
    let yes = |column: usize| row.get::<_, bool>(column);
    if yes(0) {
        return Ok(Found::Standby);
    }
    if !yes(1) {
        return Ok(Found::NoPgq);
    }
    if !yes(2) {
        return Ok(Found::StrangePgq);
    }
    if yes(3) {
        check_txid(db)?;
    }
    if !lock {
        return Ok(Found::Queues);
    }
    db.query_typed(NOTICE_DEAD_CLIENTS, &[])
        .during("set up the session")?;
    if !pgq::lock::try_ticker(&mut **db)? {
        let Some(ghost) = ghost.take() else {
            return Ok(Found::AnotherTicker);
        };
        end(db, &ghost)?;
        if !pgq::lock::try_ticker(&mut **db)? {
            return Ok(Found::AnotherTicker);
        }
    }
    *ghost = Some(Backend {
        pid: row.get(4),
        started: row.get::<_, Option<String>>(5).unwrap_or_default(),
    });
    Ok(Found::Queues)
}

/// Ends an earlier session of this process, if the server still has it.
fn end(db: &mut Connection, ghost: &Backend) -> Result<(), Error> {
    db.query_typed(
        "select pg_catalog.pg_terminate_backend(pid, 1000) from pg_catalog.pg_stat_activity \
         where pid = $1 and extract(epoch from backend_start)::text = $2",
        &[(&ghost.pid, Type::INT4), (&ghost.started, Type::TEXT)],
    )
    .during("end the broken session before this one")?;
    Ok(())
}

/// Whether `pgq.ticker()` decides which queues are due; that of PgQ 2 ticks all.
fn server_decides(db: &mut Connection) -> Result<bool, Error> {
    let row = db
        .query_typed_one(
            "select pg_catalog.to_regprocedure('pgq.maint_operations()') is not null",
            &[],
        )
        .during("look at the version of pgq")?;
    Ok(row.get(0))
}

/// Refuses a server that is younger than its data: after a dump was restored, new transactions get
/// ids that old ticks take for finished long ago.
fn check_txid(db: &mut Connection) -> Result<(), Error> {
    let bad = db
        .query_typed(
            "select 1 from txid.epoch where (epoch << 32) | last_value > txid_current()",
            &[],
        )
        .during("compare txid.epoch with the current transaction")?;
    if bad.is_empty() {
        Ok(())
    } else {
        Err(Error::BadTxid)
    }
}

/// The clock of a pass: time since the process looked first.
pub(super) fn clock() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
