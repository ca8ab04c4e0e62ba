//! A script: its text, its statements, and which of them cannot be run in a transaction.

use skytools::quote::Strings;
use skytools::sql::{self, Token, TokenKind, Tokens};
use skytools::table::TableName;

use super::Limits;

/// Why a script cannot be run in the stream.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It cannot be split into statements.
    #[error("cannot read the script {name}")]
    Syntax {
        /// Its name.
        name: String,
        /// Where and why.
        source: sql::ScriptError,
    },
    /// It is empty.
    #[error("the script {0} has no statements")]
    Empty(String),
    /// A statement begins or ends transactions, or cannot be run within one.
    #[error(
        "the script {name} cannot run in a transaction: {statement}; run it on each database by itself"
    )]
    Transaction {
        /// Its name.
        name: String,
        /// The beginning of the statement.
        statement: String,
    },
    /// A statement changes what the session does after the script.
    #[error("the script {name} changes the session: {statement}; use SET LOCAL")]
    Session {
        /// Its name.
        name: String,
        /// The beginning of the statement.
        statement: String,
    },
    /// A registered table has another name at its end.
    #[error(
        "the script {name} renames the registered table {table} to {now}, under which subscribers get no changes; \
         end its registration first, with \"provider remove {table}\", and add {now} when the script has run \
         everywhere"
    )]
    Renames {
        /// Its name.
        name: String,
        /// The table as it is registered.
        table: String,
        /// What the script makes of that.
        now: String,
    },
    /// A header line has a key that does not exist.
    #[error("the script {name} has an unknown header: {header}")]
    Header {
        /// Its name.
        name: String,
        /// The line.
        header: String,
    },
    /// Some of what the header names is here, and some is not.
    #[error("the script {name} is limited to what is only partly here: {missing} is missing")]
    Mixed {
        /// Its name.
        name: String,
        /// The first that is not here.
        missing: String,
    },
}

/// A script of SQL.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// Base name of its file.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) limits: Limits,
}

impl Script {
    /// Reads a script, and refuses what cannot run in a transaction among others.
    pub(crate) fn parse(name: &str, text: String) -> Result<Script, ScriptError> {
        let limits = Limits::parse(name, &text)?;
        let script = Script {
            name: name.to_owned(),
            text,
            limits,
        };
        for statement in script.statements()? {
            script.check(&statement)?;
        }
        Ok(script)
    }

    /// Its statements, with the names of tables in the place of `@table@`.
    pub(crate) fn statements(&self) -> Result<Vec<String>, ScriptError> {
        let text = self.limits.names().fold(self.text.clone(), |text, name| {
            text.replace(&format!("@{name}@"), &TableName::parse(name).quoted())
        });
        let statements =
            sql::statements(&text, Strings::Standard).map_err(|source| ScriptError::Syntax {
                name: self.name.clone(),
                source,
            })?;
        if statements.is_empty() {
            return Err(ScriptError::Empty(self.name.clone()));
        }
        Ok(statements.into_iter().map(str::to_owned).collect())
    }

    /// Names that SET LOCAL gives other values.
    pub(crate) fn settings(&self) -> Result<Vec<String>, ScriptError> {
        let mut names = Vec::new();
        for statement in self.statements()? {
            let words = words(&statement);
            if let [first, second, name, ..] = &words[..]
                && first == "set"
                && second == "local"
            {
                names.push(match name.as_str() {
                    "time" => "timezone".to_owned(),
                    other => other.to_owned(),
                });
            }
        }
        Ok(names)
    }

    fn check(&self, statement: &str) -> Result<(), ScriptError> {
        let words = words(statement);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let start: String = statement.trim_end_matches(';').chars().take(60).collect();
        let start = start.split_whitespace().collect::<Vec<_>>().join(" ");
        if leaves_transaction(&words) {
            return Err(ScriptError::Transaction {
                name: self.name.clone(),
                statement: start,
            });
        }
        let changes_session = match &words[..] {
            ["set", "local", "session", ..] => true,
            ["set", "local" | "constraints", ..] => false,
            [
                "set" | "reset" | "discard" | "listen" | "unlisten" | "prepare" | "deallocate",
                ..,
            ] => true,
            _ => false,
        };
        if changes_session {
            return Err(ScriptError::Session {
                name: self.name.clone(),
                statement: start,
            });
        }
        Ok(())
    }
}

