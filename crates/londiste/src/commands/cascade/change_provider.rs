use std::time::{Duration, Instant};

use pgq::{ConsumerName, QueueName, TickId, admin, lock, position};
use postgres::types::Type;
use skytools::conninfo::ConnInfo;
use skytools::daemon::Stop;
use skytools::db::{Connection, Database, During, denied_on};
use tracing::{info, warn};

use super::super::Outcome;
use super::super::setup::{ANOTHER, Setup, step};
use crate::grants::{self, Work};
use crate::replay::attach::Applied;
use crate::replay::job::watermark_consumer;
use crate::replay::mirror::{self, has_tick, top_tick};
use crate::replay::state::{self, Actor, MergeState};
use crate::schema::Side;
use crate::{CascadeError, Error, node, schema};

/// How many times `lock_timeout` replay may take to come to the end of its batch.
const PATIENCE: u32 = 6;

/// How long the server waits at a time, so that a signal is heard.
const ATTEMPT: Duration = Duration::from_millis(500);

/// Read the queue from another node of the cascade from now on
///
/// Replay may run: it makes way after its batch, and goes on at the new provider. That must have the tick up to
/// which this subscriber has applied.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Args {
    /// Connect string of the new provider
    #[arg(value_name = "DSN")]
    dsn: String,
    /// How many seconds to wait for a provider that is behind this subscriber, and for tables that replay is
    /// about to take over from their copies
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    wait: f64,
    /// Store nothing on the subscriber: provider_db of the configuration is changed by hand, with replay stopped
    #[arg(long)]
    no_store: bool,
}

pub(in super::super) fn run(
    setup: &mut Setup<'_>,
    args: &Args,
    stop: &Stop,
) -> Result<Outcome, Error> {
    let conninfo = ConnInfo::parse(&args.dsn).map_err(|source| Error::ConnInfo {
        key: ANOTHER,
        source,
    })?;
    let mut new = setup.database(conninfo.clone());
    turn_to(setup, args, stop, &mut new, &conninfo).map_err(|error| {
        match denied_on(&error) == Some(ANOTHER) {
            true => grants::explain_at(error, &mut new, Side::Provider, Work::Cascade),
            false => error,
        }
    })
}

fn turn_to(
    setup: &mut Setup<'_>,
    args: &Args,
    stop: &Stop,
    new: &mut Database,
    conninfo: &ConnInfo,
) -> Result<Outcome, Error> {
    let (queue, consumer, force) = (setup.queue, setup.consumer.clone(), setup.options.force);
    let patience = setup.config.lock_timeout * PATIENCE;
    let subscriber = setup.subscriber()?;
    let Some(tick) = position::last_tick(&mut **subscriber, "londiste", &consumer)? else {
        return Err(CascadeError::NoPosition(consumer).into());
    };
    let provider = new.connection()?;
    let is_node = match schema::require(provider, Side::Provider) {
        Ok(()) => !admin::queue_info(&mut **provider, Some(queue))?.is_empty(),
        Err(Error::NotInstalled { .. }) => false,
        Err(error) => return Err(error),
    };
    if !is_node {
        return Err(CascadeError::NoNode(queue.clone()).into());
    }
    // What is wrong is said before replay is disturbed.
    meet(queue, &consumer, provider, subscriber)?;
    if !args.no_store && !node::can_join(queue, provider, subscriber)? {
        return Err(CascadeError::CannotStore(queue.clone()).into());
    }
    await_settled(args.wait, subscriber, queue, &consumer, force, stop)?;
    await_tick(args.wait, provider, queue, tick, stop)?;
    match args.no_store {
        true => super::lock_replay(subscriber, &consumer, stop)?,
        false => ask_replay(subscriber, &consumer, patience, stop)?,
    }
    // Replay may have come further.
    let Some(tick) = position::last_tick(&mut **subscriber, "londiste", &consumer)? else {
        return Err(CascadeError::NoPosition(consumer).into());
    };
    await_tick(args.wait, provider, queue, tick, stop)?;
    meet(queue, &consumer, provider, subscriber)?;
    settle_tables(subscriber, queue, force)?;
    if mirror::is_relay(subscriber, queue)? {
        let mut relay = mirror::Mirror::on(queue);
        relay.attach(Some(tick), provider, subscriber)?;
    }

    // A batch that was open there is given up with the old position.
    admin::register_consumer_at(&mut **provider, queue, &consumer, tick)?;
    if setup.config.is_relay() {
        admin::register_consumer_at(&mut **provider, queue, &watermark_consumer(&consumer), tick)?;
    }
    info!("Consumer {consumer} stands at tick {tick} of the new provider");
    // Before the old one is forgotten.
    let mut old = setup.provider_database()?;
    let subscriber = setup.subscriber()?;
    node::join(queue, &consumer, provider, subscriber)?;
    store(
        subscriber,
        queue,
        (!args.no_store).then_some(args.dsn.as_str()),
    )?;
    match args.no_store {
        false => info!("provider of queue {queue} from now on: {conninfo}"),
        true => info!("to be set in the configuration: provider_db = {conninfo}"),
    }
    // Replay need not wait for the farewell to a server that may not answer.
    lock::release_consumer(&mut **subscriber, "londiste", &consumer)?;
    if !same_node(&mut old, provider, queue)? {
        super::leave(old.connection().map_err(Error::from), queue, &consumer);
    }
    Ok(Outcome::Done)
}

