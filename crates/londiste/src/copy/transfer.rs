//! Filling a table: one transaction on the subscriber holds the rows, the rebuilt indexes, the new
//! state and the snapshot, so that a crash leaves all of them or none.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgq::QueueName;
use postgres::types::Type;
use skytools::db::{Connection, DbError, During, Isolation, Session, Tx};
use skytools::full_copy::{Copied, FullCopy};
use skytools::snapshot::Snapshot;
use skytools::table::{self, RelationKind, TableName};
use tracing::{info, warn};

use super::structure;
use crate::replay::state::{self, Actor, MergeState, Table};
use crate::{Error, failpoint};

/// How often progress is reported.
const REPORT: Duration = Duration::from_secs(5);

/// Copies the table and moves it to `catching-up`. False if its state was changed by somebody else
/// before it began.
pub(crate) fn copy_table(
    provider: &mut Connection,
    subscriber: &mut Connection,
    queue: &QueueName,
    table: &Table,
    unwanted: &AtomicBool,
) -> Result<bool, Error> {
    let name = TableName::parse(&table.name);
    info!("Starting full copy of {}", table.name);
    // Once before anything is touched; what counts is what the snapshots show.
    common_columns(provider, subscriber, &name)?;
    stash_triggers(subscriber, &table.name)?;

    // REPEATABLE READ makes storing the state fail if somebody changes it while we copy. The lock
    // comes first: the transaction's snapshot must see what it waited for.
    let mut target = subscriber.begin_with(Isolation::RepeatableRead)?;
    target
        .batch_execute(&format!(
            "lock table only {} in access exclusive mode",
            name.quoted()
        ))
        .during(format!("lock {name}"))?;
    if !state::unchanged(&mut *target, queue, table)? {
        target.rollback()?;
        return Ok(false);
    }
    let indexes = structure::drop_indexes(&mut target, &name)?;
    truncate(&mut target, &name, table.skip_truncate)?;

    let (snapshot, copied) = transfer(provider, &mut target, &name, unwanted)?;
    info!(
        "{name}: copy finished: {} bytes, {} rows",
        copied.bytes, copied.rows
    );
    failpoint::step("copy.transferred");
    structure::create_indexes(&mut target, &name, &indexes)?;
    state::store(
        &mut *target,
        queue,
        Actor::Copy,
        &table.name,
        MergeState::CatchingUp,
        Some(&snapshot),
    )?;
    failpoint::step("copy.before_commit");
    target.commit()?;
    info!("Table {} status changed to 'catching-up'", table.name);
    failpoint::step("copy.copied");
    if let Err(error) = subscriber
        .batch_execute(&format!("analyze {}", name.quoted()))
        .during(format!("analyze {name}"))
    {
        warn!("{error}");
    }
    Ok(true)
}

/// The columns to copy: all that are not generated. One that is missing is an error.
fn common_columns(
    provider: &mut Session<'_>,
    subscriber: &mut Session<'_>,
    name: &TableName,
) -> Result<Vec<String>, Error> {
    let source = table::relation(provider, name)?;
    let target = table::find(subscriber, name)?.ok_or_else(|| Error::NoTable(name.to_string()))?;
    let source = table::columns(provider, source.oid)?;
    let target = table::columns(subscriber, target.oid)?;
    let mut columns = Vec::new();
    for column in source.into_iter().filter(|column| !column.generated) {
        match target.iter().find(|other| other.name == column.name) {
            None => {
                return Err(Error::NoColumn {
                    table: name.to_string(),
                    column: column.name,
                });
            }
            Some(other) if other.generated => {}
            Some(_) => columns.push(column.name),
        }
    }
    Ok(columns)
}

fn stash_triggers(subscriber: &mut Connection, table: &str) -> Result<(), DbError> {
    let mut tx = subscriber.begin()?;
    tx.query_typed(
        "select londiste.subscriber_drop_all_table_triggers($1)",
        &[(&table, Type::TEXT)],
    )
    .during(format!("put the triggers of {table} aside"))?;
    tx.commit()
}

fn truncate(target: &mut Tx<'_>, name: &TableName, skip: bool) -> Result<(), DbError> {
    if skip {
        info!("{name}: skipping truncate");
        return Ok(());
    }
    info!("{name}: truncating");
    let partitioned: bool = target
        .query_typed_one(
            "select relkind = 'p' from pg_catalog.pg_class where oid = $1::text::regclass",
            &[(&name.quoted(), Type::TEXT)],
        )
        .during(format!("look up {name}"))?
        .get(0);
    // A partitioned table has no rows of its own: ONLY is refused.
    let only = if partitioned { "" } else { "only " };
    target
        .batch_execute(&format!("truncate {only}{}", name.quoted()))
        .during(format!("empty {name}"))
}

/// Streams the rows as one snapshot of the provider sees them.
fn transfer(
    provider: &mut Connection,
    target: &mut Tx<'_>,
    name: &TableName,
    unwanted: &AtomicBool,
) -> Result<(Snapshot, Copied), Error> {
    let mut source = provider.begin_with(Isolation::RepeatableRead)?;
    // Before the snapshot: a column that is added later has events for all its values, one that was
    // added before is copied.
    source
        .batch_execute(&format!(
            "lock table only {} in access share mode",
            name.quoted()
        ))
        .during(format!("lock {name} on the provider"))?;
    let snapshot: String = source
        .query_typed_one("select pg_current_snapshot()::text", &[])
        .during("read the snapshot of the copy")?
        .get(0);
    let snapshot = Snapshot::parse(&snapshot).map_err(|source| Error::Snapshot {
        table: name.to_string(),
        source,
    })?;
    let columns = common_columns(&mut source, target, name)?;
    let mut copy = FullCopy::new(name).columns(&columns);
    if table::relation(&mut *source, name)?.kind == RelationKind::PartitionedTable {
        copy = copy.with_children();
    }
    info!("{name}: start copy");
    failpoint::step("copy.snapshot");
    let start = Instant::now();
    let mut reported = start;
    let copied = copy.run(&mut source, target, |copied| {
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            report(name, copied, start.elapsed());
        }
        match unwanted.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    source.commit()?;
    Ok((snapshot, copied))
}

fn report(name: &TableName, copied: Copied, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64();
    let rate = copied.bytes as f64 / seconds / f64::from(1 << 20);
    info!(
        "{name}: {} rows, {} bytes copied in {seconds:.0} s, {rate:.1} MB/s",
        copied.rows, copied.bytes
    );
}
