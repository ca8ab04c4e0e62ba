//! Whether the subscriber's server has room for the locks of batches that are made of several ticks.
//!
//! A table that changes stays locked until its batch is committed, with its indexes, and a server has room for a
//! number of locks that its configuration sets. All transactions share it: who fills it has the others fail too.

use std::time::{Duration, Instant};

use postgres::types::Type;
use skytools::db::{DbError, During, Session};
use skytools::table::TableName;
use tracing::debug;

use super::state::Table;

/// The part of the server's room that a batch may take, one of so many.
const SHARE: i64 = 2;

/// How long ticks are taken one by one after the server had no room for several.
const REST: Duration = Duration::from_secs(600);

/// What is known of the room for locks.
#[derive(Debug, Default)]
pub(super) struct Merging {
    /// How many tables there were when somebody looked, and whether the locks of all of them have room.
    known: Option<(usize, bool)>,
    /// When there was no room, though there should have been.
    failed: Option<Instant>,
}

impl Merging {
    /// Takes note that the server had no room.
    pub(super) fn failed(&mut self) {
        self.failed = Some(Instant::now());
    }

    /// Whether a batch may be made of several ticks, as far as is known.
    pub(super) fn is_safe(&self) -> bool {
        let rests = self.failed.is_some_and(|last| last.elapsed() < REST);
        !rests && self.known.is_some_and(|(_, fits)| fits)
    }

    /// Looks whether all of these tables may change in one batch, if that is not known; `again` for a server that may
    /// be another one than before.
    ///
    /// # Errors
    /// The server did not answer.
    pub(super) fn look(
        &mut self,
        subscriber: &mut Session<'_>,
        tables: &[Table],
        again: bool,
    ) -> Result<(), DbError> {
        if again || self.known.is_none_or(|(count, _)| count != tables.len()) {
            self.known = Some((tables.len(), fits(subscriber, tables)?));
        }
        Ok(())
    }
}

/// Whether there is room for locks of all the tables, their partitions, and the indexes and TOAST tables of both.
fn fits(subscriber: &mut Session<'_>, tables: &[Table]) -> Result<bool, DbError> {
    let names: Vec<TableName> = tables
        .iter()
        .map(|table| TableName::parse(&table.name))
        .collect();
    let (schemas, names): (Vec<&str>, Vec<&str>) = names
        .iter()
        .map(|name| (name.schema(), name.name()))
        .unzip();
    let row = subscriber
        .query_typed_one(
            "with recursive t (oid, toast) as ( \
                 select c.oid, c.reltoastrelid \
                 from rows from (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) wanted (nsp, rel) \
                 join pg_catalog.pg_namespace n on n.nspname = wanted.nsp \
                 join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = wanted.rel \
                 union \
                 select c.oid, c.reltoastrelid \
                 from t \
                 join pg_catalog.pg_inherits i on i.inhparent = t.oid \
                 join pg_catalog.pg_class c on c.oid = i.inhrelid) \
             select (select count(*) + 2 * count(*) filter (where toast <> 0) from t) \
                    + (select count(*) from t join pg_catalog.pg_index i on i.indrelid = t.oid), \
                    pg_catalog.current_setting('max_locks_per_transaction')::int8 \
                    * (pg_catalog.current_setting('max_connections')::int8 \
                       + pg_catalog.current_setting('max_prepared_transactions')::int8)",
            &[(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)],
        )
        .during("count the locks that there is room for")?;
    let (locks, room): (i64, i64) = (row.get(0), row.get(1));
    let fits = locks <= room / SHARE;
    debug!(
        locks,
        room, fits, "locks of a batch that changes all tables"
    );
    Ok(fits)
}
