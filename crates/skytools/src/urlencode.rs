//! URL-encoded records, the payload of `logutriga`: `id=3&note&name=a+b`, where a name alone is NULL.
//!
//! Bytes are those of the encoding of the database in which the trigger ran, whatever the encoding
//! of the connection; they need not be UTF-8.

use std::borrow::Cow;

use crate::copy::{self, hex_digit};
use crate::record::Record;

/// A `%` that is not followed by two hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text ends too early.
    #[error("Incomplete hex code")]
    Incomplete,
    /// Something else than hex digits follows.
    #[error("Invalid hex code")]
    Invalid,
}

/// Appends a record; columns keep their order.
pub fn push<'r>(
    columns: impl IntoIterator<Item = (&'r [u8], Option<&'r [u8]>)>,
    out: &mut Vec<u8>,
) {
    for (place, (name, value)) in columns.into_iter().enumerate() {
        if place > 0 {
            out.push(b'&');
        }
        push_text(name, out);
        if let Some(value) = value {
            out.push(b'=');
            push_text(value, out);
        }
    }
}

/// The text of a record.
pub fn encode(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    push(record.iter(), &mut out);
    out
}

fn push_text(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => out.extend([
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
        }
    }
}

/// Reads a record. Empty parts are skipped; of a repeated name the last value counts.
///
/// What needs no decoding is borrowed from `text`.
///
/// # Errors
/// A `%` without its two hex digits.
pub fn decode(text: &[u8]) -> Result<Record<'_>, Error> {
    text.split(|&byte| byte == b'&')
        .filter(|part| !part.is_empty())
        .map(|part| match part.iter().position(|&byte| byte == b'=') {
            Some(at) => Ok((
                decode_text(&part[..at])?,
                Some(decode_text(&part[at + 1..])?),
            )),
            None => Ok((decode_text(part)?, None)),
        })
        .collect()
}

/// Appends the value that a text begins with, as it stands in a record, in the form of a field of COPY: decoded and
/// escaped at once. Returns its length in the text: it ends at a `&`.
///
/// # Errors
/// A `%` without its two hex digits; some of the value is appended then.
pub fn push_copy_field(text: &[u8], out: &mut Vec<u8>) -> Result<usize, Error> {
    let mut rest = text;
    loop {
        let special = |&byte: &u8| SPECIAL[usize::from(byte)];
        let Some(at) = rest.iter().position(special) else {
            out.extend_from_slice(rest);
            return Ok(text.len());
        };
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        match rest {
            [b'&', ..] => return Ok(text.len() - rest.len()),
            [b'+', ..] => out.push(b' '),
            [b'%', high, low, ..] if *high != b'&' && *low != b'&' => {
                let digit = |byte| hex_digit(byte).ok_or(Error::Invalid);
                copy::push_byte(digit(*high)? << 4 | digit(*low)?, out);
                rest = &rest[2..];
            }
            [b'%', ..] => return Err(Error::Incomplete),
            [byte, ..] => copy::push_byte(*byte, out),
            [] => {}
        }
        rest = &rest[1..];
    }
}

/// Bytes that do not stand for themselves in [`push_copy_field`].
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let bytes = b"&+%\\\t\n\r";
    let mut place = 0;
    while place < bytes.len() {
        special[bytes[place] as usize] = true;
        place += 1;
    }
    special
};

