//! Tables of periods: made, found, dropped, changed.

use std::time::Duration;

use testkit::{TestResult, tick, wait_until};

use crate::{apply, put, rows, site};

/// Longest wait for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_period_is_that_of_the_end_of_the_batch_in_the_zone_that_is_asked_for() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute("create table t (id int primary key, v text)")?;
    src.batch_execute("alter database src set timezone = 'Asia/Tokyo'")?;
    let own = "dateformat = YYYY_MM_DD\npartition_timezone =";
    for (job, lines) in [
        ("tokyo", own),
        (
            "utc",
            "dateformat = YYYY_MM_DD_HH24\npartition_timezone = UTC",
        ),
        (
            "york",
            "dateformat = YYYY_MM\npartition_timezone = America/New_York",
        ),
        ("none", "dateformat ="),
    ] {
        site.write(job, lines)?;
        site.drain(job)?;
    }
    put(&mut src, "I:id", "id=1&v=x", "public.t")?;
    tick(&mut src, "from")?;
    src.batch_execute(
        "update pgq.tick set tick_time = '2024-02-29 16:30:00+00'
          where tick_id = (select max(tick_id) from pgq.tick)",
    )?;
    for (job, table) in [
        ("tokyo", "t_2024_03_01"),
        ("utc", "t_2024_02_29_16"),
        ("york", "t_2024_02"),
        ("none", "t"),
    ] {
        // Twice, as if the end of the first run had been lost: the same table.
        let output = (site.program(&format!("{job}.ini --once")))
            .env("FAILPOINTS", "consumer.before_target_commit=return(kill)")
            .output()?;
        assert_eq!(output.status.code(), None, "{job}");
        site.drain(job)?;
        assert_eq!(rows(&mut dst, table)?, ["(1,x)"], "{job}");
    }
    site.write("wrong", "partition_timezone = Mars/Olympus")?;
    site.refused("wrong.ini --once", "Mars/Olympus")?;
    Ok(())
}

#[test]
fn clocks_that_are_put_on_or_back_change_nothing_but_the_period() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(
        "create table t (id int primary key, v text);
         alter database dst set timezone = 'America/New_York'",
    )?;
    let lines = "dateformat = YYYY_MM_DD_HH24\npartition_timezone = Europe/Berlin";
    site.write("mover", lines)?;
    site.drain("mover")?;
    for (id, end) in [
        // There is no hour between two and three.
        "2024-03-31 00:59:59.999999+00",
        "2024-03-31 01:00:00+00",
        // There are two.
        "2024-10-27 00:30:00+00",
        "2024-10-27 01:30:00+00",
        // The server's clock was wrong.
        "2024-03-31 00:30:00+00",
        "2024-12-31 23:00:00+00",
    ]
    .into_iter()
    .enumerate()
    {
        put(&mut src, "I:id", &format!("id={id}&v=x"), "public.t")?;
        tick(&mut src, "from")?;
        let set = "update pgq.tick set tick_time = $1::text::timestamptz
                    where tick_id = (select max(tick_id) from pgq.tick)";
        src.execute(set, &[&end])?;
        site.drain("mover")?;
    }
    for (table, expected) in [
        ("t_2024_03_31_01", &["(0,x)", "(4,x)"][..]),
        ("t_2024_03_31_03", &["(1,x)"]),
        ("t_2024_10_27_02", &["(2,x)", "(3,x)"]),
        ("t_2025_01_01_00", &["(5,x)"]),
    ] {
        assert_eq!(rows(&mut dst, table)?, expected, "{table}");
    }
    Ok(())
}

