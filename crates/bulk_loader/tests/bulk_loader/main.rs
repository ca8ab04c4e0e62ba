//! The program on real databases.

mod columns;
mod crash;
mod keys;
mod merging;
mod page;
mod policy;
mod random;
mod targets;

use postgres::Client;
use testkit::{MoverSite, TestResult, tick};

/// A site for jobs that load what the queue `from` says.
fn site() -> TestResult<MoverSite> {
    MoverSite::start("bulk_loader", "")
}

/// Every way in which rows get into tables.
const METHODS: [&str; 4] = [
    "load_method = 0",
    "load_method = 1",
    "load_method = 2",
    "merge_mode = upsert",
];

/// Puts events of a table in, each a type and data.
fn put(src: &mut Client, table: &str, events: &[(&str, &str)]) -> TestResult {
    for (kind, data) in events {
        src.execute(
            "select pgq.insert_event('from', $1, $2, $3, null, null, null)",
            &[kind, data, &table],
        )?;
    }
    Ok(())
}

/// Puts events of the table `public.t` in, ends the batch and applies it with these lines.
fn load(site: &MoverSite, lines: &str, events: &[(&str, &str)]) -> TestResult {
    let mut src = site.db("src")?;
    put(&mut src, "public.t", events)?;
    tick(&mut src, "from")?;
    site.write("mover", lines)?;
    site.drain("mover")
}

/// Rows of a query, as text.
fn rows(db: &mut Client, query: &str) -> TestResult<Vec<String>> {
    let sql = format!("select t::text from ({query}) t order by 1");
    Ok(db.query(&sql, &[])?.iter().map(|row| row.get(0)).collect())
}

/// What a table holds, row by row.
fn content(db: &mut Client, table: &str) -> TestResult<Vec<String>> {
    rows(db, &format!("select * from {table}"))
}

/// Captures the changes of a table of the source.
fn capture(src: &mut Client, table: &str, arguments: &str) -> TestResult {
    src.batch_execute(&format!(
        "create trigger log after insert or update or delete on {table} for each row \
         execute function pgq.logutriga('from'{arguments})"
    ))?;
    Ok(())
}

/// Makes a table `t (id, v)` on both sides, and has the source capture its changes as the trigger of 2.1 does:
/// of an update, `ev_extra2` holds the old row, and the key may be another one.
fn table_with_old_rows(src: &mut Client, dst: &mut Client) -> TestResult {
    for db in [&mut *src, dst] {
        db.batch_execute("create table t (id int primary key, v text)")?;
    }
    src.batch_execute(
        "create function log() returns trigger language plpgsql as $$
         declare r record := case tg_op when 'DELETE' then old else new end;
         begin
             perform pgq.insert_event('from', left(tg_op, 1) || ':id', 'id=' || r.id || '&v=' || r.v,
                 'public.t', case tg_op when 'UPDATE' then 'id=' || old.id || '&v=' || old.v end, null, null);
             return null;
         end $$;
         create trigger log after insert or update or delete on t for each row execute function log()",
    )?;
    Ok(())
}
