//! Reading ranges of keys, and rows by their key.

use std::collections::HashMap;

use postgres::Row;
use postgres::types::{ToSql, Type};
use skytools::db::{DbError, During, Session, Text, TextValue, Typed};

use super::layout::{self, Layout};
use crate::schema::Side;

/// Values of the key's columns, as text.
pub(crate) type Key = Vec<Text>;

/// Values of the compared columns; `None` is NULL.
pub(crate) type Values = Vec<Option<Value>>;

/// A value of a column. Those of one text are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Its text.
    Short(Text),
    /// What is known of a long one: see [`long_value`].
    Long {
        /// Length of its text.
        bytes: usize,
        /// [`Layout::digest`] of it.
        digest: String,
    },
}

impl Value {
    /// Reads what [`Layout::value`] writes.
    fn parse(value: &[u8]) -> Value {
        let long = || {
            let long = std::str::from_utf8(value.strip_prefix(b"#")?).ok()?;
            let (bytes, digest) = long.split_once(':')?;
            Some(Value::Long {
                bytes: bytes.parse().ok()?,
                digest: digest.to_owned(),
            })
        };
        long().unwrap_or_else(|| {
            Value::Short(Text::from(value.get(1..).unwrap_or_default().to_vec()))
        })
    }

    /// Length of its text.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Value::Short(text) => text.as_bytes().len(),
            Value::Long { bytes, .. } => *bytes,
        }
    }
}

/// The key of a row.
pub(crate) fn key(layout: &Layout, row: &Values) -> Key {
    let text = |value: &Option<Value>| match value {
        Some(Value::Short(text)) => text.clone(),
        // An index holds no such value.
        Some(Value::Long { .. }) | None => Text::default(),
    };
    row.iter().take(layout.key_length).map(text).collect()
}

/// Keys above `after`, up to and with `last`; open where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Range {
    pub(crate) after: Option<Key>,
    pub(crate) last: Option<Key>,
}

/// Number of rows, and the sum of their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sum {
    pub(crate) rows: u64,
    pub(crate) hash: i128,
}

/// Runs a query with keys as its parameters.
fn query<'k>(
    db: &mut Session<'_>,
    sql: &str,
    keys: impl IntoIterator<Item = &'k Key>,
    step: &str,
) -> Result<Vec<Row>, DbError> {
    let values: Vec<TextValue<'_>> = keys
        .into_iter()
        .flatten()
        .map(|key| TextValue(key.as_bytes()))
        .collect();
    let parameters: Vec<_> = values
        .iter()
        .map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN))
        .collect();
    let parameters: &Typed<'_> = &parameters;
    db.query_typed(sql, parameters).during(step.to_owned())
}

impl Range {
    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.after.iter().chain(&self.last)
    }

    /// The condition for `where`, its parameters those of [`Range::keys`].
    fn condition(&self, layout: &Layout, side: Side) -> String {
        let mut conditions = Vec::new();
        let mut next = 1;
        for (bound, operator) in [(&self.after, ">"), (&self.last, "<=")] {
            if bound.is_some() {
                conditions.push(layout.beyond(side, operator, next));
                next += layout.key_length;
            }
        }
        match conditions.is_empty() {
            true => "true".to_owned(),
            false => conditions.join(" and "),
        }
    }
}

/// Sums up the rows of a range.
pub(crate) fn sum(
    db: &mut Session<'_>,
    layout: &Layout,
    side: Side,
    range: &Range,
) -> Result<Sum, DbError> {
    let sql = format!(
        "select count(*), coalesce(sum({}), 0)::text from {} where {}",
        layout.hash(),
        layout.from(side),
        range.condition(layout, side)
    );
    let step = format!("sum up rows of {} on the {}", layout.table, side.name());
    let rows = query(db, &sql, range.keys(), &step)?;
    Ok(sum_of(&rows[0]))
}

fn sum_of(row: &Row) -> Sum {
    let rows: i64 = row.get(0);
    let hash: String = row.get(1);
    Sum {
        rows: rows.unsigned_abs(),
        hash: hash.parse().expect("a sum of bigints is a number"),
    }
}