#[test]
fn tables_that_appear_and_vanish_are_made_when_rows_come() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute("create table a (id int primary key); create table b (id int primary key)")?;
    site.drain("mover")?;
    put(&mut src, "I:id", "id=1", "public.a")?;
    apply(&site, &mut src)?;
    // One that is new behind rows of a known one; and one without a schema in its name.
    for n in 0..500 {
        put(&mut src, "I:id", &format!("id={n}"), "public.a")?;
    }
    put(&mut src, "I:id", "id=2", "b")?;
    apply(&site, &mut src)?;
    assert_eq!(rows(&mut dst, "a_kept")?.len(), 500);
    assert_eq!(rows(&mut dst, "b_kept")?, ["(2)"]);
    let log = site.log("mover");
    assert_eq!(
        log.matches("created table public.a_kept").count(),
        1,
        "{log}"
    );
    assert_eq!(
        log.matches("created table public.b_kept").count(),
        1,
        "{log}"
    );

    // One that somebody drops while the job runs comes back, with the next rows.
    site.write("mover", "drift = add")?;
    let mut running = site.program("mover.ini").spawn()?;
    put(&mut src, "I:id", "id=3", "public.b")?;
    tick(&mut src, "from")?;
    wait_until("the row to arrive", PATIENCE, || {
        Ok(rows(&mut dst, "b_kept")?.len() == 2)
    })?;
    // The second time with a column that nobody has.
    for (row, kept) in [("id=4", "(4)"), ("id=5&v=x", "(5,x)")] {
        dst.batch_execute("drop table b_kept")?;
        put(&mut src, "I:id", row, "public.b")?;
        tick(&mut src, "from")?;
        wait_until("the row to arrive", PATIENCE, || {
            let back = dst.query("select from pg_tables where tablename = 'b_kept'", &[])?;
            Ok(!back.is_empty() && rows(&mut dst, "b_kept")? == [kept])
        })?;
    }
    site.program("mover.ini -s").succeed()?;
    assert!(running.wait(PATIENCE)?.success());

    put(&mut src, "I:id", "id=1", "public.nowhere")?;
    tick(&mut src, "from")?;
    site.refused("mover.ini --once", "nowhere")?;
    dst.batch_execute("create table nowhere (id int primary key)")?;
    site.drain("mover")
}

#[test]
fn a_template_makes_the_table_and_a_name_that_is_too_long_none() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    let long = "x".repeat(58);
    dst.batch_execute(&format!(
        r#"create schema "S.x"; create table "Order" ("Id" int, v text default 'none'); create table {long} (id int); create table {long}y (id int)"#
    ))?;
    site.write(
        "mover",
        "part_template =\n  create table _DEST_TABLE (like _PARENT including defaults);\n  \
         alter table only _DEST_TABLE add constraint _DEST_TABLE_is_unique primary key (_PKEY);\n  \
         comment on table _DEST_TABLE is 'of _PARENT'",
    )?;
    site.drain("mover")?;
    put(&mut src, "I:Id", "Id=1", "public.Order")?;
    put(&mut src, "I:Id", "Id=1", "Order")?;
    apply(&site, &mut src)?;
    assert_eq!(rows(&mut dst, "\"Order_kept\"")?, ["(1,none)"]);
    let row = dst.query_one(
        "select conname::text, obj_description(conrelid, 'pg_class') from pg_constraint
          where conrelid = '\"Order_kept\"'::regclass and contype = 'p'",
        &[],
    )?;
    assert_eq!(row.get::<_, &str>(0), "Order_kept_is_unique");
    assert_eq!(row.get::<_, &str>(1), "of public.\"Order\"");

    // 63 bytes are a name, 64 would be cut.
    site.write("mover", "")?;
    put(&mut src, "I:id", "id=1", &long)?;
    apply(&site, &mut src)?;
    assert_eq!(rows(&mut dst, &format!("{long}_kept"))?, ["(1)"]);
    put(&mut src, "I:id", "id=1", &format!("{long}y"))?;
    tick(&mut src, "from")?;
    site.refused("mover.ini --once", "has 64 bytes")?;
    site.write("mover", "long_names = hash")?;
    site.drain("mover")?;
    let hashed = dst.query(
        "select from pg_tables where tablename like 'xxx%\\_kept' and length(tablename) = 63",
        &[],
    )?;
    assert_eq!(hashed.len(), 2);
    Ok(())
}

