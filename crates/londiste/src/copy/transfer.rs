//! Filling a table: one transaction on the subscriber holds the rows, the rebuilt indexes, the new
//! state and the snapshot, so that a crash leaves all of them or none.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use pgq::QueueName;
use postgres::types::Type;
use skytools::db::{Connection, DbError, During, Isolation, Session, Tx};
use skytools::full_copy::{Copied, FullCopy};
use skytools::snapshot::Snapshot;
use skytools::table::{self, RelationKind, TableName};
use tracing::info;

use super::progress::Progress;
use super::structure;
use crate::replay::mirror;
use crate::replay::state::{self, Actor, MergeState, Table};
use crate::{CascadeError, Error, failpoint, registry};

/// From so many rows on, indexes are built when the rows are there.
const SMALL: i64 = 1000;

/// How often progress is reported.
const REPORT: Duration = Duration::from_secs(5);

/// Copies the table and moves it to `catching-up`. False if its state was changed by somebody else
/// before it began.
pub(crate) fn copy_table(
    provider: &mut Connection,
    subscriber: &mut Connection,
    queue: &QueueName,
    table: &Table,
    progress: &Progress,
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
    let indexes = match is_small(provider, &name)? {
        true => Vec::new(),
        false => structure::drop_indexes(&mut target, &name)?,
    };
    let empty = truncate(&mut target, &name, table.skip_truncate)?;

    let (snapshot, copied) = transfer(provider, &mut target, queue, &name, empty, progress)?;
    info!(
        "{name}: copy finished: {} bytes, {} rows",
        copied.bytes, copied.rows
    );
    failpoint::step("copy.transferred");
    structure::create_indexes(&mut target, &name, &indexes, progress)?;
    progress.enter("committing");
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

/// Whether rows come into a table that nobody has seen before them.
fn truncate(target: &mut Tx<'_>, name: &TableName, skip: bool) -> Result<bool, Error> {
    if skip {
        info!("{name}: skipping truncate");
        return Ok(false);
    }
    info!("{name}: truncating");
    let kind = table::relation(&mut **target, name)?.kind;
    // A partitioned table has no rows of its own: ONLY is refused.
    let only = match kind {
        RelationKind::PartitionedTable => "",
        _ => "only ",
    };
    target
        .batch_execute(&format!("truncate {only}{}", name.quoted()))
        .during(format!("empty {name}"))?;
    Ok(kind == RelationKind::Table)
}

/// Streams the rows as one snapshot of the provider sees them.
fn transfer(
    provider: &mut Connection,
    target: &mut Tx<'_>,
    queue: &QueueName,
    name: &TableName,
    empty: bool,
    progress: &Progress,
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
    // Such a relay's rows are ahead of its events.
    if mirror::is_relay(&mut source, queue)?
        && !registry::provider_tables(&mut source, queue)?.contains(&name.to_string())
    {
        return Err(CascadeError::PartialThere(name.to_string()).into());
    }
    let columns = common_columns(&mut source, target, name)?;
    let mut copy = FullCopy::new(name).columns(&columns);
    if table::relation(&mut *source, name)?.kind == RelationKind::PartitionedTable {
        copy = copy.with_children();
    }
    if empty {
        copy = copy.frozen();
    }
    progress.expect(table::expected_rows(&mut *source, name)?);
    progress.enter("copying");
    info!("{name}: start copy");
    failpoint::step("copy.snapshot");
    let mut reported = Instant::now();
    let copied = copy.run(&mut source, target, |copied| {
        progress.set(copied);
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            info!("{name}: {}", progress.now().line());
        }
        match progress.is_given_up() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    source.commit()?;
    Ok((snapshot, copied))
}

/// Whether indexes can stay, because filling them row by row takes no time.
fn is_small(provider: &mut Session<'_>, name: &TableName) -> Result<bool, Error> {
    let only = match table::relation(provider, name)?.kind {
        RelationKind::PartitionedTable => "",
        _ => "only ",
    };
    let row = provider
        .query_typed_one(
            &format!(
                "select count(*) from (select from {only}{} limit {SMALL}) t",
                name.quoted()
            ),
            &[],
        )
        .during(format!("look how large {name} is on the provider"))?;
    let rows: i64 = row.get(0);
    Ok(rows < SMALL)
}
