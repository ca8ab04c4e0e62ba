//! Transactions that commit only what succeeded.

use std::ops::{Deref, DerefMut};

use postgres::Client;

use super::{Canceller, DbError, During};

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

/// A transaction: rolls back when dropped, and commits only if every statement succeeded.
///
/// It is used as the driver's `Client`, so that helpers over `impl GenericClient` run in it.
pub struct Tx<'a> {
    client: &'a mut Client,
    canceller: Option<&'a Canceller>,
    open: bool,
    given_up: bool,
}

impl<'a> Tx<'a> {
    /// Begins a transaction on a driver client.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn begin(client: &'a mut Client, isolation: Isolation) -> Result<Tx<'a>, DbError> {
        Tx::begin_on(client, None, isolation)
    }

    pub(super) fn begin_on(
        client: &'a mut Client,
        canceller: Option<&'a Canceller>,
        isolation: Isolation,
    ) -> Result<Tx<'a>, DbError> {
        let sql = match isolation {
            Isolation::ReadCommitted => "begin isolation level read committed",
            Isolation::RepeatableRead => "begin isolation level repeatable read",
            Isolation::Serializable => "begin isolation level serializable",
        };
        client.batch_execute(sql).during("begin a transaction")?;
        Ok(Tx {
            client,
            canceller,
            open: true,
            given_up: false,
        })
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
        if self.given_up {
            return Err(DbError::given_up("commit"));
        }
        self.client
            .batch_execute("select; commit")
            .during("commit")?;
        self.open = false;
        Ok(())
    }

    /// Makes every later commit an error.
    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
    }

    /// What cancels a statement of this transaction, if it was begun on a [`super::Connection`].
    pub(crate) fn canceller(&self) -> Option<Canceller> {
        self.canceller.cloned()
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