#[test]
fn two_jobs_make_the_same_table_once() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    let tables: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    site.write("one", "mode = keep_all")?;
    site.write("two", "mode = keep_all")?;
    for job in ["one", "two"] {
        site.drain(job)?;
    }
    for table in &tables {
        dst.batch_execute(&format!("create table {table} (id int)"))?;
        put(&mut src, "I:id", "id=1", table)?;
    }
    tick(&mut src, "from")?;
    // Both want the tables before either has made one.
    dst.batch_execute("begin; lock table t0 in access exclusive mode")?;
    let mut running = Vec::new();
    for job in ["one", "two"] {
        running.push(
            site.program(&format!("{job}.ini --set loop_delay=0"))
                .spawn()?,
        );
    }
    let mut watcher = site.db("dst")?;
    wait_until("both to wait", PATIENCE, || {
        let waiting = "select from pg_locks where not granted";
        Ok(watcher.query(waiting, &[])?.len() == 2)
    })?;
    dst.batch_execute("commit")?;
    for job in &mut running {
        assert!(job.wait(PATIENCE)?.success());
    }
    for table in &tables {
        assert_eq!(rows(&mut dst, &format!("{table}_kept"))?, ["(1)", "(1)"]);
    }
    for job in ["one", "two"] {
        assert!(!site.log(job).contains(" ERROR "), "{}", site.log(job));
    }
    Ok(())
}

#[test]
fn columns_that_a_table_lacks_are_refused_left_out_or_added() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    src.batch_execute("create table t (id int primary key, v text, price numeric(10,2))")?;
    dst.batch_execute("create table t (id int primary key, v text)")?;
    for drift in ["fail", "ignore", "add"] {
        site.write(drift, &format!("drift = {drift}\ndateformat = \"{drift}\""))?;
        site.drain(drift)?;
    }
    put(&mut src, "I:id", "id=1&v=x", "public.t")?;
    tick(&mut src, "from")?;
    for drift in ["fail", "ignore"] {
        site.drain(drift)?;
    }
    put(&mut src, "I:id", "id=2&price=1.50&v=y&gone=z", "public.t")?;
    tick(&mut src, "from")?;
    let why = "event 2 has a column price, which table public.t_fail does not have";
    site.refused("fail.ini --once", why)?;
    // The job notices the columns when somebody adds them.
    dst.batch_execute("alter table t_fail add price int, add gone text")?;
    site.refused("fail.ini --once", "invalid input syntax for type integer")?;
    dst.batch_execute("alter table t_fail alter price type numeric")?;
    site.drain("fail")?;
    assert_eq!(rows(&mut dst, "t_fail")?, ["(1,x,,)", "(2,y,1.50,z)"]);
    site.drain("ignore")?;
    assert_eq!(rows(&mut dst, "t_ignore")?, ["(1,x)", "(2,y)"]);
    assert!(
        site.log("ignore").contains("drifted: 1"),
        "{}",
        site.log("ignore")
    );
    put(&mut src, "I:id", "id=3&price=2&v=z", "public.t")?;
    tick(&mut src, "from")?;
    site.drain("ignore")?;
    assert_eq!(rows(&mut dst, "t_ignore")?, ["(1,x)", "(2,y)", "(3,z)"]);
    src.batch_execute("delete from pgq.event_template where ev_id = 3")?;
    site.drain("add")?;
    assert_eq!(rows(&mut dst, "t_add")?, ["(1,x,,)", "(2,y,1.50,z)"]);
    let types = dst.query_one(
        "select array_agg(format_type(atttypid, atttypmod) order by attnum) from pg_attribute
          where attrelid = 't'::regclass and attnum > 2",
        &[],
    )?;
    assert_eq!(types.get::<_, Vec<String>>(0), ["numeric(10,2)", "text"]);
    Ok(())
}

#[test]
fn a_dry_run_shows_what_would_be_done_and_does_nothing() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(
        "create table t (id int primary key, v text); create table t_kept (like t including all);
         insert into t_kept values (1, 'old'); create table u (id int primary key)",
    )?;
    site.write("mover", "drift = add\nbad_event = skip")?;
    site.drain("mover")?;
    for n in 1..=100 {
        put(&mut src, "U:id", &format!("id={n}&w=new"), "public.t")?;
    }
    put(&mut src, "D:id", "id=1", "public.t")?;
    // Of a table that is new, with a column that it will not have.
    put(&mut src, "I:id", "id=1&w=new", "public.u")?;
    put(&mut src, "X", "", "public.v")?;
    tick(&mut src, "from")?;
    for _ in 0..2 {
        let shown = site.program("mover.ini --dry-run").output()?;
        assert!(shown.status.success(), "{}", shown.stderr);
        let lines: Vec<&str> = shown.stdout.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "public.u_kept: created",
                "public.t.w: created",
                "public.t_kept.w: created",
                "public.u.w: created",
                "public.u_kept.w: created",
                "public.v: 0 inserted, 0 updated, 0 deleted, 1 skipped",
                "public.t_kept: 99 inserted, 0 updated, 1 deleted",
                "public.u_kept: 1 inserted, 0 updated, 0 deleted",
            ]
        );
    }
    assert_eq!(rows(&mut dst, "t_kept")?, ["(1,old)"]);
    site.drain("mover")?;
    assert_eq!(rows(&mut dst, "t_kept")?.len(), 99);
    assert_eq!(
        site.program("mover.ini --dry-run").output()?.stdout,
        "no batch to apply\n"
    );
    Ok(())
}

