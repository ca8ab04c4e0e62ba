//! What consumers remember in a target database.

use std::thread;

use testkit::TestResult;

use crate::catalogue;
use crate::support::{cluster, pid, row, rows, run, run_scripts, wait_for_lock};

#[test]
fn both_forms_remember_batches_events_and_ticks() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    for who in ["'c'", "'c', 'sub'"] {
        for (call, result) in [
            ("is_batch_done({who}, 1)", "f"),
            ("set_batch_done({who}, 1)", "t"),
            ("set_batch_done({who}, 1)", "f"),
            ("is_batch_done({who}, 1)", "t"),
            ("set_batch_done({who}, 2)", "t"),
            ("is_batch_done({who}, 1)", "f"),
            ("set_batch_done({who}, 0)", "t"),
            ("is_batch_done({who}, 2)", "t"),
            ("is_event_done({who}, 1, 7)", "f"),
            ("set_event_done({who}, 1, 7)", "t"),
            ("set_event_done({who}, 1, 7)", "f"),
            ("set_event_done({who}, 1, 8)", "t"),
            ("is_event_done({who}, 1, 7)", "t"),
            // A new batch, and the old one's events are forgotten.
            ("set_event_done({who}, 2, 7)", "t"),
            ("is_event_done({who}, 1, 7)", "f"),
            ("is_event_done({who}, 2, 7)", "t"),
            ("get_last_tick({who})", "NULL"),
            ("set_last_tick({who}, 5)", "1"),
            ("set_last_tick({who}, 3)", "1"),
            ("get_last_tick({who})", "3"),
            ("set_last_tick({who}, null)", "1"),
            ("get_last_tick({who})", "NULL"),
        ] {
            let call = call.replace("{who}", who);
            assert_eq!(
                row(&mut db, &format!("select pgq_ext.{call}"))?,
                result,
                "{call}"
            );
        }
    }
    for (call, result) in [
        // Nobody forgot what another one had done.
        ("is_event_done('c', 2, 7)", "t"),
        ("is_event_done('c', '', 2, 7)", "t"),
        ("is_event_done('d', 2, 7)", "f"),
        ("is_batch_done('d', 2)", "f"),
        ("get_last_tick('d')", "NULL"),
        // What is no batch is not stored.
        ("set_batch_done('c', -1)", "t"),
        ("set_batch_done('c', null)", "t"),
        ("is_batch_done('c', 2)", "t"),
        ("get_last_tick_time('c')", "NULL"),
        (
            "set_last_tick('c', '', 5, '2026-01-02 03:04:05.678901+00')",
            "1",
        ),
        ("get_last_tick('c')", "5"),
        (
            "get_last_tick_time('c') = '2026-01-02 03:04:05.678901+00'",
            "t",
        ),
        ("get_last_tick_time('c', 'sub')", "NULL"),
        // Who does not tell the time leaves none of another tick.
        ("set_last_tick('c', 6)", "1"),
        ("get_last_tick_time('c')", "NULL"),
        ("set_last_tick('c', '', null, now())", "1"),
        ("get_last_tick('c')", "NULL"),
        ("set_batch_done('d', '', 5, '2026-01-02')", "t"),
        ("set_batch_done('d', '', 5, '2026-01-02')", "f"),
        ("is_batch_done('d', '', 5, '2026-01-03')", "f"),
        ("is_batch_done('d', 5)", "t"),
        ("set_batch_done('d', 5)", "f"),
        ("set_batch_done('d', '', 5, '2026-01-03')", "t"),
        ("set_batch_done('d', 6)", "t"),
        ("is_batch_done('d', '', 6, '2026-01-03')", "t"),
    ] {
        let found = row(&mut db, &format!("select pgq_ext.{call}"))?;
        assert_eq!(found, result, "{call}");
    }
    assert_eq!(row(&mut db, "select pgq_ext.version()")?, "3.3");
    assert_eq!(row(&mut db, "select pgq_ext.upgrade_schema()")?, "0");
    Ok(())
}

