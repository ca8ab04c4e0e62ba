//! The process dies, at every step and at any moment: each change is applied once.

use std::cell::RefCell;

use testkit::{TestResult, tick};

use crate::{METHODS, capture, content, site};

/// Steps between which something is committed on either side.
const STEPS: [&str; 5] = [
    "consumer.after_next_batch",
    "bulk_loader.between_tables",
    "consumer.before_target_commit",
    "consumer.after_target_commit",
    "consumer.after_finish",
];

#[test]
fn death_at_any_step_or_moment_loses_and_repeats_nothing() -> TestResult {
    let site = site()?;
    let (src, dst) = (RefCell::new(site.db("src")?), RefCell::new(site.db("dst")?));
    for db in [&src, &dst] {
        db.borrow_mut().batch_execute(
            "create table t (id int primary key, n int); create table log (n int, at int)",
        )?;
    }
    for table in ["t", "log"] {
        capture(&mut src.borrow_mut(), table, "")?;
    }
    site.drain("mover")?;
    let round = RefCell::new(0);
    let put = |_: &str| -> TestResult {
        let src = &mut *src.borrow_mut();
        *round.borrow_mut() += 1;
        // Rows without a key, which come twice if they are applied twice, and rows that come and go.
        src.batch_execute(&format!(
            "insert into log select n, {round} from generate_series(1, 100) n;
             insert into t select id, 0 from generate_series(1, 200) id on conflict do nothing;
             update t set n = n + 1 where id % 3 = 0;
             delete from t where id % 7 = {round} % 7",
            round = round.borrow()
        ))?;
        tick(src, "from")
    };
    let same = || -> TestResult {
        for table in ["t", "log"] {
            let sent = content(&mut src.borrow_mut(), table)?;
            let received = content(&mut dst.borrow_mut(), table)?;
            assert!(
                sent == received,
                "{table}: {} sent, {} received",
                sent.len(),
                received.len()
            );
        }
        Ok(())
    };
    for method in METHODS {
        site.write("mover", method)?;
        site.survives_death_at(&STEPS, put, same)?;
    }
    let arrived = || -> TestResult<i64> {
        let row = dst
            .borrow_mut()
            .query_one("select count(*) from log", &[])?;
        Ok(row.get(0))
    };
    for method in [
        "load_method = 1\ntemp_tables = session",
        "merge_mode = upsert",
    ] {
        site.write("mover", method)?;
        site.survives_random_kills(8, || put(""), arrived)?;
        same()?;
    }
    Ok(())
}
