//! Partial SQL as our triggers and those before them write it, read without copying.
//!
//! What is not exactly of that form is not understood here, and applied as it is.

/// A value, as it stands in the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Value<'c> {
    Null,
    /// What stands between quotes, with neither quotes nor backslashes in it.
    Plain(&'c [u8]),
    /// What stands between quotes, quotes doubled.
    Doubled(&'c [u8]),
    /// What stands between `E'` and `'`, quotes and backslashes doubled.
    Escaped(&'c [u8]),
}

impl<'c> Value<'c> {
    /// Appends it as a field of COPY in text format.
    pub(super) fn push_copy(self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"\\N"),
            Value::Plain(text) => push_escaped(text, out),
            // Neither form may hold what would be taken for a field's end.
            Value::Doubled(text) => push_undoubled(text, out, |byte, out| match byte {
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                _ => out.push(byte),
            }),
            Value::Escaped(text) => push_undoubled(text, out, |byte, out| match byte {
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\\' => out.extend_from_slice(b"\\\\"),
                _ => out.push(byte),
            }),
        }
    }

    /// Appends it as an element of an array's text.
    pub(super) fn push_element(self, out: &mut Vec<u8>) {
        let quoted = |byte, out: &mut Vec<u8>| {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        };
        match self {
            Value::Null => return out.extend_from_slice(b"NULL"),
            Value::Plain(text) if is_number(text) => return out.extend_from_slice(text),
            Value::Plain(text) => {
                out.push(b'"');
                if text.contains(&b'"') {
                    text.iter().for_each(|byte| quoted(*byte, out));
                } else {
                    out.extend_from_slice(text);
                }
            }
            Value::Doubled(text) | Value::Escaped(text) => {
                out.push(b'"');
                push_undoubled(text, out, quoted);
            }
        }
        out.push(b'"');
    }

    /// What stands between the quotes; `None` for null.
    pub(super) fn inside(self) -> Option<&'c [u8]> {
        match self {
            Value::Null => None,
            Value::Plain(text) | Value::Doubled(text) | Value::Escaped(text) => Some(text),
        }
    }
}

/// Whether text is one that an array takes without quotes.
fn is_number(text: &[u8]) -> bool {
    let number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    !text.is_empty() && text.iter().all(number)
}

/// Appends text without backslashes as a field of COPY.
fn push_escaped(text: &[u8], out: &mut Vec<u8>) {
    if !text
        .iter()
        .any(|byte| matches!(byte, b'\n' | b'\r' | b'\t'))
    {
        return out.extend_from_slice(text);
    }
    for &byte in text {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.push(byte),
        }
    }
}

/// Takes one of each two quotes and backslashes, and gives every byte on.
fn push_undoubled(text: &[u8], out: &mut Vec<u8>, push: impl Fn(u8, &mut Vec<u8>)) {
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if matches!(byte, b'\'' | b'\\') {
            bytes.next();
        }
        push(byte, out);
    }
}

/// Where reading stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner<'c> {
    rest: &'c [u8],
}

impl<'c> Scanner<'c> {
    pub(super) fn new(data: &'c [u8]) -> Scanner<'c> {
        Scanner { rest: data }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `text` if it stands here.
    pub(super) fn eat(&mut self, text: &[u8]) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a name, as it is written.
    pub(super) fn name(&mut self) -> Option<&'c [u8]> {
        let end = match self.rest.first()? {
            b'"' => quoted_end(self.rest, b'"')?,
            b'a'..=b'z' | b'_' => self
                .rest
                .iter()
                .position(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'$'))?,
            _ => return None,
        };
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(name)
    }

