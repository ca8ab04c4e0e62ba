//! The program on real databases.

mod bad_events;
mod crash;
mod keeping;
mod large;
mod page;
mod tables;
mod usage;
mod values;

use postgres::Client;
use testkit::{MoverSite, TestResult, tick};

/// Keys of all jobs: one table for each source table, whatever the day.
const LINES: &str = "dateformat = \"kept\"\npartition_timezone = UTC";

/// A site for jobs that apply the queue `from`.
fn site() -> TestResult<MoverSite> {
    MoverSite::start("cube_dispatcher", LINES)
}

/// Makes a table in both databases, with a trigger at the source.
fn capture(src: &mut Client, dst: &mut Client, table: &str, columns: &str) -> TestResult {
    let create = format!("create table {table} ({columns})");
    dst.batch_execute(&create)?;
    src.batch_execute(&format!(
        "{create};
         create trigger capture after insert or update or delete on {table}
             for each row execute function pgq.logutriga('from', 'backup')"
    ))?;
    Ok(())
}

/// Puts an event in that no trigger wrote.
fn put(src: &mut Client, kind: &str, data: &str, table: &str) -> TestResult {
    src.execute(
        "select pgq.insert_event('from', $1, $2, $3, null, null, null)",
        &[&kind, &data, &table],
    )?;
    Ok(())
}

/// Ticks and applies.
fn apply(site: &MoverSite, src: &mut Client) -> TestResult {
    tick(src, "from")?;
    site.drain("mover")
}

/// The rows of a table or query as text, sorted.
fn rows(db: &mut Client, of: &str) -> TestResult<Vec<String>> {
    let rows = db.query(&format!("select t::text from {of} t order by 1"), &[])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
