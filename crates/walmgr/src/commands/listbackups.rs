use std::fmt::Write as _;

use serde_json::json;

use super::{Node, Work};
use crate::Error;
use crate::sets::{Set, Sets};
use crate::slave::Slave;

/// Widths of the columns.
const WIDTHS: [usize; 4] = [15, 24, 11, 24];

pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let text = match &work.node {
        Node::Master(config) => {
            let mut args = vec!["listbackups"];
            if work.options.json {
                args.push("--json");
            }
            Slave::new(config)?.run(&args, None)?
        }
        Node::Slave(config) => {
            let sets = Sets::new(config).find()?.sets;
            match work.options.json {
                true => skytools::app::json(&sets.iter().map(object).collect::<Vec<_>>())?,
                false => table(&sets),
            }
        }
    };
    Ok(skytools::app::output(text)?)
}

fn object(set: &Set) -> serde_json::Value {
    let info = set.info.as_ref();
    json!({
        "set": set.name,
        "id": info.map(|info| &info.id),
        "start_time": set.label.start_time,
        "label": set.label.label,
        "first_wal": set.start().to_string(),
        "last_wal": set.stop().map(|segment| segment.to_string()),
        "start_lsn": set.label.start_lsn,
        "stop_lsn": info.and_then(|info| info.stop_lsn.as_ref()),
        "stop_time": info.and_then(|info| info.stop_time.as_ref()),
        "timeline": set.start().timeline,
        "bytes": info.map(|info| info.bytes),
        "method": info.map(|info| &info.method),
        "state": info.map_or("legacy".to_owned(), |info| info.state.to_string()),
        "verified_at": info.and_then(|info| info.verified_at.as_ref()),
    })
}

/// As SkyTools shows it.
fn table(sets: &[Set]) -> String {
    if sets.is_empty() {
        return "\nNo backups found.\n\n".to_owned();
    }
    let mut text = String::from("\nList of backups:\n\n");
    let mut row = |cells: [&str; 4]| {
        let cells = cells.iter().zip(WIDTHS).map(|(cell, width)| {
            let cut: String = cell.chars().take(width).collect();
            format!("{cut:<width$}")
        });
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join(" "));
    };
    row(["Backup set", "Timestamp", "Label", "First WAL"]);
    let lines = WIDTHS.map(|width| "-".repeat(width));
    row([&lines[0], &lines[1], &lines[2], &lines[3]]);
    for set in sets {
        let first = set.start().to_string();
        row([&set.name, &set.label.start_time, &set.label.label, &first]);
    }
    text.push('\n');
    text
}
