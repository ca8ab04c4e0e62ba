//! Results with their goals, as a table or as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::measure::Samples;
use crate::Result;

/// What is asked of a value, or of its ratio to a peer's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Goal::AtLeast(limit) => value >= limit,
            Goal::AtMost(limit) => value <= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Goal::AtLeast(limit) => format!(">= {limit}"),
            Goal::AtMost(limit) => format!("<= {limit}"),
        }
    }
}

/// Results of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    benchmark: &'static str,
    server: String,
    rounds: usize,
    /// What was left out, and why.
    notes: Vec<String>,
    /// Something could not be measured that should have been.
    failed: bool,
    results: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    workload: String,
    variant: String,
    unit: &'static str,
    median: f64,
    low: f64,
    high: f64,
    comparisons: Vec<Comparison>,
}

impl Line {
    fn push(&mut self, peer: &str, ratio: f64, goal: Option<Goal>) {
        self.comparisons.push(Comparison {
            against: Some(peer.to_owned()),
            value: ratio,
            goal: goal.map(Goal::text),
            met: goal.map(|goal| goal.is_met(ratio)),
        });
    }
}

/// A value beside its goal.
#[derive(Debug, Serialize)]
struct Comparison {
    /// The peer that divides ours; none if the goal is for the value itself.
    against: Option<String>,
    value: f64,
    goal: Option<String>,
    met: Option<bool>,
}

impl Report {
    pub(crate) fn new(benchmark: &'static str, server: String, rounds: usize) -> Report {
        Report {
            benchmark,
            server,
            rounds,
            notes: Vec::new(),
            failed: false,
            results: Vec::new(),
        }
    }

    /// Says what could not be measured; counts as a goal that is missed.
    pub(crate) fn fail(&mut self, text: impl Into<String>) {
        self.note(text);
        self.failed = true;
    }

    /// Says what is missing in this run.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds a result; goals follow with [`Report::compare`] and [`Report::limit`].
    pub(crate) fn add(
        &mut self,
        workload: &str,
        variant: &str,
        unit: &'static str,
        samples: &Samples,
    ) {
        self.results.push(Line {
            workload: workload.to_owned(),
            variant: variant.to_owned(),
            unit,
            median: samples.median(),
            low: samples.quantile(0.0),
            high: samples.quantile(1.0),
            comparisons: Vec::new(),
        });
    }

    /// Divides a result by that of a peer, with a goal or for information. Nothing happens if
    /// one of them was not measured.
    pub(crate) fn compare(
        &mut self,
        workload: &str,
        variant: &str,
        peer: &str,
        goal: Option<Goal>,
    ) {
        let Some(other) = self.line(workload, peer).map(|line| line.median) else {
            return;
        };
        if let Some(line) = self.line(workload, variant) {
            let ratio = line.median / other;
            line.push(peer, ratio, goal);
        }
    }

    /// The same with the ratios of what was measured side by side, of which the median counts.
    pub(crate) fn compare_pairs(
        &mut self,
        workload: &str,
        variant: &str,
        peer: &str,
        ratios: &Samples,
        goal: Option<Goal>,
    ) {
        if let Some(line) = self.line(workload, variant) {
            line.push(peer, ratios.median(), goal);
        }
    }

    /// Holds the median of a result against a goal.
    pub(crate) fn limit(&mut self, workload: &str, variant: &str, goal: Goal) {
        if let Some(line) = self.line(workload, variant) {
            let value = line.median;
            line.comparisons.push(Comparison {
                against: None,
                value,
                goal: Some(goal.text()),
                met: Some(goal.is_met(value)),
            });
        }
    }

    fn line(&mut self, workload: &str, variant: &str) -> Option<&mut Line> {
        self.results
            .iter_mut()
            .find(|line| line.workload == workload && line.variant == variant)
    }

    /// Whether a goal was missed, or could not be measured.
    pub(crate) fn missed(&self) -> bool {
        self.failed
            || self
                .results
                .iter()
                .flat_map(|line| &line.comparisons)
                .any(|comparison| comparison.met == Some(false))
    }

    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// A line per result, and one more for each further comparison.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![
            [
                "workload", "variant", "median", "range", "ratio", "to", "goal", "",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        for line in &self.results {
            let mut result = vec![
                line.workload.clone(),
                line.variant.clone(),
                format!("{} {}", number(line.median), line.unit),
                format!("{} - {}", number(line.low), number(line.high)),
            ];
            if line.comparisons.is_empty() {
                rows.push(result.clone());
            }
            for comparison in &line.comparisons {
                let mut row = std::mem::replace(&mut result, vec![String::new(); 4]);
                let ratio = comparison.against.as_ref().map(|_| comparison.value);
                row.extend([
                    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                    comparison.against.clone().unwrap_or_default(),
                    comparison.goal.clone().unwrap_or_default(),
                    match comparison.met {
                        Some(true) => "met".to_owned(),
                        Some(false) => "MISSED".to_owned(),
                        None => String::new(),
                    },
                ]);
                rows.push(row);
            }
        }
        let mut text = format!(
            "{} on {}, {} rounds\n\n",
            self.benchmark, self.server, self.rounds
        );
        let widths: Vec<usize> = (0..8)
            .map(|column| {
                rows.iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for row in &rows {
            let mut out = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(out, "{cell:width$}  ");
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}");
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// Three digits or so, whatever the size.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        let mut samples = Samples::default();
        values.iter().for_each(|value| samples.push(*value));
        samples
    }

    #[test]
    fn a_goal_is_held_against_the_ratio_to_its_peer() {
        let mut report = Report::new("bench", "15".to_owned(), 1);
        report.add("insert", "ours", "1/s", &samples(&[80.0]));
        report.add("insert", "C", "1/s", &samples(&[100.0]));
        report.compare("insert", "ours", "C", Some(Goal::AtLeast(0.8)));
        report.compare("insert", "ours", "not there", Some(Goal::AtLeast(9.0)));
        assert!(!report.missed());
        assert!(report.table().contains("0.80   C   >= 0.8  met"));
        report.limit("insert", "ours", Goal::AtMost(79.0));
        assert!(report.missed());
        assert!(report.table().contains("MISSED"));
        assert!(report.json().unwrap().contains("\"met\": false"));
    }
}
