//! Making tables and sequences that the subscriber lacks, from the provider's definitions.

use postgres::error::SqlState;
use postgres::types::Type;
use skytools::db::{During, Tx};
use skytools::dbstruct::{Elements, SeqStruct, StructError, TableStruct};
use skytools::quote;
use skytools::table::{self, TableName};
use tracing::info;

use super::super::capturing_triggers;
use super::super::setup::{Setup, step};
use crate::Error;
use crate::registry::{self, RowKey};

/// How much of a table is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Columns, and what tells rows apart.
    Plain,
    /// Everything but foreign keys and captures; the sequences of defaults too.
    Full,
}

/// Makes the tables of the list that do not exist on the subscriber, each in a transaction.
pub(super) fn tables(setup: &mut Setup<'_>, names: &[String], extent: Extent) -> Result<(), Error> {
    let queue = setup.queue;
    refuse_fake(setup)?;
    let keys = registry::provider_keys(setup.provider()?, queue)?;
    for name in names {
        let table = TableName::parse(name);
        if table::find(&mut **setup.subscriber()?, &table)?.is_some() {
            continue;
        }
        let by_index = matches!(keys.get(name), Some(RowKey::Index(_)));
        let (definition, seqs) = step(setup.provider()?, |tx| read(tx, &table, extent))?;
        let what = match (extent, by_index) {
            (Extent::Full, _) => Elements::ALL,
            (Extent::Plain, false) => Elements::TABLE | Elements::PKEY,
            // The key is an index or a constraint, nobody knows which.
            (Extent::Plain, true) => Elements::TABLE | Elements::CONSTRAINT | Elements::INDEX,
        };
        info!("Creating table {name}");
        step(setup.subscriber()?, |tx| {
            schema_of(tx, &table)?;
            for (seq, definition) in &seqs {
                if !table::exists_sequence(&mut **tx, seq)? {
                    schema_of(tx, seq)?;
                    definition.create(&mut **tx, None).map_err(Error::from)?;
                }
            }
            Ok(definition.create(&mut **tx, what, None)?)
        })
        .map_err(|error| explain(error, &table))?;
    }
    Ok(())
}

/// Makes a sequence; it goes on where that of the provider is.
pub(super) fn sequence(setup: &mut Setup<'_>, name: &str) -> Result<(), Error> {
    let seq = TableName::parse(name);
    refuse_fake(setup)?;
    let definition = step(setup.provider()?, |tx| Ok(SeqStruct::read(tx, &seq)?))?;
    info!("Creating sequence {name}");
    step(setup.subscriber()?, |tx| {
        schema_of(tx, &seq)?;
        Ok(definition.create(&mut **tx, None)?)
    })
    .map_err(|error| explain(error, &seq))
}

/// What comes after needs the tables to be there.
fn refuse_fake(setup: &Setup<'_>) -> Result<(), Error> {
    match setup.config.fake {
        true => Err(Error::CannotFake("--create")),
        false => Ok(()),
    }
}

type Definition = (TableStruct, Vec<(TableName, SeqStruct)>);

/// The definition of a table on the provider, and those of the sequences that its defaults need.
fn read(tx: &mut Tx<'_>, table: &TableName, extent: Extent) -> Result<Definition, Error> {
    let mut definition = TableStruct::read(tx, table)?;
    definition.leave_out_triggers(&capturing_triggers(tx, &table.to_string())?);
    let mut seqs = Vec::new();
    if extent == Extent::Plain {
        return Ok((definition, seqs));
    }
    let rows = tx
        .query_typed(
            "select distinct sn.nspname, s.relname
               from pg_catalog.pg_class c
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
               left join pg_catalog.pg_attrdef f on f.adrelid = c.oid
               join pg_catalog.pg_depend d
                 on d.classid = 'pg_catalog.pg_attrdef'::regclass and d.objid = f.oid
                    and d.refclassid = 'pg_catalog.pg_class'::regclass
                 or d.classid = 'pg_catalog.pg_class'::regclass and d.deptype = 'a'
                    and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = c.oid
               join pg_catalog.pg_class s
                 on s.relkind = 'S' and s.oid in (d.refobjid, d.objid)
               join pg_catalog.pg_namespace sn on sn.oid = s.relnamespace
              where n.nspname = $1 and c.relname = $2
              order by 1, 2",
            &[(&table.schema(), Type::TEXT), (&table.name(), Type::TEXT)],
        )
        .during(format!("look for the sequences of {table}"))?;
    for row in rows {
        let seq = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let definition = SeqStruct::read(tx, &seq)?;
        seqs.push((seq, definition));
    }
    Ok((definition, seqs))
}

fn schema_of(tx: &mut Tx<'_>, relation: &TableName) -> Result<(), Error> {
    let schema = relation.schema();
    if !table::exists_schema(&mut **tx, schema)? {
        info!("Creating schema {schema}");
        tx.batch_execute(&format!("create schema {}", quote::ident(schema)))
            .during(format!("create the schema {schema}"))?;
    }
    Ok(())
}

/// From PostgreSQL 15 on, nobody but the owner of the database may create in `public`.
fn explain(error: Error, relation: &TableName) -> Error {
    let code = match &error {
        Error::Db(source) | Error::Struct(StructError::Db(source)) => source.sql_state(),
        _ => None,
    };
    if code != Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        return error;
    }
    Error::MayNotCreate {
        schema: relation.schema().to_owned(),
        relation: relation.to_string(),
        source: Box::new(error),
    }
}
