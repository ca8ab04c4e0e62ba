//! Queues, consumers and members of groups with names of any sign and length, in every function that takes one.

use std::collections::BTreeSet;

use postgres::Client;
use testkit::TestResult;

use crate::support::{cluster, refusal, row, rows};

/// Calls in the order of a queue's life, and the row that each returns. `{n}` is the name, as queue, as consumer and as
/// member; `{b}` the result of the last call that is expected to be `b`.
const LIFE: &[(&str, &str)] = &[
    ("pgq.create_queue({n})", "1"),
    ("pgq.create_queue({n})", "0"),
    ("pgq.set_queue_config({n}, 'ticker_max_lag', '0')", "1"),
    ("pgq.set_queue_config({n}, 'ticker_idle_period', '0')", "1"),
    ("pgq.grant_perms({n})", "1"),
    ("pgq.tune_storage({n})", "1"),
    ("pgq.register_consumer({n}, {n})", "1"),
    ("pgq.register_consumer({n}, {n}, 1)", "0"),
    ("pgq.register_consumer_at({n}, {n}, 1)", "0"),
    ("pgq.insert_event({n}, {n}, {n})", "1"),
    (
        "pgq.insert_event({n}, 't', 'd', {n}, null, null, null)",
        "2",
    ),
    (
        "pgq.insert_event_raw({n}, null, null, null, null, 't', 'd', null, null, null, null)",
        "3",
    ),
    ("pgq.insert_events({n}, 't', '{d}')", "{4}"),
    (
        "pgq.insert_events({n}, '{t}', '{d}', null, null, null, null)",
        "{5}",
    ),
    ("pgq.send({n}, 'd')", "6"),
    ("pgq.send({n}, 't', 'd')", "7"),
    (
        "pgq.current_event_table({n}) = (select queue_data_pfx || '_0' from pgq.queue where queue_name = {n})",
        "t",
    ),
    ("pgq.force_tick({n})", "1"),
    ("pgq.ticker({n})", "2"),
    ("queue_name = {n} from pgq.get_queue_info({n})", "t"),
    ("queue_name = {n} from pgq.get_queue_health({n})", "t"),
    ("consumer_name = {n} from pgq.get_consumer_info({n})", "t"),
    ("queue_name = {n} from pgq.get_consumer_info({n}, {n})", "t"),
    (
        "consumer_name = {n} from pgq.get_consumer_health({n}, {n})",
        "t",
    ),
    ("pgq.next_batch({n}, {n})", "b"),
    ("batch_id = {b} from pgq.next_batch_info({n}, {n})", "t"),
    (
        "batch_id = {b} from pgq.next_batch_custom({n}, {n}, null, null, null)",
        "t",
    ),
    (
        "queue_name = {n} and consumer_name = {n} from pgq.get_batch_info({b})",
        "t",
    ),
    (
        "count(*) from pgq.get_batch_events({b}) where ev_type = {n} and ev_data = {n} or ev_extra1 = {n}",
        "2",
    ),
    ("count(*) from pgq.receive({n}, {n})", "7"),
    ("count(*) from pgq.receive({n}, {n}, 2)", "2"),
    (
        "sum(pgq.event_failed({b}, n, {n})) from generate_series(1, 4) n",
        "4",
    ),
    ("pgq.failed_event_count({n}, {n})", "4"),
    (
        "ev_failed_reason = {n} from pgq.failed_event_list({n}, {n}) limit 1",
        "t",
    ),
    (
        "ev_extra1 = {n} from pgq.failed_event_list({n}, {n}, 1, 1)",
        "t",
    ),
    ("pgq.failed_event_delete({n}, {n}, 3)", "1"),
    ("pgq.failed_event_retry({n}, {n}, 2)", "2"),
    ("pgq.failed_event_replay({n}, {n})", "2"),
    ("pgq.failed_event_purge({n}, {n}, '0')", "0"),
    ("pgq.event_retry({b}, 5, 0)", "1"),
    (
        "pgq.event_retry_raw({n}, {n}, now(), 900, now(), 1, 't', {n}, null, null, null, null)",
        "900",
    ),
    ("pgq.maint_retry_events()", "2"),
    ("pgq.finish_batch({b})", "1"),
    ("pgq.ticker({n})", "3"),
    ("pgq.next_batch({n}, {n})", "b"),
    (
        "count(*) from pgq.get_batch_events({b}) where ev_data = {n} and ev_id in (1, 900)",
        "2",
    ),
    ("pgq.finish_batch({b})", "1"),
    // A capture generated for the queue, and a trigger made by hand.
    (
        "pgq.create_capture('t', 'capture', 'json', 'row', array[{n}])",
        "1",
    ),
    ("pgq.ticker({n})", "4"),
    ("pgq.next_batch({n}, {n})", "b"),
    ("pgq.finish_batch({b})", "1"),
    ("(select fill({n}))", ""),
    ("pgq.ticker({n})", "5"),
    ("pgq.next_batch({n}, {n})", "b"),
    ("count(*) from pgq.get_batch_events({b})", "2"),
    ("pgq.finish_batch({b})", "1"),
    ("pgq.drop_capture('t', 'capture')", "1"),
    // Maintenance.
    ("pgq.set_queue_config({n}, 'rotation_period', '0')", "1"),
    (
        "count(*) from pgq.maint_operations() where func_arg = {n}",
        "1",
    ),
    ("pgq.maint_rotate_tables_step1({n})", "0"),
    ("queue_cur_table from pgq.queue where queue_name = {n}", "1"),
    ("pgq.set_queue_config({n}, 'notify', 'true')", "1"),
    ("pgq.ticker({n})", "6"),
    ("pgq.set_queue_config({n}, 'ticker_paused', 'true')", "1"),
    ("pgq.insert_event({n}, 't', 'd') is not null", "t"),
    (
        "bool_and(queue_name = {n}) and bool_or(problem = 'paused') from pgq.get_problems({n})",
        "t",
    ),
    ("pgq.set_queue_config({n}, 'ticker_paused', null)", "1"),
    ("pgq.set_queue_config({n}, 'external_ticker', 'true')", "1"),
    ("pgq.ticker({n}, 50)", "50"),
    ("pgq.ticker({n}, 60, now(), 10000)", "60"),
    // Members of a group whose name has no dot.
    ("pgq.register_consumer({n}, 'group')", "1"),
    ("pgq.ticker({n}, 70)", "70"),
    ("pgq_coop.register_subconsumer({n}, 'group', {n})", "1"),
    (
        "consumer_name = 'group.' || {n} from pgq.get_consumer_info({n}) where last_tick is null",
        "t",
    ),
    ("pgq_coop.next_batch({n}, 'group', {n})", "b"),
    (
        "pgq_coop.next_batch({n}, 'group', {n}, '1 hour') = {b}",
        "t",
    ),
    (
        "pgq_coop.next_batch_custom({n}, 'group', {n}, null, null, null) = {b}",
        "t",
    ),
    (
        "pgq_coop.next_batch_custom({n}, 'group', {n}, null, null, null, '1 hour') = {b}",
        "t",
    ),
    ("pgq_coop.touch_subconsumer({n}, 'group', {n})", "1"),
    ("pgq_coop.finish_batch({b})", "1"),
    ("pgq_coop.unregister_subconsumer({n}, 'group', {n}, 0)", "1"),
    ("pgq.unregister_consumer({n}, 'group')", "1"),
    // The end.
    ("pgq.unregister_consumer({n}, {n})", "1"),
    ("pgq.drop_queue({n})", "1"),
    ("pgq.create_queue({n})", "1"),
    ("pgq.register_consumer({n}, {n})", "1"),
    ("pgq.drop_queue({n}, true)", "1"),
    (
        "(select count(*) from pgq.consumer), (select count(*) from pgq.queue)",
        "0|0",
    ),
    // What a target remembers.
    ("pgq_ext.set_last_tick({n}, 5)", "1"),
    ("pgq_ext.set_last_tick({n}, 'x' || {n}, 6)", "1"),
    (
        "pgq_ext.set_last_tick({n}, 'y' || {n}, 7, '2026-01-02')",
        "1",
    ),
    ("pgq_ext.get_last_tick({n})", "5"),
    ("pgq_ext.get_last_tick({n}, 'x' || {n})", "6"),
    ("pgq_ext.get_last_tick_time({n})", "NULL"),
    (
        "pgq_ext.get_last_tick_time({n}, 'y' || {n}) = '2026-01-02'",
        "t",
    ),
    ("pgq_ext.set_batch_done({n}, 5)", "t"),
    ("pgq_ext.set_batch_done({n}, 'x' || {n}, 6)", "t"),
    ("pgq_ext.set_batch_done({n}, 'x' || {n}, 6, now())", "f"),
    ("pgq_ext.is_batch_done({n}, 5)", "t"),
    ("pgq_ext.is_batch_done({n}, 'x' || {n}, 6)", "t"),
    ("pgq_ext.is_batch_done({n}, 'x' || {n}, 6, now())", "t"),
    ("pgq_ext.set_event_done({n}, 5, 1)", "t"),
    ("pgq_ext.set_event_done({n}, 'x' || {n}, 6, 1)", "t"),
    ("pgq_ext.is_event_done({n}, 5, 1)", "t"),
    ("pgq_ext.is_event_done({n}, 'x' || {n}, 6, 1)", "t"),
];

