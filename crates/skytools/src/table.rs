//! Table names and catalog look-ups.
//!
//! Look-ups compare exact, case-sensitive names and never consult `search_path`.

use std::fmt;

use postgres::types::Type;

use crate::db::{DbError, During, GenericClient};
use crate::quote;

/// A relation: schema and name in raw form, as queues and configuration carry them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    schema: String,
    name: String,
}

/// A name that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed name {text:?}: {problem}")]
pub struct NameError {
    text: String,
    problem: &'static str,
}

impl TableName {
    /// A name made of its two parts, both unquoted.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> TableName {
        TableName {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// Reads the raw form, as queues and registration tables hold it and `Display` writes it.
    ///
    /// Splits at the first dot; a name without one is in `public`; case is kept and the rest may
    /// hold more dots. Only a schema that itself contains a dot or a quote is quoted:
    /// `"my.schema".tbl`.
    pub fn parse(text: &str) -> TableName {
        if let Some((schema, rest)) = leading_quoted(text)
            && let Some(name) = rest.strip_prefix('.')
        {
            return TableName::new(schema, name);
        }
        match text.split_once('.') {
            Some((schema, name)) => TableName::new(schema, name),
            None => TableName::new("public", text),
        }
    }

    /// Reads a command-line argument: text that starts with `"` is one or two SQL identifiers,
    /// anything else is the raw form.
    ///
    /// # Errors
    /// The quotes do not close, or something stands around the identifiers.
    pub fn parse_argument(text: &str) -> Result<TableName, NameError> {
        if !text.starts_with('"') {
            return Ok(TableName::parse(text));
        }
        let error = |problem| NameError {
            text: text.to_owned(),
            problem,
        };
        let (first, rest) = leading_quoted(text).ok_or_else(|| error("the quotes do not close"))?;
        if rest.is_empty() {
            return Ok(TableName::new("public", first));
        }
        let second = rest
            .strip_prefix('.')
            .ok_or_else(|| error("a dot must follow the quoted schema"))?;
        if !second.starts_with('"') {
            return if second.is_empty() {
                Err(error("the name after the dot is missing"))
            } else {
                Ok(TableName::new(first, second))
            };
        }
        match leading_quoted(second) {
            Some((second, "")) => Ok(TableName::new(first, second)),
            Some(_) => Err(error("something follows the quoted name")),
            None => Err(error("the quotes do not close")),
        }
    }

    /// The schema, unquoted.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The name within the schema, unquoted.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Both parts quoted where needed, for SQL text: `public."Order"`.
    pub fn quoted(&self) -> String {
        format!(
            "{}.{}",
            quote::ident(&self.schema),
            quote::ident(&self.name)
        )
    }
}

/// Splits off an SQL-quoted identifier at the start: its name, and what follows the closing quote.
fn leading_quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None if name.is_empty() => return None,
            None => return Some((name, after)),
        }
    }
}

/// The raw form `schema.name`, as stored in queues and registration tables.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema.contains(['.', '"']) {
            write!(f, "\"{}\".{}", self.schema.replace('"', "\"\""), self.name)
        } else {
            write!(f, "{}.{}", self.schema, self.name)
        }
    }
}

/// Why a look-up has no answer.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No relation of any kind has the name.
    #[error("Table not found: {0}")] // text fixed by the reference
    NotFound(TableName),
    /// The server did not answer.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A relation of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// Its `pg_class.oid`.
    pub oid: u32,
    /// What it is.
    pub kind: RelationKind,
}

/// Kind of a relation, `pg_class.relkind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// An ordinary table.
    Table,
    /// A partitioned table; its rows are in its partitions.
    PartitionedTable,
    /// A sequence.
    Sequence,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A foreign table.
    ForeignTable,
    /// An index, a TOAST table, a composite type: the catalog's letter.
    Other(char),
}

impl RelationKind {
    fn from_letter(letter: char) -> RelationKind {
        match letter {
            'r' => RelationKind::Table,
            'p' => RelationKind::PartitionedTable,
            'S' => RelationKind::Sequence,
            'v' => RelationKind::View,
            'm' => RelationKind::MaterializedView,
            'f' => RelationKind::ForeignTable,
            other => RelationKind::Other(other),
        }
    }

