//! Definitions of the server, rewritten for another table.

use crate::quote::{self, Strings};
use crate::sql::{TokenKind, Tokens};

/// The definition of an index with another name, on another table; `None` unless it begins as it
/// must. What follows ` USING ` stays.
pub(super) fn index(
    definition: &str,
    name: &str,
    unique: bool,
    table: &str,
    new_name: &str,
    new_table: &str,
) -> Option<String> {
    let unique = if unique { "UNIQUE " } else { "" };
    let rest = definition.strip_prefix(&format!("CREATE {unique}INDEX "))?;
    // The server may quote the name where we would not, or the other way round.
    let rest = [
        quote::ident(name),
        format!("\"{}\"", name.replace('"', "\"\"")),
        name.to_owned(),
    ]
    .iter()
    .find_map(|name| rest.strip_prefix(name.as_str())?.strip_prefix(" ON "))?;
    let rest = rest.strip_prefix("ONLY ").unwrap_or(rest);
    let rest = rest.strip_prefix(table)?;
    let tail = rest.starts_with(" USING ").then_some(rest)?;
    let new_name = quote::ident(new_name);
    Some(format!(
        "CREATE {unique}INDEX {new_name} ON {new_table}{tail}"
    ))
}

/// The definition with another table where the first `word` that a table follows is: `ON` of a
/// trigger, `TO` of a rule. `None` if what follows is not the table.
pub(super) fn after_word(
    definition: &str,
    word: &str,
    table: &str,
    new_table: &str,
) -> Option<String> {
    let tokens = Tokens::new(definition, Strings::Standard)
        .qualified()
        .skip_space();
    let mut expects_table = false;
    for token in tokens {
        if expects_table {
            let found = token.kind == TokenKind::Ident && token.text == table.as_bytes();
            let start = token.end - token.text.len();
            return found.then(|| {
                format!(
                    "{}{new_table}{}",
                    &definition[..start],
                    &definition[token.end..]
                )
            });
        }
        expects_table = token.is_word(word);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_table_of_a_trigger_is_replaced() {
        let trigger = "CREATE TRIGGER \"x ON s.t\" AFTER UPDATE OF \"a ON s.t \" ON s.t FOR EACH \
                       ROW WHEN (((old.*)::text <> ' ON s.t ')) EXECUTE FUNCTION s.t(' ON s.t ')";
        assert_eq!(
            after_word(trigger, "on", "s.t", "s.\"New\"").as_deref(),
            Some(
                "CREATE TRIGGER \"x ON s.t\" AFTER UPDATE OF \"a ON s.t \" ON s.\"New\" FOR EACH \
                 ROW WHEN (((old.*)::text <> ' ON s.t ')) EXECUTE FUNCTION s.t(' ON s.t ')"
            )
        );
        assert_eq!(after_word(trigger, "on", "s.t2", "s.new"), None);
        assert_eq!(after_word("CREATE TRIGGER", "on", "s.t", "s.new"), None);
    }

    #[test]
    fn only_the_table_of_a_rule_is_replaced() {
        let rule =
            "CREATE RULE \"TO s.t\" AS\n    ON INSERT TO s.t DO  INSERT INTO s.t VALUES (1);";
        assert_eq!(
            after_word(rule, "to", "s.t", "n").as_deref(),
            Some("CREATE RULE \"TO s.t\" AS\n    ON INSERT TO n DO  INSERT INTO s.t VALUES (1);")
        );
    }

    #[test]
    fn an_index_keeps_what_follows_its_method() {
        let made = |definition: &str| index(definition, "i on s.t", true, "s.t", "j_1", "s.\"T\"");
        assert_eq!(
            made("CREATE UNIQUE INDEX \"i on s.t\" ON s.t USING btree (a) INCLUDE (b)").as_deref(),
            Some("CREATE UNIQUE INDEX j_1 ON s.\"T\" USING btree (a) INCLUDE (b)")
        );
        for wrong in [
            "CREATE INDEX \"i on s.t\" ON s.t USING btree (a)",
            "CREATE UNIQUE INDEX i ON s.t USING btree (a)",
            "CREATE UNIQUE INDEX \"i on s.t\" ON s.t2 USING btree (a)",
            "CREATE UNIQUE INDEX \"i on s.t\" ON t USING btree (a)",
        ] {
            assert_eq!(made(wrong), None, "{wrong}");
        }
    }
}
