//! Looking partitions up, and making them.

use postgres::error::SqlState;
use postgres::types::Type;
use skytools::db::{DbError, During, GenericClient, Tx};
use skytools::dbstruct::{Elements, TableStruct};
use skytools::quote;
use skytools::table::TableName;

use super::template::Macros;
use super::{Bounds, PartStyle, PartitionConfig, PartitionError, Wanted};
use crate::lock;

/// How long the tables around a new one may be held by others.
const LOCK_TIMEOUT: &str = "30s";

/// Whether the table is there and is what it should be.
pub(super) fn is_there(
    db: &mut impl GenericClient,
    wanted: &Wanted,
    style: PartStyle,
) -> Result<bool, PartitionError> {
    let (table, parent) = (&wanted.table, &wanted.parent);
    let row = db
        .query_typed_opt(
            "select c.relkind in ('r', 'p', 'f'),
                    exists (select from pg_catalog.pg_inherits i
                              join pg_catalog.pg_class p on p.oid = i.inhparent
                              join pg_catalog.pg_namespace s on s.oid = p.relnamespace
                             where i.inhrelid = c.oid and not i.inhdetachpending
                               and s.nspname = $3 and p.relname = $4),
                    pg_catalog.pg_get_expr(c.relpartbound, c.oid)
               from pg_catalog.pg_class c
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $1 and c.relname = $2",
            &[
                (&table.schema(), Type::TEXT),
                (&table.name(), Type::TEXT),
                (&parent.schema(), Type::TEXT),
                (&parent.name(), Type::TEXT),
            ],
        )
        .during("look a partition up")?;
    let Some(row) = row else { return Ok(false) };
    let (takes_rows, attached): (bool, bool) = (row.get(0), row.get(1));
    if !takes_rows {
        return Err(PartitionError::NoTable(table.clone()));
    }
    if style == PartStyle::Template || table == parent {
        return Ok(true);
    }
    if !attached {
        return Err(PartitionError::NotAttached {
            table: table.clone(),
            parent: parent.clone(),
        });
    }
    if let (PartStyle::Declarative, Some(bounds)) = (style, &wanted.bounds) {
        let found: Option<String> = row.get(2);
        same_bounds(db, wanted, bounds, &found.unwrap_or_default())?;
    }
    Ok(true)
}

/// Compares the bounds of a partition with those that it should have.
fn same_bounds(
    db: &mut impl GenericClient,
    wanted: &Wanted,
    bounds: &Bounds,
    found: &str,
) -> Result<(), PartitionError> {
    let same = match ends(found) {
        None => false,
        Some((from, to)) => {
            let key = key_type(db, &wanted.parent, &bounds.column)?;
            let (wanted_from, wanted_to) =
                (quote::literal(&bounds.from), quote::literal(&bounds.to));
            let row = db
                .query_typed_one(
                    &format!(
                        "select {from}::{key} = {wanted_from}::{key} and {to}::{key} = {wanted_to}::{key}"
                    ),
                    &[],
                )
                .during("compare the bounds of a partition")?;
            row.get(0)
        }
    };
    match same {
        true => Ok(()),
        false => Err(PartitionError::OtherBounds {
            table: wanted.table.clone(),
            found: found.to_owned(),
            from: bounds.from.clone(),
            to: bounds.to.clone(),
        }),
    }
}

/// The two ends of a range in the server's words, if both are literals.
pub(super) fn ends(bounds: &str) -> Option<(&str, &str)> {
    let inside = bounds
        .strip_prefix("FOR VALUES FROM (")?
        .strip_suffix(')')?;
    let (from, to) = inside.split_once(") TO (")?;
    let is_literal = |text: &str| text.starts_with('\'') && text.ends_with('\'');
    (is_literal(from) && is_literal(to)).then_some((from, to))
}

