//! Turns row events into statements and sends them in large units.
//!
//! Runs of events of tables that allow it are applied at once: [`class`] says which tables, [`plan`]
//! what the events come to, [`setwise`] how that is said to the server, which [`line`] does while the next run is
//! planned. All else is applied in order,
//! statement by statement. There, partial SQL goes into a statement as it is; what needs more, other
//! formats of events, generated columns, text that is not UTF-8, takes the general way of [`general`].

mod class;
mod general;
mod line;
mod literal;
mod plan;
mod setwise;
mod truncate;
mod twins;
mod unit;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use pgq::EventId;
use pgq::row::{Fields, Op, RowEvent};
use skytools::db::Tx;
use skytools::quote::Strings;
use skytools::snapshot::Snapshot;
use skytools::table::TableName;
use tracing::debug;

use super::chunk::{Chunk, EventRef};
use super::order::Order;
use crate::Error;
use crate::config::{ApplyCheck, ApplyMode};
use class::{Class, Target};
use general::Statement;
pub(crate) use line::Line;
use line::RunEvents;
use plan::{Apart, Changes};
use setwise::Statements;
use truncate::{Emptied, Truncates};
use twins::Place;
use unit::{Rows, Unit};

/// Fewer events are not worth the round trips of applying them at once.
const SHORTEST_RUN: usize = 32;

/// Where the events of a table go.
#[derive(Debug)]
pub(crate) struct Route {
    snapshot: Option<Snapshot>,
}

impl Route {
    /// Applies what is not contained in `snapshot`.
    pub(crate) fn new(snapshot: Option<Snapshot>) -> Route {
        Route { snapshot }
    }

    /// Whether the copy of the table has what a transaction did already.
    pub(crate) fn contains(&self, txid: i64) -> bool {
        let txid = u64::try_from(txid).expect("transaction ids are positive");
        self.snapshot
            .as_ref()
            .is_some_and(|snapshot| snapshot.contains(txid))
    }
}

/// Routes by `schema.table`, raw.
pub(crate) type Routes = HashMap<String, Route>;

/// How events become statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Manner {
    pub(crate) mode: ApplyMode,
    pub(crate) check: ApplyCheck,
    /// TRUNCATE empties tables that refer to the one that the provider emptied, whatever they are.
    pub(crate) truncate_cascade: bool,
    /// Events that are read at a time, at most.
    pub(crate) chunk: usize,
    /// How they come.
    pub(crate) order: Order,
}

/// A table that events speak of.
#[derive(Debug)]
struct Known {
    /// As registered.
    name: String,
    table: TableName,
    quoted: String,
    /// The table on the subscriber; looked up when an event is to be applied.
    target: Option<Target>,
}

