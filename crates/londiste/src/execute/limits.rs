//! The header of a script: what must be in a database for the script to be meant for it.
//!
//! Lines `--*-- Key: value, value` before the first statement.

use skytools::db::Tx;
use skytools::table::{self, TableName};

use super::{Local, ScriptError};
use crate::Error;

/// What a value names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A table of the queue, registered or subscribed here.
    LocalTable,
    /// A sequence of the queue.
    LocalSequence,
    /// A table of the queue that exists here.
    LocalDestination,
    NeedTable,
    NeedSequence,
    /// `name(number of arguments)`.
    NeedFunction,
    NeedSchema,
    NeedView,
}

const KEYS: &[(&str, Kind)] = &[
    ("local-table", Kind::LocalTable),
    ("local-sequence", Kind::LocalSequence),
    ("local-destination", Kind::LocalDestination),
    ("need-table", Kind::NeedTable),
    ("need-sequence", Kind::NeedSequence),
    ("need-function", Kind::NeedFunction),
    ("need-schema", Kind::NeedSchema),
    ("need-view", Kind::NeedView),
];

/// What a script is limited to; nothing if it is for every database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    wanted: Vec<(Kind, String)>,
    /// As an event carries them: keys, and values joined by commas.
    attributes: Vec<(String, String)>,
}

impl Limits {
    pub(super) fn parse(name: &str, text: &str) -> Result<Limits, ScriptError> {
        let mut limits = Limits::default();
        for line in text.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with("--") {
                break;
            }
            let Some(header) = line.strip_prefix("--*--") else {
                continue;
            };
            let unknown = || ScriptError::Header {
                name: name.to_owned(),
                header: header.trim().to_owned(),
            };
            let (key, values) = header.split_once(':').ok_or_else(unknown)?;
            let key = key.trim().to_lowercase();
            let kind = KEYS.iter().find(|(known, _)| *known == key);
            let &(_, kind) = kind.ok_or_else(unknown)?;
            let values = values.split(',').map(str::trim);
            let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
            limits.attributes.push((key, values.join(",")));
            let values = values.into_iter().map(|value| (kind, value.to_owned()));
            limits.wanted.extend(values);
        }
        Ok(limits)
    }

    /// Keys and values, as the event carries them.
    pub(crate) fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }

    /// Names of tables and sequences that the text may mention as `@name@`.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().filter_map(|(kind, name)| match kind {
            Kind::NeedFunction | Kind::NeedSchema => None,
            _ => Some(name.as_str()),
        })
    }

    /// Whether all that is named is here; false if nothing is.
    pub(super) fn match_here(
        &self,
        tx: &mut Tx<'_>,
        script: &str,
        local: &Local<'_>,
    ) -> Result<bool, Error> {
        let mut found = 0;
        let mut missing = None;
        for (kind, name) in &self.wanted {
            if is_here(tx, *kind, name, local)? {
                found += 1;
            } else {
                missing.get_or_insert(name);
            }
        }
        match missing {
            None => Ok(true),
            Some(_) if found == 0 => Ok(false),
            Some(name) => Err(Error::Script(ScriptError::Mixed {
                name: script.to_owned(),
                missing: name.clone(),
            })),
        }
    }
}

fn is_here(tx: &mut Tx<'_>, kind: Kind, name: &str, local: &Local<'_>) -> Result<bool, Error> {
    let relation = TableName::parse(name);
    let known = |names: &[String]| names.contains(&relation.to_string());
    Ok(match kind {
        Kind::LocalTable => known(local.tables),
        Kind::LocalSequence => known(local.seqs),
        Kind::LocalDestination => known(local.tables) && table::exists_table(&mut **tx, &relation)?,
        Kind::NeedTable => table::exists_table(&mut **tx, &relation)?,
        Kind::NeedSequence => table::exists_sequence(&mut **tx, &relation)?,
        Kind::NeedView => table::exists_view(&mut **tx, &relation)?,
        Kind::NeedSchema => table::exists_schema(&mut **tx, name)?,
        Kind::NeedFunction => {
            let (function, arguments) = name.split_once('(').unwrap_or((name, "0"));
            let arguments = arguments.trim_end_matches(')').trim();
            match arguments.parse() {
                Ok(number) => table::exists_function(&mut **tx, function.trim(), number)?,
                Err(_) => false,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_stand_before_the_first_statement() {
        let limits = Limits::parse(
            "s.sql",
            "-- a comment\n\n--*-- Local-Table: public.a, public.b\n--*-- need-function: f(2)\n\
             select 1;\n--*-- Nonsense: x\n",
        )
        .unwrap();
        assert_eq!(
            limits.attributes(),
            [
                ("local-table".to_owned(), "public.a,public.b".to_owned()),
                ("need-function".to_owned(), "f(2)".to_owned())
            ]
        );
        assert_eq!(limits.names().collect::<Vec<_>>(), ["public.a", "public.b"]);
    }

    #[test]
    fn an_unknown_header_is_a_mistake() {
        for text in ["--*-- Nonsense: x", "--*-- Local-Table"] {
            assert!(Limits::parse("s.sql", text).is_err(), "{text}");
        }
    }
}
