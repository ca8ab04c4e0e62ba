//! Finding the rows that differ within a range.

use std::collections::HashMap;

use skytools::db::Session;

use super::layout::Layout;
use super::read::{self, Key, Range, Seen, Sum, Value, Values};
use crate::Error;
use crate::schema::Side;

/// Rows of the smaller ranges that a range which differs is divided into.
const SMALL: u32 = 500;

/// Keys of the subscriber read at once.
const PAGE: u32 = 2000;

/// Whole rows read at once …
const ROWS: usize = 50;

/// … or so many bytes of them, but for the last.
const BYTES: usize = 4 * 1024 * 1024;

/// A key, and how long its row is.
pub(crate) type SizedKey = (Key, usize);

/// Keys of rows that are read at once.
pub(crate) fn portions(keys: &[SizedKey]) -> impl Iterator<Item = Vec<Key>> {
    let mut rest = keys;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let count = rest.iter().take(ROWS).take_while(|(_, length)| {
            let more = bytes < BYTES;
            bytes += length;
            more
        });
        let (portion, left) = rest.split_at(count.count());
        rest = left;
        let keys: Vec<Key> = portion.iter().map(|(key, _)| key.clone()).collect();
        (!keys.is_empty()).then_some(keys)
    })
}

/// A row that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The subscriber lacks it.
    Missing(Values),
    /// The subscriber has it, and should not.
    Extra(Values),
    /// Values differ.
    Changed {
        provider: Values,
        subscriber: Values,
    },
}

/// Looks for the rows of a range that differ, and tells them in small portions, with the provider of which
/// more can be asked.
pub(crate) fn drill(
    provider: &mut Session<'_>,
    subscriber: &mut Session<'_>,
    layout: &Layout,
    range: &Range,
    tell: &mut impl FnMut(&mut Session<'_>, Vec<Difference>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut rest = range.clone();
    loop {
        let (part, here) = read::first_part(provider, layout, Side::Provider, &rest, SMALL)?;
        let there = read::sum(subscriber, layout, Side::Subscriber, &part)?;
        if here != there {
            candidates(provider, subscriber, layout, &part, here, tell)?;
        }
        if part.last == range.last {
            return Ok(());
        }
        rest.after = part.last;
    }
}

/// Compares key by key.
fn candidates(
    provider: &mut Session<'_>,
    subscriber: &mut Session<'_>,
    layout: &Layout,
    range: &Range,
    here: Sum,
    tell: &mut impl FnMut(&mut Session<'_>, Vec<Difference>) -> Result<(), Error>,
) -> Result<(), Error> {
    let limit = u32::try_from(here.rows).unwrap_or(SMALL).max(1);
    let mut wanted: HashMap<Key, Seen> =
        read::hashes(provider, layout, Side::Provider, range, limit)?
            .into_iter()
            .collect();
    let mut rest = range.clone();
    loop {
        let page = read::hashes(subscriber, layout, Side::Subscriber, &rest, PAGE)?;
        let more = page.len() == PAGE as usize;
        rest.after = page.last().map(|(key, _)| key.clone()).or(rest.after);
        let (mut extra, mut changed) = (Vec::new(), Vec::new());
        for (key, seen) in page {
            match wanted.remove(&key) {
                Some(expected) if expected.hash == seen.hash => {}
                Some(expected) => changed.push((key, expected.bytes.max(seen.bytes))),
                None => extra.push((key, seen.bytes)),
            }
        }
        for keys in portions(&extra) {
            let found = verify(provider, subscriber, layout, &keys, Whose::Subscriber)?;
            tell(provider, found)?;
        }
        for keys in portions(&changed) {
            let found = verify(provider, subscriber, layout, &keys, Whose::Provider)?;
            tell(provider, found)?;
        }
        if !more {
            break;
        }
    }
    let missing: Vec<SizedKey> = wanted
        .into_iter()
        .map(|(key, seen)| (key, seen.bytes))
        .collect();
    for keys in portions(&missing) {
        let found = verify(provider, subscriber, layout, &keys, Whose::Provider)?;
        tell(provider, found)?;
    }
    Ok(())
}

/// Where a key was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Provider,
    Subscriber,
}

/// Reads the rows of keys on both sides and compares their values.
///
/// Where both sides sort keys differently, a row can lie in one range here and in another there;
/// looked up by its key it is found. What the subscriber has too much is told for keys seen there
/// only: the provider's rows are told where they were seen themselves. A condition that holds on
/// one side only is no reason to take a row for missing.
pub(crate) fn verify(
    provider: &mut Session<'_>,
    subscriber: &mut Session<'_>,
    layout: &Layout,
    keys: &[Key],
    whose: Whose,
) -> Result<Vec<Difference>, Error> {
    let all = layout.all_rows(Side::Provider);
    let mut here = read::rows(provider, layout, Side::Provider, all, keys)?;
    let all = layout.all_rows(Side::Subscriber);
    let mut there = read::rows(subscriber, layout, Side::Subscriber, all, keys)?;
    let seen: Vec<usize> = match (whose, layout.restricted) {
        (Whose::Provider, _) => Vec::new(),
        (Whose::Subscriber, false) => (0..keys.len()).collect(),
        (Whose::Subscriber, true) => {
            let compared = layout.from(Side::Provider);
            let seen = read::rows(provider, layout, Side::Provider, compared, keys)?;
            seen.into_keys().collect()
        }
    };
    Ok((0..keys.len())
        .filter_map(|nr| match (here.remove(&nr), there.remove(&nr)) {
            (Some(provider), None) if whose == Whose::Provider => {
                Some(Difference::Missing(provider))
            }
            (None, Some(subscriber)) => Some(Difference::Extra(subscriber)),
            (Some(provider), Some(subscriber))
                if !seen.contains(&nr) && !same(layout, &provider, &subscriber) =>
            {
                Some(Difference::Changed {
                    provider,
                    subscriber,
                })
            }
            _ => None,
        })
        .collect())
}

/// Whether all values are the same.
fn same(layout: &Layout, here: &Values, there: &Values) -> bool {
    changed(layout, here, there).next().is_none()
}

/// Places of the columns whose values differ.
pub(crate) fn changed<'v>(
    layout: &'v Layout,
    here: &'v Values,
    there: &'v Values,
) -> impl Iterator<Item = usize> + 'v {
    let columns = layout.columns.iter().enumerate();
    columns.filter_map(|(nr, column)| {
        let (a, b) = (&here[nr], &there[nr]);
        let same = a == b || (column.types_differ && differ_by_zone(a, b));
        (!same).then_some(nr)
    })
}