#[test]
fn tables_of_version_2_are_upgraded_with_what_they_hold() -> TestResult {
    let (cluster, mut db) = cluster()?;
    let mut old = cluster.create_database("old")?;
    old.batch_execute(
        "create schema pgq_ext;
         create table pgq_ext.completed_tick (consumer_id text not null, last_tick_id bigint not null,
             constraint completed_tick_pkey primary key (consumer_id));
         create table pgq_ext.completed_batch (consumer_id text not null, last_batch_id bigint not null,
             constraint completed_batch_pkey primary key (consumer_id));
         create table pgq_ext.completed_event (consumer_id text not null, batch_id bigint not null,
             event_id bigint not null,
             constraint completed_event_pkey primary key (consumer_id, batch_id, event_id));
         create table pgq_ext.partial_batch (consumer_id text not null, cur_batch_id bigint not null,
             constraint partial_batch_pkey primary key (consumer_id));
         insert into pgq_ext.completed_tick values ('c', 5);
         insert into pgq_ext.completed_batch values ('c', 6);
         insert into pgq_ext.completed_event values ('c', 7, 8);
         insert into pgq_ext.partial_batch values ('c', 7)",
    )?;
    run(&mut old, &["pgq_ext/functions/pgq_ext.upgrade_schema.sql"])?;
    for changes in ["6", "0"] {
        assert_eq!(row(&mut old, "select pgq_ext.upgrade_schema()")?, changes);
    }
    run_scripts(&mut old)?;
    catalogue::assert_same(&mut old, &mut db)?;
    assert_eq!(
        row(
            &mut old,
            "select pgq_ext.get_last_tick('c'), pgq_ext.is_batch_done('c', 6), pgq_ext.is_event_done('c', 7, 8), \
                    pgq_ext.get_last_tick_time('c'), pgq_ext.is_batch_done('c', '', 6, now())"
        )?,
        "5|t|t|NULL|t"
    );
    assert_eq!(
        rows(
            &mut old,
            "select conname, pg_get_constraintdef(oid) from pg_constraint \
             where connamespace = 'pgq_ext'::regnamespace and contype = 'p' order by 1"
        )?,
        [
            "completed_batch_pkey|PRIMARY KEY (consumer_id, subconsumer_id)",
            "completed_event_pkey|PRIMARY KEY (consumer_id, subconsumer_id, batch_id, event_id)",
            "completed_tick_pkey|PRIMARY KEY (consumer_id, subconsumer_id)",
            "partial_batch_pkey|PRIMARY KEY (consumer_id, subconsumer_id)",
        ]
    );
    Ok(())
}

#[test]
fn of_two_sessions_that_do_the_same_at_once_one_has_done_it() -> TestResult {
    let (cluster, mut db) = cluster()?;
    let mut other = cluster.connect("postgres")?;
    let other_pid = pid(&mut other)?;
    // With what was done before, and without.
    for number in [1, 2] {
        for (call, first, second) in [
            (format!("set_batch_done('c', {number})"), "t", "f"),
            (format!("set_event_done('c', {number}, 1)"), "t", "f"),
            (format!("set_last_tick('c', {number})"), "1", "1"),
        ] {
            let call = format!("select pgq_ext.{call}");
            assert_eq!(row(&mut db, &format!("begin; {call}"))?, first, "{call}");
            let found = thread::scope(|scope| -> TestResult<String> {
                let second = scope.spawn(|| row(&mut other, &call));
                wait_for_lock(&mut cluster.connect("postgres")?, &other_pid)?;
                db.batch_execute("commit")?;
                second.join().expect("the other session does not panic")
            })?;
            assert_eq!(found, second, "{call}");
        }
    }
    assert_eq!(
        row(
            &mut db,
            "select (select string_agg(b::text, '') from pgq_ext.completed_batch b),
                    (select string_agg(e::text, '') from pgq_ext.completed_event e),
                    (select string_agg(p::text, '') from pgq_ext.partial_batch p),
                    (select string_agg(t::text, '') from pgq_ext.completed_tick t)"
        )?,
        "(c,\"\",2,)|(c,\"\",2,1)|(c,\"\",2)|(c,\"\",2,)"
    );
    Ok(())
}
