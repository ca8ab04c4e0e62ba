//! Moving tables on: starting their copies, meeting them, cleaning up behind them.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use pgq::batch::Batch;
use pgq::{admin, lock};
use skytools::app::chain;
use skytools::db::During;
use skytools::table::{self, TableName};
use tracing::{info, warn};

use super::super::attach;
use super::super::fkeys;
use super::super::handshake;
use super::super::job::Settings;
use super::super::session::SCHEMA;
use super::super::state::{self, Actor, MergeState, Table};
use super::super::supervisor::Supervisor;
use super::{Deferral, Replay};
use crate::copy::source::{self, Source};
use crate::{Error, failpoint};

/// Pause before the start of a copy that failed is tried again; doubles …
const FIRST_DEFERRAL: Duration = Duration::from_secs(1);

/// … up to this.
const LONGEST_DEFERRAL: Duration = Duration::from_secs(60);

/// How long a script waits for copies to meet replay.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(30);

impl Replay {
    /// Moves the tables that are not `ok` as far as they go without waiting; returns the tables.
    pub(super) fn settle(&mut self, held: Option<&Batch>) -> Result<Vec<Table>, Error> {
        loop {
            let tables = state::tables(&mut **self.subscriber.open()?, &self.settings.queue)?;
            let (changed, _) = self.step(&tables, held)?;
            if !changed {
                return Ok(tables);
            }
        }
    }

    /// Whether a table waits for its copy to begin; a subscriber that does not answer is a matter of the
    /// next round.
    pub(super) fn something_begins(&mut self) -> bool {
        if !self.attached || self.script_waits.is_some() {
            return false;
        }
        let queue = &self.settings.queue;
        let Ok(subscriber) = self.subscriber.open() else {
            return true;
        };
        state::tables(subscriber, queue).map_or(true, |tables| {
            let now = Instant::now();
            let waits = |table: &Table| {
                let deferral = self.deferred.get(&table.name);
                table.state == MergeState::New && deferral.is_none_or(|last| now >= last.until)
            };
            tables.iter().any(waits) && self.in_progress < self.settings.slots
        })
    }

    /// One round of decisions. Answers whether a state was changed, and whether to wait.
    pub(super) fn step(
        &mut self,
        tables: &[Table],
        held: Option<&Batch>,
    ) -> Result<(bool, bool), Error> {
        self.pace.note(tables.iter().map(|table| table.state));
        let now = Instant::now();
        let states: Vec<MergeState> = tables
            .iter()
            .map(|table| match self.deferred.get(&table.name) {
                // One that cannot begin now must not take the place of one that can.
                Some(deferral) if table.state == MergeState::New && now < deferral.until => {
                    MergeState::Ok
                }
                // A copy that begins now would keep the script waiting.
                _ if table.state == MergeState::New && self.script_waits.is_some() => {
                    MergeState::Ok
                }
                _ => table.state,
            })
            .collect();
        let plan =
            handshake::replay_plan(&states, held.map(|batch| batch.tick), self.settings.slots);
        let mut changed = false;
        for index in self.first_to_begin(plan.begin, &states, tables)? {
            changed |= self.begin(&tables[index])?;
        }
        for index in plan.meet {
            let batch = held.expect("replay meets only before a batch it holds");
            changed |= self.meet(&tables[index], batch)?;
        }
        let busy = tables
            .iter()
            .filter(|table| table.state.in_progress())
            .count();
        if busy < self.in_progress {
            self.leftovers = true;
        }
        self.in_progress = busy;
        if busy > 0 && !changed {
            self.copies
                .supervise(&self.settings, self.subscriber.open()?, tables)?;
        }
        if self.leftovers && !changed {
            self.leftovers = !self.remove_leftovers(tables)?;
        }
        Ok((changed, plan.wait))
    }

