use std::time::{Duration, Instant};

use pgq::{QueueName, TickId, admin, position};
use postgres::types::Type;
use skytools::daemon::Stop;
use skytools::db::{Connection, During};
use tracing::info;

use super::super::Outcome;
use super::super::setup::{Setup, step};
use crate::replay::mirror::{self, top_tick};
use crate::{CascadeError, Error, node};

/// End the writing on the root, so that a relay can take over
///
/// Works on provider_db. Changes of replicated tables are errors there from now on. Then it waits until
/// subscriber_db has applied the last tick; `provider promote` is next.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Args {
    /// How many seconds to wait for subscriber_db
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    wait: f64,
    /// Take it back: the root writes again
    #[arg(long)]
    cancel: bool,
}

pub(in super::super) fn run(
    setup: &mut Setup<'_>,
    args: &Args,
    stop: &Stop,
) -> Result<Outcome, Error> {
    if !args.cancel {
        super::need_relay_config(setup)?;
    }
    let (queue, consumer, limit) = (
        setup.queue,
        setup.consumer.clone(),
        setup.config.lock_timeout,
    );
    let db = setup.provider()?;
    let Some(info) = admin::queue_info(&mut **db, Some(queue))?
        .into_iter()
        .next()
    else {
        return Err(Error::NoQueue(queue.clone()));
    };
    crate::schema::migrate(db)?;
    let node = match node::find(db, queue)? {
        None => node::create(db, queue)?,
        known => known,
    };
    let paused = node.is_some_and(|node| node.paused);
    if info.external_ticker && !paused {
        return Err(CascadeError::NotRoot(queue.clone()).into());
    }
    if args.cancel {
        // Also when it is not demoted yet: an attempt that died half-way has closed the queue.
        switch(db, queue, false)?;
        info!("provider_db is the root of queue {queue}, and takes changes");
        return Ok(Outcome::Done);
    }
    if !paused {
        let force = setup.options.force;
        let relay = setup.subscriber()?;
        // Nobody else could take over.
        if !mirror::is_relay(relay, queue)? {
            return Err(CascadeError::NotRelay(queue.clone()).into());
        }
        super::need_whole(relay, queue, force)?;
    }
    let db = setup.provider()?;
    if !paused {
        super::stop_writers(limit, db, queue, stop)?;
        crate::failpoint::step("demote.half");
        last_tick(db, queue, stop)?;
        switch(db, queue, true)?;
        info!("provider_db takes no changes of queue {queue} any more");
    }
    let Some(last) = top_tick(db, queue)? else {
        return Err(Error::TickerDead);
    };
    info!("its last tick is {last}");
    let wait = Duration::try_from_secs_f64(args.wait.max(0.0)).unwrap_or(Duration::MAX);
    let start = Instant::now();
    loop {
        let applied = position::last_tick(&mut **setup.subscriber()?, "londiste", &consumer)?;
        if applied.is_some_and(|applied| applied >= last) {
            info!(
                "subscriber_db has applied it; stop replay there, then: londiste INI provider promote"
            );
            return Ok(Outcome::Done);
        }
        if start.elapsed() >= wait {
            let applied =
                applied.map_or_else(|| "nothing".to_owned(), |tick| format!("tick {tick}"));
            return Err(CascadeError::NotApplied { last, applied }.into());
        }
        if stop.sleep(super::POLL) {
            return Err(Error::Interrupted);
        }
    }
}

/// Makes a tick that covers everything committed before.
fn last_tick(db: &mut Connection, queue: &QueueName, stop: &Stop) -> Result<(), Error> {
    let before: Option<TickId> = top_tick(db, queue)?;
    loop {
        admin::force_tick(&mut **db, queue)?;
        // Another session may be ticking, with a snapshot from before.
        if let Some(tick) = admin::tick_queue(&mut **db, queue)?
            && Some(tick) > before
        {
            return Ok(());
        }
        if stop.sleep(super::POLL) {
            return Err(Error::Interrupted);
        }
    }
}

fn switch(db: &mut Connection, queue: &QueueName, demoted: bool) -> Result<(), Error> {
    step(db, |tx| {
        let value = Some(if demoted { "true" } else { "false" });
        admin::set_queue_config(&mut **tx, queue, "external_ticker", value)?;
        admin::set_queue_config(&mut **tx, queue, "disable_insert", value)?;
        tx.execute_typed(
            "update londiste.node_info set paused = $2 where queue_name = $1",
            &[(queue, Type::TEXT), (&demoted, Type::BOOL)],
        )
        .during("note that the root is demoted")?;
        Ok(())
    })
}
