//! The process dies, at every step and at any moment: each event arrives once.

use std::cell::RefCell;

use testkit::{TestResult, events_of, tick};

/// Steps between which something is committed on either side.
const STEPS: [&str; 4] = [
    "consumer.after_next_batch",
    "consumer.before_target_commit",
    "consumer.after_target_commit",
    "consumer.after_finish",
];

#[test]
fn death_at_any_step_or_moment_loses_and_repeats_nothing() -> TestResult {
    let site = crate::site()?;
    let (src, dst) = (RefCell::new(site.db("src")?), RefCell::new(site.db("dst")?));
    site.drain("mover")?;
    let put = |what: &str| -> TestResult {
        let src = &mut *src.borrow_mut();
        src.execute(
            "select pgq.insert_event('from', $1, n::text) from generate_series(1, 200) n",
            &[&what],
        )?;
        tick(src, "from")
    };
    let same = || -> TestResult {
        let sent = events_of(&mut src.borrow_mut(), "from")?;
        let received = events_of(&mut dst.borrow_mut(), "to")?;
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
    site.survives_random_kills(12, || put("load"), arrived)?;
    same()
}
