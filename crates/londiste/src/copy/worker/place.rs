//! Which node a copy reads from, and its place in the queue there.

use pgq::batch::Batch;
use pgq::{admin, position};
use tracing::{info, warn};

use super::super::source::{self, Source};
use super::{Claim, Copier};
use crate::replay::attach::{self, Applied};
use crate::replay::mirror::has_tick;
use crate::replay::session::SCHEMA;
use crate::replay::state::{self, Actor, MergeState, Table};
use crate::{Error, failpoint, node};

impl Copier {
    /// Turns to the node that the table is read from.
    pub(super) fn turn_to(&mut self, table: &Table) -> Result<(), Error> {
        let queue = &self.settings.queue;
        let db = self.subscriber.open()?;
        self.abroad = source::of(db, queue, &table.name)?.filter(|_| Source::is_needed(table));
        let Some(source) = &self.abroad else {
            self.provider.redirect(self.home.conninfo().clone());
            return Ok(());
        };
        let conninfo = source.conninfo()?;
        info!("{} is copied from {conninfo}", table.name);
        let job = &self.settings.job_name;
        self.provider.redirect(conninfo.with_application_name(job));
        let tables = match table.state {
            MergeState::InCopy => std::slice::from_ref(&table.name),
            _ => &[],
        };
        source::check(queue, self.provider.open()?, db, tables)
    }

    /// Goes on at replay's provider, if the snapshot contains no event from `batch` on; false if it may, or the
    /// provider is not so far.
    ///
    /// # Errors
    /// The provider is of another generation.
    pub(super) fn go_home(
        &mut self,
        claim: &Claim,
        table: &Table,
        batch: &Batch,
    ) -> Result<bool, Error> {
        let queue = &self.settings.queue;
        let start = attach::tick_snapshot(&mut **self.provider.open()?, queue, batch.prev_tick)?;
        let obsolete = match (&table.snapshot, &start) {
            (Some(snapshot), Some(start)) => snapshot.is_covered_by(start),
            (snapshot, _) => snapshot.is_none(),
        };
        let home = self.home.open()?;
        if !obsolete || !has_tick(home, queue, batch.prev_tick)? {
            return Ok(false);
        }
        // After the tick was seen: a root that took over since gives out the old one's numbers again.
        source::check(queue, self.provider.open()?, home, &[])?;
        // First the place there, which keeps the events, then the word that it counts.
        admin::register_consumer_at(&mut **home, queue, &claim.consumer, batch.prev_tick)?;
        failpoint::step("copy.registered_at_home");
        let (actor, state) = (Actor::Copy, MergeState::CatchingUp);
        let db = self.subscriber.open()?;
        if !state::transition(db, queue, actor, table, state, None, |_| Ok(true))? {
            // Somebody has given the copy up, or wants another one.
            self.claim = None;
            self.attached = false;
            return Ok(true);
        }
        info!(
            "{} goes on at the provider, after tick {}",
            table.name, batch.prev_tick
        );
        failpoint::step("copy.at_home");
        if let Some(source) = self.abroad.take() {
            source.leave(self.subscriber.open()?, queue)?;
        }
        self.claim = None;
        self.attached = false;
        Ok(true)
    }

    /// Whether rows would come from a node that they are not to come from any more: not the one that the table
    /// was added with, or not the one that replay reads from.
    pub(super) fn is_misplaced(&mut self, table: &Table) -> Result<bool, Error> {
        let (queue, consumer) = (&self.settings.queue, &self.settings.consumer);
        if let Some(source) = &self.abroad {
            let wanted = source::of(self.subscriber.open()?, queue, &table.name)?;
            return Ok(!wanted.is_some_and(|wanted| wanted.is_same_place(source)));
        }
        let (provider, subscriber) = (self.provider.open()?, self.subscriber.open()?);
        Ok(node::meet(queue, consumer, provider, subscriber)?.moved)
    }

    /// Makes sure that the consumer is registered before the copy takes its snapshot.
    pub(super) fn attach(&mut self, claim: &Claim, table: &Table) -> Result<(), Error> {
        let queue = &self.settings.queue;
        if let Some(source) = &mut self.abroad {
            source.note(self.subscriber.open()?, queue, &claim.consumer)?;
        }
        let registered =
            attach::registered_at(&mut **self.provider.open()?, queue, &claim.consumer)?;
        let in_copy = table.state == MergeState::InCopy;
        self.times = attach::keeps_times(&mut self.subscriber)?;
        match registered {
            Some(_) if !in_copy => {
                let (here, there) = (&mut self.provider, &mut self.subscriber);
                let applied = Applied::find(here, there, queue, &claim.consumer)?;
                if let Err(lost) = applied.insist() {
                    warn!("{lost}");
                    return self.start_over(claim, table, MergeState::InCopy);
                }
            }
            Some(tick) => {
                // What was applied before is overwritten by the copy to come.
                position::set_last_tick(
                    &mut **self.subscriber.open()?,
                    SCHEMA,
                    &claim.consumer,
                    Some(tick),
                )?;
            }
            None => {
                if !in_copy {
                    warn!("the registration of {} was lost", claim.consumer);
                    self.start_over(claim, table, MergeState::InCopy)?;
                }
                attach::register(
                    &self.settings,
                    &claim.consumer,
                    &mut self.provider,
                    &mut self.subscriber,
                )?;
                failpoint::step("copy.registered");
            }
        }
        self.attached = true;
        Ok(())
    }

    /// Gives up what was copied.
    pub(super) fn start_over(
        &mut self,
        claim: &Claim,
        table: &Table,
        to: MergeState,
    ) -> Result<(), Error> {
        warn!("copying {} again", claim.table);
        state::transition(
            self.subscriber.open()?,
            &self.settings.queue,
            Actor::Copy,
            table,
            to,
            None,
            |tx| {
                position::set_last_tick(&mut **tx, SCHEMA, &claim.consumer, None)?;
                Ok(true)
            },
        )?;
        // The place in the queue has to be found anew.
        self.claim = None;
        Ok(())
    }
}
