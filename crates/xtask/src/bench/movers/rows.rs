//! Rows into the partitions of a day, beside a COPY of the same rows.

use std::fs;

use super::Run;
use super::site::timed;
use crate::Result;
use crate::bench::measure::in_rounds;
use crate::bench::report::Goal;

const WORKLOAD: &str = "rows into a partition";

/// The table, and the partition of it, made beforehand: no way has to.
const TABLES: &str = "
    drop table if exists placed, placed_2024_05_31;
    create table placed (id int, placed date, name text, state text, amount numeric(10,2));
    create table placed_2024_05_31 (like placed)";

#[derive(Debug, Clone, Copy)]
enum Way {
    Cube(&'static str),
    Table,
    Copy,
}

impl Way {
    fn name(self) -> String {
        match self {
            Way::Cube(mode) => format!("cube_dispatcher, {mode}"),
            Way::Table => "table_dispatcher".to_owned(),
            Way::Copy => "psql COPY of the decoded rows".to_owned(),
        }
    }
}

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let site = &run.site;
    let count = run.common.size(500_000, 10_000);
    let row = "n as id, date '2024-05-31' as placed, md5(n::text) as name, 'in transit, over' as state, \
               (n % 10000) / 100.0 as amount";
    let rows = format!("select {row} from generate_series(1, {count}) n");
    let backlog = site.backlog(
        "placed",
        &format!(
            "select 'I:id', 'id=' || id || '&placed=' || placed || '&name=' || name \
                    || '&state=in+transit%2c+over&amount=' || amount, 'public.placed' from ({rows}) r"
        ),
    )?;
    let file = site.file("placed.copy");
    let copy_out = format!("copy ({rows}) to stdout");
    let written = (site.psql_source().args(["-c", &copy_out]))
        .stdout(fs::File::create(&file)?)
        .status()?;
    if !written.success() {
        return Err("psql has not written the rows".into());
    }
    let copy_in = format!("\\copy placed_2024_05_31 from '{}'", file.display());
    let ways = [
        Way::Cube("keep_all"),
        Way::Cube("keep_latest"),
        Way::Table,
        Way::Copy,
    ];
    let rates = in_rounds(run.common.rounds, &ways, run.interrupt, |way| {
        site.rewind(&backlog)?;
        let mut target = site.target()?;
        target.batch_execute(TABLES)?;
        let seconds = match way {
            Way::Cube(mode) => {
                if mode == "keep_latest" {
                    target.batch_execute("alter table placed_2024_05_31 add primary key (id)")?;
                }
                let lines = format!("mode = {mode}\ndateformat = \"2024_05_31\"");
                site.run("cube_dispatcher", &lines, &backlog)?.seconds
            }
            Way::Table => {
                let lines = "dest_table = placed\npart_field = placed";
                site.run("table_dispatcher", lines, &backlog)?.seconds
            }
            Way::Copy => timed(site.psql_target().args(["-c", &copy_in]))?,
        };
        let arrived = target.query_one("select count(*)::int4 from placed_2024_05_31", &[])?;
        match arrived.get::<_, i32>(0) == count {
            true => Ok(f64::from(count) / seconds),
            false => Err(format!("{}: not all rows have arrived", way.name()).into()),
        }
    })?;
    for (way, rates) in ways.iter().zip(&rates) {
        run.report.add(WORKLOAD, &way.name(), "1/s", rates);
    }
    let copy = Way::Copy.name();
    for (way, goal) in [
        (Way::Cube("keep_all"), Some(Goal::AtLeast(0.6))),
        (Way::Table, Some(Goal::AtLeast(0.6))),
        (Way::Cube("keep_latest"), None),
    ] {
        run.report.compare(WORKLOAD, &way.name(), &copy, goal);
    }
    Ok(())
}
