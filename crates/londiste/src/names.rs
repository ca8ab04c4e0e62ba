//! Tables on the command line: literal names, and patterns of `?` and `*`; what the catalog offers.

use postgres::types::Type;
use skytools::db::{DbError, During, Session};
use skytools::table::{self, NameError, RelationKind, TableName};

use crate::Error;

/// A table or sequence that an argument can select.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    /// `schema.name`, raw.
    pub(crate) name: String,
    /// Whether patterns select it; names select it in any case.
    pub(crate) by_pattern: bool,
}

impl Relation {
    /// One that is registered.
    pub(crate) fn registered(name: String) -> Relation {
        Relation {
            name,
            by_pattern: true,
        }
    }
}

/// An argument that selects tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Exactly this one.
    Name(TableName),
    /// All whose `schema.name` it matches.
    Glob(String),
}

impl Pattern {
    /// Every table of every schema.
    pub(crate) fn everything() -> Pattern {
        Pattern::Glob("*.*".to_owned())
    }

    /// Reads an argument: text that starts with `"` is SQL identifiers, text with `?` or `*` is a
    /// pattern, in `public` if it has no dot.
    ///
    /// # Errors
    /// The quotes do not close, or something stands around the identifiers.
    pub(crate) fn parse(argument: &str) -> Result<Pattern, NameError> {
        if argument.starts_with('"') || !argument.contains(['?', '*']) {
            return TableName::parse_argument(argument).map(Pattern::Name);
        }
        Ok(Pattern::Glob(if argument.contains('.') {
            argument.to_owned()
        } else {
            format!("public.{argument}")
        }))
    }

    /// Whether it selects `relation`.
    pub(crate) fn selects(&self, relation: &Relation) -> bool {
        match self {
            Pattern::Name(name) => name.to_string() == relation.name,
            Pattern::Glob(glob) => relation.by_pattern && matches(glob, &relation.name),
        }
    }
}

/// Whether `text` is made as `glob` says: `?` is any character, `*` any run, the rest itself.
fn matches(glob: &str, text: &str) -> bool {
    let glob: Vec<char> = glob.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut g, mut t) = (0, 0);
    // The last `*`, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                g += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                g = at + 1;
                t = taken + 1;
            }
        }
    }
    glob[g..].iter().all(|&c| c == '*')
}

/// Relations that can be registered: of the kinds given (`pg_class.relkind`), outside of the schemas
/// of the system and of SkyTools, not temporary. Ordered by name.
///
/// Patterns leave out what extensions own, what is unlogged, and partitions: the table they belong
/// to stands for them.
///
/// # Errors
/// The server did not answer.
pub(crate) fn relations(db: &mut Session<'_>, kinds: &str) -> Result<Vec<Relation>, DbError> {
    let rows = db
        .query_typed(
            "select n.nspname, c.relname,
                    c.relpersistence = 'p' and not c.relispartition and not exists (
                        select from pg_catalog.pg_depend d
                         where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                           and d.objid = c.oid and d.deptype = 'e')
               from pg_catalog.pg_class c
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where pg_catalog.strpos($1, c.relkind::pg_catalog.text) > 0
                and c.relpersistence <> 't'
                and n.nspname !~ '^pg_'
                and n.nspname not in ('information_schema', 'londiste', 'pgq', 'pgq_node', 'pgq_gen',
                                      'pgq_ext', 'pgq_coop', 'txid')
              order by n.nspname, c.relname",
            &[(&kinds, Type::TEXT)],
        )
        .during("list the relations of the database")?;
    Ok(rows
        .iter()
        .map(|row| Relation {
            name: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)).to_string(),
            by_pattern: row.get(2),
        })
        .collect())
}

/// Why a name is not among the tables that can be added.
///
/// # Errors
/// The server did not answer.
pub(crate) fn why_not(db: &mut Session<'_>, name: &TableName) -> Result<String, Error> {
    Ok(match table::find(db, name)?.map(|found| found.kind) {
        None => format!("No tables found that match {name}"),
        Some(RelationKind::View) => format!("{name} is a view, only tables can be added"),
        Some(RelationKind::MaterializedView) => {
            format!("{name} is a materialized view, only tables can be added")
        }
        Some(RelationKind::ForeignTable) => {
            format!("{name} is a foreign table, its changes cannot be captured")
        }
        Some(RelationKind::Sequence) => format!("{name} is a sequence, use: add-seq"),
        Some(RelationKind::Table | RelationKind::PartitionedTable) => {
            format!("{name} is a system or temporary table, it cannot be added")
        }
        Some(RelationKind::Other(_)) => format!("{name} is no table"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(argument: &str, name: &str) -> bool {
        Pattern::parse(argument)
            .unwrap()
            .selects(&Relation::registered(name.to_owned()))
    }

    #[test]
    fn a_name_selects_itself_and_nothing_else() {
        assert!(selects("t", "public.t"));
        assert!(selects("s.t", "s.t"));
        assert!(selects("public.a.b", "public.a.b"));
        assert!(!selects("t", "s.t"));
        assert!(!selects("T", "public.t"));
    }

    #[test]
    fn an_argument_in_quotes_is_sql_identifiers() {
        assert!(selects(r#""a*b""#, "public.a*b"));
        assert!(selects(r#""my.schema"."t""#, r#""my.schema".t"#));
        assert!(selects(r#""s".t.u"#, "s.t.u"));
        assert!(Pattern::parse(r#""open"#).is_err());
    }

    #[test]
    fn a_pattern_without_a_schema_is_in_public() {
        assert!(selects("*", "public.t"));
        assert!(selects("u*", "public.users"));
        assert!(!selects("*", "s.t"));
        assert!(selects("*.*", "s.t"));
    }

    #[test]
    fn a_star_takes_any_run_dots_included_and_a_question_mark_one_character() {
        assert!(selects("s?.t*", "s1.t.with.dots"));
        assert!(selects("s?.t*", "sä.t"));
        assert!(!selects("s?.t*", "s.t"));
        assert!(selects("*.a*b*c", "x.aXbXbcXc"));
        assert!(!selects("*.a*b*c", "x.aXbXbcX"));
        assert!(!selects("*.T", "x.t"));
    }

    #[test]
    fn other_metacharacters_stand_for_themselves() {
        for name in ["a+b", "x$", "t(1)", "[a]", "a|b", "^a", "a\\d"] {
            let name = format!("public.{name}");
            assert!(selects(&name, &name), "{name}");
            assert!(selects(&format!("{name}*"), &name), "{name}");
        }
        assert!(!selects("a+*", "public.aab"));
    }
}
