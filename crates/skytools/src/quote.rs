//! SQL quoting: literals, identifiers, qualified names, on bytes.
//!
//! Functions named `push_…` append to a buffer; the others are conveniences on top. A column value
//! is bytes, because a SQL_ASCII database may hold anything; NULL is `None`. What is quoted here
//! reads the same under either setting of `standard_conforming_strings`.

mod keywords;

use std::borrow::Cow;

use keywords::KEYWORDS;

/// Text that cannot be quoted, or that is not what quoting writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No text value of the server can hold a NUL byte.
    #[error("value contains a NUL byte, which PostgreSQL text cannot hold")]
    NulByte,
    /// The text ends within an escape sequence.
    #[error("Broken string - \\ at the end")]
    BackslashAtEnd,
    /// `E'…'` with a single quote or an escape that ends outside.
    #[error("Broken extended SQL string")]
    BrokenExtended,
    /// `'…'` with a single quote inside.
    #[error("Broken standard SQL string")]
    BrokenStandard,
    /// `$tag$…` whose closing tag differs.
    #[error("Broken dollar-quoted string")]
    BrokenDollar,
    /// A double quote that is neither at both ends nor doubled.
    #[error("stray quote in identifier {0}")]
    StrayQuote(String),
    /// A placeholder without a value, a value without a placeholder, or neither.
    #[error("statement template: {0}")]
    Template(String),
}

/// Quotes an identifier if it needs it: `abc` → `abc`, `mixCase` → `"mixCase"`, `from` → `"from"`.
pub fn ident(name: &str) -> String {
    to_string(|out| push_ident(name.as_bytes(), out))
}

/// Quotes a raw `schema.name`, split at the first dot: `s.Order` → `s."Order"`.
///
/// A name without a dot is in `public`, so that the reader's `search_path` does not matter. A
/// schema with a dot in its name cannot be expressed.
pub fn fqident(name: &str) -> String {
    to_string(|out| push_fqident(name.as_bytes(), out))
}

/// Quotes a text literal, `E'…'` if it holds a backslash.
///
/// A NUL byte is left for the driver to refuse; [`push_literal`] refuses it here.
pub fn literal(value: &str) -> String {
    to_string(|out| push_quoted(value.as_bytes(), out))
}

fn to_string(push: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    push(&mut out);
    String::from_utf8(out).expect("quoting adds ASCII between whole characters")
}

/// Appends an identifier, quoted if it needs it.
pub fn push_ident(name: &[u8], out: &mut Vec<u8>) {
    if is_plain(name) {
        out.extend_from_slice(name);
        return;
    }
    out.push(b'"');
    push_doubling(name, b'"', out);
    out.push(b'"');
}

fn is_plain(name: &[u8]) -> bool {
    let plain_byte = |&byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    name.first().is_some_and(|first| !first.is_ascii_digit())
        && name.iter().all(plain_byte)
        && (KEYWORDS.binary_search_by(|word| word.as_bytes().cmp(name))).is_err()
}

/// Appends a raw `schema.name`, as [`fqident`] quotes it.
pub fn push_fqident(name: &[u8], out: &mut Vec<u8>) {
    let (schema, name) = split_fq_name(name);
    push_ident(schema, out);
    out.push(b'.');
    push_ident(name, out);
}

/// Splits a raw `schema.name` at the first dot; a name without one is in `public`.
pub fn split_fq_name(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&name[..dot], &name[dot + 1..]),
        None => (b"public", name),
    }
}

/// Appends a literal, or `null`.
///
/// # Errors
/// [`Error::NulByte`]; nothing is appended then.
pub fn push_literal(value: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Error> {
    match value {
        None => out.extend_from_slice(b"null"),
        Some(value) if value.contains(&0) => return Err(Error::NulByte),
        Some(value) => push_quoted(value, out),
    }
    Ok(())
}

fn push_quoted(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(value.len() + 2);
    if value.contains(&b'\\') {
        out.extend_from_slice(b"E'");
        for &byte in value {
            if matches!(byte, b'\'' | b'\\') {
                out.push(byte);
            }
            out.push(byte);
        }
    } else {
        out.push(b'\'');
        push_doubling(value, b'\'', out);
    }
    out.push(b'\'');
}

fn push_doubling(text: &[u8], quote: u8, out: &mut Vec<u8>) {
    for piece in text.split_inclusive(|&byte| byte == quote) {
        out.extend_from_slice(piece);
        if piece.last() == Some(&quote) {
            out.push(quote);
        }
    }
}

/// Bytes as input of the type `bytea` in its escape format: TAB becomes `\011`, `\` becomes `\\`.
pub fn bytea(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for &byte in value {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend([
                b'\\',
                b'0' + (byte >> 6),
                b'0' + (byte >> 3 & 7),
                b'0' + (byte & 7),
            ]),
        }
    }
    out
}

