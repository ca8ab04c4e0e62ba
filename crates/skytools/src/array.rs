//! One-dimensional PostgreSQL arrays in text form.

use std::borrow::Cow;

use crate::quote;

/// Why a text is not a one-dimensional array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A brace is missing at either end.
    #[error("bad array format: must be surrounded with {{}}")]
    Braces,
    /// Something else than a comma or the end follows an element.
    #[error("bad array format: expected ,}} got '{0}'")]
    Separator(String),
    /// An element is an array itself.
    #[error("bad array format: nested arrays are not supported")]
    Nested,
    /// There is nothing between two commas.
    #[error("bad array format: empty element")]
    EmptyElement,
    /// An element begins with a quote that does not end.
    #[error("bad array format: quoted element does not end")]
    Unterminated,
    /// An element ends in a lone backslash.
    #[error(transparent)]
    Escape(#[from] quote::Error),
}

/// An element; `None` is NULL.
pub type Element<'a> = Option<Cow<'a, [u8]>>;

/// Reads the output of an array: `{a,NULL,"b c"}`, `[0:1]={a,b}`.
///
/// White space counts. What needs no decoding is borrowed from `text`.
///
/// # Errors
/// The text is no array, or one of several dimensions.
pub fn parse(text: &[u8]) -> Result<Vec<Element<'_>>, Error> {
    let mut rest = (without_bounds(text).strip_prefix(b"{"))
        .filter(|rest| rest.ends_with(b"}"))
        .ok_or(Error::Braces)?;
    let mut elements = Vec::new();
    if rest == b"}" {
        return Ok(elements);
    }
    loop {
        let (element, after) = match rest {
            [b'"', after @ ..] => quoted(after)?,
            [b'{', ..] => return Err(Error::Nested),
            _ => bare(rest)?,
        };
        elements.push(element);
        rest = match after {
            [b',', after @ ..] => after,
            [b'}'] => return Ok(elements),
            [b'}', other, ..] | [other, ..] => {
                return Err(Error::Separator(char::from(*other).to_string()));
            }
            [] => return Err(Error::Braces),
        };
    }
}

/// Cuts off the `[l:u]=` that an array carries whose first index is not 1.
fn without_bounds(text: &[u8]) -> &[u8] {
    let Some(inside) = text.strip_prefix(b"[") else {
        return text;
    };
    let len = (inside.iter())
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b':'))
        .count();
    inside[len..].strip_prefix(b"]=").unwrap_or(text)
}

/// Reads up to the closing quote; returns the element and the text behind the quote.
fn quoted(text: &[u8]) -> Result<(Element<'_>, &[u8]), Error> {
    let end = unescaped(text, |byte| byte == b'"').ok_or(Error::Unterminated)?;
    Ok((Some(quote::unescape(&text[..end])?), &text[end + 1..]))
}

/// Reads up to a comma or brace; returns the element and the text from there.
fn bare(text: &[u8]) -> Result<(Element<'_>, &[u8]), Error> {
    let end = unescaped(text, |byte| matches!(byte, b',' | b'}' | b'{')).ok_or(Error::Braces)?;
    let (element, after) = text.split_at(end);
    if after[0] == b'{' {
        return Err(Error::Nested);
    }
    if element.is_empty() {
        return Err(Error::EmptyElement);
    }
    if element.eq_ignore_ascii_case(b"null") {
        return Ok((None, after));
    }
    Ok((Some(quote::unescape(element)?), after))
}

/// Place of the first byte that ends an element and has no backslash before it.
fn unescaped(text: &[u8], ends: impl Fn(u8) -> bool) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|&byte| {
        let found = !escaped && ends(byte);
        escaped = byte == b'\\' && !escaped;
        found
    })
}

/// Appends an array as input of an array type.
pub fn push<'e>(elements: impl IntoIterator<Item = Option<&'e [u8]>>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (place, element) in elements.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        match element {
            None => out.extend_from_slice(b"NULL"),
            Some(text) if is_plain(text) => out.extend_from_slice(text),
            Some(text) => {
                out.push(b'"');
                for &byte in text {
                    if matches!(byte, b'"' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(byte);
                }
                out.push(b'"');
            }
        }
    }
    out.push(b'}');
}

/// Text of an array: `{foo_3,"",NULL}`.
pub fn make(elements: &[Option<&str>]) -> String {
    let mut out = Vec::new();
    let bytes = elements.iter().map(|element| element.map(str::as_bytes));
    push(bytes, &mut out);
    String::from_utf8(out).expect("quoting adds ASCII between whole characters")
}

