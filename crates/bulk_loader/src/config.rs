use std::collections::{BTreeMap, BTreeSet};

use pgq::mover::drift::Drift;
use serde::Deserialize;
use skytools::table::TableName;

/// Keys of the section `[bulk_loader]`, beside those of every mover.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// How rows are changed: 0, 1 or 2.
    #[serde(default)]
    pub(crate) load_method: LoadMethod,
    /// `compat` changes rows as `load_method` says; `upsert` has every row there in the end.
    #[serde(default)]
    pub(crate) merge_mode: MergeMode,
    /// `old:new, …`: tables that have another name at the target.
    #[serde(default)]
    pub(crate) remap_tables: Remap,
    /// `table:column+column, …`: other keys than those of the events, by the names of the events' tables.
    #[serde(default)]
    pub(crate) pkey_map: PkeyMap,
    /// Whether a null in a key equals another: `distinct` or `equal`.
    #[serde(default)]
    pub(crate) null_keys: NullKeys,
    /// What becomes of events of a table that the target does not have: `ignore` or `fail`.
    #[serde(default)]
    pub(crate) missing_table: MissingTable,
    /// What becomes of columns that the target does not have: `fail`, `ignore` or `add`.
    #[serde(default)]
    pub(crate) drift: Drift,
    /// What becomes of TRUNCATE: `refuse`, `ignore` or `apply`.
    #[serde(default)]
    pub(crate) truncate: Truncate,
    /// Whether a changed row whose columns are all key is inserted if it is missing, by method 0.
    #[serde(default)]
    pub(crate) heal: bool,
    /// Whether the server gathers statistics about lists of rows before it joins them.
    #[serde(default)]
    pub(crate) analyze: bool,
    /// How long temporary tables live: `transaction` or `session`.
    #[serde(default)]
    pub(crate) temp_tables: TempTables,
    /// Whether rows are also found by the columns that distribute them over a cluster: `auto`, `always` or
    /// `never`.
    #[serde(default)]
    pub(crate) dist_join: DistJoin,
    /// Megabytes of merged rows that are kept in memory; a batch with more is applied in parts.
    #[serde(default = "batch_memory_limit")]
    pub(crate) batch_memory_limit: usize,
}

fn batch_memory_limit() -> usize {
    64
}

/// How rows are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "i64")]
pub(crate) enum LoadMethod {
    /// 0: changed rows are updated.
    #[default]
    Correct,
    /// 1: changed rows are deleted and inserted.
    Delete,
    /// 2: new rows as well.
    Merged,
}

impl TryFrom<i64> for LoadMethod {
    type Error = String;

    fn try_from(number: i64) -> Result<LoadMethod, String> {
        match number {
            0 => Ok(LoadMethod::Correct),
            1 => Ok(LoadMethod::Delete),
            2 => Ok(LoadMethod::Merged),
            other => Err(format!("load_method is {other}, which is none of 0, 1, 2")),
        }
    }
}

/// What counts: the method, or that every row is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MergeMode {
    /// As `load_method` says.
    #[default]
    Compat,
    /// Rows that are missing are inserted, rows that are there already are updated.
    Upsert,
}

/// Whether nulls in keys equal each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NullKeys {
    #[default]
    Distinct,
    Equal,
}

/// What becomes of events of a table that the target does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MissingTable {
    #[default]
    Ignore,
    Fail,
}

/// What becomes of TRUNCATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Truncate {
    #[default]
    Refuse,
    Ignore,
    Apply,
}

/// How long temporary tables live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TempTables {
    #[default]
    Transaction,
    Session,
}

/// Whether rows are also found by the columns that distribute them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DistJoin {
    /// If they are part of the key, when it makes no difference to the result.
    #[default]
    Auto,
    Always,
    Never,
}

/// Tables that have another name at the target, by the name in events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct Remap(BTreeMap<String, TableName>);

impl Remap {
    /// The table that the events of a table go to.
    pub(crate) fn target(&self, source: &str) -> TableName {
        let renamed = self.0.get(source);
        renamed.cloned().unwrap_or_else(|| TableName::parse(source))
    }

