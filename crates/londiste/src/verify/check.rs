//! Going through a table, range by range, on both sides at once.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use pgq::QueueName;
use postgres::SimpleQueryMessage;
use skytools::daemon::{Job, Stop};
use skytools::db::{Connection, Database, DbError, During, Session};
use skytools::table::{self, TableName};
use tracing::{debug, info, warn};

use super::difference::{self, Difference};
use super::fence::{Fence, Terms};
use super::layout::Layout;
use super::progress::Progress;
use super::read::{self, Key, Range, Sum};
use super::resume::{Place, Resume, Totals};
use super::session::begin_snapshot;
use crate::registry::{self, SubscriberTable};
use crate::schema::Side;
use crate::{Config, Error, VerifyError};

/// How many ranges the provider may be ahead of the subscriber.
const AHEAD: usize = 4;

/// How a comparison is done.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    pub(crate) terms: Terms,
    /// Rows in a range.
    pub(crate) chunk: u32,
    /// Time after which the snapshots are let go, and both sides meet anew.
    pub(crate) max_age: Duration,
    pub(crate) json: bool,
    /// Which rows are compared, as SQL; `None`: all.
    pub(crate) condition: Option<String>,
}

/// What becomes of differences.
pub(crate) trait Sink {
    /// Takes some differences; more of their rows can be read on the provider.
    ///
    /// # Errors
    /// They cannot be written, or not be applied.
    fn take(
        &mut self,
        layout: &Layout,
        provider: &mut Session<'_>,
        differences: Vec<Difference>,
    ) -> Result<(), Error>;

    /// Makes sure that what was taken lasts; what a later run needs to go on from here.
    ///
    /// # Errors
    /// As [`Sink::take`].
    fn save(&mut self, layout: &Layout) -> Result<Vec<u64>, Error>;
}

/// Counts only.
pub(crate) struct Count;

impl Sink for Count {
    fn take(&mut self, _: &Layout, _: &mut Session<'_>, _: Vec<Difference>) -> Result<(), Error> {
        Ok(())
    }

    fn save(&mut self, _: &Layout) -> Result<Vec<u64>, Error> {
        Ok(Vec::new())
    }
}

/// Whether a table can be compared.
pub(crate) enum Fit {
    Yes,
    /// The log says why not.
    No,
}

/// How the comparison of a table ended.
pub(crate) enum Checked {
    /// By ranges.
    Ranges(Totals, Match),
    /// It has no key that both sides share.
    NoKey,
}

/// Whether the sums over both sides agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match(pub(crate) bool);

/// The connections of a comparison.
pub(crate) struct Checker {
    queue: QueueName,
    manner: Manner,
    fence: Fence,
    /// Reads ahead, range by range.
    walker: Database,
    /// Looks closer where ranges differ.
    driller: Database,
    subscriber: Database,
}

impl Checker {
    pub(crate) fn new(job: &Job<Config>, manner: Manner) -> Result<Checker, Error> {
        let (config, common) = (&job.config, &job.common);
        Ok(Checker {
            queue: config.pgq_queue_name.clone(),
            fence: Fence::new(config, common, manner.terms.clone())?,
            manner,
            walker: config.provider(common)?,
            driller: config.provider(common)?,
            subscriber: config.subscriber(common)?,
        })
    }

    pub(crate) fn fence(&mut self) -> &mut Fence {
        &mut self.fence
    }

    pub(crate) fn provider(&mut self) -> Result<&mut Connection, Error> {
        Ok(self.walker.connection()?)
    }

    pub(crate) fn subscriber(&mut self) -> Result<&mut Connection, Error> {
        Ok(self.subscriber.connection()?)
    }

    /// Rolls everything back.
    pub(crate) fn reset(&mut self) {
        self.fence.reset();
        self.walker.reset();
        self.driller.reset();
        self.subscriber.reset();
    }

    /// Looks whether a table can be compared.
    pub(crate) fn fits(
        &mut self,
        name: &str,
        subscribed: &[SubscriberTable],
    ) -> Result<Fit, Error> {
        match subscribed.iter().find(|table| table.name == name) {
            None => {
                warn!("Table not subscribed: {name}");
                return Ok(Fit::No);
            }
            Some(table) if !table.is_ok() => {
                info!("Table {name} not synced yet, no point");
                return Ok(Fit::No);
            }
            Some(_) => {}
        }
        let table = TableName::parse(name);
        for (side, database) in [
            ("provider", &mut self.walker),
            ("subscriber", &mut self.subscriber),
        ] {
            if !table::exists_table(&mut **database.connection()?, &table)? {
                warn!("Table {name} does not exist on {side} side");
                return Ok(Fit::No);
            }
        }
        Ok(Fit::Yes)
    }

