//! Splitting connect strings and URIs into settings.

use std::ops::Range;

use super::ConnInfoError;

/// One setting of a connect string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: String,
    /// Where the value stands in the text, quotes included.
    pub(super) span: Range<usize>,
}

/// Splits a connect string `key = value …` into names and values, in order.
///
/// Blanks may stand around `=`. Values are bare or in `'…'`; a backslash takes the next character as
/// it is, in both. Only the form is checked, not whether a name is known.
///
/// # Errors
/// A name has no value, or a quote does not close.
pub fn parse_connect_string(text: &str) -> Result<Vec<(String, String)>, ConnInfoError> {
    Ok(key_values(text)?
        .into_iter()
        .map(|setting| (setting.name, setting.value))
        .collect())
}

/// Joins names and values into a connect string; the inverse of [`parse_connect_string`].
pub fn merge_connect_string<N: AsRef<str>, V: AsRef<str>>(settings: &[(N, V)]) -> String {
    let mut text = String::new();
    for (name, value) in settings {
        if !text.is_empty() {
            text.push(' ');
        }
        let value = value.as_ref();
        text.push_str(name.as_ref());
        text.push('=');
        if value.is_empty() || value.contains(|c: char| is_space(c) || c == '\'' || c == '\\') {
            text.push('\'');
            text.push_str(&value.replace('\\', "\\\\").replace('\'', "\\'"));
            text.push('\'');
        } else {
            text.push_str(value);
        }
    }
    text
}

/// Takes the password out of connection settings in either form: the rest is for the command line of another
/// program, which everybody can read, and the password for its environment. Names are not checked.
///
/// # Errors
/// The text does not parse.
pub fn without_password(text: &str) -> Result<(String, Option<String>), ConnInfoError> {
    let mut others = Vec::new();
    let mut password = None;
    for Setting { name, value, .. } in settings(text)? {
        match name.as_str() {
            "password" => password = Some(value),
            _ => others.push((name, value)),
        }
    }
    Ok((merge_connect_string(&others), password))
}

/// Splits either form.
pub(super) fn settings(text: &str) -> Result<Vec<Setting>, ConnInfoError> {
    for scheme in ["postgresql://", "postgres://"] {
        if text.starts_with(scheme) {
            return Uri {
                text,
                settings: Vec::new(),
            }
            .parse(scheme.len());
        }
    }
    key_values(text)
}

fn syntax(problem: impl Into<String>) -> ConnInfoError {
    ConnInfoError::Syntax(problem.into())
}

/// What C calls a space.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn key_values(text: &str) -> Result<Vec<Setting>, ConnInfoError> {
    let mut settings = Vec::new();
    let mut at = 0;
    let skip_spaces =
        |at: usize| at + (text[at..].len() - text[at..].trim_start_matches(is_space).len());
    loop {
        at = skip_spaces(at);
        if at == text.len() {
            return Ok(settings);
        }
        let number = settings.len() + 1;
        let name_end = text[at..]
            .find(|c| c == '=' || is_space(c))
            .map_or(text.len(), |length| at + length);
        let name = &text[at..name_end];
        let equals = skip_spaces(name_end);
        if name.is_empty() || !text[equals..].starts_with('=') {
            // The word itself may be the second half of a password with a blank in it.
            return Err(syntax(format!(
                "setting {number} is not of the form key=value"
            )));
        }
        let start = skip_spaces(equals + 1);
        let (value, length) = value(&text[start..])
            .ok_or_else(|| syntax(format!("the quoted value of \"{name}\" does not end")))?;
        at = start + length;
        settings.push(Setting {
            name: name.to_owned(),
            value,
            span: start..at,
        });
    }
}

/// Reads a value; returns it and its length in the text, or nothing if a quote does not close.
fn value(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let quoted = text.starts_with('\'');
    let mut chars = text.char_indices();
    if quoted {
        chars.next();
    }
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if quoted => return Some((value, at + 1)),
            c if !quoted && is_space(c) => return Some((value, at)),
            '\\' => {
                if let Some((_, escaped)) = chars.next() {
                    value.push(escaped);
                }
            }
            c => value.push(c),
        }
    }
    (!quoted).then_some((value, text.len()))
}

/// `postgresql://[user[:password]@][host[:port],…][/dbname][?name=value&…]`
struct Uri<'a> {
    text: &'a str,
    settings: Vec<Setting>,
}

