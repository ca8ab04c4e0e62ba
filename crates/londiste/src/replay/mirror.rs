//! The queue of a relay: the provider's events and ticks, under the same ids.
//!
//! The events of a batch are copied in the transaction that applies it. The tick that ends it comes in
//! a second one, because its snapshot has to see the first as committed; a process that died in
//! between finds the tick missing, and makes it.

use std::ops::ControlFlow;
use std::time::Instant;

use pgq::batch::Batch;
use pgq::{ConsumerName, QueueName, TickId, admin};
use postgres::types::Type;
use skytools::db::{Connection, DbError, During, Session as DbSession, Tx};
use skytools::full_copy::FullCopy;
use skytools::table::{self, TableName};
use tracing::{debug, info};

use super::job::{RelaySettings, Settings};
use crate::{CascadeError, Error, failpoint};

/// Consumer that keeps a relay's events until every node has applied them.
pub(crate) const GLOBAL_WATERMARK: &str = ".global_watermark";

/// Fields of an event that a relay keeps; the transaction is its own.
const COLUMNS: [&str; 8] = [
    "ev_id",
    "ev_time",
    "ev_type",
    "ev_data",
    "ev_extra1",
    "ev_extra2",
    "ev_extra3",
    "ev_extra4",
];

/// The relay's side of replay.
#[derive(Debug)]
pub(crate) struct Mirror {
    queue: QueueName,
    /// Newest tick of the mirror.
    top: Option<TickId>,
    /// When the provider was told last what may go here.
    published: Option<Instant>,
}

impl Mirror {
    pub(crate) fn on(queue: &QueueName) -> Mirror {
        Mirror {
            queue: queue.clone(),
            top: None,
            published: None,
        }
    }

    /// Looks how far the mirror is, and makes the tick that is missing if replay died before it.
    /// `stored` is the position of replay.
    ///
    /// # Errors
    /// A statement failed.
    pub(crate) fn attach(
        &mut self,
        stored: Option<TickId>,
        provider: &mut Connection,
        subscriber: &mut Connection,
    ) -> Result<(), Error> {
        let top = top_tick(subscriber, &self.queue)?;
        self.top = top;
        if let (Some(top), Some(stored)) = (top, stored)
            && top < stored
            && previous_tick(provider, &self.queue, stored)? == Some(top)
        {
            self.tick(stored, provider, subscriber)?;
        }
        Ok(())
    }

    /// Makes sure that the mirror ends where `batch` begins, or, if the batch is applied, where it ends.
    ///
    /// # Errors
    /// It ends elsewhere.
    pub(crate) fn settle(
        &mut self,
        batch: &Batch,
        applied: bool,
        provider: &mut Connection,
        subscriber: &mut Connection,
    ) -> Result<(), Error> {
        let top = match self.top {
            Some(top) => top,
            None => top_tick(subscriber, &self.queue)?.unwrap_or(TickId::from(0)),
        };
        if applied && top == batch.tick {
            return Ok(());
        }
        if top != batch.prev_tick {
            let expected = match applied {
                true => format!("{} or {}", batch.prev_tick, batch.tick),
                false => batch.prev_tick.to_string(),
            };
            return Err(CascadeError::MirrorTick { top, expected }.into());
        }
        if applied {
            self.tick(batch.tick, provider, subscriber)?;
        }
        Ok(())
    }

    /// Copies all events of the batch, whatever they are, in the transaction that applies it.
    pub(crate) fn copy_events(
        &self,
        provider: &mut Connection,
        batch: &Batch,
        tx: &mut Tx<'_>,
    ) -> Result<(), Error> {
        let mut source = provider.begin()?;
        let query: String = source
            .query_typed_one("select pgq.batch_event_sql($1)", &[(&batch.id, Type::INT8)])
            .during("ask for the query of the batch")?
            .get(0);
        let target: String = tx
            .query_typed_one(
                "select londiste.mirror_table($1)",
                &[(&self.queue, Type::TEXT)],
            )
            .during("look for the table of the mirror")?
            .get(0);
        let copied = FullCopy::new(&TableName::parse(&target))
            .of_query(&format!("select {} from ({query}\n) e", COLUMNS.join(", ")))
            .columns(&COLUMNS)
            .run(&mut source, tx, |_| ControlFlow::Continue(()))?;
        source.commit()?;
        if copied.rows > 0 {
            tx.query_typed(
                "select londiste.mirror_advance($1)",
                &[(&self.queue, Type::TEXT)],
            )
            .during("advance the event sequence of the mirror")?;
        }
        Ok(())
    }

    /// Ends a batch of the mirror; its events must be committed.
    pub(crate) fn tick(
        &mut self,
        tick: TickId,
        provider: &mut Connection,
        subscriber: &mut Connection,
    ) -> Result<(), Error> {
        failpoint::step("relay.before_tick");
        store_tick(&self.queue, tick, provider, subscriber)?;
        self.top = Some(tick);
        failpoint::step("relay.ticked");
        Ok(())
    }

