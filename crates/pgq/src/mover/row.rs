//! Row events as movers take them: whole rows, in the encoding that the target reads; and what becomes of
//! those that cannot be applied.
//!
//! A program has a [`RowConfig`] among its keys, opens [`Rows`] in [`Mover::check`](super::Mover::check),
//! and then for each batch:
//!
//! ```no_run
//! # use pgq::consumer::OpenBatch;
//! # use pgq::mover::Report;
//! # use pgq::mover::row::Rows;
//! # use skytools::db::Tx;
//! # fn apply(rows: &Rows, batch: &mut OpenBatch<'_>, target: &mut Tx<'_>, report: &mut Report)
//! #     -> Result<(), pgq::Error> {
//! let mut refused = rows.refused();
//! batch.stream(|event| {
//!     match rows.read(event.fields()) {
//!         Ok(row) => println!("{:?} of {} columns", row.op, row.keys.len() + row.values.len()),
//!         Err(reason) => refused.take(&event, &reason, target, report)?,
//!     }
//!     Ok::<(), pgq::Error>(())
//! })?;
//! refused.finish(target)
//! # }
//! ```

mod config;
mod encoding;
mod refused;
pub mod written;

use std::borrow::Cow;

use skytools::db::Connection;
use skytools::record::Record;
use skytools::table::TableName;
use skytools::urlencode;

pub use config::RowConfig;
pub use refused::Refused;

use self::config::{BadEvent, EncodingErrors};
use self::encoding::{Encoding, Transcoder};
use crate::consumer::ConsumerConfig;
use crate::row::{self, Fields, Format, Head, Op, RowEvent};
use crate::{ConsumerName, Error, QueueName};

/// Reads row events, and knows what to do with those that cannot be read.
#[derive(Debug)]
pub struct Rows {
    /// Of what triggers have encoded.
    encoded: Transcoder,
    /// Of what they have not.
    plain: Transcoder,
    keys_in_extra2: bool,
    policy: BadEvent,
    row_limit: usize,
    quarantine: TableName,
    consumer: ConsumerName,
    queue: QueueName,
}

/// Why an event cannot be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// `ev_type` is NULL.
    #[error("event without a type")]
    NoType,
    /// `ev_type` is not that of a row event.
    #[error("type {0:?} is no operation on a row")]
    NotARow(String),
    /// The table was emptied.
    #[error("the table was truncated at the source")]
    Truncate,
    /// Partial SQL, of which an update holds the changed columns only.
    #[error("the event does not hold the whole row: the trigger has to be logutriga or jsontriga")]
    PartialRow,
    /// `ev_extra1` is NULL or empty.
    #[error("event without a table")]
    NoTable,
    /// It does not say which row it is about.
    #[error("event without key columns")]
    NoKey,
    /// It cannot be read.
    #[error(transparent)]
    Row(#[from] row::Error),
    /// What only the program knows.
    #[error("{0}")]
    Other(String),
}

impl Rows {
    /// Looks at both servers; connects to nothing else, and keeps neither.
    ///
    /// # Errors
    /// The source encoding is unknown, or there is no table for bad events.
    pub fn open(
        config: &RowConfig,
        consumer: &ConsumerConfig,
        source: &mut Connection,
        target: &mut Connection,
    ) -> Result<Rows, Error> {
        let server = encoding::of_server(source)?;
        let named = match &config.source_encoding {
            Some(name) => encoding::named(target, name)?,
            None => server.clone(),
        };
        let replace = config.encoding_errors == EncodingErrors::Replace;
        // What is not encoded has been converted on its way here, except from such a database.
        let plain = match server.as_str() {
            encoding::ASCII => named.clone(),
            _ => encoding::UTF8.to_owned(),
        };
        let quarantine = config.quarantine_table.as_deref();
        let rows = Rows {
            plain: Encoding::load(plain, target)?.transcoder(replace),
            encoded: Encoding::load(named, target)?.transcoder(replace),
            keys_in_extra2: false,
            policy: config.bad_event,
            row_limit: match config.bad_event {
                BadEvent::Fail => 0,
                BadEvent::Skip | BadEvent::Quarantine => config.bad_row_limit,
            },
            quarantine: TableName::parse(quarantine.unwrap_or("pgq_ext.bad_event")),
            consumer: consumer.consumer.clone(),
            queue: consumer.queue.clone(),
        };
        if rows.policy == BadEvent::Quarantine {
            refused::check_table(&rows.quarantine, target)?;
        }
        Ok(rows)
    }