    /// Whether it is a table that holds rows, itself or through partitions.
    pub fn is_table(self) -> bool {
        matches!(self, RelationKind::Table | RelationKind::PartitionedTable)
    }
}

/// A live column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, unquoted.
    pub name: String,
    /// Its type as SQL spells it, with modifier: `numeric(10,2)`.
    pub type_name: String,
    /// Its type's `pg_type.oid`.
    pub type_oid: u32,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Whether its value is computed, stored or virtual, so that nobody writes it.
    pub generated: bool,
    /// Whether it is an identity column, and which.
    pub identity: Option<Identity>,
    /// `pg_attribute.attnum`: grows in the order of the columns, with gaps for dropped ones.
    pub number: i16,
}

/// Which values an identity column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// `generated always`: an insert needs `overriding system value`; COPY does not.
    Always,
    /// `generated by default`.
    ByDefault,
}

/// Finds the relation of that name, whatever its kind.
///
/// # Errors
/// The server did not answer.
pub fn find(db: &mut impl GenericClient, table: &TableName) -> Result<Option<Relation>, DbError> {
    let row = db
        .query_typed_opt(
            "select c.oid, c.relkind::pg_catalog.text
               from pg_catalog.pg_class c
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $1 and c.relname = $2",
            &[(&table.schema, Type::TEXT), (&table.name, Type::TEXT)],
        )
        .during("look up a table")?;
    let Some(row) = row else { return Ok(None) };
    let letter: String = row.try_get(1).during("look up a table")?;
    Ok(Some(Relation {
        oid: row.try_get(0).during("look up a table")?,
        kind: RelationKind::from_letter(letter.chars().next().unwrap_or_default()),
    }))
}

/// The relation of that name, whatever its kind.
///
/// # Errors
/// There is none, or the server did not answer.
pub fn relation(db: &mut impl GenericClient, table: &TableName) -> Result<Relation, TableError> {
    find(db, table)?.ok_or_else(|| TableError::NotFound(table.clone()))
}

/// Live columns of a relation, in the order of their numbers.
///
/// # Errors
/// The server did not answer.
pub fn columns(db: &mut impl GenericClient, oid: u32) -> Result<Vec<Column>, DbError> {
    let step = "look up the columns of a table";
    let rows = db
        .query_typed(
            "select a.attname::pg_catalog.text, pg_catalog.format_type(a.atttypid, a.atttypmod),
                    a.atttypid, a.attnotnull, a.attgenerated <> '', a.attidentity::pg_catalog.text,
                    a.attnum
               from pg_catalog.pg_attribute a
              where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
              order by a.attnum",
            &[(&oid, Type::OID)],
        )
        .during(step)?;
    let column = |row: &postgres::Row| {
        let identity: String = row.try_get(5)?;
        Ok(Column {
            name: row.try_get(0)?,
            type_name: row.try_get(1)?,
            type_oid: row.try_get(2)?,
            not_null: row.try_get(3)?,
            generated: row.try_get(4)?,
            identity: match identity.as_str() {
                "a" => Some(Identity::Always),
                "d" => Some(Identity::ByDefault),
                _ => None,
            },
            number: row.try_get(6)?,
        })
    };
    rows.iter()
        .map(column)
        .collect::<Result<_, postgres::Error>>()
        .during(step)
}

/// Names of the primary key's columns in key order; empty if there is no key.
///
/// Reads the table's attributes, not the index's: those keep the old name after a rename, and hold
/// the columns of `INCLUDE` too.
///
/// # Errors
/// The server did not answer.
pub fn primary_key(db: &mut impl GenericClient, oid: u32) -> Result<Vec<String>, DbError> {
    let step = "look up the primary key of a table";
    let rows = db
        .query_typed(
            "select a.attname::pg_catalog.text
               from pg_catalog.pg_index i,
                    pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality k(attnum, position)
               join pg_catalog.pg_attribute a on true
              where i.indrelid = $1 and i.indisprimary and k.position <= i.indnkeyatts
                and a.attrelid = i.indrelid and a.attnum = k.attnum
              order by k.position",
            &[(&oid, Type::OID)],
        )
        .during(step)?;
    rows.iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()
        .during(step)
}

