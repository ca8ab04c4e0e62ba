//! The events of one batch on their way to the tables.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pgq::EventId;
use pgq::batch::EventText;
use pgq::mover::drift::{Drift, Lacking};
use pgq::mover::partition::{PartitionError, Partitions, Wanted};
use pgq::mover::row::{Reason, Rows};
use pgq::mover::{Courier, Report};
use pgq::row::{Op, RowEvent};
use skytools::db::DbError;
use skytools::table::TableName;

use crate::config::{KeepAllDelete, Mode};
use crate::destination::{Destination, Done, Table};
use crate::layout::Layout;
use crate::like::Like;
use crate::{CubeConfig, Error};

/// Rows of all tables are sent when they have so many bytes.
const ALL_BYTES: usize = 16 * 1024 * 1024;

/// The clock is looked at once for so many events.
const PROGRESS_EVENTS: u64 = 1024;

/// Kinds of rows that are remembered.
const LIKES: usize = 16;

/// What is known of the target, from batch to batch.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) partitions: Partitions,
    pub(crate) layouts: HashMap<TableName, Arc<Layout>>,
    /// Tables that events were for, with their keys.
    pub(crate) parents: HashMap<TableName, Vec<String>>,
    /// What has to be made before a batch can be applied.
    pub(crate) missing: Missing,
}

/// What the target lacks.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) tables: Vec<Wanted>,
    pub(crate) columns: Vec<Lacking>,
}

/// Why an event was not taken.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Because of itself.
    Event(Reason),
    /// Because of the rest of the world.
    Error(Error),
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Fault {
        Fault::Event(reason)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Error(error)
    }
}

impl From<DbError> for Fault {
    fn from(error: DbError) -> Fault {
        Fault::Error(error.into())
    }
}

impl From<PartitionError> for Fault {
    fn from(error: PartitionError) -> Fault {
        Fault::Error(error.into())
    }
}

/// A batch.
pub(crate) struct Work<'a> {
    config: &'a CubeConfig,
    rows: &'a Rows,
    known: &'a mut Known,
    /// End of the names of tables.
    label: &'a str,
    /// Whether the period is past its time, so that its rows are left out.
    is_past: bool,
    /// Where the rows of a table go, by its name in events; `None`: nowhere yet.
    places: HashMap<Vec<u8>, Option<usize>>,
    destinations: Vec<Destination>,
    /// Rows that others like them can follow in the short way.
    likes: Vec<Like>,
    /// Tables whose columns were looked up for this batch.
    looked_up: HashSet<TableName>,
    /// Bytes that wait.
    bytes: usize,
    events: u64,
}