/// Sums up the first `limit` rows of a range, and says which range that was: the rest begins behind
/// its last key, and there is none if that is the end of the whole range.
pub(crate) fn first_part(
    db: &mut Session<'_>,
    layout: &Layout,
    side: Side,
    range: &Range,
    limit: u32,
) -> Result<(Range, Sum), DbError> {
    let names: Vec<String> = (0..layout.key_length).map(|nr| format!("k{nr}")).collect();
    let named: Vec<String> = (layout.key().iter().zip(&names))
        .map(|(column, name)| format!("t.{} as {name}", column.name))
        .collect();
    let texts: Vec<String> = names
        .iter()
        .map(|name| format!("pg_catalog.format('%s', r.{name}) as {name}"))
        .collect();
    let downwards: Vec<String> = names.iter().map(|name| format!("r.{name} desc")).collect();
    let sql = format!(
        "with r as materialized (
             select {named}, {hash} as h from {from} where {condition} order by {key} limit {limit})
         select s.n, s.h, l.*
           from (select count(*) as n, coalesce(sum(r.h), 0)::text as h from r) s
           left join lateral (select {texts} from r order by {downwards} limit 1) l on true",
        named = named.join(", "),
        hash = layout.hash(),
        from = layout.from(side),
        condition = range.condition(layout, side),
        key = layout.key_list(),
        texts = texts.join(", "),
        downwards = downwards.join(", "),
    );
    let step = format!("sum up rows of {} on the {}", layout.table, side.name());
    let rows = query(db, &sql, range.keys(), &step)?;
    let sum = sum_of(&rows[0]);
    let last = match sum.rows < u64::from(limit) {
        true => range.last.clone(),
        false => Some(key_of(&rows[0], 2, layout)),
    };
    let part = Range {
        after: range.after.clone(),
        last,
    };
    Ok((part, sum))
}

fn key_of(row: &Row, first: usize, layout: &Layout) -> Key {
    (first..first + layout.key_length)
        .map(|nr| row.get(nr))
        .collect()
}

/// What is known of a row before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) hash: i64,
    /// Length of its text.
    pub(crate) bytes: usize,
}

/// Keys and hashes of the first `limit` rows of a range.
pub(crate) fn hashes(
    db: &mut Session<'_>,
    layout: &Layout,
    side: Side,
    range: &Range,
    limit: u32,
) -> Result<Vec<(Key, Seen)>, DbError> {
    let sql = format!(
        "select {}, {}::int8, {} from {} where {} order by {} limit {limit}",
        layout.hash(),
        layout.length(),
        layout.key_text(),
        layout.from(side),
        range.condition(layout, side),
        layout.key_list(),
    );
    let step = format!("read keys of {} on the {}", layout.table, side.name());
    let rows = query(db, &sql, range.keys(), &step)?;
    Ok(rows
        .iter()
        .map(|row| {
            let bytes: i64 = row.get(1);
            let seen = Seen {
                hash: row.get(0),
                bytes: usize::try_from(bytes).unwrap_or_default(),
            };
            (key_of(row, 2, layout), seen)
        })
        .collect())
}

/// Rows by key, in the place of the key; keys that are no key of the side are left out.
///
/// Equality decides, not order, which may differ between the sides. `from` is of the layout: all rows
/// of the table, or those that are compared.
pub(crate) fn rows(
    db: &mut Session<'_>,
    layout: &Layout,
    side: Side,
    from: &str,
    keys: &[Key],
) -> Result<HashMap<usize, Values>, DbError> {
    let places: Vec<String> = (0..keys.len())
        .map(|nr| {
            let parameters = layout.parameters(side, nr * layout.key_length + 1);
            format!("({nr}, {parameters})")
        })
        .collect();
    let names: Vec<String> = (0..layout.key_length).map(|nr| format!("k{nr}")).collect();
    let equal: Vec<String> = (layout.key().iter().zip(&names))
        .map(|(column, name)| format!("t.{} = v.{name}", column.name))
        .collect();
    let texts: Vec<String> = (layout.columns.iter())
        .map(|column| layout.value(column))
        .collect();
    let sql = format!(
        "select v.nr, {} from (values {}) v (nr, {}) join {from} on {}",
        texts.join(", "),
        places.join(", "),
        names.join(", "),
        equal.join(" and "),
    );
    let step = format!("read rows of {} on the {}", layout.table, side.name());
    let found = query(db, &sql, keys, &step)?;
    let value = |row: &Row, nr: usize| {
        let value: Option<TextValue<'_>> = row.get(nr);
        value.map(|TextValue(value)| Value::parse(value))
    };
    Ok(found
        .iter()
        .map(|row| {
            let nr: i32 = row.get(0);
            let nr = usize::try_from(nr).expect("places count from 0");
            let values = (1..=layout.columns.len()).map(|nr| value(row, nr));
            (nr, values.collect())
        })
        .collect())
}

/// The text of the provider's value in the column at `place`, in the row of a key: a row of one value,
/// for a long one had better not be copied.
pub(crate) fn long_value(
    provider: &mut Session<'_>,
    layout: &Layout,
    key: &Key,
    place: usize,
) -> Result<Row, DbError> {
    let sql = format!(
        "select {} from {} where ({}) = ({})",
        layout::text(&format!("t.{}", layout.columns[place].name)),
        layout.all_rows(Side::Provider),
        layout.key_list(),
        layout.parameters(Side::Provider, 1),
    );
    let step = format!("read a value of {} on the provider", layout.table);
    let rows = query(provider, &sql, [key], &step)?;
    let mut rows = rows.into_iter();
    Ok(rows
        .next()
        .expect("the snapshot holds the row that was seen in it"))
}