    /// Moves the mirror's own watermark to what the root says everybody has applied. A tick that is
    /// not here, or is behind it, is ignored.
    pub(crate) fn pin(&self, tick: TickId, subscriber: &mut Connection) -> Result<(), Error> {
        let consumer = ConsumerName::from(GLOBAL_WATERMARK);
        let now = admin::consumer_position(&mut **subscriber, &self.queue, &consumer)?;
        if now.is_some_and(|now| now < tick) && has_tick(subscriber, &self.queue, tick)? {
            admin::register_consumer_at(&mut **subscriber, &self.queue, &consumer, tick)?;
            debug!("all nodes have applied tick {tick}");
        }
        Ok(())
    }

    /// Tells the provider what may go here, and the root to tell everybody, when it is time.
    pub(crate) fn publish(
        &mut self,
        settings: &Settings,
        relay: RelaySettings,
        provider: &mut Connection,
        subscriber: &mut Connection,
    ) -> Result<(), Error> {
        if (self.published).is_some_and(|last| last.elapsed() < relay.local_watermark) {
            return Ok(());
        }
        self.published = Some(Instant::now());
        learn_captures(&self.queue, provider, subscriber)?;
        publish_local(settings, provider, subscriber)?;
        let period = format!("{} seconds", relay.global_watermark.as_secs_f64());
        provider
            .query_typed(
                "select londiste.publish_watermark($1, $2::text::interval) \
                 where coalesce(has_function_privilege(to_regprocedure( \
                     'londiste.publish_watermark(text,interval)')::oid, 'execute'), false)",
                &[(&self.queue, Type::TEXT), (&period, Type::TEXT)],
            )
            .during("publish the watermark")?;
        Ok(())
    }

    /// Asks the provider for a tick if a table is being handed over on a node behind this one: its
    /// copy can ask nobody else.
    pub(crate) fn hurry(
        &self,
        provider: &mut Connection,
        subscriber: &mut Connection,
    ) -> Result<(), Error> {
        let consumers = admin::consumer_info(&mut **subscriber, Some(&self.queue), None)?;
        let is_copy = |name: &str| name.ends_with("_copy") || name.contains("_copy.");
        if consumers.iter().any(|info| is_copy(info.consumer.as_str())) {
            admin::force_tick(&mut **provider, &self.queue)?;
        }
        Ok(())
    }
}

/// Moves the watermark consumer on the provider to the oldest position among this node's own and those
/// of its subscribers, never back.
pub(crate) fn publish_local(
    settings: &Settings,
    provider: &mut Connection,
    subscriber: &mut Connection,
) -> Result<(), Error> {
    let queue = &settings.queue;
    let row = subscriber
        .query_typed_one(
            "select least(londiste.get_last_tick($2), min(s.sub_last_tick)) \
             from pgq.queue q \
             left join (pgq.subscription s \
                        join pgq.consumer c on c.co_id = s.sub_consumer and c.co_name <> $3) \
               on s.sub_queue = q.queue_id \
             where q.queue_name = $1",
            &[
                (queue, Type::TEXT),
                (&settings.consumer, Type::TEXT),
                (&GLOBAL_WATERMARK, Type::TEXT),
            ],
        )
        .during("look what the subscribers of this relay have applied")?;
    let Some(tick) = row.get::<_, Option<TickId>>(0) else {
        return Ok(());
    };
    let consumer = settings.watermark_consumer();
    let now = admin::consumer_position(&mut **provider, queue, &consumer)?;
    if now.is_none_or(|now| now < tick) && has_tick(provider, queue, tick)? {
        admin::register_consumer_at(&mut **provider, queue, &consumer, tick)?;
    }
    Ok(())
}

/// Notes how the provider captures tables, for the day when this node is promoted.
fn learn_captures(
    queue: &QueueName,
    provider: &mut Connection,
    subscriber: &mut Connection,
) -> Result<(), Error> {
    let row = provider
        .query_typed_one(
            "select coalesce(jsonb_agg(to_jsonb(t)), '[]')::text from londiste.provider_table t \
             where queue_name = $1",
            &[(queue, Type::TEXT)],
        )
        .during("read how tables are captured")?;
    let tables: String = row.get(0);
    subscriber
        .query_typed(
            "select londiste.link_captures($1, $2::text::jsonb)",
            &[(queue, Type::TEXT), (&tables, Type::TEXT)],
        )
        .during("note how tables are captured")?;
    Ok(())
}

