//! A database that a job connects to when it needs it.

use std::time::Duration;

use super::{Connection, DbError};
use crate::conninfo::ConnInfo;

/// A database of a job: connects when first asked, reconnects after [`Database::reset`].
pub struct Database {
    name: &'static str,
    conninfo: ConnInfo,
    lifetime: Duration,
    connection: Option<Connection>,
}

impl Database {
    /// A database that connects on demand; `name` is the configuration key, a `lifetime` of zero is
    /// unlimited.
    pub fn new(name: &'static str, conninfo: ConnInfo, lifetime: Duration) -> Database {
        Database {
            name,
            conninfo,
            lifetime,
            connection: None,
        }
    }

    /// The open connection, or a new one.
    ///
    /// # Errors
    /// No server answers in time, or it refuses.
    pub fn connection(&mut self) -> Result<&mut Connection, DbError> {
        let connection = match self.connection.take() {
            Some(open) if open.is_open() => open,
            _ => Connection::open(self.name, &self.conninfo)?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Takes changed settings; a connection made with others is closed. Call it between two passes
    /// only.
    pub fn set_conninfo(&mut self, conninfo: ConnInfo) {
        if conninfo != self.conninfo {
            self.conninfo = conninfo;
            self.reset();
        }
    }

    /// Configuration key of the database.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether a connection is open and past its lifetime.
    pub fn is_expired(&self) -> bool {
        let aged =
            |connection: &Connection| !self.lifetime.is_zero() && connection.age() > self.lifetime;
        self.connection.as_ref().is_some_and(aged)
    }

    /// Closes a connection past its lifetime; call it between two passes only.
    pub fn expire(&mut self) {
        if self.is_expired() {
            self.reset();
        }
    }

    /// Drops the connection; the server rolls back what was open.
    pub fn reset(&mut self) {
        self.connection = None;
    }

    /// Whether a connection is open, so that session state such as an advisory lock still holds.
    pub fn is_open(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_open)
    }
}