/// Whether one value is the other with a time zone that the other's type has not.
fn differ_by_zone(a: &Option<Value>, b: &Option<Value>) -> bool {
    /// Length of `2026-01-01 00:00:00`.
    const TIMESTAMP: usize = 19;
    let (Some(Value::Short(a)), Some(Value::Short(b))) = (a, b) else {
        return false;
    };
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    match long.strip_prefix(short) {
        Some([b'+', hours @ ..]) => {
            short.len() >= TIMESTAMP && hours.len() == 2 && hours.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<Value> {
        Some(Value::Short(text.into()))
    }

    #[test]
    fn rows_are_read_many_at_once_or_few_large_ones() {
        let portions_of = |lengths: &[usize]| -> Vec<usize> {
            let keys: Vec<SizedKey> = lengths.iter().map(|length| (Vec::new(), *length)).collect();
            portions(&keys).map(|keys| keys.len()).collect()
        };
        assert_eq!(portions_of(&[]), [0; 0]);
        assert_eq!(portions_of(&[10; 120]), [50, 50, 20]);
        assert_eq!(portions_of(&[BYTES, BYTES, 1, BYTES - 1, 7]), [1, 1, 2, 1]);
    }

    #[test]
    fn a_time_zone_may_be_what_one_type_has_not() {
        for (a, b, same) in [
            ("1.0", "1.00", false),
            ("a", "b", false),
            ("2026-01-01 00:00:00", "2026-01-01 00:00:00+00", true),
            ("2026-01-01 00:00:00+02", "2026-01-01 00:00:00", true),
            ("2026-01-01 00:00:00", "2026-01-01 00:00:00.5", false),
            ("12", "12+00", false),
        ] {
            assert_eq!(differ_by_zone(&value(a), &value(b)), same, "{a} {b}");
        }
        assert!(!differ_by_zone(&None, &value("")));
    }
}
