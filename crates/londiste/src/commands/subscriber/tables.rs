use serde_json::json;

use super::super::setup::{Setup, print, print_json};
use super::super::{Outcome, status};
use crate::Error;

pub(super) fn run(setup: &mut Setup<'_>) -> Result<Outcome, Error> {
    let (queue, options) = (setup.queue, setup.options);
    let tables = status::tables(setup.subscriber()?, queue)?;
    if options.json {
        let rows: Vec<_> = tables
            .iter()
            .map(|table| {
                let mut row = json!({ "table": table.table, "state": table.state });
                if let Some(copy) = &table.copy {
                    row["copy"] = json!(copy);
                }
                row
            })
            .collect();
        print_json(&rows)?;
        return Ok(Outcome::Done);
    }
    let mut text = line("Table", "State", None);
    for table in &tables {
        let progress = table.copy.as_ref().map(status::progress);
        let state = table.state.as_deref().unwrap_or("-");
        text += &line(&table.table, state, progress.as_deref());
    }
    print(&text)?;
    Ok(Outcome::Done)
}

/// A line of the list; a table that is being copied has its progress behind it.
fn line(table: &str, state: &str, progress: Option<&str>) -> String {
    let text = format!("{table:<30}   {state:>20}");
    match progress {
        Some(progress) => format!("{text}   {progress}\n"),
        None => format!("{text}\n"),
    }
}