#[test]
fn every_function_takes_any_name() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute(
        "create table t (id serial primary key); create table by_hand (id serial primary key);
         create function fill(queue text) returns void language plpgsql as $$
         begin
             execute format('create trigger capture after insert on by_hand for each row
                             execute function pgq.logutriga(%L)', queue);
             insert into t default values;
             insert into by_hand default values;
             drop trigger capture on by_hand;
         end $$",
    )?;
    // Not to be compressed: an index holds it as it is.
    let long = row(
        &mut db,
        "select left(string_agg(md5(n::text), ''), 1000) from generate_series(1, 32) n",
    )?;
    assert_eq!(long.len(), 1000);
    let accents = "é".repeat(1000);
    for name in [
        "it's \"quoted\"",
        "Mixed Case",
        "a.b.c",
        ".",
        "",
        " ",
        "%s %I \\n \\",
        "select",
        "$1 {b} *",
        "two\nlines\tand a tab",
        "$$ ' $$",
        "日本語",
        &long,
        &accents,
    ] {
        live(&mut db, name).map_err(|error| format!("{name:?}: {error}"))?;
    }
    Ok(())
}

fn live(db: &mut Client, name: &str) -> TestResult {
    let literal = row(db, &format!("select quote_literal($n${name}$n$)"))?;
    let mut batch = String::new();
    for (call, expected) in LIFE {
        let call = call.replace("{b}", &batch).replace("{n}", &literal);
        let found = row(db, &format!("select {call}"))?;
        if *expected == "b" {
            batch = found;
            assert_ne!(batch, "NULL", "{call}");
        } else {
            assert_eq!(found, *expected, "{call}");
        }
    }
    Ok(())
}