impl<'a> Work<'a> {
    pub(crate) fn new(
        config: &'a CubeConfig,
        rows: &'a Rows,
        known: &'a mut Known,
        label: &'a str,
        is_past: bool,
    ) -> Work<'a> {
        Work {
            config,
            rows,
            known,
            label,
            is_past,
            places: HashMap::new(),
            destinations: Vec::new(),
            likes: Vec::new(),
            looked_up: HashSet::new(),
            bytes: 0,
            events: 0,
        }
    }

    /// Takes an event along; sends what has gathered when it is much.
    pub(crate) fn put(
        &mut self,
        event: &EventText<'_>,
        courier: &mut Courier<'_, '_, '_>,
        report: &mut Report,
    ) -> Result<(), Fault> {
        self.events += 1;
        if self.events.is_multiple_of(PROGRESS_EVENTS) {
            report.progress(self.events);
        }
        if self.put_like(event, courier, report)? {
            return Ok(());
        }
        let row = self.rows.read(event.fields())?;
        if self.is_past {
            report.add("past", 1);
            return Ok(());
        }
        match (self.config.mode, row.op) {
            (Mode::KeepLatest, _) if row.keys.is_empty() => return Err(Reason::NoKey.into()),
            (Mode::KeepAll, Op::Delete) => match self.config.keep_all_delete {
                KeepAllDelete::Ignore => {
                    report.add("deletes", 1);
                    return Ok(());
                }
                KeepAllDelete::Fail => {
                    let reason = "a delete, of which keep_all keeps nothing; see keep_all_delete";
                    return Err(Reason::Other(reason.to_owned()).into());
                }
            },
            _ => {}
        }
        let Some(place) = self.place(&row, courier)? else {
            return Ok(());
        };
        let unknown = self.destinations[place].look_at(&row);
        if !unknown.is_empty() {
            self.lacks(place, event.id, unknown, courier)?;
        }
        if !self.known.missing.is_empty() {
            // Nothing of this pass will stay: it is for finding out what else is missing.
            return Ok(());
        }
        let old = match row.op {
            Op::Update if self.config.mode == Mode::KeepLatest && self.config.delete_old_key => {
                self.rows.old_row(event.fields())
            }
            _ => None,
        };
        let destination = &mut self.destinations[place];
        if destination.is_partial() {
            report.add("drifted", 1);
        }
        let before = destination.bytes();
        let done = destination.put(&row, old.as_ref(), courier)??;
        if self.may_have_likes(event) {
            let columns = self.rows.row(event.data.as_deref());
            let destination = &self.destinations[place];
            let like = columns
                .ok()
                .and_then(|c| destination.like(event, &row, &c, place));
            self.likes.extend(like);
        }
        self.added(place, before, done, courier, report)?;
        Ok(())
    }

    /// Takes an event whose row is like one before it; false if it is not.
    fn put_like(
        &mut self,
        event: &EventText<'_>,
        courier: &mut Courier<'_, '_, '_>,
        report: &mut Report,
    ) -> Result<bool, DbError> {
        let likes = self.likes.iter_mut().filter(|like| like.is_of(event));
        for like in likes {
            let (place, destination) = (like.place, &mut self.destinations[like.place]);
            let before = destination.bytes();
            if destination.put_like(like, event, courier)? {
                self.added(place, before, Done::default(), courier, report)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether it pays to remember a row.
    fn may_have_likes(&self, event: &EventText<'_>) -> bool {
        self.config.mode == Mode::KeepAll
            && self.rows.keeps_utf8()
            && self.likes.len() < LIKES
            && event.data.as_deref().is_some_and(<[u8]>::is_ascii)
    }

    /// Counts what was put somewhere, where so many bytes were before; sends what has gathered when it is much.
    fn added(
        &mut self,
        place: usize,
        before: usize,
        done: Done,
        courier: &mut Courier<'_, '_, '_>,
        report: &mut Report,
    ) -> Result<(), DbError> {
        let destination = &self.destinations[place];
        self.bytes = (self.bytes + destination.bytes()).saturating_sub(before);
        note(report, &destination.table.name, done);
        if self.bytes >= ALL_BYTES {
            for destination in &mut self.destinations {
                destination.flush(courier)?;
            }
            self.bytes = 0;
        }
        Ok(())
    }

    /// Applies all that has gathered.
    pub(crate) fn finish(
        mut self,
        courier: &mut Courier<'_, '_, '_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let missing = &self.known.missing;
        let table = (missing.tables.first().map(|wanted| &wanted.table)).or(missing
            .columns
            .first()
            .and_then(|lacking| lacking.tables.last()));
        if let Some(table) = table {
            return Err(Error::Unprepared(table.clone()));
        }
        for destination in &mut self.destinations {
            let done = destination.finish(courier)?;
            note(report, &destination.table.name, done);
        }
        courier.target()?;
        for (number, inserted) in courier.sent() {
            let table = &self.destinations[number].table.name;
            report.of(&table.to_string()).inserted += inserted;
        }
        Ok(())
    }

    /// Where the row goes; `None` if its table does not exist yet.
    fn place(
        &mut self,
        row: &RowEvent<'_>,
        courier: &mut Courier<'_, '_, '_>,
    ) -> Result<Option<usize>, Fault> {
        let name = row.table.as_deref().unwrap_or_default();
        if let Some(place) = self.places.get(name) {
            return Ok(*place);
        }
        let text = std::str::from_utf8(name).map_err(|_| Reason::NoTable)?;
        let parent = TableName::parse(text);
        let keys = row.keys.iter().map(|(key, _)| String::from_utf8_lossy(key));
        let keys: Vec<String> = keys.map(std::borrow::Cow::into_owned).collect();
        let partitions = &mut self.known.partitions;
        let column = self.config.time_column(partitions.config().part_style);
        let mut wanted = partitions.wanted(&parent, self.label, column)?;
        wanted.keys.clone_from(&keys);
        self.known.parents.insert(parent.clone(), keys);
        let place = match partitions.exists(&mut **courier.target()?, &wanted)? {
            true => {
                let layout = self.layout(&wanted.table, courier)?;
                let table = Table::new(&wanted, layout);
                let number = self.destinations.len();
                let destination = Destination::new(parent, table, self.config.mode, number);
                self.destinations.push(destination);
                Some(number)
            }
            false => {
                self.known.missing.tables.push(wanted);
                None
            }
        };
        self.places.insert(name.to_vec(), place);
        Ok(place)
    }

    fn layout(
        &mut self,
        table: &TableName,
        courier: &mut Courier<'_, '_, '_>,
    ) -> Result<Arc<Layout>, DbError> {
        if let Some(known) = self.known.layouts.get(table) {
            return Ok(known.clone());
        }
        let layout = Arc::new(Layout::look(&mut **courier.target()?, table)?);
        self.known.layouts.insert(table.clone(), layout.clone());
        self.looked_up.insert(table.clone());
        Ok(layout)
    }

    /// Decides what becomes of columns that the table lacks.
    fn lacks(
        &mut self,
        place: usize,
        event: EventId,
        columns: Vec<String>,
        courier: &mut Courier<'_, '_, '_>,
    ) -> Result<(), Error> {
        let Destination { parent, table, .. } = &self.destinations[place];
        if !self.looked_up.contains(&table.name) {
            // It may have got them since it was looked up for another batch.
            let layout = Arc::new(Layout::look(&mut **courier.target()?, &table.name)?);
            let is_same = layout == table.layout;
            self.known.layouts.insert(table.name.clone(), layout);
            if !is_same {
                return Err(Error::Unprepared(table.name.clone()));
            }
            self.looked_up.insert(table.name.clone());
        }
        for column in columns {
            match self.config.drift {
                Drift::Fail => {
                    return Err(Error::UnknownColumn {
                        event,
                        column,
                        table: table.name.clone(),
                    });
                }
                Drift::Ignore => {}
                Drift::Add => self.known.missing.columns.push(Lacking {
                    source: Some((parent.clone(), column.clone())),
                    // So that the next ones have it, too.
                    tables: vec![parent.clone(), table.name.clone()],
                    column,
                }),
            }
        }
        Ok(())
    }
}

impl Missing {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.columns.is_empty()
    }
}

/// Counts what was done to a table.
fn note(report: &mut Report, table: &TableName, done: Done) {
    if done == Done::default() {
        return;
    }
    let counts = report.of(&table.to_string());
    counts.inserted += done.inserted;
    counts.deleted += done.deleted;
    if done.null_keys > 0 {
        report.add("null_key", done.null_keys);
    }
}
