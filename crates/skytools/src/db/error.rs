//! Errors that name the step and carry the server's message.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;

use postgres::error::{Severity, SqlState};

use super::connect::ConnectError;
use super::deadline::Elapsed;
use super::session::{Failed, Query};
use crate::quote::Strings;
use crate::sql::{TokenKind, Tokens};

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
    /// Boxed, as the next one: they are large, and errors travel by value.
    Driver(Box<Reason>),
    Connect(Box<ConnectError>),
    Elapsed(Elapsed),
    /// The transaction was given up on this side; the server may not know.
    GivenUp(GivenUp),
    OutOfStep(OutOfStep),
}

/// What the server or the driver said, and what of: the source of a [`DbError`], where transparent
/// errors above that leave it.
#[derive(Debug)]
pub(crate) struct Reason {
    error: postgres::Error,
    connection: Option<String>,
    query: Option<Query>,
}

#[derive(Debug, thiserror::Error)]
#[error("the transaction has failed before")]
struct GivenUp;

#[derive(Debug, thiserror::Error)]
#[error("the server's answers belong to other statements; the connection is of no more use")]
struct OutOfStep;

impl DbError {
    pub(crate) fn new(step: impl Into<Cow<'static, str>>, error: postgres::Error) -> DbError {
        DbError::failed(step, error.into())
    }

    /// A failed read or write of one of the driver's COPY streams, which wrap their errors.
    pub fn in_copy(step: impl Into<Cow<'static, str>>, error: std::io::Error) -> DbError {
        DbError::new(step, crate::full_copy::driver_error(error))
    }

    pub(crate) fn failed(step: impl Into<Cow<'static, str>>, failed: Failed) -> DbError {
        let (error, connection, query) = failed.into_parts();
        DbError {
            step: step.into(),
            // Named in the text only where that was asked for: who runs a command knows it.
            connection: None,
            cause: Cause::Driver(Box::new(Reason {
                error,
                connection: connection.map(|name| name.as_ref().to_owned()),
                query,
            })),
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
        if let Cause::Driver(reason) = &mut self.cause {
            reason.connection = Some(connection.to_owned());
        }
        self
    }

    /// The statement that failed, if it is known: on one line, short, without the values in it.
    pub fn query(&self) -> Option<String> {
        match &self.cause {
            Cause::Driver(reason) => reason.query(),
            _ => None,
        }
    }

    /// The server's code, when it was the server that refused.
    pub fn sql_state(&self) -> Option<&SqlState> {
        match &self.cause {
            Cause::Driver(reason) => reason.sql_state(),
            Cause::Connect(error) => error.sql_state(),
            Cause::Elapsed(_) | Cause::GivenUp(_) | Cause::OutOfStep(_) => None,
        }
    }

    /// Whether the connection is gone, or was never made: the outcome of a statement that was under
    /// way is unknown, and the next one needs a new connection.
    pub fn is_connection_lost(&self) -> bool {
        match &self.cause {
            Cause::Driver(reason) => is_lost(&reason.error),
            Cause::Connect(_) | Cause::Elapsed(_) | Cause::OutOfStep(_) => true,
            Cause::GivenUp(_) => false,
        }
    }

    /// Name of the connection: the configuration key, such as `provider_db`.
    pub fn connection(&self) -> Option<&str> {
        match (&self.connection, &self.cause) {
            (None, Cause::Driver(reason)) => reason.connection(),
            (connection, _) => connection.as_deref(),
        }
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
            Cause::Driver(reason) => reason.as_ref(),
            Cause::Connect(error) => error.as_ref(),
            Cause::Elapsed(error) => error,
            Cause::GivenUp(error) => error,
            Cause::OutOfStep(error) => error,
        })
    }
}

impl Reason {
    /// The server's code, when it was the server that refused.
    pub(crate) fn sql_state(&self) -> Option<&SqlState> {
        self.error.code()
    }

    /// Name of the connection.
    pub(crate) fn connection(&self) -> Option<&str> {
        self.connection.as_deref()
    }

    /// Whether the server had no room for another lock.
    fn is_out_of_locks(&self) -> bool {
        // Its code is that of any lack of memory, and its text is translated; the place in the server is not.
        self.error.as_db_error().is_some_and(|server| {
            *server.code() == SqlState::OUT_OF_MEMORY
                && server.file().is_some_and(|file| file.ends_with("lock.c"))
        })
    }

