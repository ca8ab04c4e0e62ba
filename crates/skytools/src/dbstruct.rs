//! Definitions of tables and sequences, read from one database and run as DDL in another or later.
//!
//! [`TableStruct`] takes a table apart into elements; what is dropped can be created again just as it
//! was, or under another name beside the old one:
//!
//! ```no_run
//! use skytools::dbstruct::{Elements, TableStruct};
//! use skytools::table::TableName;
//!
//! # fn run(tx: &mut skytools::db::Tx<'_>) -> Result<(), skytools::dbstruct::StructError> {
//! let table = TableStruct::read(tx, &TableName::parse("public.orders"))?;
//! table.drop(&mut **tx, Elements::INDEX | Elements::CONSTRAINT)?;
//! // … fill it …
//! table.create(&mut **tx, Elements::INDEX | Elements::CONSTRAINT, None)?;
//! # Ok(())
//! # }
//! ```
//!
//! A partitioned table has its partitions as elements: their bounds, and what they inherit. What they have of
//! their own is not captured.
//!
//! Not captured: foreign keys, row security policies, comments, storage options,
//! grants on columns, statistics objects, and who granted a privilege.

mod element;
mod read;
mod retarget;
mod sequence;

use tracing::{debug, info};

pub use sequence::SeqStruct;

use crate::db::{DbError, During, GenericClient, Tx};
use crate::table::{TableError, TableName};
use element::{Element, Kind};

bitflags::bitflags! {
    /// Kinds of elements of a table.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Elements: u32 {
        /// The table itself: columns with types, NOT NULL, generation and identity.
        const TABLE = 1 << 0;
        /// All constraints but foreign keys.
        const CONSTRAINT = 1 << 1;
        /// Indexes that no constraint owns.
        const INDEX = 1 << 2;
        /// Triggers that users made.
        const TRIGGER = 1 << 3;
        /// Rules.
        const RULE = 1 << 4;
        /// Privileges on the table.
        const GRANT = 1 << 5;
        /// The owner.
        const OWNER = 1 << 6;
        /// Ownership of sequences by columns.
        const SEQUENCE = 1 << 7;
        /// Tables that it inherits from.
        const PARENT = 1 << 8;
        /// Defaults of columns.
        const DEFAULT = 1 << 9;
        /// The primary key alone.
        const PKEY = 1 << 20;
        /// Everything but parents.
        const ALL = Self::TABLE.bits()
            | Self::CONSTRAINT.bits()
            | Self::INDEX.bits()
            | Self::TRIGGER.bits()
            | Self::RULE.bits()
            | Self::GRANT.bits()
            | Self::OWNER.bits()
            | Self::SEQUENCE.bits()
            | Self::DEFAULT.bits();
    }
}

/// Why a definition cannot be read or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StructError {
    /// There is no such relation.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The relation is something else.
    #[error("{0} is neither an ordinary nor a partitioned table")]
    NotATable(TableName),
    /// The relation is something else.
    #[error("{0} is not a sequence")]
    NotASequence(TableName),
    /// The server's definition of an object does not name the table where it should.
    #[error("cannot find the table in the definition of {0}")]
    Retarget(String),
    /// All numbered names are taken.
    #[error("no name is free for another {0}")]
    NoFreeName(String),
    /// A sequence has given out its last value.
    #[error("sequence {0} has reached its end")]
    SequenceEnd(TableName),
    /// A statement failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The definition of a table.
#[derive(Debug)]
pub struct TableStruct {
    table: TableName,
    /// As the server writes the name into definitions.
    rendered: String,
    columns: Vec<String>,
    /// In the order of creation.
    elements: Vec<Element>,
}

impl TableStruct {
    /// Reads the definition of a table, plain or partitioned.
    ///
    /// # Errors
    /// There is none of that name, it is something else, or the server did not answer.
    pub fn read(tx: &mut Tx<'_>, table: &TableName) -> Result<TableStruct, StructError> {
        read::table(tx, table)
    }

    /// Creates elements, in the order that they need. With a `new_name` they are made for a table of
    /// that name: indexes, and constraints that have one, get the next free number behind theirs;
    /// sequences and partitions stay with the old table.
    ///
    /// # Errors
    /// A statement failed, or a definition cannot be made into one for the new name.
    pub fn create(
        &self,
        db: &mut impl GenericClient,
        what: Elements,
        new_name: Option<&TableName>,
    ) -> Result<(), StructError> {
        for element in self.elements.iter().filter(|element| element.is_in(what)) {
            let sql = match new_name {
                None => Some(element.create_sql(&self.table.quoted(), what)),
                Some(new) => self.create_sql_for(db, element, new, what)?,
            };
            if let Some(sql) = sql {
                match element.kind {
                    // Named after roles, which are not created.
                    Kind::Grant { .. } | Kind::Owner { .. } => debug!("Creating {}", element.name),
                    _ => info!("Creating {}", element.name),
                }
                run(db, &sql, || format!("create {}", element.name))?;
            }
        }
        Ok(())
    }