/// The type of a column that partitions can be by.
fn key_type(
    db: &mut impl GenericClient,
    parent: &TableName,
    column: &str,
) -> Result<&'static str, PartitionError> {
    let row = db
        .query_typed_opt(
            "select a.atttypid
               from pg_catalog.pg_attribute a
               join pg_catalog.pg_class c on c.oid = a.attrelid
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $1 and c.relname = $2 and a.attname = $3
                and a.attnum > 0 and not a.attisdropped",
            &[
                (&parent.schema(), Type::TEXT),
                (&parent.name(), Type::TEXT),
                (&column, Type::TEXT),
            ],
        )
        .during("look up the column of the partitions")?;
    let oid = row.map_or(0, |row| row.get::<_, u32>(0));
    Ok(match Type::from_oid(oid) {
        Some(Type::DATE) => "pg_catalog.date",
        Some(Type::TIMESTAMP) => "pg_catalog.timestamp",
        Some(Type::TIMESTAMPTZ) => "pg_catalog.timestamptz",
        _ => {
            return Err(PartitionError::NoColumn {
                parent: parent.clone(),
                column: column.to_owned(),
            });
        }
    })
}

/// Whether values of the column stand for a moment, whatever time zone they are written in.
pub(super) fn is_zoned(
    db: &mut impl GenericClient,
    parent: &TableName,
    column: &str,
) -> Result<bool, PartitionError> {
    Ok(key_type(db, parent, column)? == "pg_catalog.timestamptz")
}

/// Makes a table unless somebody else just did; true if it was made here.
pub(super) fn make(
    tx: &mut Tx<'_>,
    wanted: &Wanted,
    config: &PartitionConfig,
) -> Result<bool, PartitionError> {
    let before = set_lock_timeout(tx, LOCK_TIMEOUT)?;
    lock::wait_partitions(&mut **tx, &wanted.parent)?;
    let made = match is_there(&mut **tx, wanted, config.part_style)? {
        true => false,
        false => match tx.savepoint(|tx| run(tx, wanted, config)) {
            Ok(()) => true,
            // By somebody who does not know of the lock.
            Err(error) if is_there_already(&error) => {
                if !is_there(&mut **tx, wanted, config.part_style)? {
                    return Err(error);
                }
                false
            }
            Err(error) => return Err(error),
        },
    };
    set_lock_timeout(tx, &before)?;
    Ok(made)
}

/// Sets how long the rest of the transaction waits for locks; returns what it was.
pub(super) fn set_lock_timeout(tx: &mut Tx<'_>, timeout: &str) -> Result<String, DbError> {
    let row = tx
        .query_typed_one(
            "select pg_catalog.current_setting('lock_timeout'), \
                    pg_catalog.set_config('lock_timeout', $1, true)",
            &[(&timeout, Type::TEXT)],
        )
        .during("limit the wait for locks")?;
    Ok(row.get(0))
}

fn is_there_already(error: &PartitionError) -> bool {
    let code = match error {
        PartitionError::Db(error) => error.sql_state(),
        _ => None,
    };
    let codes = [
        &SqlState::DUPLICATE_TABLE,
        &SqlState::DUPLICATE_OBJECT,
        // Of the catalog's own indexes.
        &SqlState::UNIQUE_VIOLATION,
    ];
    code.is_some_and(|code| codes.contains(&code))
}

fn run(tx: &mut Tx<'_>, wanted: &Wanted, config: &PartitionConfig) -> Result<(), PartitionError> {
    // A table that is no partition is nobody's child.
    if config.part_style == PartStyle::Template || wanted.table == wanted.parent {
        return by_template(tx, wanted, config);
    }
    require_parent(tx, &wanted.parent)?;
    match config.part_style {
        PartStyle::Declarative => attach(tx, wanted),
        _ => inherit(tx, wanted),
    }
}

fn by_template(
    tx: &mut Tx<'_>,
    wanted: &Wanted,
    config: &PartitionConfig,
) -> Result<(), PartitionError> {
    if config.part_template.trim().is_empty() {
        return Err(PartitionError::NoTemplate(wanted.table.clone()));
    }
    let macros = Macros {
        table: &wanted.table,
        parent: &wanted.parent,
        keys: &wanted.keys,
        long_names: config.long_names,
    };
    let sql = macros.expand(&config.part_template)?;
    tx.batch_execute(&sql)
        .during(format!("run part_template for table {}", wanted.table))?;
    match is_there(&mut **tx, wanted, PartStyle::Template)? {
        true => Ok(()),
        false => Err(PartitionError::NotMade(wanted.table.clone())),
    }
}

