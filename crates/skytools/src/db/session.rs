//! Statements whose failures tell which they were, and where they failed.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use postgres::types::{ToSql, Type};
use postgres::{Row, SimpleQueryMessage, Statement, ToStatement};

use super::driver::{Client, CopyInWriter, CopyOutReader};

/// What statements are sent through: the driver's client with the name of its connection.
///
/// Its methods have the driver's names; a failed one knows the statement and the connection, and
/// [`During`](super::During) passes both on.
pub struct Session<'c> {
    client: Handle<'c>,
    name: Option<Arc<str>>,
}

enum Handle<'c> {
    Owned(Box<Client>),
    Lent(&'c mut Client),
}

impl<'c> Session<'c> {
    pub(super) fn owned(client: Client, name: &str) -> Session<'c> {
        Session {
            client: Handle::Owned(Box::new(client)),
            name: Some(name.into()),
        }
    }

    /// The same for a while.
    pub(super) fn lend(&mut self) -> Session<'_> {
        Session {
            name: self.name.clone(),
            client: Handle::Lent(self.driver()),
        }
    }

    /// The driver's client, if it is this session's own.
    pub(super) fn into_client(self) -> Option<Client> {
        match self.client {
            Handle::Owned(client) => Some(*client),
            Handle::Lent(_) => None,
        }
    }

    /// Configuration key of the connection, if it has one.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn driver(&mut self) -> &mut Client {
        match &mut self.client {
            Handle::Owned(client) => client,
            Handle::Lent(client) => client,
        }
    }

    /// Whether the connection is known to have ended.
    pub fn is_closed(&self) -> bool {
        match &self.client {
            Handle::Owned(client) => client.is_closed(),
            Handle::Lent(client) => client.is_closed(),
        }
    }

    fn parts(&mut self) -> (&mut Client, Option<Arc<str>>) {
        let name = self.name.clone();
        (self.driver(), name)
    }

    /// Runs a statement without preparing it, and makes something of each of its rows while the server
    /// is still sending the rest.
    ///
    /// # Errors
    /// The server refused the statement, the connection is gone, or a row is not what `make` expects.
    pub fn query_typed_map<T>(
        &mut self,
        sql: &str,
        parameters: &Typed<'_>,
        mut make: impl FnMut(&Row) -> Result<T, postgres::Error>,
    ) -> Result<Vec<T>, Failed> {
        let (client, connection) = self.parts();
        let mut made = Vec::new();
        let queried = client.query_typed_each(sql, parameters, |row| {
            made.push(make(row)?);
            Ok(())
        });
        match queried {
            Ok(()) => Ok(made),
            Err(error) => Err(Failed(Box::new(Failure {
                error,
                connection,
                query: Some(Query::Parameters(sql.to_owned())),
            }))),
        }
    }

    /// Begins a COPY to the server.
    ///
    /// # Errors
    /// The server refused the statement, or the connection is gone.
    pub fn copy_in<S: Sql + ?Sized>(&mut self, sql: &S) -> Result<CopyInWriter<'_>, Failed> {
        let (client, connection) = self.parts();
        client
            .copy_in(sql)
            .map_err(|error| Failed::running(sql, error, connection))
    }

    /// Begins a COPY from the server.
    ///
    /// # Errors
    /// The server refused the statement, or the connection is gone.
    pub fn copy_out<S: Sql + ?Sized>(&mut self, sql: &S) -> Result<CopyOutReader<'_>, Failed> {
        let (client, connection) = self.parts();
        client
            .copy_out(sql)
            .map_err(|error| Failed::running(sql, error, connection))
    }
}

/// A statement that failed; reads as the driver's error.
///
/// Boxed: errors travel by value.
#[derive(Debug)]
pub struct Failed(Box<Failure>);

#[derive(Debug)]
struct Failure {
    error: postgres::Error,
    connection: Option<Arc<str>>,
    query: Option<Query>,
}

/// The text of a statement, as a log may show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Query {
    /// Its values travelled as parameters.
    Parameters(String),
    /// It may hold values.
    Values(String),
}

impl Failed {
    fn running<S: Sql + ?Sized>(
        sql: &S,
        error: postgres::Error,
        connection: Option<Arc<str>>,
    ) -> Failed {
        Failed(Box::new(Failure {
            error,
            connection,
            query: sql.text().map(|text| Query::Parameters(text.to_owned())),
        }))
    }

    pub(super) fn into_parts(self) -> (postgres::Error, Option<Arc<str>>, Option<Query>) {
        let Failure {
            error,
            connection,
            query,
        } = *self.0;
        (error, connection, query)
    }
}

impl Deref for Failed {
    type Target = postgres::Error;

    fn deref(&self) -> &postgres::Error {
        &self.0.error
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.error.source()
    }
}

