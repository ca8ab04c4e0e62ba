//! Turns row events into statements and sends them in large units.

use std::collections::HashMap;

use pgq::EventId;
use pgq::batch::Event;
use postgres::types::Type;
use skytools::db::{During, Tx};
use skytools::table::TableName;

use crate::Error;
use skytools::snapshot::Snapshot;

/// A unit is sent when it has this many statements …
const UNIT_STATEMENTS: usize = 500;

/// … or this much text.
const UNIT_BYTES: usize = 256 * 1024;

/// Where the events of a table go.
#[derive(Debug)]
pub(crate) struct Route {
    table: TableName,
    snapshot: Option<Snapshot>,
    target: Option<Target>,
}

/// The table as it is on the subscriber during this batch.
#[derive(Debug, Clone, Copy)]
struct Target {
    /// A partitioned table has no rows of its own: ONLY would touch nothing.
    partitioned: bool,
}

impl Route {
    /// Applies what is not contained in `snapshot`.
    pub(crate) fn new(name: &str, snapshot: Option<Snapshot>) -> Route {
        Route {
            table: TableName::parse(name),
            snapshot,
            target: None,
        }
    }

    /// Whether the copy of the table has the event already.
    pub(crate) fn contains(&self, event: &Event) -> bool {
        let txid = u64::try_from(event.txid).expect("transaction ids are positive");
        self.snapshot
            .as_ref()
            .is_some_and(|snapshot| snapshot.contains(txid))
    }

    fn target(&mut self, tx: &mut Tx<'_>) -> Result<Target, Error> {
        if let Some(target) = self.target {
            return Ok(target);
        }
        let row = tx
            .query_typed_opt(
                "select c.relkind = 'p' from pg_catalog.pg_class c \
                 join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                 where n.nspname = $1 and c.relname = $2",
                &[
                    (&self.table.schema(), Type::TEXT),
                    (&self.table.name(), Type::TEXT),
                ],
            )
            .during(format!("look up {}", self.table))?
            .ok_or_else(|| Error::NoTable(self.table.to_string()))?;
        let target = Target {
            partitioned: row.get(0),
        };
        self.target = Some(target);
        Ok(target)
    }
}

/// Routes by `schema.table`, raw.
pub(crate) type Routes = HashMap<String, Route>;

/// A change of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    Insert,
    Update,
    Delete,
}

impl RowKind {
    /// The kind that an event type means.
    pub(crate) fn of(kind: &str) -> Option<RowKind> {
        match kind {
            "I" => Some(RowKind::Insert),
            "U" => Some(RowKind::Update),
            "D" => Some(RowKind::Delete),
            _ => None,
        }
    }
}

/// Applies row events in their order, statement by statement, many statements per round trip.
#[derive(Debug, Default)]
pub(crate) struct Applier {
    text: String,
    statements: Vec<(EventId, String)>,
    /// From this event on, one statement at a time: a unit that starts here failed before, and the
    /// server does not say at which statement.
    careful_from: Option<EventId>,
}

impl Applier {
    /// An applier that sends events from `careful_from` on one by one.
    pub(crate) fn new(careful_from: Option<EventId>) -> Applier {
        Applier {
            careful_from,
            ..Applier::default()
        }
    }

    /// Takes a row event; sends the unit when it is full.
    pub(crate) fn row(
        &mut self,
        tx: &mut Tx<'_>,
        route: &mut Route,
        kind: RowKind,
        event: &Event,
    ) -> Result<(), Error> {
        let Target { partitioned } = route.target(tx)?;
        let only = if partitioned { "" } else { "only " };
        let table = route.table.quoted();
        let data = event.data.as_ref().map_or(&b""[..], |data| data.as_bytes());
        let data = std::str::from_utf8(data).map_err(|_| Error::NotText { event: event.id })?;
        let statement = match kind {
            RowKind::Insert => format!("insert into {table} {data};\n"),
            RowKind::Update => format!("update {only}{table} set {data};\n"),
            RowKind::Delete => format!("delete from {only}{table} where {data};\n"),
        };
        self.text.push_str(&statement);
        self.statements.push((event.id, route.table.to_string()));
        let careful = self.careful_from.is_some_and(|from| event.id >= from);
        if careful || self.statements.len() >= UNIT_STATEMENTS || self.text.len() >= UNIT_BYTES {
            self.flush(tx)?;
        }
        Ok(())
    }

    /// Sends what was taken. Call it before anything else happens in the transaction.
    pub(crate) fn flush(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        let (Some(first), Some(last)) = (self.statements.first(), self.statements.last()) else {
            return Ok(());
        };
        if let Err(source) = tx.batch_execute(&self.text).during("apply events") {
            return Err(Error::Apply {
                first: first.0,
                last: last.0,
                table: last.1.clone(),
                source: Box::new(source),
            });
        }
        self.text.clear();
        self.statements.clear();
        Ok(())
    }
}
