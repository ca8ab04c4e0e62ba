//! What a queue needs beside ticks: rotation, redelivery of retried events, vacuum.

use postgres::types::Type;
use skytools::db::{During, GenericClient};
use skytools::quote;

use crate::Error;

/// One row of `pgq.maint_operations`: a statement or function, to be run by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// `vacuum`, `vacuum analyze`, or the name of a function.
    pub name: String,
    /// Table of the statement, or text argument of the function.
    pub argument: Option<String>,
}

/// What maintenance is due now, in the order to run it.
///
/// # Errors
/// The statement failed.
pub fn operations(db: &mut impl GenericClient) -> Result<Vec<Operation>, Error> {
    let rows = db
        .query_typed(
            "select func_name, func_arg from pgq.maint_operations()",
            &[],
        )
        .during("ask for due maintenance")?;
    let operation = |row: &postgres::Row| Operation {
        name: row.get(0),
        argument: row.get(1),
    };
    Ok(rows.iter().map(operation).collect())
}

impl Operation {
    /// Runs the operation once, in autocommit. True if it asks to be run again at once.
    ///
    /// # Errors
    /// The statement failed.
    pub fn run(&self, db: &mut impl GenericClient) -> Result<bool, Error> {
        let statement = self.name.to_ascii_lowercase();
        if let ("vacuum" | "vacuum analyze", Some(table)) = (statement.as_str(), &self.argument) {
            // Alone in its message: with company it would run in a transaction block and fail.
            db.batch_execute(&format!("{statement} {}", quote::fqident(table)))
                .during(format!("{statement} {table}"))?;
            return Ok(false);
        }
        // The result is read as text: a function may return nothing at all.
        let function = quote::fqident(&self.name);
        let row = match &self.argument {
            Some(argument) => db.query_typed_opt(
                &format!("select {function}($1)::text"),
                &[(argument, Type::TEXT)],
            ),
            None => db.query_typed_opt(&format!("select {function}()::text"), &[]),
        }
        .during(format!("run {}", self.name))?;
        let result: Option<String> = row.and_then(|row| row.get(0));
        Ok(result
            .and_then(|text| text.parse::<i64>().ok())
            .is_some_and(|number| number != 0))
    }
}

/// Puts a few events whose retry time has come back into their queues, in a transaction of its own;
/// returns how many. Call it until it returns 0.
///
/// # Errors
/// The statement failed.
pub fn retry_events(db: &mut impl GenericClient) -> Result<i32, Error> {
    let row = db
        .query_typed_one("select pgq.maint_retry_events()", &[])
        .during("put retried events back into their queues")?;
    Ok(row.get(0))
}
