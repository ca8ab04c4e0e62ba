//! The two conversations of a process: settings that make text mean the same on both sides, and the
//! lock that keeps a second process of the same consumer away.

use std::time::{Duration, Instant};

use pgq::{ConsumerName, lock};
use skytools::conninfo::ConnInfo;
use skytools::daemon::Stop;
use skytools::db::{Connection, Database, During, denied_on};
use tracing::debug;

use crate::Error;
use crate::config::ApplyRole;
use crate::schema::{self, Side};

/// Schema on the subscriber that keeps positions, and names the lock.
pub(crate) const SCHEMA: &str = "londiste";

/// Text of values must not depend on the role's or the database's defaults; a policy must raise an
/// error instead of hiding rows; nothing may time out that waits for the other side. A connection whose
/// client is gone without a word must not keep its locks for hours, which is the system's default.
const SETTINGS: &str = "\
    set standard_conforming_strings = on; \
    set datestyle = 'ISO, MDY'; \
    set intervalstyle = 'postgres'; \
    set extra_float_digits = 3; \
    set bytea_output = 'hex'; \
    set lc_monetary = 'C'; \
    set row_security = off; \
    set statement_timeout = 0; \
    set idle_session_timeout = 0; \
    set idle_in_transaction_session_timeout = 0; \
    set tcp_keepalives_idle = 10; \
    set tcp_keepalives_interval = 5; \
    set tcp_keepalives_count = 3";

/// The same while an answer is on its way, which keepalives wait for. It also ends a connection whose client is
/// alive and takes nothing for so long: not for streams that are read only as fast as they are applied.
pub(super) const UNANSWERED: &str = "tcp_user_timeout = '25s'";

/// Batches are sorted before their first event comes, and on disk that takes twice the time. Who set `work_mem` for
/// the role or the database has reasons.
const SORT_MEMORY: &str = "\
    select pg_catalog.set_config('work_mem', '128MB', false) from pg_catalog.pg_settings \
    where name = 'work_mem' and setting::bigint < 128 * 1024 and source in ('default', 'configuration file')";

/// Where changes of `londiste.subscriber_table` are announced.
const CHANGES: &str = "londiste";

/// How long one who listens to the server does not look for requests.
const HEEDLESS: Duration = Duration::from_millis(200);

/// The first server version that lets others than superusers set such parameters.
const PARAMETER_PRIVILEGES: i32 = 150_000;

/// The first server version that has `transaction_timeout`.
const TRANSACTION_TIMEOUT: i32 = 170_000;

/// How long a starting process waits for the lock: the server needs a moment to see that the
/// process before was killed.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How long a command may have the lock that was given to it.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

/// A database, connected on demand and prepared whenever it is connected anew.
pub(crate) struct Session {
    side: Side,
    database: Database,
    settings: String,
    role: ApplyRole,
    lock: Option<ConsumerName>,
}

impl Session {
    /// The side that events are read from.
    pub(crate) fn provider(database: Database) -> Session {
        Session {
            side: Side::Provider,
            database,
            settings: format!("{SETTINGS}; set timezone = 'UTC'"),
            role: ApplyRole::Origin,
            lock: None,
        }
    }

    /// The side that events are applied to.
    pub(crate) fn subscriber(database: Database, role: ApplyRole) -> Session {
        Session {
            side: Side::Subscriber,
            database,
            settings: format!("{SETTINGS}; set {UNANSWERED}"),
            role,
            lock: None,
        }
    }

    /// Hears of changes of the table of subscriptions, on the connections made from now on.
    pub(crate) fn listen(&mut self) {
        self.database.listen(CHANGES);
    }