/// Whether a statement begins or ends a transaction, or the server runs it outside of one only.
fn leaves_transaction(words: &[&str]) -> bool {
    match words {
        [
            "begin" | "commit" | "end" | "rollback" | "abort" | "start" | "savepoint" | "release"
            | "vacuum" | "checkpoint" | "load",
            ..,
        ]
        | ["prepare", "transaction", ..]
        | [
            "create" | "drop",
            "database" | "tablespace" | "subscription",
            ..,
        ]
        | ["alter", "system" | "database" | "subscription", ..]
        | ["cluster"]
        | ["reindex", "database" | "system" | "schema", ..] => true,
        ["create" | "drop" | "reindex" | "alter", ..] => words.contains(&"concurrently"),
        _ => false,
    }
}

/// The bare words of a statement, in lower case; all else is an empty word.
fn words(statement: &str) -> Vec<String> {
    let word = |token: Token<'_>| match token.kind {
        TokenKind::Ident => {
            let text = String::from_utf8_lossy(token.text);
            Some(match text.starts_with('"') {
                true => String::new(),
                false => text.to_lowercase(),
            })
        }
        TokenKind::Symbol if token.text == b";" => None,
        _ => Some(String::new()),
    };
    Tokens::new(statement, Strings::Standard)
        .skip_space()
        .filter_map(word)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> Option<String> {
        Script::parse("s.sql", text.to_owned())
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn statements_that_need_no_transaction_of_their_own_are_taken() {
        for text in [
            "alter table t add a int; update t set a = 1",
            "create index i on t (a)",
            "create function f() returns int language sql begin atomic select 1; end",
            "set local search_path = s; create table t (id int)",
            "create table \"vacuum\" (\"concurrently\" int)",
            "do $$ begin commit; end $$",
        ] {
            assert_eq!(refusal(text), None, "{text}");
        }
    }

    #[test]
    fn statements_outside_of_transactions_are_refused() {
        for text in [
            "vacuum t",
            "create index concurrently i on t (a)",
            "CREATE UNIQUE INDEX CONCURRENTLY i on t (a)",
            "drop index concurrently i",
            "begin; create table t (id int); commit",
            "create database d",
            "alter system set work_mem = '1MB'",
            "reindex (verbose) table concurrently t",
            "alter table p detach partition q concurrently",
        ] {
            let text = refusal(text).expect(text);
            assert!(text.contains("cannot run in a transaction: "), "{text}");
        }
        for text in [
            "set search_path = s",
            "reset all",
            "set local session authorization x",
        ] {
            let text = refusal(text).expect(text);
            assert!(text.contains("changes the session: "), "{text}");
        }
        assert_eq!(
            refusal("vacuum t;").as_deref(),
            Some(
                "the script s.sql cannot run in a transaction: vacuum t; run it on each database by itself"
            )
        );
        assert_eq!(
            refusal(" -- nothing\n;").as_deref(),
            Some("the script s.sql has no statements")
        );
    }

    #[test]
    fn settings_are_those_of_set_local() {
        let script = Script::parse(
            "s.sql",
            "set local time zone 'UTC'; SET LOCAL Work_Mem = '1MB'; select 1".to_owned(),
        )
        .unwrap();
        assert_eq!(script.settings().unwrap(), ["timezone", "work_mem"]);
    }

    #[test]
    fn names_of_the_header_can_be_used_in_the_text() {
        let script = Script::parse(
            "s.sql",
            "--*-- Local-Table: public.Order\nalter table @public.Order@ add a int; select '@x@'"
                .to_owned(),
        )
        .unwrap();
        assert_eq!(
            script.statements().unwrap(),
            ["alter table public.\"Order\" add a int;", "select '@x@'"]
        );
    }

    proptest! {
        #[test]
        fn no_script_panics(
            text in any::<String>(),
            similar in "(--\\*--[ :a-zL,-]{0,20}\n){0,3}((set|local|time|select|begin|end|'|\\$\\$|\\(|\\)|@a@|;|--|/\\*|\n|é) ?){0,20}",
        ) {
            for text in [text, similar] {
                if let Ok(script) = Script::parse("s.sql", text) {
                    prop_assert!(!script.statements().expect("it was read").is_empty());
                    prop_assert!(script.settings().is_ok());
                }
            }
        }
    }
}
