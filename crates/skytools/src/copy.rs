//! COPY text format: fields and rows, on bytes.

use std::borrow::Cow;

use crate::quote::{Error, push_octal};

/// Appends one field; NULL is `\N`.
pub fn push_field(value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(mut rest) = value else {
        out.extend_from_slice(b"\\N");
        return;
    };
    while let Some(at) = rest.iter().position(|byte| letter_of(*byte).is_some()) {
        out.extend_from_slice(&rest[..at]);
        out.extend([Some(b'\\'), letter_of(rest[at])].into_iter().flatten());
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends one byte of a field.
pub(crate) fn push_byte(byte: u8, out: &mut Vec<u8>) {
    match letter_of(byte) {
        Some(letter) => out.extend([b'\\', letter]),
        None => out.push(byte),
    }
}

/// Letter that stands for a byte behind a backslash, for the bytes that cannot stand alone.
fn letter_of(byte: u8) -> Option<u8> {
    match byte {
        b'\t' => Some(b't'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\\' => Some(b'\\'),
        _ => None,
    }
}

/// Appends a row: fields between tabs, and the newline.
pub fn row(values: &[Option<&[u8]>], out: &mut Vec<u8>) {
    row_of(values.iter().copied(), out);
}

/// Appends a row of fields that come from an iterator.
pub fn row_of<'a>(values: impl IntoIterator<Item = Option<&'a [u8]>>, out: &mut Vec<u8>) {
    for (place, value) in values.into_iter().enumerate() {
        if place > 0 {
            out.push(b'\t');
        }
        push_field(value, out);
    }
    out.push(b'\n');
}

/// Reads a field as COPY FROM does: `\N` is NULL, escapes as the server defines them.
///
/// # Errors
/// The field ends in a lone backslash.
pub fn unescape(field: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
    if field == b"\\N" {
        return Ok(None);
    }
    let Some(first) = field.iter().position(|&byte| byte == b'\\') else {
        return Ok(Some(Cow::Borrowed(field)));
    };
    let mut out = Vec::with_capacity(field.len());
    out.extend_from_slice(&field[..first]);
    let mut rest = &field[first..];
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let (&letter, after) = rest.split_first().ok_or(Error::BackslashAtEnd)?;
        rest = after;
        let byte = match letter {
            b'b' => b'\x08',
            b'f' => b'\x0c',
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => b'\x0b',
            b'0'..=b'7' => {
                // `after` begins behind the first digit, which is `letter`.
                rest = push_octal(&field[field.len() - after.len() - 1..], &mut out);
                continue;
            }
            b'x' => match hex_prefix(after) {
                Some((byte, after)) => {
                    rest = after;
                    byte
                }
                None => b'x',
            },
            other => other,
        };
        out.push(byte);
    }
    Ok(Some(Cow::Owned(out)))
}

/// Byte of one or two hex digits, and the text behind them.
fn hex_prefix(text: &[u8]) -> Option<(u8, &[u8])> {
    let high = hex_digit(*text.first()?)?;
    Some(match text.get(1).copied().and_then(hex_digit) {
        Some(low) => (high << 4 | low, &text[2..]),
        None => (high, &text[1..]),
    })
}

/// Value of a hex digit of either case.
pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Iterates over the fields of a row, with or without its newline.
///
/// A row of no columns at all reads as one empty field: the format does not tell them apart.
pub fn fields(row: &[u8]) -> Fields<'_> {
    Fields {
        rest: Some(row.strip_suffix(b"\n").unwrap_or(row)),
    }
}

