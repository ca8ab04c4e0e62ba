//! Which partition a row goes to, and how it comes to be there.

use std::time::Duration;

use testkit::{MoverSite, TestResult, tick, wait_until};

use crate::{put, rows, site, tables};

/// Longest wait for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

const MONTHLY: &str = "dest_table = log\npart_field = at\npart_method = monthly\n\
                       part_template = create table _DEST_TABLE (primary key (_PKEY)) inherits (_PARENT)";

const LOG: &str = "create table log (id int, at timestamp, v text)";

#[test]
fn rows_go_to_the_month_or_day_of_their_date() -> TestResult {
    let (site, mut src, mut dst) = site(MONTHLY, LOG)?;
    site.write("daily", "part_method = daily\ndest_table = days\npart_field =\npart_column = at\npgq_consumer_id = daily")?;
    site.write(
        "yearly",
        "part_method = yearly\ndest_table = years\npgq_consumer_id = yearly",
    )?;
    dst.batch_execute(
        "create table days (id int, at timestamp, v text); create table years (like days)",
    )?;
    site.drain("daily")?;
    site.drain("yearly")?;
    put(
        &mut src,
        &[
            "id=1&at=2024-05-31+23%3a59",
            "id=2&at=2024-06-01",
            "id=3&at=2024-05-01T00%3a00&v",
            "v=x&id=4&at=2024-05-31",
        ],
    )?;
    let shown = site.program("mover.ini --dry-run").succeed()?.stdout;
    assert_eq!(
        shown.split_once('\n').map(|(_, rest)| rest),
        Some(
            "public.log_2024_05: created\npublic.log_2024_06: created\n\
             public.log_2024_05: 3 inserted, 0 updated, 0 deleted\n\
             public.log_2024_06: 1 inserted, 0 updated, 0 deleted\n"
        )
    );
    assert_eq!(tables(&mut dst, "log")?, ["log"]);
    site.drain("mover")?;
    assert_eq!(
        rows(&mut dst, "log_2024_05")?,
        [
            "(1,\"2024-05-31 23:59:00\",)",
            "(3,\"2024-05-01 00:00:00\",)",
            "(4,\"2024-05-31 00:00:00\",x)",
        ]
    );
    assert_eq!(
        rows(&mut dst, "log_2024_06")?,
        ["(2,\"2024-06-01 00:00:00\",)"]
    );
    let log = site.log("mover");
    assert!(log.contains("created table public.log_2024_05"), "{log}");
    assert!(log.contains("inserted: 4, created: 2"), "{log}");
    site.drain("daily")?;
    site.drain("yearly")?;
    assert_eq!(tables(&mut dst, "years")?, ["years", "years_2024"]);
    assert_eq!(rows(&mut dst, "years_2024")?.len(), 4);
    assert_eq!(
        tables(&mut dst, "days")?,
        [
            "days",
            "days_2024_05_01",
            "days_2024_05_31",
            "days_2024_06_01"
        ]
    );
    // Nothing to make any more, and one that has gone meanwhile.
    dst.batch_execute("drop table log_2024_06")?;
    put(&mut src, &["id=5&at=2024-06-01", "id=6&at=2024-05-02"])?;
    site.drain("mover")?;
    assert_eq!(rows(&mut dst, "log_2024_06")?.len(), 1);
    assert_eq!(rows(&mut dst, "log_2024_05")?.len(), 4);
    Ok(())
}

