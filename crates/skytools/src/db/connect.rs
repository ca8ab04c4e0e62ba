//! Making a connection out of settings.

use postgres::error::SqlState;
use postgres::{Client, NoTls};

use crate::conninfo::ConnInfo;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct ConnectError {
    text: String,
    sql_state: Option<SqlState>,
}

impl ConnectError {
    pub(super) fn sql_state(&self) -> Option<&SqlState> {
        self.sql_state.as_ref()
    }
}

pub(super) fn connect(conninfo: &ConnInfo) -> Result<Client, ConnectError> {
    Client::connect(conninfo.text(), NoTls).map_err(|error| ConnectError {
        text: super::error::describe(&error),
        sql_state: error.code().cloned(),
    })
}
