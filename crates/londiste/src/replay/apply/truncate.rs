//! TRUNCATE, as the provider did it: the tables that it emptied, and no others.
//!
//! A table that others refer to can be emptied only together with them. On the provider they were,
//! and each that is captured has its own event; those of one statement follow one another, perhaps with
//! events of other transactions between them, which can be of none of these tables. So a table waits
//! until something else happens to it or the batch ends, and then all that wait are emptied at once.
//!
//! What refers to them on the subscriber and does not wait is nobody's to empty: unless it has no rows,
//! replay stops, and `truncate_cascade` lets it go on.

use pgq::EventId;
use postgres::types::Type;
use skytools::db::{During, Tx};
use skytools::table::TableName;

use crate::Error;

/// Tables that have to be emptied, in the order of their events.
#[derive(Debug, Default)]
pub(super) struct Truncates {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// The place of the table.
    table: usize,
    event: EventId,
}

/// A table as the statement names it.
#[derive(Debug)]
pub(super) struct Emptied<'a> {
    pub(super) table: &'a TableName,
    /// It has rows in its partitions alone.
    pub(super) partitioned: bool,
}

impl Truncates {
    pub(super) fn add(&mut self, table: usize, event: EventId) {
        self.waiting.push(Waiting { table, event });
    }

    /// Whether the table has to be emptied before anything else happens to it.
    pub(super) fn waits(&self, table: usize) -> bool {
        self.waiting.iter().any(|waiting| waiting.table == table)
    }

    /// Places of the tables that wait; none of them does any more.
    pub(super) fn take(&mut self) -> Option<(Vec<usize>, [EventId; 2])> {
        let waiting = std::mem::take(&mut self.waiting);
        let (first, last) = (waiting.first()?.event, waiting.last()?.event);
        Some((waiting.iter().map(|w| w.table).collect(), [first, last]))
    }
}

/// Empties tables.
///
/// # Errors
/// Another table refers to one of them and has rows, and is not to be emptied as well; or the server
/// refuses.
pub(super) fn empty(
    tx: &mut Tx<'_>,
    tables: &[Emptied<'_>],
    [first, last]: [EventId; 2],
    cascade: bool,
) -> Result<(), Error> {
    let mut names: Vec<String> = tables
        .iter()
        .map(|emptied| target(&emptied.table.quoted(), emptied.partitioned))
        .collect();
    if !cascade {
        for referring in referring(tx, tables)? {
            if referring.has_rows(tx)? {
                return Err(Error::TruncateReferred {
                    event: first,
                    table: referring.refers_to,
                    by: referring.name.to_string(),
                });
            }
            names.push(referring.target());
        }
    }
    let sql = format!(
        "truncate {}{}",
        names.join(", "),
        if cascade { " cascade" } else { "" }
    );
    tx.batch_execute(&sql)
        .during("empty tables")
        .map_err(|source| Error::Apply {
            first,
            last,
            table: tables[tables.len() - 1].table.to_string(),
            source: Box::new(source),
        })
}

/// A table that has to be emptied with others, because it refers to them.
struct Referring {
    name: TableName,
    partitioned: bool,
    /// The table that it refers to.
    refers_to: String,
}

impl Referring {
    fn target(&self) -> String {
        target(&self.name.quoted(), self.partitioned)
    }

    /// Locks the table against others and looks.
    fn has_rows(&self, tx: &mut Tx<'_>) -> Result<bool, Error> {
        let step = "look at a table that refers to one that has to be emptied";
        let target = self.target();
        tx.batch_execute(&format!("lock table {target} in access exclusive mode"))
            .during(step)?;
        let row = tx
            .query_typed_one(&format!("select exists (select from {target})"), &[])
            .during(step)?;
        Ok(row.get(0))
    }
}

fn target(quoted: &str, partitioned: bool) -> String {
    match partitioned {
        true => quoted.to_owned(),
        false => format!("only {quoted}"),
    }
}

/// Tables that refer to these ones or to each other, and are none of them.
fn referring(tx: &mut Tx<'_>, tables: &[Emptied<'_>]) -> Result<Vec<Referring>, Error> {
    let names: Vec<String> = (tables.iter())
        .map(|emptied| emptied.table.quoted())
        .collect();
    // The server looks at the keys of partitions too, so they are asked for with their tables.
    let rows = tx
        .query_typed(
            "with recursive named as (
                 select pg_catalog.to_regclass(name)::oid as oid from unnest($1::text[]) name),
             emptied as (
                 select oid from named
                 union select p.relid from named, pg_catalog.pg_partition_tree(named.oid) p),
             referring as (
                 select k.conrelid as oid, k.confrelid as to_oid
                   from emptied join pg_catalog.pg_constraint k on k.confrelid = emptied.oid
                  where k.contype = 'f' and k.conrelid not in (select oid from emptied)
                 union
                 select k.conrelid, k.confrelid
                   from referring join pg_catalog.pg_constraint k on k.confrelid = referring.oid
                  where k.contype = 'f' and k.conrelid not in (select oid from emptied))
             select n.nspname::text, c.relname::text, c.relkind = 'p',
                    (select min(tn.nspname || '.' || t.relname)
                       from referring r
                       join pg_catalog.pg_class t on t.oid = r.to_oid
                       join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
                      where r.oid = c.oid)
               from pg_catalog.pg_class c
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where c.oid in (select oid from referring)
              order by c.relispartition, 1, 2",
            &[(&names, Type::TEXT_ARRAY)],
        )
        .during("look for tables that refer to those that have to be emptied")?;
    Ok(rows
        .iter()
        .map(|row| Referring {
            name: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            partitioned: row.get(2),
            refers_to: row.get(3),
        })
        .collect())
}