    /// As many tables to be copied as may `begin`: when several are copied at once and more wait, the largest. One
    /// that began last would be waited for alone.
    fn first_to_begin(
        &mut self,
        begin: Vec<usize>,
        states: &[MergeState],
        tables: &[Table],
    ) -> Result<Vec<usize>, Error> {
        let waiting = (0..states.len()).filter(|index| states[*index] == MergeState::New);
        let waiting: Vec<usize> = waiting.collect();
        if self.settings.slots == 1 || begin.is_empty() || begin.len() == waiting.len() {
            return Ok(begin);
        }
        let names: Vec<TableName> = (waiting.iter())
            .map(|index| TableName::parse(&tables[*index].name))
            .collect();
        let pages = table::expected_pages(&mut **self.provider.open()?, &names)?;
        let mut sizes: Vec<(u64, usize)> = pages.into_iter().zip(waiting).collect();
        sizes.sort_by_key(|(pages, _)| Reverse(*pages));
        sizes.truncate(begin.len());
        Ok(sizes.into_iter().map(|(_, index)| index).collect())
    }

    /// Drops the foreign keys of a table and hands it to a copy.
    fn begin(&mut self, table: &Table) -> Result<bool, Error> {
        let subscriber = self.subscriber.open()?;
        if Supervisor::plain_copy_runs(&self.settings, subscriber)? {
            if !self.deferred.contains_key(&table.name) {
                info!("Waiting for existing copy to exit");
            }
            self.defer(&table.name, self.pace.wait(self.settings.sync_poll));
            return Ok(false);
        }
        if let Err(error) = fkeys::stash(subscriber, &table.name) {
            if error.is_connection_lost() {
                return Err(error.into());
            }
            warn!("cannot start the copy of {}: {}", table.name, chain(&error));
            let pause = self
                .deferred
                .get(&table.name)
                .map_or(FIRST_DEFERRAL, |last| {
                    (last.pause * 2).min(LONGEST_DEFERRAL)
                });
            self.defer(&table.name, pause);
            return Ok(false);
        }
        failpoint::step("replay.begin");
        self.deferred.remove(&table.name);
        let begun = state::transition(
            subscriber,
            &self.settings.queue,
            Actor::Replay,
            table,
            MergeState::InCopy,
            None,
            |_| Ok(true),
        )?;
        self.copies.forget(&table.name);
        failpoint::step("replay.begun");
        Ok(begun)
    }

    /// Sees to it that a script need not wait for ever: a copy that does not come to meet replay, it may
    /// be ahead or fail for want of what the script does, begins again behind the script.
    pub(super) fn wait_for_copies(&mut self, error: &Error, tables: &[Table]) -> Result<(), Error> {
        let since = match self.script_waits {
            Some(since) => since,
            None => {
                info!("{error}");
                *self.script_waits.insert(Instant::now())
            }
        };
        for table in tables {
            let again = match table.state {
                MergeState::InCopy => true,
                MergeState::CatchingUp | MergeState::WannaSync(_) | MergeState::DoSync(_) => {
                    since.elapsed() > SCRIPT_PATIENCE
                }
                MergeState::Ok => table.snapshot.is_some() && since.elapsed() > SCRIPT_PATIENCE,
                MergeState::New => false,
            };
            if again {
                info!("the copy of {} begins again, behind the script", table.name);
                let subscriber = self.subscriber.open()?;
                let queue = &self.settings.queue;
                let to = MergeState::New;
                state::transition(subscriber, queue, Actor::Replay, table, to, None, |_| {
                    Ok(true)
                })?;
            }
        }
        Ok(())
    }

    fn defer(&mut self, table: &str, pause: Duration) {
        let until = Instant::now() + pause;
        let deferral = Deferral { until, pause };
        self.deferred.insert(table.to_owned(), deferral);
    }

    /// Tells a waiting copy that replay waits too, before `batch`.
    fn meet(&mut self, table: &Table, batch: &Batch) -> Result<bool, Error> {
        failpoint::step("replay.meet");
        let met = state::transition(
            self.subscriber.open()?,
            &self.settings.queue,
            Actor::Replay,
            table,
            MergeState::DoSync(batch.tick),
            table.snapshot.as_ref(),
            |_| Ok(true),
        )?;
        failpoint::step("replay.met");
        Ok(met)
    }