#[test]
fn a_row_without_a_date_is_a_bad_event() -> TestResult {
    let (site, mut src, mut dst) = site(MONTHLY, LOG)?;
    site.write(
        "any",
        "part_strict = 0\npgq_consumer_id = any\nfields = id\ndest_table = loose",
    )?;
    dst.batch_execute("create table loose (id int, v text)")?;
    site.drain("any")?;
    for (data, why) in [
        ("id=1&at", "no partition: at is NULL"),
        ("id=1", "no partition: at is not in the row"),
        (
            "id=1&at=infinity",
            "no partition is for \"infinity\": it has to be a date",
        ),
        (
            "id=1&at=31%2f05%2f2024",
            "no partition is for \"31/05/2024\"",
        ),
        (
            "id=1&at=0044-03-15+BC",
            "no partition is for \"0044-03-15 BC\"",
        ),
    ] {
        put(&mut src, &[data])?;
        site.refused("mover.ini --once", why)?;
        let delete = format!("delete from pgq.event_template where ev_data = '{data}'");
        src.batch_execute(&delete)?;
        site.drain("mover")?;
    }
    put(&mut src, &["id=1&at=EU+x", "id=2&at=2024-05-31"])?;
    site.drain("any")?;
    assert_eq!(rows(&mut dst, "\"loose_EU\"")?, ["(1,)"]);
    assert_eq!(rows(&mut dst, "loose_2024_05")?, ["(2,)"]);
    put(&mut src, &["id=1&at"])?;
    site.refused("any.ini --once", "no partition: at is NULL")
}

#[test]
fn the_day_of_a_row_is_the_one_that_it_says_whatever_the_clocks_are() -> TestResult {
    let lines = "dest_table = log\npart_field = at\n\
                 part_template = create table _DEST_TABLE () inherits (_PARENT)";
    let (site, mut src, mut dst) = site(lines, "create table log (id int, at timestamptz)")?;
    src.batch_execute("alter database src set timezone = 'Asia/Tokyo'")?;
    dst.batch_execute("alter database dst set timezone = 'America/New_York'")?;
    put(
        &mut src,
        &[
            "id=1&at=2024-03-30+23%3a59%3a59.999999%2b00",
            "id=2&at=2024-03-31+00%3a00%3a00%2b09",
            // There is no such time where the target is, or there are two.
            "id=3&at=2024-03-10+02%3a30%3a00",
            "id=4&at=2024-11-03+01%3a30%3a00",
        ],
    )?;
    // The batch ends long before its rows.
    src.batch_execute(
        "update pgq.tick set tick_time = '1999-12-31' where tick_id = (select max(tick_id) from pgq.tick)",
    )?;
    // Twice, as if the end of the first run had been lost: the same tables.
    let output = (site.program("mover.ini --once"))
        .env("FAILPOINTS", "consumer.before_target_commit=return(kill)")
        .output()?;
    assert_eq!(output.status.code(), None);
    site.drain("mover")?;
    let found = dst.query("select tableoid::regclass::text from log order by id", &[])?;
    let found: Vec<String> = found.iter().map(|row| row.get(0)).collect();
    let days = ["03_30", "03_31", "03_10", "11_03"];
    assert_eq!(found, days.map(|day| format!("log_2024_{day}")));
    assert_eq!(tables(&mut dst, "log_")?.len(), 4);
    Ok(())
}

#[test]
fn the_time_of_the_event_can_choose() -> TestResult {
    let lines = "dest_table = log\npart_field = _EVTIME\npartition_timezone = Asia/Tokyo\n\
                 part_template = create table _DEST_TABLE () inherits (_PARENT)";
    let (site, mut src, mut dst) = site(lines, "create table log (id int)")?;
    src.batch_execute(
        "select pgq.insert_event_raw('from', null, t, null, null, 'I:id', 'id=1', 'public.t', null, null, null)
           from unnest('{2024-05-31 14:59:59.999999+00, 2024-05-31 15:00:00+00}'::timestamptz[]) t",
    )?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(
        tables(&mut dst, "log_")?,
        ["log_2024_05_31", "log_2024_06_01"]
    );
    Ok(())
}

