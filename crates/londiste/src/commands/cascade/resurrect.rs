use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use pgq::{ConsumerName, QueueName, TickId, admin, position};
use postgres::types::Type;
use skytools::daemon::Stop;
use skytools::db::{Connection, During, Tx};
use tracing::{info, warn};

use super::super::Outcome;
use super::super::setup::{Setup, step};
use crate::node::Promotion;
use crate::replay::job::watermark_consumer;
use crate::replay::mirror::{GLOBAL_WATERMARK, has_tick};
use crate::{CascadeError, Error, node, schema};

/// Make a former root a relay of the new one
///
/// Works on subscriber_db; provider_db is the new root. Changes that the new root never had are written to
/// a file and taken out of the queue; the tables are copied then.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Args {
    /// File for the events that are taken out, one JSON object a line
    #[arg(long, value_name = "FILE", default_value = "lost-events.json")]
    dump: PathBuf,
}

pub(in super::super) fn run(
    setup: &mut Setup<'_>,
    args: &Args,
    stop: &Stop,
) -> Result<Outcome, Error> {
    super::need_relay_config(setup)?;
    let (queue, consumer, limit) = (
        setup.queue,
        setup.consumer.clone(),
        setup.config.lock_timeout,
    );
    let (provider, db) = setup.pair()?;
    schema::require(db, schema::Side::Provider)?;
    super::lock_replay(db, &consumer, stop)?;
    schema::migrate(db)?;
    let (ours, theirs) = (node::find(db, queue)?, node::find(provider, queue)?);
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return Err(CascadeError::NothingToResurrect(queue.clone()).into());
    };
    if ours.lineage != theirs.lineage {
        return Err(CascadeError::OtherLineage {
            queue: queue.clone(),
            theirs: theirs.lineage,
            ours: ours.lineage,
        }
        .into());
    }
    let missed: Vec<Promotion> = node::promotions(provider, queue)?
        .into_iter()
        .filter(|promotion| promotion.generation > ours.generation)
        .collect();
    let last = missed.iter().map(|promotion| promotion.last_tick).min();
    let Some(last) = last else {
        return Err(CascadeError::NothingToResurrect(queue.clone()).into());
    };
    for side in [&mut *db, &mut *provider] {
        if !has_tick(side, queue, last)? {
            return Err(CascadeError::TooOld { tick: last }.into());
        }
    }
    // First what the new root may refuse, and what the end is told by last: until then it can be run again.
    for name in [consumer.clone(), watermark_consumer(&consumer)] {
        admin::register_consumer_at(&mut **provider, queue, &name, last)?;
    }
    stop_ticks(db, queue, |db| super::stop_writers(limit, db, queue, stop))?;
    let lost = step(db, |tx| {
        // For a role that does not own the schema it has to be there.
        if !schema::may_call(tx, RESURRECT)? {
            schema::upgrade(tx, schema::Side::Subscriber)?;
        }
        let lost = dump(tx, queue, last, args)?;
        turn(tx, queue, &consumer, last, lost > 0)?;
        leave_roots(tx, queue, &missed)?;
        Ok(lost)
    })?;
    if lost > 0 {
        warn!(
            "{lost} events that the new root never had are in {}; the tables are copied from it",
            args.dump.display()
        );
    }
    admin::unregister_consumer(&mut **provider, queue, &super::gravestone(&ours.name))?;
    crate::failpoint::step("resurrect.half");
    node::join(queue, &consumer, provider, db)?;
    info!("subscriber_db is a relay of queue {queue}, from tick {last} on; start replay");
    report_consumers(provider, db, queue)?;
    Ok(Outcome::Done)
}

/// Removes the consumers of nodes that became the root: they read from here no more, and would keep the events
/// here, and by the watermarks everywhere, for ever.
fn leave_roots(tx: &mut Tx<'_>, queue: &QueueName, promotions: &[Promotion]) -> Result<(), Error> {
    for info in admin::consumer_info(&mut **tx, Some(queue), None)? {
        let is_root = |promotion: &Promotion| {
            let root = ConsumerName::from(promotion.node.as_str());
            super::belongs_to(&info.consumer, &root)
        };
        if promotions.iter().any(is_root) {
            info!(
                "consumer {} is that of a root; it is unregistered here",
                info.consumer
            );
            admin::unregister_consumer(&mut **tx, queue, &info.consumer)?;
        }
    }
    Ok(())
}

