use postgres::types::Type;
use skytools::db::{Connection, During, Tx};

use super::source::{Events, Source};
use crate::batch::{self, Batch, BatchInfo, Event, EventText};
use crate::{Error, EventId};

/// What a serial consumer does with a batch, in two steps.
pub trait BatchWork {
    /// What the steps can fail with.
    type Error: From<Error>;

    /// Makes at the target what has to be committed before the rows, such as new partitions; true if
    /// there was anything.
    ///
    /// It may run again for the same batch, when the process died in between.
    ///
    /// # Errors
    /// Nothing is committed then, and the batch comes again.
    fn prepare(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
    ) -> Result<bool, Self::Error> {
        let _ = (batch, target);
        Ok(false)
    }

    /// Applies the batch in the target's transaction, which also holds the new position.
    ///
    /// # Errors
    /// Nothing is applied then, and the batch comes again.
    fn apply(&mut self, batch: &mut OpenBatch<'_>, target: &mut Tx<'_>) -> Result<(), Self::Error>;

    /// Whether `apply` broke off because something was not prepared, and `prepare` knows what by now: the
    /// transaction is undone then, and both steps are gone through again.
    fn is_unprepared(&self, error: &Self::Error) -> bool {
        let _ = error;
        false
    }
}

/// A batch that a consumer has open, and the connection to read it with.
pub struct OpenBatch<'a> {
    source: &'a mut Source,
    batch: &'a Batch,
    count: i64,
    /// Condition on the events that are looked at, if these are not all.
    only: Option<String>,
    /// First and last of the events that were streamed last.
    seen: Option<(EventId, EventId)>,
}

impl<'a> OpenBatch<'a> {
    pub(super) fn new(source: &'a mut Source, batch: &'a Batch) -> OpenBatch<'a> {
        OpenBatch {
            source,
            batch,
            count: 0,
            only: None,
            seen: None,
        }
    }

    /// Its id and ticks.
    pub fn batch(&self) -> &Batch {
        self.batch
    }

    /// How many events were read so far.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// When it begins and ends.
    ///
    /// # Errors
    /// The source failed, or the batch is not open any more.
    pub fn info(&mut self) -> Result<BatchInfo, Error> {
        let batch = self.batch.id;
        batch::info(&mut **self.source()?, batch)?.ok_or(Error::BatchGone(batch))
    }

    /// The connection to the source, between two readings.
    ///
    /// # Errors
    /// The source cannot be reached.
    pub fn source(&mut self) -> Result<&mut Connection, Error> {
        Ok(self.source.db.connection()?)
    }

    /// Goes through the events in order, in bounded memory.
    ///
    /// # Errors
    /// The source failed, or what `handle` returned.
    pub fn for_each<E: From<Error>>(
        &mut self,
        mut handle: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        self.with_events(|events| {
            while let Some(event) = events.next()? {
                handle(event)?;
            }
            Ok(())
        })
    }

    /// Goes through the events in order, as the server sends them by COPY, one in memory at a time: faster
    /// than [`OpenBatch::for_each`], whatever their size.
    ///
    /// # Errors
    /// The source failed, or what `handle` returned.
    pub fn stream<E: From<Error>>(
        &mut self,
        mut handle: impl FnMut(EventText<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut seen: Option<(EventId, EventId)> = None;
        let streamed = self.stream_with(|event| {
            seen = Some((seen.map_or(event.id, |(first, _)| first), event.id));
            handle(event)
        });
        self.seen = seen;
        self.counted(streamed?);
        Ok(())
    }

    fn stream_with<E: From<Error>>(
        &mut self,
        handle: impl FnMut(EventText<'_>) -> Result<(), E>,
    ) -> Result<i64, E> {
        let (mut source, query) = self.query(&EventText::COLUMNS)?;
        let count = batch::stream(&mut source, &query, handle)?;
        source.rollback().map_err(Error::from)?;
        Ok(count)
    }

    /// Has [`OpenBatch::stream`] pass over events for which an SQL condition does not hold; `None`: over none.
    pub(crate) fn restrict(&mut self, only: Option<String>) {
        self.only = only;
    }

    /// First and last of the events that were streamed last, though it may have failed.
    pub(crate) fn seen(&self) -> Option<(EventId, EventId)> {
        self.seen
    }

    /// Lends the events, which can be gone through once.
    pub(super) fn with_events<E: From<Error>>(
        &mut self,
        read: impl FnOnce(&mut Events<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut events = self.source.events(self.batch)?;
        read(&mut events)?;
        self.count = events.close()?;
        Ok(())
    }

    /// A query for some columns of the events, in order, and a transaction on the source to run it in.
    ///
    /// The one who runs it says with [`OpenBatch::counted`] how many there were.
    ///
    /// # Errors
    /// The source cannot be reached.
    pub fn query(&mut self, columns: &[&str]) -> Result<(Tx<'_>, String), Error> {
        let mut filter = match &self.source.config.filter {
            Some(filter) => format!(" where ({filter}\n)"),
            None => String::new(),
        };
        if let Some(only) = &self.only {
            filter.push_str(if filter.is_empty() {
                " where "
            } else {
                " and "
            });
            filter.push_str(only);
        }
        let batch = self.batch.id;
        let mut tx = self.source()?.begin()?;
        // What the functions for it run, without the copy of all events that they make. Compiling it would take longer
        // than running it, and workers more of the processor than they save.
        let row = tx
            .query_typed_one(
                "select pgq.batch_event_sql($1) from pg_catalog.set_config('jit', 'off', true) jit, \
                        pg_catalog.set_config('max_parallel_workers_per_gather', '0', true) workers",
                &[(&batch, Type::INT8)],
            )
            .during("ask for the query of the batch")?;
        let query: &str = row.get(0);
        let sql = format!(
            "select {} from ({query}\n) e{filter} order by ev_id",
            columns.join(", "),
        );
        Ok((tx, sql))
    }

    /// Says how many events there were.
    pub fn counted(&mut self, events: i64) {
        self.count = events;
    }
}
