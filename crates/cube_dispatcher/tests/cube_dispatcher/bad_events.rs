//! Events that cannot be applied.

use postgres::Client;
use testkit::{MoverSite, TestResult, tick};

use crate::{apply, put, rows, site};

/// Type, data and table of an event, and what is wrong with it.
type Bad = (
    Option<&'static str>,
    Option<&'static str>,
    Option<&'static str>,
    &'static str,
);

const BAD: [Bad; 9] = [
    (None, Some("id=1"), Some("public.t"), "event without a type"),
    (
        Some(""),
        Some("id=1"),
        Some("public.t"),
        "is no operation on a row",
    ),
    (
        Some("X:id"),
        Some("id=1"),
        Some("public.t"),
        "type \"X:id\" is no operation on a row",
    ),
    (
        Some("I"),
        Some("id=1"),
        Some("public.t"),
        "does not hold the whole row",
    ),
    (
        Some("I:a:b"),
        Some("id=1"),
        Some("public.t"),
        "key column a:b is missing in the row",
    ),
    (
        Some("I:id"),
        Some("id=%4"),
        Some("public.t"),
        "Incomplete hex code",
    ),
    (
        Some("I:id"),
        None,
        Some("public.t"),
        "row event without data",
    ),
    (Some("I:id"), Some("id=1"), None, "event without a table"),
    (
        Some("R"),
        Some(""),
        Some("public.t"),
        "the table was truncated at the source",
    ),
];

fn put_bad(src: &mut Client) -> TestResult {
    for (kind, data, table, _) in BAD {
        src.execute(
            "select pgq.insert_event('from', $1, $2, $3, 'a=1', null, '4')",
            &[&kind, &data, &table],
        )?;
    }
    put(src, "I:", "id=9", "public.t")?;
    put(src, "U:gone", "id=9&gone=1", "public.t")
}

#[test]
fn each_policy_does_what_it_says() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute("create table t (id int primary key, v text)")?;
    for policy in ["fail", "skip", "quarantine"] {
        let drift = "drift = ignore\ndateformat = ";
        site.write(
            policy,
            &format!("bad_event = {policy}\n{drift}\"{policy}\""),
        )?;
        site.drain(policy)?;
    }
    put(&mut src, "I:id", "id=1&v=before", "public.t")?;
    put_bad(&mut src)?;
    put(&mut src, "I:id", "id=2&v=behind", "public.t")?;
    tick(&mut src, "from")?;

    site.refused(
        "fail.ini --once",
        "event 2 cannot be applied: event without a type; see bad_event",
    )?;
    assert!(dst.query("select from t_fail", &[]).is_err());

    site.drain("skip")?;
    assert_eq!(rows(&mut dst, "t_skip")?, ["(1,before)", "(2,behind)"]);
    let log = site.log("skip");
    assert!(
        log.contains("WARNING event 2 is skipped: event without a type"),
        "{log}"
    );
    assert!(log.contains("WARNING 1 more events like these"), "{log}");
    assert!(
        log.contains("{count: 13, ") && log.contains("skipped: 11"),
        "{log}"
    );

    site.drain("quarantine")?;
    assert_eq!(
        rows(&mut dst, "t_quarantine")?,
        ["(1,before)", "(2,behind)"]
    );
    let log = site.log("quarantine");
    assert!(log.contains("quarantined: 11"), "{log}");
    let aside = dst.query(
        "select ev_id, reason, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4,
                consumer, queue, ev_time > now() - interval '1 hour' and logged_at > now() - interval '1 hour'
           from pgq_ext.bad_event order by ev_id",
        &[],
    )?;
    assert_eq!(aside.len(), 11);
    for (row, (n, (kind, data, table, why))) in aside.iter().zip((2..).zip(BAD)) {
        let reason: &str = row.get(1);
        assert!(reason.contains(why), "{n}: {reason}");
        let texts: Vec<Option<&str>> = (2..10).map(|column| row.get(column)).collect();
        let expected = [
            kind,
            data,
            table,
            Some("a=1"),
            None,
            Some("4"),
            Some("quarantine"),
            Some("from"),
        ];
        assert_eq!(
            (row.get::<_, i64>(0), texts, row.get::<_, bool>(10)),
            (n, expected.to_vec(), true)
        );
    }
    let last: Vec<&str> = aside[9..].iter().map(|row| row.get(1)).collect();
    assert_eq!(
        last,
        [
            "event without key columns",
            "table public.t_quarantine has no key column gone"
        ]
    );
    Ok(())
}

#[test]
fn an_event_that_was_put_aside_can_be_replayed() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute("create table t (id int primary key, v text)")?;
    site.write("mover", "bad_event = quarantine")?;
    site.drain("mover")?;
    put(&mut src, "I:id", "id=1&v=it%zzs", "public.t")?;
    apply(&site, &mut src)?;
    let statement: String = dst
        .query_one(
            "select format('select pgq.insert_event(%L, %L, %L, %L, %L, %L, %L);', \
             queue, ev_type, replace(ev_data, '%zz', '%27'), ev_extra1, ev_extra2, ev_extra3, ev_extra4) \
             from pgq_ext.bad_event where consumer = 'mover' and ev_id = 1",
            &[],
        )?
        .get(0);
    src.batch_execute(&statement)?;
    dst.batch_execute("delete from pgq_ext.bad_event where consumer = 'mover' and ev_id = 1")?;
    apply(&site, &mut src)?;
    assert_eq!(rows(&mut dst, "t_kept")?, ["(1,it's)"]);
    assert!(rows(&mut dst, "pgq_ext.bad_event")?.is_empty());
    Ok(())
}