impl Uri<'_> {
    fn parse(mut self, start: usize) -> Result<Vec<Setting>, ConnInfoError> {
        let mut at = start;
        let authority_end = self.find(at, self.text.len(), &['/', '?']);
        // A password may hold a question mark; a slash ends the part before the host.
        let slash = self.find(at, self.text.len(), &['/']);
        let credentials_end = self.find(at, slash, &['@']);
        let authority_end = if credentials_end < slash {
            let colon = self.find(at, credentials_end, &[':']);
            self.push("user", at..colon)?;
            if colon < credentials_end {
                self.push("password", colon + 1..credentials_end)?;
            }
            at = credentials_end + 1;
            self.find(at, self.text.len(), &['/', '?'])
        } else {
            authority_end
        };
        self.hosts(at..authority_end)?;
        at = authority_end;
        if self.text[at..].starts_with('/') {
            let end = self.find(at, self.text.len(), &['?']);
            self.push("dbname", at + 1..end)?;
            at = end;
        }
        if at < self.text.len() {
            self.query(at + 1)?;
        }
        Ok(self.settings)
    }

    fn find(&self, start: usize, end: usize, marks: &[char]) -> usize {
        self.text[start..end]
            .find(marks)
            .map_or(end, |length| start + length)
    }

    fn push(&mut self, name: &str, span: Range<usize>) -> Result<(), ConnInfoError> {
        let value = percent_decode(&self.text[span.clone()])?;
        if !value.is_empty() {
            self.settings.push(Setting {
                name: name.to_owned(),
                value,
                span,
            });
        }
        Ok(())
    }

    fn hosts(&mut self, span: Range<usize>) -> Result<(), ConnInfoError> {
        let list = &self.text[span.clone()];
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        let mut rest = list;
        loop {
            let host;
            if let Some(after) = rest.strip_prefix('[') {
                let (address, after) = after
                    .split_once(']')
                    .ok_or_else(|| syntax("an IPv6 address in the URI does not end with \"]\""))?;
                host = address;
                rest = after;
            } else {
                let end = rest.find([':', ',']).unwrap_or(rest.len());
                host = &rest[..end];
                rest = &rest[end..];
            }
            let mut port = "";
            if let Some(after) = rest.strip_prefix(':') {
                let end = after.find(',').unwrap_or(after.len());
                port = &after[..end];
                rest = &after[end..];
            }
            hosts.push(percent_decode(host)?);
            ports.push(percent_decode(port)?);
            match rest.strip_prefix(',') {
                Some(after) => rest = after,
                None if rest.is_empty() => break,
                None => return Err(syntax("something follows a host of the URI")),
            }
        }
        for (name, list) in [("host", hosts), ("port", ports)] {
            if list.iter().any(|element| !element.is_empty()) {
                self.settings.push(Setting {
                    name: name.to_owned(),
                    value: list.join(","),
                    span: span.clone(),
                });
            }
        }
        Ok(())
    }

    fn query(&mut self, start: usize) -> Result<(), ConnInfoError> {
        let mut at = start;
        while at < self.text.len() {
            let end = self.find(at, self.text.len(), &['&']);
            let equals = self.find(at, end, &['=']);
            if equals == end || self.text[equals + 1..end].contains('=') {
                return Err(syntax(
                    "a parameter of the URI is not of the form name=value",
                ));
            }
            let name = percent_decode(&self.text[at..equals])?;
            if name == "ssl" && &self.text[equals + 1..end] == "true" {
                // The spelling of JDBC.
                self.settings.push(Setting {
                    name: "sslmode".to_owned(),
                    value: "require".to_owned(),
                    span: equals + 1..end,
                });
            } else {
                self.push(&name, equals + 1..end)?;
            }
            at = end + 1;
        }
        Ok(())
    }
}

