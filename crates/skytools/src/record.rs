//! A row as an event carries it: columns by name, values as text.

use std::borrow::Cow;
use std::collections::HashMap;

/// Name of a column, raw: neither quoted nor encoded.
pub type Name<'a> = Cow<'a, [u8]>;

/// Value of a column as text of its type; `None` is NULL.
pub type Value<'a> = Option<Cow<'a, [u8]>>;

/// Columns and values of one row, in order of appearance, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record<'a> {
    columns: Vec<(Name<'a>, Value<'a>)>,
}

/// Up to this many columns, comparing all pairs is cheaper than hashing.
const FEW: usize = 32;

impl<'a> Record<'a> {
    /// Collects columns; of a repeated name the last value counts, in the place of the first.
    pub fn new(columns: Vec<(Name<'a>, Value<'a>)>) -> Record<'a> {
        let mut record = Record { columns };
        if record.repeats_a_name() {
            let mut places: HashMap<Name<'a>, usize> = HashMap::new();
            let mut merged: Vec<(Name<'a>, Value<'a>)> = Vec::new();
            for (name, value) in record.columns {
                if let Some(&place) = places.get(&name) {
                    merged[place].1 = value;
                } else {
                    places.insert(name.clone(), merged.len());
                    merged.push((name, value));
                }
            }
            record.columns = merged;
        }
        record
    }

    /// Value of a column; the outer `None` means that there is no such column.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Option<&[u8]>> {
        let name = name.as_ref();
        self.iter()
            .find_map(|(column, value)| (column == name).then_some(value))
    }

    /// Value of the column in this place, counted from 0; `None` for NULL, and where there is no column.
    pub fn value_at(&self, place: usize) -> Option<&[u8]> {
        self.columns.get(place)?.1.as_deref()
    }

    /// Takes a column out, with its value.
    pub fn remove(&mut self, name: &[u8]) -> Option<(Name<'a>, Value<'a>)> {
        let place = self
            .columns
            .iter()
            .position(|(column, _)| column.as_ref() == name)?;
        Some(self.columns.remove(place))
    }

    /// The columns in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> {
        self.columns
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_deref()))
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there is no column at all.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Copies what is borrowed, so that the record outlives the text it was read from.
    pub fn into_owned(self) -> Record<'static> {
        let owned = |(name, value): (Name<'a>, Value<'a>)| {
            let value = value.map(|value| Cow::Owned(value.into_owned()));
            (Cow::Owned(name.into_owned()), value)
        };
        Record {
            columns: self.columns.into_iter().map(owned).collect(),
        }
    }

    fn repeats_a_name(&self) -> bool {
        if self.columns.len() <= FEW {
            let rest_of = |place: usize| &self.columns[place + 1..];
            return (self.columns.iter().enumerate())
                .any(|(place, (name, _))| rest_of(place).iter().any(|(other, _)| other == name));
        }
        let mut seen = std::collections::HashSet::with_capacity(self.columns.len());
        !self.columns.iter().all(|(name, _)| seen.insert(name))
    }
}

impl<'a> IntoIterator for Record<'a> {
    type Item = (Name<'a>, Value<'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.columns.into_iter()
    }
}

impl<'a> FromIterator<(Name<'a>, Value<'a>)> for Record<'a> {
    fn from_iter<I: IntoIterator<Item = (Name<'a>, Value<'a>)>>(columns: I) -> Record<'a> {
        Record::new(columns.into_iter().collect())
    }
}

impl<'a, const N: usize> From<[(&'a str, Option<&'a str>); N]> for Record<'a> {
    fn from(columns: [(&'a str, Option<&'a str>); N]) -> Record<'a> {
        let borrow = |text: &'a str| Cow::Borrowed(text.as_bytes());
        (columns.into_iter())
            .map(|(name, value)| (borrow(name), value.map(borrow)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_repeated_name_the_last_value_counts_in_the_place_of_the_first() {
        let record = Record::from([("a", Some("1")), ("b", None), ("a", Some("2"))]);
        assert_eq!(record, Record::from([("a", Some("2")), ("b", None)]));
    }

    #[test]
    fn many_columns_merge_like_few() {
        let name = |n: usize| Cow::Owned(format!("c{}", n % 50).into_bytes());
        let record: Record<'_> = (0..100)
            .map(|n| (name(n), Some(Cow::Owned(vec![u8::try_from(n).unwrap()]))))
            .collect();
        assert_eq!(record.len(), 50);
        assert_eq!(record.get("c7"), Some(Some(&[57][..])));
        assert_eq!(record.iter().next().unwrap().0, b"c0");
    }

    #[test]
    fn a_null_is_not_a_missing_column() {
        let record = Record::from([("a", None)]);
        assert_eq!(record.get("a"), Some(None));
        assert_eq!(record.get("b"), None);
    }
}