fn decode_text(text: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    let Some(first) = text.iter().position(|byte| matches!(byte, b'+' | b'%')) else {
        return Ok(Cow::Borrowed(text));
    };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let [byte, after @ ..] = rest {
        rest = after;
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let [high, low, after @ ..] = rest else {
                    return Err(Error::Incomplete);
                };
                rest = after;
                let digit = |byte| hex_digit(byte).ok_or(Error::Invalid);
                digit(*high)? << 4 | digit(*low)?
            }
            _ => *byte,
        });
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text<const N: usize>(columns: [(&str, Option<&str>); N]) -> String {
        String::from_utf8(encode(&Record::from(columns))).unwrap()
    }

    #[test]
    fn records_are_written_as_the_triggers_do() {
        assert_eq!(
            text([("id", Some("3")), ("n", None), ("e", Some(""))]),
            "id=3&n&e="
        );
        assert_eq!(text([("a b", Some("c&d=e"))]), "a+b=c%26d%3de");
        assert_eq!(text([("k", Some("é/~"))]), "k=%c3%a9%2f%7e");
        assert_eq!(text([]), "");
        assert_eq!(
            text([("x.y_Z-9", Some("\n*!'()"))]),
            "x.y_Z-9=%0a%2a%21%27%28%29"
        );
    }

    #[test]
    fn records_are_read_back() {
        let read = |text: &'static str| decode(text.as_bytes()).unwrap();
        assert_eq!(
            read("id=3&n&e="),
            Record::from([("id", Some("3")), ("n", None), ("e", Some(""))])
        );
        assert_eq!(
            read("a+b=c%26d%3De"),
            Record::from([("a b", Some("c&d=e"))])
        );
        assert_eq!(read("k=%C3%a9"), Record::from([("k", Some("é"))]));
        assert_eq!(read(""), Record::default());
        assert_eq!(read("&&a=1&&"), Record::from([("a", Some("1"))]));
        assert_eq!(read("a=b=c"), Record::from([("a", Some("b=c"))]));
        assert_eq!(
            read("a=1&b&a=2"),
            Record::from([("a", Some("2")), ("b", None)])
        );
        assert_eq!(read("=x"), Record::from([("", Some("x"))]));
        let record = decode(b"v=caf%e9").unwrap();
        assert_eq!(record.get("v"), Some(Some(&b"caf\xe9"[..])));
    }

    #[test]
    fn a_percent_sign_needs_two_hex_digits() {
        for incomplete in ["a=%", "a=%4", "%=1", "a=x%&b"] {
            assert_eq!(
                decode(incomplete.as_bytes()),
                Err(Error::Incomplete),
                "{incomplete}"
            );
        }
        for invalid in ["a=%zz", "a=%4g", "%+1=2"] {
            assert_eq!(decode(invalid.as_bytes()), Err(Error::Invalid), "{invalid}");
        }
        assert_eq!(Error::Incomplete.to_string(), "Incomplete hex code");
        assert_eq!(Error::Invalid.to_string(), "Invalid hex code");
    }

    proptest! {
        #[test]
        fn a_record_reads_back(
            columns in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..8), any::<Option<Vec<u8>>>()), 0..8),
        ) {
            let record: Record<'_> = (columns.into_iter())
                .map(|(name, value)| (Cow::Owned(name), value.map(Cow::Owned)))
                .collect();
            let text = encode(&record);
            prop_assert!(text.is_ascii());
            prop_assert_eq!(decode(&text).unwrap(), record);
        }

        #[test]
        fn decoding_and_escaping_at_once_is_the_same_as_one_after_the_other(
            value: Vec<u8>, raw in "[ -~\t\n\r%+\\\\0-9a-f]{0,20}",
        ) {
            let encoded = encode(&Record::new(vec![(Cow::Borrowed(b"n"), Some(Cow::Owned(value)))]));
            for text in [&encoded[2..], raw.as_bytes()] {
                let mut out = Vec::new();
                let at_once = push_copy_field(text, &mut out);
                let text = text.split(|&byte| byte == b'&').next().unwrap();
                match decode_text(text) {
                    Ok(value) => {
                        let mut expected = Vec::new();
                        copy::push_field(Some(&value), &mut expected);
                        prop_assert_eq!((at_once, out), (Ok(text.len()), expected));
                    }
                    Err(error) => prop_assert_eq!(at_once, Err(error)),
                }
            }
        }

        #[test]
        fn a_record_that_stops_within_a_hex_code_is_refused(
            columns in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 1..8), any::<Option<Vec<u8>>>()),
                0..4,
            ),
        ) {
            let record: Record<'_> = (columns.into_iter())
                .map(|(name, value)| (Cow::Owned(name), value.map(Cow::Owned)))
                .collect();
            let text = encode(&record);
            for end in 0..text.len() {
                let part = &text[..end];
                let within = part.iter().rev().take(2).any(|byte| *byte == b'%');
                match decode(part) {
                    Ok(_) => prop_assert!(!within),
                    Err(error) => prop_assert!(within && error == Error::Incomplete),
                }
            }
        }

        #[test]
        fn reading_arbitrary_bytes_never_panics(bytes: Vec<u8>, similar in "[a%&=+0-9f]{0,20}") {
            let _ = decode(&bytes);
            let _ = decode(similar.as_bytes());
        }
    }
}
