//! Columns that events have and the target has not, and that are to be added to it.

use pgq::consumer::OpenBatch;
use pgq::mover::Report;
use postgres::types::Type;
use skytools::db::{During, GenericClient, Tx};
use skytools::quote;
use skytools::table::TableName;
use tracing::info;

use crate::Error;

/// Type of a column that the source does not have any more, either.
const FALLBACK: &str = "text";

/// Columns that are to be added.
#[derive(Debug, Default)]
pub(crate) struct Additions(Vec<Addition>);

#[derive(Debug)]
struct Addition {
    /// The table of the events.
    source: TableName,
    target: TableName,
    column: String,
    /// Whether the report has it.
    reported: bool,
}

impl Additions {
    /// Takes note of columns that events have shown.
    pub(crate) fn want(&mut self, source: &TableName, target: &TableName, columns: &[String]) {
        self.0.extend(columns.iter().map(|column| Addition {
            source: source.clone(),
            target: target.clone(),
            column: column.clone(),
            reported: false,
        }));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds those that are not there; true if there was any.
    ///
    /// # Errors
    /// Either server refuses.
    pub(crate) fn make(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let mut made = false;
        for addition in &mut self.0 {
            if column_type(&mut **target, &addition.target, &addition.column)?.is_some() {
                continue;
            }
            let source = &mut **batch.source()?;
            let wanted = column_type(source, &addition.source, &addition.column)?;
            let wanted = match wanted {
                Some(wanted) if knows_type(target, &wanted)? => wanted,
                _ => FALLBACK.to_owned(),
            };
            target
                .batch_execute(&format!(
                    "alter table {} add column {} {wanted}",
                    addition.target.quoted(),
                    quote::ident(&addition.column)
                ))
                .during("add a column")
                .map_err(|source| Error::Load {
                    table: addition.target.clone(),
                    source,
                })?;
            made = true;
            if !std::mem::replace(&mut addition.reported, true) {
                let name = format!("{}.{}", addition.target, addition.column);
                info!("column {name} is added, with the type {wanted}");
                report.created(&name);
            }
        }
        Ok(made)
    }
}

/// The type of a column as SQL; `None` if there is no such column.
fn column_type(
    db: &mut impl GenericClient,
    table: &TableName,
    column: &str,
) -> Result<Option<String>, Error> {
    let row = db
        .query_typed_opt(
            "select pg_catalog.format_type(a.atttypid, a.atttypmod) \
               from pg_catalog.pg_attribute a \
               join pg_catalog.pg_class c on c.oid = a.attrelid \
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
              where n.nspname = $1 and c.relname = $2 and a.attname = $3 \
                and a.attnum > 0 and not a.attisdropped",
            &[
                (&table.schema(), Type::TEXT),
                (&table.name(), Type::TEXT),
                (&column, Type::TEXT),
            ],
        )
        .during("look up the type of a column")?;
    Ok(row.map(|row| row.get(0)))
}

fn knows_type(target: &mut Tx<'_>, name: &str) -> Result<bool, Error> {
    let row = target
        .query_typed_one(
            "select pg_catalog.to_regtype($1) is not null",
            &[(&name, Type::TEXT)],
        )
        .during("look up a type")?;
    Ok(row.get(0))
}
