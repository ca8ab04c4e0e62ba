//! The sample configuration, with the values of `--set` in place.

use super::Override;

/// Puts each `key = value` beneath the line of its key, which becomes a comment if it is none; a
/// key that the sample lacks goes to the end of the first section.
pub(crate) fn with_overrides(sample: &str, overrides: &[Override]) -> String {
    let mut lines: Vec<String> = sample.lines().map(str::to_owned).collect();
    let mut done: Vec<&str> = Vec::new();
    // Of several values for a key the last one counts.
    for Override { key, value } in overrides.iter().rev() {
        if done.contains(&key.as_str()) {
            continue;
        }
        done.push(key);
        let entry = format!("{key} = {}", value.replace('\n', "\n\t"));
        let at = match lines
            .iter()
            .position(|line| key_of(line) == Some(key.as_str()))
        {
            Some(template) => comment_out(&mut lines, template),
            None => end_of_first_section(&lines),
        };
        lines.insert(at, entry);
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// The key of `key = value` or `#key = value`.
fn key_of(line: &str) -> Option<&str> {
    let line = line.strip_prefix('#').unwrap_or(line);
    let line = line.strip_prefix(' ').unwrap_or(line);
    let (key, _) = line.split_once('=')?;
    let key = key.trim_end();
    let is_key = |c: char| c.is_alphanumeric() || "_-.*".contains(c);
    (!key.is_empty() && key.chars().all(is_key)).then_some(key)
}

/// Comments out an option with its continuation lines; returns the index after it.
fn comment_out(lines: &mut [String], template: usize) -> usize {
    let mut end = template + 1;
    if lines[template].starts_with('#') {
        return end;
    }
    while lines
        .get(end)
        .is_some_and(|line| line.starts_with([' ', '\t']))
    {
        end += 1;
    }
    for line in &mut lines[template..end] {
        line.insert(0, '#');
    }
    end
}

fn end_of_first_section(lines: &[String]) -> usize {
    let is_section = |line: &String| line.starts_with('[');
    let first = lines.iter().position(is_section).map_or(0, |at| at + 1);
    let rest = lines[first..].iter().position(is_section);
    rest.map_or(lines.len(), |length| first + length)
}