#[test]
fn declarative_partitions_take_moments_in_their_zone() -> TestResult {
    let lines = "dest_table = log\npart_field = at\npart_style = declarative\npartition_timezone = Asia/Tokyo\n\
                 fields = id, at:moment";
    let target = "create table log (id int, moment timestamptz, primary key (id, moment)) \
                  partition by range (moment)";
    let (site, mut src, mut dst) = site(lines, target)?;
    put(
        &mut src,
        &[
            "id=1&at=2024-05-31+14%3a59%3a59%2b00",
            "id=2&at=2024-05-31+15%3a00%3a00%2b00",
            "id=3&at=2024-06-01+00%3a30%3a00%2b09",
            "id=4&at=2024-06-01+00%3a30%3a00-05%3a30",
        ],
    )?;
    site.drain("mover")?;
    let found = dst.query(
        "select tableoid::regclass::text, id from log order by id",
        &[],
    )?;
    let found: Vec<(String, i32)> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    let (may, june) = ("log_2024_05_31".to_owned(), "log_2024_06_01".to_owned());
    assert_eq!(
        found,
        [(may, 1), (june.clone(), 2), (june.clone(), 3), (june, 4)]
    );
    Ok(())
}

#[test]
fn two_jobs_make_the_same_partitions_at_once() -> TestResult {
    let (site, mut src, mut dst) = site(
        "dest_table = log\npart_field = at\npart_style = inherit",
        "create table log (id int, at date)",
    )?;
    site.write("other", "")?;
    site.drain("other")?;
    src.batch_execute(
        "select pgq.insert_event('from', 'I:id', 'id=' || n || '&at=' || ('2024-01-01'::date + n % 50))
           from generate_series(1, 500) n",
    )?;
    tick(&mut src, "from")?;
    let run = |job: &str| {
        site.program(&format!("{job}.ini --set loop_delay=0"))
            .spawn()
    };
    let (mut one, mut two) = (run("mover")?, run("other")?);
    let patience = std::time::Duration::from_secs(60);
    assert!(one.wait(patience)?.success() && two.wait(patience)?.success());
    for job in ["mover", "other"] {
        assert!(!site.log(job).contains(" ERROR "), "{}", site.log(job));
    }
    let row = dst.query_one("select count(*), count(distinct tableoid) from log", &[])?;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1000, 50));
    Ok(())
}

#[test]
fn partitions_go_when_their_time_is_over_and_do_not_come_back() -> TestResult {
    let (site, mut src, mut dst) = site(
        "dest_table = log\npart_field = at\npart_method = monthly\npart_style = inherit\n\
         retention_period = 10 years\nignore_old_events = 1\nprecreate = 1\nretention_check = 0",
        "create table log (id int, at date); create table log_2001_01 () inherits (log); \
         create table log_2001_02 (); insert into log_2001_01 values (1, '2001-01-01')",
    )?;
    let ahead = tables(&mut dst, "log_2")?;
    assert!(
        !ahead.contains(&"log_2001_01".to_owned()) && ahead.contains(&"log_2001_02".to_owned())
    );
    assert_eq!(ahead.len(), 3, "{ahead:?}");
    assert!(
        site.log("mover")
            .contains("partition public.log_2001_01 is older than 10 years and was dropped")
    );
    put(&mut src, &["id=1&at=2001-01-01", "id=2&at=2100-01-01"])?;
    site.drain("mover")?;
    assert!(
        site.log("mover")
            .contains("inserted: 1, skipped: 1, created: 1"),
        "{}",
        site.log("mover")
    );
    assert_eq!(rows(&mut dst, "log")?, ["(2,2100-01-01)"]);
    assert!(!tables(&mut dst, "log_2001_01")?.contains(&"log_2001_01".to_owned()));
    Ok(())
}

