//! The process dies, at every step and at any moment: the rows are those of a run without.

use std::cell::{Cell, RefCell};

use testkit::{MoverSite, TestResult, tick};

use crate::{capture, rows};

const STEPS: [&str; 6] = [
    "consumer.after_next_batch",
    "consumer.before_prepare_commit",
    "consumer.prepared",
    "consumer.before_target_commit",
    "consumer.after_target_commit",
    "consumer.after_finish",
];

/// Changes rows of a table of its own, so that each batch has a table to make, and of one that all share.
fn change(db: &mut postgres::Client, dst: &mut postgres::Client, number: i32) -> TestResult {
    capture(db, dst, &format!("own_{number}"), "id int primary key")?;
    db.batch_execute(&format!(
        "insert into own_{number} select generate_series(1, 100);
         insert into shared select n, {number} from generate_series(1, 200) n where n % 3 = {number} % 3
             on conflict (id) do update set version = excluded.version;
         delete from shared where id % 7 = {number} % 7"
    ))?;
    tick(db, "from")
}

#[test]
fn death_at_any_step_or_moment_loses_and_repeats_nothing() -> TestResult {
    let site = crate::site()?;
    let (src, dst) = (RefCell::new(site.db("src")?), RefCell::new(site.db("dst")?));
    capture(
        &mut src.borrow_mut(),
        &mut dst.borrow_mut(),
        "shared",
        "id int primary key, version int",
    )?;
    site.drain("mover")?;
    let number = Cell::new(0);
    let put = || -> TestResult {
        number.set(number.get() + 1);
        change(&mut src.borrow_mut(), &mut dst.borrow_mut(), number.get())
    };
    let same = || -> TestResult {
        let (src, dst) = (&mut *src.borrow_mut(), &mut *dst.borrow_mut());
        for own in 1..=number.get() {
            let kept = rows(dst, &format!("own_{own}_kept"))?;
            assert_eq!(kept, rows(src, &format!("own_{own}"))?, "own_{own}");
        }
        assert_eq!(rows(dst, "shared_kept")?, rows(src, "shared")?);
        Ok(())
    };
    site.survives_death_at(&STEPS, |_| put(), same)?;
    let arrived = || -> TestResult<i64> {
        let row = (dst.borrow_mut()).query_one(
            "select coalesce(max(version), 0)::int8 from shared_kept",
            &[],
        )?;
        Ok(row.get(0))
    };
    site.survives_random_kills(12, put, arrived)?;
    same()
}

#[test]
fn each_version_is_kept_once_whatever_dies() -> TestResult {
    let site = MoverSite::start(
        "cube_dispatcher",
        "dateformat = \"kept\"\nmode = keep_all\nkeep_all_delete = ignore",
    )?;
    let (src, dst) = (RefCell::new(site.db("src")?), RefCell::new(site.db("dst")?));
    capture(
        &mut src.borrow_mut(),
        &mut dst.borrow_mut(),
        "t",
        "id int primary key, version int",
    )?;
    site.drain("mover")?;
    let number = Cell::new(0);
    let put = || -> TestResult {
        number.set(number.get() + 1);
        let src = &mut *src.borrow_mut();
        src.batch_execute(&format!(
            "insert into t select n, {} from generate_series(1, 300) n
                 on conflict (id) do update set version = excluded.version",
            number.get()
        ))?;
        tick(src, "from")
    };
    let same = || -> TestResult {
        let expected = format!(
            "(select n as id, v as version from generate_series(1, 300) n, generate_series(1, {}) v)",
            number.get()
        );
        let dst = &mut *dst.borrow_mut();
        assert_eq!(rows(dst, "t_kept")?, rows(dst, &expected)?);
        Ok(())
    };
    site.survives_death_at(&STEPS[..1], |_| put(), same)?;
    site.survives_death_at(&STEPS[3..], |_| put(), same)?;
    let arrived = || -> TestResult<i64> {
        Ok(dst
            .borrow_mut()
            .query_one("select count(*) from t_kept", &[])?
            .get(0))
    };
    site.survives_random_kills(12, put, arrived)?;
    same()
}
