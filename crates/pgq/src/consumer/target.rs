use std::time::{Duration, Instant};

use skytools::conninfo::ConnInfo;
use skytools::daemon::Stop;
use skytools::db::{Connection, Database, Tx};
use tracing::info;

use super::LockLevel;
use crate::{ConsumerName, Error, lock, position};

/// How long a new process waits for the lock: the server needs a moment to notice that the session
/// of a killed predecessor has ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// The writing side of a consumer, with its lock.
pub(super) struct Target {
    db: Database,
    /// Where the position is kept.
    pub(super) schema: String,
    pub(super) consumer: ConsumerName,
    level: LockLevel,
    /// Whether the open connection holds the session lock.
    locked: bool,
    /// Whether the lock was ever held in this run.
    admitted: bool,
    /// Whether times are kept beside numbers, once the open connection was asked.
    times: Option<bool>,
    /// Whether it was said in this run that they are not.
    told: bool,
}

impl Target {
    pub(super) fn new(
        db: Database,
        schema: &str,
        consumer: ConsumerName,
        level: LockLevel,
    ) -> Target {
        Target {
            db,
            schema: schema.to_owned(),
            consumer,
            level,
            locked: false,
            admitted: false,
            times: None,
            told: false,
        }
    }

    /// Takes the session lock, if that is the level, on the open connection or a new one.
    pub(super) fn lock(&mut self, stop: &Stop) -> Result<(), Error> {
        let start = Instant::now();
        while let Err(error) = self.open() {
            let busy = matches!(error, Error::ConsumerBusy { .. });
            if !busy || start.elapsed() > PATIENCE || stop.sleep(Duration::from_millis(100)) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The open connection, or a new one, with the lock.
    pub(super) fn open(&mut self) -> Result<&mut Connection, Error> {
        if !self.db.is_open() {
            (self.locked, self.times) = (false, None);
        }
        let db = self.db.connection()?;
        if self.level == LockLevel::Session && !self.locked {
            if !lock::try_consumer(&mut **db, &self.schema, &self.consumer)? {
                return Err(Error::ConsumerBusy {
                    schema: self.schema.clone(),
                    consumer: self.consumer.clone(),
                });
            }
            self.locked = true;
        }
        self.admitted = true;
        Ok(db)
    }

    /// Begins a transaction in which this process alone holds the consumer.
    pub(super) fn begin(&mut self) -> Result<Tx<'_>, Error> {
        let level = self.level;
        let (schema, consumer) = (self.schema.clone(), self.consumer.clone());
        let mut tx = self.open()?.begin()?;
        if level == LockLevel::Transaction {
            lock::wait_consumer(&mut *tx, &schema, &consumer)?;
        }
        Ok(tx)
    }

    /// Whether the schema keeps times, with these functions.
    pub(super) fn keeps_times(&mut self, functions: &[&str]) -> Result<bool, Error> {
        // A new connection is asked anew.
        self.open()?;
        if let Some(times) = self.times {
            return Ok(times);
        }
        let schema = self.schema.clone();
        let times = position::keeps_times(&mut **self.open()?, &schema, functions)?;
        if !times && !std::mem::replace(&mut self.told, true) {
            info!(
                "{schema} does not keep when ticks were made: a source that has lost just its newest one goes \
                 unnoticed; to mend that: pgqadm INI upgrade"
            );
        }
        Ok(*self.times.insert(times))
    }

    /// Whether the error means that another process was here first.
    pub(super) fn is_refusal(&self, error: &Error) -> bool {
        matches!(error, Error::ConsumerBusy { .. }) && !self.admitted
    }

    /// Takes changed settings, between two rounds.
    pub(super) fn reconfigure(
        &mut self,
        conninfo: ConnInfo,
        consumer: &ConsumerName,
        level: LockLevel,
    ) {
        if (&self.consumer, self.level) != (consumer, level) {
            self.release();
            self.admitted = false;
            (self.consumer, self.level) = (consumer.clone(), level);
        }
        self.db.set_conninfo(conninfo);
    }

    pub(super) fn recover(&mut self) {
        self.locked = false;
        self.db.reset();
    }

    /// Closes a connection past its lifetime.
    pub(super) fn expire(&mut self, lifetime: Duration) {
        let aged = |db: &Connection| !lifetime.is_zero() && db.age() > lifetime;
        if self.db.is_open() && self.db.connection().is_ok_and(|db| aged(db)) {
            self.release();
        }
    }

    /// Closes the connection. The lock is given back first: it would outlive the connection by the
    /// moment the server needs to notice.
    fn release(&mut self) {
        if self.locked
            && self.db.is_open()
            && let Ok(db) = self.db.connection()
        {
            // A session that cannot give it back is gone, and the lock with it.
            let _ = lock::release_consumer(&mut **db, &self.schema, &self.consumer);
        }
        self.recover();
    }
}
