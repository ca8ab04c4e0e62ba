//! Findings, as a text, as JSON, or as one line for a monitoring system.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::exit::{FAILED, WARNED};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Level {
    Ok,
    Warning,
    Failed,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Ok => "OK",
            Level::Warning => "WARNING",
            Level::Failed => "FAILED",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Finding {
    name: String,
    level: Level,
    detail: String,
}

/// All of them, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    findings: Vec<Finding>,
}

/// How a report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
    /// One line, and exit codes 0, 1 and 2, as `exit` tells them.
    Nagios,
}

impl Report {
    pub(crate) fn add(&mut self, name: &str, level: Level, detail: impl Into<String>) {
        self.findings.push(Finding {
            name: name.to_owned(),
            level,
            detail: detail.into(),
        });
    }

    /// Adds what was found out, or that it could not be.
    pub(crate) fn add_result(&mut self, name: &str, found: Result<(Level, String), Error>) {
        match found {
            Ok((level, detail)) => self.add(name, level, detail),
            Err(error) => self.add(name, Level::Failed, skytools::app::chain(&error)),
        }
    }

    /// Adds what the other side has found.
    pub(crate) fn extend(&mut self, prefix: &str, findings: Vec<Finding>) {
        for finding in findings {
            self.add(
                &format!("{prefix}{}", finding.name),
                finding.level,
                finding.detail,
            );
        }
    }

    fn worst(&self) -> Level {
        let levels = self.findings.iter().map(|finding| finding.level);
        levels.max().unwrap_or(Level::Ok)
    }

    fn lines(&self) -> String {
        let lines = self.findings.iter().map(|finding| {
            let Finding {
                name,
                level,
                detail,
            } = finding;
            let word = level.word();
            match detail.is_empty() {
                true => format!("{name}: {word}\n"),
                false => format!("{name}: {word} ({detail})\n"),
            }
        });
        lines.collect()
    }

    fn summary(&self) -> String {
        let bad: Vec<String> = self
            .findings
            .iter()
            .filter(|finding| finding.level > Level::Ok)
            .map(|finding| format!("{}: {}", finding.name, finding.detail))
            .collect();
        match bad.is_empty() {
            true => format!("WALMGR OK: {} checks\n", self.findings.len()),
            false => format!("WALMGR {}: {}\n", self.worst().word(), bad.join("; ")),
        }
    }

    /// Prints it, and says by the exit code how bad it is: 3 if something failed.
    pub(crate) fn show(&self, form: Form) -> Result<ExitCode, Error> {
        let text = match form {
            Form::Text => self.lines(),
            Form::Json => skytools::app::json(&self.findings)?,
            Form::Nagios => self.summary(),
        };
        skytools::app::output(text)?;
        Ok(match (form, self.worst()) {
            (Form::Nagios, Level::Failed) => ExitCode::from(FAILED),
            (Form::Nagios, Level::Warning) => ExitCode::from(WARNED),
            (_, Level::Failed) => ExitCode::from(3),
            _ => ExitCode::SUCCESS,
        })
    }
}
