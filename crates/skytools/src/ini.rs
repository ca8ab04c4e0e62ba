//! The INI dialect of SkyTools: sections, continuation lines, comments.
//!
//! Differs from every INI crate in small ways that old files depend on: `#` and `;` start a comment
//! in column 1 only, an inline comment starts at the first `;` of a value and only after white
//! space, values go on over indented lines, `[DEFAULT]` supplies every section.
//!
//! Source: framework.md 2.1, after `ConfigParser` as SkyTools 2.1 used it.

use crate::config::value::{Document, Value};

/// A line that is neither a section, an option nor part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Number of the line, from 1.
    pub line: usize,
    /// What was expected of it.
    pub problem: &'static str,
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

/// The option that indented lines continue.
struct Open {
    key: String,
    value: String,
    indent: usize,
}

/// Parses a whole file; all bad lines are reported together.
pub(crate) fn parse(text: &str) -> Result<Document, Vec<BadLine>> {
    let mut document = Document::default();
    let mut bad = Vec::new();
    let mut section: Option<String> = None;
    let mut open: Option<Open> = None;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);

    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let content = line.trim();
        if content.is_empty() || is_comment(line) {
            continue;
        }
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        if let Some(option) = open.as_mut().filter(|option| indent > option.indent) {
            option.value.push('\n');
            option.value.push_str(content);
            continue;
        }
        close(&mut document, section.as_deref(), open.take());
        if line.starts_with('[') {
            match section_name(line) {
                Some(name) => {
                    document.open_section(name);
                    section = Some(name.to_owned());
                }
                None => bad.push(BadLine {
                    line: number,
                    problem: "expected a section, [name]",
                }),
            }
            continue;
        }
        match option(line) {
            None => bad.push(BadLine {
                line: number,
                problem: "expected \"key = value\", a [section] or a comment",
            }),
            Some(_) if section.is_none() => bad.push(BadLine {
                line: number,
                problem: "expected a [section] before the first key",
            }),
            Some((key, value)) => open = Some(Open { key, value, indent }),
        }
    }
    close(&mut document, section.as_deref(), open);
    if bad.is_empty() {
        Ok(document)
    } else {
        Err(bad)
    }
}

fn close(document: &mut Document, section: Option<&str>, open: Option<Open>) {
    if let (Some(section), Some(option)) = (section, open) {
        document
            .open_section(section)
            .set(option.key, Value::Text(option.value));
    }
}

/// `#`, `;` and `rem` count in column 1; an indented `#` is a comment too, also inside a value,
/// while an indented `;` there is data: it ends a statement of a SQL template.
fn is_comment(line: &str) -> bool {
    line.starts_with(';')
        || line.trim_start().starts_with('#')
        || (line.starts_with(['r', 'R'])
            && line
                .split_whitespace()
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case("rem")))
}

fn section_name(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.split_once(']')?;
    (!name.is_empty()).then_some(name)
}

fn option(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once(['=', ':'])?;
    let key = key.trim().to_lowercase();
    if key.is_empty() {
        return None;
    }
    let value = without_comment(value).trim();
    let value = if value == "\"\"" { "" } else { value };
    Some((key, value.to_owned()))
}