/// Fields of a row, still escaped, until [`Fields::next`] reads them.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Option<Cow<'a, [u8]>>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        let mut escaped = false;
        let tab = rest.iter().position(|&byte| {
            let ends = byte == b'\t' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let field = tab.map_or(rest, |tab| &rest[..tab]);
        self.rest = tab.map(|tab| &rest[tab + 1..]);
        Some(unescape(field))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(value: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        push_field(value, &mut out);
        out
    }

    #[test]
    fn fields_escape_what_separates_them() {
        assert_eq!(field(None), br"\N");
        assert_eq!(field(Some(b"a\tb\nc\rd\\e")), br"a\tb\nc\rd\\e");
        assert_eq!(field(Some(br"\N")), br"\\N");
        assert_eq!(field(Some(b"")), b"");
        assert_eq!(field(Some(b"x\x0c\x0b\x00'\xff")), b"x\x0c\x0b\x00'\xff");
        assert_eq!(field(Some(&crate::quote::bytea(b"\t\xe4"))), br"\\011\\344");
    }

    #[test]
    fn fields_are_read_by_the_rules_of_copy() {
        let cases: [(&[u8], Option<&[u8]>); 12] = [
            (br"a\tb", Some(b"a\tb")),
            (br"\101\60\9", Some(b"A09")),
            (br"\N", None),
            (br"\\N", Some(br"\N")),
            (br"x\fy", Some(b"x\x0cy")),
            (br"\v\b\n\r", Some(b"\x0b\x08\n\r")),
            (br"\a", Some(b"a")),
            (br"\x41\x4\xg\x", Some(b"A\x04xgx")),
            (br"\x4G", Some(b"\x04G")),
            (br"a\0", Some(b"a\0")),
            (b"", Some(b"")),
            (br"\.", Some(b".")),
        ];
        for (text, expected) in cases {
            assert_eq!(unescape(text).unwrap().as_deref(), expected);
        }
        assert_eq!(unescape(br"a\"), Err(Error::BackslashAtEnd));
    }

    #[test]
    fn a_row_is_its_fields_between_tabs_and_a_newline() {
        let mut out = Vec::new();
        row(&[Some(b"1"), None, Some(b""), Some(b"a\tb")], &mut out);
        row(&[Some(b"2")], &mut out);
        assert_eq!(out, b"1\t\\N\t\ta\\tb\n2\n");
    }

    #[test]
    fn a_row_splits_at_tabs_that_are_not_escaped() {
        let read = |row| fields(row).collect::<Result<Vec<_>, _>>().unwrap();
        let some = |text: &'static [u8]| Some(Cow::Borrowed(text));
        assert_eq!(read(b"1\t\\N\t\n"), [some(b"1"), None, some(b"")]);
        assert_eq!(read(b"a\\\tb\\\\\tc"), [some(b"a\tb\\"), some(b"c")]);
        assert_eq!(read(b""), [some(b"")]);
    }

    proptest! {
        #[test]
        fn a_row_reads_back_as_its_values(values in prop::collection::vec(any::<Option<Vec<u8>>>(), 1..6)) {
            let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
            let mut text = Vec::new();
            row(&values, &mut text);
            prop_assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count(), 1);
            let read: Vec<_> = fields(&text).collect::<Result<_, _>>().unwrap();
            let read: Vec<_> = read.iter().map(Option::as_deref).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn a_row_that_stops_within_an_escape_is_refused(
            values in prop::collection::vec(prop::option::of(prop::collection::vec(
                prop_oneof![Just(b'\\'), Just(b'\t'), any::<u8>()], 0..10)), 1..5),
        ) {
            let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
            let mut text = Vec::new();
            row(&values, &mut text);
            for end in 0..text.len() {
                let part = &text[..end];
                let backslashes = part.iter().rev().take_while(|&&byte| byte == b'\\').count();
                let read: Result<Vec<_>, _> = fields(part).collect();
                prop_assert_eq!(read.is_err(), backslashes % 2 == 1);
            }
        }

        #[test]
        fn reading_arbitrary_bytes_never_panics(row: Vec<u8>, escapes in r"[\\xN0-9a-f\t]{0,12}") {
            fields(&row).for_each(drop);
            fields(escapes.as_bytes()).for_each(drop);
        }
    }
}
