//! Connections that tell the truth: commits that fail when nothing was committed, errors that name
//! the step and carry the server's message.

mod cancel;
mod connect;
mod database;
mod deadline;
mod driver;
mod error;
mod kept;
mod listen;
mod session;
mod text;
mod transaction;

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use postgres::Row;

pub use self::cancel::Canceller;
pub use self::database::Database;
pub use self::driver::{CopyInWriter, CopyOutReader};
pub(crate) use self::error::Reason;
pub use self::error::{DbError, During, denied_on, out_of_locks_on, sql_state_of};
use self::kept::Kept;
pub(crate) use self::listen::Heard;
pub use self::session::{Failed, GenericClient, Session, Sql, Typed, Untyped};
pub use self::text::{Text, TextValue};
pub use self::transaction::{Isolation, Tx};
use crate::conninfo::ConnInfo;

/// Time for a connection to close before it is left to close by itself.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Time for a connection to answer that it is idle before what it runs is cancelled.
const IDLE_PATIENCE: Duration = Duration::from_millis(500);

/// An open connection. Use it as a [`Session`] for single statements (autocommit), and
/// [`Connection::begin`] for transactions.
///
/// Dropping it closes it, in bounded time whatever the server does; what it was running is cancelled.
pub struct Connection {
    name: String,
    /// There until it is dropped.
    session: Option<Session<'static>>,
    state: SessionState,
    server_version: i32,
    opened: Instant,
}

/// What a transaction shares with its connection.
struct SessionState {
    canceller: Canceller,
    /// A transaction could not be ended, so nothing more may be run.
    unusable: AtomicBool,
    /// Statements that the server keeps, by their text.
    kept: Kept,
}

impl Connection {
    /// Connects; `name` is the configuration key and appears in errors.
    ///
    /// The settings of `conninfo` are resolved now, so a changed environment, service or password
    /// file counts. Dates come in ISO form.
    ///
    /// # Errors
    /// No server answers in time, or it refuses.
    pub fn open(name: &str, conninfo: &ConnInfo) -> Result<Connection, DbError> {
        tracing::debug!("Connect '{name}' to '{conninfo}'"); // text fixed by the reference
        let session = connect::connect(conninfo).map_err(|error| DbError::connect(name, error))?;
        Ok(Connection {
            name: name.to_owned(),
            state: SessionState {
                canceller: Canceller::new(&session.client, session.transport),
                unusable: AtomicBool::new(false),
                kept: Kept::default(),
            },
            session: Some(Session::owned(session.client, name)),
            server_version: session.server_version,
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

    /// Whether statements can be run, as far as is known: a server that went away is noticed by the
    /// next statement.
    pub fn is_open(&self) -> bool {
        !self.is_closed() && !self.state.unusable.load(Ordering::Relaxed)
    }

    /// What cancels a statement of this connection, from another thread.
    pub fn canceller(&self) -> Canceller {
        self.state.canceller.clone()
    }

    /// Runs a statement that the server keeps, parsed and mostly planned too, while the connection
    /// lasts; returns its rows. Not for connections through a proxy that pools transactions.
    ///
    /// # Errors
    /// The server refused the statement, or the connection is gone.
    pub fn query_kept(
        &mut self,
        sql: &'static str,
        parameters: &Typed<'_>,
    ) -> Result<Vec<Row>, Failed> {
        let session = self.session.as_mut().expect(HELD);
        self.state.kept.query(session, sql, parameters)
    }

    /// Begins a READ COMMITTED transaction.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn begin(&mut self) -> Result<Tx<'_>, DbError> {
        self.begin_with(Isolation::ReadCommitted)
    }

    /// Begins a transaction of another isolation level.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn begin_with(&mut self, isolation: Isolation) -> Result<Tx<'_>, DbError> {
        let session = self.session.as_mut().expect(HELD).lend();
        Tx::begin_on(session, &self.state, isolation)
    }
}

const HELD: &str = "a connection holds its session until it is dropped";

impl Deref for Connection {
    type Target = Session<'static>;

    fn deref(&self) -> &Session<'static> {
        self.session.as_ref().expect(HELD)
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Session<'static> {
        self.session.as_mut().expect(HELD)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut client) = self.session.take().and_then(Session::into_client) else {
            return;
        };
        if client.is_closed() {
            return;
        }
        // The driver closes only after it has read every answer it still expects: the rest of a
        // COPY, or one that never comes from a server that hangs.
        let canceller = self.state.canceller.clone();
        let close = move || {
            if !client.answers_within(IDLE_PATIENCE) && !client.is_closed() {
                // Without success the server is likely gone.
                let _ = canceller.cancel();
            }
            drop(client);
        };
        let (done, wait) = mpsc::sync_channel(1);
        let closer = std::thread::Builder::new()
            .name("close".to_owned())
            .spawn(move || {
                close();
                let _ = done.send(());
            });
        // Without a thread it has been closed here, by dropping what it was given.
        if closer.is_ok() {
            let _ = wait.recv_timeout(CLOSE_PATIENCE);
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("server_version", &self.server_version)
            .finish_non_exhaustive()
    }
}