/// Cuts at the first `;` if white space precedes it; a `;` after text hides all later ones.
fn without_comment(value: &str) -> &str {
    match value.split_once(';') {
        Some((before, _)) if before.ends_with(char::is_whitespace) => before,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;
    use crate::config::value::{Document, Value};

    /// `[section] key` -> text, for short assertions.
    fn get<'a>(document: &'a Document, section: &str, key: &str) -> Option<&'a str> {
        let (_, options) = document.section(section)?;
        match options.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn value(lines: &str) -> String {
        let document = parse(&format!("[s]\n{lines}\n")).expect("parses");
        get(&document, "s", "a").expect("has a").to_owned()
    }

    fn bad_lines(text: &str) -> Vec<usize> {
        match parse(text) {
            Ok(_) => Vec::new(),
            Err(bad) => bad.iter().map(|bad| bad.line).collect(),
        }
    }

    #[test]
    fn the_first_equals_sign_or_colon_separates() {
        assert_eq!(value("a = x"), "x");
        assert_eq!(value("a: x"), "x");
        assert_eq!(value("a=host=/tmp port:5432"), "host=/tmp port:5432");
        assert_eq!(value("a: x = y"), "x = y");
        assert_eq!(value("A  =   x y  "), "x y");
        assert_eq!(value("a ="), "");
    }

    #[test]
    fn only_the_first_semicolon_after_white_space_starts_an_inline_comment() {
        assert_eq!(value("a = x ; note"), "x");
        assert_eq!(value("a = x\t; note ; more"), "x");
        assert_eq!(value("a = x;y ; z"), "x;y ; z");
        assert_eq!(value("a = ; note"), "");
        assert_eq!(value("a =;x"), ";x");
        assert_eq!(value("a = x # no comment"), "x # no comment");
    }

    #[test]
    fn two_double_quotes_are_empty_and_other_quotes_are_kept() {
        assert_eq!(value("a = \"\""), "");
        assert_eq!(value("a = \"x\""), "\"x\"");
        assert_eq!(value("a = ''"), "''");
        assert_eq!(value("a = c:\\x\\"), "c:\\x\\");
    }

    #[test]
    fn deeper_lines_continue_a_value() {
        assert_eq!(value("a = one\n  two\n\tthree  "), "one\ntwo\nthree");
        assert_eq!(value("a =\n  one\n  two"), "\none\ntwo");
        assert_eq!(
            value("a = x ; note\n  y ; kept\n  [not a section]"),
            "x\ny ; kept\n[not a section]"
        );
        assert_eq!(value("a = x\n  b = y"), "x\nb = y");
    }

    #[test]
    fn blank_and_comment_lines_do_not_end_a_value() {
        assert_eq!(
            value(
                "a = one\n\n# comment\n; comment\nREM comment\n  two\n   \n  # dropped\n  ;\n  three"
            ),
            "one\ntwo\n;\nthree"
        );
    }

    #[test]
    fn comments_stand_in_column_1() {
        let document =
            parse("# x\n; y\n[s]\nrem x = 1\nRem\nremote = 2\n#a = 3\n").expect("parses");
        assert_eq!(get(&document, "s", "remote"), Some("2"));
        assert_eq!(get(&document, "s", "rem x"), None);
        let (_, options) = document.section("s").expect("a section");
        assert_eq!(options.keys().count(), 1);
    }

    #[test]
    fn an_indented_option_after_a_section_header_is_accepted() {
        let document = parse("[s]\n  a = 1\n  b = 2\n    more\n").expect("parses");
        assert_eq!(get(&document, "s", "a"), Some("1"));
        assert_eq!(get(&document, "s", "b"), Some("2\nmore"));
    }

    #[test]
    fn sections_repeat_and_the_last_value_wins() {
        let document =
            parse("[s] ignored\na = 1\nb = 1\n[S]\na = 2\n[s]\na = 3\nA = 4\n").expect("parses");
        assert_eq!(get(&document, "s", "a"), Some("4"));
        assert_eq!(get(&document, "s", "b"), Some("1"));
        assert_eq!(get(&document, "S", "a"), Some("2"));
        assert_eq!(document.sections().collect::<Vec<_>>(), ["s", "S"]);
    }

    #[test]
    fn default_is_no_section() {
        let document = parse("[DEFAULT]\na = 1\n[default]\n").expect("parses");
        assert_eq!(document.sections().collect::<Vec<_>>(), ["default"]);
        assert_eq!(
            document.defaults.get("a"),
            Some(&Value::Text("1".to_owned()))
        );
    }

    #[test]
    fn crlf_and_a_byte_order_mark_are_skipped() {
        let document = parse("\u{feff}[s]\r\na = one\r\n  two\r\n").expect("parses");
        assert_eq!(get(&document, "s", "a"), Some("one\ntwo"));
    }

    #[test]
    fn all_bad_lines_are_reported_together() {
        assert_eq!(
            bad_lines("early = 1\n[s]\nwhat is this\n= 5\na = 1\n[]\n[open\n  indented\n"),
            [1, 3, 4, 6, 7, 8]
        );
        assert_eq!(bad_lines(""), [] as [usize; 0]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*([\\[\\]=:;#% \t\r\n]|\\PC){0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_written_value_is_read_back(
            key in "[a-z_][a-z0-9_.*-]{0,10}",
            lines in prop::collection::vec("[^\\s#;\"][^\\r\\n;]{0,20}", 1..4),
        ) {
            prop_assume!(key != "rem");
            let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            let text = format!("[s]\n{key} = {}\n", lines.join("\n  "));
            let document = parse(&text).expect("parses");
            let expected = lines.join("\n");
            prop_assert_eq!(get(&document, "s", &key), Some(expected.as_str()));
        }
    }
}
