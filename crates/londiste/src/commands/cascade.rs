//! Commands on the nodes of a cascade. A relay's own configuration has `mirror_queue`, and names the
//! node itself as `subscriber_db`.

pub(super) mod change_provider;
pub(super) mod demote;
pub(super) mod promote;
pub(super) mod relay_init;
pub(super) mod resurrect;
pub(super) mod status;

use std::time::Duration;

use pgq::{ConsumerName, QueueName, admin, position};
use postgres::types::Type;
use skytools::daemon::Stop;
use skytools::db::{Connection, During, Tx};
use tracing::{info, warn};

use super::setup::{Setup, step};
use crate::replay::state::{self, MergeState, Table};
use crate::{CascadeError, Error, registry};

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(200);

/// How long replay that was told to stop may take to be gone.
const LEAVE: Duration = Duration::from_secs(5);

/// Takes the lock of replay for the rest of the command; one that is about to end is waited for.
///
/// # Errors
/// Replay runs.
fn lock_replay(db: &mut Connection, consumer: &ConsumerName, stop: &Stop) -> Result<(), Error> {
    let start = std::time::Instant::now();
    while !pgq::lock::try_consumer(&mut **db, "londiste", consumer)? {
        if start.elapsed() > LEAVE || stop.sleep(POLL) {
            return Err(CascadeError::NodeBusy(consumer.clone()).into());
        }
    }
    Ok(())
}

/// Lets nobody write into the queue any more, and waits until nobody does. When it takes too long,
/// everything is as before.
fn stop_writers(
    setup_limit: Duration,
    db: &mut Connection,
    queue: &QueueName,
    stop: &Stop,
) -> Result<(), Error> {
    let barrier: i64 = step(db, |tx| {
        admin::set_queue_config(&mut **tx, queue, "disable_insert", Some("true"))?;
        let row = tx
            .query_typed_one("select txid_current()", &[])
            .during("look at the transaction")?;
        Ok(row.get(0))
    })?;
    let start = std::time::Instant::now();
    loop {
        // Whoever may have looked at the queue before it was closed has written something, and so has
        // an id below; or has a snapshot from then, in which it stays open until the transaction ends.
        let over: bool = db
            .query_typed_one(
                "select txid_snapshot_xmin(txid_current_snapshot()) > $1
                    and not exists (
                        select from pg_catalog.pg_stat_activity a
                         where a.datname = pg_catalog.current_database()
                           and a.pid <> pg_catalog.pg_backend_pid()
                           and a.backend_type = 'client backend'
                           and pg_catalog.age(a.backend_xmin)
                               >= pg_catalog.age(($1 % 4294967296)::text::xid))",
                &[(&barrier, Type::INT8)],
            )
            .during("wait for open transactions")?
            .get(0);
        if over {
            return Ok(());
        }
        let late = !setup_limit.is_zero() && start.elapsed() > setup_limit;
        if late || stop.sleep(POLL) {
            admin::set_queue_config(&mut **db, queue, "disable_insert", Some("false"))?;
            return Err(match late {
                true => Error::Cascade(CascadeError::WritersStay(setup_limit)),
                false => Error::Interrupted,
            });
        }
    }
}

/// Refuses while a table of a relay is not what the root's was at some tick: as the root it could not publish
/// it. With `force` it is only said.
fn need_whole(db: &mut Connection, queue: &QueueName, force: bool) -> Result<(), Error> {
    let published = registry::provider_tables(db, queue)?;
    let mut partial = state::tables(db, queue)?;
    partial.retain(|table| !published.contains(&table.name));
    let describe = |table: &Table| {
        let state = match table.state {
            MergeState::New => "to be copied".to_owned(),
            MergeState::Ok => "copied a moment ago".to_owned(),
            state => state.to_string(),
        };
        format!("{} ({state})", table.name)
    };
    if force {
        for table in &partial {
            warn!("not whole and not published: {}", describe(table));
        }
    } else if !partial.is_empty() {
        let tables: Vec<String> = partial.iter().map(describe).collect();
        return Err(CascadeError::NotWhole(tables.join(", ")).into());
    }
    Ok(())
}

/// Removes a job's consumers from a provider that may be gone.
fn leave(provider: Result<&mut Connection, Error>, queue: &QueueName, consumer: &ConsumerName) {
    let removed = provider.and_then(|db| {
        for info in admin::consumer_info(&mut **db, Some(queue), None)? {
            if belongs_to(&info.consumer, consumer) {
                admin::unregister_consumer(&mut **db, queue, &info.consumer)?;
                info!(
                    "Consumer {} unregistered at the old provider",
                    info.consumer
                );
            }
        }
        Ok(())
    });
    if let Err(error) = removed {
        warn!(
            "cannot unregister {consumer} at the old provider, whose queue keeps its events until that \
             is done: {}",
            skytools::app::chain(&error)
        );
    }
}

/// Whether a consumer is the job's own, its watermark or one of its copies.
pub(super) fn belongs_to(name: &ConsumerName, job: &ConsumerName) -> bool {
    name.as_str()
        .strip_prefix(job.as_str())
        .is_some_and(|rest| matches!(rest, "" | ".wm" | "_copy") || rest.starts_with("_copy."))
}

/// Forgets where replay and its copies are.
pub(super) fn forget_positions(tx: &mut Tx<'_>, consumer: &ConsumerName) -> Result<(), Error> {
    let positions = tx
        .query_typed("select consumer_id from londiste.completed", &[])
        .during("list the stored positions")?;
    for row in positions {
        let name: ConsumerName = row.get(0);
        if belongs_to(&name, consumer) {
            position::set_last_tick(&mut **tx, "londiste", &name, None)?;
        }
    }
    Ok(())
}

/// Name of the consumer that keeps the events which a former root needs to come back.
fn gravestone(node: &str) -> ConsumerName {
    ConsumerName::from(format!("{node}.gravestone"))
}

/// Refuses unless the configuration is a relay's.
fn need_relay_config(setup: &Setup<'_>) -> Result<(), Error> {
    if setup.config.is_relay() {
        Ok(())
    } else {
        Err(CascadeError::NeedMirrorQueue(setup.queue.clone()).into())
    }
}
