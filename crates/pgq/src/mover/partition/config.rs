use std::time::Duration;

use serde::Deserialize;
use skytools::config;

use super::LongNames;

/// Keys of the movers that write into partitions, beside their own.
#[derive(Debug, Clone, Deserialize)]
pub struct PartitionConfig {
    /// How partitions belong to their parent.
    #[serde(default)]
    pub part_style: PartStyle,
    /// Statements that make a missing table, with macros in them.
    #[serde(default)]
    pub part_template: String,
    /// What becomes of names that the server would cut.
    #[serde(default)]
    pub long_names: LongNames,
    /// Time zone of the names of partitions; empty for that of the session.
    #[serde(default)]
    pub partition_timezone: String,
    /// Partitions are made for so many periods ahead.
    #[serde(default)]
    pub precreate: u16,
    /// Age at which partitions are given up, as PostgreSQL's `interval`; empty for never.
    #[serde(default)]
    pub retention_period: String,
    /// Time between two looks for old partitions, in seconds.
    #[serde(default = "hour", with = "config::seconds")]
    pub retention_check: Duration,
    /// What is done with old partitions.
    #[serde(default)]
    pub retention_action: RetentionAction,
    /// Whether a table is taken for a partition by its name alone.
    #[serde(default)]
    pub retention_by_name: bool,
    /// Whether rows for partitions past their time are left out.
    #[serde(default)]
    pub ignore_old_events: bool,
}

/// How partitions belong to their parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartStyle {
    /// As `part_template` has it.
    #[default]
    Template,
    /// They inherit from it, and look like it.
    Inherit,
    /// They are partitions of a table that is partitioned by range.
    Declarative,
}

/// What is done with old partitions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum RetentionAction {
    /// They are dropped.
    #[default]
    Drop,
    /// They become tables of their own.
    Detach,
    /// A function is called with their parent and name, each as text.
    Call(String),
}

impl TryFrom<String> for RetentionAction {
    type Error = &'static str;

    fn try_from(text: String) -> Result<RetentionAction, &'static str> {
        match text.split_once(':') {
            None if text == "drop" => Ok(RetentionAction::Drop),
            None if text == "detach" => Ok(RetentionAction::Detach),
            Some(("call", function)) if !function.trim().is_empty() => {
                Ok(RetentionAction::Call(function.trim().to_owned()))
            }
            _ => Err("retention_action is none of drop, detach, call:FUNCTION"),
        }
    }
}

fn hour() -> Duration {
    Duration::from_secs(3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_a_word_or_names_a_function() {
        let read = |text: &str| RetentionAction::try_from(text.to_owned());
        assert_eq!(read("detach"), Ok(RetentionAction::Detach));
        let call = RetentionAction::Call("arc.keep".to_owned());
        assert_eq!(read("call: arc.keep"), Ok(call));
        for wrong in ["", "call", "call:", "drop:x", "Drop"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
