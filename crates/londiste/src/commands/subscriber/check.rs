use serde::Serialize;

use super::super::Outcome;
use super::super::setup::{Setup, print_json};
use super::super::structure::Finding;
use super::structures;
use crate::{Error, registry};

/// What `--json` says about a finding.
#[derive(Debug, Serialize)]
struct Row<'a> {
    table: &'a str,
    /// `error`: it cannot be replicated; or `warning`.
    severity: &'static str,
    message: &'a str,
}

/// Compares the structures of all that the provider publishes; one that does not fit is a difference.
pub(super) fn run(setup: &mut Setup<'_>) -> Result<Outcome, Error> {
    let (queue, options) = (setup.queue, setup.options);
    let published = registry::provider_tables(setup.provider()?, queue)?;
    let found = structures::compare_all(setup, &published)?;
    if options.json {
        let rows = found.iter().map(|(table, finding)| Row {
            table,
            severity: match finding.is_warning() {
                true => "warning",
                false => "error",
            },
            message: finding.text(),
        });
        print_json(&rows.collect::<Vec<_>>())?;
    }
    Ok(
        match found
            .iter()
            .all(|(_, finding)| Finding::is_warning(finding))
        {
            true => Outcome::Done,
            false => Outcome::Differs,
        },
    )
}