    /// The statement that failed, if it is known: on one line, short, without the values in it.
    pub(crate) fn query(&self) -> Option<String> {
        self.query.as_ref().map(Query::shown)
    }

    /// What the server said, on one line: message, then detail and hint. Of an error on this side
    /// what it says.
    pub(crate) fn message(&self) -> String {
        let Some(server) = self.error.as_db_error() else {
            return chain(self);
        };
        let mut text = server.message().to_owned();
        for (label, more) in [("DETAIL", server.detail()), ("HINT", server.hint())] {
            if let Some(more) = more {
                text.push_str(&format!(" {label}: {more}"));
            }
        }
        text.replace(['\r', '\n'], " ")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error.as_db_error() {
            // The driver's own text for it is just "db error".
            Some(server) => server.fmt(f),
            None => self.error.fmt(f),
        }
    }
}

impl Error for Reason {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.error.as_db_error() {
            Some(_) => None,
            None => self.error.source(),
        }
    }
}

/// The server's code, if it was the server that refused; `error` is some cause of what is to be told.
pub fn sql_state_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e SqlState> {
    let mut next = Some(error);
    while let Some(here) = next {
        if let Some(reason) = here.downcast_ref::<Reason>() {
            return reason.sql_state();
        }
        if let Some(refused) = here.downcast_ref::<ConnectError>() {
            return refused.sql_state();
        }
        next = here.source();
    }
    None
}

/// The connection on which the server refused a statement because the role lacks a privilege, by its
/// configuration key such as `provider_db`; `None` if `error` comes of something else.
pub fn denied_on<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e str> {
    let denied = |reason: &&Reason| reason.sql_state() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
    reason_of(error).filter(denied)?.connection()
}

/// The connection to a server that had no room for another lock, by its configuration key such as
/// `subscriber_db`; `None` if `error` comes of something else.
///
/// How much room there is, `max_locks_per_transaction` of that server says.
pub fn out_of_locks_on<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e str> {
    reason_of(error)
        .filter(|reason| reason.is_out_of_locks())?
        .connection()
}

/// What the server or the driver said; `error` is some cause of what is to be told.
fn reason_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Reason> {
    let mut next = Some(error);
    while let Some(here) = next {
        if let Some(reason) = here.downcast_ref::<Reason>() {
            return Some(reason);
        }
        next = here.source();
    }
    None
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

/// A statement is shown up to this length, in characters.
const LONGEST: usize = 200;

/// So much is shown of a longer one.
const BEGINNING: usize = 60;

impl Query {
    /// One line for the log: white space and comments are one blank each, and where values may be
    /// they are left out.
    fn shown(&self) -> String {
        let (text, with_values) = match self {
            Query::Parameters(text) => (text, false),
            Query::Values(text) => (text, true),
        };
        let mut line = String::new();
        for token in Tokens::new(text.as_str(), Strings::Standard) {
            match token.kind {
                TokenKind::Space => line.push(' '),
                TokenKind::Str | TokenKind::Dollar if with_values => line.push_str("'...'"),
                TokenKind::Number if with_values => line.push_str("..."),
                TokenKind::Unterminated => line.push_str("..."),
                _ => line.push_str(&String::from_utf8_lossy(token.text)),
            }
        }
        let line = line.trim();
        match line.char_indices().nth(LONGEST) {
            None => line.to_owned(),
            Some(_) => {
                let beginning: String = line.chars().take(BEGINNING).collect();
                format!("{beginning} ...")
            }
        }
    }
}

/// Names the step that failed: `db.execute(…).during("register the consumer")?`.
pub trait During<T> {
    /// Wraps a driver error; the step completes the sentence "cannot …".
    ///
    /// # Errors
    /// Whatever the driver returned, with statement and connection if a [`Session`](super::Session)
    /// ran it.
    fn during(self, step: impl Into<Cow<'static, str>>) -> Result<T, DbError>;
}

impl<T> During<T> for Result<T, postgres::Error> {
    fn during(self, step: impl Into<Cow<'static, str>>) -> Result<T, DbError> {
        self.map_err(|error| DbError::new(step, error))
    }
}

impl<T> During<T> for Result<T, Failed> {
    fn during(self, step: impl Into<Cow<'static, str>>) -> Result<T, DbError> {
        self.map_err(|failed| DbError::failed(step, failed))
    }
}
