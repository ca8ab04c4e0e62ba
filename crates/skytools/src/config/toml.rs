//! The same settings as TOML: top-level tables are sections.

use toml::Value as Toml;

use super::value::{Document, Value};

/// Parses a whole file.
pub(crate) fn parse(text: &str) -> Result<Document, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let table: toml::Table = text.parse().map_err(|error| located(text, &error))?;
    let mut document = Document::default();
    for (name, section) in table {
        let Toml::Table(section) = section else {
            return Err(format!("{name}: expected a [section] before the first key"));
        };
        let options = document.open_section(&name);
        for (key, value) in section {
            let lower = key.to_lowercase();
            if options.get(&lower).is_some() {
                return Err(format!(
                    "[{name}] {key}: the key is set twice, letter case does not count"
                ));
            }
            let value = convert(value).map_err(|problem| format!("[{name}] {key}: {problem}"))?;
            options.set(lower, value);
        }
    }
    Ok(document)
}

/// The parser's message with its line, but without the line itself: it may hold a password.
fn located(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.split('\n').count()),
        None => message.to_owned(),
    }
}

fn convert(value: Toml) -> Result<Value, &'static str> {
    Ok(match value {
        Toml::String(text) => Value::Text(text),
        Toml::Boolean(value) => Value::Bool(value),
        Toml::Array(elements) => {
            Value::List(elements.into_iter().map(scalar).collect::<Result<_, _>>()?)
        }
        Toml::Table(entries) => Value::Dict(
            entries
                .into_iter()
                .map(|(key, value)| Ok((key, scalar(value)?)))
                .collect::<Result<_, &'static str>>()?,
        ),
        number => Value::Number(scalar(number)?),
    })
}

fn scalar(value: Toml) -> Result<String, &'static str> {
    match value {
        Toml::String(text) => Ok(text),
        Toml::Integer(number) => Ok(number.to_string()),
        // `{:?}` keeps the point of a whole number.
        Toml::Float(number) if number.is_finite() => Ok(format!("{number:?}")),
        Toml::Float(_) => Err("expected a finite number"),
        Toml::Boolean(value) => Ok(value.to_string()),
        Toml::Datetime(_) => Err("expected a string, a number or a boolean, found a date"),
        Toml::Array(_) | Toml::Table(_) => {
            Err("expected strings, numbers or booleans, found a deeper level")
        }
    }
}
