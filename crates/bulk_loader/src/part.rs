//! The part of a batch that is in memory.

use std::collections::{BTreeSet, HashMap};

use pgq::batch::EventText;
use pgq::failpoint;
use pgq::mover::Report;
use pgq::mover::row::{Reason, Refused, Rows};
use pgq::row::{self, RowEvent};
use skytools::db::{During, Tx};
use skytools::record::Record;
use skytools::shape;
use skytools::table::TableName;
use tracing::{debug, warn};

use crate::config::{DistJoin, MissingTable, Truncate};
use crate::loader::Told;
use crate::merge::Op;
use crate::table::{Event, Scratch, Table};
use crate::{Config, Error, distribution, equality, load};

/// Bytes in a megabyte.
const MEGABYTE: usize = 1024 * 1024;

/// Events after which it is time to look whether progress is to be told.
const TOLD: u64 = 1024;

/// Events of a batch that wait to be applied, by the tables that they go to.
pub(crate) struct Part<'p> {
    config: &'p Config,
    rows: &'p Rows,
    told: &'p mut Told,
    tables: &'p mut BTreeSet<TableName>,
    refused: Refused<'p>,
    destinations: Vec<Destination>,
    /// Places of the destinations by what events say, and the keys that replace those of the events.
    places: HashMap<String, usize>,
    /// What the last event said, and its place.
    last: Option<(String, usize)>,
    /// Memory that all changes take.
    bytes: usize,
    events: u64,
    scratch: Scratch,
}

/// Where the events of a table go.
struct Destination {
    name: TableName,
    /// `None` if it does not exist.
    table: Option<Box<Table>>,
}

