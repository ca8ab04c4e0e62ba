//! Indexes of a table: dropped while it is filled, then created again just as they were.
//!
//! Only what makes loading slow is dropped: indexes, and the PRIMARY KEY, UNIQUE and EXCLUDE
//! constraints they stand for. Check and not-null constraints, rules and inheritance stay.

use postgres::error::SqlState;
use postgres::types::Type;
use skytools::db::{DbError, During, Tx};
use skytools::quote;
use skytools::table::TableName;
use tracing::info;

use super::progress::Progress;

/// An index, and all that the server would forget with it.
#[derive(Debug)]
pub(crate) struct Index {
    name: String,
    /// `CREATE INDEX …`, without the tablespace.
    definition: String,
    /// Empty for the database's own.
    tablespace: String,
    clustered: bool,
    replica_identity: bool,
    comment: Option<String>,
    constraint: Option<Constraint>,
    /// Statistics targets of expression columns, by number.
    statistics: Vec<(i16, i32)>,
}

/// The constraint an index stands for; it has the index's name.
#[derive(Debug)]
struct Constraint {
    /// `PRIMARY KEY …`
    definition: String,
    /// `primary key` or `unique`, if the constraint can be made from a finished index.
    from_index: Option<&'static str>,
    deferrable: bool,
    deferred: bool,
    comment: Option<String>,
}

/// Reads and drops the indexes of a table, except those that other objects depend on. The caller
/// holds the table's lock.
pub(crate) fn drop_indexes(tx: &mut Tx<'_>, table: &TableName) -> Result<Vec<Index>, DbError> {
    let mut dropped = Vec::new();
    for index in read(tx, table)? {
        let sql = match index.constraint {
            Some(_) => format!(
                "alter table only {} drop constraint {}",
                table.quoted(),
                quote::ident(&index.name)
            ),
            None => format!(
                "drop index {}.{}",
                quote::ident(table.schema()),
                quote::ident(&index.name)
            ),
        };
        let attempt = tx.savepoint(|tx| {
            tx.batch_execute(&sql)
                .during(format!("drop the index {}", index.name))
        });
        match attempt {
            Ok(()) => {
                info!("Dropping {}", index.name);
                dropped.push(index);
            }
            Err(error) if error.sql_state() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {
                info!("keeping {}: other objects depend on it", index.name);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(dropped)
}

/// Creates dropped indexes again.
pub(crate) fn create_indexes(
    tx: &mut Tx<'_>,
    table: &TableName,
    indexes: &[Index],
    progress: &Progress,
) -> Result<(), DbError> {
    for index in indexes {
        info!("Creating {}", index.name);
        progress.enter(format!("building {}", index.name));
        for sql in index.statements(table) {
            tx.batch_execute(&sql)
                .during(format!("create the index {}", index.name))?;
        }
    }
    Ok(())
}

fn read(tx: &mut Tx<'_>, table: &TableName) -> Result<Vec<Index>, DbError> {
    let step = || format!("read the indexes of {table}");
    // So that every name in a definition is qualified; the definitions run under the usual path,
    // which functions of index expressions may need.
    tx.batch_execute("set local search_path = pg_catalog")
        .during(step())?;
    let rows = tx
        .query_typed(
            "select ic.relname::text, pg_get_indexdef(i.indexrelid), \
             coalesce(ts.spcname::text, ''), i.indisclustered, i.indisreplident, \
             obj_description(i.indexrelid, 'pg_class'), \
             pg_get_constraintdef(k.oid), k.contype::text, k.condeferrable, k.condeferred, \
             obj_description(k.oid, 'pg_constraint'), \
             am.amname = 'btree' and pg_get_constraintdef(k.oid) not like '%WITHOUT OVERLAPS%', \
             array(select a.attnum from pg_attribute a where a.attrelid = i.indexrelid \
                   and a.attstattarget >= 0 order by a.attnum), \
             array(select a.attstattarget::int4 from pg_attribute a \
                   where a.attrelid = i.indexrelid and a.attstattarget >= 0 order by a.attnum) \
             from pg_index i \
             join pg_class ic on ic.oid = i.indexrelid \
             join pg_am am on am.oid = ic.relam \
             join pg_class c on c.oid = i.indrelid \
             join pg_namespace n on n.oid = c.relnamespace \
             left join pg_tablespace ts on ts.oid = ic.reltablespace \
             left join pg_constraint k on k.conindid = i.indexrelid \
                   and k.conrelid = i.indrelid and k.contype in ('p', 'u', 'x') \
             where n.nspname = $1 and c.relname = $2 \
             and c.relkind = 'r' and i.indisvalid and not ic.relispartition \
             order by i.indisprimary desc, i.indexrelid",
            &[(&table.schema(), Type::TEXT), (&table.name(), Type::TEXT)],
        )
        .during(step())?;
    tx.batch_execute("reset search_path").during(step())?;
    Ok(rows
        .iter()
        .map(|row| {
            let constraint = row.get::<_, Option<String>>(6).map(|definition| {
                let plain: bool = row.get(11);
                let kind: String = row.get(7);
                Constraint {
                    definition,
                    from_index: match kind.as_str() {
                        "p" if plain => Some("primary key"),
                        "u" if plain => Some("unique"),
                        _ => None,
                    },
                    deferrable: row.get(8),
                    deferred: row.get(9),
                    comment: row.get(10),
                }
            });
            let columns: Vec<i16> = row.get(12);
            let targets: Vec<i32> = row.get(13);
            Index {
                name: row.get(0),
                definition: row.get(1),
                tablespace: row.get(2),
                clustered: row.get(3),
                replica_identity: row.get(4),
                comment: row.get(5),
                constraint,
                statistics: columns.into_iter().zip(targets).collect(),
            }
        })
        .collect())
}

impl Index {
    /// The statements that make the index what it was.
    fn statements(&self, table: &TableName) -> Vec<String> {
        let name = quote::ident(&self.name);
        let qualified = format!("{}.{name}", quote::ident(table.schema()));
        let target = table.quoted();
        let mut statements = vec![format!(
            "set local default_tablespace = {}",
            quote::literal(&self.tablespace)
        )];
        match &self.constraint {
            None => statements.push(self.definition.clone()),
            Some(constraint) => {
                let definition = match constraint.from_index {
                    // An index keeps its storage options; a constraint's definition loses them.
                    Some(kind) => {
                        statements.push(self.definition.clone());
                        let deferrable = if constraint.deferrable {
                            " deferrable"
                        } else {
                            ""
                        };
                        let deferred = match constraint.deferred {
                            true => " initially deferred",
                            false => "",
                        };
                        format!("{kind} using index {name}{deferrable}{deferred}")
                    }
                    None => constraint.definition.clone(),
                };
                statements.push(format!(
                    "alter table only {target} add constraint {name} {definition}"
                ));
                if let Some(comment) = &constraint.comment {
                    statements.push(format!(
                        "comment on constraint {name} on {target} is {}",
                        quote::literal(comment)
                    ));
                }
            }
        }
        if let Some(comment) = &self.comment {
            statements.push(format!(
                "comment on index {qualified} is {}",
                quote::literal(comment)
            ));
        }
        for (column, target) in &self.statistics {
            statements.push(format!(
                "alter index {qualified} alter column {column} set statistics {target}"
            ));
        }
        if self.clustered {
            statements.push(format!("alter table only {target} cluster on {name}"));
        }
        if self.replica_identity {
            statements.push(format!(
                "alter table only {target} replica identity using index {name}"
            ));
        }
        statements
    }
}