fn is_plain(text: &[u8]) -> bool {
    let plain =
        |&byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z') || b"_.%&=()<>*/+-".contains(&byte);
    !text.is_empty() && text.iter().all(plain) && text != b"null"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Option<String>>, Error> {
        let string = |text: Cow<'_, [u8]>| String::from_utf8(text.into_owned()).unwrap();
        let elements = parse(text.as_bytes())?.into_iter();
        Ok(elements.map(|element| element.map(string)).collect())
    }

    fn some(elements: &[&str]) -> Vec<Option<String>> {
        elements.iter().map(|&text| Some(text.to_owned())).collect()
    }

    #[test]
    fn arrays_are_read() {
        assert_eq!(read("{}").unwrap(), []);
        let mut nulls = some(&["a", "b", "", "null"]);
        nulls[2] = None;
        assert_eq!(read(r#"{a,b,null,"null"}"#).unwrap(), nulls);
        assert_eq!(read("{NULL,Null}").unwrap(), [None, None]);
        assert_eq!(
            read(r#"{"a,a","b\"b","c\\c"}"#).unwrap(),
            some(&["a,a", "b\"b", "c\\c"])
        );
        assert_eq!(read("[0:2]={1,2,3}").unwrap(), some(&["1", "2", "3"]));
        assert_eq!(read("[-1:-1]={x}").unwrap(), some(&["x"]));
        assert_eq!(read(r#"{""}"#).unwrap(), some(&[""]));
        assert_eq!(read("{ a ,b c}").unwrap(), some(&[" a ", "b c"]));
        assert_eq!(read(r"{a\,b,\101}").unwrap(), some(&["a,b", "A"]));
        assert_eq!(read(r#"{"{x}"}"#).unwrap(), some(&["{x}"]));
    }

    #[test]
    fn what_is_no_array_of_one_dimension_is_an_error() {
        let braces = "bad array format: must be surrounded with {}";
        let cases = [
            ("", braces),
            ("a", braces),
            ("{", braces),
            ("{a", braces),
            ("a}", braces),
            ("[0:1]", braces),
            ("[x]={a}", braces),
            (r"{a\}", braces),
            (r#"{"a"b}"#, "bad array format: expected ,} got 'b'"),
            ("{a}b}", "bad array format: expected ,} got 'b'"),
            ("{}}", "bad array format: empty element"),
            ("{a,}", "bad array format: empty element"),
            (
                "{{a},{b}}",
                "bad array format: nested arrays are not supported",
            ),
            ("{a{b}", "bad array format: nested arrays are not supported"),
            (r#"{"a}"#, "bad array format: quoted element does not end"),
            (r#"{"a\"}"#, "bad array format: quoted element does not end"),
        ];
        for (text, message) in cases {
            assert_eq!(read(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn arrays_are_written() {
        assert_eq!(
            make(&[Some("foo_3"), Some("1"), Some(""), None]),
            r#"{foo_3,1,"",NULL}"#
        );
        assert_eq!(
            make(&[Some("Foo"), Some("a\"b"), Some("null")]),
            r#"{"Foo","a\"b","null"}"#
        );
        assert_eq!(
            make(&[Some("NULL"), Some("a\\ b,"), Some("é")]),
            r#"{"NULL","a\\ b,","é"}"#
        );
        assert_eq!(make(&[Some("_.%&=()<>*/+-")]), "{_.%&=()<>*/+-}");
        assert_eq!(make(&[]), "{}");
    }

    proptest! {
        #[test]
        fn an_array_reads_back(elements: Vec<Option<Vec<u8>>>) {
            let mut text = Vec::new();
            push(elements.iter().map(Option::as_deref), &mut text);
            let read: Vec<_> = parse(&text).unwrap();
            let read: Vec<_> = read.into_iter().map(|e| e.map(Cow::into_owned)).collect();
            prop_assert_eq!(read, elements);
        }

        #[test]
        fn an_array_that_stops_early_is_refused(
            elements in prop::collection::vec(
                prop::option::of(prop::collection::vec(any::<u8>(), 0..8)),
                0..6,
            ),
        ) {
            let mut text = Vec::new();
            push(elements.iter().map(Option::as_deref), &mut text);
            for end in 0..text.len() {
                prop_assert!(parse(&text[..end]).is_err(), "{:?}", &text[..end]);
            }
        }

        #[test]
        fn reading_arbitrary_text_never_panics(bytes: Vec<u8>, similar in r#"\{[a,"\\{}n\[=]{0,12}\}"#) {
            let _ = parse(&bytes);
            let _ = parse(similar.as_bytes());
        }
    }
}