impl<'p> Part<'p> {
    /// `told` and `tables` take what is said, and which tables events are for.
    pub(crate) fn new(
        config: &'p Config,
        rows: &'p Rows,
        told: &'p mut Told,
        tables: &'p mut BTreeSet<TableName>,
    ) -> Part<'p> {
        Part {
            config,
            rows,
            told,
            tables,
            refused: rows.refused(),
            destinations: Vec::new(),
            places: HashMap::new(),
            last: None,
            bytes: 0,
            events: 0,
            scratch: Scratch::default(),
        }
    }

    /// Takes an event; applies what has gathered when it is much.
    pub(crate) fn take(
        &mut self,
        event: &EventText<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        self.events += 1;
        if self.events.is_multiple_of(TOLD) {
            report.progress(self.events);
        }
        match self.rows.read(event.fields()) {
            Ok(row) => match self.row(event, row, target, report)? {
                None => {}
                Some(reason) => self.refused.take(event, &reason, target, report)?,
            },
            Err(Reason::Truncate) if self.config.truncate != Truncate::Refuse => {
                if let Some(reason) = self.truncate(event, target)? {
                    self.refused.take(event, &reason, target, report)?;
                }
            }
            Err(reason) => self.refused.take(event, &reason, target, report)?,
        }
        if self.bytes >= self.config.batch_memory_limit.saturating_mul(MEGABYTE) {
            self.apply(target, report)?;
        }
        Ok(())
    }

    /// Applies all that is left.
    pub(crate) fn finish(mut self, target: &mut Tx<'_>, report: &mut Report) -> Result<(), Error> {
        self.apply(target, report)?;
        for destination in &self.destinations {
            let Some(table) = &destination.table else {
                continue;
            };
            for column in &table.ignored {
                let name = format!("{}.{column}", table.name);
                if self.told.first("ignored column", &name) {
                    warn!("column {name} does not exist in dst_db, its values are left out");
                }
            }
        }
        Ok(self.refused.finish(target)?)
    }

    fn apply(&mut self, target: &mut Tx<'_>, report: &mut Report) -> Result<(), Error> {
        for place in 0..self.destinations.len() {
            self.apply_table(place, target, report)?;
            failpoint::step("bulk_loader.between_tables");
        }
        Ok(())
    }

    fn apply_table(
        &mut self,
        place: usize,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let Some(table) = &mut self.destinations[place].table else {
            return Ok(());
        };
        if table.changes.is_empty() {
            return Ok(());
        }
        self.bytes -= table.changes.size();
        load::apply(table, target, self.config, report).map_err(|source| Error::Load {
            table: table.name.clone(),
            source,
        })
    }

    /// Takes a row event, or says why it cannot be applied.
    fn row(
        &mut self,
        event: &EventText<'_>,
        mut row: RowEvent<'_>,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<Option<Reason>, Error> {
        let source = row.table.take().unwrap_or_default();
        let source = String::from_utf8_lossy(&source);
        let op = match row.op {
            row::Op::Insert => Op::Insert,
            row::Op::Update => Op::Update,
            row::Op::Delete => Op::Delete,
            row::Op::Truncate => return Ok(Some(Reason::Truncate)),
        };
        let place = self.place_of(event, &source, target)?;
        let Some(table) = &self.destinations[place].table else {
            report.of(&source).skipped += 1;
            return Ok(None);
        };
        if !table.distribution.is_empty()
            && self.config.dist_join != DistJoin::Never
            && !self.is_distributed_by_key(&source, table, &row)
            && self.told.first("distribution", &source)
        {
            warn!(
                "table {} is distributed by columns that are not part of the key: {}; see dist_join",
                table.name,
                table.columns(&table.distribution)
            );
        }
        let (keys, values) = match self.key_of(&source, table, &row) {
            None => (row.keys, row.values),
            Some(names) => match split(row, &names) {
                Ok(split) => split,
                Err(reason) => return Ok(Some(reason)),
            },
        };
        if keys.is_empty() && op != Op::Insert {
            return Ok(Some(Reason::NoKey));
        }
        if !table.has_key(&keys) {
            // Those before it are of rows by another key.
            self.apply_table(place, target, report)?;
        }
        let Some(table) = &mut self.destinations[place].table else {
            return Ok(None);
        };
        if !table.has_key(&keys)
            && let Err(column) = table.set_key(&keys)
        {
            return Ok(Some(Reason::Other(format!(
                "table {} has no column {column}, which is part of the key",
                table.name
            ))));
        }
        let size = table.changes.size();
        let old = match op {
            Op::Update => self.rows.old_row(event.fields()),
            _ => None,
        };
        let mut op = op;
        if let Some((keys, values)) = old.and_then(|old| other_key(old, &keys)) {
            // The row has left one key and come to another.
            let gone = Event {
                id: event.id,
                source: &source,
                op: Op::Delete,
                keys,
                values,
            };
            table.leave(&gone, self.config, &mut self.scratch);
            op = Op::Insert;
        }
        let event = Event {
            id: event.id,
            source: &source,
            op,
            keys,
            values,
        };
        table.add(&event, self.config, &mut self.scratch)?;
        self.bytes = self.bytes + table.changes.size() - size;
        Ok(None)
    }

    /// Names of the key's columns, if it is not what the event says.
    fn key_of(&self, source: &str, table: &Table, row: &RowEvent<'_>) -> Option<Vec<Vec<u8>>> {
        let mapped = self.config.pkey_map.key(source);
        let joined = match self.config.dist_join {
            DistJoin::Always => table.distribution.as_slice(),
            DistJoin::Auto | DistJoin::Never => &[],
        };
        if mapped.is_none() && joined.is_empty() {
            return None;
        }
        let mut names: Vec<Vec<u8>> = match mapped {
            Some(names) => names.iter().map(|name| name.clone().into_bytes()).collect(),
            None => row.keys.iter().map(|(name, _)| name.to_vec()).collect(),
        };
        for place in joined {
            let name = table.shape.columns[*place].name.as_bytes();
            if !names.is_empty() && !names.iter().any(|known| known == name) {
                names.push(name.to_vec());
            }
        }
        Some(names)
    }

    /// Whether a row that keeps its key stays where it is in a cluster.
    fn is_distributed_by_key(&self, source: &str, table: &Table, row: &RowEvent<'_>) -> bool {
        let mapped = self.config.pkey_map.key(source);
        table.distribution.iter().all(|place| {
            let name = &table.shape.columns[*place].name;
            match mapped {
                Some(names) => names.contains(name),
                None => row.keys.get(name).is_some(),
            }
        })
    }

    /// The destination of the events of a table.
    fn place_of(
        &mut self,
        event: &EventText<'_>,
        source: &str,
        target: &mut Tx<'_>,
    ) -> Result<usize, Error> {
        if let Some((last, place)) = &self.last
            && last == source
        {
            return Ok(*place);
        }
        let place = match self.places.get(source) {
            Some(place) => *place,
            None => {
                let name = self.config.remap_tables.target(source);
                if name.to_string() != source {
                    debug!("redirect {source} to {name}");
                }
                let mut known = self.destinations.iter();
                let place = match known.position(|destination| destination.name == name) {
                    Some(place) => place,
                    None => {
                        let table = self.look_up(event, source, &name, target)?;
                        self.tables.insert(name.clone());
                        self.destinations.push(Destination {
                            name,
                            table: table.map(Box::new),
                        });
                        self.destinations.len() - 1
                    }
                };
                self.places.insert(source.to_owned(), place);
                place
            }
        };
        self.last = Some((source.to_owned(), place));
        Ok(place)
    }

    /// The table as it is now; `None` if it is missing and may be.
    fn look_up(
        &mut self,
        event: &EventText<'_>,
        source: &str,
        name: &TableName,
        target: &mut Tx<'_>,
    ) -> Result<Option<Table>, Error> {
        let found = shape::look_up(target, &[name])?.pop().flatten();
        let Some(shape) = found else {
            if self.config.missing_table == MissingTable::Fail {
                return Err(Error::NoTable {
                    event: event.id,
                    source_table: source.to_owned(),
                    table: name.clone(),
                });
            }
            if self.told.first("missing table", source) {
                warn!("table {name} does not exist in dst_db, events of {source} are left out");
            }
            return Ok(None);
        };
        if !shape.table {
            return Err(Error::NotATable(name.clone()));
        }
        let distribution = distribution::columns(target, &shape)?;
        debug!("{name}: distributed by {} columns", distribution.len());
        let equals = equality::of_columns(target, &shape)?;
        Ok(Some(Table::new(name.clone(), shape, distribution, equals)))
    }

    /// Empties a table, or says why it is not emptied.
    fn truncate(
        &mut self,
        event: &EventText<'_>,
        target: &mut Tx<'_>,
    ) -> Result<Option<Reason>, Error> {
        if self.config.truncate == Truncate::Ignore {
            return Ok(None);
        }
        let Some(source) = event.extra[0].as_deref() else {
            return Ok(Some(Reason::NoTable));
        };
        let source = String::from_utf8_lossy(source).into_owned();
        let place = self.place_of(event, &source, target)?;
        let destination = &mut self.destinations[place];
        let Some(table) = &mut destination.table else {
            return Ok(None);
        };
        if self.config.remap_tables.is_shared(&source, &table.name) {
            return Ok(Some(Reason::Other(format!(
                "{source} was truncated, but other tables go to {}, too",
                table.name
            ))));
        }
        self.bytes -= table.changes.size();
        table.changes.take(&[]);
        target
            .batch_execute(&format!("truncate {}", table.quoted))
            .during("empty a table")
            .map_err(|source| Error::Load {
                table: table.name.clone(),
                source,
            })?;
        Ok(None)
    }
}

/// The old key and the values beside it, if the key was another one.
fn other_key<'o>(mut old: Record<'o>, keys: &Record<'_>) -> Option<(Record<'o>, Record<'o>)> {
    let changed = |(name, value): (&[u8], Option<&[u8]>)| old.get(name) != Some(value);
    if !keys.iter().any(changed) {
        return None;
    }
    let old_key: Option<Vec<_>> = keys.iter().map(|(name, _)| old.remove(name)).collect();
    Some((Record::new(old_key?), old))
}

/// Splits a row by another key.
fn split<'e>(row: RowEvent<'e>, names: &[Vec<u8>]) -> Result<(Record<'e>, Record<'e>), Reason> {
    let mut values = row.into_row();
    let mut keys = Vec::with_capacity(names.len());
    for name in names {
        let column = values.remove(name);
        keys.push(
            column.ok_or_else(|| {
                row::Error::MissingKey(String::from_utf8_lossy(name).into_owned())
            })?,
        );
    }
    Ok((Record::new(keys), values))
}
