//! Finding the place in the queue, and never losing it silently.

use pgq::batch::{Batch, EventTime};
use pgq::position::{self, Position, Verdict};
use pgq::{ConsumerName, QueueName, TickId, admin};
use postgres::types::Type;
use skytools::db::{Connection, During, GenericClient, Tx};
use tracing::{info, warn};

use super::job::{Settings, is_copy_name};
use super::join;
use super::mirror;
use super::session::{SCHEMA, Session};
use super::state::{self, Actor, MergeState};
use crate::{Error, node, schema};
use skytools::snapshot::Snapshot;

/// Registers replay's consumer if it is new, and makes sure that a position is stored.
///
/// When the registration is new but the subscriber has a position and tables that rely on it, the
/// registration was lost: it is made again at that position. With `again`, for a replay that has been
/// attached before, a consumer without registration and position stays as it is: that is the work of
/// `subscriber unregister --force`.
///
/// # Errors
/// The registration was lost and the tick of the position is gone from the queue; the provider has not made
/// that tick: see [`Applied`]; or another job serves the subscriber: see [`insist_alone`].
pub(crate) fn attach(
    settings: &Settings,
    provider: &mut Session,
    subscriber: &mut Session,
    again: bool,
) -> Result<(), Error> {
    let Settings {
        queue, consumer, ..
    } = settings;
    let stored = position::last_tick(&mut **subscriber.open()?, SCHEMA, consumer)?;
    if stored.is_none() {
        insist_alone(settings, provider, subscriber)?;
    }
    if let Some(tick) = registered_at(&mut **provider.open()?, queue, consumer)? {
        if stored.is_none() {
            // Hand-overs compare positions, so there has to be one from the start.
            position::set_last_tick(&mut **subscriber.open()?, SCHEMA, consumer, Some(tick))?;
        }
        return Applied::find(provider, subscriber, queue, consumer)?.insist();
    }
    if again && stored.is_none() {
        return Ok(());
    }
    let tables = state::tables(&mut **subscriber.open()?, queue)?;
    let trusted = tables.iter().any(|table| table.state != MergeState::New);
    if let Some(tick) = stored
        && trusted
    {
        if tick_snapshot(&mut **provider.open()?, queue, tick)?.is_none() {
            return Err(Error::LostRegistration {
                consumer: consumer.clone(),
                queue: queue.clone(),
                tick,
            });
        }
        Applied::find(provider, subscriber, queue, consumer)?.insist()?;
        warn!("the consumer was not registered any more; registering it at tick {tick}");
        admin::register_consumer_at(&mut **provider.open()?, queue, consumer, tick)?;
        return Ok(());
    }
    register(settings, consumer, provider, subscriber)?;
    Ok(())
}

/// Makes sure that a consumer without a position is not the second one that applies the queue to the tables of the
/// subscriber, and takes up where the first one ended. It would be the second if the job was renamed, or the database is
/// a copy of another subscriber.
///
/// # Errors
/// Tables are in step already, and another consumer of the queue has its position there, or had it.
fn insist_alone(
    settings: &Settings,
    provider: &mut Session,
    subscriber: &mut Session,
) -> Result<(), Error> {
    let Settings {
        queue, consumer, ..
    } = settings;
    let db = subscriber.open()?;
    let tables = state::tables(db, queue)?;
    if tables.iter().all(|table| table.state == MergeState::New) {
        return Ok(());
    }
    let rows = db
        .query_typed(
            "select consumer_id, last_tick_id from londiste.completed where consumer_id <> $1 order by 1",
            &[(consumer, Type::TEXT)],
        )
        .during("list the positions of other consumers")?;
    for row in rows {
        let (other, tick): (ConsumerName, TickId) = (row.get(0), row.get(1));
        if is_copy_name(other.as_str()) {
            continue;
        }
        if registered_at(&mut **provider.open()?, queue, &other)?.is_some() {
            return Err(Error::AnotherJob {
                consumer: consumer.clone(),
                other,
                queue: queue.clone(),
            });
        }
        // Who registered this one at that tick has seen to it that nothing is lost.
        if is_of_queue(subscriber.open()?, queue, &other)?
            && registered_at(&mut **provider.open()?, queue, consumer)? != Some(tick)
        {
            return Err(Error::FormerJob {
                consumer: consumer.clone(),
                other,
                queue: queue.clone(),
                tick,
                kept: tick_snapshot(&mut **provider.open()?, queue, tick)?.is_some(),
            });
        }
    }
    Ok(())
}