/// Row events that wait to be applied at once.
#[derive(Debug)]
pub(crate) struct Run<'c> {
    /// The chunk that they are in.
    chunk: &'c Arc<Chunk>,
    /// All of them, in their order.
    events: Vec<(usize, EventRef<'c>)>,
    /// The same by their tables.
    changes: Vec<(usize, Changes<'c>)>,
    /// Nothing can be added but inserts of the one table that is there.
    alone: bool,
}

impl<'c> Run<'c> {
    pub(crate) fn new(chunk: &'c Arc<Chunk>) -> Run<'c> {
        Run {
            chunk,
            events: Vec::new(),
            changes: Vec::new(),
            alone: false,
        }
    }
}

/// Applies row events.
#[derive(Debug)]
pub(crate) struct Applier {
    manner: Manner,
    tables: Vec<Known>,
    /// Places in `tables`, by what events say.
    places: HashMap<Vec<u8>, usize>,
    /// The table of the last event.
    last: Option<usize>,
    unit: Unit,
    /// Tables that the provider has emptied, and that are not yet.
    truncates: Truncates,
    fallbacks: i64,
    /// From this event on, one statement at a time: a unit that starts here failed before, and the
    /// server does not say at which statement.
    careful_from: Option<EventId>,
}

/// Has the server ready to tell what tables are like, while the first events are still on their way.
pub(crate) fn warm_up(tx: &mut Tx<'_>) -> Result<(), Error> {
    class::warm_up(tx)
}

fn parse(event: EventRef<'_>) -> Result<Option<RowEvent<'_>>, Error> {
    let fields = Fields {
        kind: event.kind(),
        data: event.data(),
        extra1: event.extra(0),
        extra2: event.extra(1),
    };
    RowEvent::parse(fields, Strings::Standard).map_err(|source| Error::RowEvent {
        event: event.id(),
        source,
    })
}

/// The letter of an event in partial SQL, and its data.
fn partial(event: EventRef<'_>) -> Option<(u8, &[u8])> {
    match (event.kind(), event.data(), event.extra(1)) {
        (Some([kind @ (b'I' | b'U' | b'D')]), Some(data), None) => Some((*kind, data)),
        _ => None,
    }
}

impl Applier {
    /// An applier that sends events from `careful_from` on one by one.
    pub(crate) fn new(manner: Manner, careful_from: Option<EventId>) -> Applier {
        Applier {
            manner,
            tables: Vec::new(),
            places: HashMap::new(),
            last: None,
            unit: Unit::new(manner.check),
            truncates: Truncates::default(),
            fallbacks: 0,
            careful_from,
        }
    }

    /// The table a row event is about; `None` if it is an event of another kind.
    pub(crate) fn table_of(&mut self, event: EventRef<'_>) -> Result<Option<usize>, Error> {
        let name: Cow<'_, [u8]> = match event.kind().unwrap_or_default() {
            b"I" | b"U" | b"D" | b"R" => event.extra(0).unwrap_or_default().into(),
            [b'I' | b'U' | b'D', b':', ..] | [b'{', b'"', ..] => match parse(event)? {
                Some(row) => row.table.unwrap_or_default(),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        if let Some(last) = self.last
            && self.tables[last].name.as_bytes() == name.as_ref()
        {
            return Ok(Some(last));
        }
        let place = match self.places.get(name.as_ref()) {
            Some(place) => *place,
            None => self.meet(&name),
        };
        self.last = Some(place);
        Ok(Some(place))
    }

    /// Takes note of a table.
    fn meet(&mut self, written: &[u8]) -> usize {
        let name = String::from_utf8_lossy(written);
        let name = match name.contains('.') {
            true => name.into_owned(),
            false => format!("public.{name}"),
        };
        let known = self.tables.iter().position(|known| known.name == name);
        let place = known.unwrap_or_else(|| {
            let table = TableName::parse(&name);
            self.tables.push(Known {
                quoted: table.quoted(),
                table,
                name,
                target: None,
            });
            self.tables.len() - 1
        });
        self.places.insert(written.to_vec(), place);
        place
    }

    /// A table's name, as registered.
    pub(crate) fn name(&self, table: usize) -> &str {
        &self.tables[table].name
    }

    /// Runs of events that could not be applied at once.
    pub(crate) fn fallbacks(&self) -> i64 {
        self.fallbacks
    }

    /// Looks up all tables that a chunk writes to.
    pub(crate) fn look_up(
        &mut self,
        line: &mut Line<'_, '_, '_>,
        routes: &Routes,
        chunk: &Chunk,
    ) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for event in chunk.events() {
            let Some(place) = self.table_of(event)? else {
                continue;
            };
            let known = &self.tables[place];
            if known.target.is_none()
                && !wanted.contains(&place)
                && routes
                    .get(&known.name)
                    .is_some_and(|route| !route.contains(event.txid()))
            {
                wanted.push(place);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let lock = self.manner.mode == ApplyMode::Fast && chunk.len() >= SHORTEST_RUN;
        let tx = self.settle(line)?;
        self.look_up_tables(tx, &wanted, lock)
    }

    fn look_up_tables(
        &mut self,
        tx: &mut Tx<'_>,
        places: &[usize],
        lock: bool,
    ) -> Result<(), Error> {
        let tables: Vec<&TableName> = (places.iter())
            .map(|place| &self.tables[*place].table)
            .collect();
        let targets = class::look_up(tx, &tables, lock)?;
        for (place, target) in places.iter().zip(targets) {
            debug!(table = self.tables[*place].name, class = ?target.class(), "table of events");
            self.tables[*place].target = Some(target);
        }
        Ok(())
    }

    /// Forgets what tables are like.
    pub(crate) fn forget(&mut self) {
        for known in &mut self.tables {
            known.target = None;
        }
    }

    /// Takes a row event.
    pub(crate) fn row<'c>(
        &mut self,
        line: &mut Line<'_, '_, '_>,
        run: &mut Run<'c>,
        table: usize,
        event: EventRef<'c>,
    ) -> Result<(), Error> {
        if self.tables[table].target.is_none() {
            // Lost since the chunk began; it is not worth a lock.
            let tx = self.settle(line)?;
            self.look_up_tables(tx, &[table], false)?;
        }
        if self.truncates.waits(table) {
            self.close(line, run)?;
            self.flush(line)?;
        }
        if self.join(line, run, table, event)? {
            return Ok(());
        }
        self.close(line, run)?;
        let tx = self.settle(line)?;
        self.push(tx, table, event)
    }

    fn target(&self, table: usize) -> &Target {
        let target = &self.tables[table].target;
        target.as_ref().expect(LOOKED_UP)
    }

    /// Adds an event to the run if it can be part of one.
    fn join<'c>(
        &mut self,
        line: &mut Line<'_, '_, '_>,
        run: &mut Run<'c>,
        table: usize,
        event: EventRef<'c>,
    ) -> Result<bool, Error> {
        let careful = self.careful_from.is_some_and(|from| event.id() >= from);
        if careful || self.manner.mode == ApplyMode::Compat {
            return Ok(false);
        }
        let Some((kind, data)) = partial(event) else {
            return Ok(false);
        };
        let alone = match self.target(table).class() {
            Class::Ordered => return Ok(false),
            Class::Insertable if kind != b'I' => return Ok(false),
            Class::Insertable => true,
            Class::Free => false,
        };
        let starts_another = match run.changes.first() {
            None => false,
            Some((first, _)) => run.alone != alone || alone && *first != table,
        };
        if starts_another {
            self.close(line, run)?;
        }
        run.alone = alone;
        let position = run.changes.iter().position(|(other, _)| *other == table);
        let position = position.unwrap_or_else(|| {
            run.changes.push((table, Changes::default()));
            run.changes.len() - 1
        });
        let target = self.target(table);
        if run.changes[position].1.add(target, kind, data).is_err() {
            return Ok(false);
        }
        run.events.push((table, event));
        Ok(true)
    }

    /// Applies a run; returns when it is on its way.
    pub(crate) fn close<'c>(
        &mut self,
        line: &mut Line<'_, '_, '_>,
        run: &mut Run<'c>,
    ) -> Result<(), Error> {
        let run = std::mem::replace(run, Run::new(run.chunk));
        let statements = match run.events.len() >= SHORTEST_RUN {
            true => self.statements(run.changes).ok(),
            false => None,
        };
        let tx = self.settle(line)?;
        match statements {
            Some(statements) => {
                self.unit.flush(tx)?;
                let exact = self.manner.check != ApplyCheck::Off;
                line.start(RunEvents::new(run.chunk, &run.events), statements, exact)
            }
            None => {
                (run.events.into_iter()).try_for_each(|(table, event)| self.push(tx, table, event))
            }
        }
    }

    /// What makes changes at once, if that can be.
    fn statements(&self, changes: Vec<(usize, Changes<'_>)>) -> Result<Statements, Apart> {
        let mut statements = Statements::default();
        for (table, changes) in changes {
            let target = self.target(table);
            let net = changes.net(target)?;
            statements.add(&self.tables[table].quoted, target, &net)?;
        }
        Ok(statements)
    }

    /// Waits until the run that was closed last is applied.
    pub(crate) fn settle<'l, 'tx>(
        &mut self,
        line: &'l mut Line<'_, '_, 'tx>,
    ) -> Result<&'l mut Tx<'tx>, Error> {
        if let Some(run) = line.wait()? {
            self.fallbacks += 1;
            for (table, event) in run.iter() {
                self.push(line.tx(), table, event)?;
            }
        }
        Ok(line.tx())
    }

    /// Adds the statement of an event to the unit; sends it when it is full.
    fn push(&mut self, tx: &mut Tx<'_>, table: usize, event: EventRef<'_>) -> Result<(), Error> {
        let careful = self.careful_from.is_some_and(|from| event.id() >= from);
        let place = match careful && self.target(table).is_loose() {
            true => self.find(tx, table, event)?,
            false => None,
        };
        let known = &self.tables[table];
        let target = known.target.as_ref().expect(LOOKED_UP);
        let one = match target.is_loose() {
            true => Rows::OneOfSome,
            false => Rows::One,
        };
        let rows =
            match place.is_none() && push_partial(self.unit.text(), &known.quoted, target, event) {
                true if event.kind() == Some(b"I") => Rows::Any,
                true => one,
                false => {
                    let Some(row) = parse(event)? else {
                        return Ok(());
                    };
                    let rows = match row.op {
                        Op::Truncate => {
                            self.truncates.add(table, event.id());
                            return Ok(());
                        }
                        Op::Insert => Rows::Any,
                        Op::Update | Op::Delete => one,
                    };
                    match general::statement(&known.quoted, target, &row, place.as_ref()) {
                        Statement::Nothing => return Ok(()),
                        Statement::Text(text) => self.unit.text().push_str(&text),
                        Statement::Parameters(sql, values) => {
                            self.unit.flush(tx)?;
                            self.unit.note(event.id(), &known.name, rows);
                            return self.unit.execute(tx, &sql, &values);
                        }
                    }
                    rows
                }
            };
        self.unit.note(event.id(), &known.name, rows);
        if careful || self.unit.is_full() {
            self.unit.flush(tx)?;
        }
        Ok(())
    }

    /// Finds the row that an event is about if its key does not say it.
    fn find(
        &mut self,
        tx: &mut Tx<'_>,
        table: usize,
        event: EventRef<'_>,
    ) -> Result<Option<Place>, Error> {
        // What is found must not move any more.
        self.unit.flush(tx)?;
        match parse(event)? {
            Some(row) if matches!(row.op, Op::Update | Op::Delete) => {
                let known = &self.tables[table];
                let target = known.target.as_ref().expect(LOOKED_UP);
                let old = twins::old_row(&row, event.extra(1));
                match twins::find(tx, &known.quoted, target, &row, old.as_ref())? {
                    Ok(place) => Ok(place),
                    Err(rows) => Err(Error::SeveralRows {
                        event: event.id(),
                        table: known.name.clone(),
                        rows,
                    }),
                }
            }
            _ => Ok(None),
        }
    }

    /// Applies what was taken, and waits for it. Call it before anything else happens in the transaction, which
    /// it returns.
    pub(crate) fn flush<'l, 'tx>(
        &mut self,
        line: &'l mut Line<'_, '_, 'tx>,
    ) -> Result<&'l mut Tx<'tx>, Error> {
        let tx = self.settle(line)?;
        self.unit.flush(tx)?;
        let Some((places, events)) = self.truncates.take() else {
            return Ok(tx);
        };
        let tables: Vec<Emptied<'_>> = (places.into_iter())
            .map(|place| Emptied {
                table: &self.tables[place].table,
                partitioned: self.target(place).is_partitioned(),
            })
            .collect();
        truncate::empty(tx, &tables, events, self.manner.truncate_cascade)?;
        Ok(tx)
    }
}

const LOOKED_UP: &str = "tables are looked up before their events are taken";

/// Appends the statement of an event in partial SQL; false if it takes more than that.
fn push_partial(text: &mut String, table: &str, target: &Target, event: EventRef<'_>) -> bool {
    let Some((kind, data)) = partial(event).filter(|_| target.takes_partial_sql()) else {
        return false;
    };
    let Ok(data) = std::str::from_utf8(data) else {
        return false;
    };
    let only = if target.is_partitioned() { "" } else { "only " };
    let parts = match kind {
        b'I' => ["insert into ", "", table, " "],
        b'U' => ["update ", only, table, " set "],
        _ => ["delete from ", only, table, " where "],
    };
    for part in parts {
        text.push_str(part);
    }
    text.push_str(data);
    text.push_str(";\n");
    true
}
