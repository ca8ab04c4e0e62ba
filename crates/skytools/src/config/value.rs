//! The value model both file formats share, and `%(name)s`.

use std::borrow::Cow;

/// Levels of `%(name)s` inside values of `%(name)s`.
const MAX_DEPTH: usize = 10;

/// A value as written, before interpolation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Any INI value, or a TOML string.
    Text(String),
    /// A TOML number in its decimal form.
    Number(String),
    /// A TOML boolean.
    Bool(bool),
    /// A TOML array of scalars.
    List(Vec<String>),
    /// A TOML table of scalars.
    Dict(Vec<(String, String)>),
}

/// The keys of one section in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Options(Vec<(String, Value)>);

/// A parsed file of either format.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Document {
    /// `[DEFAULT]`: supplies options to every section and is none itself.
    pub(crate) defaults: Options,
    sections: Vec<(String, Options)>,
}

impl Options {
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0
            .iter()
            .find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Sets a key; the last one of a name wins.
    pub(crate) fn set(&mut self, key: String, value: Value) {
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }
}

impl Document {
    /// The section of a name, made if it is new: a repeated section continues the earlier one.
    pub(crate) fn open_section(&mut self, name: &str) -> &mut Options {
        if name == "DEFAULT" {
            return &mut self.defaults;
        }
        let known = self.sections.iter().position(|(known, _)| known == name);
        let index = known.unwrap_or_else(|| {
            self.sections.push((name.to_owned(), Options::default()));
            self.sections.len() - 1
        });
        &mut self.sections[index].1
    }

    pub(crate) fn section(&self, name: &str) -> Option<(&str, &Options)> {
        self.sections
            .iter()
            .find_map(|(known, options)| (known == name).then_some((known.as_str(), options)))
    }

    pub(crate) fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|(name, _)| name.as_str())
    }
}

/// Whether a key holds a connect string: then a TOML table is one too, and errors do not show it.
pub(crate) fn is_connect_key(key: &str) -> bool {
    key == "db" || key.ends_with("_db") || key.contains("connstr") || key.contains("connect_string")
}

impl Value {
    /// The value as one text; `key` tells a connect string from a plain table.
    pub(crate) fn text(&self, key: &str) -> Cow<'_, str> {
        match self {
            Value::Text(text) | Value::Number(text) => Cow::Borrowed(text),
            Value::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Value::List(elements) => Cow::Owned(elements.join(", ")),
            Value::Dict(entries) if is_connect_key(key) => Cow::Owned(connect_string(entries)),
            Value::Dict(entries) => {
                let pairs: Vec<String> = entries.iter().map(|(k, v)| format!("{k}:{v}")).collect();
                Cow::Owned(pairs.join(", "))
            }
        }
    }

    fn map_text<E>(&self, mut f: impl FnMut(&str) -> Result<String, E>) -> Result<Value, E> {
        Ok(match self {
            Value::Text(text) => Value::Text(f(text)?),
            Value::Number(_) | Value::Bool(_) => self.clone(),
            Value::List(elements) => Value::List(
                elements
                    .iter()
                    .map(|text| f(text))
                    .collect::<Result<_, E>>()?,
            ),
            Value::Dict(entries) => Value::Dict(
                entries
                    .iter()
                    .map(|(key, text)| Ok((key.clone(), f(text)?)))
                    .collect::<Result<_, E>>()?,
            ),
        })
    }

    /// The texts interpolation looks into.
    fn texts(&self) -> Vec<&str> {
        match self {
            Value::Text(text) => vec![text],
            Value::Number(_) | Value::Bool(_) => Vec::new(),
            Value::List(elements) => elements.iter().map(String::as_str).collect(),
            Value::Dict(entries) => entries.iter().map(|(_, text)| text.as_str()).collect(),
        }
    }
}

/// `key='value' …` with quotes and backslashes escaped, as libpq reads it.
fn connect_string(entries: &[(String, String)]) -> String {
    let settings: Vec<String> = entries
        .iter()
        .map(|(key, value)| {
            let plain = !value.is_empty()
                && !value.contains(|c: char| c.is_whitespace() || c == '\'' || c == '\\');
            if plain {
                format!("{key}={value}")
            } else {
                let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
                format!("{key}='{escaped}'")
            }
        })
        .collect();
    settings.join(" ")
}

/// What a key of one section can see: the section, `[DEFAULT]`, the built-in variables.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) section: &'a Options,
    pub(crate) defaults: &'a Options,
    pub(crate) builtins: &'a [(&'static str, Value)],
}

impl<'a> Scope<'a> {
    /// Whether the file sets the key, here or in `[DEFAULT]`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.section.get(key).is_some() || self.defaults.get(key).is_some()
    }

    pub(crate) fn raw(&self, key: &str) -> Option<&'a Value> {
        let builtin = || {
            self.builtins
                .iter()
                .find_map(|(name, value)| (*name == key).then_some(value))
        };
        self.section
            .get(key)
            .or_else(|| self.defaults.get(key))
            .or_else(builtin)
    }

    /// Keys of the section, then those `[DEFAULT]` adds.
    pub(crate) fn keys(self) -> impl Iterator<Item = &'a str> {
        let section = self.section;
        let inherited = self.defaults.keys();
        section
            .keys()
            .chain(inherited.filter(move |key| section.get(key).is_none()))
    }

    /// The value of a key with its variables filled in.
    pub(crate) fn resolve(&self, key: &str) -> Option<Result<Value, String>> {
        let raw = self.raw(key)?;
        Some(raw.map_text(|text| self.expand(text, 0)))
    }

    /// Replaces `%(name)s` and `%%`; any other `%` is an error.
    fn expand(&self, text: &str, depth: usize) -> Result<String, String> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            result.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                result.push('%');
                rest = after;
                continue;
            }
            let (name, after) = variable(after)
                .ok_or_else(|| "expected %(name)s after '%', or %% for a plain '%'".to_owned())?;
            let name = name.to_lowercase();
            let Some(value) = self.raw(&name) else {
                return Err(format!("unknown variable %({name})s"));
            };
            if depth == MAX_DEPTH {
                return Err(format!(
                    "%({name})s is nested deeper than {MAX_DEPTH} levels"
                ));
            }
            result.push_str(&self.expand(&value.text(&name), depth + 1)?);
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }

    /// Names that values of the scope use as variables.
    pub(crate) fn variables(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (_, value) in self.section.iter().chain(self.defaults.iter()) {
            for text in value.texts() {
                let found = text.split('%').filter_map(variable);
                names.extend(found.map(|(name, _)| name.to_lowercase()));
            }
        }
        names
    }
}

/// Splits `(name)s rest`.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix('(')?.split_once(')')?;
    Some((name, rest.strip_prefix('s')?))
}