#[test]
fn many_bad_events_are_put_aside_once_though_the_process_dies() -> TestResult {
    let site = MoverSite::start(
        "cube_dispatcher",
        "dateformat = \"kept\"\nbad_event = quarantine\nquarantine_table = aside",
    )?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.refused(
        "mover.ini",
        "dst_db has no table public.aside for events that cannot be applied",
    )?;
    dst.batch_execute(
        "create table t (id int primary key); create table aside (consumer text, queue text)",
    )?;
    site.refused(
        "mover.ini",
        "public.aside for events that cannot be applied with ev_id, ev_time, ",
    )?;
    dst.batch_execute(
        "drop table aside; create table aside (like pgq_ext.bad_event including defaults)",
    )?;
    site.drain("mover")?;
    src.batch_execute(
        "select pgq.insert_event('from', 'I:id', 'id=' || n || '&v=%' || repeat('x', 200), 'public.t', null, null, null)
           from generate_series(1, 5000) n;
         select pgq.insert_event('from', 'I:id', 'id=1', 'public.t', null, null, null)",
    )?;
    tick(&mut src, "from")?;
    for step in [
        "consumer.before_target_commit",
        "consumer.after_target_commit",
    ] {
        let output = (site.program("mover.ini --once"))
            .env("FAILPOINTS", format!("{step}=return(kill)"))
            .output()?;
        assert_eq!(output.status.code(), None, "{step} was not reached");
    }
    site.drain("mover")?;
    let row = dst.query_one("select count(*), count(distinct ev_id) from aside", &[])?;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (5000, 5000));
    assert_eq!(rows(&mut dst, "t_kept")?, ["(1)"]);
    Ok(())
}

#[test]
fn a_role_that_may_only_write_can_put_events_aside_but_not_read_them() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(
        "create role writer login; grant pgq_writer to writer; grant create on schema public to writer;
         create table t (id int primary key); grant select on t to writer",
    )?;
    let conninfo = site
        .cluster
        .conninfo("dst")
        .replace("user=postgres", "user=writer");
    site.write(
        "mover",
        &format!("bad_event = quarantine\ndst_db = {conninfo}"),
    )?;
    site.drain("mover")?;
    put(&mut src, "X:id", "id=1", "public.t")?;
    put(&mut src, "I:id", "id=1", "public.t")?;
    apply(&site, &mut src)?;
    assert_eq!(rows(&mut dst, "pgq_ext.bad_event")?.len(), 1);
    assert_eq!(rows(&mut dst, "t_kept")?, ["(1)"]);
    for statement in [
        "select from pgq_ext.bad_event",
        "delete from pgq_ext.bad_event",
    ] {
        let refused = dst.batch_execute(&format!("set role writer; {statement}"));
        assert!(refused.is_err(), "{statement}");
        dst.batch_execute("reset role")?;
    }
    dst.batch_execute("set role pgq_admin; delete from pgq_ext.bad_event; reset role")?;
    Ok(())
}

#[test]
fn a_delete_where_all_is_kept_is_a_bad_event_unless_it_is_ignored() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute("create table t (id int primary key)")?;
    site.write("mover", "mode = keep_all")?;
    site.write(
        "ignoring",
        "mode = keep_all\nkeep_all_delete = ignore\ndateformat = \"ignoring\"",
    )?;
    site.drain("mover")?;
    site.drain("ignoring")?;
    for kind in ["I:id", "D:id", "I:id"] {
        put(&mut src, kind, "id=1", "public.t")?;
    }
    tick(&mut src, "from")?;
    site.refused(
        "mover.ini --once",
        "event 2 cannot be applied: a delete, of which keep_all keeps nothing",
    )?;
    site.drain("ignoring")?;
    // Without a key, as it comes twice.
    assert_eq!(rows(&mut dst, "t_ignoring")?, ["(1)", "(1)"]);
    Ok(())
}

#[test]
fn rows_that_the_target_refuses_are_put_aside_whatever_is_kept() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    for mode in ["keep_latest", "keep_all"] {
        dst.batch_execute(
            "drop table if exists t, t_kept;
             create table t (id int, v int check (v <> 700)); create table t_kept (like t including all)",
        )?;
        site.write(
            "mover",
            &format!("mode = {mode}\nbad_event = quarantine\nbad_row_limit = 9"),
        )?;
        site.drain("mover")?;
        src.batch_execute(
            "select pgq.insert_event('from', 'U:id', 'id=' || n % 400 || '&v=' || case n when 77 then 'x' else n::text end,
                                     'public.t', null, null, null)
               from generate_series(1, 1000) n",
        )?;
        apply(&site, &mut src)?;
        // Of the first one there is a later version, of the other one too.
        let kept = if mode == "keep_all" { 998 } else { 400 };
        assert_eq!(rows(&mut dst, "t_kept")?.len(), kept, "{mode}");
        let aside = dst.query("delete from pgq_ext.bad_event returning ev_data", &[])?;
        let aside: Vec<&str> = aside.iter().map(|row| row.get(0)).collect();
        assert!(aside.contains(&"id=300&v=700"), "{mode}: {aside:?}");
    }
    Ok(())
}
