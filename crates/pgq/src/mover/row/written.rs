//! Rows with the same columns as the last one, read without taking them apart: from their URL encoding straight into
//! text of COPY.
//!
//! For encoded text that is ASCII, of sources and targets in UTF-8: see [`Rows::keeps_utf8`](super::Rows::keeps_utf8).
//! What is special about a row has to be seen by the long way, [`Rows::read`](super::Rows::read).

use skytools::urlencode;

/// How a row with certain columns is written: their names, still encoded, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    names: Vec<Vec<u8>>,
}

/// The values of a row as a line of COPY.
#[derive(Debug, Clone, Default)]
pub struct Line {
    text: Vec<u8>,
    /// Where each value ends.
    ends: Vec<usize>,
}

/// NULL in a line.
const NULL: &[u8] = b"\\N";

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

    /// Reads another row into `line`; false if its columns are not the same or not written so, or if a value is
    /// anything but UTF-8 without zero bytes.
    pub fn read(&self, data: &[u8], line: &mut Line) -> bool {
        line.text.clear();
        line.ends.clear();
        if !data.is_ascii() {
            return false;
        }
        let mut rest = data;
        for (place, name) in self.names.iter().enumerate() {
            if place > 0 {
                let Some(behind) = rest.strip_prefix(b"&") else {
                    return false;
                };
                rest = behind;
                line.text.push(b'\t');
            }
            let Some(behind) = rest.strip_prefix(name.as_slice()) else {
                return false;
            };
            rest = match behind {
                [b'=', value @ ..] => match urlencode::push_copy_field(value, &mut line.text) {
                    Ok(length) => &value[length..],
                    Err(_) => return false,
                },
                [b'&', ..] | [] => {
                    line.text.extend_from_slice(NULL);
                    behind
                }
                // The name goes on.
                _ => return false,
            };
            line.ends.push(line.text.len());
        }
        // What stands between values is ASCII.
        let is_utf8 = || std::str::from_utf8(&line.text).is_ok();
        rest.is_empty() && !line.text.contains(&0) && (line.text.is_ascii() || is_utf8())
    }
}

impl Line {
    /// All values between tabs, without the end of the line.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// A value as it stands in COPY; `None` for NULL.
    ///
    /// # Panics
    /// There are not so many.
    pub fn value(&self, place: usize) -> Option<&[u8]> {
        let field = self.field(place);
        (field != NULL).then_some(field)
    }

    /// Appends the values at some places, in another order, without the end of the line; none is NULL.
    ///
    /// # Panics
    /// There are not so many.
    pub fn push_some(&self, places: impl IntoIterator<Item = Option<usize>>, out: &mut Vec<u8>) {
        for (number, place) in places.into_iter().enumerate() {
            if number > 0 {
                out.push(b'\t');
            }
            out.extend_from_slice(place.map_or(NULL, |place| self.field(place)));
        }
    }

    fn field(&self, place: usize) -> &[u8] {
        let start = match place {
            0 => 0,
            _ => self.ends[place - 1] + 1,
        };
        &self.text[start..self.ends[place]]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use skytools::{copy, urlencode};

    use super::*;

    /// The line of a row that is written as another one.
    fn read(known: &[u8], columns: usize, data: &[u8]) -> Option<Line> {
        let written = Written::of(known, columns)?;
        let mut line = Line::default();
        written.read(b"id=before&a+b=before", &mut line);
        written.read(data, &mut line).then_some(line)
    }

    #[test]
    fn rows_with_the_same_columns_become_lines() {
        for (data, text) in [
            (&b"id=1&a+b=x"[..], &b"1\tx"[..]),
            (b"id=&a+b", b"\t\\N"),
            (b"id&a+b=p=q", b"\\N\tp=q"),
            (b"id=a%09+%5c%26&a+b=%5CN", b"a\\t \\\\&\t\\\\N"),
            (b"id=%c3%a9&a+b=%e2%82%ac", "\u{e9}\t\u{20ac}".as_bytes()),
        ] {
            let line = read(b"id=7&a+b=y", 2, data).unwrap();
            assert_eq!(line.text(), text, "{data:?}");
        }
        assert_eq!(read(b"&&id=7&", 1, b"id=1").unwrap().text(), b"1");
    }

    #[test]
    fn other_rows_do_not() {
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
            // Values that are special.
            b"id=1&a+b=%",
            b"id=1&a+b=%4",
            b"id=%zz&a+b=x",
            b"id=1&a+b=a%00",
            b"id=1&a+b=%e9",
            b"id=%c3&a+b=%a9",
            b"id=1&a+b=\xc3\xa9",
        ] {
            assert!(read(b"id=7&a+b=y", 2, data).is_none(), "{data:?}");
        }
        assert_eq!(Written::of(b"a=1&a=2", 1), None);
    }

    #[test]
    fn values_are_found_in_a_line() {
        let line = read(b"a=&b=&c=", 3, b"a=x%09&b&c=").unwrap();
        let values = [0, 1, 2].map(|place| line.value(place));
        assert_eq!(values, [Some(&b"x\\t"[..]), None, Some(b"")]);
        let mut out = b"before:".to_vec();
        line.push_some([Some(2), None, Some(0), Some(1)], &mut out);
        assert_eq!(out, b"before:\t\\N\tx\\t\t\\N");
    }

    proptest! {
        #[test]
        fn a_line_is_the_row_that_the_long_way_reads(
            known in "((a|b|c%25)(=x)?&){0,2}(a|b|c%25)(=x)?",
            data in "(&?(a|b|c%25|%)(=([ab=%+\\\\\\t]|%[0-9a-f]{1,2}|%c3%a9){0,3})?&?){0,4}",
            bytes: Vec<u8>,
        ) {
            let names = urlencode::decode(known.as_bytes()).unwrap();
            let Some(written) = Written::of(known.as_bytes(), names.len()) else {
                prop_assert!(names.len() <= known.matches('&').count());
                return Ok(());
            };
            let mut line = Line::default();
            written.read(&bytes, &mut line);
            if written.read(data.as_bytes(), &mut line) {
                let row = urlencode::decode(data.as_bytes()).unwrap();
                let mut text = Vec::new();
                for (place, ((name, value), (expected, _))) in row.iter().zip(names.iter()).enumerate() {
                    prop_assert_eq!(name, expected);
                    if place > 0 {
                        text.push(b'\t');
                    }
                    copy::push_field(value, &mut text);
                }
                prop_assert_eq!(row.len(), names.len());
                prop_assert_eq!(line.text(), text);
            }
        }
    }
}