fn require_parent(tx: &mut Tx<'_>, parent: &TableName) -> Result<(), PartitionError> {
    match skytools::table::exists_table(&mut **tx, parent)? {
        true => Ok(()),
        false => Err(PartitionError::NoParent(parent.clone())),
    }
}

/// A child of the old kind, which looks like its parent.
fn inherit(tx: &mut Tx<'_>, wanted: &Wanted) -> Result<(), PartitionError> {
    let (table, parent) = (wanted.table.quoted(), wanted.parent.quoted());
    let mut sql = format!("create table {table} (like {parent} including all) inherits ({parent})");
    if let Some(bounds) = &wanted.bounds {
        key_type(&mut **tx, &wanted.parent, &bounds.column)?;
        let column = quote::ident(&bounds.column);
        let (from, to) = (quote::literal(&bounds.from), quote::literal(&bounds.to));
        sql.push_str(&format!(
            "; alter table {table} add check ({column} >= {from} and {column} < {to})"
        ));
    }
    tx.batch_execute(&sql)
        .during(format!("create partition {}", wanted.table))?;
    let like = TableStruct::read(tx, &wanted.parent)?;
    let what = Elements::TRIGGER | Elements::RULE | Elements::GRANT | Elements::OWNER;
    Ok(like.create(&mut **tx, what, Some(&wanted.table))?)
}

/// A partition of a partitioned table. It is made beside it and attached then, which others that read or
/// write the parent need not wait for.
fn attach(tx: &mut Tx<'_>, wanted: &Wanted) -> Result<(), PartitionError> {
    let Some(bounds) = &wanted.bounds else {
        return Err(PartitionError::NotAttached {
            table: wanted.table.clone(),
            parent: wanted.parent.clone(),
        });
    };
    require_key(tx, &wanted.parent, &bounds.column)?;
    let (table, parent) = (wanted.table.quoted(), wanted.parent.quoted());
    let (from, to) = (quote::literal(&bounds.from), quote::literal(&bounds.to));
    // The identity of a partition is that of its parent.
    tx.batch_execute(&format!(
        "create table {table} (like {parent} including all excluding identity)"
    ))
    .during(format!("create partition {}", wanted.table))?;
    let like = TableStruct::read(tx, &wanted.parent)?;
    let what = Elements::GRANT | Elements::OWNER;
    like.create(&mut **tx, what, Some(&wanted.table))?;
    let attached = tx
        .batch_execute(&format!(
            "alter table {parent} attach partition {table} for values from ({from}) to ({to})"
        ))
        .during(format!("attach partition {}", wanted.table));
    attached.map_err(|error| match error.sql_state() {
        Some(&SqlState::CHECK_VIOLATION) => PartitionError::InDefault {
            table: wanted.table.clone(),
            parent: wanted.parent.clone(),
        },
        _ => error.into(),
    })
}

/// The parent is partitioned by range of this column alone.
fn require_key(tx: &mut Tx<'_>, parent: &TableName, column: &str) -> Result<(), PartitionError> {
    let row = tx
        .query_typed_opt(
            "select from pg_catalog.pg_partitioned_table t
               join pg_catalog.pg_class c on c.oid = t.partrelid
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
               join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = t.partattrs[0]
              where n.nspname = $1 and c.relname = $2 and a.attname = $3
                and t.partstrat = 'r' and t.partnatts = 1",
            &[
                (&parent.schema(), Type::TEXT),
                (&parent.name(), Type::TEXT),
                (&column, Type::TEXT),
            ],
        )
        .during("look up how a table is partitioned")?;
    let is_range = row.is_some() && key_type(&mut **tx, parent, column).is_ok();
    match is_range {
        true => Ok(()),
        false => Err(PartitionError::OtherKey {
            parent: parent.clone(),
            column: column.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::ends;

    #[test]
    fn ends_are_literals_or_none() {
        assert_eq!(
            ends("FOR VALUES FROM ('2024-05-01') TO ('2024-06-01')"),
            Some(("'2024-05-01'", "'2024-06-01'"))
        );
        for other in [
            "DEFAULT",
            "FOR VALUES FROM (MINVALUE) TO ('2024-06-01')",
            "FOR VALUES FROM ('2024-05-01') TO (MAXVALUE)",
            "FOR VALUES IN ('a')",
            "",
        ] {
            assert_eq!(ends(other), None, "{other}");
        }
    }
}
