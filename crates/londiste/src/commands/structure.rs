//! Comparing the two tables of a subscription: can the subscriber take what the provider sends?

use postgres::types::Type;
use skytools::db::{DbError, During, Session};
use skytools::table::TableName;
use tracing::{error, warn};

use crate::registry::RowKey;

/// What of a table matters for replication.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Structure {
    pub(super) partitioned: bool,
    /// Row security is on.
    pub(super) row_security: bool,
    /// Rules other than those of views.
    pub(super) rules: Vec<String>,
    /// Triggers that fire in sessions of replication role `replica`.
    pub(super) replica_triggers: Vec<String>,
    /// Unique indexes beside the primary key, each by its columns' names.
    pub(super) unique: Vec<String>,
    /// Indexes that can tell rows apart, the primary key among them.
    pub(super) keys: Vec<KeyIndex>,
    /// The primary key is checked at commit.
    pub(super) deferrable_key: bool,
    /// Live columns, in their order.
    pub(super) columns: Vec<Column>,
}

/// A unique index of plain columns, over all rows and checked at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct KeyIndex {
    pub(super) name: String,
    /// Sorted.
    pub(super) columns: Vec<String>,
}

/// A live column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) key: bool,
    pub(super) generated: bool,
    pub(super) not_null: bool,
    /// A row can leave it out: a default, or an identity.
    pub(super) has_default: bool,
    /// With length or precision: `numeric(10,2)`.
    pub(super) type_name: String,
    /// Null unless it differs from the type's own.
    pub(super) collation: Option<String>,
}

impl Structure {
    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Takes other columns for the key.
    fn set_key(&mut self, columns: &[String]) {
        for column in &mut self.columns {
            column.key = columns.contains(&column.name);
        }
    }

    /// As `londiste.find_column_types` gives them.
    fn letters(&self) -> String {
        let letter = |column: &Column| match column {
            Column { key: true, .. } => 'k',
            Column {
                generated: true, ..
            } => 'i',
            _ => 'v',
        };
        self.columns.iter().map(letter).collect()
    }
}

/// Something about a pair of tables that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// Replication would fail or go wrong.
    Error(String),
    /// Replication works, perhaps not as expected.
    Warning(String),
}

impl Finding {
    pub(super) fn log(&self) {
        match self {
            Finding::Error(text) => error!("{text}"),
            Finding::Warning(text) => warn!("{text}"),
        }
    }

    pub(super) fn is_warning(&self) -> bool {
        matches!(self, Finding::Warning(_))
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Finding::Error(text) | Finding::Warning(text) => text,
        }
    }
}

