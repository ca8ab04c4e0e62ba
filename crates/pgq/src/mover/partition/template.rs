//! `part_template`: statements with macros for the names of a partition.

use skytools::quote::{self, Strings};
use skytools::sql::{Token, TokenKind, Tokens};
use skytools::table::TableName;

use super::{LongNames, PartitionError};

/// What the macros stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Macros<'a> {
    /// `_DEST_TABLE`, and with a line for each dot `_SCHEMA_TABLE`.
    pub(super) table: &'a TableName,
    /// `_PARENT`.
    pub(super) parent: &'a TableName,
    /// `_PKEY`: names of columns.
    pub(super) keys: &'a [String],
    pub(super) long_names: LongNames,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Macro {
    Table,
    SchemaTable,
    Parent,
    Keys,
}

/// None is the beginning of another one.
const MACROS: [(&str, Macro); 4] = [
    ("_SCHEMA_TABLE", Macro::SchemaTable),
    ("_DEST_TABLE", Macro::Table),
    ("_PARENT", Macro::Parent),
    ("_PKEY", Macro::Keys),
];

impl Macros<'_> {
    /// Puts the names into a template, once from left to right.
    ///
    /// A macro that stands for a name takes in the letters around it: `_SCHEMA_TABLE_pkey` is one name,
    /// quoted as a whole; of a table, the name without the schema then, as constraints have it.
    ///
    /// # Errors
    /// A name gets too long, or there are no keys.
    pub(super) fn expand(&self, template: &str) -> Result<String, PartitionError> {
        let mut out = String::new();
        for token in Tokens::new(template, Strings::Standard) {
            let start = token.end - token.text.len();
            self.push(&token, &template[start..token.end], &mut out)?;
        }
        Ok(out)
    }

    fn push(&self, token: &Token<'_>, text: &str, out: &mut String) -> Result<(), PartitionError> {
        match token.kind {
            TokenKind::Ident if text.starts_with('"') => {
                let plain = self.replace(text, |name| self.raw(name))?;
                out.push_str(&plain);
            }
            TokenKind::Ident => self.push_word(text, out)?,
            TokenKind::Str => {
                let escape = |name: Macro| -> Result<String, PartitionError> {
                    let text = self.whole(name)?.replace('\'', "''");
                    Ok(match token.text.first() {
                        Some(b'\'') => text,
                        _ => text.replace('\\', "\\\\"),
                    })
                };
                out.push_str(&self.replace(text, escape)?);
            }
            // The body of a function, or of a `do`.
            TokenKind::Dollar => {
                let tag = text[1..].find('$').map_or(0, |at| at + 2);
                let body = &text[tag..text.len() - tag];
                out.push_str(&text[..tag]);
                out.push_str(&self.expand(body)?);
                out.push_str(&text[..tag]);
            }
            _ => out.push_str(text),
        }
        Ok(())
    }

    /// A name or keyword that is not quoted.
    fn push_word(&self, text: &str, out: &mut String) -> Result<(), PartitionError> {
        let Some((at, word, name)) = first_macro(text) else {
            out.push_str(text);
            return Ok(());
        };
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        if before.is_empty() && after.is_empty() {
            out.push_str(&self.whole(name)?);
            return Ok(());
        }
        let middle = match name {
            Macro::Table => self.table.name().to_owned(),
            Macro::Parent => self.parent.name().to_owned(),
            Macro::SchemaTable => self.schema_table(),
            Macro::Keys => self.keys()?.join("_"),
        };
        // As the server reads letters that are not quoted.
        let (before, after) = (before.to_ascii_lowercase(), after.to_ascii_lowercase());
        let name = self.long_names.fit(&format!("{before}{middle}"), &after)?;
        out.push_str(&quote::ident(&name));
        Ok(())
    }

    /// A macro that stands alone, as SQL.
    fn whole(&self, name: Macro) -> Result<String, PartitionError> {
        Ok(match name {
            Macro::Table => self.table.quoted(),
            Macro::Parent => self.parent.quoted(),
            Macro::SchemaTable => quote::ident(&self.long_names.fit(&self.schema_table(), "")?),
            Macro::Keys => {
                let keys: Vec<String> = self.keys()?.iter().map(|key| quote::ident(key)).collect();
                keys.join(", ")
            }
        })
    }

    /// A macro between double quotes.
    fn raw(&self, name: Macro) -> Result<String, PartitionError> {
        let text = match name {
            Macro::Table => self.table.to_string(),
            Macro::Parent => self.parent.to_string(),
            Macro::SchemaTable => self.schema_table(),
            Macro::Keys => self.keys()?.join(","),
        };
        Ok(text.replace('"', "\"\""))
    }

    fn schema_table(&self) -> String {
        format!("{}.{}", self.table.schema(), self.table.name()).replace('.', "__")
    }

    fn keys(&self) -> Result<&[String], PartitionError> {
        match self.keys {
            [] => Err(PartitionError::NoKey(self.table.clone())),
            keys => Ok(keys),
        }
    }

    fn replace(
        &self,
        text: &str,
        with: impl Fn(Macro) -> Result<String, PartitionError>,
    ) -> Result<String, PartitionError> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((at, word, name)) = first_macro(rest) {
            out.push_str(&rest[..at]);
            out.push_str(&with(name)?);
            rest = &rest[at + word.len()..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The macro that begins first, where it does, and its text.
fn first_macro(text: &str) -> Option<(usize, &'static str, Macro)> {
    let found = MACROS.iter();
    let found = found.filter_map(|(word, name)| Some((text.find(word)?, *word, *name)));
    found.min_by_key(|(at, _, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(table: &str, keys: &[&str], template: &str) -> Result<String, PartitionError> {
        let table = TableName::parse(table);
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let macros = Macros {
            table: &table,
            parent: &TableName::parse("arc.Orders"),
            keys: &keys,
            long_names: LongNames::Error,
        };
        macros.expand(template)
    }

    #[test]
    fn macros_become_quoted_names() {
        let template = "create table _DEST_TABLE () inherits (_PARENT);\n\
                        alter table only _DEST_TABLE add constraint _SCHEMA_TABLE_pk primary key (_PKEY);\n\
                        create index ix_DEST_TABLE_Day on _DEST_TABLE (day); -- of _PARENT";
        assert_eq!(
            expand("arc.orders_2024", &["id", "Order"], template).unwrap(),
            "create table arc.orders_2024 () inherits (arc.\"Orders\");\n\
             alter table only arc.orders_2024 add constraint arc__orders_2024_pk primary key (id, \"Order\");\n\
             create index ixorders_2024_day on arc.orders_2024 (day); -- of _PARENT"
        );
        assert_eq!(
            expand(
                "s.A.b",
                &[],
                "_DEST_TABLE _DEST_TABLE_pk _SCHEMA_TABLE x._SCHEMA_TABLE_1 _PARENT_x"
            )
            .unwrap(),
            "s.\"A.b\" \"A.b_pk\" \"s__A__b\" x.\"s__A__b_1\" \"Orders_x\""
        );
    }

    #[test]
    fn names_of_macros_within_names_are_left_alone() {
        assert_eq!(
            expand("s._PARENT", &["_DEST_TABLE"], "_DEST_TABLE _PKEY").unwrap(),
            "s.\"_PARENT\" \"_DEST_TABLE\""
        );
    }

    #[test]
    fn quotes_stay_balanced_whatever_is_in_a_name() {
        assert_eq!(
            expand(
                "s.it's\"",
                &[],
                "comment on table _DEST_TABLE is 'of _DEST_TABLE'; select \"x_DEST_TABLE\", E'_DEST_TABLE'; \
                 do $b$ begin drop table _DEST_TABLE; end $b$"
            )
            .unwrap(),
            "comment on table s.\"it's\"\"\" is 'of s.\"it''s\"\"\"'; select \"xs.it's\"\"\", \
             E's.\"it''s\"\"\"'; do $b$ begin drop table s.\"it's\"\"\"; end $b$"
        );
    }

    #[test]
    fn a_key_that_is_not_there_and_a_name_that_gets_too_long_are_errors() {
        let error = expand("s.t", &[], "primary key (_PKEY)").unwrap_err();
        assert!(
            error.to_string().contains("rows for table s.t have no key"),
            "{error}"
        );
        assert!(expand("s.t", &[], "select 1").is_ok());
        let long = format!("s.{}", "x".repeat(59));
        assert!(expand(&long, &[], "_DEST_TABLE_pkey").is_err());
        assert!(expand(&long, &[], "_DEST_TABLE_pk").is_ok());
    }
}