    /// Unregisters consumers of copies whose table is not in progress, and forgets their positions.
    /// False if a copy is still about to leave.
    fn remove_leftovers(&mut self, tables: &[Table]) -> Result<bool, Error> {
        let Settings { queue, .. } = &self.settings;
        let subscriber = self.subscriber.open()?;
        let mut names: Vec<String> =
            admin::consumer_info(&mut **self.provider.open()?, Some(queue), None)?
                .into_iter()
                .map(|info| info.consumer.to_string())
                .collect();
        let rows = subscriber
            .query_typed("select consumer_id from londiste.completed", &[])
            .during("list stored positions")?;
        names.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        names.sort();
        names.dedup();
        let busy = |name: &str| {
            tables
                .iter()
                .any(|table| table.name == name && table.state.in_progress())
        };
        let sources = source::all(self.subscriber.open()?, queue)?;
        if !sources.is_empty() {
            // Looked at after the sources: the list that was given may lack a table that was added since.
            let now = state::tables(&mut **self.subscriber.open()?, queue)?;
            for source in sources {
                let needed = |table: &Table| table.name == source.table && Source::is_needed(table);
                if !now.iter().any(needed) {
                    source.leave(self.subscriber.open()?, queue)?;
                }
            }
        }
        let any_busy = tables.iter().any(|table| table.state.in_progress());
        let mut all_gone = true;
        for name in names {
            match self.settings.table_of_copy(&name) {
                None => continue,
                Some(None) if any_busy => continue,
                Some(Some(table)) if busy(table) => continue,
                Some(_) => {}
            }
            let consumer = name.into();
            let subscriber = self.subscriber.open()?;
            if lock::is_consumer_locked(&mut **subscriber, SCHEMA, &consumer)? {
                all_gone = false;
                continue;
            }
            info!("removing what the copy {consumer} left behind");
            attach::unregister(
                &self.settings,
                &consumer,
                self.provider.session()?,
                &mut self.subscriber,
            )?;
        }
        Ok(all_gone)
    }

    /// Writes states of old installations as they are written now.
    pub(super) fn respell(&mut self, tables: Vec<Table>) -> Result<Vec<Table>, Error> {
        if !tables.iter().any(Table::is_spelled_otherwise) {
            return Ok(tables);
        }
        let queue = &self.settings.queue;
        for table in tables.iter().filter(|table| table.is_spelled_otherwise()) {
            state::transition(
                self.subscriber.open()?,
                queue,
                Actor::Replay,
                table,
                table.state,
                table.snapshot.as_ref(),
                |_| Ok(true),
            )?;
        }
        state::tables(&mut **self.subscriber.open()?, queue)
    }

    /// Forgets the snapshots of copies that contain nothing of this batch or a later one.
    pub(super) fn drop_snapshots(
        &mut self,
        batch: &Batch,
        tables: Vec<Table>,
    ) -> Result<Vec<Table>, Error> {
        let settled = |table: &Table| table.state == MergeState::Ok && table.snapshot.is_some();
        if !tables.iter().any(settled) {
            return Ok(tables);
        }
        let queue = &self.settings.queue;
        let Some(start) =
            attach::tick_snapshot(&mut **self.provider.open()?, queue, batch.prev_tick)?
        else {
            return Ok(tables);
        };
        let mut changed = false;
        for table in tables.iter().filter(|table| settled(table)) {
            let obsolete = table
                .snapshot
                .as_ref()
                .is_some_and(|snapshot| snapshot.is_covered_by(&start));
            if obsolete {
                changed |= state::transition(
                    self.subscriber.open()?,
                    queue,
                    Actor::Replay,
                    table,
                    MergeState::Ok,
                    None,
                    |_| Ok(true),
                )?;
            }
        }
        match changed {
            true => state::tables(&mut **self.subscriber.open()?, queue),
            false => Ok(tables),
        }
    }
}