/// Whether a position that the subscriber holds is, or was, one of the queue; if there are several queues, that is known
/// of the consumers that began to read them.
fn is_of_queue(
    subscriber: &mut Connection,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<bool, Error> {
    if let Some(known) = node::began_with(subscriber, consumer)? {
        return Ok(known == *queue);
    }
    let row = subscriber
        .query_typed_one(
            "select not exists ( \
                 select from londiste.subscriber_table where queue_name <> $1 \
                 union all select from londiste.subscriber_seq where queue_name <> $1)",
            &[(queue, Type::TEXT)],
        )
        .during("look for other queues")?;
    Ok(row.get(0))
}

/// Registers a consumer at the newest tick and stores that as its position. Killed in between, it
/// leaves no position or the right one.
pub(crate) fn register(
    settings: &Settings,
    consumer: &ConsumerName,
    provider: &mut Session,
    subscriber: &mut Session,
) -> Result<TickId, Error> {
    let queue = &settings.queue;
    if admin::queue_info(&mut **provider.open()?, Some(queue))?.is_empty() {
        return Err(Error::NoQueue(queue.clone()));
    }
    position::set_last_tick(&mut **subscriber.open()?, SCHEMA, consumer, None)?;
    admin::register_consumer(&mut **provider.open()?, queue, consumer)?;
    let tick = registered_at(&mut **provider.open()?, queue, consumer)?.ok_or_else(|| {
        Error::NotThere {
            consumer: consumer.clone(),
            queue: queue.clone(),
        }
    })?;
    position::set_last_tick(&mut **subscriber.open()?, SCHEMA, consumer, Some(tick))?;
    info!("registered consumer {consumer} on queue {queue} at tick {tick}");
    Ok(tick)
}

/// The position of a consumer on the subscriber, with its time, which a schema of an older version does not have.
pub(crate) fn stored(
    subscriber: &mut Connection,
    consumer: &ConsumerName,
) -> Result<Option<Position>, Error> {
    let row = subscriber
        .query_typed_opt(
            "select c.last_tick_id, (to_jsonb(c) ->> 'last_tick_time')::timestamptz \
             from londiste.completed c where c.consumer_id = $1",
            &[(consumer, Type::TEXT)],
        )
        .during("read the position and its time")?;
    Ok(row.map(|row| Position {
        tick: row.get(0),
        time: row.get(1),
    }))
}

/// Compares a batch with that position.
///
/// # Errors
/// It does not follow it, or starts or ends with another tick of its number.
pub(crate) fn check(batch: &Batch, stored: Option<Position>) -> Result<Verdict, Error> {
    match position::check(batch, stored) {
        Err(pgq::Error::OtherTick { tick, .. }) => Err(Error::LostTicks { tick, what: OTHER }),
        checked => Ok(checked?),
    }
}

/// What the provider has of the tick up to which a subscriber has applied.
///
/// A provider that was restored, or whose standby took over before it had everything, makes ticks of the same
/// numbers again, with other events. Their times tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// That tick; or nobody knows better.
    Same,
    /// It is not so far.
    Behind(TickId),
    /// Another tick of that number.
    Other(TickId),
}

/// What a tick is that is not the applied one.
const OTHER: &str = "is another one";

impl Applied {
    /// Asks both sides.
    pub(crate) fn find(
        provider: &mut Session,
        subscriber: &mut Session,
        queue: &QueueName,
        consumer: &ConsumerName,
    ) -> Result<Applied, Error> {
        Applied::find_on(provider.open()?, subscriber.open()?, queue, consumer)
    }

    /// As [`Applied::find`], on connections.
    pub(crate) fn find_on(
        provider: &mut Connection,
        subscriber: &mut Connection,
        queue: &QueueName,
        consumer: &ConsumerName,
    ) -> Result<Applied, Error> {
        let Some(Position { tick, time: known }) = stored(subscriber, consumer)? else {
            return Ok(Applied::Same);
        };
        let row = provider
            .query_typed_one(
                "select count(*) > 0, max(t.tick_time) filter (where t.tick_id = $2) \
                 from pgq.tick t join pgq.queue q on q.queue_id = t.tick_queue \
                 where q.queue_name = $1 and t.tick_id >= $2",
                &[(queue, Type::TEXT), (&tick, Type::INT8)],
            )
            .during("look for the tick of the position")?;
        let (reached, time): (bool, Option<EventTime>) = (row.get(0), row.get(1));
        Ok(match (known, time) {
            _ if !reached => Applied::Behind(tick),
            (Some(known), Some(time)) if known != time => Applied::Other(tick),
            _ => Applied::Same,
        })
    }

    /// Whether it is the tick that was applied.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn insist(self) -> Result<(), Error> {
        match self {
            Applied::Same => Ok(()),
            Applied::Behind(tick) => Err(Error::LostTicks {
                tick,
                what: "is not reached",
            }),
            Applied::Other(tick) => Err(Error::LostTicks { tick, what: OTHER }),
        }
    }
}

