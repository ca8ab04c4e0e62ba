//! Errors that name the step and carry the server's message.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;

use postgres::error::{Severity, SqlState};

use super::connect::ConnectError;
use super::deadline::Elapsed;

/// A failed step of a conversation with a server.
///
/// Prints as `cannot register the consumer`; its source is the server's message with detail and
/// hint, or the driver's reason.
#[derive(Debug)]
pub struct DbError {
    step: Cow<'static, str>,
    connection: Option<String>,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Driver(postgres::Error),
    /// Boxed: it is large, and errors travel by value.
    Connect(Box<ConnectError>),
    Elapsed(Elapsed),
    /// The transaction was given up on this side; the server may not know.
    GivenUp(GivenUp),
    OutOfStep(OutOfStep),
}

#[derive(Debug, thiserror::Error)]
#[error("the transaction has failed before")]
struct GivenUp;

#[derive(Debug, thiserror::Error)]
#[error("the server's answers belong to other statements; the connection is of no more use")]
struct OutOfStep;

impl DbError {
    pub(crate) fn new(step: impl Into<Cow<'static, str>>, error: postgres::Error) -> DbError {
        DbError {
            step: step.into(),
            connection: None,
            cause: Cause::Driver(error),
        }
    }

    pub(super) fn connect(connection: &str, error: ConnectError) -> DbError {
        DbError {
            step: "connect".into(),
            connection: Some(connection.to_owned()),
            cause: Cause::Connect(Box::new(error)),
        }
    }

    pub(super) fn elapsed(step: &'static str, elapsed: Elapsed) -> DbError {
        DbError {
            step: step.into(),
            connection: None,
            cause: Cause::Elapsed(elapsed),
        }
    }

    pub(super) fn given_up(step: &'static str) -> DbError {
        DbError {
            step: step.into(),
            connection: None,
            cause: Cause::GivenUp(GivenUp),
        }
    }

    pub(super) fn out_of_step(step: &'static str) -> DbError {
        DbError {
            step: step.into(),
            connection: None,
            cause: Cause::OutOfStep(OutOfStep),
        }
    }

    /// Says on which connection it happened.
    #[must_use]
    pub fn on(mut self, connection: &str) -> DbError {
        self.connection = Some(connection.to_owned());
        self
    }

    /// The server's code, when it was the server that refused.
    pub fn sql_state(&self) -> Option<&SqlState> {
        match &self.cause {
            Cause::Driver(error) => error.code(),
            Cause::Connect(error) => error.sql_state(),
            Cause::Elapsed(_) | Cause::GivenUp(_) | Cause::OutOfStep(_) => None,
        }
    }

    /// Whether the connection is gone, or was never made: the outcome of a statement that was under
    /// way is unknown, and the next one needs a new connection.
    pub fn is_connection_lost(&self) -> bool {
        match &self.cause {
            Cause::Driver(error) => is_lost(error),
            Cause::Connect(_) | Cause::Elapsed(_) | Cause::OutOfStep(_) => true,
            Cause::GivenUp(_) => false,
        }
    }

    /// Name of the connection: the configuration key, such as `provider_db`.
    pub fn connection(&self) -> Option<&str> {
        self.connection.as_deref()
    }

    /// What the server or the driver said: message, then detail and hint on lines of their own.
    pub fn reason(&self) -> String {
        match self.source() {
            Some(source) => chain(source),
            None => String::new(),
        }
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.connection, &self.cause) {
            (Some(connection), Cause::Connect(_)) => {
                write!(f, "cannot {} to {connection}", self.step)
            }
            (Some(connection), _) => write!(f, "cannot {} on {connection}", self.step),
            (None, _) => write!(f, "cannot {}", self.step),
        }
    }
}

impl Error for DbError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match &self.cause {
            // The driver's own text for it is just "db error".
            Cause::Driver(error) => match error.as_db_error() {
                Some(server) => server,
                None => error,
            },
            Cause::Connect(error) => error.as_ref(),
            Cause::Elapsed(error) => error,
            Cause::GivenUp(error) => error,
            Cause::OutOfStep(error) => error,
        })
    }
}

/// An error with its sources, as one text.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// What a driver error says, the server's words where it was the server.
pub(super) fn describe(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => server.to_string(),
        None => chain(error),
    }
}

fn is_lost(error: &postgres::Error) -> bool {
    if let Some(server) = error.as_db_error() {
        // Whatever its code, a session ends with such a message: shutdown, idle timeouts, a crash
        // of another backend.
        return matches!(
            server.parsed_severity(),
            Some(Severity::Fatal | Severity::Panic)
        ) || server.code().code().starts_with("08");
    }
    error.is_closed()
        || error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>())
            // A statement that cannot be encoded, because of a NUL in it, never left this side.
            .is_some_and(|io| io.kind() != io::ErrorKind::InvalidInput)
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
        self.map_err(|error| DbError::new(step, error))
    }
}