    /// The list of names in parentheses and what follows it up to the values, as it is written.
    pub(super) fn insert_head(&mut self) -> Option<&'c [u8]> {
        let start = self.rest;
        if !self.eat(b"(") {
            return None;
        }
        loop {
            self.name()?;
            if self.eat(b",") {
                continue;
            }
            if !self.eat(b") values (") {
                return None;
            }
            return Some(&start[..start.len() - self.rest.len()]);
        }
    }

    /// Takes a value.
    pub(super) fn value(&mut self) -> Option<Value<'c>> {
        match self.rest {
            [b'\'', ..] => {
                // Most values hold neither quotes nor backslashes.
                let inner = &self.rest[1..];
                let end = inner
                    .iter()
                    .position(|byte| matches!(byte, b'\'' | b'\\'))?;
                if inner[end] == b'\\' {
                    // What it means depends on the server.
                    return None;
                }
                if inner.get(end + 1) != Some(&b'\'') {
                    self.rest = &inner[end + 1..];
                    return Some(Value::Plain(&inner[..end]));
                }
                let end = quoted_end(self.rest, b'\'')?;
                let text = &self.rest[1..end - 1];
                if text.contains(&b'\\') {
                    return None;
                }
                self.rest = &self.rest[end..];
                Some(Value::Doubled(text))
            }
            [b'E', b'\'', ..] => {
                let text = &self.rest[2..];
                let mut at = 0;
                loop {
                    at += text[at..]
                        .iter()
                        .position(|byte| matches!(byte, b'\'' | b'\\'))?;
                    match (text[at], text.get(at + 1)) {
                        (b'\'', Some(b'\'')) | (b'\\', Some(b'\\')) => at += 2,
                        (b'\'', _) => break,
                        _ => return None,
                    }
                }
                self.rest = &text[at + 1..];
                Some(Value::Escaped(&text[..at]))
            }
            _ => (self.eat(b"null") || self.eat(b"NULL")).then_some(Value::Null),
        }
    }
}

/// End of what begins with a quote, in which quotes are doubled.
fn quoted_end(text: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text.get(at..)?.iter().position(|byte| *byte == quote)?;
        if text.get(at + 1) != Some(&quote) {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(data: &str) -> Option<Vec<Value<'_>>> {
        let mut scanner = Scanner::new(data.as_bytes());
        let mut values = Vec::new();
        loop {
            values.push(scanner.value()?);
            if scanner.is_at_end() {
                return Some(values);
            }
            if !scanner.eat(b",") {
                return None;
            }
        }
    }

    fn texts(data: &str) -> (String, String) {
        let value = values(data).unwrap()[0];
        let (mut copy, mut element) = (Vec::new(), Vec::new());
        value.push_copy(&mut copy);
        value.push_element(&mut element);
        (
            String::from_utf8(copy).unwrap(),
            String::from_utf8(element).unwrap(),
        )
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        assert_eq!(
            values("'a',null,NULL,'','it''s',E'a\\\\b''c'").unwrap(),
            [
                Value::Plain(b"a"),
                Value::Null,
                Value::Null,
                Value::Plain(b""),
                Value::Doubled(b"it''s"),
                Value::Escaped(b"a\\\\b''c"),
            ]
        );
        for other in [
            "'a",
            "1",
            "'a\\b'",
            "'it''s \\'",
            "E'\\n'",
            "E'a",
            "'a' ",
            "e'a'",
            "'''",
        ] {
            assert_eq!(values(other), None, "{other}");
        }
    }

    #[test]
    fn values_become_fields_and_elements() {
        let pair = |copy: &str, element: &str| (copy.to_owned(), element.to_owned());
        assert_eq!(texts("null"), pair("\\N", "NULL"));
        assert_eq!(texts("'NULL'"), pair("NULL", "\"NULL\""));
        assert_eq!(texts("''"), pair("", "\"\""));
        assert_eq!(texts("'-1.5'"), pair("-1.5", "-1.5"));
        assert_eq!(texts("'1 '"), pair("1 ", "\"1 \""));
        assert_eq!(
            texts("'a\tb\n\"c\"'"),
            pair("a\\tb\\n\"c\"", "\"a\tb\n\\\"c\\\"\"")
        );
        assert_eq!(texts("'it''s\r'"), pair("it's\\r", "\"it's\r\""));
        assert_eq!(
            texts("E'\\\\N ''\\\\.\n\"'"),
            pair("\\\\N '\\\\.\\n\"", "\"\\\\N '\\\\.\n\\\"\"")
        );
    }

    #[test]
    fn names_and_heads_are_read_as_they_are_written() {
        let mut scanner = Scanner::new(b"(id,\"a\"\"b,(\",c_1) values ('1')");
        assert_eq!(
            scanner.insert_head(),
            Some(&b"(id,\"a\"\"b,(\",c_1) values ("[..])
        );
        assert_eq!(scanner.value(), Some(Value::Plain(b"1")));
        assert!(scanner.eat(b")") && scanner.is_at_end());
        for other in [
            "id) values (",
            "(id)values (",
            "(Id) values (",
            "(id,) values (",
            "(",
        ] {
            assert_eq!(
                Scanner::new(other.as_bytes()).insert_head(),
                None,
                "{other}"
            );
        }
    }
}
