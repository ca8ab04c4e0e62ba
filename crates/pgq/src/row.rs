//! Row events: the changes of tables that the triggers put in a queue, in all their formats.
//!
//! | `ev_type` | `ev_data` | written by |
//! | --- | --- | --- |
//! | `I`, `U`, `D` | partial SQL | `sqltriga`, `logtriga` |
//! | `I:id`, `U:a,b`, … | URL-encoded row | `logutriga` |
//! | `I`, … with the key list in `ev_extra2` | URL-encoded row | `logutriga` before 2.1.5 |
//! | `{"op":"INSERT",…}` | JSON row | `jsontriga` |
//! | `R` | | any, on TRUNCATE |

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use skytools::db::Text;
use skytools::quote::Strings;
use skytools::record::{Name, Record, Value};
use skytools::statement::{self, Pair};
use skytools::{partial, urlencode};

use crate::batch::Event;

/// What happened to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// A row was inserted.
    Insert,
    /// A row was updated.
    Update,
    /// A row was deleted.
    Delete,
    /// The table was emptied.
    Truncate,
}

/// How the row was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Partial SQL: an update holds the changed columns only, a delete the key only, and an insert
    /// does not say which columns are the key.
    Partial,
    /// URL-encoded: the whole row, new or, for a delete, old.
    UrlEncoded,
    /// JSON: the same.
    Json,
}

/// A change of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowEvent<'a> {
    /// What happened.
    pub op: Op,
    /// How it was written.
    pub format: Format,
    /// The table, raw: `schema.name`; `None` if the event does not say.
    pub table: Option<Cow<'a, [u8]>>,
    /// Columns that identify the row, and their values before the change.
    pub keys: Record<'a>,
    /// The other columns; of an update in partial SQL those that change, keys among them if need be.
    pub values: Record<'a>,
}

/// The fields of an event that say whether it is a row event, and which.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields<'a> {
    /// `ev_type`.
    pub kind: Option<&'a [u8]>,
    /// `ev_data`.
    pub data: Option<&'a [u8]>,
    /// `ev_extra1`, the table.
    pub extra1: Option<&'a [u8]>,
    /// `ev_extra2`, a backup of the old row, or the key list before 2.1.5.
    pub extra2: Option<&'a [u8]>,
}

impl<'a> From<&'a Event> for Fields<'a> {
    fn from(event: &'a Event) -> Fields<'a> {
        let bytes = |field: &'a Option<Text>| field.as_ref().map(Text::as_bytes);
        Fields {
            kind: bytes(&event.kind),
            data: bytes(&event.data),
            extra1: bytes(&event.extra[0]),
            extra2: bytes(&event.extra[1]),
        }
    }
}