fn percent_decode(text: &str) -> Result<String, ConnInfoError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let decoded = after
            .first_chunk::<2>()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .filter(|byte| *byte != 0)
            .ok_or_else(|| syntax("the URI holds a \"%\" that two digits do not follow, or %00"))?;
        bytes.push(decoded);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| syntax("a part of the URI is not UTF-8 when decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        settings(text)
            .expect(text)
            .into_iter()
            .map(|setting| (setting.name, setting.value))
            .collect()
    }

    fn owned(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn connect_strings_split_as_in_libpq() {
        for (text, expected) in [
            ("", &[][..]),
            ("  ", &[]),
            ("dbname=src", &[("dbname", "src")]),
            (
                r" host = foo password = ' f\\\o\'o ' ",
                &[("host", "foo"), ("password", r" f\o'o ")],
            ),
            (
                "a=1\tb=2\nc=''d=4",
                &[("a", "1"), ("b", "2"), ("c", ""), ("d", "4")],
            ),
            (r"a=x\ y\\z b=end\", &[("a", r"x y\z"), ("b", "end")]),
            ("a=it's b=x=y", &[("a", "it's"), ("b", "x=y")]),
            ("a=", &[("a", "")]),
            ("password=ä€ b=ü", &[("password", "ä€"), ("b", "ü")]),
        ] {
            assert_eq!(
                parse_connect_string(text).expect(text),
                owned(expected),
                "{text}"
            );
        }
        for text in ["a", "a b=c", "=x", "a='x", r"a='x\'", "a=1 b", "'a'=1 x"] {
            let error = parse_connect_string(text).expect_err(text).to_string();
            assert!(error.starts_with("Invalid connect string"), "{error}");
        }
    }

    #[test]
    fn merging_quotes_what_needs_it() {
        assert_eq!(
            merge_connect_string(&[("host", "ip"), ("pass", ""), ("x", " ")]),
            "host=ip pass='' x=' '"
        );
        assert_eq!(
            merge_connect_string(&[("a", r"it's \o/")]),
            r"a='it\'s \\o/'"
        );
    }

    #[test]
    fn uris_split_as_in_libpq() {
        for (text, expected) in [
            ("postgresql://", &[][..]),
            ("postgresql://localhost", &[("host", "localhost")]),
            (
                "postgresql://localhost:5433",
                &[("host", "localhost"), ("port", "5433")],
            ),
            (
                "postgres://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
                &[
                    ("user", "other"),
                    ("host", "localhost"),
                    ("dbname", "otherdb"),
                    ("connect_timeout", "10"),
                    ("application_name", "myapp"),
                ],
            ),
            (
                "postgresql://u:p%3A%40@host1:123,host2:456/somedb?target_session_attrs=any",
                &[
                    ("user", "u"),
                    ("password", "p:@"),
                    ("host", "host1,host2"),
                    ("port", "123,456"),
                    ("dbname", "somedb"),
                    ("target_session_attrs", "any"),
                ],
            ),
            (
                "postgresql://h1,h2:2/",
                &[("host", "h1,h2"), ("port", ",2")],
            ),
            (
                "postgresql://[2001:db8::1234]:1/database",
                &[
                    ("host", "2001:db8::1234"),
                    ("port", "1"),
                    ("dbname", "database"),
                ],
            ),
            (
                "postgresql:///dbname?host=/var/lib/postgresql",
                &[("dbname", "dbname"), ("host", "/var/lib/postgresql")],
            ),
            (
                "postgresql://%2Fvar%2Flib/d",
                &[("host", "/var/lib"), ("dbname", "d")],
            ),
            (
                "postgresql://h?ssl=true",
                &[("host", "h"), ("sslmode", "require")],
            ),
            ("postgresql://u:@h", &[("user", "u"), ("host", "h")]),
            (
                "postgresql://u:a?b@h/d",
                &[
                    ("user", "u"),
                    ("password", "a?b"),
                    ("host", "h"),
                    ("dbname", "d"),
                ],
            ),
            ("postgresql://h/?", &[("host", "h")]),
        ] {
            assert_eq!(pairs(text), owned(expected), "{text}");
        }
        for text in [
            "postgresql://h/%",
            "postgresql://h/%4",
            "postgresql://h/%zz",
            "postgresql://h/%+1",
            "postgresql://h/%00",
            "postgresql://h/%ff",
            "postgresql://[::1",
            "postgresql://[::1]x/",
            "postgresql://h/?a",
            "postgresql://h/?a=b=c",
            "postgresql://h/?a=b&&c=d",
        ] {
            assert!(settings(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn merged_settings_parse_back(list in proptest::collection::vec(("[a-z_]{1,8}", ".*"), 0..6)) {
            let merged = merge_connect_string(&list);
            prop_assert_eq!(parse_connect_string(&merged).expect("merged"), list);
        }

        #[test]
        fn parsing_and_merging_is_stable(text in r"( ?[a-z]{1,3} ?= ?('[a-z \\]*'|[a-z\\']*))*") {
            if let Ok(once) = parse_connect_string(&text) {
                let merged = merge_connect_string(&once);
                prop_assert_eq!(parse_connect_string(&merged).expect("merged"), once);
            }
        }

        #[test]
        fn spans_lie_within_the_text(text in "(postgres://)?[a-zä:@/?&=,%' \\\\\\[\\]]*") {
            if let Ok(list) = settings(&text) {
                for setting in list {
                    prop_assert!(text.get(setting.span).is_some());
                }
            }
        }

        #[test]
        fn uris_give_back_what_was_encoded(
            user in "[^\0]{1,8}", password in "[^\0]{1,8}", dbname in "[^\0]{1,8}",
        ) {
            let encode = |text: &str| -> String {
                text.bytes().map(|byte| format!("%{byte:02X}")).collect()
            };
            let uri = format!(
                "postgresql://{}:{}@h:1/{}", encode(&user), encode(&password), encode(&dbname)
            );
            let expected = owned(&[
                ("user", &user), ("password", &password), ("host", "h"), ("port", "1"), ("dbname", &dbname),
            ]);
            prop_assert_eq!(pairs(&uri), expected);
        }
    }
}
