//! The process dies, at every step and at any moment: each event arrives once.

use std::cell::RefCell;

use testkit::{MoverSite, TestResult, events_of, tick};

const STEPS: [&str; 6] = [
    "consumer.after_next_batch",
    "consumer.before_prepare_commit",
    "consumer.prepared",
    "consumer.before_target_commit",
    "consumer.after_target_commit",
    "consumer.after_finish",
];

#[test]
fn death_at_any_step_or_moment_loses_and_repeats_nothing() -> TestResult {
    let site = MoverSite::start("queue_splitter", "missing_queue = create")?;
    let (src, dst) = (RefCell::new(site.db("src")?), RefCell::new(site.db("dst")?));
    site.drain("mover")?;
    // Queues are new, so that each batch has something to prepare.
    let put = |queue: &str| -> TestResult {
        let src = &mut *src.borrow_mut();
        src.execute(
            "select pgq.insert_event('from', 'x', n::text, $1 || '/' || n % 3, null, null, null) \
             from generate_series(1, 100) n",
            &[&queue],
        )?;
        tick(src, "from")
    };
    let same = || -> TestResult {
        let mut sent = events_of(&mut src.borrow_mut(), "from")?;
        let dst = &mut *dst.borrow_mut();
        let mut received = Vec::new();
        for row in dst.query("select queue_name from pgq.queue", &[])? {
            received.extend(events_of(dst, row.get(0))?);
        }
        sent.sort_unstable();
        received.sort_unstable();
        assert!(
            sent == received,
            "{} sent, {} received",
            sent.len(),
            received.len()
        );
        Ok(())
    };
    site.survives_death_at(&STEPS, put, same)?;
    let arrived = || -> TestResult<i64> {
        let row = dst
            .borrow_mut()
            .query_one("select count(*) from pgq.event_template", &[])?;
        Ok(row.get(0))
    };
    site.survives_random_kills(6, || put("load"), arrived)?;
    same()
}