    /// Makes both sides meet; all connections see the state afterwards.
    pub(crate) fn meet(&mut self, table: &TableName) -> Result<(), Error> {
        let result = self.try_to_meet(table);
        if result.is_err() {
            self.reset();
        }
        result
    }

    fn try_to_meet(&mut self, table: &TableName) -> Result<(), Error> {
        self.fence
            .meet(table, &mut [&mut self.walker, &mut self.driller])?;
        let subscriber = self.subscriber.connection()?;
        begin_snapshot(subscriber, None)?;
        self.fence.release()?;
        let name = table.to_string();
        let tables = registry::subscriber_tables(subscriber, &self.queue)?;
        let ok = |table: &SubscriberTable| table.name == name && table.is_ok();
        match tables.iter().any(ok) {
            true => Ok(()),
            false => Err(VerifyError::NotOk(name).into()),
        }
    }

    /// Lets the snapshots go.
    pub(crate) fn part(&mut self) -> Result<(), Error> {
        for database in [&mut self.walker, &mut self.driller, &mut self.subscriber] {
            database
                .connection()?
                .batch_execute("rollback")
                .during("end a snapshot")?;
        }
        Ok(())
    }

    /// Runs a query on each side, at the same time; both must have met. The first rows, as text.
    pub(crate) fn both(&mut self, here: &str, there: &str) -> Result<(String, String), Error> {
        let provider = self.walker.connection()?;
        let subscriber = self.subscriber.connection()?;
        let (here, there) = thread::scope(|scope| {
            let there = scope.spawn(|| first_row(subscriber, there, Side::Subscriber));
            let here = first_row(provider, here, Side::Provider);
            (here, there.join().expect("a query does not panic"))
        });
        Ok((here?, there?))
    }

    /// What is compared of the table; both sides must have met.
    pub(crate) fn layout(&mut self, table: &TableName) -> Result<Layout, Error> {
        let subscriber = self.subscriber.connection()?;
        let condition = self.manner.condition.as_deref();
        Layout::read(self.driller.connection()?, subscriber, table, condition)
    }

    /// Compares a table, from where an earlier run ended.
    pub(crate) fn table(
        &mut self,
        table: &TableName,
        resume: &mut Resume,
        sink: &mut dyn Sink,
        title: &str,
    ) -> Result<Checked, Error> {
        let result = self.ranges(table, resume, sink, title);
        if result.is_err() {
            self.reset();
        }
        result
    }

    fn ranges(
        &mut self,
        table: &TableName,
        resume: &mut Resume,
        sink: &mut dyn Sink,
        title: &str,
    ) -> Result<Checked, Error> {
        let name = table.to_string();
        let place = resume.state.current.take().filter(|at| at.table == name);
        let mut after = place.as_ref().and_then(Place::after);
        let mut totals = match (&after, place) {
            (Some(_), Some(place)) => place.totals,
            _ => Totals::default(),
        };
        let total = table::expected_rows(&mut **self.provider()?, table)?;
        let mut progress: Option<Progress> = None;
        loop {
            self.meet(table)?;
            let layout = self.layout(table)?;
            if layout.key_length == 0 {
                return Ok(Checked::NoKey);
            }
            if after
                .as_ref()
                .is_some_and(|key| key.len() != layout.key_length)
            {
                return Err(VerifyError::KeyChanged(name).into());
            }
            let progress = progress.get_or_insert_with(|| {
                layout.warn();
                info!("{title} {table}");
                Progress::new(table, total, totals.provider_rows, self.manner.json)
            });
            let mut walk = Walk {
                layout: &layout,
                totals: &mut totals,
                progress,
                resume,
                sink,
                stop: &self.manner.terms.stop,
            };
            let next = walk.run(
                self.walker.connection()?,
                self.driller.connection()?,
                self.subscriber.connection()?,
                after,
                &self.manner,
            )?;
            self.part()?;
            after = next;
            if after.is_none() {
                sink.save(&layout)?;
                progress.finish(totals.differences());
                let equal = totals.provider_rows == totals.subscriber_rows
                    && totals.provider_hash == totals.subscriber_hash;
                let same_types = !layout.columns.iter().any(|column| column.types_differ);
                return Ok(Checked::Ranges(totals, Match(equal || !same_types)));
            }
            debug!("{table}: taking new snapshots");
        }
    }
}