/// Reads the structure of a table, plain or partitioned; `None` if there is none of that name.
///
/// # Errors
/// The server did not answer.
pub(super) fn read(db: &mut Session<'_>, name: &str) -> Result<Option<Structure>, DbError> {
    let table = TableName::parse(name);
    let step = "look at the structure of a table";
    // Unique constraints of partitions and the like are the same index again; only the table's own
    // indexes are read. A trigger enabled O or D does not fire for a replica.
    let found = db
        .query_typed_opt(
            "select c.oid, c.relkind = 'p', c.relrowsecurity,
                    array(select r.rulename::text from pg_catalog.pg_rewrite r
                           where r.ev_class = c.oid order by 1),
                    array(select g.tgname::text from pg_catalog.pg_trigger g
                           where g.tgrelid = c.oid and not g.tgisinternal
                             and g.tgenabled in ('R', 'A') order by 1),
                    array(select (select pg_catalog.string_agg(
                                             pg_catalog.pg_get_indexdef(i.indexrelid, k::int4, false), ','
                                             order by k)
                                    from pg_catalog.generate_series(1, i.indnkeyatts) k)
                            from pg_catalog.pg_index i
                           where i.indrelid = c.oid and i.indisunique and not i.indisprimary
                           order by 1),
                    exists (select from pg_catalog.pg_index i
                             where i.indrelid = c.oid and i.indisprimary and not i.indimmediate)
               from pg_catalog.pg_class c
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')",
            &[(&table.schema(), Type::TEXT), (&table.name(), Type::TEXT)],
        )
        .during(step)?;
    let Some(row) = found else {
        return Ok(None);
    };
    let oid: u32 = row.get(0);
    let keys = db
        .query_typed(
            "select x.relname,
                    array(select a.attname::text from pg_catalog.pg_attribute a
                           where a.attrelid = i.indrelid
                             and a.attnum = any ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1])
                           order by 1)
               from pg_catalog.pg_index i
               join pg_catalog.pg_class x on x.oid = i.indexrelid
              where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indimmediate
                and i.indpred is null and i.indexprs is null
              order by x.relname",
            &[(&oid, Type::OID)],
        )
        .during(step)?;
    let columns = db
        .query_typed(
            "select a.attname,
                    exists (select from pg_catalog.pg_index i
                             where i.indrelid = a.attrelid and i.indisprimary
                               and a.attnum = any ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1])),
                    a.attgenerated <> '', a.attnotnull, a.atthasdef or a.attidentity <> '',
                    pg_catalog.format_type(a.atttypid, a.atttypmod),
                    (select l.collname from pg_catalog.pg_collation l
                      where l.oid = a.attcollation and a.attcollation <> t.typcollation)
               from pg_catalog.pg_attribute a
               join pg_catalog.pg_type t on t.oid = a.atttypid
              where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
              order by a.attnum",
            &[(&oid, Type::OID)],
        )
        .during(step)?;
    Ok(Some(Structure {
        partitioned: row.get(1),
        row_security: row.get(2),
        rules: row.get(3),
        replica_triggers: row.get(4),
        unique: row.get(5),
        deferrable_key: row.get(6),
        keys: keys
            .iter()
            .map(|key| KeyIndex {
                name: key.get(0),
                columns: key.get(1),
            })
            .collect(),
        columns: columns
            .iter()
            .map(|column| Column {
                name: column.get(0),
                key: column.get(1),
                generated: column.get(2),
                not_null: column.get(3),
                has_default: column.get(4),
                type_name: column.get(5),
                collation: column.get(6),
            })
            .collect(),
    }))
}

/// Compares both sides of a table whose rows `key` tells apart; an empty list is a good pair.
///
/// Column order does not matter, and the subscriber may have columns of its own.
pub(super) fn compare(
    table: &str,
    key: &RowKey,
    provider: Option<&Structure>,
    subscriber: Option<&Structure>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let (Some(provider), Some(subscriber)) = (provider, subscriber) else {
        for (side, structure) in [("provider", provider), ("subscriber", subscriber)] {
            if structure.is_none() {
                found.push(Finding::Error(format!(
                    "Table {table} missing from {side} side"
                )));
            }
        }
        return found;
    };
    let (mut provider, mut subscriber) = (provider.clone(), subscriber.clone());
    if let Err(finding) = choose_key(table, key, &mut provider, &mut subscriber) {
        return vec![finding];
    }
    let (provider, subscriber) = (&provider, &subscriber);
    let letters = (provider.letters(), subscriber.letters());
    for (side, letters) in [("provider", &letters.0), ("subscriber", &letters.1)] {
        if !letters.contains('k') && *key != RowKey::None {
            found.push(Finding::Error(format!(
                "{side} table {table} has no primary key ({letters})"
            )));
        }
    }
    if !found.is_empty() {
        return found;
    }
    if letters.0 != letters.1 {
        found.push(Finding::Warning(format!(
            "table {table} structure is not same ({}/{}), trying to continue",
            letters.0, letters.1
        )));
    }
    for column in &provider.columns {
        published_column(table, column, subscriber.column(&column.name), &mut found);
    }
    for column in &subscriber.columns {
        if provider.column(&column.name).is_none() {
            own_column(table, column, &mut found);
        }
    }
    whole_table(table, provider, subscriber, &mut found);
    found
}

/// Marks the columns that the table was published with as its key.
fn choose_key(
    table: &str,
    key: &RowKey,
    provider: &mut Structure,
    subscriber: &mut Structure,
) -> Result<(), Finding> {
    match key {
        RowKey::Primary => {}
        RowKey::None => {
            provider.set_key(&[]);
            subscriber.set_key(&[]);
        }
        RowKey::Index(name) => {
            let Some(index) = provider.keys.iter().find(|index| index.name == *name) else {
                return Err(Finding::Error(format!(
                    "provider table {table} has no unique index {name}, which was to be its key"
                )));
            };
            let columns = index.columns.clone();
            if !subscriber.keys.iter().any(|index| index.columns == columns) {
                return Err(Finding::Error(format!(
                    "subscriber table {table} has no unique index on the key of provider ({})",
                    columns.join(", ")
                )));
            }
            provider.set_key(&columns);
            subscriber.set_key(&columns);
        }
    }
    Ok(())
}