    /// Waits until a table of the subscriber is said to have changed, but not longer than `delay`. True if the
    /// program shall end.
    pub(crate) fn wait_for_change(&mut self, stop: &Stop, delay: Duration) -> bool {
        let end = Instant::now() + delay;
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            if !self.database.is_open() {
                return stop.sleep(rest);
            }
            let heard = self.database.hear(rest.min(HEEDLESS));
            if heard || stop.is_disturbed() || Instant::now() >= end {
                return stop.requested();
            }
        }
    }

    /// Connects to another database from now on.
    pub(crate) fn redirect(&mut self, conninfo: ConnInfo) {
        self.database.set_conninfo(conninfo);
    }

    /// Where it connects to.
    pub(crate) fn conninfo(&self) -> &ConnInfo {
        self.database.conninfo()
    }

    /// Takes the lock of the consumer, now and after every reconnect.
    ///
    /// # Errors
    /// Another process holds it.
    pub(crate) fn lock(&mut self, consumer: &ConsumerName, stop: &Stop) -> Result<(), Error> {
        if self.lock.replace(consumer.clone()).is_some() {
            // The lock of before goes with its connection.
            self.database.reset();
        }
        let start = Instant::now();
        loop {
            let taken = match self.database.is_open() {
                true => take(self.database.connection()?, consumer),
                false => self.open().map(|_| ()),
            };
            match taken {
                Err(Error::Busy { .. })
                    if start.elapsed() < LOCK_PATIENCE
                        && !stop.sleep(Duration::from_millis(100)) => {}
                other => {
                    if other.is_err() {
                        // An open connection is one that has the lock.
                        self.database.reset();
                    }
                    return other;
                }
            }
        }
    }

    /// Whether the connection of [`Session::open`] has the lock of the consumer.
    pub(crate) fn takes_lock_of(&self, consumer: &ConsumerName) -> bool {
        self.lock.as_ref() == Some(consumer)
    }

    /// The prepared connection.
    ///
    /// # Errors
    /// The server cannot be reached; nothing is installed there; another process holds the lock.
    pub(crate) fn open(&mut self) -> Result<&mut Connection, Error> {
        if !self.database.is_open()
            && let Err(error) = self.prepare()
        {
            self.database.reset();
            return Err(error);
        }
        Ok(self.database.connection()?)
    }

    /// Whether [`Session::open`] gives the connection that it gave last.
    pub(crate) fn is_open(&self) -> bool {
        self.database.is_open()
    }

    fn prepare(&mut self) -> Result<(), Error> {
        let connection = self.database.connection()?;
        connection
            .batch_execute(&self.settings)
            .during("prepare the session")?;
        if self.side == Side::Provider {
            connection
                .batch_execute(SORT_MEMORY)
                .during("give sorting its memory")?;
        }
        if self.role == ApplyRole::Replica {
            become_replica(connection)?;
        }
        if connection.server_version() >= TRANSACTION_TIMEOUT {
            connection
                .batch_execute("set transaction_timeout = 0")
                .during("prepare the session")?;
        }
        // Such a database may hold bytes in any encoding, and they have to arrive as they are.
        connection
            .batch_execute(
                "select set_config('client_encoding', 'SQL_ASCII', false) \
                 where current_setting('server_encoding') = 'SQL_ASCII'",
            )
            .during("choose the encoding")?;
        // A killed process must not keep its locks while a long statement runs on. Not every
        // platform of the server can do it.
        if let Err(error) = connection.batch_execute("set client_connection_check_interval = '1s'")
        {
            debug!("client_connection_check_interval is not supported: {error}");
        }
        schema::require(connection, self.side)?;
        match &self.lock {
            Some(consumer) => take(connection, consumer),
            None => Ok(()),
        }
    }

    /// Drops the connection; the server rolls back what was open.
    pub(crate) fn reset(&mut self) {
        self.database.reset();
    }

    /// Whether [`Session::expire`] closes the connection.
    pub(crate) fn is_expired(&self) -> bool {
        self.database.is_expired()
    }

    /// Whether another process asks for the lock. One that is not connected holds none.
    pub(crate) fn is_wanted(&mut self) -> Result<bool, Error> {
        match &self.lock {
            Some(consumer) if self.database.is_open() => Ok(lock::is_consumer_wanted(
                &mut **self.database.connection()?,
                SCHEMA,
                consumer,
            )?),
            _ => Ok(false),
        }
    }

    /// Gives the lock to who asks for it, and takes it again when it is free; false if a stop was requested
    /// before that.
    ///
    /// # Errors
    /// It is not free after a long while: another process serves the consumer.
    pub(crate) fn make_way(&mut self, poll: Duration, stop: &Stop) -> Result<bool, Error> {
        if let Some(consumer) = &self.lock
            && self.database.is_open()
        {
            let connection = self.database.connection()?;
            lock::release_consumer(&mut **connection, SCHEMA, consumer)?;
        }
        self.database.reset();
        let start = Instant::now();
        loop {
            if stop.sleep(poll) {
                return Ok(false);
            }
            match self.open() {
                Err(Error::Busy { .. }) if start.elapsed() < COMMAND_PATIENCE => {}
                other => return other.map(|_| true),
            }
        }
    }

    /// Closes a connection past its lifetime; between two rounds only. The lock is given back first:
    /// it would outlive the connection by the moment the server needs to notice, and the next
    /// connection would find it taken.
    pub(crate) fn expire(&mut self) {
        if self.database.is_expired()
            && let Some(consumer) = &self.lock
            && let Ok(connection) = self.database.connection()
        {
            // A session that cannot give it back is gone, and the lock with it.
            let _ = lock::release_consumer(&mut **connection, SCHEMA, consumer);
        }
        self.database.expire();
    }
}

/// Has only those triggers fire that are meant for it.
fn become_replica(connection: &mut Connection) -> Result<(), Error> {
    let refused = connection
        .batch_execute("set session_replication_role = replica")
        .during("follow apply_role");
    let Err(source) = refused else {
        return Ok(());
    };
    if denied_on(&source).is_none() || connection.server_version() < PARAMETER_PRIVILEGES {
        return Err(source.into());
    }
    let row = connection
        .query_typed_one(
            "select pg_catalog.format('grant set on parameter session_replication_role to %I', current_user)",
            &[],
        )
        .during("look at the role")?;
    Err(Error::Denied {
        database: "subscriber_db".to_owned(),
        grants: vec![row.get(0)],
        source: Box::new(source.into()),
    })
}

/// Takes the lock of a consumer for as long as the connection lasts.
fn take(connection: &mut Connection, consumer: &ConsumerName) -> Result<(), Error> {
    match lock::try_consumer(&mut **connection, SCHEMA, consumer)? {
        true => Ok(()),
        false => Err(Error::Busy {
            consumer: consumer.clone(),
        }),
    }
}
