//! The text of `postgresql.conf` and its like: reading settings and changing them in place.

/// An active line of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) name: String,
    pub(crate) value: String,
    /// What follows the value: a comment.
    rest: String,
}

/// Reads a line: `name = 'value' # comment`, without the equals sign too. `None` if it sets nothing.
fn parse(number: usize, line: &str) -> Option<Line> {
    let line = line.trim_start();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let end = line.find(|c| !is_name(c)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let (value, rest) = match rest.strip_prefix('\'') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let end = rest
                .find(|c: char| c.is_whitespace() || c == '#')
                .unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    Some(Line {
        number,
        name: name.to_ascii_lowercase(),
        value,
        rest: rest.trim().to_owned(),
    })
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if text[at + 1..].starts_with('\'') => {
                chars.next();
                value.push('\'');
            }
            '\'' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                c => value.push(c),
            },
            c => value.push(c),
        }
    }
    None
}

/// A value between quotes.
pub(crate) fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// All active lines.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Line> {
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| parse(index + 1, line))
}

/// The line of a setting that counts: the last one.
pub(crate) fn find(text: &str, name: &str) -> Option<Line> {
    lines(text).filter(|line| line.name == name).last()
}

/// The text with a setting changed: its last active line is replaced, or one is added after the commented
/// default, or at the end.
pub(crate) fn set(text: &str, name: &str, value: &str) -> String {
    let active = find(text, name);
    if active.as_ref().is_some_and(|line| line.value == value) {
        return text.to_owned();
    }
    let new = format!("{name} = {}", quote(value));
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
        last.push('\n');
    }
    let default = text.lines().position(|line| {
        let line = line.trim_start();
        line.starts_with('#')
            && parse(0, line.trim_start_matches('#')).is_some_and(|line| line.name == name)
            && line.contains('=')
    });
    match (active, default) {
        (Some(line), _) => {
            let comment = match line.rest.starts_with('#') {
                true => format!("\t{}", line.rest),
                false => String::new(),
            };
            lines[line.number - 1] = format!("{new}{comment}\n");
        }
        (None, Some(index)) => lines.insert(index + 1, format!("{new}\n")),
        (None, None) => lines.push(format!("{new}\n")),
    }
    lines.concat()
}

/// The text without these active lines.
pub(crate) fn without(text: &str, is_unwanted: impl Fn(&Line) -> bool) -> String {
    text.split_inclusive('\n')
        .filter(|line| !parse(0, line).is_some_and(|line| is_unwanted(&line)))
        .collect()
}

/// A unified diff of a file whose lines were replaced, added or removed, with nothing around them.
pub(crate) fn diff(path: &str, old: &str, new: &str) -> String {
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let same = |a: &&str, b: &&str| a == b;
    let mut text = format!("--- {path}\n+++ {path}\n");
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // The nearest place where both go on alike.
        let meeting = (1..=(old.len() - i) + (new.len() - j)).find_map(|distance| {
            (0..=distance).find_map(|skipped| {
                let (a, b) = (i + distance - skipped, j + skipped);
                let meets = match (old.get(a), new.get(b)) {
                    (Some(a), Some(b)) => same(a, b),
                    (None, None) => a == old.len() && b == new.len(),
                    _ => false,
                };
                meets.then_some((a, b))
            })
        });
        let (a, b) = meeting.unwrap_or((old.len(), new.len()));
        text.push_str(&format!(
            "@@ -{},{} +{},{} @@\n",
            i + 1,
            a - i,
            j + 1,
            b - j
        ));
        for line in &old[i..a] {
            text.push_str(&format!("-{line}\n"));
        }
        for line in &new[j..b] {
            text.push_str(&format!("+{line}\n"));
        }
        (i, j) = (a, b);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{diff, find, quote, set, without};

    #[test]
    fn the_last_active_line_counts_and_is_the_one_that_changes() {
        let text = "#archive_command = ''\t\t# command\narchive_command 'a'\n Archive_Command='it''s' # old\nx=1";
        assert_eq!(find(text, "archive_command").expect("active").value, "it's");
        assert_eq!(
            set(text, "archive_command", "b %p"),
            "#archive_command = ''\t\t# command\narchive_command 'a'\narchive_command = 'b %p'\t# old\nx=1\n"
        );
        // What says so already stays as it is.
        assert_eq!(set(text, "archive_command", "it's"), text);
        assert_eq!(set(text, "x", "1"), text);
    }

    #[test]
    fn a_commented_default_is_kept() {
        assert_eq!(
            set(
                "#wal_level = replica\n# about archive_mode\n",
                "wal_level",
                "logical"
            ),
            "#wal_level = replica\nwal_level = 'logical'\n# about archive_mode\n"
        );
        assert_eq!(set("", "a", "b"), "a = 'b'\n");
    }

    #[test]
    fn lines_go_and_the_rest_stays() {
        let text = "# keep\nrestore_command = 'x'\nport = 5433\nRECOVERY_TARGET_TIME = 'now'\n";
        let left = without(text, |line| {
            line.name == "restore_command" || line.name.starts_with("recovery_target")
        });
        assert_eq!(left, "# keep\nport = 5433\n");
    }

    #[test]
    fn a_diff_shows_what_changes() {
        assert_eq!(
            diff("f", "a\nb\nc\n", "a\nx\nc\nd\n"),
            "--- f\n+++ f\n@@ -2,1 +2,1 @@\n-b\n+x\n@@ -4,0 +4,1 @@\n+d\n"
        );
    }

    proptest! {
        #[test]
        fn a_value_is_read_back_from_any_text(
            text in "([ -~]{0,20}\n){0,5}[ -~]{0,20}", value in "[ -~]{0,30}",
        ) {
            let changed = set(&text, "archive_command", &value);
            prop_assert_eq!(find(&changed, "archive_command").expect("active").value, value.clone());
            prop_assert_eq!(set(&changed, "archive_command", &value), changed.clone());
            let _ = diff("f", &text, &changed);
            prop_assert!(quote(&value).len() >= 2);
        }
    }
}