#[test]
fn keys_that_contradict_each_other_are_refused() -> TestResult {
    let (site, mut src, mut dst) = site("dest_table = t", "create table t (id int, at date)")?;
    for (keys, why) in [
        (
            "part_field = a\npart_column = b",
            "part_field and its old name part_column differ",
        ),
        (
            "part_method = hourly",
            "expected one of daily, monthly, yearly, found hourly",
        ),
        (
            "part_field = at\npart_style = declarative\nfields = id",
            "needs a part_field that is a column of the target",
        ),
        (
            "part_field = _EVTIME\npart_style = declarative",
            "needs a part_field that is a column of the target",
        ),
        (
            "part_field = at\npart_style = inherit\npart_strict = 0",
            "part_strict = 0 goes with part_style = template only",
        ),
        (
            "partition_timezone = Nowhere/At_all",
            "unknown time zone Nowhere/At_all",
        ),
        ("fields =", "fields is empty"),
        ("fields = a:b:c", "neither a name nor SOURCE:TARGET"),
        ("event_types = X", "event_types: \"X\" is none of I, U, D"),
        ("dest_table =", "Config value not set: dest_table"),
        (
            "retention_action = shred",
            "retention_action is none of drop, detach, call:FUNCTION",
        ),
    ] {
        site.write("wrong", keys)?;
        site.refused("wrong.ini", why)?;
    }
    for (keys, why) in [
        (
            "retention_period = for ever",
            "retention_period: ERROR: invalid input syntax for type interval: \"for ever\"",
        ),
        (
            "retention_period = -1 day",
            "retention_period: it has to be more than 0",
        ),
    ] {
        site.write("wrong", keys)?;
        site.refused("wrong.ini", why)?;
    }
    // A wrong configuration leaves the old one in force.
    let mut running = site.program("mover.ini").spawn()?;
    let patience = std::time::Duration::from_secs(60);
    put(&mut src, &["id=1"])?;
    wait_until("the row to arrive", patience, || {
        Ok(rows(&mut dst, "t")?.len() == 1)
    })?;
    site.write("mover", "fields = a:b:c")?;
    site.program("mover.ini -r --set fields=id").succeed()?;
    wait_until("the refusal", patience, || {
        Ok(site.log("mover").contains("the old one stays"))
    })?;
    site.write("mover", "fields = id:at\ndest_table = t")?;
    site.program("mover.ini -r").succeed()?;
    wait_until("the reload", patience, || {
        Ok(site.log("mover").contains("Config reloaded"))
    })?;
    put(&mut src, &["id=2024-05-31"])?;
    wait_until("the row to arrive", patience, || {
        Ok(rows(&mut dst, "t")?.len() == 2)
    })?;
    site.program("mover.ini -s").succeed()?;
    assert!(running.wait(patience)?.success());
    Ok(())
}

#[test]
fn a_partition_that_somebody_drops_while_the_job_runs_comes_back() -> TestResult {
    let site = MoverSite::start("table_dispatcher", MONTHLY)?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(LOG)?;
    site.write("mover", "drift = add")?;
    site.drain("mover")?;
    let mut running = site.program("mover.ini").spawn()?;
    for id in [1, 2] {
        dst.batch_execute("drop table if exists log_2024_05")?;
        put(&mut src, &[&format!("id={id}&at=2024-05-31")])?;
        wait_until("the row to arrive", PATIENCE, || {
            Ok(rows(&mut dst, "log")? == [format!("({id},\"2024-05-31 00:00:00\",)")])
        })?;
    }
    site.program("mover.ini -s").succeed()?;
    assert!(running.wait(PATIENCE)?.success());
    Ok(())
}

#[test]
fn a_template_has_the_key_of_json_events_too() -> TestResult {
    let (site, mut src, mut dst) = site(MONTHLY, LOG)?;
    src.batch_execute(
        "create table log (id int primary key, at timestamp, v text);
         create trigger capture after insert on log for each row execute function pgq.jsontriga('from');
         insert into log values (1, '2024-05-31', 'x')",
    )?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(
        rows(&mut dst, "log_2024_05")?,
        ["(1,\"2024-05-31 00:00:00\",x)"]
    );
    Ok(())
}