/// A column of the provider, and what the subscriber has under its name.
fn published_column(table: &str, here: &Column, there: Option<&Column>, found: &mut Vec<Finding>) {
    let name = &here.name;
    let Some(there) = there else {
        found.push(if here.generated && !here.key {
            Finding::Warning(format!(
                "{table}: generated column {name} on provider not on subscriber"
            ))
        } else {
            Finding::Error(format!(
                "{table}: column {name} on provider not on subscriber"
            ))
        });
        return;
    };
    if here.key != there.key {
        found.push(Finding::Error(format!(
            "{table}: pk different on column {name}"
        )));
    }
    match (here.generated, there.generated) {
        (false, true) => found.push(Finding::Error(format!(
            "{table}: column {name} is generated on subscriber, but not on provider"
        ))),
        (true, false) if there.not_null && !there.has_default => {
            found.push(Finding::Error(format!(
                "{table}: column {name} is generated on provider, so it is not replicated, and \
                 the subscriber needs a value"
            )));
        }
        (true, false) => found.push(Finding::Warning(format!(
            "{table}: column {name} is generated on provider, so it is not replicated, but not \
             on subscriber"
        ))),
        _ => {}
    }
    if here.type_name != there.type_name {
        found.push(Finding::Warning(format!(
            "{table}: type of column {name} differs ({}/{})",
            here.type_name, there.type_name
        )));
    }
    if here.collation != there.collation {
        let shown = |column: &Column| column.collation.clone().unwrap_or("default".to_owned());
        found.push(Finding::Warning(format!(
            "{table}: collation of column {name} differs ({}/{})",
            shown(here),
            shown(there)
        )));
    }
}

/// A column that only the subscriber has.
fn own_column(table: &str, column: &Column, found: &mut Vec<Finding>) {
    let name = &column.name;
    if column.key {
        found.push(Finding::Error(format!(
            "{table}: key column {name} on subscriber not on provider"
        )));
    } else if column.not_null && !column.has_default && !column.generated {
        found.push(Finding::Error(format!(
            "{table}: column {name} on subscriber not on provider, and it needs a value"
        )));
    }
}