/// Number of rows of a table and its partitions, as the statistics have it; 0 if they do not know.
///
/// # Errors
/// The server did not answer.
pub fn expected_rows(db: &mut impl GenericClient, table: &TableName) -> Result<u64, DbError> {
    let row = db
        .query_typed_one(
            "select coalesce(sum(greatest(c.reltuples, 0)), 0)::int8
               from pg_catalog.pg_class r
               join pg_catalog.pg_namespace n on n.oid = r.relnamespace,
                    lateral (select r.oid as relid where r.relkind <> 'p'
                             union all
                             select p.relid from pg_catalog.pg_partition_tree(r.oid) p
                              where r.relkind = 'p' and p.isleaf) l
               join pg_catalog.pg_class c on c.oid = l.relid
              where n.nspname = $1 and r.relname = $2",
            &[(&table.schema, Type::TEXT), (&table.name, Type::TEXT)],
        )
        .during("estimate the number of rows")?;
    let rows: i64 = row.try_get(0).during("estimate the number of rows")?;
    Ok(rows.unsigned_abs())
}

/// Pages of tables and their partitions, one number for each, as the statistics have them; 0 if they do not know. No
/// table is locked, nor needs the role any right to it.
///
/// # Errors
/// The server did not answer.
pub fn expected_pages(
    db: &mut impl GenericClient,
    tables: &[TableName],
) -> Result<Vec<u64>, DbError> {
    let step = "estimate the sizes of tables";
    let schemas: Vec<&str> = tables.iter().map(TableName::schema).collect();
    let names: Vec<&str> = tables.iter().map(TableName::name).collect();
    let rows = db
        .query_typed(
            "select coalesce(sum(c.relpages::int8), 0)::int8
               from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) with ordinality
                    w(schema_name, table_name, number)
               left join pg_catalog.pg_namespace n on n.nspname = w.schema_name
               left join pg_catalog.pg_class r on r.relnamespace = n.oid and r.relname = w.table_name
               left join lateral (select r.oid as relid where r.relkind <> 'p'
                                  union all
                                  select p.relid from pg_catalog.pg_partition_tree(r.oid) p
                                   where r.relkind = 'p' and p.isleaf) l on true
               left join pg_catalog.pg_class c on c.oid = l.relid
              group by w.number order by w.number",
            &[(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)],
        )
        .during(step)?;
    rows.iter()
        .map(|row| row.try_get(0).map(i64::unsigned_abs))
        .collect::<Result<_, _>>()
        .during(step)
}

/// Whether a schema of that name exists.
///
/// # Errors
/// The server did not answer.
pub fn exists_schema(db: &mut impl GenericClient, schema: &str) -> Result<bool, DbError> {
    exists(
        db,
        "select exists (select from pg_catalog.pg_namespace where nspname = $1)",
        &[schema],
    )
}

/// Whether a table of that name exists, ordinary or partitioned.
///
/// # Errors
/// The server did not answer.
pub fn exists_table(db: &mut impl GenericClient, table: &TableName) -> Result<bool, DbError> {
    Ok(find(db, table)?.is_some_and(|found| found.kind.is_table()))
}

/// Whether a sequence of that name exists.
///
/// # Errors
/// The server did not answer.
pub fn exists_sequence(db: &mut impl GenericClient, sequence: &TableName) -> Result<bool, DbError> {
    Ok(find(db, sequence)?.is_some_and(|found| found.kind == RelationKind::Sequence))
}

/// Whether a view of that name exists; a materialized view does not count.
///
/// # Errors
/// The server did not answer.
pub fn exists_view(db: &mut impl GenericClient, view: &TableName) -> Result<bool, DbError> {
    Ok(find(db, view)?.is_some_and(|found| found.kind == RelationKind::View))
}

/// Whether this session has a temporary table of that name; those of other sessions do not count.
///
/// # Errors
/// The server did not answer.
pub fn exists_temp_table(db: &mut impl GenericClient, name: &str) -> Result<bool, DbError> {
    exists(
        db,
        "select exists (
             select from pg_catalog.pg_class c
              where c.relnamespace = pg_catalog.pg_my_temp_schema() and c.relname = $1 and c.relkind in ('r', 'p'))",
        &[name],
    )
}

