use pgq::{ConsumerName, QueueName, TickId, admin, position};
use postgres::types::Type;
use skytools::daemon::Stop;
use skytools::db::{Connection, During, Tx};
use tracing::info;

use super::super::Outcome;
use super::super::setup::Setup;
use crate::replay::attach::registered_at;
use crate::replay::job::watermark_consumer;
use crate::replay::mirror::{self, GLOBAL_WATERMARK};
use crate::{Error, node, schema};

/// Settings of the queue that a relay needs when it is promoted.
const SETTINGS: [&str; 5] = [
    "ticker_max_count",
    "ticker_max_lag",
    "ticker_idle_period",
    "rotation_period",
    "notify",
];

/// Gives the subscriber a queue of its own, with the provider's ticks, that begins where replay stands.
pub(in super::super) fn run(setup: &mut Setup<'_>, stop: &Stop) -> Result<Outcome, Error> {
    super::need_relay_config(setup)?;
    let (queue, consumer) = (setup.queue, setup.consumer.clone());
    let (provider, subscriber) = setup.pair()?;
    super::lock_replay(subscriber, &consumer, stop)?;
    node::meet(queue, &consumer, provider, subscriber)?;
    if mirror::is_relay(subscriber, queue)? {
        info!("subscriber_db is a relay of queue {queue} already");
        return Ok(Outcome::Done);
    }
    if admin::queue_info(&mut **provider, Some(queue))?.is_empty() {
        return Err(Error::NoQueue(queue.clone()));
    }
    let tick = stand(provider, subscriber, queue, &consumer)?;
    let row = provider
        .query_typed_one(
            &format!(
                "select t.tick_time::text, t.tick_event_seq, array[{}] from pgq.tick t \
                 join pgq.queue q on q.queue_id = t.tick_queue \
                 where q.queue_name = $1 and t.tick_id = $2",
                SETTINGS
                    .map(|name| format!("q.queue_{name}::text"))
                    .join(", ")
            ),
            &[(queue, Type::TEXT), (&tick, Type::INT8)],
        )
        .during("read the tick where replay stands")?;
    let (time, event_seq): (String, i64) = (row.get(0), row.get(1));
    let values: Vec<Option<String>> = row.get(2);

    let create = |tx: &mut Tx<'_>| -> Result<(), Error> {
        pgq::schema::install(tx)?;
        schema::upgrade(tx, schema::Side::Subscriber)?;
        tx.query_typed(
            "select londiste.relay_create($1, $2, $3::text::timestamptz, $4)",
            &[
                (queue, Type::TEXT),
                (&tick, Type::INT8),
                (&time, Type::TEXT),
                (&event_seq, Type::INT8),
            ],
        )
        .during("create the queue of the relay")?;
        for (name, value) in SETTINGS.iter().zip(&values) {
            admin::set_queue_config(&mut **tx, queue, name, value.as_deref())?;
        }
        let watermark = ConsumerName::from(GLOBAL_WATERMARK);
        admin::register_consumer_at(&mut **tx, queue, &watermark, tick)?;
        Ok(())
    };
    super::step(subscriber, create)?;
    node::join(queue, &consumer, provider, subscriber)?;
    admin::register_consumer_at(&mut **provider, queue, &watermark_consumer(&consumer), tick)?;
    info!("subscriber_db is a relay of queue {queue}, from tick {tick} on");
    Ok(Outcome::Done)
}

/// Where replay stands; it is registered if it never was.
fn stand(
    provider: &mut Connection,
    subscriber: &mut Connection,
    queue: &QueueName,
    consumer: &ConsumerName,
) -> Result<TickId, Error> {
    let stored = position::last_tick(&mut **subscriber, "londiste", consumer)?;
    let registered = registered_at(&mut **provider, queue, consumer)?;
    match (stored, registered) {
        (Some(tick), Some(_)) => Ok(tick),
        (Some(tick), None) => {
            admin::register_consumer_at(&mut **provider, queue, consumer, tick)?;
            Ok(tick)
        }
        (None, _) => {
            admin::register_consumer(&mut **provider, queue, consumer)?;
            let tick = registered_at(&mut **provider, queue, consumer)?.ok_or_else(|| {
                Error::NotThere {
                    consumer: consumer.clone(),
                    queue: queue.clone(),
                }
            })?;
            position::set_last_tick(&mut **subscriber, "londiste", consumer, Some(tick))?;
            Ok(tick)
        }
    }
}
