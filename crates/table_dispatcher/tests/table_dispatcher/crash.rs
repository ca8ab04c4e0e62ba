//! The process dies, at every step and at any moment: each row arrives once.

use std::cell::{Cell, RefCell};

use testkit::{MoverSite, TestResult, tick};

use crate::{put_event, rows};

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
    let lines = "dest_table = log\npart_field = at\npart_style = inherit\nbad_event = quarantine\nprecreate = 1";
    let site = MoverSite::start("table_dispatcher", lines)?;
    let (src, dst) = (RefCell::new(site.db("src")?), RefCell::new(site.db("dst")?));
    dst.borrow_mut()
        .batch_execute("create table log (n int, at date)")?;
    site.drain("mover")?;
    // Each time there are partitions that have to be made.
    let day = Cell::new(0);
    let put = |_: &str| -> TestResult {
        let src = &mut *src.borrow_mut();
        day.set(day.get() + 2);
        src.execute(
            "select pgq.insert_event('from', 'I:n', 'n=' || n || '&at=' || ('2024-01-01'::date + $1::int4 + n % 2))
               from generate_series(1, 100) n",
            &[&day.get()],
        )?;
        put_event(src, "I:n", Some("n=%"))?;
        tick(src, "from")
    };
    let same = || -> TestResult {
        let (src, dst) = (&mut *src.borrow_mut(), &mut *dst.borrow_mut());
        let sent = rows(
            src,
            "(select n::int, at from pgq.event_template, \
              lateral (select split_part(split_part(ev_data, '&', 1), '=', 2) as n, \
                              split_part(ev_data, '&at=', 2) as at) d where ev_data <> 'n=%')",
        )?;
        let received = rows(dst, "log")?;
        assert!(
            sent == received,
            "{} sent, {} received",
            sent.len(),
            received.len()
        );
        let aside: i64 = dst
            .query_one("select count(*) from pgq_ext.bad_event", &[])?
            .get(0);
        assert_eq!(aside, sent.len() as i64 / 100);
        Ok(())
    };
    site.survives_death_at(&STEPS, put, same)?;
    let arrived = || -> TestResult<i64> {
        Ok(dst
            .borrow_mut()
            .query_one("select count(*) from log", &[])?
            .get(0))
    };
    site.survives_random_kills(8, || put("load"), arrived)?;
    same()
}
