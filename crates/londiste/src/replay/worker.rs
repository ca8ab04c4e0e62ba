//! The work loop of replay.

mod apply;
mod denied;
mod tables;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgq::admin;
use pgq::batch::Batch;
use pgq::position::{self, Verdict};
use postgres::types::Type;
use skytools::app::chain;
use skytools::config::CommonConfig;
use skytools::daemon::{Context, Stop, Work, Worker};
use skytools::db::{Database, During};
use tracing::{info, warn};

use super::ahead::Provider;
use super::attach;
use super::careful::Careful;
use super::control::Reported;
use super::fkeys::ForeignKeys;
use super::job::Settings;
use super::join;
use super::merging::Merging;
use super::mirror::{self, Mirror};
use super::order::Choice;
use super::pace::Pace;
use super::sequences::Sequences;
use super::session::{SCHEMA, Session};
use super::state::{self, Table};
use super::supervisor::Supervisor;
use super::trouble::Trouble;
use crate::failpoint;
use crate::{CascadeError, Config, Error, node};

/// How often replay says whom it waits for.
const WAIT_REMINDER: Duration = Duration::from_secs(30);

/// How often replay looks for another provider while it cannot go on.
const FAILURE_POLL: Duration = Duration::from_secs(1);

/// Applies the queue on the subscriber, and starts copies of tables that were added.
pub(crate) struct Replay {
    settings: Settings,
    loop_delay: Duration,
    provider: Provider,
    subscriber: Session,
    attached: bool,
    /// The provider is the right one; to be looked at again after an error.
    joined: bool,
    /// The queue on this side, if it is a relay.
    mirror: Option<Mirror>,
    copies: Supervisor,
    sequences: Sequences,
    fkeys: ForeignKeys,
    reported: Reported,
    /// Tables whose copy could not begin.
    deferred: HashMap<String, Deferral>,
    /// Copies may have left consumers and positions behind.
    leftovers: bool,
    /// Tables in progress when last looked at.
    in_progress: usize,
    pace: Pace,
    order: Choice,
    merging: Merging,
    /// A batch failed to apply in the unit that starts here.
    careful: Careful,
    trouble: Trouble,
    /// Since when a script waits for tables that are being copied.
    script_waits: Option<Instant>,
    /// When it was last looked whether a command asks replay to make way.
    looked: Option<Instant>,
    /// What "subscriber change-provider" had stored when replay turned to its provider.
    stored_provider: Option<String>,
    /// The subscriber keeps the times of ticks.
    times: bool,
}

#[derive(Debug)]
struct Deferral {
    until: Instant,
    pause: Duration,
}

impl Replay {
    pub(crate) fn new(
        settings: Settings,
        common: &CommonConfig,
        provider: Session,
        mut subscriber: Session,
        spare: Database,
    ) -> Replay {
        subscriber.listen();
        Replay {
            mirror: settings
                .relay
                .is_some()
                .then(|| Mirror::on(&settings.queue)),
            joined: false,
            settings,
            loop_delay: common.loop_delay,
            provider: Provider::new(provider),
            subscriber,
            attached: false,
            copies: Supervisor::default(),
            sequences: Sequences::default(),
            fkeys: ForeignKeys::new(spare),
            reported: Reported::default(),
            deferred: HashMap::new(),
            leftovers: true,
            in_progress: 0,
            pace: Pace::new(),
            order: Choice::default(),
            merging: Merging::default(),
            careful: Careful::default(),
            trouble: Trouble::default(),
            script_waits: None,
            looked: None,
            stored_provider: None,
            times: false,
        }
    }