/// Appends bytes as a literal for a `bytea` column, or `null`.
pub fn push_bytea_literal(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        None => out.extend_from_slice(b"null"),
        Some(value) => push_quoted(&bytea(value), out),
    }
}

/// Appends text as a JSON string, or `null`. Bytes above ASCII stay as they are.
pub fn push_json(value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value else {
        out.extend_from_slice(b"null");
        return;
    };
    out.push(b'"');
    for &byte in value {
        let letter = match byte {
            b'\x08' => b'b',
            b'\x0c' => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            b'\\' | b'"' | b'/' => byte,
            0..b' ' => {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                continue;
            }
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend([b'\\', letter]);
    }
    out.push(b'"');
}

/// Text as a JSON string.
pub fn json(value: &str) -> String {
    to_string(|out| push_json(Some(value.as_bytes()), out))
}

/// What fills the placeholders of [`statement`].
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// For `%s`, in order.
    List(&'a [Option<&'a [u8]>]),
    /// For `%(name)s`.
    Map(&'a [(&'a str, Option<&'a [u8]>)]),
}

/// Fills a template: `%s` or `%(name)s` becomes the literal of a value, `%%` a percent sign.
///
/// # Errors
/// A placeholder has no value, a value of a list no placeholder, or a value holds a NUL byte.
pub fn statement(template: &str, values: Values<'_>) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(template.len());
    let mut used = 0;
    let mut rest = template;
    while let Some(percent) = rest.find('%') {
        out.extend_from_slice(&rest.as_bytes()[..percent]);
        rest = &rest[percent + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push(b'%');
            rest = after;
            continue;
        }
        let value;
        (value, rest) = match values {
            Values::List(list) => {
                let after = rest.strip_prefix('s').ok_or_else(|| {
                    Error::Template("a % must be followed by s or another %".to_owned())
                })?;
                used += 1;
                let value = list.get(used - 1).ok_or_else(|| {
                    Error::Template(format!("more placeholders than the {} values", list.len()))
                })?;
                (*value, after)
            }
            Values::Map(map) => {
                let (name, after) = (rest.strip_prefix('('))
                    .and_then(|rest| rest.split_once(")s"))
                    .ok_or_else(|| {
                        Error::Template("a % must be followed by (name)s or another %".to_owned())
                    })?;
                let (_, value) = (map.iter().find(|(key, _)| *key == name))
                    .ok_or_else(|| Error::Template(format!("no value for %({name})s")))?;
                (*value, after)
            }
        };
        push_literal(value, &mut out)?;
    }
    out.extend_from_slice(rest.as_bytes());
    match values {
        Values::List(list) if used < list.len() => Err(Error::Template(format!(
            "{used} placeholders for {} values",
            list.len()
        ))),
        _ => Ok(out),
    }
}

/// Reads an identifier as the server does: quoted as written, bare in lower case.
///
/// # Errors
/// [`Error::StrayQuote`].
pub fn unquote_ident(text: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    let stray = || Error::StrayQuote(String::from_utf8_lossy(text).into_owned());
    match text {
        [b'"', inner @ .., b'"'] => undouble(inner, b'"').ok_or_else(stray),
        _ if text.contains(&b'"') => Err(stray()),
        _ if text.iter().any(u8::is_ascii_uppercase) => Ok(Cow::Owned(text.to_ascii_lowercase())),
        _ => Ok(Cow::Borrowed(text)),
    }
}

/// Reads a qualified identifier into the raw `schema.name`; splits at the first dot outside quotes.
///
/// # Errors
/// [`Error::StrayQuote`].
pub fn unquote_fqident(text: &str) -> Result<String, Error> {
    let mut quoted = false;
    let dot = text.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'.' && !quoted
    });
    let Some(dot) = dot else {
        return unquote_str(text);
    };
    let (schema, name) = (&text[..dot], &text[dot + 1..]);
    Ok(format!("{}.{}", unquote_str(schema)?, unquote_str(name)?))
}