#[test]
fn partitions_that_the_server_knows_get_the_start_of_the_period() -> TestResult {
    for (mode, key) in [
        ("keep_latest", "primary key (id, day)"),
        ("keep_all", "check (id > 0)"),
    ] {
        let site = site()?;
        let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
        dst.batch_execute(&format!(
            "create table t (id int, v text, day date, {key}) partition by range (day)"
        ))?;
        let lines = format!("mode = {mode}\npart_style = declarative\ndateformat = YYYY_MM_DD\n");
        site.write("mover", &lines)?;
        site.refused("mover.ini", "needs part_time_column")?;
        site.write("mover", &format!("{lines}part_time_column = day"))?;
        site.drain("mover")?;
        for (day, filler) in [("2024-05-31", 0), ("2024-06-01", 100)] {
            for n in 0..=filler {
                put(
                    &mut src,
                    "I:id",
                    &format!("id={}&v={n}", n % 10 + 1),
                    "public.t",
                )?;
            }
            tick(&mut src, "from")?;
            src.execute(
                "update pgq.tick set tick_time = ($1::text || ' 12:00+00')::timestamptz
                  where tick_id = (select max(tick_id) from pgq.tick)",
                &[&day],
            )?;
            site.drain("mover")?;
        }
        let expected: &[&str] = match mode {
            "keep_latest" => &[
                "(t_2024_05_31,2024-05-31,1)",
                "(t_2024_06_01,2024-06-01,10)",
            ],
            _ => &[
                "(t_2024_05_31,2024-05-31,1)",
                "(t_2024_06_01,2024-06-01,101)",
            ],
        };
        let counts = "(select tableoid::regclass, day, count(*) from t group by 1, 2)";
        assert_eq!(rows(&mut dst, counts)?, expected, "{mode}");
    }
    Ok(())
}

#[test]
fn old_tables_go_and_late_rows_do_not_bring_them_back() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(
        "create table t (id int, day date) partition by range (day);
         create table t_1999_01_01 (note text)",
    )?;
    site.write(
        "mover",
        "mode = keep_all\npart_style = declarative\ndateformat = YYYY_MM_DD\npart_time_column = day\n\
         precreate = 2\nretention_period = 30 days\nignore_old_events = 1\nretention_check = 0",
    )?;
    site.drain("mover")?;
    let mut apply_on = |day: &str, dst: &mut postgres::Client| -> TestResult<Vec<String>> {
        put(&mut src, "I:id", "id=1", "public.t")?;
        tick(&mut src, "from")?;
        src.execute(
            "update pgq.tick set tick_time = now() + $1::text::interval
              where tick_id = (select max(tick_id) from pgq.tick)",
            &[&day],
        )?;
        site.drain("mover")?;
        rows(
            dst,
            "(select relname from pg_class where relname ~ '^t_[0-9_]+$' and relispartition)",
        )
    };
    assert_eq!(apply_on("-10 days", &mut dst)?.len(), 4);
    dst.batch_execute(
        "create table t_2001_02_03 partition of t for values from ('2001-02-03') to ('2001-02-04')",
    )?;
    assert_eq!(apply_on("0 days", &mut dst)?.len(), 4);
    assert_eq!(apply_on("-60 days", &mut dst)?.len(), 4);
    assert!(
        site.log("mover").contains("past: 1"),
        "{}",
        site.log("mover")
    );
    // That of its day, and those that were made ahead. Another table of such a name is none of ours.
    rows(&mut dst, "t_1999_01_01")?;
    Ok(())
}
