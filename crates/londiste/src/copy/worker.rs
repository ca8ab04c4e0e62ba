//! The work loop of a copy.

mod place;

use std::collections::HashMap;
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

use pgq::batch::{self, Batch};
use pgq::position::{self, Verdict};
use pgq::{ConsumerName, admin, lock};
use skytools::config::CommonConfig;
use skytools::daemon::{Context, Stop, Work, Worker};
use skytools::db::{Database, During, denied_on};
use tracing::{error, info, warn};

use super::analysis::Analysis;
use super::source::Source;
use super::transfer;
use super::watch::{self, Watched};
use crate::replay::apply::Route;
use crate::replay::attach;
use crate::replay::careful::Careful;
use crate::replay::control::Ignore;
use crate::replay::fkeys;
use crate::replay::handshake::{CopyMove, copy_move};
use crate::replay::job::{Settings, is_started_by_replay};
use crate::replay::join;
use crate::replay::pace::Pace;
use crate::replay::session::{SCHEMA, Session};
use crate::replay::state::{self, Actor, MergeState, Table};
use crate::replay::stream::{self, Counts};
use crate::replay::trouble::Trouble;
use crate::schema::Side;
use crate::{Config, Error, failpoint, grants};

/// How long a copy stays without a replay to hand its table to.
const LONELY: Duration = Duration::from_secs(60);

/// Copies one table, catches up, and hands it over to replay.
pub(crate) struct Copier {
    settings: Settings,
    /// Table named on the command line.
    requested: Option<String>,
    /// Where rows and events come from.
    provider: Session,
    /// Where replay's events come from; another node while `abroad`.
    home: Session,
    abroad: Option<Source>,
    subscriber: Session,
    watch: Database,
    analysis: Analysis,
    claim: Option<Claim>,
    /// Whether the consumer was registered when this process looked last; an error may mean that it is not.
    attached: bool,
    /// The subscriber keeps the times of ticks.
    times: bool,
    /// The last poll for a batch was empty.
    idle: bool,
    pace: Pace,
    replay_seen: Instant,
    /// Process that started this one; replay, as a rule.
    parent: u32,
    careful: Careful,
    trouble: Trouble,
}

/// The table that this process copies.
#[derive(Debug, Clone)]
struct Claim {
    table: String,
    consumer: ConsumerName,
}

/// What to do with the batch held.
enum Prepared {
    /// Apply it to the table.
    Apply(Table),
    /// Nothing now; the next pass sees why.
    Over,
    /// There has been no replay for long.
    Lonely,
}

impl Copier {
    pub(crate) fn new(
        settings: Settings,
        requested: Option<String>,
        provider: Session,
        home: Session,
        subscriber: Session,
        watch: Database,
        analysis: Analysis,
    ) -> Copier {
        Copier {
            settings,
            requested,
            provider,
            home,
            abroad: None,
            subscriber,
            watch,
            analysis,
            claim: None,
            attached: false,
            times: false,
            idle: false,
            pace: Pace::new(),
            replay_seen: Instant::now(),
            parent: parent_id(),
            careful: Careful::default(),
            trouble: Trouble::default(),
        }
    }

    /// Picks the table, takes the lock, and finds the place in the queue. `None` if there is
    /// nothing to do.
    fn claim(&mut self, stop: &Stop) -> Result<Option<Claim>, Error> {
        join::redirect(&self.settings, &mut self.home, &mut self.subscriber)?;
        let tables = state::tables(&mut **self.subscriber.open()?, &self.settings.queue)?;
        let requested = |table: &&Table| {
            let name = self.requested.as_ref();
            name.is_none_or(|name| *name == table.name)
        };
        let chosen = (tables.iter().filter(requested)).find(|table| table.state.in_progress());
        let Some(table) = chosen.cloned() else {
            return match (&self.requested, tables.iter().find(requested)) {
                // It may have been removed since replay started this process.
                (Some(table), None) if !is_started_by_replay() => {
                    Err(Error::NotSubscribed(table.clone()))
                }
                (Some(_), Some(table)) if table.state == MergeState::New => {
                    info!("no table to copy: replay will begin with {}", table.name);
                    Ok(None)
                }
                (Some(_), Some(table)) => {
                    info!(
                        "no table to copy: {0} is in sync; to have it copied again, run: londiste INI subscriber \
                         resync {0}",
                        table.name
                    );
                    Ok(None)
                }
                _ => {
                    info!("no table to copy");
                    Ok(None)
                }
            };
        };
        self.turn_to(&table)?;
        let consumer = self.consumer_of(&table)?;
        self.subscriber.lock(&consumer, stop)?;
        let claim = Claim {
            table: table.name.clone(),
            consumer,
        };
        // Whoever had the lock may have brought the table on.
        match self.reload(&claim)? {
            Some(table) if table.state.in_progress() => self.attach(&claim, &table)?,
            _ => info!("{} is done", claim.table),
        }
        Ok(Some(claim))
    }

