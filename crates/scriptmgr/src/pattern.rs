//! From the patterns of `config_list` to files.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use glob::MatchOptions;

/// The files that a pattern names, sorted, and what could not be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) problems: Vec<String>,
}

/// Expands `~`, `$VAR` and `${VAR}`, then `*`, `?` and `[]`; neither goes into directories, and `*` leaves
/// out names with a leading dot.
pub(crate) fn expand(pattern: &str) -> Found {
    let pattern = skytools::app::expand_home(pattern);
    let pattern = expand_variables(&pattern.to_string_lossy(), |name| std::env::var(name).ok());
    let mut found = Found::default();
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        // It would leave out what `.*` names, too.
        require_literal_leading_dot: false,
    };
    let pattern = without_recursion(&pattern);
    match glob::glob_with(&pattern, options) {
        Ok(paths) => {
            for path in paths {
                match path {
                    Ok(path) if is_hidden(&path, &pattern) => {}
                    Ok(path) => found.files.push(path),
                    Err(error) => found.problems.push(error.to_string()),
                }
            }
        }
        Err(error) => found.problems.push(format!("{pattern}: {error}")),
    }
    found.files.sort();
    found
}

/// Whether a path has a leading dot where the pattern does not name one.
fn is_hidden(path: &Path, pattern: &str) -> bool {
    let components = Path::new(pattern).components().rev();
    components
        .zip(path.components().rev())
        .any(|(pattern, name)| {
            let first =
                |component: Component<'_>| component.as_os_str().as_bytes().first().copied();
            first(name) == Some(b'.') && matches!(first(pattern), Some(b'*' | b'?' | b'['))
        })
}

/// Whether a pattern can name but one file.
pub(crate) fn is_plain(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', '$'])
}

/// Several `*` are one: they do not go into directories. A `[` without an end stands for itself.
fn without_recursion(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    for (at, c) in pattern.char_indices() {
        match c {
            '*' if text.ends_with('*') => {}
            '[' if !is_class(&pattern[at..]) => text.push_str("[[]"),
            c => text.push(c),
        }
    }
    text
}

/// Whether a text begins with a set of characters in brackets; the first of them may be `]`.
fn is_class(text: &str) -> bool {
    let component = text.split('/').next().unwrap_or_default();
    let inner = component.strip_prefix('[').unwrap_or_default();
    let mut characters = inner.strip_prefix('!').unwrap_or(inner).chars();
    characters.next().is_some() && characters.any(|c| c == ']')
}

/// Replaces variables by their values; one that is not set stays as it is written.
fn expand_variables(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        let (name, behind) = match after
            .strip_prefix('{')
            .and_then(|text| text.split_once('}'))
        {
            Some(braced) => braced,
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
                after.split_at(end)
            }
        };
        let written = after.len() - behind.len();
        match value(name).filter(|_| !name.is_empty()) {
            Some(value) => result.push_str(&value),
            None => {
                result.push('$');
                result.push_str(&after[..written]);
            }
        }
        rest = behind;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::{expand, expand_variables};

    fn names(pattern: &str) -> Vec<String> {
        let found = expand(pattern);
        assert_eq!(found.problems, [] as [&str; 0]);
        let names = found.files.iter().filter_map(|file| file.file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn patterns_name_files_in_order() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name);
        for name in [
            "b.ini",
            "a.ini",
            ".hidden.ini",
            "c.toml",
            "x[1.ini",
            "a b.ini",
        ] {
            fs::write(at(name), "")?;
        }
        fs::create_dir(at("below"))?;
        fs::write(at("below").join("d.ini"), "")?;
        let names = |pattern: &str| names(&at(pattern).to_string_lossy());
        assert_eq!(names("*.ini"), ["a b.ini", "a.ini", "b.ini", "x[1.ini"]);
        assert_eq!(names("**.ini"), names("*.ini"));
        assert_eq!(names("**/*.ini"), ["d.ini"]);
        assert_eq!(names("?.ini"), ["a.ini", "b.ini"]);
        assert_eq!(names("[!a].ini"), ["b.ini"]);
        assert_eq!(names("[ab].*"), ["a.ini", "b.ini"]);
        assert_eq!(names("x[*.ini"), ["x[1.ini"]);
        assert_eq!(names(".*.ini"), [".hidden.ini"]);
        assert_eq!(names("no*.ini"), [] as [&str; 0]);
        assert_eq!(names("below/d.ini"), ["d.ini"]);
        Ok(())
    }

    #[test]
    fn variables_are_expanded_if_they_are_set() {
        let value = |name: &str| (name == "A_1").then(|| "x".to_owned());
        for (text, expected) in [
            ("$A_1/b", "x/b"),
            ("${A_1}b", "xb"),
            ("$A_1b", "$A_1b"),
            ("${B}/$B", "${B}/$B"),
            ("$", "$"),
            ("$$A_1${", "$x${"),
            ("${}$-", "${}$-"),
        ] {
            assert_eq!(expand_variables(text, value), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(text in "(/nowhere/)?[\\[\\]!*?${}a-c/^.é-]{0,30}") {
            let _ = expand(&format!("/nowhere/{text}"));
        }
    }
}
