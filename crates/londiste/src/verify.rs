//! Do tables hold the same rows on both sides? And what would make them.
//!
//! * [`fence`]: both sides in the same state, without making anybody wait; [`lock`]: with
//! * [`session`]: transactions that read that state
//! * [`layout`], [`read`]: the columns and keys of a table; ranges of its rows, and single ones
//! * [`check`]: the ranges of a table, one after another, on both sides at once
//! * [`difference`]: which rows of a range differ
//! * [`statement`], [`fix`], [`apply`]: what repairs them, in a file or right away
//! * [`progress`], [`resume`]: how far it is, for people and for the next run
//!
//! A table is read in ranges of its key. The provider finds the end of each range and sums up the
//! hashes of its rows, the subscriber sums up the same range, a range behind. The first range is
//! open at its start and the last one at its end, so that each row of either side lies in exactly
//! one of them, however the side sorts. Where sums differ, the range is divided, and of the small
//! ranges that differ the keys and hashes are compared. What is left is looked up by key, with all
//! its values, on both sides; this has the last word. Memory does not depend on the table.

pub(crate) mod apply;
pub(crate) mod check;
mod difference;
pub(crate) mod fence;
pub(crate) mod fix;
mod layout;
mod lock;
mod progress;
mod read;
pub(crate) mod resume;
mod session;
mod statement;

use serde::{Deserialize, Serialize};

/// What was found out about a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) table: String,
    /// Null if it could not be compared.
    pub(crate) equal: Option<bool>,
    /// Results of the query.
    pub(crate) provider: Option<String>,
    pub(crate) subscriber: Option<String>,
    /// Rows that the subscriber lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<u64>,
    /// Rows that only the subscriber has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extra: Option<u64>,
    /// Rows with other values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) changed: Option<u64>,
    /// File with the statements that repair it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// Rows that were repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repaired: Option<u64>,
}

impl Report {
    /// Of a table that could not be compared.
    pub(crate) fn nothing(table: &str) -> Report {
        Report {
            table: table.to_owned(),
            equal: None,
            provider: None,
            subscriber: None,
            missing: None,
            extra: None,
            changed: None,
            file: None,
            repaired: None,
        }
    }
}
