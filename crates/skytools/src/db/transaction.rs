//! Transactions that commit only what succeeded.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;
use std::time::Duration;

use postgres::error::SqlState;
use postgres::{Row, SimpleQueryMessage};

use super::{Canceller, DbError, During, Failed, Session, SessionState, Typed, sql_state_of};

/// Time for a connection to answer before a rollback; then what it runs is cancelled.
const IDLE_PATIENCE: Duration = Duration::from_secs(1);

/// Time for it to answer after that; then it is given up.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

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
/// It is used as a [`Session`], so that helpers over `impl GenericClient` run in it.
pub struct Tx<'a> {
    session: Session<'a>,
    /// Of the connection that it was begun on.
    state: &'a SessionState,
    open: bool,
    given_up: bool,
}

impl<'a> Tx<'a> {
    pub(super) fn begin_on(
        mut session: Session<'a>,
        state: &'a SessionState,
        isolation: Isolation,
    ) -> Result<Tx<'a>, DbError> {
        let sql = match isolation {
            Isolation::ReadCommitted => "begin isolation level read committed",
            Isolation::RepeatableRead => "begin isolation level repeatable read",
            Isolation::Serializable => "begin isolation level serializable",
        };
        let begun = session.batch_execute(sql).during("begin a transaction");
        begun.map_err(|error| named(&session, error))?;
        Ok(Tx {
            session,
            state,
            open: true,
            given_up: false,
        })
    }

    /// Commits. In a failed transaction this is an error, and nothing was done.
    ///
    /// The server answers a plain COMMIT of a failed transaction with success while it rolls back;
    /// the `select` in front makes it refuse instead, in the same round trip. The row that it
    /// returns proves that the answer is to this statement.
    ///
    /// # Errors
    /// A statement had failed, a deferred constraint is violated, or the connection broke: then the
    /// outcome is unknown and the position at the destination decides.
    pub fn commit(mut self) -> Result<(), DbError> {
        if self.given_up {
            return Err(named(&self.session, DbError::given_up("commit")));
        }
        self.end("select 'commit'; commit", "commit")
    }

    /// Rolls back.
    ///
    /// # Errors
    /// The connection is gone; the server rolls back by itself then.
    pub fn rollback(mut self) -> Result<(), DbError> {
        self.end("rollback; select 'rollback'", "roll back")
    }

    /// Runs the last statements of the transaction, one of which returns a row.
    ///
    /// When the server refuses a COPY before it reads from it, the driver sends a message too many,
    /// and from then on takes each answer for that to the next statement.
    fn end(&mut self, sql: &str, step: &'static str) -> Result<(), DbError> {
        // What fails here is not this statement, but what it ends.
        let answer = self.session.driver().simple_query(sql).during(step);
        let result = match answer {
            Ok(messages)
                if !messages
                    .iter()
                    .any(|message| matches!(message, SimpleQueryMessage::Row(_))) =>
            {
                Err(DbError::out_of_step(step))
            }
            other => other.map(|_| ()),
        };
        match &result {
            Ok(()) => self.open = false,
            Err(error) if error.is_connection_lost() => {
                self.open = false;
                self.disuse();
            }
            // The transaction is still there, failed.
            Err(_) => {}
        }
        result.map_err(|error| named(&self.session, error))
    }

    /// Lets nothing more be run on the connection.
    fn disuse(&self) {
        self.state.unusable.store(true, Ordering::Relaxed);
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
        let run = |sql: &str, tx: &mut Tx<'a>, step: &'static str| {
            let result = tx.session.batch_execute(sql).during(step);
            result.map_err(|error| named(&tx.session, error))
        };
        run("savepoint s", self, "set a savepoint")?;
        match body(self) {
            Ok(value) => {
                run("release s", self, "release a savepoint")?;
                Ok(value)
            }
            Err(error) => {
                match run("rollback to s; release s", self, "roll back to a savepoint") {
                    // The body's error says more about a broken connection than this one.
                    Err(rollback) if !rollback.is_connection_lost() => Err(rollback.into()),
                    _ => Err(error),
                }
            }
        }
    }

    /// Runs a statement that the server keeps, see [`super::Connection::query_kept`].
    ///
    /// # Errors
    /// The server refused the statement, or the connection is gone.
    pub fn query_kept(
        &mut self,
        sql: &'static str,
        parameters: &Typed<'_>,
    ) -> Result<Vec<Row>, Failed> {
        self.state.kept.query(&mut self.session, sql, parameters)
    }

    /// Whether the server keeps a statement already.
    pub(crate) fn keeps(&self, sql: &str) -> bool {
        self.state.kept.keeps(sql)
    }

    /// Has the server keep statements anew: somebody else may have told it to forget them.
    pub fn forget_kept(&mut self) {
        self.state.kept.forget();
    }

    /// Makes the commit an error, though the server may not know of a failure.
    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
    }

    /// What cancels a statement of this transaction.
    pub(crate) fn canceller(&self) -> Canceller {
        self.state.canceller.clone()
    }

    /// Waits until the connection has nothing more to do, and makes it so.
    fn quiesce(&mut self) -> bool {
        self.session.driver().answers_within(IDLE_PATIENCE)
            || !self.session.is_closed()
                && self.canceller().cancel().is_ok()
                && self.session.driver().answers_within(CANCEL_PATIENCE)
    }

    /// Rolls back whatever the connection is doing: a COPY that was not read to its end may be in the way, or a server
    /// that hangs. Says whether the connection can be used again.
    fn abandon(&mut self) -> bool {
        for may_come_late in [true, false] {
            if !self.quiesce() {
                return false;
            }
            match self.end("rollback; select 'rollback'", "roll back") {
                Ok(()) => return true,
                // The request to cancel what ran before. What `quiesce` asks in between returns no row, so a connection
                // that is out of step is still told.
                Err(error)
                    if may_come_late && sql_state_of(&error) == Some(&SqlState::QUERY_CANCELED) => {
                }
                Err(_) => return false,
            }
        }
        false
    }
}

fn named(session: &Session<'_>, error: DbError) -> DbError {
    match session.name() {
        Some(name) => error.on(name),
        None => error,
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        // A failure needs no report: what caused it is on its way, and a lost connection rolls back by itself.
        if !self.abandon() {
            self.disuse();
        }
    }
}

impl<'a> Deref for Tx<'a> {
    type Target = Session<'a>;

    fn deref(&self) -> &Session<'a> {
        &self.session
    }
}

impl<'a> DerefMut for Tx<'a> {
    fn deref_mut(&mut self) -> &mut Session<'a> {
        &mut self.session
    }
}
