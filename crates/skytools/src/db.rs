//! Connections that tell the truth: commits that fail when nothing was committed, errors that name
//! the step and carry the server's message.

mod cancel;
mod connect;
mod database;
mod error;
mod text;
mod transaction;

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use postgres::Client;

pub use self::cancel::Canceller;
pub use self::database::Database;
pub use self::error::{DbError, During};
pub use self::text::Text;
pub use self::transaction::{Isolation, Tx};
use crate::conninfo::ConnInfo;

/// An open connection. Use it as the driver's `Client` for single statements (autocommit), and
/// [`Connection::begin`] for transactions; `Client::transaction` commits silently after a failed
/// statement and is never used.
pub struct Connection {
    name: String,
    client: Client,
    canceller: Canceller,
    server_version: i32,
    opened: Instant,
}

impl Connection {
    /// Connects; `name` is the configuration key and appears in errors.
    ///
    /// # Errors
    /// No server answers in time, or it refuses.
    pub fn open(name: &str, conninfo: &ConnInfo) -> Result<Connection, DbError> {
        let mut client =
            connect::connect(conninfo).map_err(|error| DbError::connect(name, error))?;
        let row = client
            .query_typed_one("select current_setting('server_version_num')::int4", &[])
            .during("read the server version")?;
        let server_version = row.get(0);
        Ok(Connection {
            name: name.to_owned(),
            canceller: Canceller::new(&client),
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
        self.begin_with(Isolation::ReadCommitted)
    }

    /// Begins a transaction of another isolation level.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn begin_with(&mut self, isolation: Isolation) -> Result<Tx<'_>, DbError> {
        Tx::begin_on(&mut self.client, Some(&self.canceller), isolation)
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