/// Names the consumers that are registered here and at the new root: they moved there while this node was away,
/// unless two nodes have one name.
fn report_consumers(
    provider: &mut Connection,
    db: &mut Connection,
    queue: &QueueName,
) -> Result<(), Error> {
    let there: HashSet<ConsumerName> = admin::consumer_info(&mut **provider, Some(queue), None)?
        .into_iter()
        .map(|info| info.consumer)
        .collect();
    for info in admin::consumer_info(&mut **db, Some(queue), None)? {
        let name = info.consumer;
        if name.as_str() != GLOBAL_WATERMARK && there.contains(&name) {
            warn!(
                "consumer {name} is registered here and at the new root; if it reads from there now, this queue \
                 grows until it is unregistered here: pgqadm INI unregister {queue} {name}"
            );
        }
    }
    Ok(())
}

/// Has no tick made any more: one that comes while ticks are taken away would stay. `wait` waits for those under way.
fn stop_ticks(
    db: &mut Connection,
    queue: &QueueName,
    wait: impl FnOnce(&mut Connection) -> Result<(), Error>,
) -> Result<(), Error> {
    let set = |db: &mut Connection, value| {
        admin::set_queue_config(&mut **db, queue, "external_ticker", Some(value))
    };
    let was_external = admin::queue_info(&mut **db, Some(queue))?
        .iter()
        .any(|info| info.external_ticker);
    set(db, "true")?;
    let waited = wait(db);
    if waited.is_err() && !was_external {
        set(db, "false")?;
    }
    waited
}

/// What takes events, ticks and captures away.
const RESURRECT: &str = "londiste.node_resurrect(text,bigint,boolean)";

/// Writes the events that are not part of anything up to the tick to the file.
fn dump(tx: &mut Tx<'_>, queue: &QueueName, last: TickId, args: &Args) -> Result<usize, Error> {
    let parent: String = tx
        .query_typed_one(
            "select londiste.quote_fqname(queue_data_pfx) from pgq.queue where queue_name = $1",
            &[(queue, Type::TEXT)],
        )
        .during("look for the events")?
        .get(0);
    let rows = tx
        .query_typed(
            &format!(
                "select to_jsonb(e)::text from {parent} e \
                 where not pg_catalog.txid_visible_in_snapshot(e.ev_txid, ( \
                     select t.tick_snapshot from pgq.tick t join pgq.queue q on q.queue_id = t.tick_queue \
                     where q.queue_name = $1 and t.tick_id = $2)) \
                 order by e.ev_id"
            ),
            &[(queue, Type::TEXT), (&last, Type::INT8)],
        )
        .during("read the events that are lost")?;
    if rows.is_empty() {
        return Ok(0);
    }
    let write = || -> std::io::Result<()> {
        let mut file = File::create_new(&args.dump)?;
        for row in &rows {
            writeln!(file, "{}", row.get::<_, &str>(0))?;
        }
        file.sync_all()
    };
    write().map_err(|source| {
        Error::Cascade(CascadeError::Dump {
            file: args.dump.clone(),
            source,
        })
    })?;
    Ok(rows.len())
}

/// Turns the root into a relay that stands at the tick.
fn turn(
    tx: &mut Tx<'_>,
    queue: &QueueName,
    consumer: &ConsumerName,
    last: TickId,
    copy: bool,
) -> Result<(), Error> {
    for info in admin::consumer_info(&mut **tx, Some(queue), None)? {
        if info.last_tick.is_some_and(|tick| tick > last) {
            warn!(
                "consumer {} has read what is lost; it is unregistered",
                info.consumer
            );
            admin::unregister_consumer(&mut **tx, queue, &info.consumer)?;
        }
    }
    tx.query_typed(
        "select londiste.node_resurrect($1, $2, $3)",
        &[
            (queue, Type::TEXT),
            (&last, Type::INT8),
            (&copy, Type::BOOL),
        ],
    )
    .during("turn the queue into a relay's")?;
    position::set_last_tick(&mut **tx, "londiste", consumer, Some(last))?;
    let watermark = ConsumerName::from(GLOBAL_WATERMARK);
    admin::register_consumer_at(&mut **tx, queue, &watermark, last)?;
    Ok(())
}
