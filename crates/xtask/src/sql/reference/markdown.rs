//! Markdown of the SQL reference.

/// A list in lines of some 100 columns.
pub(super) fn fill(start: &str, items: &[String], end: &str) -> String {
    let mut text = String::new();
    let mut line = start.to_owned();
    for (place, item) in items.iter().enumerate() {
        let last = place + 1 == items.len();
        let item = format!("{item}{}", if last { end } else { "," });
        if line.len() + item.len() > 98 {
            text.push_str(line.trim_end());
            text.push('\n');
            line = "        ".to_owned();
        }
        line.push_str(&item);
        if !last {
            line.push(' ');
        }
    }
    if items.is_empty() {
        line.push_str(end);
    }
    text + &line
}

/// Code marks for each of several names.
pub(super) fn names_of(names: &str) -> String {
    names
        .split(", ")
        .map(|range| {
            let ends: Vec<String> = range
                .split(" .. ")
                .map(|name| format!("`{name}`"))
                .collect();
            ends.join(" .. ")
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// A section as an item of a list; columns and kinds that begin a line of the header have items of their own.
pub(super) fn item(title: &str, lines: &[String]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for line in lines.iter().map(|line| line.trim()) {
        let names = line
            .split_once(": ")
            .map_or(line.strip_suffix(':'), |(names, _)| Some(names));
        let begins = names.is_some_and(|names| {
            names.split(", ").all(|name| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            })
        });
        match parts.last_mut() {
            Some(part) if !(begins && part.ends_with(['.', ';'])) => {
                part.push(' ');
                part.push_str(line);
            }
            _ => parts.push(line.to_owned()),
        }
    }
    let mut text = format!("- **{title}:** ");
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            text.push_str("  - ");
        }
        text.push_str(&prose(part));
        text.push('\n');
    }
    text
}

pub(super) fn example(lines: &[String]) -> String {
    let title = lines.first().map(|line| line.trim()).unwrap_or_default();
    let code: Vec<&str> = lines.iter().skip(1).map(|line| line.trim()).collect();
    format!(
        "\n{}\n\n```sql\n{}\n```\n",
        prose(&capital(title)),
        code.join("\n")
    )
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().collect::<String>() + chars.as_str(),
        None => String::new(),
    }
}

/// Text with its identifiers marked as code; what stands in double quotes stays as it is.
pub(super) fn prose(text: &str) -> String {
    let mut marked = String::new();
    for (place, part) in text.split('"').enumerate() {
        if place > 0 {
            marked.push('"');
        }
        if place % 2 == 1 {
            marked.push_str(&part.replace('*', "\\*"));
            continue;
        }
        let words: Vec<String> = part.split(' ').map(mark).collect();
        marked.push_str(&words.join(" "));
    }
    marked
}

/// `(pgq.tick_id,` with code marks inside the punctuation.
fn mark(word: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '=';
    let Some(start) = word.find(|c: char| is_part(c) && c != '.') else {
        return word.to_owned();
    };
    let end = start
        + word[start..]
            .find(|c| !is_part(c))
            .unwrap_or(word.len() - start);
    let mut name = word[start..end].trim_end_matches('.');
    let mut end = start + name.len();
    // A number of arguments: pgq.ticker(1).
    if let Some(close) = word[end..].find(')') {
        let count = &word[end..=end + close];
        if count.len() == 3 && count.as_bytes()[0] == b'(' && count.as_bytes()[1].is_ascii_digit() {
            end += 3;
            name = &word[start..end];
        }
    }
    let dotted = name
        .split_once('.')
        .is_some_and(|(schema, rest)| schema.starts_with("pgq") && !rest.is_empty());
    match dotted || name.contains('_') || (name.contains('=') && name.len() > 1) {
        true => format!("{}`{name}`{}", &word[..start], &word[end..]),
        false => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_marked_and_messages_are_not() {
        assert_eq!(
            prose("as pgq.ticker(1); \"no such_queue\" (pgq.tick, ev_id). e.g. 1.0 = one"),
            "as `pgq.ticker(1)`; \"no such_queue\" (`pgq.tick`, `ev_id`). e.g. 1.0 = one"
        );
    }
}
