//! Statements that the server keeps parsed and planned for the next time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use postgres::types::{ToSql, Type};
use postgres::{Row, Statement};

use super::{Failed, Session, Typed};

/// The kept statements of a connection, by their text.
///
/// Whatever a statement depends on is looked after by the server, which plans it again when a table,
/// an index or a setting has changed.
#[derive(Default)]
pub(super) struct Kept(Mutex<HashMap<&'static str, Statement>>);

impl Kept {
    /// Runs a statement on the session that these belong to.
    pub(super) fn query(
        &self,
        session: &mut Session<'_>,
        sql: &'static str,
        parameters: &Typed<'_>,
    ) -> Result<Vec<Row>, Failed> {
        let known = self.statements().get(sql).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => {
                let types: Vec<Type> = parameters.iter().map(|(_, of)| of.clone()).collect();
                let statement = session.prepare_typed(sql, &types)?;
                self.statements().insert(sql, statement.clone());
                statement
            }
        };
        let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|(value, _)| *value).collect();
        let rows = session.query(&statement, &values);
        if rows.is_err() {
            // It may be the statement itself that is gone.
            self.statements().remove(sql);
        }
        rows
    }

    /// Whether a statement is among them.
    pub(super) fn keeps(&self, sql: &str) -> bool {
        self.statements().contains_key(sql)
    }

    /// Prepares every statement anew when it is needed next.
    pub(super) fn forget(&self) {
        self.statements().clear();
    }

    fn statements(&self) -> MutexGuard<'_, HashMap<&'static str, Statement>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
