use pgq::mover::drift::Drift;
use pgq::mover::partition::Period;
use serde::Deserialize;
use skytools::table::TableName;

use crate::fields::FieldMap;

/// Keys of the section `[table_dispatcher]`, beside those of every mover, of partitions and of row events.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Keys")]
pub struct Config {
    /// `dest_table`: table that takes the rows, or parent of those that do.
    pub(crate) dest_table: TableName,
    /// `part_field`, or `part_column`: what partitions are by; none without it.
    pub(crate) part_field: Option<PartField>,
    /// `part_method`: `daily` or `monthly`.
    pub(crate) part_method: Method,
    /// `part_strict`: whether only dates are taken for dates.
    pub(crate) part_strict: bool,
    /// `fields`: columns of the target, and what of the source goes there.
    pub(crate) fields: FieldMap,
    /// `missing_field`: what becomes of rows that lack one of them.
    pub(crate) missing_field: MissingField,
    /// `event_types`: operations whose rows are taken; `None` for all events.
    pub(crate) event_types: Option<Vec<u8>>,
    /// `drift`: what becomes of columns that the target does not have.
    pub(crate) drift: Drift,
}

/// What partitions are by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PartField {
    /// When the event was made.
    EventTime,
    /// A column of the source row.
    Column(String),
}

/// Which part of a date makes a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    /// The day.
    #[default]
    Daily,
    /// The month.
    Monthly,
    /// The year.
    Yearly,
}

/// What becomes of rows that lack a listed column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MissingField {
    /// The event is a bad one.
    #[default]
    Fail,
    /// It is NULL.
    Null,
}

impl Method {
    pub(crate) fn period(self) -> Period {
        match self {
            Method::Daily => Period::Day,
            Method::Monthly => Period::Month,
            Method::Yearly => Period::Year,
        }
    }
}

/// Stands for the time of an event in `part_field`.
const EVENT_TIME: &str = "_EVTIME";

/// The keys as written.
#[derive(Deserialize)]
struct Keys {
    dest_table: String,
    #[serde(default)]
    part_field: String,
    #[serde(default)]
    part_column: String,
    #[serde(default)]
    part_method: Method,
    #[serde(default = "yes")]
    part_strict: bool,
    #[serde(default = "all")]
    fields: Vec<String>,
    #[serde(default)]
    missing_field: MissingField,
    #[serde(default = "all")]
    event_types: Vec<String>,
    #[serde(default)]
    drift: Drift,
}

fn yes() -> bool {
    true
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

impl TryFrom<Keys> for Config {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Config, String> {
        let part_field = match (keys.part_field.as_str(), keys.part_column.as_str()) {
            ("", "") => None,
            (field, "") | ("", field) => Some(field),
            (field, column) if field == column => Some(field),
            _ => return Err("part_field and its old name part_column differ".to_owned()),
        };
        if keys.dest_table.is_empty() {
            return Err("Config value not set: dest_table".to_owned());
        }
        Ok(Config {
            dest_table: TableName::parse(&keys.dest_table),
            part_field: part_field.map(|field| match field {
                EVENT_TIME => PartField::EventTime,
                column => PartField::Column(column.to_owned()),
            }),
            part_method: keys.part_method,
            part_strict: keys.part_strict,
            fields: FieldMap::parse(&keys.fields)?,
            missing_field: keys.missing_field,
            event_types: event_types(&keys.event_types)?,
            drift: keys.drift,
        })
    }
}

fn event_types(list: &[String]) -> Result<Option<Vec<u8>>, String> {
    if list == ["*"] {
        return Ok(None);
    }
    let letter = |text: &String| match text.as_bytes() {
        [letter @ (b'I' | b'U' | b'D')] => Ok(*letter),
        _ => Err(format!("event_types: {text:?} is none of I, U, D")),
    };
    match list {
        [] => Err("event_types is empty: it is * or some of I, U, D".to_owned()),
        list => list.iter().map(letter).collect::<Result<_, _>>().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_are_letters_or_all() {
        let read = |text: &[&str]| {
            let list: Vec<String> = text.iter().map(|part| (*part).to_owned()).collect();
            event_types(&list)
        };
        assert_eq!(read(&["*"]), Ok(None));
        assert_eq!(read(&["I", "D"]), Ok(Some(b"ID".to_vec())));
        for wrong in [&[][..], &["I", "*"], &["R"], &["i"], &["IU"], &[""]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
