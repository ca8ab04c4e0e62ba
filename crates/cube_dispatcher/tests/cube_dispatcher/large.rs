//! Many events, large ones, many tables: in memory that does not grow with them.

use std::time::Duration;

use testkit::{MoverSite, TestResult, tick, wait_for};

use crate::{LINES, apply, put, rows, site};

/// Longest wait for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// Most memory that the program may take; its rows in all are more.
const LIMIT_KB: u32 = 64 * 1024;

#[test]
fn a_large_batch_takes_the_memory_of_a_part_of_it() -> TestResult {
    for (mode, expected) in [("keep_latest", 5_000), ("keep_all", 250_000)] {
        let site = MoverSite::start("cube_dispatcher", LINES)?;
        let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
        let tables = ["t0", "t1", "t2", "t3", "t4"];
        for table in tables {
            dst.batch_execute(&format!(
                "create table {table} (id int, a text, b text, c text)"
            ))?;
        }
        site.write("mover", &format!("mode = {mode}"))?;
        site.drain("mover")?;
        // Of each table 1000 rows, and two sets of columns.
        src.batch_execute(
            "insert into pgq.event_1_0 (ev_time, ev_type, ev_data, ev_extra1)
             select now(), 'U:id', 'id=' || n % 1000 || '&a=' || repeat('x', 300) || case when n % 500 < 490 then '&b=' || n else '&c' end,
                    'public.t' || n / 1000 % 5
               from generate_series(1, 250000) n",
        )?;
        tick(&mut src, "from")?;
        let mut running = site.program("mover.ini --once").spawn()?;
        let mut peak = 0;
        let status = wait_for("the batch to be applied", PATIENCE, || {
            peak = running.peak_memory_kb().unwrap_or_default().max(peak);
            running.ended()
        })?;
        assert!(status.success(), "{}", site.log("mover"));
        assert!(peak > 0 && peak < LIMIT_KB, "{mode}: {peak} KB");
        let count: i64 = dst
            .query_one(
                "select (select count(*) from t0_kept) + (select count(*) from t1_kept) + (select count(*) from t2_kept)
                      + (select count(*) from t3_kept) + (select count(*) from t4_kept)",
                &[],
            )?
            .get(0);
        assert_eq!(count, expected, "{mode}");
        let log = site.log("mover");
        assert!(log.contains("{count: 250000, "), "{log}");
    }
    Ok(())
}

#[test]
fn huge_values_and_hundreds_of_tables_fit_into_a_batch() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(
        "do 'begin for n in 1..300 loop execute ''create table many_'' || n || '' (id int, v text)''; end loop; end'",
    )?;
    site.drain("mover")?;
    src.batch_execute(
        "select pgq.insert_event('from', 'U:id', 'id=' || row || '&v=%20' || n, 'many_' || n, null, null, null)
           from generate_series(1, 7) row, generate_series(1, 300) n;
         select pgq.insert_event('from', 'U:id', 'id=9&v=' || repeat('%c3%a9', 5000000), 'many_1', null, null, null)",
    )?;
    apply(&site, &mut src)?;
    put(&mut src, "D:id", "id=1", "many_300")?;
    apply(&site, &mut src)?;
    assert_eq!(rows(&mut dst, "many_300_kept")?.len(), 6);
    let row = dst.query_one("select count(*), max(length(v)) from many_1_kept", &[])?;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i32>(1)), (8, 5_000_000));
    Ok(())
}
