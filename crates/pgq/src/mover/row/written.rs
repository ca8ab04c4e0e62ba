//! Rows with the same columns as the last one, read without taking them apart: from their URL encoding straight into
//! text of COPY.
//!
//! For encoded text that is ASCII, of sources and targets in UTF-8: see [`Rows::keeps_utf8`](super::Rows::keeps_utf8).
//! What is special about a row has to be seen by the long way, [`Rows::read`](super::Rows::read).

use std::ops::Range;

use skytools::urlencode;

/// How a row with certain columns is written: their names, still encoded, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    names: Vec<Vec<u8>>,
}

/// Where the value of a column is in the text, still encoded; `None` for NULL.
pub type Place = Option<Range<usize>>;

impl Written {
    /// How this row is written, which has so many columns; `None` if it has one of them twice.
    pub fn of(data: &[u8], columns: usize) -> Option<Written> {
        let parts = data
            .split(|&byte| byte == b'&')
            .filter(|part| !part.is_empty());
        let names = parts.map(|part| {
            let end = part.iter().position(|&byte| byte == b'=');
            part[..end.unwrap_or(part.len())].to_vec()
        });
        let names: Vec<Vec<u8>> = names.collect();
        (names.len() == columns).then_some(Written { names })
    }

    /// Finds the values of another row; false if its columns are not the same, or not written so.
    pub fn find(&self, data: &[u8], values: &mut Vec<Place>) -> bool {
        values.clear();
        let mut at = 0;
        for (place, name) in self.names.iter().enumerate() {
            if place > 0 {
                if data.get(at) != Some(&b'&') {
                    return false;
                }
                at += 1;
            }
            if !data[at..].starts_with(name) {
                return false;
            }
            at += name.len();
            match data.get(at) {
                Some(b'=') => {
                    let start = at + 1;
                    let length = data[start..].iter().position(|&byte| byte == b'&');
                    at = length.map_or(data.len(), |length| start + length);
                    values.push(Some(start..at));
                }
                Some(b'&') | None => values.push(None),
                // The name goes on.
                Some(_) => return false,
            }
        }
        at == data.len()
    }
}

/// Appends an encoded value as a field of COPY; `None` if it is anything but UTF-8 without zero bytes, and then some of
/// it may have been appended.
pub fn push_plain(encoded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    urlencode::push_copy_field(encoded, out).ok()?;
    let text = &out[start..];
    let is_plain = text.is_ascii() || std::str::from_utf8(text).is_ok();
    (is_plain && !text.contains(&0)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(known: &[u8], columns: usize, data: &[u8]) -> Option<Vec<Option<String>>> {
        let written = Written::of(known, columns)?;
        let mut values = Vec::new();
        let text = |place: &Place| {
            let range = place.clone()?;
            Some(String::from_utf8(data[range].to_vec()).unwrap())
        };
        let found = written.find(data, &mut values);
        found.then(|| values.iter().map(text).collect())
    }

    #[test]
    fn rows_with_the_same_columns_are_found() {
        let some = |text: &str| Some(text.to_owned());
        for (data, values) in [
            (&b"id=1&a+b=x"[..], [some("1"), some("x")]),
            (b"id=&a+b", [some(""), None]),
            (b"id&a+b=p=q", [None, some("p=q")]),
        ] {
            assert_eq!(find(b"id=7&a+b=y", 2, data), Some(values.to_vec()));
        }
        assert_eq!(find(b"&&id=7&", 1, b"id=1"), Some(vec![some("1")]));
    }

    #[test]
    fn other_rows_are_not() {
        for data in [
            &b"id=1"[..],
            b"id=1&a+b=x&c=1",
            b"a+b=x&id=1",
            b"id=1&&a+b=x",
            b"id=1&a+bc=x",
            b"id=1&a+b=x&",
            b"",
            b"&id=1&a+b=x",
            b"id=1&a%20b=x",
        ] {
            assert_eq!(find(b"id=7&a+b=y", 2, data), None, "{data:?}");
        }
        assert_eq!(Written::of(b"a=1&a=2", 1), None);
    }
}
