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

#[cfg(test)]
mod tests {
    use super::with_overrides;
    use crate::app::Override;

    const SAMPLE: &str = "[job]\n\n# What to say.\n#greeting = hello\n\ndb = dbname=x\n  host=y\n\n[other]\nkey = 1\n";

    fn set(pairs: &[(&str, &str)]) -> String {
        let overrides: Vec<Override> = pairs
            .iter()
            .map(|(key, value)| Override {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
        with_overrides(SAMPLE, &overrides)
    }

    #[test]
    fn without_overrides_the_sample_is_printed_as_it_is() {
        assert_eq!(set(&[]), SAMPLE);
    }

    #[test]
    fn a_value_stands_beneath_its_commented_template() {
        let text = set(&[("greeting", "hi"), ("greeting", "moin")]);
        assert!(
            text.contains("\n#greeting = hello\ngreeting = moin\n\n"),
            "{text}"
        );
        assert!(!text.contains("hi\n"), "{text}");
    }

    #[test]
    fn a_template_with_a_value_becomes_a_comment() {
        let text = set(&[("db", "dbname=z")]);
        assert!(
            text.contains("\n#db = dbname=x\n#  host=y\ndb = dbname=z\n\n[other]"),
            "{text}"
        );
    }

    #[test]
    fn a_key_without_template_goes_to_the_main_section() {
        let text = set(&[("new", "one\ntwo")]);
        assert!(text.contains("\nnew = one\n\ttwo\n[other]"), "{text}");
    }
}
