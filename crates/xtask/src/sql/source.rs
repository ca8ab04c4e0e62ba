//! The sources below `sql/`: scripts with their `\ir` lines, and functions with their headers.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::Result;

/// A file of statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlFile {
    /// Its path below `sql/`: `pgq/functions/pgq.ticker.sql`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A function as one file declares it; a file holds all overloads of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// Line of the file that declares it, from 1.
    pub(crate) line: usize,
    /// `pgq.ticker(i_queue_name text)`, on one line.
    pub(crate) signature: String,
    /// What stands between the signature and the body: `bigint`, `setof record`, `trigger`.
    pub(crate) returns: String,
    /// What the header says it does.
    pub(crate) summary: String,
    /// `Parameters`, `Returns`, `Raises` and so on, in the order of the header, each with its lines.
    pub(crate) sections: Vec<(String, Vec<String>)>,
}

/// The directory `sql/` of this workspace.
pub(crate) fn directory() -> PathBuf {
    normal(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql"))
}

/// The files that a script comes to, in order. `script` is a path below `sql`.
pub(crate) fn files(sql: &Path, script: &str) -> Result<Vec<SqlFile>> {
    let text =
        fs::read_to_string(sql.join(script)).map_err(|error| format!("{script}: {error}"))?;
    let includes: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\\ir "))
        .map(str::trim)
        .collect();
    if includes.is_empty() {
        return Ok(vec![SqlFile {
            path: script.to_owned(),
            text,
        }]);
    }
    let own = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with("--") && !line.starts_with("\\ir ")
    };
    if let Some(line) = text.lines().find(own) {
        return Err(format!("{script}: statement beside \\ir lines: {line}").into());
    }
    let directory = Path::new(script).parent().unwrap_or(Path::new(""));
    let mut files = Vec::new();
    for include in includes {
        let path = normal(&directory.join(include));
        files.extend(self::files(sql, &path.to_string_lossy())?);
    }
    Ok(files)
}

/// The functions that a file declares, with their headers.
pub(crate) fn functions(file: &SqlFile) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    let mut rest = file.text.as_str();
    while let Some(start) = find_declaration(rest) {
        let declaration = &rest[start..];
        let line_of = |text: &str| {
            let offset = file.text.len() - text.len();
            1 + file.text[..offset].matches('\n').count()
        };
        let line = line_of(declaration);
        let bad = |line: usize, what: &str| format!("{}:{line}: {what}", file.path);
        let end = declaration.find(';').unwrap_or(declaration.len());
        let Some(open) = declaration.find("$$").filter(|open| *open < end) else {
            // One in C.
            rest = &declaration[end..];
            continue;
        };
        let body = &declaration[open + 2..];
        let close = body.find("$$").ok_or_else(|| bad(line, "an open $$"))?;
        let header = body.trim_start_matches('\n');
        let found = function(
            &declaration[..open],
            &header[..close - (body.len() - header.len())],
        )
        .map_err(|(place, what)| bad(line_of(header) + place, &what))?;
        functions.push(Function { line, ..found });
        rest = &body[close + 2..];
    }
    Ok(functions)
}

/// Where the next function of a text starts, behind `create or replace function`.
fn find_declaration(text: &str) -> Option<usize> {
    const START: &str = "create or replace function ";
    let at = match text.starts_with(START) {
        true => 0,
        false => text.find(&format!("\n{START}"))? + 1,
    };
    Some(at + START.len())
}