/// Why a row event cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `ev_data` is NULL.
    #[error("row event without data")]
    NoData,
    /// An insert or update of a whole row that has no columns.
    #[error("row event without columns")]
    NoColumns,
    /// The data is not partial SQL.
    #[error("cannot parse partial SQL")]
    Partial(#[from] partial::Error),
    /// The data is not a URL-encoded row.
    #[error("cannot decode the URL-encoded row")]
    UrlEncoded(#[from] urlencode::Error),
    /// Type or data is not JSON.
    #[error("cannot parse JSON")]
    Json(#[from] serde_json::Error),
    /// A column of the key list is not in the row.
    #[error("key column {0} is missing in the row")]
    MissingKey(String),
    /// A column without a name.
    #[error("row event with a column that has no name")]
    EmptyName,
    /// Text that is not of the encoding it should be of.
    #[error("{what} is not valid {encoding}")]
    Encoding {
        /// Which text: `column NAME` for example.
        what: String,
        /// The encoding, as the server names it.
        encoding: String,
    },
    /// A zero byte, which text of the server cannot hold.
    #[error("column {0} holds a zero byte")]
    ZeroByte(String),
}

impl<'a> RowEvent<'a> {
    /// Reads a row event; `None` if it is another kind of event.
    ///
    /// Plain literals of partial SQL are as `strings` says: [`Strings::Backslash`] is for streams of
    /// the standalone 2.1 trigger. Names and values borrow from the event unless decoding changes
    /// them. A truncate has no columns, and its data is not looked at.
    ///
    /// # Errors
    /// It is a row event, but malformed.
    pub fn parse(fields: Fields<'a>, strings: Strings) -> Result<Option<RowEvent<'a>>, Error> {
        let (op, partial_op) = match Head::of(fields) {
            Head::Other => return Ok(None),
            Head::Json => return json_event(fields),
            Head::Truncate => {
                return Ok(Some(RowEvent::new(
                    Op::Truncate,
                    Format::Partial,
                    fields.extra1,
                )));
            }
            Head::UrlEncoded { op, keys } => {
                let row = urlencode::decode(fields.data.ok_or(Error::NoData)?)?;
                let event = RowEvent::new(op, Format::UrlEncoded, fields.extra1);
                return Ok(Some(event.with_row(row, key_names(keys))?));
            }
            Head::Partial(op) => match op {
                Op::Insert => (op, partial::Op::Insert),
                Op::Update => (op, partial::Op::Update),
                Op::Delete | Op::Truncate => (op, partial::Op::Delete),
            },
        };
        let row = partial::parse(partial_op, fields.data.ok_or(Error::NoData)?, strings)?;
        Ok(Some(RowEvent {
            keys: row.keys,
            values: row.values,
            ..RowEvent::new(op, Format::Partial, fields.extra1)
        }))
    }

    pub(crate) fn new(op: Op, format: Format, table: Option<&'a [u8]>) -> RowEvent<'a> {
        RowEvent {
            op,
            format,
            table: table.map(Cow::Borrowed),
            keys: Record::default(),
            values: Record::default(),
        }
    }

    /// Splits a whole row into keys, in the order of the list, and other columns.
    pub(crate) fn with_row<'k>(
        mut self,
        row: Record<'a>,
        key_list: impl IntoIterator<Item = &'k [u8]>,
    ) -> Result<RowEvent<'a>, Error> {
        if row.is_empty() && self.op != Op::Delete {
            return Err(Error::NoColumns);
        }
        if row.get("").is_some() {
            return Err(Error::EmptyName);
        }
        self.values = row;
        let mut keys: Vec<(Name<'a>, Value<'a>)> = Vec::new();
        for name in key_list {
            if keys.iter().any(|(key, _)| key.as_ref() == name) {
                continue;
            }
            let missing = || Error::MissingKey(String::from_utf8_lossy(name).into_owned());
            keys.push(self.values.remove(name).ok_or_else(missing)?);
        }
        self.keys = Record::new(keys);
        Ok(self)
    }

    /// All columns the event knows of, the other columns first; of a key that changes, the old value.
    pub fn into_row(self) -> Record<'a> {
        self.values.into_iter().chain(self.keys).collect()
    }

    /// Appends the statement that repeats the change in a table, named raw; an update or delete is
    /// of the row with these keys. A truncate has no statement of its own, as it may have to
    /// cascade, and appends nothing.
    ///
    /// # Errors
    /// An update or delete has no keys, or a value holds a NUL byte.
    pub fn push_statement(&self, table: &[u8], out: &mut Vec<u8>) -> Result<(), statement::Error> {
        let values: Vec<Pair<'_>> = self.values.iter().collect();
        let keys: Vec<Pair<'_>> = self.keys.iter().collect();
        match self.op {
            Op::Insert => statement::push_insert(table, &[keys, values].concat(), out),
            Op::Update => statement::push_update(table, &values, &keys, out),
            Op::Delete => statement::push_delete(table, &keys, out),
            Op::Truncate => Ok(()),
        }
    }
}

/// What the type of an event says, before its data is looked at.
pub(crate) enum Head<'a> {
    /// No row event.
    Other,
    /// Perhaps one, in JSON.
    Json,
    Truncate,
    Partial(Op),
    /// With the key list, as it is written.
    UrlEncoded {
        op: Op,
        keys: &'a [u8],
    },
}