/// A range, and what the provider has in it.
type Step = Result<(Range, Sum), DbError>;

/// One way through a table, as long as the snapshots may live.
struct Walk<'a> {
    layout: &'a Layout,
    totals: &'a mut Totals,
    progress: &'a mut Progress,
    resume: &'a mut Resume,
    sink: &'a mut dyn Sink,
    stop: &'a Stop,
}

impl Walk<'_> {
    /// Compares ranges; the key to go on behind, or `None` at the end of the table.
    fn run(
        &mut self,
        walker: &mut Connection,
        driller: &mut Connection,
        subscriber: &mut Connection,
        after: Option<Key>,
        manner: &Manner,
    ) -> Result<Option<Key>, Error> {
        let layout = self.layout;
        let (send, receive) = mpsc::sync_channel(AHEAD);
        let end = Instant::now().checked_add(manner.max_age);
        thread::scope(|scope| {
            scope.spawn(move || walk(walker, layout, after, manner.chunk, end, &send));
            self.follow(driller, subscriber, receive)
        })
    }

    fn follow(
        &mut self,
        driller: &mut Connection,
        subscriber: &mut Connection,
        steps: Receiver<Step>,
    ) -> Result<Option<Key>, Error> {
        let mut reached = None;
        for step in steps {
            let (range, here) = step?;
            let there = read::sum(subscriber, self.layout, Side::Subscriber, &range)?;
            if here != there {
                self.drill(driller, subscriber, &range)?;
            }
            let totals = &mut *self.totals;
            totals.provider_rows += here.rows;
            totals.provider_hash += here.hash;
            totals.subscriber_rows += there.rows;
            totals.subscriber_hash += there.hash;
            self.progress.add(here.rows, totals.differences());
            reached = range.last;
            let stopped = self.stop.requested();
            if reached.is_some() && (stopped || self.resume.is_due()) {
                self.save(reached.as_ref())?;
            }
            if stopped && reached.is_some() {
                return Err(Error::Interrupted);
            }
        }
        Ok(reached)
    }

    fn drill(
        &mut self,
        driller: &mut Connection,
        subscriber: &mut Connection,
        range: &Range,
    ) -> Result<(), Error> {
        let (layout, totals, sink) = (self.layout, &mut *self.totals, &mut *self.sink);
        let mut tell = |provider: &mut Session<'_>, found: Vec<Difference>| {
            for difference in &found {
                match difference {
                    Difference::Missing(_) => totals.missing += 1,
                    Difference::Extra(_) => totals.extra += 1,
                    Difference::Changed { .. } => totals.changed += 1,
                }
            }
            match found.is_empty() {
                true => Ok(()),
                false => sink.take(layout, provider, found),
            }
        };
        difference::drill(driller, subscriber, layout, range, &mut tell)
    }

    fn save(&mut self, reached: Option<&Key>) -> Result<(), Error> {
        if !self.resume.is_kept() {
            return Ok(());
        }
        let parts = self.sink.save(self.layout)?;
        let name = self.layout.table.to_string();
        self.resume.state.current = Some(Place::new(&name, reached, *self.totals, parts));
        self.resume.save()
    }
}

/// Sums up range after range, until the table or the time ends, or nobody listens.
fn walk(
    db: &mut Connection,
    layout: &Layout,
    after: Option<Key>,
    chunk: u32,
    end: Option<Instant>,
    send: &SyncSender<Step>,
) {
    let mut rest = Range { after, last: None };
    loop {
        let step = read::first_part(db, layout, Side::Provider, &rest, chunk);
        let next = step.as_ref().ok().and_then(|(range, _)| range.last.clone());
        if send.send(step).is_err() || next.is_none() || end.is_some_and(|end| Instant::now() > end)
        {
            return;
        }
        rest.after = next;
    }
}

/// The first row of the first result, its values as text joined by `, `.
fn first_row(db: &mut Session<'_>, sql: &str, side: Side) -> Result<String, DbError> {
    let messages = db
        .simple_query(&format!("set local enable_seqscan = on; {sql}"))
        .during(format!("run the comparing query on the {}", side.name()))?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let Some(row) = row else {
        return Ok(String::new());
    };
    let values: Vec<&str> = (0..row.len())
        .map(|nr| row.get(nr).unwrap_or("NULL"))
        .collect();
    Ok(values.join(", "))
}
