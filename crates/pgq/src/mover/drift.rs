//! Columns that events have and tables of the target have not.

use postgres::types::Type;
use serde::Deserialize;
use skytools::db::{During, GenericClient, Tx};
use skytools::quote;
use skytools::table::{self, TableName};
use tracing::info;

use super::Report;
use crate::Error;
use crate::consumer::OpenBatch;

/// Type of a column that the source does not have any more, or that is of a type of its own.
const FALLBACK: &str = "text";

/// What becomes of such columns: the key `drift` of movers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// The batch waits.
    #[default]
    Fail,
    /// They are left out.
    Ignore,
    /// They are added, with the type that they have at the source.
    Add,
}

/// A column that the target lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Table and column at the source that tell the type, where they are known.
    pub source: Option<(TableName, String)>,
    /// Tables that are to have it: a parent before what gets it from there, last the one that the rows go to.
    pub tables: Vec<TableName>,
    /// Its name there.
    pub column: String,
}

impl Lacking {
    /// Adds the column to those of the tables that exist and have it not; true if there was any.
    ///
    /// # Errors
    /// A server refuses, or the last of the tables is not there.
    pub fn add(
        &self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let mut added = false;
        for to in &self.tables {
            // Without it rows cannot go there, so what it is gets no say: the server says what is wrong.
            let is_last = self.tables.last() == Some(to);
            let found = table::find(&mut **target, to)?;
            let found = found.filter(|found| is_last || found.kind.is_table());
            let has = match &found {
                Some(found) => type_of(&mut **target, found.oid, &self.column)?.is_some(),
                None => !is_last,
            };
            if has {
                continue;
            }
            let type_name = self.type_name(batch, target)?;
            let column = &self.column;
            target
                .batch_execute(&format!(
                    "alter table {} add column {} {type_name}",
                    to.quoted(),
                    quote::ident(column)
                ))
                .during(format!("add column {column} to table {to}"))?;
            info!("added column {column}, {type_name}, to table {to}");
            report.created(&format!("{to}.{column}"));
            added = true;
        }
        Ok(added)
    }

    /// The type that the column has at the source, if the target knows it.
    fn type_name(&self, batch: &mut OpenBatch<'_>, target: &mut Tx<'_>) -> Result<String, Error> {
        let Some((table, column)) = &self.source else {
            return Ok(FALLBACK.to_owned());
        };
        let source = &mut **batch.source()?;
        let found = match table::find(source, table)? {
            Some(found) => type_of(source, found.oid, column)?,
            None => None,
        };
        let Some(type_name) = found else {
            return Ok(FALLBACK.to_owned());
        };
        let row = target
            .query_typed_one(
                "select pg_catalog.to_regtype($1) is not null",
                &[(&type_name, Type::TEXT)],
            )
            .during("look up a type")?;
        Ok(match row.get(0) {
            true => type_name,
            false => FALLBACK.to_owned(),
        })
    }
}

/// The type of a column as SQL; `None` if there is no such column.
fn type_of(db: &mut impl GenericClient, table: u32, column: &str) -> Result<Option<String>, Error> {
    let columns = table::columns(db, table)?;
    let found = columns.into_iter().find(|known| known.name == column);
    Ok(found.map(|known| known.type_name))
}