impl<'a> Head<'a> {
    pub(crate) fn of(fields: Fields<'a>) -> Head<'a> {
        let Some(kind) = fields.kind else {
            return Head::Other;
        };
        let (letter, keys) = match kind {
            b"R" => return Head::Truncate,
            [letter] => (letter, None),
            [letter, b':', keys @ ..] => (letter, Some(keys)),
            _ if kind.starts_with(b"{\"") => return Head::Json,
            _ => return Head::Other,
        };
        let op = match letter {
            b'I' => Op::Insert,
            b'U' => Op::Update,
            b'D' => Op::Delete,
            _ => return Head::Other,
        };
        match keys.or_else(|| old_key_list(fields.extra2, fields.data.unwrap_or_default())) {
            Some(keys) => Head::UrlEncoded { op, keys },
            None => Head::Partial(op),
        }
    }
}

/// The names of a key list: raw, between commas.
pub fn key_names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
}

/// `ev_extra2`, if it can be a key list: not the image of a row.
pub(crate) fn key_list(extra2: &[u8]) -> Option<&[u8]> {
    let is_list = !extra2.is_empty() && !extra2.iter().any(|byte| b"=&".contains(byte));
    is_list.then_some(extra2)
}

/// The key list in `ev_extra2`, as the trigger before 2.1.5 wrote it; a bare letter and partial SQL
/// with a backup of the old row looks similar.
fn old_key_list<'a>(extra2: Option<&'a [u8]>, data: &[u8]) -> Option<&'a [u8]> {
    let is_encoded = data
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-+%&=".contains(byte));
    extra2.and_then(key_list).filter(|_| is_encoded)
}

/// `ev_type` of `jsontriga`.
#[derive(Deserialize)]
struct JsonType<'a> {
    op: Option<Cow<'a, str>>,
    table: Option<Vec<String>>,
    pkey: Option<Vec<String>>,
}

pub(crate) fn json_event(fields: Fields<'_>) -> Result<Option<RowEvent<'_>>, Error> {
    let kind: JsonType<'_> = serde_json::from_slice(fields.kind.unwrap_or_default())?;
    let op = match kind.op.as_deref() {
        Some("INSERT") => Op::Insert,
        Some("UPDATE") => Op::Update,
        Some("DELETE") => Op::Delete,
        Some("TRUNCATE") => Op::Truncate,
        _ => return Ok(None),
    };
    let mut event = RowEvent::new(op, Format::Json, fields.extra1);
    if let (None, Some(parts)) = (&event.table, kind.table) {
        event.table = Some(Cow::Owned(parts.join(".").into_bytes()));
    }
    if op == Op::Truncate {
        return Ok(Some(event));
    }
    let row = json_row(fields.data.ok_or(Error::NoData)?)?;
    let keys = kind.pkey.unwrap_or_default();
    let keys = keys.iter().map(|name| name.trim().as_bytes());
    Ok(Some(
        event.with_row(row, keys.filter(|name| !name.is_empty()))?,
    ))
}

/// The columns of a row in JSON.
pub(crate) fn json_row(text: &[u8]) -> Result<Record<'_>, Error> {
    let JsonRow(row) = serde_json::from_slice(text)?;
    Ok(row)
}

/// `ev_data` of `jsontriga`: values as text, numbers exactly as written.
struct JsonRow<'a>(Record<'a>);

impl<'de> Deserialize<'de> for JsonRow<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonRow<'de>, D::Error> {
        struct Columns;

        impl<'de> Visitor<'de> for Columns {
            type Value = JsonRow<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of columns")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonRow<'de>, A::Error> {
                let mut columns = Vec::new();
                while let Some((JsonText(name), value)) = map.next_entry::<_, &RawValue>()? {
                    let value = match value.get() {
                        "null" => None,
                        text if text.starts_with('"') => {
                            let JsonText(text) =
                                serde_json::from_str(text).map_err(serde::de::Error::custom)?;
                            Some(into_bytes(text))
                        }
                        text => Some(Cow::Borrowed(text.as_bytes())),
                    };
                    columns.push((into_bytes(name), value));
                }
                Ok(JsonRow(Record::new(columns)))
            }
        }

        deserializer.deserialize_map(Columns)
    }
}

/// A JSON string, borrowed where it holds no escapes.
#[derive(Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

#[cfg(test)]
mod tests;