    /// Whether a command asks replay to make way, or has not waited for that; looks now and then.
    fn is_wanted(&mut self) -> Result<bool, Error> {
        let poll = self.settings.sync_poll;
        if !self.attached || self.looked.is_some_and(|last| last.elapsed() < poll) {
            return Ok(false);
        }
        self.looked = Some(Instant::now());
        match self.subscriber.open() {
            Ok(_) => self.subscriber.is_wanted(),
            Err(Error::Busy { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether the provider was changed since replay turned to it, or is being changed; `None` if the
    /// subscriber does not answer.
    fn is_moved(&mut self) -> Option<bool> {
        let db = match self.subscriber.open() {
            Ok(db) => db,
            Err(Error::Busy { .. }) => return Some(true),
            Err(_) => return None,
        };
        let stored = node::provider_text(db, &self.settings.queue).ok()?;
        Some(stored != self.stored_provider || self.subscriber.is_wanted().ok()?)
    }

    /// Lets a command have the consumer for a moment, such as one that changes the provider. What it changes
    /// is looked at when it is done. Copies end meanwhile: they may be at the wrong provider.
    fn make_way(&mut self, stop: &Stop) -> Result<(), Error> {
        info!("making way for a command");
        self.provider.finish_applied()?;
        self.copies = Supervisor::default();
        self.provider.reset();
        self.sequences.forget();
        self.joined = false;
        if self.subscriber.make_way(self.settings.sync_poll, stop)? {
            info!("the command is done, going on");
        }
        Ok(())
    }

    /// Does what is due between batches.
    fn idle(&mut self, stop: &Stop) -> Result<Work, Error> {
        let tables = self.settle(None)?;
        if let Some(mirror) = &self.mirror {
            mirror.hurry(self.provider.open()?, self.subscriber.open()?)?;
        }
        self.publish()?;
        self.fkeys
            .restore(&self.settings.queue, self.subscriber.open()?)?;
        if self.in_progress == 0 && !tables.iter().any(|table| table.snapshot.is_some()) {
            return Ok(Work::Idle);
        }
        // A hand-over needs a tick; a stored snapshot goes with the first batch after it.
        if self.in_progress == 0 {
            admin::tick_now(&mut **self.provider.open()?, &self.settings.queue)?;
        }
        let longest = self.settings.sync_poll.min(self.loop_delay);
        self.subscriber
            .wait_for_change(stop, self.pace.wait(longest));
        Ok(Work::More)
    }

    fn follow_sequences(&mut self) -> Result<(), Error> {
        let (provider, subscriber) = (self.provider.open()?, self.subscriber.open()?);
        self.sequences
            .follow(&self.settings.queue, provider, subscriber)
    }

    /// Finds the provider and the place in its queue.
    fn attach(&mut self, stop: &Stop) -> Result<(), Error> {
        let (settings, provider) = (&self.settings, self.provider.session()?);
        if !self.attached {
            self.subscriber.lock(&settings.consumer, stop)?;
        }
        let queue = &settings.queue;
        mirror::check_role(self.mirror.is_some(), self.subscriber.open()?, queue)?;
        self.stored_provider = node::provider_text(self.subscriber.open()?, queue)?;
        join::join(settings, provider, &mut self.subscriber)?;
        attach::attach(settings, provider, &mut self.subscriber, self.attached)?;
        self.times = attach::keeps_times(&mut self.subscriber)?;
        if let Some(mirror) = &mut self.mirror {
            let (provider, subscriber) = (provider.open()?, self.subscriber.open()?);
            let stored = position::last_tick(&mut **subscriber, SCHEMA, &settings.consumer)?;
            mirror.attach(stored, provider, subscriber)?;
        }
        self.attached = true;
        self.joined = true;
        Ok(())
    }

    /// What a relay tells the nodes around it.
    fn publish(&mut self) -> Result<(), Error> {
        let (Some(mirror), Some(relay)) = (&mut self.mirror, self.settings.relay) else {
            return Ok(());
        };
        let (provider, subscriber) = (self.provider.open()?, self.subscriber.open()?);
        mirror.publish(&self.settings, relay, provider, subscriber)
    }

    /// Brings everything into the state in which `batch` may be applied; returns the tables then.
    /// `None` if a stop was requested while waiting, or a command asks for the consumer.
    fn prepare(&mut self, batch: &Batch, stop: &Stop) -> Result<Option<Vec<Table>>, Error> {
        let mut reminder = Instant::now();
        let mut merged = None;
        let tables = loop {
            let tables = state::tables(&mut **self.subscriber.open()?, &self.settings.queue)?;
            // Copies take ticks one by one, and can meet only who has done the same.
            if merged.is_none() && tables.iter().any(|table| table.state.in_progress()) {
                merged = Some(self.is_merged(batch)?);
            }
            let held = (merged != Some(true)).then_some(batch);
            let (changed, wait) = self.step(&tables, held)?;
            if changed {
                continue;
            }
            if !wait {
                break tables;
            }
            if reminder.elapsed() > WAIT_REMINDER {
                reminder = Instant::now();
                for table in tables.iter().filter(|table| table.state.in_progress()) {
                    info!("waiting for the copy of {}: {}", table.name, table.state);
                }
            }
            let wait = self.pace.wait(self.settings.sync_poll);
            if self.subscriber.wait_for_change(stop, wait) || self.is_wanted()? {
                self.looked = None;
                return Ok(None);
            }
        };
        let tables = self.respell(tables)?;
        let tables = self.drop_snapshots(batch, tables)?;
        self.fkeys
            .restore(&self.settings.queue, self.subscriber.open()?)?;
        Ok(Some(tables))
    }

    /// Opens the first batch, of several ticks if much is to be done and nobody minds.
    fn first_batch(&mut self) -> Result<Option<Batch>, Error> {
        let Settings {
            queue, consumer, ..
        } = &self.settings;
        let subscriber = self.subscriber.open()?;
        let tables = state::tables(subscriber, queue)?;
        self.merging.look(subscriber, &tables, true)?;
        let alone = self.mirror.is_none() && !tables.iter().any(|table| table.state.in_progress());
        let tick = match alone {
            true => attach::registered_at(&mut **self.provider.open()?, queue, consumer)?,
            false => None,
        };
        let reader = self.settings.reader(self.merging.is_safe());
        self.provider.first_batch(&reader, tick)
    }

    /// Gives a batch of several ticks back that the server had no room for: they are taken one by one for a while.
    fn take_apart(&mut self, batch: &Batch, error: Error) -> Result<(), Error> {
        warn!(
            "the ticks {} to {} take more memory together than the subscriber's server has, taking ticks one by one \
             for a while: {}",
            batch.prev_tick,
            batch.tick,
            chain(&error.or_out_of_locks())
        );
        self.merging.failed();
        self.provider.give_back(&self.settings.reader(false), batch)
    }

    /// Whether the batch is made of several ticks.
    fn is_merged(&mut self, batch: &Batch) -> Result<bool, Error> {
        let row = (self.provider.open()?)
            .query_typed_one(
                "select exists (select from pgq.tick t \
                 join pgq.queue q on q.queue_id = t.tick_queue \
                 where q.queue_name = $1 and t.tick_id > $2 and t.tick_id < $3)",
                &[
                    (&self.settings.queue, Type::TEXT),
                    (&batch.prev_tick, Type::INT8),
                    (&batch.tick, Type::INT8),
                ],
            )
            .during("look for ticks within the batch")?;
        Ok(row.get(0))
    }
}

impl Replay {
    /// Takes a batch and applies it, or does what is due while there is none.
    fn round(&mut self, context: &mut Context) -> Result<Work, Error> {
        if self.is_wanted()? {
            self.make_way(&context.stop)?;
            return Ok(Work::More);
        }
        if !self.joined {
            self.attach(&context.stop)?;
        }
        if self.sequences.is_due() {
            // While nothing is read from the provider.
            self.follow_sequences()?;
        }
        let started = Instant::now();
        // The lock before the batch: whoever lost it must not look at the batch of another.
        self.subscriber.open()?;
        let next = match self.provider.is_fresh() {
            true => self.first_batch()?,
            false => {
                let reader = self.settings.reader(self.merging.is_safe());
                self.provider.next_batch(&reader)?
            }
        };
        let Some(batch) = next else {
            return self.idle(&context.stop);
        };
        let consumer = &self.settings.consumer;
        let stored = attach::stored(self.subscriber.open()?, consumer)?;
        let (mut unknown, mut fallback) = (0, 0);
        let verdict = attach::check(&batch, stored)?;
        if let Some(mirror) = &mut self.mirror {
            let (provider, subscriber) = (self.provider.open()?, self.subscriber.open()?);
            let applied = verdict == Verdict::AlreadyApplied;
            mirror.settle(&batch, applied, provider, subscriber)?;
        }
        if verdict == Verdict::Apply {
            let Some(tables) = self.prepare(&batch, &context.stop)? else {
                return Ok(Work::Idle);
            };
            let counts = match self.apply_or_explain(&batch, &tables) {
                Err(error @ Error::ScriptWaits { .. }) => {
                    self.wait_for_copies(&error, &tables)?;
                    context.stop.sleep(self.settings.sync_poll);
                    return Ok(Work::More);
                }
                Err(error) if error.is_out_of_memory() && self.is_merged(&batch)? => {
                    self.take_apart(&batch, error)?;
                    return Ok(Work::More);
                }
                result => result?,
            };
            self.script_waits = None;
            context.stats.put("count", counts.events);
            context.stats.put("ignored", counts.ignored);
            (unknown, fallback) = (counts.unknown, counts.fallback);
        }
        self.provider.finish(&batch)?;
        failpoint::step("replay.finished");
        self.publish()?;
        context
            .stats
            .put("duration", started.elapsed().as_secs_f64());
        if unknown > 0 {
            context.stats.put("unknown", unknown);
        }
        if fallback > 0 {
            context.stats.put("fallback", fallback);
        }
        Ok(Work::More)
    }
}

impl Worker for Replay {
    type Config = Config;
    type Error = Error;

    fn work(&mut self, context: &mut Context) -> Result<Work, Error> {
        let result = self.round(context);
        let result = result.map_err(|error| self.explain(error));
        self.trouble
            .note(&result, &mut self.subscriber, &self.settings.consumer, None);
        result
    }

    /// Looks for tables that were added meanwhile: who added them waits for their copies.
    fn pause(&mut self, context: &Context, delay: Duration) {
        let end = Instant::now() + delay;
        loop {
            let start = Instant::now();
            let step = end
                .saturating_duration_since(start)
                .min(self.settings.sync_poll);
            self.subscriber.wait_for_change(&context.stop, step);
            let is_over = start.elapsed() < step || Instant::now() >= end;
            if is_over || context.stop.is_disturbed() || self.something_begins() {
                return;
            }
            // One that cannot be asked is a matter of the next round.
            if self.is_wanted().unwrap_or(true) {
                self.looked = None;
                return;
            }
        }
    }

    /// Goes on at once at another provider.
    fn pause_after_failure(&mut self, context: &Context, delay: Duration) {
        let end = Instant::now() + delay;
        loop {
            let start = Instant::now();
            let rest = end.saturating_duration_since(start);
            let moved = match self.attached {
                true => self.is_moved(),
                false => None,
            };
            let step = match moved {
                Some(true) => return,
                Some(false) => rest.min(FAILURE_POLL),
                None => rest,
            };
            let disturbed = context.stop.pause(step) || start.elapsed() < step;
            if disturbed || Instant::now() >= end {
                return;
            }
        }
    }

    fn recover(&mut self) {
        self.provider.reset();
        self.subscriber.reset();
        self.sequences.forget();
        self.joined = false;
    }

    fn between(&mut self) {
        self.provider.expire();
        self.subscriber.expire();
    }

    /// Looks at the sequences once more: they may have been drawn from since the last look, and who stops
    /// replay to switch to the subscriber draws from them there next.
    fn finish(&mut self) -> Result<(), Error> {
        self.provider.finish_applied()?;
        match self.joined {
            true => self.follow_sequences(),
            false => Ok(()),
        }
    }

    fn reload(&mut self, common: &CommonConfig, config: Config) -> Result<(), Error> {
        config.check()?;
        self.settings.reload(&config);
        self.loop_delay = common.loop_delay;
        Ok(())
    }

    fn is_fatal(&self, error: &Error) -> bool {
        match error {
            Error::Busy { .. } => !self.attached,
            Error::LostRegistration { .. } => true,
            Error::Cascade(error) => matches!(
                error,
                CascadeError::OtherLineage { .. }
                    | CascadeError::NoLineage { .. }
                    | CascadeError::OlderGeneration { .. }
                    | CascadeError::RivalRoot { .. }
                    | CascadeError::LostChanges { .. }
                    | CascadeError::CopyOfOther { .. }
                    | CascadeError::NotRelay(_)
                    | CascadeError::IsRoot(_)
                    | CascadeError::MirrorMissing(_)
            ),
            _ => false,
        }
    }
}
