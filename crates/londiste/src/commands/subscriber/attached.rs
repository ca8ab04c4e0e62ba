//! `subscriber fkeys` and `subscriber triggers`: what belongs to tables, in place or put aside.

use std::collections::BTreeSet;

use postgres::types::Type;
use serde_json::{Map, Value, json};
use skytools::db::During;
use skytools::table::{TableName, exists_table};
use tracing::info;

use super::super::Outcome;
use super::super::setup::{Setup, print, print_json};
use crate::{Error, registry};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which; default: both
    #[arg(value_name = "KIND")]
    kinds: Vec<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Dropped, waiting to come back
    Pending,
    /// In place
    Active,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Pending => "pending",
            Kind::Active => "active",
        }
    }
}

/// What is listed.
#[derive(Debug)]
pub(super) struct Subject {
    name: &'static str,
    columns: &'static [&'static str],
    /// Of one table, `$1`.
    pending: &'static str,
    active: &'static str,
}

pub(super) static FKEYS: Subject = Subject {
    name: "fkeys",
    columns: &["from_table", "to_table", "fkey_name", "fkey_def"],
    pending: "select from_table, to_table, fkey_name, fkey_def
                from londiste.subscriber_get_table_pending_fkeys($1)",
    active: "select from_table, to_table, fkey_name, fkey_def from londiste.find_table_fkeys($1)",
};

pub(super) static TRIGGERS: Subject = Subject {
    name: "triggers",
    columns: &["table_name", "trigger_name", "trigger_def"],
    pending: "select table_name, trigger_name, trigger_def
                from londiste.subscriber_get_table_pending_triggers($1)",
    active: "select table_name, trigger_name, trigger_def from londiste.find_table_triggers($1)",
};

pub(super) fn run(setup: &mut Setup<'_>, args: &Args, what: &Subject) -> Result<Outcome, Error> {
    let (queue, options) = (setup.queue, setup.options);
    let published = registry::provider_tables(setup.provider()?, queue)?;
    let db = setup.subscriber()?;
    let mut tables = registry::subscriber_tables(db, queue)?;
    tables.retain(|table| published.contains(&table.name));
    if tables.is_empty() {
        info!("No tables, no {}", what.name);
    }
    let kinds = match args.kinds.is_empty() {
        true => vec![Kind::Pending, Kind::Active],
        false => args.kinds.clone(),
    };
    let mut document = Map::new();
    for kind in kinds {
        let mut rows: BTreeSet<Vec<String>> = BTreeSet::new();
        for table in &tables {
            let query = match kind {
                Kind::Pending => what.pending,
                // Looking at a table that does not exist is an error.
                Kind::Active if !exists_table(&mut **db, &TableName::parse(&table.name))? => {
                    continue;
                }
                Kind::Active => what.active,
            };
            let found = db
                .query_typed(query, &[(&table.name, Type::TEXT)])
                .during(format!("list the {} of {}", what.name, table.name))?;
            rows.extend(
                found
                    .iter()
                    .map(|row| (0..row.len()).map(|i| row.get(i)).collect()),
            );
        }
        if options.json {
            let rows = rows.iter().map(|row| object(what.columns, row)).collect();
            document.insert(kind.name().to_owned(), Value::Array(rows));
        } else if !rows.is_empty() {
            let title = format!("{} {}", kind.name(), what.name);
            print(&table(&title, what.columns, &rows))?;
        }
    }
    if options.json {
        print_json(&document)?;
    }
    Ok(Outcome::Done)
}

fn object(columns: &[&str], row: &[String]) -> Value {
    let fields = columns.iter().zip(row);
    Value::Object(
        fields
            .map(|(&column, value)| (column.to_owned(), json!(value)))
            .collect(),
    )
}

/// A title, columns of equal width with a line of dashes below their names, and two empty lines.
fn table(title: &str, columns: &[&str], rows: &BTreeSet<Vec<String>>) -> String {
    const NARROWEST: usize = 15;
    let dashes = "-".repeat(NARROWEST);
    let names: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
    let line: Vec<String> = columns.iter().map(|_| dashes.clone()).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|i| {
            let longest = rows.iter().map(|row| row[i].chars().count()).max();
            longest.unwrap_or(0).max(NARROWEST) + 2
        })
        .collect();
    let mut text = format!("{title}\n");
    for row in [&names, &line].into_iter().chain(rows) {
        let last = row.len() - 1;
        for (value, &width) in row[..last].iter().zip(&widths) {
            text += &format!("{value:<width$}");
        }
        text += &row[last];
        text.push('\n');
    }
    text + "\n\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_value() {
        let rows = BTreeSet::from([
            vec!["b".to_owned(), "x".to_owned()],
            vec!["a_name_longer_than_that".to_owned(), "y".to_owned()],
        ]);
        assert_eq!(
            table("pending things", &["one", "two"], &rows),
            "pending things\n\
             one                      two\n\
             ---------------          ---------------\n\
             a_name_longer_than_that  y\n\
             b                        x\n\
             \n\n"
        );
    }
}
