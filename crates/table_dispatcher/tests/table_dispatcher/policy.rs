//! Events and rows that cannot be applied.

use testkit::{TestResult, tick};

use crate::{put, put_event, rows, site};

/// Data of events that are no rows, and why.
const MALFORMED: [(&str, Option<&str>, &str); 7] = [
    ("I:id", None, "row event without data"),
    ("I:id", Some(""), "row event without columns"),
    ("I:id", Some("id=%4"), "Incomplete hex code"),
    ("I:id", Some("id=%zz"), "Invalid hex code"),
    ("I:id", Some("id=1&=2"), "a column that has no name"),
    ("I:id", Some("v=%ff"), "column v is not valid UTF8"),
    ("R", Some(""), "the table was truncated"),
];

#[test]
fn an_event_that_is_no_row_blocks_or_is_put_aside() -> TestResult {
    let (site, mut src, mut dst) = site("dest_table = t", "create table t (id int, v text)")?;
    for policy in ["skip", "quarantine"] {
        site.write(
            policy,
            &format!("bad_event = {policy}\npgq_consumer_id = {policy}"),
        )?;
        site.drain(policy)?;
    }
    for (n, (kind, data, why)) in MALFORMED.into_iter().enumerate() {
        put_event(&mut src, kind, data)?;
        put(&mut src, &[&format!("id={n}")])?;
        let id: i64 = src
            .query_one("select max(ev_id) - 1 from pgq.event_template", &[])?
            .get(0);
        site.refused("mover.ini --once", &format!("event {id} cannot be applied"))?;
        site.refused("mover.ini --once", why)?;
        assert!(rows(&mut dst, "t")?.is_empty());
        for policy in ["skip", "quarantine"] {
            site.drain(policy)?;
            assert_eq!(rows(&mut dst, "t")?, [format!("({n},)")], "{policy} {why}");
            assert!(site.log(policy).contains(why), "{}", site.log(policy));
            dst.batch_execute("truncate t")?;
        }
        // What blocks is removed by hand.
        src.batch_execute(&format!(
            "delete from pgq.event_template where ev_id = {id}"
        ))?;
        site.drain("mover")?;
        dst.batch_execute("truncate t")?;
    }
    let aside: i64 = dst
        .query_one("select count(*) from pgq_ext.bad_event", &[])?
        .get(0);
    assert_eq!(aside, 7);
    Ok(())
}

#[test]
fn an_event_is_bad_wherever_it_stands_and_whatever_is_taken_of_it() -> TestResult {
    let (site, mut src, mut dst) = site(
        "dest_table = t\nfields = id\nbad_event = quarantine",
        "create table t (id text)",
    )?;
    put(
        &mut src,
        &[
            "id=1&v=x",
            "id=2&v=%zz",
            "id=3&v=%ff",
            "id=%00&v=x",
            "id=4&v=%c3%a4",
            "id=5&v",
            "id=6&v=%00",
            "id=%4&v=x",
            "id=%c3&v=x",
            "id=a%09b%5c%0a&v=x+%2b",
            "id&v=x",
            "id=7&v=x&v=y",
            "id=8&v=x&=",
        ],
    )?;
    site.drain("mover")?;
    assert_eq!(
        rows(&mut dst, "t")?,
        ["(\"a\tb\\\\\n\")", "()", "(1)", "(4)", "(5)", "(7)"]
    );
    let aside: i64 = dst
        .query_one("select count(*) from pgq_ext.bad_event", &[])?
        .get(0);
    assert_eq!(aside, 7);
    Ok(())
}

#[test]
fn any_type_is_taken_and_whatever_table() -> TestResult {
    let (site, mut src, mut dst) = site("dest_table = t", "create table t (id int, v text)")?;
    for (n, kind) in ["", "X:id", "I", "I:a:b", "new"].into_iter().enumerate() {
        put_event(&mut src, kind, Some(&format!("id={n}")))?;
    }
    src.batch_execute("select pgq.insert_event('from', null, 'id=5', null, 'v=old', null, null)")?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(rows(&mut dst, "t")?.len(), 6);
    Ok(())
}

#[test]
fn a_row_that_the_target_refuses_is_named() -> TestResult {
    let (site, mut src, mut dst) =
        site("dest_table = t", "create table t (id int unique, v text)")?;
    put(&mut src, &["id=1", "id=2", "id=x", "id=4"])?;
    let id: i64 = src
        .query_one("select max(ev_id) - 1 from pgq.event_template", &[])?
        .get(0);
    let why = format!("event {id} cannot be put into public.t: cannot copy rows into public.t");
    site.refused("mover.ini --once", &why)?;
    site.refused(
        "mover.ini --once",
        "invalid input syntax for type integer: \"x\"",
    )?;
    src.batch_execute("update pgq.event_template set ev_data = 'id=2' where ev_data = 'id=x'")?;
    site.refused(
        "mover.ini --once",
        &format!("event {id} cannot be put into public.t"),
    )?;
    assert!(rows(&mut dst, "t")?.is_empty());
    src.batch_execute("delete from pgq.event_template where ev_data = 'id=2'")?;
    site.drain("mover")?;
    assert_eq!(rows(&mut dst, "t")?, ["(1,)", "(4,)"]);
    Ok(())
}

