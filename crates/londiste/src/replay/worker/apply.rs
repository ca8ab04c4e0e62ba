//! Applying a batch.

use pgq::batch::Batch;
use postgres::types::Type;
use skytools::app::chain;
use skytools::db::{Connection, DbError, During};
use tracing::{debug, warn};

use super::super::ahead;
use super::super::apply::{self, Manner, Route, Routes};
use super::super::attach;
use super::super::control::{ReplayControl, follow_registration};
use super::super::fkeys::LOCK_TIMEOUT;
use super::super::order::Order;
use super::super::state::{MergeState, Table};
use super::super::stream::{self, Counts};
use super::Replay;
use crate::{Error, failpoint};

impl Replay {
    /// Applies the batch and stores its tick, in one transaction. Between its begin and its end
    /// nothing else commits on the subscriber.
    fn apply(&mut self, batch: &Batch, tables: &[Table], order: Order) -> Result<Counts, Error> {
        let careful = self.careful.from(batch);
        let mut routes: Routes = tables
            .iter()
            .filter(|table| table.state == MergeState::Ok)
            .map(|table| {
                let route = Route::new(table.snapshot.clone());
                (table.name.clone(), route)
            })
            .collect();
        let mut control = ReplayControl {
            queue: &self.settings.queue,
            subscribed: tables.iter().map(|table| table.name.clone()).collect(),
            removed: Vec::new(),
            gone: Vec::new(),
            spared: Vec::new(),
            in_progress: (tables.iter())
                .filter(|table| table.state.in_progress())
                .map(|table| table.name.clone())
                .collect(),
            watermark: None,
            changed: false,
            reported: &mut self.reported,
        };
        let subscriber = self.subscriber.open()?;
        self.merging.look(subscriber, tables, false)?;
        let mut tx = subscriber.begin()?;
        if careful.is_some() {
            stream::defer_constraints(&mut tx)?;
        }
        let manner = Manner {
            order,
            ..self.settings.manner
        };
        // While copies run, everything is done in turns; a relay reads each batch twice.
        let may_read_ahead = self.in_progress == 0 && self.mirror.is_none();
        let reader = self.settings.reader(self.merging.is_safe());
        let counts = match self.provider.take().filter(|_| may_read_ahead) {
            Some(chunks) => {
                self.provider.read_ahead(reader, batch)?;
                let control = &mut control;
                stream::apply_chunks(chunks, &mut tx, &mut routes, manner, careful, control)?
            }
            None => {
                let next = may_read_ahead.then_some(reader);
                let mut events = self.provider.stream(batch, manner, next)?;
                let applied = apply::warm_up(&mut tx).and_then(|()| {
                    let control = &mut control;
                    stream::apply_chunks(
                        &mut events,
                        &mut tx,
                        &mut routes,
                        manner,
                        careful,
                        control,
                    )
                });
                self.provider.streamed(events, applied)?
            }
        };
        let ReplayControl {
            mut removed,
            gone,
            spared,
            watermark,
            changed,
            ..
        } = control;
        if changed {
            let provider = self.provider.open()?;
            let queue = &self.settings.queue;
            removed.extend(follow_registration(&mut tx, provider, queue, gone, spared)?);
        }
        if let Some(mirror) = &self.mirror {
            mirror.copy_events(self.provider.open()?, batch, &mut tx)?;
        }
        attach::store(&mut tx, &self.settings.consumer, batch, self.times)?;
        // A provider that forgets the batch must not find it applied: it might cut it in another way.
        self.provider.settle()?;
        failpoint::step("replay.before_commit");
        tx.commit()?;
        failpoint::step("replay.committed");
        if let Some(mirror) = &mut self.mirror {
            let (provider, subscriber) = (self.provider.open()?, self.subscriber.open()?);
            mirror.tick(batch.tick, provider, subscriber)?;
            if let Some(tick) = watermark {
                mirror.pin(tick, subscriber)?;
            }
        }
        for table in removed {
            self.release(&table)?;
        }
        Ok(counts)
    }

    /// Gives a table that is not subscribed any more its triggers and foreign keys back. What fails
    /// is only warned about: the batch is applied.
    fn release(&mut self, table: &str) -> Result<(), Error> {
        let subscriber = self.subscriber.open()?;
        if let Err(error) = restore_triggers(subscriber, table) {
            if error.is_connection_lost() {
                return Err(error.into());
            }
            warn!(
                "{}; they are kept in londiste.subscriber_pending_triggers, see \
                 londiste.subscriber_restore_all_table_triggers()",
                chain(&error)
            );
        }
        self.fkeys.release(table, subscriber)
    }

    /// Applies the batch; a large one as the provider has it stored, and if that fails, which may be because of the
    /// order, sorted.
    fn apply_large(&mut self, batch: &Batch, tables: &[Table]) -> Result<Counts, Error> {
        if self.careful.from(batch).is_none() && !self.provider.has_read() {
            let events = ahead::events(&mut **self.provider.open()?, &self.settings.queue, batch)?;
            let order = self.order.order(events);
            match self.apply(batch, tables, order) {
                Err(error)
                    if order == Order::AsStored
                        && !error.is_connection_lost()
                        && !error.is_out_of_memory() =>
                {
                    debug!("the batch is read again, sorted: {}", chain(&error));
                    self.order.failed();
                }
                done => return done,
            }
        }
        self.apply(batch, tables, Order::Sorted)
    }

    /// Applies the batch; when a unit of statements fails, once more, with constraints deferred and
    /// with single statements from there on, so that the error names the event.
    pub(super) fn apply_or_explain(
        &mut self,
        batch: &Batch,
        tables: &[Table],
    ) -> Result<Counts, Error> {
        match self.apply_large(batch, tables) {
            Err(error) if self.careful.may_help(batch, &error) => {
                self.apply(batch, tables, Order::Sorted)
            }
            done => done,
        }
    }
}

fn restore_triggers(subscriber: &mut Connection, table: &str) -> Result<(), DbError> {
    let mut tx = subscriber.begin()?;
    tx.batch_execute(LOCK_TIMEOUT).during("limit lock waits")?;
    tx.query_typed(
        "select londiste.subscriber_restore_all_table_triggers($1)",
        &[(&table, Type::TEXT)],
    )
    .during(format!("restore the triggers of {table}"))?;
    tx.commit()
}