fn unquote_str(text: &str) -> Result<String, Error> {
    let name = unquote_ident(text.as_bytes())?.into_owned();
    Ok(String::from_utf8(name).expect("unquoting removes ASCII between whole characters"))
}

/// How a server reads a backslash in a plain `'…'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strings {
    /// As itself: `standard_conforming_strings` is on.
    #[default]
    Standard,
    /// As an escape: the setting is off, or the writer assumed so.
    Backslash,
}

/// Reads a literal: `null` (as `None`), `'…'`, `E'…'` or `$tag$…$tag$`. Anything else, such as a
/// number, is returned as it is.
///
/// # Errors
/// The text is quoted, but not as SQL quotes.
pub fn unquote_literal(text: &[u8], strings: Strings) -> Result<Value<'_>, Error> {
    let value = match text {
        [b'E' | b'e', b'\'', inner @ .., b'\''] => unquote_extended(inner)?,
        [b'\'', inner @ .., b'\''] if strings == Strings::Backslash => unquote_extended(inner)?,
        [b'\'', inner @ .., b'\''] => undouble(inner, b'\'').ok_or(Error::BrokenStandard)?,
        [b'$', .., b'$'] => Cow::Borrowed(unquote_dollar(text)?),
        _ if text.eq_ignore_ascii_case(b"null") => return Ok(None),
        _ => Cow::Borrowed(text),
    };
    Ok(Some(value))
}

/// Value of a literal; `None` is NULL.
type Value<'a> = Option<Cow<'a, [u8]>>;

/// Makes single quotes of doubled ones; `None` if one is not doubled.
fn undouble(text: &[u8], quote: u8) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&quote) {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte == quote && bytes.next() != Some(&quote) {
            return None;
        }
        out.push(byte);
    }
    Some(Cow::Owned(out))
}

fn unquote_extended(inner: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    if !inner.contains(&b'\\') {
        return undouble(inner, b'\'').ok_or(Error::BrokenExtended);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let [byte, after @ ..] = rest {
        rest = match (byte, after) {
            (b'\\', _) => push_unescaped(after, &mut out).ok_or(Error::BrokenExtended)?,
            (b'\'', [b'\'', after @ ..]) => {
                out.push(b'\'');
                after
            }
            (b'\'', _) => return Err(Error::BrokenExtended),
            _ => {
                out.push(*byte);
                after
            }
        };
    }
    Ok(Cow::Owned(out))
}

fn unquote_dollar(text: &[u8]) -> Result<&[u8], Error> {
    let tag_len = (text.iter().skip(1).position(|&byte| byte == b'$')).map(|at| at + 2);
    let tag = tag_len.map(|len| &text[..len]).unwrap_or_default();
    (text[tag.len()..].strip_suffix(tag))
        .filter(|_| !tag.is_empty())
        .ok_or(Error::BrokenDollar)
}

/// Replaces escapes as C does: `\t \n \r \a \b`, octal numbers; any other character for itself.
///
/// # Errors
/// [`Error::BackslashAtEnd`].
pub fn unescape(text: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    if !text.contains(&b'\\') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte == b'\\' {
            rest = push_unescaped(after, &mut out).ok_or(Error::BackslashAtEnd)?;
        } else {
            out.push(*byte);
        }
    }
    Ok(Cow::Owned(out))
}

/// Appends what the escape after a backslash stands for and returns the text behind it; `None` if
/// there is no text.
fn push_unescaped<'a>(escape: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (&letter, rest) = escape.split_first()?;
    let byte = match letter {
        b't' => b'\t',
        b'n' => b'\n',
        b'r' => b'\r',
        b'a' => b'\x07',
        b'b' => b'\x08',
        b'0'..=b'7' => return Some(push_octal(escape, out)),
        other => other,
    };
    out.push(byte);
    Some(rest)
}

/// Appends the byte of one to three octal digits, modulo 256, and returns the text behind them.
pub(crate) fn push_octal<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let digits = (text.iter().take(3))
        .take_while(|byte| matches!(byte, b'0'..=b'7'))
        .count();
    let byte = (text[..digits].iter()).fold(0_u8, |byte, digit| (byte << 3) | (digit - b'0'));
    out.push(byte);
    &text[digits..]
}

#[cfg(test)]
mod tests;
