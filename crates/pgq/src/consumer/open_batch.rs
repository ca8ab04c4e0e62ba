use postgres::types::Type;
use skytools::db::{Connection, During, Tx};

use super::source::{Events, Source};
use crate::batch::{self, Batch, BatchInfo, Event, EventText, Order, Reading};
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
    /// Whether events may have come in a wrong order, so that the batch has to be read again.
    is_doubtful: bool,
}

/// What the server puts behind the query of a batch.
const BY_ID: &str = " order by 1";

impl<'a> OpenBatch<'a> {
    pub(super) fn new(source: &'a mut Source, batch: &'a Batch) -> OpenBatch<'a> {
        OpenBatch {
            source,
            batch,
            count: 0,
            only: None,
            seen: None,
            is_doubtful: false,
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

    /// Goes through the events in order, as the server sends them by COPY, faster than [`OpenBatch::for_each`]
    /// whatever their size; a few are read ahead while `handle` works.
    ///
    /// # Errors
    /// The source failed, or what `handle` returned. With [`Error::OutOfOrder`] what was done has to be undone, and the
    /// batch to be read again: the frame of [`BatchWork`] does both.
    pub fn stream<E: From<Error>>(
        &mut self,
        handle: impl FnMut(EventText<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read(Reading::Ahead, handle)
    }

    /// As [`OpenBatch::stream`], and nothing is read ahead: for a `handle` that does not wait for anything, as one that
    /// hands over to another thread.
    ///
    /// # Errors
    /// As [`OpenBatch::stream`].
    pub fn stream_here<E: From<Error>>(
        &mut self,
        handle: impl FnMut(EventText<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read(Reading::Here, handle)
    }

    fn read<E: From<Error>>(
        &mut self,
        reading: Reading,
        mut handle: impl FnMut(EventText<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut seen: Option<(EventId, EventId)> = None;
        let read = self.read_by(reading, |event| {
            seen = Some((seen.map_or(event.id, |(first, _)| first), event.id));
            handle(event).map_err(Stopped::ByHandle)
        });
        self.seen = seen;
        match read {
            Ok(count) => {
                self.counted(count);
                Ok(())
            }
            Err(Stopped::Failed(error)) => {
                if matches!(error, Error::OutOfOrder) {
                    self.doubt_order();
                }
                Err(error.into())
            }
            Err(Stopped::InDoubt(error)) => {
                self.doubt_order();
                Err(error)
            }
            Err(Stopped::ByHandle(error)) => Err(error),
        }
    }

    fn read_by<E>(
        &mut self,
        reading: Reading,
        handle: impl FnMut(EventText<'_>) -> Result<(), Stopped<E>>,
    ) -> Result<i64, Stopped<E>> {
        let order = match self.source.expects_disorder() {
            true => Order::ById,
            false => Order::AsStored,
        };
        let (mut source, query, order) = self.query_by(order, &EventText::COLUMNS)?;
        let read = batch::stream(&mut source, &query, order, reading, handle);
        let count = read.map_err(|stopped| match (stopped, order) {
            (Stopped::ByHandle(error), Order::AsStored) => Stopped::InDoubt(error),
            (stopped, _) => stopped,
        })?;
        source.rollback().map_err(Error::from)?;
        Ok(count)
    }

    /// Has the events be read by their ids from now on.
    fn doubt_order(&mut self) {
        self.source.expect_disorder();
        self.is_doubtful = true;
    }

    /// Whether events came too far out of order since it was asked last, or one was refused before it was sure that all
    /// those before it had come: what was done with them has to be undone, and they come in order when the batch is read
    /// again.
    pub(crate) fn was_doubtful(&mut self) -> bool {
        std::mem::take(&mut self.is_doubtful)
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
        let (tx, query, _) = self.query_by(Order::ById, columns)?;
        Ok((tx, query))
    }

    /// As [`OpenBatch::query`], in the order that is wanted where that can be; returns the one that it is.
    fn query_by(
        &mut self,
        wanted: Order,
        columns: &[&str],
    ) -> Result<(Tx<'_>, String, Order), Error> {
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
        // than running it, and workers more of the processor than they save; and a scan that begins where another one
        // is reads events in the worst order.
        let row = tx
            .query_typed_one(
                "select pgq.batch_event_sql($1) from pg_catalog.set_config('jit', 'off', true) jit, \
                        pg_catalog.set_config('max_parallel_workers_per_gather', '0', true) workers, \
                        pg_catalog.set_config('synchronize_seqscans', 'off', true) scans",
                &[(&batch, Type::INT8)],
            )
            .during("ask for the query of the batch")?;
        let by_id: &str = row.get(0);
        let as_stored = by_id
            .strip_suffix(BY_ID)
            .filter(|_| wanted == Order::AsStored);
        // Of several tables, or parts of one, each has an order of its own.
        let as_stored = as_stored.filter(|query| !query.contains("union all"));
        let (query, order, end) = match as_stored {
            Some(query) => (query, Order::AsStored, ""),
            None => (by_id, Order::ById, " order by ev_id"),
        };
        let columns = columns.join(", ");
        let sql = format!("select {columns} from ({query}\n) e{filter}{end}");
        Ok((tx, sql, order))
    }

    /// Says how many events there were.
    pub fn counted(&mut self, events: i64) {
        self.count = events;
    }
}

/// Why events were not gone through to the end.
enum Stopped<E> {
    Failed(Error),
    ByHandle(E),
    /// As that, while an event that belongs before may have been yet to come.
    InDoubt(E),
}

impl<E> From<Error> for Stopped<E> {
    fn from(error: Error) -> Stopped<E> {
        Stopped::Failed(error)
    }
}
