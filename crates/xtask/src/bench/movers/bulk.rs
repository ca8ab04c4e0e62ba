//! Many changes of fewer rows, beside a statement for each change.

use std::fs;
use std::path::PathBuf;

use super::Run;
use super::site::{Backlog, Site, timed};
use crate::Result;
use crate::bench::measure::in_rounds;
use crate::bench::report::Goal;

const WORKLOAD: &str = "changes of rows, 10 a row";

/// Changes of each row.
const CHANGES: i32 = 10;

/// The table, and the rows of it that are there before.
const TABLE: &str = "
    create table if not exists acc (aid int primary key, bid int, abalance int, filler char(84));
    truncate acc";

#[derive(Debug, Clone, Copy)]
enum Way {
    Loader(&'static str),
    Statements,
}

impl Way {
    fn name(self) -> String {
        match self {
            Way::Loader(lines) => format!("bulk_loader, {lines}"),
            Way::Statements => "psql, a statement a change".to_owned(),
        }
    }
}

/// Changes of `rows` rows, `op, aid, step` in their order: of each even row eight updates, a delete and an
/// insert; of each odd one an insert and updates, and of some a delete at the end.
pub(super) fn changes(rows: i32) -> String {
    format!(
        "select case when k % 2 = 0 then case c when 9 then 'D' when 10 then 'I' else 'U' end
                     else case when c = 1 then 'I' when c = 10 and k % 10 = 1 then 'D' else 'U' end
                end as op, k as aid, c as step
           from generate_series(1, {CHANGES}) c, generate_series(1, {rows}) k order by c, hashint4(k)"
    )
}

/// The same as events, and the table as it is before.
pub(super) fn backlog(site: &Site, name: &str, rows: i32) -> Result<Backlog> {
    site.backlog(
        name,
        &format!(
            "select op || ':aid', 'aid=' || aid || '&bid=' || aid % 10 || '&abalance=' || step \
                    || '&filler=' || repeat('x', 84), 'public.acc' from ({}) c",
            changes(rows)
        ),
    )
}

pub(super) fn reset(site: &Site, rows: i32) -> Result {
    let mut target = site.target()?;
    target.batch_execute(TABLE)?;
    target.batch_execute(&format!(
        "insert into acc select k, k % 10, 0, '' from generate_series(2, {rows}, 2) k"
    ))?;
    target.batch_execute("vacuum analyze acc")?;
    Ok(())
}

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let rows = run.common.size(100_000, 2_000);
    let site = &run.site;
    let backlog = backlog(site, "bulk", rows)?;
    let script = script(site, rows)?;
    let ways = [
        Way::Loader("load_method = 0"),
        Way::Loader("load_method = 1"),
        Way::Loader("load_method = 2"),
        Way::Loader("merge_mode = upsert"),
        Way::Statements,
    ];
    let mut sums: Vec<(i64, i64, i64)> = Vec::new();
    let rates = in_rounds(run.common.rounds, &ways, run.interrupt, |way| {
        site.rewind(&backlog)?;
        reset(site, rows)?;
        let seconds = match way {
            Way::Loader(lines) => site.run("bulk_loader", lines, &backlog)?.seconds,
            Way::Statements => timed(site.psql_target().args(["-1", "-f"]).arg(&script))?,
        };
        let sum = "select count(*), sum(abalance), sum(aid) from acc";
        let row = site.target()?.query_one(sum, &[])?;
        sums.push((row.get(0), row.get(1), row.get(2)));
        match sums.last() == sums.first() {
            true => Ok(f64::from(rows * CHANGES) / seconds),
            false => Err(format!("not the same in the end: {sums:?}").into()),
        }
    })?;
    for (way, rates) in ways.iter().zip(&rates) {
        run.report.add(WORKLOAD, &way.name(), "1/s", rates);
    }
    for way in ways.iter().filter(|way| matches!(way, Way::Loader(_))) {
        run.report.compare(
            WORKLOAD,
            &way.name(),
            &Way::Statements.name(),
            Some(Goal::AtLeast(20.0)),
        );
    }
    Ok(())
}

/// The changes as SQL.
fn script(site: &Site, rows: i32) -> Result<PathBuf> {
    let file = site.file("changes.sql");
    let sql = format!(
        "select case op
             when 'I' then format('insert into acc values (%s, %s, %s, repeat(''x'', 84));', aid, aid % 10, step)
             when 'U' then format('update acc set bid = %s, abalance = %s, filler = repeat(''x'', 84) where aid = %s;', aid % 10, step, aid)
             else format('delete from acc where aid = %s;', aid) end
           from ({}) c",
        changes(rows)
    );
    let output = site
        .psql_source()
        .args(["-A", "-t", "-c", &sql])
        .stdout(fs::File::create(&file)?)
        .status()?;
    match output.success() {
        true => Ok(file),
        false => Err("psql has not written the changes".into()),
    }
}
