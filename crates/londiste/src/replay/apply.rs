//! Turns row events into statements and sends them in large units.
//!
//! Partial SQL goes into a statement as it is. Whatever needs more, other formats of events,
//! generated columns, text that is not UTF-8, takes the general way of [`general`].

mod general;

use std::borrow::Cow;
use std::collections::HashMap;

use pgq::EventId;
use pgq::batch::Event;
use pgq::row::{Fields, RowEvent};
use postgres::types::Type;
use skytools::db::{DbError, During, Text, Tx};
use skytools::quote::Strings;
use skytools::snapshot::Snapshot;
use skytools::table::TableName;

use crate::Error;
use general::Statement;

/// A unit is sent when it has this many statements …
const UNIT_STATEMENTS: usize = 500;

/// … or this much text.
const UNIT_BYTES: usize = 256 * 1024;

/// Where the events of a table go.
#[derive(Debug)]
pub(crate) struct Route {
    table: TableName,
    quoted: String,
    snapshot: Option<Snapshot>,
    target: Option<Target>,
}

/// The table as it is on the subscriber during this batch.
#[derive(Debug, Clone, Default)]
struct Target {
    /// A partitioned table has no rows of its own: ONLY would touch nothing.
    partitioned: bool,
    /// Columns that cannot be written.
    generated: Vec<String>,
    /// Columns that can only be written by an insert that insists: GENERATED ALWAYS AS IDENTITY.
    identity: Vec<String>,
}

impl Route {
    /// Applies what is not contained in `snapshot`.
    pub(crate) fn new(name: &str, snapshot: Option<Snapshot>) -> Route {
        let table = TableName::parse(name);
        Route {
            quoted: table.quoted(),
            table,
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

    /// Forgets what the table is like: it may have changed.
    pub(crate) fn forget(&mut self) {
        self.target = None;
    }

    /// Looks the table up when its first event comes.
    fn target(&mut self, tx: &mut Tx<'_>) -> Result<&Target, Error> {
        if self.target.is_none() {
            self.target = Some(self.look_up(tx)?);
        }
        Ok(self.target.as_ref().expect("it was looked up"))
    }

    fn look_up(&self, tx: &mut Tx<'_>) -> Result<Target, Error> {
        let row = tx
            .query_typed_opt(
                "select c.relkind = 'p', \
                 array(select a.attname::text from pg_catalog.pg_attribute a \
                       where a.attrelid = c.oid and a.attgenerated <> '' \
                       and not a.attisdropped), \
                 array(select a.attname::text from pg_catalog.pg_attribute a \
                       where a.attrelid = c.oid and a.attidentity = 'a' and not a.attisdropped) \
                 from pg_catalog.pg_class c \
                 join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                 where n.nspname = $1 and c.relname = $2",
                &[
                    (&self.table.schema(), Type::TEXT),
                    (&self.table.name(), Type::TEXT),
                ],
            )
            .during(format!("look up {}", self.table))?
            .ok_or_else(|| Error::NoTable(self.table.to_string()))?;
        Ok(Target {
            partitioned: row.get(0),
            generated: row.get(1),
            identity: row.get(2),
        })
    }
}

/// Routes by `schema.table`, raw.
pub(crate) type Routes = HashMap<String, Route>;

/// The table a row event is about, as registered; `None` if it is an event of another kind.
pub(crate) fn table_of(event: &Event) -> Result<Option<String>, Error> {
    let kind = event.kind.as_ref().map_or(&b""[..], Text::as_bytes);
    let name: Cow<'_, [u8]> = match kind {
        b"I" | b"U" | b"D" | b"R" => event.extra[0]
            .as_ref()
            .map_or(&b""[..], Text::as_bytes)
            .into(),
        [b'I' | b'U' | b'D', b':', ..] | [b'{', b'"', ..] => match parse(event)? {
            Some(row) => row.table.unwrap_or_default(),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let name = String::from_utf8_lossy(&name);
    Ok(Some(match name.contains('.') {
        true => name.into_owned(),
        false => format!("public.{name}"),
    }))
}

fn parse(event: &Event) -> Result<Option<RowEvent<'_>>, Error> {
    RowEvent::parse(Fields::from(event), Strings::Standard).map_err(|source| Error::RowEvent {
        event: event.id,
        source,
    })
}

/// Applies row events in their order, statement by statement, many statements per round trip.
#[derive(Debug, Default)]
pub(crate) struct Applier {
    text: String,
    statements: usize,
    first: Option<EventId>,
    last: Option<EventId>,
    last_table: String,
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
        event: &Event,
    ) -> Result<(), Error> {
        route.target(tx)?;
        let target = route.target.as_ref().expect("it was looked up");
        if !self.push_partial(&route.quoted, target, event) {
            let Some(row) = parse(event)? else {
                return Ok(());
            };
            match general::statement(&route.quoted, target, &row) {
                Statement::Nothing => return Ok(()),
                Statement::Text(text) => self.text.push_str(&text),
                Statement::Parameters(sql, values) => {
                    self.flush(tx)?;
                    self.note(event.id, &route.table);
                    let sent = general::execute(tx, &sql, &values);
                    return self.sent(sent);
                }
            }
        }
        self.note(event.id, &route.table);
        let careful = self.careful_from.is_some_and(|from| event.id >= from);
        if careful || self.statements >= UNIT_STATEMENTS || self.text.len() >= UNIT_BYTES {
            self.flush(tx)?;
        }
        Ok(())
    }

    /// Appends the statement of an event in partial SQL; false if it takes more than that.
    fn push_partial(&mut self, table: &str, target: &Target, event: &Event) -> bool {
        let plain =
            target.generated.is_empty() && target.identity.is_empty() && event.extra[1].is_none();
        let data = event.data.as_ref().map(Text::as_bytes);
        let (true, Some(Ok(data))) = (plain, data.map(std::str::from_utf8)) else {
            return false;
        };
        let only = if target.partitioned { "" } else { "only " };
        let parts = match event.kind.as_ref().map(Text::as_bytes) {
            Some(b"I") => ["insert into ", "", table, " "],
            Some(b"U") => ["update ", only, table, " set "],
            Some(b"D") => ["delete from ", only, table, " where "],
            _ => return false,
        };
        for part in parts {
            self.text.push_str(part);
        }
        self.text.push_str(data);
        self.text.push_str(";\n");
        true
    }

    fn note(&mut self, event: EventId, table: &TableName) {
        self.statements += 1;
        self.first.get_or_insert(event);
        self.last = Some(event);
        self.last_table = table.to_string();
    }

    /// Sends what was taken. Call it before anything else happens in the transaction.
    pub(crate) fn flush(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        if self.statements == 0 {
            return Ok(());
        }
        let sent = tx.batch_execute(&self.text).during("apply events");
        self.sent(sent)
    }

    fn sent(&mut self, result: Result<(), DbError>) -> Result<(), Error> {
        let (Some(first), Some(last)) = (self.first.take(), self.last.take()) else {
            return Ok(result?);
        };
        self.text.clear();
        self.statements = 0;
        result.map_err(|source| Error::Apply {
            first,
            last,
            table: std::mem::take(&mut self.last_table),
            source: Box::new(source),
        })
    }
}