    /// The consumer's name: as `parallel_copies` was when the copy began.
    fn consumer_of(&mut self, table: &Table) -> Result<ConsumerName, Error> {
        let named = self.settings.copy_consumer(Some(&table.name));
        let plain = self.settings.copy_consumer(None);
        let (usual, other) = match self.requested {
            Some(_) => (named, plain),
            None => (plain, named),
        };
        if table.state == MergeState::InCopy {
            return Ok(usual);
        }
        let queue = &self.settings.queue;
        let mut registered = |consumer: &ConsumerName| -> Result<bool, Error> {
            let tick = attach::registered_at(&mut **self.provider.open()?, queue, consumer)?;
            Ok(tick.is_some())
        };
        Ok(match !registered(&usual)? && registered(&other)? {
            true => other,
            false => usual,
        })
    }

    /// The table as it is now; `None` if it is not registered any more.
    fn reload(&mut self, claim: &Claim) -> Result<Option<Table>, Error> {
        let tables = state::tables(&mut **self.subscriber.open()?, &self.settings.queue)?;
        let table = tables.into_iter().find(|table| table.name == claim.table);
        self.pace.note(table.iter().map(|table| table.state));
        Ok(table)
    }

    /// Fills the table.
    fn copy(&mut self, table: &Table) -> Result<(), Error> {
        let subscriber = self.subscriber.open()?;
        fkeys::stash(subscriber, &table.name)?;
        let backend: i32 = subscriber
            .query_typed_one("select pg_backend_pid()", &[])
            .during("ask for the session's process")?
            .get(0);
        let watched = Watched {
            queue: &self.settings.queue,
            table: &table.name,
            backend,
            poll: self.settings.sync_poll,
        };
        let provider = self.provider.open()?;
        let mut broken_off = false;
        let result = watch::while_wanted(&mut self.watch, watched, |progress| {
            let result =
                transfer::copy_table(provider, subscriber, &self.settings.queue, table, progress);
            broken_off = progress.is_given_up();
            result
        });
        self.watch.reset();
        self.idle = false;
        if broken_off {
            // The session is gone; the next pass sees why.
            self.recover();
            return Ok(());
        }
        match result {
            Err(error) if state::overtaken(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                self.tick()?;
                self.analysis.start(&table.name);
                Ok(())
            }
        }
    }

    /// Decides about `batch` until it may be applied, or not by this process.
    fn prepare(&mut self, claim: &Claim, batch: &Batch, stop: &Stop) -> Result<Prepared, Error> {
        loop {
            let Some(table) = self.reload(claim)? else {
                return Ok(Prepared::Over);
            };
            let replay = position::last_tick(
                &mut **self.subscriber.open()?,
                SCHEMA,
                &self.settings.consumer,
            )?;
            match copy_move(Some(table.state), Some(batch), self.idle, replay) {
                CopyMove::Apply => return Ok(Prepared::Apply(table)),
                // Replay is met at its own provider.
                CopyMove::AskToMeet(_) if self.abroad.is_some() => {
                    return Ok(Prepared::Apply(table));
                }
                CopyMove::AskToMeet(tick) => {
                    failpoint::step("copy.ask");
                    self.transition(&table, MergeState::WannaSync(tick))?;
                    failpoint::step("copy.asked");
                }
                CopyMove::Wait => {
                    if replay.is_some_and(|position| position >= batch.tick) {
                        // Replay is past the batch held, and meets at the end of a later one.
                        self.tick()?;
                    }
                    if self.is_lonely()? {
                        return Ok(Prepared::Lonely);
                    }
                    if stop.sleep(self.pace.wait(self.settings.sync_poll)) {
                        return Ok(Prepared::Over);
                    }
                }
                CopyMove::HandOver => {
                    self.hand_over(claim, &table, batch)?;
                    return Ok(Prepared::Over);
                }
                CopyMove::StartOver => {
                    error!(
                        "copy_sync: cur_tick={} sync_tick={}",
                        batch.tick, table.state
                    );
                    self.start_over(claim, &table, MergeState::New)?;
                    return Ok(Prepared::Over);
                }
                CopyMove::Copy | CopyMove::Idle | CopyMove::Leave => return Ok(Prepared::Over),
            }
        }
    }