    /// Whether events of other tables than this one go to the same target.
    pub(crate) fn is_shared(&self, source: &str, target: &TableName) -> bool {
        let mut others = self.0.iter().filter(|(old, _)| *old != source);
        others.any(|(_, new)| new == target)
    }
}

impl TryFrom<Vec<String>> for Remap {
    type Error = String;

    fn try_from(items: Vec<String>) -> Result<Remap, String> {
        let mut tables = BTreeMap::new();
        for item in items.iter().filter(|item| !item.trim().is_empty()) {
            let (old, new) = pair(item)
                .ok_or_else(|| format!("{item:?} is not of the form old_table:new_table"))?;
            if tables
                .insert(old.to_owned(), TableName::parse(new))
                .is_some()
            {
                return Err(format!("{old} is there twice"));
            }
        }
        Ok(Remap(tables))
    }
}

/// Keys of tables, by the name in events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct PkeyMap(BTreeMap<String, Vec<String>>);

impl PkeyMap {
    /// The key that replaces that of the events of a table.
    pub(crate) fn key(&self, source: &str) -> Option<&[String]> {
        self.0.get(source).map(Vec::as_slice)
    }
}

impl TryFrom<Vec<String>> for PkeyMap {
    type Error = String;

    fn try_from(items: Vec<String>) -> Result<PkeyMap, String> {
        let mut keys = BTreeMap::new();
        for item in items.iter().filter(|item| !item.trim().is_empty()) {
            let wrong = || format!("{item:?} is not of the form table:column+column");
            let (table, list) = pair(item).ok_or_else(wrong)?;
            let columns: Vec<String> = list.split('+').map(|name| name.trim().to_owned()).collect();
            if columns.iter().any(String::is_empty) {
                return Err(wrong());
            }
            if columns.iter().collect::<BTreeSet<_>>().len() < columns.len() {
                return Err(format!("{item:?} has a column twice"));
            }
            if keys.insert(table.to_owned(), columns).is_some() {
                return Err(format!("{table} is there twice"));
            }
        }
        Ok(PkeyMap(keys))
    }
}

/// What stands before and after the colon, neither of them empty.
fn pair(item: &str) -> Option<(&str, &str)> {
    let (left, right) = item.split_once(':')?;
    let (left, right) = (left.trim(), right.trim());
    (!left.is_empty() && !right.is_empty()).then_some((left, right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remap(items: &[&str]) -> Result<Remap, String> {
        Remap::try_from(
            items
                .iter()
                .map(|item| (*item).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    fn keys(items: &[&str]) -> Result<PkeyMap, String> {
        PkeyMap::try_from(
            items
                .iter()
                .map(|item| (*item).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn tables_are_renamed_by_the_name_that_events_have() {
        let remap = remap(&["public.a : stage.b", "t1:t2", ""]).unwrap();
        assert_eq!(remap.target("public.a"), TableName::new("stage", "b"));
        assert_eq!(remap.target("t1"), TableName::new("public", "t2"));
        assert_eq!(remap.target("public.t1"), TableName::new("public", "t1"));
        let target = TableName::new("public", "t2");
        assert!(!remap.is_shared("t1", &target));
        assert!(remap.is_shared("public.t2", &target));
    }

    #[test]
    fn an_item_that_is_no_pair_or_comes_twice_is_refused() {
        for item in ["a", "a:", ":b", ":"] {
            let error = remap(&[item]).unwrap_err();
            assert!(error.contains("old_table:new_table"), "{error}");
        }
        assert!(remap(&["a:b", "a:c"]).unwrap_err().contains("twice"));
        for item in ["a", "a:", "a:x+", "a:+x"] {
            assert!(
                keys(&[item]).unwrap_err().contains("column+column"),
                "{item}"
            );
        }
        assert!(keys(&["a:x+y+x"]).unwrap_err().contains("column twice"));
        let keys = keys(&["public.a: x + y"]).unwrap();
        assert_eq!(keys.key("public.a").unwrap(), ["x", "y"]);
        assert_eq!(keys.key("a"), None);
    }
}
