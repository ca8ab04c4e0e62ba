//! The program on real databases.

mod crash;
mod dispatching;
mod page;
mod partitions;
mod policy;
mod usage;

use postgres::Client;
use testkit::{MoverSite, TestResult, tick};

/// Puts rows, URL-encoded, into the queue, as inserts of `public.t` with the key `id`, and ticks.
fn put(src: &mut Client, rows: &[&str]) -> TestResult {
    for row in rows {
        put_event(src, "I:id", Some(row))?;
    }
    tick(src, "from")
}

/// Puts an event into the queue.
fn put_event(src: &mut Client, kind: &str, data: Option<&str>) -> TestResult {
    src.execute(
        "select pgq.insert_event('from', $1, $2, 'public.t', null, null, null)",
        &[&kind, &data],
    )?;
    Ok(())
}

/// Rows of a query, as text.
fn rows(db: &mut Client, table: &str) -> TestResult<Vec<String>> {
    let sql = format!("select r::text from {table} r order by 1");
    Ok(db.query(&sql, &[])?.iter().map(|row| row.get(0)).collect())
}

/// Names of tables that begin so.
fn tables(db: &mut Client, start: &str) -> TestResult<Vec<String>> {
    let sql = "select c.oid::regclass::text from pg_class c \
               where c.relkind in ('r', 'p') and starts_with(c.relname::text, $1) order by 1";
    Ok(db
        .query(sql, &[&start])?
        .iter()
        .map(|row| row.get(0))
        .collect())
}

/// A site, with the job registered.
fn site(lines: &'static str, target: &str) -> TestResult<(MoverSite, Client, Client)> {
    let site = MoverSite::start("table_dispatcher", lines)?;
    let (src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(target)?;
    site.drain("mover")?;
    Ok((site, src, dst))
}
