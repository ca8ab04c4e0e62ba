//! The ways to capture that are held against each other, and what they may cost.

use super::Mode;
use super::tables::Table;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    Sql,
    Urlenc,
    Json,
}

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Format::Sql => "sql",
            Format::Urlenc => "urlenc",
            Format::Json => "json",
        }
    }

    /// The generic trigger function, which the C extension has too.
    pub(super) fn function(self) -> &'static str {
        match self {
            Format::Sql => "sqltriga",
            Format::Urlenc => "logutriga",
            Format::Json => "jsontriga",
        }
    }
}

pub(super) const FORMATS: [Format; 3] = [Format::Sql, Format::Urlenc, Format::Json];

/// A way to capture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant {
    pub(super) name: &'static str,
    pub(super) how: How,
    /// Most that a row may cost, in parts of the C trigger's cost: in bulk, single, and as the first of
    /// its session.
    goals: [Option<f64>; 3],
}

impl Variant {
    pub(super) fn goal(&self, mode: Mode) -> Option<f64> {
        let [bulk, single, first] = self.goals;
        match mode {
            Mode::Bulk => bulk,
            Mode::Single => single,
            Mode::First => first,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Nothing,
    C,
    /// The generic trigger, without code generated for it.
    Naive,
    /// A capture of ours: its level, and arguments beside the queue.
    Ours(&'static str, &'static str),
}

/// The ways for a table and a format.
pub(super) fn variants(table: &Table, format: Format) -> Vec<Variant> {
    let variant = |name, how, goals| Variant { name, how, goals };
    let row = if format == Format::Urlenc { 1.3 } else { 1.0 };
    let statement = (format != Format::Urlenc).then_some(table.statement_goal);
    let mut list = vec![
        variant("no trigger", How::Nothing, [None; 3]),
        variant("C", How::C, [None; 3]),
        variant("naive", How::Naive, [None; 3]),
        variant("row", How::Ours("row", ""), [Some(row), Some(row), None]),
        variant(
            "statement",
            How::Ours("statement", ""),
            [statement, None, None],
        ),
        variant(
            "generic",
            How::Ours("generic", ""),
            [Some(1.8), Some(1.8), None],
        ),
    ];
    match format {
        Format::Sql => list.push(variant(
            "row for londiste",
            How::Ours(
                "row",
                ", 'key_updates=log', 'changes=text', 'settings=pinned'",
            ),
            [Some(1.15), Some(1.15), None],
        )),
        Format::Urlenc => list.push(variant(
            "row, minimal",
            How::Ours("row", ", 'encoding=minimal'"),
            [Some(1.0), Some(1.0), None],
        )),
        Format::Json => {}
    }
    list
}
