//! What ticking costs while nothing happens.

use std::time::{Duration, Instant};

use postgres::Client;

use super::Run;
use crate::Result;
use crate::bench::measure::{Backend, in_rounds};
use crate::bench::report::Goal;
use crate::process::pause;

const WORKLOAD: &str = "ticker, 100 idle queues, share of a core";

/// Time between calls of the ticker, in milliseconds; the first is the default of the programs.
const PERIODS: [(u64, &str); 3] = [(1000, "1 s"), (100, "100 ms"), (10, "10 ms")];

pub(super) fn measure(run: &mut Run<'_>) -> Result {
    let prepare = |mut db: Client| -> Result<Client> {
        db.batch_execute(
            "select pgq.create_queue('q' || n) from generate_series(1, 100) n;
             select pgq.register_consumer('q' || n, 'c') from generate_series(1, 100) n;
             select pgq.ticker();
             -- Idle for long: only the idle period makes them tick.
             update pgq.tick set tick_time = now() - interval '50 s' where tick_id = 1",
        )?;
        Ok(db)
    };
    let mut variants = Vec::new();
    let mut databases = vec![("ours", prepare(run.stand.ours("idle_ours")?)?)];
    if let Some(db) = run.stand.extension("idle_c")? {
        databases.push(("C", prepare(db)?));
    }
    for database in 0..databases.len() {
        variants.extend(PERIODS.iter().map(|(period, _)| (database, *period)));
    }
    let time = run
        .common
        .size(Duration::from_secs(10), Duration::from_secs(2));
    let samples = in_rounds(
        run.common.rounds.min(3),
        &variants,
        run.interrupt,
        |(database, period)| {
            let db = &mut databases[database].1;
            let statement = db.prepare("select pgq.ticker()")?;
            let backend = Backend::of(db)?;
            let own = Backend::ourselves();
            let (start, before, own_before) = (Instant::now(), backend.cpu()?, own.cpu()?);
            let mut next = start;
            while start.elapsed() < time {
                db.query_one(&statement, &[])?;
                next += Duration::from_millis(period);
                pause(next.saturating_duration_since(Instant::now()));
            }
            let used = backend.cpu()? - before + own.cpu()? - own_before;
            Ok(used / start.elapsed().as_secs_f64())
        },
    )?;
    for ((database, period), samples) in variants.iter().zip(&samples) {
        let name = databases[*database].0;
        let (_, every) = PERIODS
            .iter()
            .find(|(known, _)| known == period)
            .expect("made from this list");
        let variant = format!("{name}, every {every}");
        run.report.add(WORKLOAD, &variant, "", samples);
        let goal = (name == "ours" && *period == 1000).then_some(Goal::AtMost(0.01));
        if let Some(goal) = goal {
            run.report.limit(WORKLOAD, &variant, goal);
        }
    }
    for (_, every) in PERIODS {
        let variant = |name| format!("{name}, every {every}");
        run.report
            .compare(WORKLOAD, &variant("ours"), &variant("C"), None);
    }
    Ok(())
}