    /// Drops elements, in the reverse order. Sequences of dropped columns are released, and stay for
    /// the defaults that need them.
    ///
    /// # Errors
    /// A statement failed: other objects depend on an element, say.
    pub fn drop(&self, db: &mut impl GenericClient, what: Elements) -> Result<(), DbError> {
        let elements = self.elements.iter().rev();
        for element in elements.filter(|element| element.is_in(what)) {
            if let Some(sql) = element.drop_sql(&self.table) {
                info!("Dropping {}", element.name);
                run(db, &sql, || format!("drop {}", element.name))?;
            }
        }
        Ok(())
    }

    /// The script that [`TableStruct::create`] would run.
    pub fn create_sql(&self, what: Elements) -> String {
        let table = self.table.quoted();
        let elements = self.elements.iter().filter(|element| element.is_in(what));
        elements
            .map(|element| {
                let sql = element.create_sql(&table, what);
                let end = if sql.trim_end().ends_with(';') {
                    ""
                } else {
                    ";"
                };
                format!("{sql}{end}\n")
            })
            .collect()
    }

    /// Forgets triggers, so that they are neither created nor dropped.
    pub fn leave_out_triggers(&mut self, names: &[String]) {
        self.elements.retain(|element| {
            !matches!(element.kind, Kind::Trigger { .. }) || !names.contains(&element.name)
        });
    }

    /// Names of the live columns, in their order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The statement that makes an element for another table; `None` if it stays with this one.
    fn create_sql_for(
        &self,
        db: &mut impl GenericClient,
        element: &Element,
        new: &TableName,
        what: Elements,
    ) -> Result<Option<String>, StructError> {
        let target = new.quoted();
        let mut renamed = element.clone();
        match &mut renamed.kind {
            Kind::Sequence { .. } | Kind::Partition { .. } => return Ok(None),
            Kind::Constraint { has_index, .. } => {
                if *has_index {
                    renamed.name = free_name(db, new.schema(), &element.name)?;
                }
            }
            Kind::Index {
                definition, unique, ..
            } => {
                renamed.name = free_name(db, new.schema(), &element.name)?;
                *definition = retarget::index(
                    definition,
                    &element.name,
                    *unique,
                    &self.rendered,
                    &renamed.name,
                    &target,
                )
                .ok_or_else(|| StructError::Retarget(element.name.clone()))?;
            }
            Kind::Trigger { definition, .. } => {
                *definition = retarget::after_word(definition, "on", &self.rendered, &target)
                    .ok_or_else(|| StructError::Retarget(element.name.clone()))?;
            }
            Kind::Rule { definition, .. } => {
                *definition = retarget::after_word(definition, "to", &self.rendered, &target)
                    .ok_or_else(|| StructError::Retarget(element.name.clone()))?;
            }
            Kind::Table { .. }
            | Kind::Default { .. }
            | Kind::Grant { .. }
            | Kind::Owner { .. }
            | Kind::Parent { .. } => {}
        }
        Ok(Some(renamed.create_sql(&target, what)))
    }
}

fn run(
    db: &mut impl GenericClient,
    sql: &str,
    step: impl FnOnce() -> String,
) -> Result<(), DbError> {
    debug!("{sql}");
    db.batch_execute(sql).during(step())
}

/// A name for another relation like `name`: without its number, and with the first one that is free.
fn free_name(db: &mut impl GenericClient, schema: &str, name: &str) -> Result<String, StructError> {
    use postgres::types::Type;

    let base = match name.rsplit_once('_') {
        Some((base, number))
            if !base.is_empty()
                && !number.is_empty()
                && number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            base
        }
        _ => name,
    };
    // The server cuts names at 63 bytes, number and all.
    let mut end = base.len().min(59);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let base = &base[..end];
    let row = db
        .query_typed_one(
            "select (select $2 || '_' || n
                       from pg_catalog.generate_series(1, 999) n
                      where not exists (select from pg_catalog.pg_class c
                                          join pg_catalog.pg_namespace s on s.oid = c.relnamespace
                                         where s.nspname = $1 and c.relname = $2 || '_' || n)
                      order by n limit 1)",
            &[(&schema, Type::TEXT), (&base, Type::TEXT)],
        )
        .during("look for a free name")?;
    let free: Option<String> = row.try_get(0).during("look for a free name")?;
    free.ok_or_else(|| StructError::NoFreeName(base.to_owned()))
}