/// Makes sure that configuration and database agree on whether the subscriber is a relay.
///
/// # Errors
/// They do not.
pub(crate) fn check_role(
    configured: bool,
    subscriber: &mut DbSession<'_>,
    queue: &QueueName,
) -> Result<(), Error> {
    match (configured, is_relay(subscriber, queue)?) {
        (true, false) if is_root(subscriber, queue)? => {
            Err(CascadeError::IsRoot(queue.clone()).into())
        }
        (true, false) => Err(CascadeError::NotRelay(queue.clone()).into()),
        (false, true) => Err(CascadeError::MirrorMissing(queue.clone()).into()),
        _ => Ok(()),
    }
}

/// Whether the database is a relay of the queue.
pub(crate) fn is_relay(db: &mut DbSession<'_>, queue: &QueueName) -> Result<bool, Error> {
    let row = db
        .query_typed_one("select londiste.link_dest($1) = $1", &[(queue, Type::TEXT)])
        .during("look whether this is a relay")?;
    Ok(row.get::<_, Option<bool>>(0).unwrap_or_default())
}

/// Whether the database makes the ticks of the queue itself.
pub(crate) fn is_root(db: &mut DbSession<'_>, queue: &QueueName) -> Result<bool, Error> {
    if !table::exists_schema(db, "pgq")? {
        return Ok(false);
    }
    let queues = admin::queue_info(db, Some(queue))?;
    Ok(queues.iter().any(|info| !info.external_ticker))
}

/// The newest tick of the queue.
pub(crate) fn top_tick(
    db: &mut DbSession<'_>,
    queue: &QueueName,
) -> Result<Option<TickId>, DbError> {
    let row = db
        .query_typed_one(
            "select max(t.tick_id) from pgq.tick t \
             join pgq.queue q on q.queue_id = t.tick_queue where q.queue_name = $1",
            &[(queue, Type::TEXT)],
        )
        .during("look for the newest tick")?;
    Ok(row.get(0))
}

/// The tick before another one, if the queue still has it.
fn previous_tick(
    db: &mut DbSession<'_>,
    queue: &QueueName,
    tick: TickId,
) -> Result<Option<TickId>, DbError> {
    let row = db
        .query_typed_one(
            "select max(t.tick_id) from pgq.tick t \
             join pgq.queue q on q.queue_id = t.tick_queue \
             where q.queue_name = $1 and t.tick_id < $2",
            &[(queue, Type::TEXT), (&tick, Type::INT8)],
        )
        .during("look for a tick")?;
    Ok(row.get(0))
}

/// Whether the queue has the tick.
pub(crate) fn has_tick(
    db: &mut DbSession<'_>,
    queue: &QueueName,
    tick: TickId,
) -> Result<bool, DbError> {
    let row = db
        .query_typed_one(
            "select exists (select from pgq.tick t \
             join pgq.queue q on q.queue_id = t.tick_queue \
             where q.queue_name = $1 and t.tick_id = $2)",
            &[(queue, Type::TEXT), (&tick, Type::INT8)],
        )
        .during("look for a tick")?;
    Ok(row.get(0))
}

/// Stores a tick of the provider on the relay.
fn store_tick(
    queue: &QueueName,
    tick: TickId,
    provider: &mut DbSession<'_>,
    subscriber: &mut DbSession<'_>,
) -> Result<(), Error> {
    let row = provider
        .query_typed_opt(
            "select t.tick_time::text, t.tick_event_seq from pgq.tick t \
             join pgq.queue q on q.queue_id = t.tick_queue \
             where q.queue_name = $1 and t.tick_id = $2",
            &[(queue, Type::TEXT), (&tick, Type::INT8)],
        )
        .during("read a tick")?;
    let (time, event_seq): (Option<String>, Option<i64>) = match row {
        Some(row) => (row.get(0), row.get(1)),
        None => (None, None),
    };
    subscriber
        .query_typed(
            "select londiste.mirror_tick($1, $2, $3::text::timestamptz, $4)",
            &[
                (queue, Type::TEXT),
                (&tick, Type::INT8),
                (&time, Type::TEXT),
                (&event_seq, Type::INT8),
            ],
        )
        .during(format!("store tick {tick}"))?;
    Ok(())
}

/// Makes the tick that is missing on the relay, when no provider can be asked.
pub(crate) fn complete(
    queue: &QueueName,
    stored: TickId,
    subscriber: &mut DbSession<'_>,
) -> Result<(), Error> {
    let top = top_tick(subscriber, queue)?.unwrap_or(TickId::from(0));
    if top == stored {
        return Ok(());
    }
    if top > stored {
        return Err(CascadeError::MirrorTick {
            top,
            expected: stored.to_string(),
        }
        .into());
    }
    info!("storing tick {stored}, whose events are here");
    subscriber
        .query_typed(
            "select londiste.mirror_tick($1, $2, null, null)",
            &[(queue, Type::TEXT), (&stored, Type::INT8)],
        )
        .during(format!("store tick {stored}"))?;
    Ok(())
}