/// Whether a type of that name exists.
///
/// # Errors
/// The server did not answer.
pub fn exists_type(db: &mut impl GenericClient, name: &TableName) -> Result<bool, DbError> {
    exists(
        db,
        "select exists (
             select from pg_catalog.pg_type t
               join pg_catalog.pg_namespace n on n.oid = t.typnamespace
              where n.nspname = $1 and t.typname = $2)",
        &[&name.schema, &name.name],
    )
}

/// Whether a procedural language of that name is installed.
///
/// # Errors
/// The server did not answer.
pub fn exists_language(db: &mut impl GenericClient, name: &str) -> Result<bool, DbError> {
    exists(
        db,
        "select exists (select from pg_catalog.pg_language where lanname = $1)",
        &[name],
    )
}

/// Whether a function or procedure of that name takes that many arguments.
///
/// The name is in raw form; without a schema it is looked for in `public`, then in `pg_catalog`.
///
/// # Errors
/// The server did not answer.
pub fn exists_function(
    db: &mut impl GenericClient,
    name: &str,
    arguments: i16,
) -> Result<bool, DbError> {
    let mut candidates = vec![TableName::parse(name)];
    if !name.contains('.') {
        candidates.push(TableName::new("pg_catalog", name));
    }
    for function in candidates {
        let found = db
            .query_typed_one(
                "select exists (
                     select from pg_catalog.pg_proc p
                       join pg_catalog.pg_namespace n on n.oid = p.pronamespace
                      where n.nspname = $1 and p.proname = $2 and p.pronargs = $3)",
                &[
                    (&function.schema, Type::TEXT),
                    (&function.name, Type::TEXT),
                    (&arguments, Type::INT2),
                ],
            )
            .and_then(|row| Ok(row.try_get(0)?))
            .during("look up a function")?;
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn exists(db: &mut impl GenericClient, sql: &str, names: &[&str]) -> Result<bool, DbError> {
    let parameters: Vec<_> = names
        .iter()
        .map(|name| {
            let parameter: &(dyn postgres::types::ToSql + Sync) = name;
            (parameter, Type::TEXT)
        })
        .collect();
    db.query_typed_one(sql, &parameters)
        .and_then(|row| Ok(row.try_get(0)?))
        .during("look in the catalog")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_split_at_its_first_dot() {
        for (text, schema, name, shown) in [
            ("users", "public", "users", "public.users"),
            ("s.Order", "s", "Order", "s.Order"),
            ("a.b.c", "a", "b.c", "a.b.c"),
            (".x", "", "x", ".x"),
            ("\"my.schema\".tbl", "my.schema", "tbl", "\"my.schema\".tbl"),
            (
                "\"say \"\"hi\"\"\".a.b",
                "say \"hi\"",
                "a.b",
                "\"say \"\"hi\"\"\".a.b",
            ),
            ("s.\"raw\"", "s", "\"raw\"", "s.\"raw\""),
            ("\"open.x", "\"open", "x", "\"\"\"open\".x"),
        ] {
            let table = TableName::parse(text);
            assert_eq!((table.schema(), table.name()), (schema, name), "{text}");
            assert_eq!(table.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn arguments_that_start_with_a_quote_are_sql_identifiers() {
        for (text, schema, name) in [
            ("Users", "public", "Users"),
            ("a.b.c", "a", "b.c"),
            ("s.\"raw\"", "s", "\"raw\""),
            ("\"Weird.Table\"", "public", "Weird.Table"),
            ("\"my.schema\".\"Tab\"\"le\"", "my.schema", "Tab\"le"),
            ("\"my.schema\".tbl", "my.schema", "tbl"),
        ] {
            let table = TableName::parse_argument(text).expect(text);
            assert_eq!((table.schema(), table.name()), (schema, name), "{text}");
        }
        for text in [
            "\"",
            "\"a",
            "\"a\"b",
            "\"a\".",
            "\"a\".\"b",
            "\"a\".\"b\"c",
            "\"\".a",
        ] {
            let error = TableName::parse_argument(text).expect_err(text).to_string();
            assert!(error.starts_with("malformed name"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_name_survives_its_canonical_text(schema in "[a-z.\"]{1,6}|.{1,8}", name in "[a-z.\"]{1,6}|.{0,8}") {
            let table = TableName::new(schema, name);
            prop_assert_eq!(TableName::parse(&table.to_string()), table);
        }
    }
}