fn whole_table(
    table: &str,
    provider: &Structure,
    subscriber: &Structure,
    found: &mut Vec<Finding>,
) {
    let mut warn = |text: String| found.push(Finding::Warning(format!("{table}: {text}")));
    if provider.partitioned != subscriber.partitioned {
        let side = if provider.partitioned {
            "provider"
        } else {
            "subscriber"
        };
        warn(format!("partitioned on {side} only"));
    }
    for (side, structure) in [("provider", provider), ("subscriber", subscriber)] {
        if structure.deferrable_key {
            warn(format!("primary key on {side} is deferrable"));
        }
    }
    if subscriber.row_security {
        warn("subscriber has row security".to_owned());
    }
    for rule in &subscriber.rules {
        warn(format!("subscriber has rule {rule}"));
    }
    for trigger in &subscriber.replica_triggers {
        warn(format!(
            "subscriber trigger {trigger} is enabled for replicated changes"
        ));
    }
    for columns in &subscriber.unique {
        if !provider.unique.contains(columns) {
            warn(format!(
                "subscriber has a unique constraint that provider has not ({columns})"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Column {
        Column {
            name: name.to_owned(),
            type_name: "integer".to_owned(),
            ..Column::default()
        }
    }

    /// `id` as key, `a` beside it.
    fn table() -> Structure {
        let mut id = column("id");
        id.key = true;
        id.not_null = true;
        Structure {
            columns: vec![id, column("a")],
            ..Structure::default()
        }
    }

    fn findings(provider: &Structure, subscriber: &Structure) -> Vec<Finding> {
        compare("s.t", &RowKey::Primary, Some(provider), Some(subscriber))
    }

    fn error(text: &str) -> Finding {
        Finding::Error(text.to_owned())
    }

    fn warning(text: &str) -> Finding {
        Finding::Warning(text.to_owned())
    }

    #[test]
    fn equal_tables_pass_without_a_word() {
        assert_eq!(findings(&table(), &table()), []);
    }

    #[test]
    fn a_missing_table_is_named_with_its_side() {
        assert_eq!(
            compare("s.t", &RowKey::Primary, Some(&table()), None),
            [error("Table s.t missing from subscriber side")]
        );
        assert_eq!(
            compare("s.t", &RowKey::Primary, None, None),
            [
                error("Table s.t missing from provider side"),
                error("Table s.t missing from subscriber side")
            ]
        );
    }

    #[test]
    fn a_table_without_key_is_refused() {
        let mut keyless = table();
        keyless.columns[0].key = false;
        assert_eq!(
            findings(&table(), &keyless),
            [error("subscriber table s.t has no primary key (vv)")]
        );
    }

    #[test]
    fn a_key_other_than_the_primary_one_must_be_unique_on_both_sides() {
        let by = |provider: &Structure, subscriber: &Structure, key: &RowKey| {
            compare("s.t", key, Some(provider), Some(subscriber))
        };
        let index = RowKey::Index("i".to_owned());
        assert_eq!(
            by(&table(), &table(), &index),
            [error(
                "provider table s.t has no unique index i, which was to be its key"
            )]
        );
        let mut indexed = table();
        indexed.keys.push(KeyIndex {
            name: "i".to_owned(),
            columns: vec!["a".to_owned()],
        });
        assert_eq!(
            by(&indexed, &table(), &index),
            [error(
                "subscriber table s.t has no unique index on the key of provider (a)"
            )]
        );
        let mut other = indexed.clone();
        other.keys[0].name = "j".to_owned();
        other.columns[0].key = false;
        assert_eq!(by(&indexed, &other, &index), []);
    }

    #[test]
    fn a_table_that_only_grows_needs_no_key() {
        let mut keyless = table();
        keyless.columns[0].key = false;
        assert_eq!(
            compare("s.t", &RowKey::None, Some(&keyless), Some(&table())),
            []
        );
    }

    #[test]
    fn a_different_key_is_refused() {
        let mut other = table();
        other.columns[1].key = true;
        assert_eq!(
            findings(&table(), &other),
            [
                warning("table s.t structure is not same (kv/kk), trying to continue"),
                error("s.t: pk different on column a")
            ]
        );
    }

    #[test]
    fn the_subscriber_may_have_more_columns_if_rows_can_leave_them_out() {
        let mut more = table();
        more.columns.insert(0, column("b"));
        let differ = warning("table s.t structure is not same (kv/vkv), trying to continue");
        assert_eq!(findings(&table(), &more), std::slice::from_ref(&differ));
        more.columns[0].not_null = true;
        assert_eq!(
            findings(&table(), &more),
            [
                differ.clone(),
                error("s.t: column b on subscriber not on provider, and it needs a value")
            ]
        );
        more.columns[0].has_default = true;
        assert_eq!(findings(&table(), &more), [differ]);
    }

    #[test]
    fn every_column_of_the_provider_must_exist_on_the_subscriber() {
        let mut fewer = table();
        fewer.columns.pop();
        assert_eq!(
            findings(&table(), &fewer),
            [
                warning("table s.t structure is not same (kv/k), trying to continue"),
                error("s.t: column a on provider not on subscriber")
            ]
        );
    }

    #[test]
    fn a_generated_column_takes_no_values() {
        let mut generated = table();
        generated.columns[1].generated = true;
        assert!(findings(&table(), &generated).contains(&error(
            "s.t: column a is generated on subscriber, but not on provider"
        )));
        assert!(
            findings(&generated, &table())
                .iter()
                .all(|finding| matches!(finding, Finding::Warning(_)))
        );
        assert_eq!(findings(&generated, &generated), []);
    }

    #[test]
    fn differences_that_may_not_matter_are_warnings() {
        let mut other = table();
        other.columns[1].type_name = "bigint".to_owned();
        other.deferrable_key = true;
        other.row_security = true;
        other.rules.push("r".to_owned());
        other.replica_triggers.push("g".to_owned());
        other.unique.push("a".to_owned());
        other.partitioned = true;
        let found = findings(&table(), &other);
        assert_eq!(found.len(), 7, "{found:?}");
        assert!(found.iter().all(|f| matches!(f, Finding::Warning(_))));
    }
}