    fn transition(&mut self, table: &Table, to: MergeState) -> Result<bool, Error> {
        state::transition(
            self.subscriber.open()?,
            &self.settings.queue,
            Actor::Copy,
            table,
            to,
            table.snapshot.as_ref(),
            |_| Ok(true),
        )
    }

    /// Gives the table to replay, which stands before the same batch.
    fn hand_over(&mut self, claim: &Claim, table: &Table, batch: &Batch) -> Result<(), Error> {
        failpoint::step("copy.hand_over");
        let mut apart = None;
        state::transition(
            self.subscriber.open()?,
            &self.settings.queue,
            Actor::Copy,
            table,
            MergeState::Ok,
            table.snapshot.as_ref(),
            |tx| {
                let replay = position::last_tick(&mut **tx, SCHEMA, &self.settings.consumer)?;
                let level = replay == Some(batch.prev_tick);
                if !level {
                    apart = Some(replay);
                }
                Ok(level)
            },
        )?;
        failpoint::step("copy.handed_over");
        if let Some(replay) = apart {
            let replay = replay.map_or_else(|| "nowhere".to_owned(), |tick| tick.to_string());
            error!(
                "hand-over of {}: the copy stands at tick {}, replay at {replay}",
                table.name, batch.prev_tick
            );
            self.start_over(claim, table, MergeState::New)?;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Error> {
        admin::tick_now(&mut **self.provider.open()?, &self.settings.queue)?;
        Ok(())
    }

    /// Whether replay has been away for long.
    fn is_lonely(&mut self) -> Result<bool, Error> {
        let subscriber = self.subscriber.open()?;
        if lock::is_consumer_locked(&mut **subscriber, SCHEMA, &self.settings.consumer)? {
            self.replay_seen = Instant::now();
        }
        Ok(self.replay_seen.elapsed() > LONELY)
    }

    /// Leaves the table in its state: the next replay starts a copy that goes on from there.
    fn give_up(&self, claim: &Claim) -> Work {
        info!("replay does not run; leaving {} as it is", claim.table);
        Work::Done
    }

    /// Applies the table's events, and stores the tick, in one transaction.
    fn apply(&mut self, claim: &Claim, table: &Table, batch: &Batch) -> Result<Counts, Error> {
        let careful = self.careful.from(batch);
        let mut routes = HashMap::from([(table.name.clone(), Route::new(table.snapshot.clone()))]);
        let mut tx = self.subscriber.open()?.begin()?;
        if careful.is_some() {
            stream::defer_constraints(&mut tx)?;
        }
        let counts = stream::apply_events(
            self.provider.open()?,
            batch,
            &mut tx,
            &mut routes,
            self.settings.manner,
            careful,
            &mut Ignore,
        )?;
        attach::store(&mut tx, &claim.consumer, batch, self.times)?;
        failpoint::step("copy.before_batch_commit");
        tx.commit()?;
        failpoint::step("copy.batch_committed");
        Ok(counts)
    }

    fn apply_or_explain(
        &mut self,
        claim: &Claim,
        table: &Table,
        batch: &Batch,
    ) -> Result<Counts, Error> {
        match self.apply(claim, table, batch) {
            Err(error) if self.careful.may_help(batch, &error) => self.apply(claim, table, batch),
            done => done,
        }
    }

    /// Leaves nothing behind.
    fn leave(&mut self, claim: &Claim) -> Result<(), Error> {
        self.analysis.wait();
        attach::unregister(
            &self.settings,
            &claim.consumer,
            &mut self.provider,
            &mut self.subscriber,
        )?;
        if let Some(source) = &self.abroad {
            source.leave(self.subscriber.open()?, &self.settings.queue)?;
        }
        failpoint::step("copy.left");
        Ok(())
    }
}

impl Copier {
    /// Adds to an error what the role or the server lacks, if that is why it came.
    fn explain(&mut self, error: Error) -> Error {
        let (Some(connection), Some(claim)) = (denied_on(&error), &self.claim) else {
            return error.or_out_of_locks();
        };
        let tables = [claim.table.clone()];
        let (side, db) = match connection {
            "provider_db" => (Side::Provider, self.provider.open()),
            _ => (Side::Subscriber, self.subscriber.open()),
        };
        match db {
            Ok(db) => grants::explain_on(error, db, side, grants::Work::Copy, &tables),
            Err(_) => error,
        }
    }

    /// Does what the table's state asks for.
    fn round(&mut self, context: &mut Context) -> Result<Work, Error> {
        let claim = match &self.claim {
            Some(claim) => claim.clone(),
            None => {
                let Some(claim) = self.claim(&context.stop)? else {
                    return Ok(Work::Done);
                };
                self.claim.insert(claim).clone()
            }
        };
        let table = self.reload(&claim)?;
        let Some(table) = table.filter(|table| table.state.in_progress()) else {
            self.leave(&claim)?;
            return Ok(Work::Done);
        };
        if !self.attached {
            // Meanwhile it may have been added anew, to be copied from another node.
            self.turn_to(&table)?;
            self.attach(&claim, &table)?;
            return Ok(Work::More);
        }
        if table.state == MergeState::InCopy {
            if self.is_misplaced(&table)? {
                info!("{} is to be copied from another node now", table.name);
                self.claim = None;
                self.attached = false;
                return Ok(Work::More);
            }
            self.copy(&table)?;
            return Ok(Work::More);
        }
        let started = Instant::now();
        let queue = &self.settings.queue;
        // The lock before the batch: whoever lost it must not look at the batch of another.
        self.subscriber.open()?;
        let batch = batch::next_batch(&mut **self.provider.open()?, queue, &claim.consumer)?;
        let Some(batch) = batch else {
            let first = !std::mem::replace(&mut self.idle, true);
            self.tick()?;
            if self.is_lonely()? {
                return Ok(self.give_up(&claim));
            }
            // The tick may be there already.
            if !first {
                (context.stop).sleep(self.pace.wait(self.settings.sync_poll));
            }
            return Ok(Work::More);
        };
        let stored = attach::stored(self.subscriber.open()?, &claim.consumer)?;
        match attach::check(&batch, stored) {
            Ok(Verdict::Apply) => {
                if self.abroad.is_some() && self.go_home(&claim, &table, &batch)? {
                    return Ok(Work::More);
                }
                let table = match self.prepare(&claim, &batch, &context.stop)? {
                    Prepared::Apply(table) => table,
                    Prepared::Over => return Ok(Work::More),
                    Prepared::Lonely => return Ok(self.give_up(&claim)),
                };
                let counts = self.apply_or_explain(&claim, &table, &batch)?;
                self.idle = false;
                context.stats.put("count", counts.events);
                context.stats.put("ignored", counts.ignored);
            }
            Ok(Verdict::AlreadyApplied) => {}
            Err(lost) => {
                warn!("{lost}");
                self.start_over(&claim, &table, MergeState::InCopy)?;
                return Ok(Work::More);
            }
        }
        batch::finish_batch(&mut **self.provider.open()?, batch.id)?;
        context
            .stats
            .put("duration", started.elapsed().as_secs_f64());
        Ok(Work::More)
    }
}

impl Worker for Copier {
    type Config = Config;
    type Error = Error;

    fn work(&mut self, context: &mut Context) -> Result<Work, Error> {
        let result = self.round(context);
        let result = result.map_err(|error| self.explain(error));
        if let Some(claim) = &self.claim {
            self.trouble.note(
                &result,
                &mut self.subscriber,
                &claim.consumer,
                Some(&claim.table),
            );
        }
        result
    }

    fn recover(&mut self) {
        self.provider.reset();
        self.home.reset();
        self.subscriber.reset();
        self.watch.reset();
        self.attached = false;
    }

    fn between(&mut self) {
        self.provider.expire();
        self.home.expire();
        self.subscriber.expire();
    }

    fn reload(&mut self, _common: &CommonConfig, config: Config) -> Result<(), Error> {
        config.check()?;
        self.settings.reload(&config);
        Ok(())
    }

    fn is_fatal(&self, error: &Error) -> bool {
        // Nobody needs it to try again when replay is gone: the next one starts a copy of its own.
        matches!(error, Error::Busy { .. }) && self.claim.is_none()
            || matches!(error, Error::NotSubscribed(_))
            || parent_id() != self.parent
    }
}
