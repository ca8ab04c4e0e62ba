use pgq::mover::drift::Drift;
use pgq::mover::partition::{PartStyle, PartitionConfig};
use pgq::mover::row::RowConfig;
use serde::Deserialize;
use skytools::config::Both;

/// All keys of the section `[cube_dispatcher]` beside those of every mover.
pub type Config = Both<RowConfig, Both<PartitionConfig, CubeConfig>>;

/// Keys of the section `[cube_dispatcher]` that no other program has.
#[derive(Debug, Clone, Deserialize)]
pub struct CubeConfig {
    /// What a table holds of its period: `keep_latest` or `keep_all`.
    #[serde(default)]
    pub(crate) mode: Mode,
    /// Pattern of `to_char` for the end of the name of a table; empty for no end, and no periods.
    #[serde(default = "day")]
    pub(crate) dateformat: String,
    /// With `keep_all`, what becomes of deletes: `fail` or `ignore`.
    #[serde(default)]
    pub(crate) keep_all_delete: KeepAllDelete,
    /// With `keep_latest`, whether an update that says what the key was removes the row of that key.
    #[serde(default = "yes")]
    pub(crate) delete_old_key: bool,
    /// Column that takes the start of the period, for partitions that the server knows as such.
    #[serde(default)]
    pub(crate) part_time_column: Option<String>,
    /// What becomes of columns that a table does not have: `fail`, `ignore` or `add`.
    #[serde(default)]
    pub(crate) drift: Drift,
}

/// What a table holds of its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Each row that changed, as it was last.
    #[default]
    KeepLatest,
    /// Each row as often as it changed.
    KeepAll,
}

/// What becomes of a delete where each version of a row is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeepAllDelete {
    /// It is a bad event.
    #[default]
    Fail,
    /// It is counted, and nothing else.
    Ignore,
}

fn day() -> String {
    "YYYY_MM_DD".to_owned()
}

fn yes() -> bool {
    true
}

impl CubeConfig {
    /// The column that takes the start of the period, where there is one.
    pub(crate) fn time_column(&self, style: PartStyle) -> Option<&str> {
        match style {
            PartStyle::Template => None,
            PartStyle::Inherit | PartStyle::Declarative => self.part_time_column.as_deref(),
        }
    }

    /// How a missing table is made where the configuration does not say it.
    pub(crate) fn template(&self) -> &'static str {
        match self.mode {
            Mode::KeepLatest => {
                "create table _DEST_TABLE (like _PARENT);\n\
                 alter table only _DEST_TABLE add primary key (_PKEY)"
            }
            // A key has many rows there.
            Mode::KeepAll => "create table _DEST_TABLE (like _PARENT)",
        }
    }
}