/// Reads a header. An error comes with the line of the header that it is about, from 0.
fn function(declaration: &str, body: &str) -> Result<Function, (usize, String)> {
    let one_line = declaration.split_whitespace().collect::<Vec<_>>().join(" ");
    let one_line = one_line.strip_suffix(" as").unwrap_or(&one_line);
    // Without the clause, `out` parameters say it.
    let (signature, returns) = one_line
        .split_once(" returns ")
        .unwrap_or((one_line, "record"));
    let mut lines = body
        .lines()
        .map_while(|line| line.strip_prefix("--"))
        .enumerate();
    let title = lines
        .next()
        .map(|(_, line)| line.trim())
        .unwrap_or_default();
    let (_, summary) = title.split_once("): ").ok_or_else(|| {
        let what = format!("no header, or not NAME(...): TEXT, in {signature}");
        (0, what)
    })?;
    let mut summary = summary.to_owned();
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for (place, line) in lines {
        let line = line.strip_prefix(' ').unwrap_or(line);
        match (section_of(line), sections.last_mut()) {
            // Behind the last section stand notes for whoever changes the function.
            (None, Some((name, _))) if name == "Used by" && !line.starts_with(' ') => {}
            (None, Some((name, _))) if !line.starts_with(' ') => {
                let what = format!("neither a section nor an indented line of {name}: {line}");
                return Err((place, what));
            }
            (Some((name, text)), _) => {
                let text = (!text.is_empty()).then(|| text.to_owned());
                sections.push((name.to_owned(), text.into_iter().collect()));
            }
            (None, Some((_, texts))) => texts.push(line.to_owned()),
            (None, None) => {
                summary.push(' ');
                summary.push_str(line.trim());
            }
        }
    }
    Ok(Function {
        line: 0,
        signature: signature.to_owned(),
        returns: returns.to_owned(),
        summary,
        sections,
    })
}

/// `Returns:  text` and `Arguments of the trigger:` start a section; indented lines continue one.
fn section_of(line: &str) -> Option<(&str, &str)> {
    let (name, text) = line.split_once(':')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphabetic() || c == ' ');
    (is_name && (text.is_empty() || text.starts_with(' '))).then(|| (name, text.trim()))
}

/// Resolves `..` by name.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_does_not_parse_is_an_error_with_its_line() {
        let error = |header: &str| {
            let text = format!(
                "-- One.\n\ncreate or replace function pgq.f()\nreturns integer as $$\n{header}begin\nend;\n$$;\n"
            );
            let path = "f.sql".to_owned();
            functions(&SqlFile { path, text }).unwrap_err().to_string()
        };
        let title = "-- pgq.f(0): does it.\n";
        assert!(error("").starts_with("f.sql:5: no header"));
        assert!(error("-- Does it.\n").starts_with("f.sql:5: no header"));
        let stray = error(&format!(
            "{title}-- Returns:  1\n-- Reads, locks:  nothing\n"
        ));
        assert!(stray.starts_with("f.sql:7: neither a section"), "{stray}");
    }

    #[test]
    fn a_header_falls_into_its_sections() {
        let text = "create or replace function pgq.f(\n    i_a text,\n    out b integer)\nreturns integer as $$\n\
                    -- pgq.f(1): does it\n-- for good.\n-- Parameters:\n--      i_a     what: a text\n\
                    -- Returns:  1, or\n--           0\n-- Used by:  tests\n-- A note.\nbegin\n    return 1; -- Not: this\nend;\n\
                    $$ language plpgsql;\n\ncreate or replace function pgq.f()\nreturns trigger as $$\n\
                    -- pgq.f(0): less.\nbegin\nend;\n$$ language plpgsql;\n";
        let file = SqlFile {
            path: "f.sql".to_owned(),
            text: text.to_owned(),
        };
        let found = functions(&file).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].signature, "pgq.f( i_a text, out b integer)");
        assert_eq!((found[0].line, found[1].line), (1, 18));
        assert_eq!(found[0].returns, "integer");
        assert_eq!(found[0].sections[2].1, ["tests"]);
        assert_eq!(found[0].summary, "does it for good.");
        let names: Vec<&str> = found[0]
            .sections
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["Parameters", "Returns", "Used by"]);
        assert_eq!(found[0].sections[0].1, ["     i_a     what: a text"]);
        assert_eq!(found[0].sections[1].1, ["1, or", "          0"]);
        assert_eq!(
            (found[1].returns.as_str(), found[1].sections.len()),
            ("trigger", 0)
        );
    }
}