#[test]
fn columns_that_the_target_does_not_have_block_or_are_left_out_or_added() -> TestResult {
    let (site, mut src, mut dst) = site("dest_table = t", "create table t (id int, v text)")?;
    for policy in ["ignore", "add"] {
        site.write(
            policy,
            &format!("drift = {policy}\npgq_consumer_id = {policy}"),
        )?;
        site.drain(policy)?;
    }
    src.batch_execute("create table t (id int, \"New\" numeric(10,2))")?;
    put(&mut src, &["id=1", "New=1.5&id=2&v=a%09b", "id=3&other=x"])?;
    let id: i64 = src
        .query_one("select max(ev_id) - 1 from pgq.event_template", &[])?
        .get(0);
    site.refused(
        "mover.ini --once",
        &format!("event {id}: table public.t has no column New; add it, leave it out of fields, or set drift"),
    )?;
    site.drain("ignore")?;
    assert_eq!(rows(&mut dst, "t")?, ["(1,)", "(2,\"a\tb\")", "(3,)"]);
    put(&mut src, &["new=1"])?;
    site.refused("ignore.ini --once", "table public.t has no column new")?;
    src.batch_execute("delete from pgq.event_template where ev_data = 'new=1'")?;

    dst.batch_execute("truncate t")?;
    let shown = site.program("add.ini --dry-run").succeed()?.stdout;
    assert!(
        shown.contains("public.t.New: created\npublic.t.other: created\npublic.t: 3 inserted"),
        "{shown}"
    );
    assert!(rows(&mut dst, "t")?.is_empty());
    site.drain("add")?;
    assert_eq!(
        rows(&mut dst, "t")?,
        ["(1,,,)", "(2,\"a\tb\",1.50,)", "(3,,,x)"]
    );
    site.drain("mover")
}

#[test]
fn what_is_no_table_is_refused() -> TestResult {
    let (site, mut src, mut dst) = site("dest_table = t", "create view t as select 1 as id")?;
    put(&mut src, &["id=1"])?;
    site.refused("mover.ini --once", "public.t is no table")?;
    dst.batch_execute(
        "drop view t; create table t (id int) partition by hash (id);
         create table t1 partition of t for values with (modulus 1, remainder 0)",
    )?;
    site.drain("mover")?;
    assert_eq!(rows(&mut dst, "t1")?, ["(1)"]);
    Ok(())
}

#[test]
fn rows_that_the_target_refuses_can_be_left_out_if_they_are_few() -> TestResult {
    let (site, mut src, mut dst) = site(
        "dest_table = t\npart_field = at\nbad_event = skip\nbad_row_limit = 2\n\
         part_template = create table _DEST_TABLE (like _PARENT including all)",
        "create table t (id int primary key, at date, check (id <> 400))",
    )?;
    src.batch_execute(
        "select pgq.insert_event('from', 'I:id', 'id=' || n || '&at=2024-05-0' || n % 3 + 1, 'public.t', null, null, null)
           from generate_series(1, 500) n;
         select pgq.insert_event('from', 'I:id', 'id=7&at=2024-05-02', 'public.t', null, null, null)",
    )?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    let log = site.log("mover");
    assert!(log.contains("event 400 is skipped: "), "{log}");
    assert!(log.contains("event 501 is skipped: "), "{log}");
    assert!(log.contains("{count: 501, "), "{log}");
    assert!(
        log.contains("inserted: 499, skipped: 2, created: 3"),
        "{log}"
    );
    let rows: usize = (1..=3)
        .map(|day| Ok(rows(&mut dst, &format!("t_2024_05_0{day}"))?.len()))
        .sum::<TestResult<usize>>()?;
    assert_eq!(rows, 499);

    // A target that refuses everything is not taken for so many bad events.
    dst.batch_execute("alter table t_2024_05_01 add constraint narrow check (id < 600) not valid")?;
    put(
        &mut src,
        &[
            "id=601&at=2024-05-01",
            "id=602&at=2024-05-01",
            "id=603&at=2024-05-01",
        ],
    )?;
    site.refused(
        "mover.ini --once",
        "the target refuses more than 2 events of the batch",
    )?;
    dst.batch_execute("alter table t_2024_05_01 drop constraint narrow")?;
    site.drain("mover")
}
