//! The process dies, at every step and at any moment: each event arrives once.

use std::time::Duration;

use testkit::{Running, TestResult, wait_until};

use crate::site::{PATIENCE, Site, events, tick};

/// Steps between which something is committed on either side.
const STEPS: [&str; 4] = [
    "consumer.after_next_batch",
    "consumer.before_target_commit",
    "consumer.after_target_commit",
    "consumer.after_finish",
];

#[test]
fn death_at_any_step_or_moment_loses_and_repeats_nothing() -> TestResult {
    let site = Site::start()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    let put = |src: &mut postgres::Client, what: &str| -> TestResult {
        src.execute(
            "select pgq.insert_event('from', $1, n::text) from generate_series(1, 200) n",
            &[&what],
        )?;
        tick(src, "from")
    };
    for step in STEPS {
        put(&mut src, step)?;
        put(&mut src, step)?;
        let output = site
            .program("mover.ini --set loop_delay=0")
            .env("FAILPOINTS", format!("{step}=return(kill)"))
            .output()?;
        assert_eq!(output.status.code(), None, "{step} was not reached");
        site.drain("mover")?;
        assert_eq!(events(&mut dst, "to")?, events(&mut src, "from")?, "{step}");
    }

    // SIGKILL at moments of its own choice, under load.
    let start = |site: &Site| -> TestResult<Running> {
        site.program("mover.ini --set loop_delay=0.01").spawn()
    };
    let mut running = start(&site)?;
    for round in 0..12_u64 {
        put(&mut src, "load")?;
        let before = events(&mut dst, "to")?.len();
        wait_until("something to move, or a while", PATIENCE, || {
            put(&mut src, "load")?;
            Ok(events(&mut dst, "to")?.len() > before)
        })?;
        let start_of_batch = std::time::Instant::now();
        wait_until("a moment", PATIENCE, || {
            Ok(start_of_batch.elapsed() >= Duration::from_millis(round * 7 % 40))
        })?;
        running.kill()?;
        running = start(&site)?;
    }
    wait_until("everything to arrive", PATIENCE, || {
        tick(&mut src, "from")?;
        Ok(events(&mut dst, "to")?.len() >= events(&mut src, "from")?.len())
    })?;
    assert_eq!(events(&mut dst, "to")?, events(&mut src, "from")?);
    Ok(())
}
