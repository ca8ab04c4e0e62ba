use postgres::types::Type;
use skytools::db::{Connection, During, Tx};
use skytools::table::TableName;
use skytools::{copy, copy_in};
use tracing::{info, warn};

use super::{BadEvent, Reason, Rows};
use crate::Error;
use crate::batch::EventText;
use crate::mover::Report;

/// Columns of the table for events that cannot be applied; another one is when they came.
const COLUMNS: [&str; 11] = [
    "consumer",
    "queue",
    "ev_id",
    "ev_time",
    "ev_type",
    "ev_data",
    "ev_extra1",
    "ev_extra2",
    "ev_extra3",
    "ev_extra4",
    "reason",
];

/// Events are put aside when they have so many bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// Events that are named one by one in the log; of others there is a sum.
const NAMED: u64 = 10;

/// Under this name those events count that name no table.
const NO_TABLE: &str = "no table";

/// The events of one batch that cannot be applied, and what becomes of them.
pub struct Refused<'r> {
    rows: &'r Rows,
    /// Rows for the table, in the form of COPY.
    buffer: Vec<u8>,
    count: u64,
}

impl<'r> Refused<'r> {
    pub(super) fn new(rows: &'r Rows) -> Refused<'r> {
        // Of a batch that failed.
        rows.encoded.take_replaced();
        rows.plain.take_replaced();
        Refused {
            rows,
            buffer: Vec::new(),
            count: 0,
        }
    }

    /// Takes an event, while no COPY is under way at the target.
    ///
    /// # Errors
    /// [`Error::BadEvent`], unless the configuration says what else to do; or the target failed.
    pub fn take(
        &mut self,
        event: &EventText<'_>,
        reason: &Reason,
        target: &mut Tx<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let reason = skytools::app::chain(reason);
        if self.rows.policy == BadEvent::Fail {
            return Err(Error::BadEvent {
                event: event.id,
                reason,
            });
        }
        let table = event.extra[0].as_deref().map(String::from_utf8_lossy);
        let counts = report.of(table.as_deref().unwrap_or(NO_TABLE));
        match self.rows.policy {
            BadEvent::Quarantine => counts.quarantined += 1,
            BadEvent::Skip | BadEvent::Fail => counts.skipped += 1,
        }
        self.count += 1;
        if self.count <= NAMED {
            let done = match self.rows.policy {
                BadEvent::Quarantine => "put aside",
                BadEvent::Skip | BadEvent::Fail => "skipped",
            };
            warn!("event {} is {done}: {reason}", event.id);
        }
        if self.rows.policy == BadEvent::Quarantine {
            self.push(event, &reason);
            if self.buffer.len() >= BUFFER_BYTES {
                self.send(target)?;
            }
        }
        Ok(())
    }

    /// Puts aside what is left, and says in the log what there was.
    ///
    /// # Errors
    /// The target refuses.
    pub fn finish(mut self, target: &mut Tx<'_>) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            self.send(target)?;
        }
        if self.count > NAMED {
            warn!("{} more events like these", self.count - NAMED);
        }
        if self.count > 0 && self.rows.policy == BadEvent::Quarantine {
            info!(
                "events that could not be applied are in {}",
                self.rows.quarantine
            );
        }
        let replaced = self.rows.encoded.take_replaced() + self.rows.plain.take_replaced();
        if replaced > 0 {
            warn!(
                "{replaced} values held something that is not of their encoding, and have lost it"
            );
        }
        Ok(())
    }

    fn push(&mut self, event: &EventText<'_>, reason: &str) {
        let Rows {
            consumer,
            queue,
            plain,
            ..
        } = self.rows;
        let (id, time) = (event.id.to_string(), event.time.to_string());
        let texts = [&event.kind, &event.data].into_iter().chain(&event.extra);
        let texts: Vec<_> = texts
            .map(|text| text.as_deref().map(|text| plain.readable(text)))
            .collect();
        let front = [consumer.as_str(), queue.as_str(), &id, &time].map(str::as_bytes);
        let values = (front.into_iter().map(Some))
            .chain(texts.iter().map(Option::as_deref))
            .chain([Some(reason.as_bytes())]);
        copy::row_of(values, &mut self.buffer);
    }

    fn send(&mut self, target: &mut Tx<'_>) -> Result<(), Error> {
        let table = self.rows.quarantine.quoted();
        let sql = format!("copy {table} ({}) from stdin", COLUMNS.join(", "));
        let step = "put aside events that cannot be applied";
        copy_in::send(target, &sql, &self.buffer, step)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Looks whether the table can take events.
pub(super) fn check_table(table: &TableName, target: &mut Connection) -> Result<(), Error> {
    let no_quarantine = |missing: String| Error::NoQuarantine {
        table: table.to_string(),
        missing,
    };
    let found = skytools::table::find(&mut **target, table)?;
    let Some(found) = found.filter(|found| found.kind.is_table()) else {
        return Err(no_quarantine(String::new()));
    };
    let columns = skytools::table::columns(&mut **target, found.oid)?;
    let lacks = |name: &&&str| !columns.iter().any(|column| column.name == **name);
    let missing: Vec<&str> = COLUMNS.iter().filter(lacks).copied().collect();
    match missing.is_empty() {
        true => may_insert(table, target),
        false => Err(no_quarantine(missing.join(", "))),
    }
}

/// Has the server say so at the start, not when the first event cannot be applied.
fn may_insert(table: &TableName, target: &mut Connection) -> Result<(), Error> {
    let row = target
        .query_typed_one(
            "select pg_catalog.has_table_privilege($1, 'insert')",
            &[(&table.quoted(), Type::TEXT)],
        )
        .during("look at the rights on quarantine_table")?;
    match row.get(0) {
        true => Ok(()),
        false => Err(Error::NoQuarantineRights(table.to_string())),
    }
}