#[test]
fn every_function_that_takes_a_name_is_called_here() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    let functions = rows(
        &mut db,
        "select p.oid::regprocedure, format('%s.%s(', p.pronamespace::regnamespace, p.proname) from pg_proc p
          where p.pronamespace::regnamespace::text in ('pgq', 'pgq_ext', 'pgq_coop') and p.proname !~ '^_'
            and exists (select from unnest(p.proargnames[1:p.pronargs]) a where a ~ '(queue|consumer)' and a <> 'i_queue_id')",
    )?;
    assert!(functions.len() > 50, "{functions:?}");
    let functions: Vec<_> = functions
        .iter()
        .filter_map(|line| line.split_once('|'))
        .collect();
    let mut missing = BTreeSet::new();
    for (signature, call) in &functions {
        let overloads = functions.iter().filter(|(_, other)| other == call).count();
        // Calls of one function differ in the number of arguments.
        let calls: BTreeSet<usize> = LIFE
            .iter()
            .filter_map(|(life, _)| Some(life.split_once(*call)?.1))
            .map(|arguments| arguments.matches(", ").count())
            .collect();
        if calls.len() < overloads {
            missing.insert(signature);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}

#[test]
fn a_group_has_no_dot_in_its_name_and_any_other_sign() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute("select pgq.create_queue('q')")?;
    for name in ["it's", "Mixed \"Case\"", "", "%s \\", "日本語"] {
        let literal = row(&mut db, &format!("select quote_literal($n${name}$n$)"))?;
        let call = format!("('q', {literal}, {literal}");
        assert_eq!(
            row(
                &mut db,
                &format!("select pgq_coop.register_subconsumer{call})")
            )?,
            "1",
            "{name}"
        );
        assert_eq!(
            row(&mut db, &format!("select pgq_coop.next_batch{call})"))?,
            "NULL",
            "{name}"
        );
        assert_eq!(
            row(
                &mut db,
                &format!("select pgq_coop.unregister_subconsumer{call}, 0)")
            )?,
            "1",
            "{name}"
        );
        assert_eq!(
            row(
                &mut db,
                &format!("select pgq.unregister_consumer('q', {literal})")
            )?,
            "1",
            "{name}"
        );
    }
    for name in ["a.b", "."] {
        assert_eq!(
            refusal(
                &mut db,
                &format!("select pgq_coop.register_subconsumer('q', '{name}', 'm')")
            )?,
            format!("consumer \"{name}\" has a dot in its name")
        );
    }
    assert_eq!(
        row(&mut db, "select count(*) from pgq.consumer")?,
        "0",
        "nothing half done"
    );
    Ok(())
}