/// Makes sure that the position means something at the provider.
fn meet(
    queue: &QueueName,
    consumer: &ConsumerName,
    provider: &mut Connection,
    subscriber: &mut Connection,
) -> Result<(), Error> {
    node::meet(queue, consumer, provider, subscriber)?;
    match Applied::find_on(provider, subscriber, queue, consumer)? {
        // It may get there.
        Applied::Same | Applied::Behind(_) => Ok(()),
        other => other.insist(),
    }
}

/// Takes the lock of replay for the rest of the command; one that runs gives it between two batches.
fn ask_replay(
    db: &mut Connection,
    consumer: &ConsumerName,
    patience: Duration,
    stop: &Stop,
) -> Result<(), Error> {
    let start = Instant::now();
    if lock::try_consumer(&mut **db, "londiste", consumer)? {
        return Ok(());
    }
    info!("waiting for replay to make way");
    while !lock::ask_for_consumer(db, "londiste", consumer, ATTEMPT)? {
        if stop.requested() {
            return Err(Error::Interrupted);
        }
        if !patience.is_zero() && start.elapsed() > patience {
            return Err(CascadeError::ReplayStays {
                consumer: consumer.clone(),
                limit: patience,
            }
            .into());
        }
    }
    Ok(())
}

/// Waits until the provider has the tick.
fn await_tick(
    seconds: f64,
    provider: &mut Connection,
    queue: &QueueName,
    tick: TickId,
    stop: &Stop,
) -> Result<(), Error> {
    let wait = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    let start = Instant::now();
    loop {
        // In this order: the tick may come between the two.
        let top = top_tick(provider, queue)?;
        if has_tick(provider, queue, tick)? {
            return Ok(());
        }
        let behind = top.is_none_or(|top| top < tick);
        if !behind || start.elapsed() >= wait {
            let row = provider
                .query_typed_one(
                    "select coalesce(min(t.tick_id) || ' to ' || max(t.tick_id), 'none') \
                     from pgq.tick t join pgq.queue q on q.queue_id = t.tick_queue \
                     where q.queue_name = $1",
                    &[(queue, Type::TEXT)],
                )
                .during("look for ticks")?;
            return Err(CascadeError::TickNotThere {
                tick,
                range: row.get(0),
            }
            .into());
        }
        if stop.sleep(super::POLL) {
            return Err(Error::Interrupted);
        }
    }
}

/// Refuses while copies depend on the old provider, unless they may begin again.
fn need_settled(subscriber: &mut Connection, queue: &QueueName, force: bool) -> Result<(), Error> {
    match state::unsettled(subscriber, queue)?.first() {
        Some(table) if !force => Err(CascadeError::CopyOfOther {
            table: table.name.clone(),
            state: match table.state {
                MergeState::Ok => "copied a moment ago".to_owned(),
                state => state.to_string(),
            },
        }
        .into()),
        _ => Ok(()),
    }
}

/// As [`need_settled`], after waiting for tables that replay, if it runs, will settle.
fn await_settled(
    seconds: f64,
    subscriber: &mut Connection,
    queue: &QueueName,
    consumer: &ConsumerName,
    force: bool,
    stop: &Stop,
) -> Result<(), Error> {
    let wait = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    let start = Instant::now();
    loop {
        let runs = lock::is_consumer_locked(&mut **subscriber, "londiste", consumer)?;
        match need_settled(subscriber, queue, force) {
            Err(Error::Cascade(CascadeError::CopyOfOther { .. }))
                if runs && start.elapsed() < wait => {}
            result => return result,
        }
        if stop.sleep(super::POLL) {
            return Err(Error::Interrupted);
        }
    }
}

/// As [`need_settled`], and has them begin again.
fn settle_tables(subscriber: &mut Connection, queue: &QueueName, force: bool) -> Result<(), Error> {
    need_settled(subscriber, queue, force)?;
    let unsettled = state::unsettled(subscriber, queue)?;
    step(subscriber, |tx| {
        for table in &unsettled {
            warn!("{} will be copied from the new provider", table.name);
            let (name, new) = (&table.name, MergeState::New);
            state::store(&mut **tx, queue, Actor::Replay, name, new, None)?;
        }
        Ok(())
    })
}

fn store(subscriber: &mut Connection, queue: &QueueName, dsn: Option<&str>) -> Result<(), Error> {
    subscriber
        .execute_typed(
            "update londiste.node_info set provider_dsn = $2 where queue_name = $1",
            &[(queue, Type::TEXT), (&dsn, Type::TEXT)],
        )
        .during("store the provider")?;
    Ok(())
}

/// Whether the old provider is the new one; one that does not answer is not.
fn same_node(old: &mut Database, new: &mut Connection, queue: &QueueName) -> Result<bool, Error> {
    let new = node::identity(new, queue)?;
    Ok(match old.connection() {
        Ok(old) => node::identity(old, queue).is_ok_and(|old| old == new),
        Err(_) => false,
    })
}
