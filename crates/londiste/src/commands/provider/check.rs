use postgres::types::Type;
use serde::Serialize;
use skytools::db::During;

use super::super::Outcome;
use super::super::setup::{Setup, print, print_json};
use crate::Error;

/// A registered table whose changes are not captured as they should be.
#[derive(Debug, Serialize)]
struct Finding {
    table: String,
    /// `missing`, `disabled`, `stale`, `no key`.
    problem: String,
    detail: String,
}

/// Prints what is wrong with registered tables; something is a difference.
pub(super) fn run(setup: &mut Setup<'_>) -> Result<Outcome, Error> {
    let (queue, options) = (setup.queue, setup.options);
    let db = setup.provider()?;
    if pgq::admin::queue_info(&mut **db, Some(queue))?.is_empty() {
        return Err(Error::NoQueue(queue.clone()));
    }
    let rows = db
        .query_typed(
            "select table_name, problem, detail from londiste.provider_check($1)",
            &[(queue, Type::TEXT)],
        )
        .during("look at the captures of the tables")?;
    let findings: Vec<Finding> = rows
        .iter()
        .map(|row| Finding {
            table: row.get(0),
            problem: row.get(1),
            detail: row.get(2),
        })
        .collect();
    if options.json {
        print_json(&findings)?;
    } else {
        let lines = findings.iter().map(|finding| {
            let Finding {
                table,
                problem,
                detail,
            } = finding;
            format!("{table}: {problem}: {detail}\n")
        });
        print(&lines.collect::<String>())?;
    }
    Ok(match findings.is_empty() {
        true => Outcome::Done,
        false => Outcome::Differs,
    })
}
