//! Connections that tell the truth: commits that fail when nothing was committed, errors that name
//! the step and carry the server's message.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres::error::SqlState;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, NoTls};

use crate::conninfo::ConnInfo;

/// A failed step of a conversation with a server.
///
/// Prints as `cannot register the consumer`; its source is the server's message with detail and
/// hint, or the driver's reason.
#[derive(Debug)]
pub struct DbError {
    step: Cow<'static, str>,
    connection: Option<String>,
    source: postgres::Error,
}

impl DbError {
    /// The server's code, when it was the server that refused.
    pub fn sql_state(&self) -> Option<&SqlState> {
        self.source.code()
    }

    /// Whether the connection is gone, so that the outcome of the statement is unknown.
    pub fn is_connection_lost(&self) -> bool {
        self.source.is_closed() || self.source.code().is_none()
    }

    /// Name of the connection: the configuration key, such as `provider_db`.
    pub fn connection(&self) -> Option<&str> {
        self.connection.as_deref()
    }
}

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot {}", self.step)
    }
}

impl std::error::Error for DbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.source.as_db_error() {
            Some(server) => Some(server),
            None => Some(&self.source),
        }
    }
}

/// Names the step that failed: `db.execute(…).during("register the consumer")?`.
pub trait During<T> {
    /// Wraps a driver error; the step completes the sentence "cannot …".
    ///
    /// # Errors
    /// Whatever the driver returned.
    fn during(self, step: impl Into<Cow<'static, str>>) -> Result<T, DbError>;
}

impl<T> During<T> for Result<T, postgres::Error> {
    fn during(self, step: impl Into<Cow<'static, str>>) -> Result<T, DbError> {
        self.map_err(|source| DbError {
            step: step.into(),
            connection: None,
            source,
        })
    }
}

/// An open connection. Use it as the driver's `Client` for single statements (autocommit), and
/// [`Connection::begin`] for transactions; `Client::transaction` commits silently after a failed
/// statement and is never used.
pub struct Connection {
    name: String,
    client: Client,
    server_version: i32,
    opened: Instant,
}

/// Isolation of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    #[default]
    ReadCommitted,
    /// All statements see one snapshot.
    RepeatableRead,
    /// As if transactions ran one after another.
    Serializable,
}

impl Connection {
    /// Connects; `name` is the configuration key and appears in errors.
    ///
    /// # Errors
    /// No server answers in time, or it refuses.
    pub fn open(name: &str, conninfo: &ConnInfo) -> Result<Connection, DbError> {
        let mut client =
            Client::connect(conninfo.text(), NoTls).during(format!("connect to {name}"))?;
        let row = client
            .query_typed_one("select current_setting('server_version_num')::int4", &[])
            .during("read the server version")?;
        let server_version = row.get(0);
        Ok(Connection {
            name: name.to_owned(),
            client,
            server_version,
            opened: Instant::now(),
        })
    }

    /// Configuration key of the connection.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version of the server: 150018 is 15.18.
    pub fn server_version(&self) -> i32 {
        self.server_version
    }

    /// Time since the connection was opened.
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Begins a READ COMMITTED transaction.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn begin(&mut self) -> Result<Tx<'_>, DbError> {
        Tx::begin(&mut self.client, Isolation::ReadCommitted)
    }

    /// Begins a transaction of another isolation level.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn begin_with(&mut self, isolation: Isolation) -> Result<Tx<'_>, DbError> {
        Tx::begin(&mut self.client, isolation)
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// A transaction: rolls back when dropped, and commits only if every statement succeeded.
///
/// It is used as the driver's `Client`, so that helpers over `impl GenericClient` run in it.
pub struct Tx<'a> {
    client: &'a mut Client,
    open: bool,
}

impl<'a> Tx<'a> {
    /// Begins a transaction on a driver client.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn begin(client: &'a mut Client, isolation: Isolation) -> Result<Tx<'a>, DbError> {
        let sql = match isolation {
            Isolation::ReadCommitted => "begin isolation level read committed",
            Isolation::RepeatableRead => "begin isolation level repeatable read",
            Isolation::Serializable => "begin isolation level serializable",
        };
        client.batch_execute(sql).during("begin a transaction")?;
        Ok(Tx { client, open: true })
    }

    /// Commits. In a failed transaction this is an error, and nothing was done.
    ///
    /// The server answers a plain COMMIT of a failed transaction with success while it rolls back;
    /// the empty `select` in front makes it refuse instead, in the same round trip.
    ///
    /// # Errors
    /// A statement had failed, a deferred constraint is violated, or the connection broke: then the
    /// outcome is unknown and the position at the destination decides.
    pub fn commit(mut self) -> Result<(), DbError> {
        self.client
            .batch_execute("select; commit")
            .during("commit")?;
        self.open = false;
        Ok(())
    }

    /// Rolls back.
    ///
    /// # Errors
    /// The connection is gone; the server rolls back by itself then.
    pub fn rollback(mut self) -> Result<(), DbError> {
        self.open = false;
        self.client.batch_execute("rollback").during("roll back")
    }

    /// Runs `body` inside a savepoint; rolls back to it when `body` fails, so that the transaction
    /// can go on.
    ///
    /// # Errors
    /// What `body` returned, or the savepoint could not be set, released or rolled back to.
    pub fn savepoint<T, E: From<DbError>>(
        &mut self,
        body: impl FnOnce(&mut Tx<'a>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.client
            .batch_execute("savepoint s")
            .during("set a savepoint")?;
        match body(self) {
            Ok(value) => {
                self.client
                    .batch_execute("release s")
                    .during("release a savepoint")?;
                Ok(value)
            }
            Err(error) => {
                self.client
                    .batch_execute("rollback to s; release s")
                    .during("roll back to a savepoint")?;
                Err(error)
            }
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.open {
            // Nothing to do about a failure: a lost connection rolls back by itself.
            let _ = self.client.batch_execute("rollback");
        }
    }
}

impl Deref for Tx<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.client
    }
}

/// Text as the server sent it: bytes, because a SQL_ASCII database may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(Vec<u8>);

impl Text {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, owned.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// For messages: what is not UTF-8 is replaced.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Text {
        Text(bytes)
    }
}

impl FromSql<'_> for Text {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Text, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Text(raw.to_vec()))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(
            *ty,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN
        )
    }
}

impl ToSql for Text {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        <Text as FromSql>::accepts(ty)
    }

    to_sql_checked!();
}

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
            Some(open) if !open.is_closed() => open,
            _ => Connection::open(self.name, &self.conninfo)?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Closes a connection past its lifetime; call it between two passes only.
    pub fn expire(&mut self) {
        let aged =
            |connection: &Connection| !self.lifetime.is_zero() && connection.age() > self.lifetime;
        if self.connection.as_ref().is_some_and(aged) {
            self.reset();
        }
    }

    /// Drops the connection; the server rolls back what was open.
    pub fn reset(&mut self) {
        self.connection = None;
    }

    /// Whether a connection is open, so that session state such as an advisory lock still holds.
    pub fn is_open(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| !connection.is_closed())
    }
}
