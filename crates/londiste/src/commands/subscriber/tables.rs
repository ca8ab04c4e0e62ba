use serde_json::json;

use super::super::Outcome;
use super::super::setup::{Setup, print, print_json};
use crate::{Error, registry};

pub(super) fn run(setup: &mut Setup<'_>) -> Result<Outcome, Error> {
    let (queue, options) = (setup.queue, setup.options);
    let tables = registry::subscriber_tables(setup.subscriber()?, queue)?;
    if options.json {
        let rows: Vec<_> = tables
            .iter()
            .map(|table| json!({ "table": table.name, "state": table.state }))
            .collect();
        print_json(&rows)?;
        return Ok(Outcome::Done);
    }
    let mut text = line("Table", "State");
    for table in &tables {
        text += &line(&table.name, table.state.as_deref().unwrap_or("-"));
    }
    print(&text)?;
    Ok(Outcome::Done)
}

fn line(table: &str, state: &str) -> String {
    format!("{table:<30}   {state:>20}\n")
}