impl From<postgres::Error> for Failed {
    fn from(error: postgres::Error) -> Failed {
        Failed(Box::new(Failure {
            error,
            connection: None,
            query: None,
        }))
    }
}

impl From<Failed> for postgres::Error {
    fn from(failed: Failed) -> postgres::Error {
        failed.0.error
    }
}

/// A statement as text, or as one that was prepared, whose text the driver keeps to itself.
pub trait Sql: ToStatement {
    /// The text.
    fn text(&self) -> Option<&str>;
}

impl Sql for str {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl Sql for String {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl Sql for Statement {
    fn text(&self) -> Option<&str> {
        None
    }
}

/// Parameters with their types.
pub type Typed<'a> = [(&'a (dyn ToSql + Sync), Type)];

/// Parameters whose types the server says.
pub type Untyped<'a> = [&'a (dyn ToSql + Sync)];

macro_rules! methods {
    ($(
        $(#[$doc:meta])*
        $query:ident fn $name:ident $(<$generic:ident>)? (
            sql: $sql:ty $(, $argument:ident: $argument_type:ty)*
        ) -> $result:ty;
    )*) => {
        /// Anything that statements can be sent through: a [`Session`], so a connection or
        /// transaction, and the driver's own clients and transactions.
        pub trait GenericClient {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// The server refused the statement, or the connection is gone.
                fn $name $(<$generic: Sql + ?Sized>)? (
                    &mut self, sql: $sql $(, $argument: $argument_type)*
                ) -> Result<$result, Failed>;
            )*
        }

        impl Session<'_> {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// The server refused the statement, or the connection is gone.
                pub fn $name $(<$generic: Sql + ?Sized>)? (
                    &mut self, sql: $sql $(, $argument: $argument_type)*
                ) -> Result<$result, Failed> {
                    let (client, connection) = self.parts();
                    client.$name(sql $(, $argument)*).map_err(|error| Failed(Box::new(Failure {
                        error,
                        connection,
                        query: text_of(sql).map(|text| Query::$query(text.to_owned())),
                    })))
                }
            )*
        }

        impl GenericClient for Session<'_> {
            $(
                fn $name $(<$generic: Sql + ?Sized>)? (
                    &mut self, sql: $sql $(, $argument: $argument_type)*
                ) -> Result<$result, Failed> {
                    Session::$name(self, sql $(, $argument)*)
                }
            )*
        }

        impl<C: postgres::GenericClient> GenericClient for C {
            $(
                fn $name $(<$generic: Sql + ?Sized>)? (
                    &mut self, sql: $sql $(, $argument: $argument_type)*
                ) -> Result<$result, Failed> {
                    postgres::GenericClient::$name(self, sql $(, $argument)*).map_err(|error| {
                        Failed(Box::new(Failure {
                            error,
                            connection: None,
                            query: text_of(sql).map(|text| Query::$query(text.to_owned())),
                        }))
                    })
                }
            )*
        }
    };
}

fn text_of<S: Sql + ?Sized>(sql: &S) -> Option<&str> {
    sql.text()
}

methods! {
    /// Runs a statement, and returns how many rows it changed.
    Parameters fn execute<S>(sql: &S, parameters: &Untyped<'_>) -> u64;
    /// Runs a statement, and returns its rows.
    Parameters fn query<S>(sql: &S, parameters: &Untyped<'_>) -> Vec<Row>;
    /// Runs a statement that returns one row; another number is an error.
    Parameters fn query_one<S>(sql: &S, parameters: &Untyped<'_>) -> Row;
    /// Runs a statement that returns one row or none.
    Parameters fn query_opt<S>(sql: &S, parameters: &Untyped<'_>) -> Option<Row>;
    /// Runs a statement without preparing it, and returns how many rows it changed.
    Parameters fn execute_typed(sql: &str, parameters: &Typed<'_>) -> u64;
    /// Runs a statement without preparing it, and returns its rows.
    Parameters fn query_typed(sql: &str, parameters: &Typed<'_>) -> Vec<Row>;
    /// Runs a statement that returns one row, without preparing it; another number is an error.
    Parameters fn query_typed_one(sql: &str, parameters: &Typed<'_>) -> Row;
    /// Runs a statement that returns one row or none, without preparing it.
    Parameters fn query_typed_opt(sql: &str, parameters: &Typed<'_>) -> Option<Row>;
    /// Prepares a statement.
    Parameters fn prepare(sql: &str) -> Statement;
    /// Prepares a statement whose parameters have these types.
    Parameters fn prepare_typed(sql: &str, types: &[Type]) -> Statement;
    /// Runs one statement or several, and returns their rows as text.
    Values fn simple_query(sql: &str) -> Vec<SimpleQueryMessage>;
    /// Runs one statement or several, without their rows.
    Values fn batch_execute(sql: &str) -> ();
}
