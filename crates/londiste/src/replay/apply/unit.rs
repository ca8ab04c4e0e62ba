//! Statements that are sent together.

use pgq::EventId;
use postgres::SimpleQueryMessage;
use skytools::db::{DbError, During, Tx};
use tracing::warn;

use super::general;
use crate::Error;
use crate::config::ApplyCheck;

/// A unit is sent when it has this many statements …
const STATEMENTS: usize = 500;

/// … or this much text.
const BYTES: usize = 256 * 1024;

/// How many rows a statement changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Any number.
    Any,
    /// One; `apply_check` says what becomes of another number.
    One,
    /// One as well; and if it is several, the event was about one of them.
    OneOfSome,
}

/// Statements in the order of their events.
#[derive(Debug)]
pub(super) struct Unit {
    check: ApplyCheck,
    text: String,
    /// The event of each statement, and how many rows it has to change.
    events: Vec<(EventId, Rows)>,
    /// Numbers of rows matter, whatever `apply_check` says.
    counted: bool,
    /// Table of the last one.
    table: String,
}

impl Unit {
    pub(super) fn new(check: ApplyCheck) -> Unit {
        Unit {
            check,
            text: String::new(),
            events: Vec::new(),
            counted: false,
            table: String::new(),
        }
    }

    /// Where a statement is to be written, with its semicolon. [`Unit::note`] follows.
    pub(super) fn text(&mut self) -> &mut String {
        &mut self.text
    }

    /// Says whose statement was written, and how many rows it has to change.
    pub(super) fn note(&mut self, event: EventId, table: &str, rows: Rows) {
        self.events.push((event, rows));
        self.counted |= rows == Rows::OneOfSome;
        if self.table != table {
            table.clone_into(&mut self.table);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= STATEMENTS || self.text.len() >= BYTES
    }

    fn is_counted(&self) -> bool {
        self.counted || self.check != ApplyCheck::Off
    }

    /// Sends what was taken.
    pub(super) fn flush(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        if self.events.is_empty() {
            return Ok(());
        }
        let step = "apply events";
        let sent = match self.is_counted() {
            false => tx
                .batch_execute(&self.text)
                .during(step)
                .map(|()| Vec::new()),
            true => tx.simple_query(&self.text).during(step).map(counts),
        };
        self.sent(sent)
    }

    /// Runs one statement with parameters, of the event that was noted.
    pub(super) fn execute(
        &mut self,
        tx: &mut Tx<'_>,
        sql: &str,
        values: &[Vec<u8>],
    ) -> Result<(), Error> {
        let sent = general::execute(tx, sql, values).map(|rows| vec![rows]);
        self.sent(sent)
    }

    fn sent(&mut self, sent: Result<Vec<u64>, DbError>) -> Result<(), Error> {
        let events = std::mem::take(&mut self.events);
        let is_counted = self.is_counted();
        self.counted = false;
        self.text.clear();
        let (Some((first, _)), Some((last, _))) = (events.first(), events.last()) else {
            return Ok(sent.map(|_| ())?);
        };
        let counts = sent.map_err(|source| Error::Apply {
            first: *first,
            last: *last,
            table: self.table.clone(),
            source: Box::new(source),
        })?;
        if !is_counted {
            return Ok(());
        }
        for ((event, expected), rows) in events.into_iter().zip(counts) {
            if expected == Rows::OneOfSome && rows > 1 {
                return Err(Error::SeveralRows {
                    event,
                    table: self.table.clone(),
                    rows,
                });
            }
            if expected == Rows::Any || rows == 1 || self.check == ApplyCheck::Off {
                continue;
            }
            if self.check == ApplyCheck::Error {
                return Err(Error::RowCount { event, rows });
            }
            warn!("event {event} changed {rows} rows instead of one");
        }
        Ok(())
    }
}

/// Rows that the statements changed.
fn counts(messages: Vec<SimpleQueryMessage>) -> Vec<u64> {
    let counts = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::CommandComplete(rows) => Some(rows),
        _ => None,
    });
    counts.collect()
}
