//! From the text of a section to a typed struct, by serde.

use std::fmt::Display;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::value::{Scope, Value, is_connect_key};

/// Why a section does not fit its struct.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The key whose value is wrong; filled in by the section.
    pub(crate) key: Option<String>,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// A key that the struct needs is not set.
    Missing(&'static str),
    /// The value is not what the field wants; filled in with the value by the section.
    Expected(String),
    /// Anything else, complete.
    Message(String),
}

impl Problem {
    fn expected(what: impl Display) -> Problem {
        Problem {
            key: None,
            kind: Kind::Expected(what.to_string()),
        }
    }

    fn message(text: impl Display) -> Problem {
        Problem {
            key: None,
            kind: Kind::Message(text.to_string()),
        }
    }

    /// Names the key, and shows the value unless it may hold a password.
    fn at(mut self, key: &str, value: &Value) -> Problem {
        if let Kind::Expected(expected) = &self.kind {
            let shown = shown(key, value);
            let text = if expected == "a boolean" {
                format!("Not a boolean: {shown}")
            } else {
                format!("expected {expected}, found {shown}")
            };
            self.kind = Kind::Message(text);
        }
        self.key.get_or_insert_with(|| key.to_owned());
        self
    }
}

/// A value for an error message: short, on one line, and never a password.
fn shown(key: &str, value: &Value) -> String {
    let text = value.text(key);
    let lower = text.to_lowercase();
    let secret = |text: &str| text.contains("password") || text.contains("passwd");
    if is_connect_key(key) || secret(key) || secret(&lower) || lower.contains("://") {
        return "[...]".to_owned();
    }
    let mut line: String = text.chars().take(60).collect();
    if line.len() < text.len() {
        line.push_str("...");
    }
    if line.is_empty() || line.contains('\n') {
        format!("{line:?}")
    } else {
        line
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Missing(key) => write!(f, "Config value not set: {key}"),
            Kind::Expected(what) => write!(f, "expected {what}"),
            Kind::Message(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: Display>(text: T) -> Problem {
        Problem::message(text)
    }

    fn missing_field(field: &'static str) -> Problem {
        Problem {
            key: None,
            kind: Kind::Missing(field),
        }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Problem {
        Problem::expected(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Problem {
        Problem::expected(expected)
    }

    fn unknown_variant(_: &str, variants: &'static [&'static str]) -> Problem {
        Problem::expected(format_args!("one of {}", variants.join(", ")))
    }

    fn duplicate_field(field: &'static str) -> Problem {
        Problem::message(format_args!("{field} is set twice, under two of its names"))
    }
}

/// The keys a struct reads, other names of a field included; `None` if it takes any key.
pub(crate) fn fields_of<T: DeserializeOwned>() -> Option<Vec<&'static str>> {
    let mut found = Vec::new();
    // Always an error; the names are what it was asked for.
    let _ = T::deserialize(FieldNames(&mut found));
    if found.is_empty() {
        return None;
    }
    let found: Option<Vec<_>> = found.into_iter().collect();
    found.map(|lists| lists.concat())
}

/// Collects the names of the fields of structs; `None` for what takes any.
struct FieldNames<'a>(&'a mut Vec<Option<&'static [&'static str]>>);

impl FieldNames<'_> {
    fn answer<T>(self, fields: Option<&'static [&'static str]>) -> Result<T, Problem> {
        self.0.push(fields);
        Err(Problem::message("asked for its fields only"))
    }
}

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Problem> {
        self.answer(None)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Problem> {
        self.answer(Some(fields))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Problem> {
        self.answer(Some(&[]))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_seq(FieldNames(self.0))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit_struct seq tuple map enum identifier ignored_any
    }
}

/// The structs of a [`Both`](super::Both).
impl<'de> SeqAccess<'de> for FieldNames<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        seed.deserialize(FieldNames(self.0)).map(Some)
    }
}

/// Reads one value.
pub(crate) fn value<T: DeserializeOwned>(key: &str, value: Value) -> Result<T, Problem> {
    let reader = ValueReader { key, value: &value };
    T::deserialize(reader).map_err(|problem| problem.at(key, &value))
}

/// Reads a whole section.
pub(crate) fn section<T: DeserializeOwned>(scope: Scope<'_>) -> Result<T, Problem> {
    T::deserialize(SectionReader(scope))
}

struct SectionReader<'a>(Scope<'a>);

impl<'de> Deserializer<'de> for SectionReader<'_> {
    type Error = Problem;

    /// A map: every key that the file sets.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let keys = self.0.keys().collect();
        visitor.visit_map(Keys::new(self.0, keys))
    }

    /// Only the keys of the struct are looked at, so that a bad `%` elsewhere does no harm.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let is_set = |key: &&str| self.0.raw(key).is_some();
        let keys = fields.iter().copied().filter(is_set).collect();
        visitor.visit_map(Keys::new(self.0, keys))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_seq(Again(self.0))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        seq tuple map enum identifier ignored_any
    }
}

