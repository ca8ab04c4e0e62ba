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
