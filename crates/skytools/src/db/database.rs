//! A database that a job connects to when it needs it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Connection, DbError, During, Heard};
use crate::conninfo::ConnInfo;
use crate::quote;

/// A database of a job: connects when first asked, reconnects after [`Database::reset`].
pub struct Database {
    name: &'static str,
    conninfo: ConnInfo,
    lifetime: Duration,
    connection: Option<Connection>,
    /// Channels that every connection listens on.
    channels: BTreeSet<String>,
    /// Channels that the open connection does listen on.
    heard: BTreeSet<String>,
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
            channels: BTreeSet::new(),
            heard: BTreeSet::new(),
        }
    }

    /// The open connection, or a new one.
    ///
    /// # Errors
    /// No server answers in time, or it refuses.
    pub fn connection(&mut self) -> Result<&mut Connection, DbError> {
        let mut connection = match self.connection.take() {
            Some(open) if open.is_open() => open,
            _ => {
                self.heard.clear();
                Connection::open(self.name, &self.conninfo)?
            }
        };
        if self.heard != self.channels {
            self.tune(&mut connection)?;
        }
        Ok(self.connection.insert(connection))
    }

    /// Listens on a channel, from the next call of [`Database::connection`] on and on every further
    /// connection. [`Context::wait_for_notification`] waits for what is said there.
    ///
    /// Notifications get lost on the way through a transaction-pooling proxy.
    ///
    /// [`Context::wait_for_notification`]: crate::daemon::Context::wait_for_notification
    pub fn listen(&mut self, channel: &str) {
        self.channels.insert(channel.to_owned());
    }

    /// Listens no more on a channel, from the next call of [`Database::connection`] on.
    pub fn unlisten(&mut self, channel: &str) {
        self.channels.remove(channel);
    }

    /// Whether any channel is to be listened on.
    pub fn listens(&self) -> bool {
        !self.channels.is_empty()
    }

    /// Waits until something is said on a channel of this database, but not longer than `delay`. What was
    /// said since the last wait counts. False if nothing was, or there is no open connection to hear it:
    /// then at once.
    ///
    /// Nothing cuts it short, as [`Context::wait_for_notification`] is cut: in return the connection stays,
    /// and locks that it holds.
    ///
    /// [`Context::wait_for_notification`]: crate::daemon::Context::wait_for_notification
    pub fn hear(&mut self, delay: Duration) -> bool {
        self.listens()
            && self.connection.as_mut().is_some_and(|connection| {
                connection.wait_for_notification(delay, |_| true) == Heard::Notification
            })
    }

    /// Makes a connection listen on the channels of this database and on no other.
    fn tune(&mut self, connection: &mut Connection) -> Result<(), DbError> {
        let more = self.channels.difference(&self.heard);
        let less = self.heard.difference(&self.channels);
        let sql: String = more
            .map(|channel| format!("listen {};", quote::ident(channel)))
            .chain(less.map(|channel| format!("unlisten {};", quote::ident(channel))))
            .collect();
        connection
            .batch_execute(&sql)
            .during("listen")
            .map_err(|error| error.on(self.name))?;
        self.heard = self.channels.clone();
        Ok(())
    }

    /// Hands the open connection out until [`Database::give_back`].
    pub(crate) fn lend(&mut self) -> Option<Connection> {
        self.connection.take()
    }

    /// Takes back what [`Database::lend`] gave.
    pub(crate) fn give_back(&mut self, connection: Connection) {
        self.connection = Some(connection);
    }

    /// Takes changed settings; a connection made with others is closed. Call it between two passes
    /// only.
    pub fn set_conninfo(&mut self, conninfo: ConnInfo) {
        if conninfo != self.conninfo {
            self.conninfo = conninfo;
            self.reset();
        }
    }

    /// The settings that it connects with.
    pub fn conninfo(&self) -> &ConnInfo {
        &self.conninfo
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