/// The same section for each struct of a [`Both`](super::Both).
struct Again<'a>(Scope<'a>);

impl<'de> SeqAccess<'de> for Again<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        seed.deserialize(SectionReader(self.0)).map(Some)
    }
}

struct Keys<'a> {
    scope: Scope<'a>,
    keys: std::vec::IntoIter<&'a str>,
    current: Option<&'a str>,
}

impl<'a> Keys<'a> {
    fn new(scope: Scope<'a>, keys: Vec<&'a str>) -> Keys<'a> {
        Keys {
            scope,
            keys: keys.into_iter(),
            current: None,
        }
    }
}

impl<'de> MapAccess<'de> for Keys<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        self.current = self.keys.next();
        match self.current {
            Some(key) => seed.deserialize(key.into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let key = self.current.expect("serde asks for the key first");
        let value = match self.scope.resolve(key) {
            Some(Ok(value)) => value,
            Some(Err(text)) => {
                return Err(Problem {
                    key: Some(key.to_owned()),
                    kind: Kind::Message(text),
                });
            }
            None => return Err(Problem::message(format_args!("{key} is not set"))),
        };
        let reader = ValueReader { key, value: &value };
        seed.deserialize(reader)
            .map_err(|problem| problem.at(key, &value))
    }
}

/// One interpolated value, read as whatever the field wants.
struct ValueReader<'a> {
    key: &'a str,
    value: &'a Value,
}

impl ValueReader<'_> {
    fn text(&self) -> std::borrow::Cow<'_, str> {
        self.value.text(self.key)
    }

    /// Decimal digits with an optional sign; a TOML boolean counts as 1 or 0.
    fn integer<T: std::str::FromStr>(&self) -> Result<T, Problem> {
        let text = match self.value {
            Value::Bool(true) => "1".into(),
            Value::Bool(false) => "0".into(),
            _ => self.text(),
        };
        let text = text.trim();
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) => Ok(number),
            Err(_) if decimal && text.starts_with('-') => {
                Err(Problem::expected("an integer, 0 or more"))
            }
            Err(_) if decimal => Err(Problem::expected("a smaller integer")),
            Err(_) => Err(Problem::expected("an integer")),
        }
    }

    /// Decimal or exponent notation; no `inf` and `nan`, which Rust would take.
    fn float(&self) -> Result<f64, Problem> {
        let text = self.text();
        let text = text.trim();
        let numeric = text
            .bytes()
            .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        match text.parse::<f64>() {
            Ok(number) if numeric && number.is_finite() => Ok(number),
            _ => Err(Problem::expected("a number")),
        }
    }

    fn boolean(&self) -> Result<bool, Problem> {
        match self.text().trim().to_lowercase().as_str() {
            "1" | "yes" | "true" | "on" => Ok(true),
            "0" | "no" | "false" | "off" => Ok(false),
            _ => Err(Problem::expected("a boolean")),
        }
    }

    fn list(&self) -> Vec<String> {
        match self.value {
            Value::List(elements) => elements.clone(),
            _ => split_list(&self.text()),
        }
    }

    fn dict(&self) -> Vec<(String, String)> {
        match self.value {
            Value::Dict(entries) => entries.clone(),
            _ => self
                .list()
                .into_iter()
                .map(|element| match element.split_once(':') {
                    Some((key, value)) => (key.trim().to_owned(), value.trim().to_owned()),
                    None => (element.clone(), element),
                })
                .collect(),
        }
    }
}

/// Splits at commas and trims; empty elements stay, an empty text has none.
fn split_list(text: &str) -> Vec<String> {
    match text.trim() {
        "" => Vec::new(),
        text => text
            .split(',')
            .map(|element| element.trim().to_owned())
            .collect(),
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            visitor.$visit(self.integer::<$type>()?)
        })*
    };
}

impl<'de> Deserializer<'de> for ValueReader<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_string(self.text().into_owned())
    }

    integers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_seq(Elements {
            key: self.key,
            elements: self.list().into_iter(),
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_map(Entries {
            key: self.key,
            entries: self.dict().into_iter(),
            value: None,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let text = self.text().trim().to_owned();
        let text: StringDeserializer<Problem> = text.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple_struct identifier
        ignored_any
    }
}

struct Elements<'a> {
    key: &'a str,
    elements: std::vec::IntoIter<String>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(element) = self.elements.next() else {
            return Ok(None);
        };
        let value = &Value::Text(element);
        let key = self.key;
        seed.deserialize(ValueReader { key, value })
            .map_err(|problem| problem.at(key, value))
            .map(Some)
    }
}

struct Entries<'a> {
    key: &'a str,
    entries: std::vec::IntoIter<(String, String)>,
    value: Option<String>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let value = self.value.take().expect("serde asks for the key first");
        let value = &Value::Text(value);
        let key = self.key;
        seed.deserialize(ValueReader { key, value })
            .map_err(|problem| problem.at(key, value))
    }
}
