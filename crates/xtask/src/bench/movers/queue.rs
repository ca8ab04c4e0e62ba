//! A queue into another one, beside a pipe between two psql.

use super::Run;
use super::site::piped;
use crate::Result;
use crate::bench::measure::in_rounds;
use crate::bench::report::Goal;

const WORKLOAD: &str = "queue into queue";

#[derive(Debug, Clone, Copy)]
enum Way {
    Ours,
    Pipe,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Ours => "queue_mover",
            Way::Pipe => "psql COPY | psql COPY",
        }
    }
}

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let site = &run.site;
    let count = run.common.size(500_000, 10_000);
    let backlog = site.backlog(
        "moved",
        &format!(
            "select 'U:id', 'id=' || n || '&name=' || md5(n::text) || '&note=' || repeat('x', 60), \
                    'public.customer' from generate_series(1, {count}) n"
        ),
    )?;
    site.target()?
        .batch_execute("select pgq.create_queue('moved')")?;
    let ways = [Way::Ours, Way::Pipe];
    let rates = in_rounds(run.common.rounds, &ways, run.interrupt, |way| {
        site.rewind(&backlog)?;
        let mut target = site.target()?;
        let table: String = target
            .query_one("select pgq.current_event_table('moved')", &[])?
            .get(0);
        target.batch_execute(&format!("truncate {table}"))?;
        let seconds = match way {
            Way::Ours => {
                let lines = "dst_queue_name = moved";
                site.run("queue_mover", lines, &backlog)?.seconds
            }
            Way::Pipe => {
                let columns =
                    "ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4, ev_time";
                let mut source = site.source()?;
                let batch: i64 = source
                    .query_one("select pgq.next_batch('moved', 'moved')", &[])?
                    .get(0);
                let out = format!(
                    "copy (select {columns} from pgq.get_batch_events({batch}) order by ev_id) to stdout"
                );
                let into = format!("copy {table} ({columns}) from stdin");
                piped(
                    site.psql_source().args(["-c", &out]),
                    site.psql_target().args(["-c", &into]),
                )?
            }
        };
        let arrived = format!("select count(*) from {table}");
        let arrived: i64 = target.query_one(&arrived, &[])?.get(0);
        if arrived != i64::from(count) {
            return Err(format!("{arrived} events of {count} have arrived").into());
        }
        Ok(f64::from(count) / seconds)
    })?;
    for (way, rates) in ways.iter().zip(&rates) {
        run.report.add(WORKLOAD, way.name(), "1/s", rates);
    }
    run.report.compare(
        WORKLOAD,
        Way::Ours.name(),
        Way::Pipe.name(),
        Some(Goal::AtLeast(0.7)),
    );
    Ok(())
}