    /// Takes the key list from `ev_extra2`, too, where that of `ev_type` is empty.
    #[must_use]
    pub fn with_keys_in_extra2(mut self) -> Rows {
        self.keys_in_extra2 = true;
        self
    }

    /// Reads a row event: an insert or update with the whole new row, or a delete with the old one. All its
    /// text is what the target reads; table and names are UTF-8.
    ///
    /// Without key columns, the list of keys is empty.
    ///
    /// # Errors
    /// It is another event, or malformed.
    pub fn read<'a>(&self, fields: Fields<'a>) -> Result<RowEvent<'a>, Reason> {
        let kind = fields.kind.ok_or(Reason::NoType)?;
        let not_a_row = || Reason::NotARow(String::from_utf8_lossy(kind).into_owned());
        let mut event = match Head::of(fields) {
            Head::Other => return Err(not_a_row()),
            Head::Truncate => return Err(Reason::Truncate),
            Head::Partial(_) => return Err(Reason::PartialRow),
            Head::Json => {
                let mut event = row::json_event(fields)?.ok_or_else(not_a_row)?;
                event.keys = self.plain.record(event.keys)?;
                event.values = self.plain.record(event.values)?;
                event
            }
            Head::UrlEncoded { op, keys } => {
                let mut keys = self.plain.text(keys, || "the type".to_owned())?;
                if self.keys_in_extra2
                    && row::key_names(&keys).next().is_none()
                    && let Some(list) = fields.extra2.and_then(row::key_list)
                {
                    keys = self.plain.text(list, || "ev_extra2".to_owned())?;
                }
                let event = RowEvent::new(op, Format::UrlEncoded, fields.extra1);
                event.with_row(self.row(fields.data)?, row::key_names(&keys))?
            }
        };
        if event.op == Op::Truncate {
            return Err(Reason::Truncate);
        }
        event.table = match event.table {
            Some(Cow::Borrowed(name)) => {
                let name = self
                    .plain
                    .text(name, || "the name of the table".to_owned())?;
                std::str::from_utf8(&name).map_err(|_| row::Error::Encoding {
                    what: "the name of the table".to_owned(),
                    encoding: encoding::UTF8.to_owned(),
                })?;
                Some(name)
            }
            other => other,
        };
        match &event.table {
            Some(name) if !name.is_empty() => Ok(event),
            _ => Err(Reason::NoTable),
        }
    }

    /// Reads the URL-encoded row in `ev_data` of an event, whatever its type is.
    ///
    /// # Errors
    /// There is none, or it is malformed.
    pub fn row<'a>(&self, data: Option<&'a [u8]>) -> Result<Record<'a>, Reason> {
        let data = data.ok_or(row::Error::NoData)?;
        let row = urlencode::decode(data).map_err(row::Error::from)?;
        // Triggers that leave letters as they are have not encoded any.
        let transcoder = match data.is_ascii() {
            true => &self.encoded,
            false => &self.plain,
        };
        Ok(transcoder.record(row)?)
    }

    /// The row before an update, if `ev_extra2` holds one, not a key list or other text.
    pub fn old_row<'a>(&self, fields: Fields<'a>) -> Option<Record<'a>> {
        let text = fields.extra2.filter(|text| !text.is_empty())?;
        match Head::of(fields) {
            Head::UrlEncoded { op: Op::Update, .. } if fields.kind?.contains(&b':') => {
                self.row(Some(text)).ok()
            }
            Head::Json => self.plain.record(row::json_row(text).ok()?).ok(),
            _ => None,
        }
    }

    /// Whether encoded text that is UTF-8 is what the target reads as it is.
    pub fn keeps_utf8(&self) -> bool {
        self.encoded.keeps_utf8()
    }

    /// How many events of a batch may be left out because the target refuses their rows.
    pub(super) fn row_limit(&self) -> usize {
        self.row_limit
    }

    /// The events of one batch that cannot be applied.
    pub fn refused(&self) -> Refused<'_> {
        Refused::new(self)
    }
}

#[cfg(test)]
mod tests;
