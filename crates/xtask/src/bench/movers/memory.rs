//! The memory of movers while they apply a large batch.

use super::site::Backlog;
use super::{Run, bulk};
use crate::Result;
use crate::bench::measure::Samples;
use crate::bench::report::Goal;

const WORKLOAD: &str = "memory, batch of 2M events";

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let rows = run.common.size(200_000, 2_000);
    let changed = bulk::backlog(&run.site, "changed_rows", rows)?;
    bulk::reset(&run.site, rows)?;
    peak(run, "bulk_loader", "few rows", "load_method = 1", &changed)?;

    // Each event is another row: none makes another one unnecessary.
    let rows = run.common.size(2_000_000, 20_000);
    let new = run.site.backlog(
        "new_rows",
        &format!(
            "select 'I:aid', 'aid=' || aid || '&bid=1&abalance=1&filler=' || repeat('x', 84), \
                    'public.acc' from generate_series(1, {rows}) aid"
        ),
    )?;
    for lines in ["load_method = 2", "merge_mode = upsert"] {
        bulk::reset(&run.site, 2)?;
        peak(run, "bulk_loader", lines, lines, &new)?;
    }
    for mode in ["keep_latest", "keep_all"] {
        bulk::reset(&run.site, 2)?;
        let lines = format!("mode = {mode}\ndateformat = \"{mode}\"");
        peak(run, "cube_dispatcher", mode, &lines, &new)?;
    }
    bulk::reset(&run.site, 2)?;
    peak(
        run,
        "table_dispatcher",
        "",
        "dest_table = acc_all\npart_template = create table _DEST_TABLE (like acc)",
        &new,
    )?;
    run.site
        .target()?
        .batch_execute("select pgq.create_queue('large')")?;
    peak(run, "queue_mover", "", "dst_queue_name = large", &new)
}

fn peak(run: &mut Run<'_>, program: &str, what: &str, lines: &str, backlog: &Backlog) -> Result {
    run.interrupt.check()?;
    run.site.rewind(backlog)?;
    let cost = run.site.run(program, lines, backlog)?;
    let mut peak = Samples::default();
    peak.push(cost.peak_mb);
    let name = match what {
        "" => program.to_owned(),
        what => format!("{program}, {what}"),
    };
    run.report.add(WORKLOAD, &name, "MB", &peak);
    run.report.limit(WORKLOAD, &name, Goal::AtMost(200.0));
    Ok(())
}
