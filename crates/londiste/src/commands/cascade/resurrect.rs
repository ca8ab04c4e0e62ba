use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use pgq::{ConsumerName, QueueName, TickId, admin, position};
use postgres::types::Type;
use skytools::daemon::Stop;
use skytools::db::{During, Tx};
use tracing::{info, warn};

use super::super::Outcome;
use super::super::setup::{Setup, step};
use crate::replay::job::watermark_consumer;
use crate::replay::mirror::{GLOBAL_WATERMARK, has_tick};
use crate::{CascadeError, Error, node, registry, schema};

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
    let last = node::promotions(provider, queue)?
        .into_iter()
        .filter(|promotion| promotion.generation > ours.generation)
        .map(|promotion| promotion.last_tick)
        .min();
    let Some(last) = last else {
        return Err(CascadeError::NothingToResurrect(queue.clone()).into());
    };
    for side in [&mut *db, &mut *provider] {
        if !has_tick(side, queue, last)? {
            return Err(CascadeError::TooOld { tick: last }.into());
        }
    }
    super::stop_writers(limit, db, queue, stop)?;
    let lost = step(db, |tx| {
        schema::upgrade(tx, schema::Side::Subscriber)?;
        let lost = dump(tx, queue, last, args)?;
        turn(tx, queue, &consumer, last, lost > 0)?;
        Ok(lost)
    })?;
    if lost > 0 {
        warn!(
            "{lost} events that the new root never had are in {}; the tables are copied from it",
            args.dump.display()
        );
    }
    node::join(queue, &consumer, provider, db)?;
    for name in [consumer.clone(), watermark_consumer(&consumer)] {
        admin::register_consumer_at(&mut **provider, queue, &name, last)?;
    }
    admin::unregister_consumer(&mut **provider, queue, &super::gravestone(&ours.name))?;
    info!("subscriber_db is a relay of queue {queue}, from tick {last} on; start replay");
    Ok(Outcome::Done)
}

/// Events of the queue that are not part of anything up to the tick.
const AFTER: &str = "not pg_catalog.txid_visible_in_snapshot(e.ev_txid, (select t.tick_snapshot \
     from pgq.tick t join pgq.queue q on q.queue_id = t.tick_queue \
     where q.queue_name = $1 and t.tick_id = $2))";

/// Writes the events after the tick to the file, and deletes them.
fn dump(tx: &mut Tx<'_>, queue: &QueueName, last: TickId, args: &Args) -> Result<u64, Error> {
    let parent: String = tx
        .query_typed_one(
            "select londiste.quote_fqname(queue_data_pfx) from pgq.queue where queue_name = $1",
            &[(queue, Type::TEXT)],
        )
        .during("look for the events")?
        .get(0);
    let parameters: [(&(dyn postgres::types::ToSql + Sync), Type); 2] =
        [(queue, Type::TEXT), (&last, Type::INT8)];
    let rows = tx
        .query_typed(
            &format!("select to_jsonb(e)::text from {parent} e where {AFTER} order by e.ev_id"),
            &parameters,
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
    tx.execute_typed(
        &format!("delete from {parent} e where {AFTER}"),
        &parameters,
    )
    .during("delete the events that are lost")?;
    Ok(rows.len() as u64)
}

/// Turns the root into a relay that stands at the tick.
fn turn(
    tx: &mut Tx<'_>,
    queue: &QueueName,
    consumer: &ConsumerName,
    last: TickId,
    copy: bool,
) -> Result<(), Error> {
    for table in registry::provider_tables(tx, queue)? {
        tx.query_typed(
            "select londiste.provider_drop_trigger(table_name, trigger_name) \
             from londiste.provider_table \
             where queue_name = $1 and table_name = $2 and trigger_name is not null",
            &[(queue, Type::TEXT), (&table, Type::TEXT)],
        )
        .during(format!("end the capture of {table}"))?;
    }
    for info in admin::consumer_info(&mut **tx, Some(queue), None)? {
        if info.last_tick.is_some_and(|tick| tick > last) {
            warn!(
                "consumer {} has read what is lost; it is unregistered",
                info.consumer
            );
            admin::unregister_consumer(&mut **tx, queue, &info.consumer)?;
        }
    }
    let statements = [
        "update pgq.subscription s set sub_batch = null, sub_next_tick = null \
         from pgq.queue q where q.queue_id = s.sub_queue and q.queue_name = $1 \
         and s.sub_next_tick > $2",
        "delete from pgq.tick t using pgq.queue q where q.queue_id = t.tick_queue \
         and q.queue_name = $1 and t.tick_id > $2",
        "update pgq.queue set queue_external_ticker = true, queue_disable_insert = true \
         where queue_name = $1 and $2 is not null",
        "insert into londiste.link (source, dest) select $1, $1 where $2 is not null \
         on conflict do nothing",
        "insert into londiste.subscriber_seq (queue_name, seq_name) \
         select queue_name, seq_name from londiste.provider_seq \
         where queue_name = $1 and $2 is not null order by nr on conflict do nothing",
        "update londiste.provider_table set trigger_name = null \
         where queue_name = $1 and $2 is not null",
        "insert into londiste.subscriber_table (queue_name, table_name, merge_state) \
         select queue_name, table_name, 'ok' from londiste.provider_table \
         where queue_name = $1 and $2 is not null order by nr on conflict do nothing",
        "update londiste.node_info set paused = false, provider_dsn = null \
         where queue_name = $1 and $2 is not null",
    ];
    for statement in statements {
        tx.execute_typed(statement, &[(queue, Type::TEXT), (&last, Type::INT8)])
            .during("turn the queue into a relay's")?;
    }
    if copy {
        tx.query_typed(
            "select londiste.subscriber_set_table_state(queue_name, table_name, null, null) \
             from londiste.subscriber_table where queue_name = $1",
            &[(queue, Type::TEXT)],
        )
        .during("let the tables be copied")?;
    }
    position::set_last_tick(&mut **tx, "londiste", consumer, Some(last))?;
    let watermark = ConsumerName::from(GLOBAL_WATERMARK);
    admin::register_consumer_at(&mut **tx, queue, &watermark, last)?;
    Ok(())
}