/// Stores that a batch is applied; belongs into its transaction. `times`: see [`keeps_times`].
pub(crate) fn store(
    tx: &mut Tx<'_>,
    consumer: &ConsumerName,
    batch: &Batch,
    times: bool,
) -> Result<(), Error> {
    if !times {
        position::set_last_tick(&mut **tx, SCHEMA, consumer, Some(batch.tick))?;
        return Ok(());
    }
    tx.query_typed_one(
        "select londiste.set_last_tick($1, $2, $3::text::timestamptz)",
        &[
            (consumer, Type::TEXT),
            (&batch.tick, Type::INT8),
            (&batch.end.to_string(), Type::TEXT),
        ],
    )
    .during("store the position at the destination")?;
    Ok(())
}

/// Whether the subscriber's schema, which may be of an older version, keeps the times of ticks.
pub(crate) fn keeps_times(subscriber: &mut Session) -> Result<bool, Error> {
    let function = "londiste.set_last_tick(text,bigint,timestamptz)";
    schema::may_call(subscriber.open()?, function)
}

/// Takes a copy's consumer and its position away.
pub(crate) fn unregister(
    settings: &Settings,
    consumer: &ConsumerName,
    provider: &mut Session,
    subscriber: &mut Session,
) -> Result<(), Error> {
    admin::unregister_consumer(&mut **provider.open()?, &settings.queue, consumer)?;
    position::set_last_tick(&mut **subscriber.open()?, SCHEMA, consumer, None)?;
    Ok(())
}

/// The last tick a registered consumer has finished; `None` if it is not registered.
pub(crate) fn registered_at(
    provider: &mut impl GenericClient,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<Option<TickId>, Error> {
    let found = admin::consumer_info(provider, Some(queue), Some(consumer))?;
    Ok(found.into_iter().find_map(|info| info.last_tick))
}

/// The snapshot of a tick; `None` if the tick is gone from the queue.
pub(crate) fn tick_snapshot(
    provider: &mut impl GenericClient,
    queue: &QueueName,
    tick: TickId,
) -> Result<Option<Snapshot>, Error> {
    let row = provider
        .query_typed_opt(
            "select t.tick_snapshot::text from pgq.tick t \
             join pgq.queue q on q.queue_id = t.tick_queue \
             where q.queue_name = $1 and t.tick_id = $2",
            &[(queue, Type::TEXT), (&tick, Type::INT8)],
        )
        .during("read the snapshot of a tick")?;
    row.map(|row| row.get::<_, String>(0).parse())
        .transpose()
        .map_err(|source| Error::TickSnapshot { tick, source })
}

/// `--rewind`: moves the consumer to the position stored on the subscriber.
pub(crate) fn rewind(
    settings: &Settings,
    provider: &mut Session,
    subscriber: &mut Session,
) -> Result<(), Error> {
    let Settings {
        queue, consumer, ..
    } = settings;
    info!("Rewinding queue");
    join::redirect(settings, provider, subscriber)?;
    let moved = node::meet(queue, consumer, provider.open()?, subscriber.open()?)?.moved;
    let Some(tick) = position::last_tick(&mut **subscriber.open()?, SCHEMA, consumer)? else {
        warn!("No tick found on dst side");
        return Ok(());
    };
    if let other @ Applied::Other(_) = Applied::find(provider, subscriber, queue, consumer)? {
        other.insist()?;
    }
    if !mirror::has_tick(provider.open()?, queue, tick)? {
        return Err(Error::TickGone {
            tick,
            queue: queue.clone(),
        });
    }
    // The ticks in their states are void when replay goes elsewhere.
    restart_copies(settings, subscriber, None, moved)?;
    admin::register_consumer_at(&mut **provider.open()?, queue, consumer, tick)?;
    node::join(queue, consumer, provider.open()?, subscriber.open()?)?;
    info!("consumer {consumer} stands at tick {tick}");
    Ok(())
}

/// `--reset`: forgets the position stored on the subscriber.
pub(crate) fn reset(settings: &Settings, subscriber: &mut Session) -> Result<(), Error> {
    info!("Resetting queue tracking on dst side");
    restart_copies(settings, subscriber, Some(&settings.consumer), false)
}

/// Puts tables in progress back to the start, with `moved` also those that were copied from another node
/// a moment ago, and forgets a position, at once.
fn restart_copies(
    settings: &Settings,
    subscriber: &mut Session,
    forget: Option<&ConsumerName>,
    moved: bool,
) -> Result<(), Error> {
    let queue = &settings.queue;
    let mut tx = subscriber.open()?.begin()?;
    for table in state::tables(&mut tx, queue)? {
        if table.state.in_progress() || moved && table.snapshot.is_some() {
            state::store(
                &mut *tx,
                queue,
                Actor::Replay,
                &table.name,
                MergeState::New,
                None,
            )?;
        }
    }
    if let Some(consumer) = forget {
        position::set_last_tick(&mut *tx, SCHEMA, consumer, None)?;
    }
    tx.commit()?;
    Ok(())
}
