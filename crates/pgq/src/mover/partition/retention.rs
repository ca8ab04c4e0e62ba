//! Giving up partitions that are old.

use std::time::Instant;

use postgres::error::SqlState;
use postgres::types::Type;
use skytools::app::chain;
use skytools::db::{Connection, During, GenericClient, Tx};
use skytools::quote;
use skytools::table::TableName;
use tracing::{info, warn};

use super::make::{ends, set_lock_timeout};
use super::{PartitionError, Partitions, RetentionAction, Span};

/// How long a partition may be held by others; the next look tries again.
const LOCK_TIMEOUT: &str = "5s";

/// A table that may be old.
struct Candidate {
    table: TableName,
    /// Whether it belongs to the parent.
    is_child: bool,
    /// Whether it does so as a partition of a partitioned table.
    is_partition: bool,
    /// Whether it is leaving the parent, by a statement that was cut short.
    is_leaving: bool,
    /// The first moment behind its rows, as the server reads it.
    end: String,
}

impl Partitions {
    /// Gives up what is older than `retention_period`, oldest first, when it is time for a look; returns
    /// what has gone. What cannot be had now is logged, and is left for the next look.
    ///
    /// Not to be called while a transaction is open.
    ///
    /// # Errors
    /// The server did not answer.
    pub fn retire(
        &mut self,
        target: &mut Connection,
        parents: &[TableName],
    ) -> Result<Vec<TableName>, PartitionError> {
        let mut gone = Vec::new();
        if self.config.retention_period.is_empty() || !self.is_due(self.looked) {
            return Ok(gone);
        }
        self.looked = Some(Instant::now());
        for parent in parents {
            for old in self.old(target, parent)? {
                match self.give_up(target, parent, &old) {
                    Ok(()) => {
                        self.known.remove(&old.table);
                        gone.push(old.table);
                    }
                    Err(PartitionError::Db(error)) if !error.is_connection_lost() => warn!(
                        "partition {} is past its time and stays: {}",
                        old.table,
                        chain(&error)
                    ),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(gone)
    }

    /// The moment before which rows are too old, to be compared by [`Partitions::is_past`]; `None` if
    /// old rows are welcome.
    ///
    /// # Errors
    /// The server did not answer.
    pub fn cutoff(&self, db: &mut impl GenericClient) -> Result<Option<String>, PartitionError> {
        if !self.config.ignore_old_events || self.config.retention_period.is_empty() {
            return Ok(None);
        }
        let row = db
            .query_typed_one(
                "select pg_catalog.to_char(greatest(pg_catalog.timezone(\
                     coalesce(nullif($1, ''), pg_catalog.current_setting('TimeZone')), \
                     pg_catalog.now() - $2::interval), '0001-01-01'), 'YYYY-MM-DD HH24:MI:SS')",
                &[
                    (&self.config.partition_timezone, Type::TEXT),
                    (&self.config.retention_period, Type::TEXT),
                ],
            )
            .during("ask for the time")?;
        Ok(Some(row.get(0)))
    }

    /// Whether the partition of this label ends before the moment; no label without a time does.
    pub fn is_past(label: &str, cutoff: &str) -> bool {
        Span::parse(label).is_some_and(|span| span.end().as_str() <= cutoff)
    }

    /// The tables of a parent that are past their time, oldest first.
    fn old(
        &self,
        target: &mut Connection,
        parent: &TableName,
    ) -> Result<Vec<Candidate>, PartitionError> {
        let mut tx = target.begin()?;
        if !self.config.partition_timezone.is_empty() {
            tx.query_typed(
                "select pg_catalog.set_config('TimeZone', $1, true)",
                &[(&self.config.partition_timezone, Type::TEXT)],
            )
            .during("use partition_timezone")?;
        }
        let found = self.candidates(&mut tx, parent)?;
        let ends: Vec<&str> = found.iter().map(|table| table.end.as_str()).collect();
        let rows = tx
            .query_typed(
                "select place from pg_catalog.unnest($1) with ordinality e (moment, place) \
                 where moment::timestamptz <= pg_catalog.now() - $2::interval \
                 order by moment::timestamptz, place",
                &[
                    (&ends, Type::TEXT_ARRAY),
                    (&self.config.retention_period, Type::TEXT),
                ],
            )
            .during("look which partitions are old")?;
        let places: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        tx.rollback()?;
        let mut by_place: Vec<Option<Candidate>> = found.into_iter().map(Some).collect();
        let old = places.into_iter().filter_map(|place| {
            let place = usize::try_from(place).ok()?.checked_sub(1)?;
            by_place.get_mut(place)?.take()
        });
        Ok(old.collect())
    }

    /// The tables of a parent whose end is known.
    fn candidates(
        &self,
        tx: &mut Tx<'_>,
        parent: &TableName,
    ) -> Result<Vec<Candidate>, PartitionError> {
        let rows = tx
            .query_typed(
                "select n.nspname::text, c.relname::text, i.inhrelid is not null,
                        coalesce(i.inhdetachpending, false),
                        pg_catalog.pg_get_expr(c.relpartbound, c.oid)
                   from pg_catalog.pg_class p
                   join pg_catalog.pg_namespace s on s.oid = p.relnamespace,
                        pg_catalog.pg_class c
                   join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                   left join pg_catalog.pg_inherits i on i.inhrelid = c.oid
                  where s.nspname = $1 and p.relname = $2 and c.relkind in ('r', 'p', 'f')
                    and (i.inhparent = p.oid
                         or i.inhparent is null and n.nspname = $1
                            and ($3 or pg_catalog.obj_description(c.oid, 'pg_class') = $4))
                  order by 1, 2",
                &[
                    (&parent.schema(), Type::TEXT),
                    (&parent.name(), Type::TEXT),
                    (&self.config.retention_by_name, Type::BOOL),
                    (&mark(parent), Type::TEXT),
                ],
            )
            .during("look partitions up")?;
        let candidate = |row: &postgres::Row| {
            let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
            let bounds: Option<String> = row.get(4);
            let end = match &bounds {
                Some(bounds) => ends(bounds)?.1.trim_matches('\'').to_owned(),
                None => self.span_of(parent, &table)?.end(),
            };
            Some(Candidate {
                table,
                is_child: row.get(2),
                is_partition: bounds.is_some(),
                is_leaving: row.get(3),
                end,
            })
        };
        Ok(rows.iter().filter_map(candidate).collect())
    }

    /// The span in the name of a table, if it is the one that a partition of the parent has.
    fn span_of(&self, parent: &TableName, table: &TableName) -> Option<Span> {
        let name = table.name();
        [13, 10, 7, 4].into_iter().find_map(|length| {
            let start = name.len().checked_sub(length)?;
            let span = Span::parse(name.get(start..)?)?;
            let own = (self.config.long_names).fit(parent.name(), &format!("_{}", span.label()));
            (own.ok()? == name).then_some(span)
        })
    }

    fn give_up(
        &self,
        target: &mut Connection,
        parent: &TableName,
        old: &Candidate,
    ) -> Result<(), PartitionError> {
        let table = &old.table;
        let done = match &self.config.retention_action {
            RetentionAction::Drop => {
                if old.is_partition && !old.is_leaving {
                    // So that it is known for what it is if only the first half of this is done.
                    let mark = quote::literal(&mark(parent));
                    let sql = format!("comment on table {} is {mark}", table.quoted());
                    in_transaction(target, &sql, table)?;
                }
                self.leave(target, parent, old)?;
                in_transaction(target, &format!("drop table {}", table.quoted()), table)?;
                "dropped"
            }
            RetentionAction::Detach if !old.is_child => return Ok(()),
            RetentionAction::Detach => {
                if !self.leave(target, parent, old)? {
                    let (name, parent) = (table.quoted(), parent.quoted());
                    let sql = match old.is_partition {
                        true => format!("alter table {parent} detach partition {name}"),
                        false => format!("alter table {name} no inherit {parent}"),
                    };
                    in_transaction(target, &sql, table)?;
                }
                "detached"
            }
            RetentionAction::Call(function) => {
                let sql = format!(
                    "select {}({}, {})",
                    TableName::parse(function).quoted(),
                    quote::literal(&parent.quoted()),
                    quote::literal(&table.quoted())
                );
                in_transaction(target, &sql, table)?;
                "given to retention_action"
            }
        };
        info!(
            "partition {table} is older than {} and was {done}",
            self.config.retention_period
        );
        Ok(())
    }

    /// Detaches a partition beside those who work with its parent; false if that cannot be, or it is of
    /// another kind.
    fn leave(
        &self,
        target: &mut Connection,
        parent: &TableName,
        old: &Candidate,
    ) -> Result<bool, PartitionError> {
        if !old.is_partition {
            return Ok(false);
        }
        let sql = format!(
            "alter table {} detach partition {} {}",
            parent.quoted(),
            old.table.quoted(),
            if old.is_leaving {
                "finalize"
            } else {
                "concurrently"
            }
        );
        let step = || format!("detach partition {}", old.table);
        target
            .batch_execute(&format!("set lock_timeout = '{LOCK_TIMEOUT}'"))
            .during("limit the wait for locks")?;
        let left = target.batch_execute(&sql).during(step());
        target
            .batch_execute("reset lock_timeout")
            .during("limit the wait for locks")?;
        match left {
            Ok(()) => Ok(true),
            // There is a default partition.
            Err(error)
                if error.sql_state() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Comment on a partition that is being dropped.
fn mark(parent: &TableName) -> String {
    format!("past its time, and no partition of {parent} any more")
}

fn in_transaction(
    target: &mut Connection,
    sql: &str,
    table: &TableName,
) -> Result<(), PartitionError> {
    let mut tx = target.begin()?;
    set_lock_timeout(&mut tx, LOCK_TIMEOUT)?;
    tx.batch_execute(sql)
        .during(format!("give up partition {table}"))?;
    Ok(tx.commit()?)
}
