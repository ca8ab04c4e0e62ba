//! What clients of both older generations of PgQ find: the same functions, which answer the same.

use postgres::{Client, SimpleQueryMessage};
use testkit::TestResult;

use crate::support::{cluster, has_c_library, rows};

/// Functions with the names that arguments are given by, and what comes back.
const SIGNATURES: &str = "
    select format('%s.%s(%s)%s%s%s', n.nspname, p.proname, pg_get_function_arguments(p.oid),
                  case when p.proargmodes is null then ' ' || pg_get_function_result(p.oid)
                       when p.proretset then ' setof' end,
                  case when p.proisstrict then ' strict' end,
                  case p.provolatile when 's' then ' stable' when 'i' then ' immutable' end)
      from pg_proc p
      join pg_namespace n on n.oid = p.pronamespace
     where n.nspname in ('pgq', 'pgq_ext', 'pgq_coop')
       and p.proname !~ '^_'
     order by 1";

/// Functions of the older generations that are not in the extension of version 3.
const OTHERS: &[&str] = &[
    "pgq.event_failed(x_batch_id bigint, x_event_id bigint, x_reason text) integer",
    "pgq.failed_event_count(x_queue_name text, x_consumer_name text) integer",
    "pgq.failed_event_delete(x_queue_name text, x_consumer_name text, x_event_id bigint) integer",
    "pgq.failed_event_list(x_queue_name text, x_consumer_name text) SETOF pgq.failed_queue",
    "pgq.failed_event_list(x_queue_name text, x_consumer_name text, x_count integer, x_offset integer) SETOF pgq.failed_queue",
    "pgq.failed_event_retry(x_queue_name text, x_consumer_name text, x_event_id bigint) bigint",
    "pgq.logtriga() trigger",
    "pgq.register_consumer(x_queue_name text, x_consumer_name text, x_tick_pos bigint) integer",
    "pgq.ticker(i_queue_name text, i_tick_id bigint) bigint",
    "pgq_coop.finish_batch(i_batch_id bigint) integer",
    "pgq_coop.next_batch(i_queue_name text, i_consumer_name text, i_subconsumer_name text) bigint",
    "pgq_coop.next_batch(i_queue_name text, i_consumer_name text, i_subconsumer_name text, i_dead_interval interval) bigint",
    "pgq_coop.next_batch_custom(i_queue_name text, i_consumer_name text, i_subconsumer_name text, i_min_lag interval, i_min_count integer, i_min_interval interval) bigint",
    "pgq_coop.next_batch_custom(i_queue_name text, i_consumer_name text, i_subconsumer_name text, i_min_lag interval, i_min_count integer, i_min_interval interval, i_dead_interval interval) bigint",
    "pgq_coop.register_subconsumer(i_queue_name text, i_consumer_name text, i_subconsumer_name text) integer",
    "pgq_coop.unregister_subconsumer(i_queue_name text, i_consumer_name text, i_subconsumer_name text, i_batch_handling integer) integer",
    "pgq_coop.version() text",
    "pgq_ext.get_last_tick(a_consumer text) bigint",
    "pgq_ext.get_last_tick(a_consumer text, a_subconsumer text) bigint",
    "pgq_ext.is_batch_done(a_consumer text, a_batch_id bigint) boolean",
    "pgq_ext.is_batch_done(a_consumer text, a_subconsumer text, a_batch_id bigint) boolean",
    "pgq_ext.is_event_done(a_consumer text, a_batch_id bigint, a_event_id bigint) boolean",
    "pgq_ext.is_event_done(a_consumer text, a_subconsumer text, a_batch_id bigint, a_event_id bigint) boolean",
    "pgq_ext.set_batch_done(a_consumer text, a_batch_id bigint) boolean",
    "pgq_ext.set_batch_done(a_consumer text, a_subconsumer text, a_batch_id bigint) boolean",
    "pgq_ext.set_event_done(a_consumer text, a_batch_id bigint, a_event_id bigint) boolean",
    "pgq_ext.set_event_done(a_consumer text, a_subconsumer text, a_batch_id bigint, a_event_id bigint) boolean",
    "pgq_ext.set_last_tick(a_consumer text, a_subconsumer text, a_tick_id bigint) integer",
    "pgq_ext.set_last_tick(a_consumer text, a_tick_id bigint) integer",
    "pgq_ext.upgrade_schema() integer",
    "pgq_ext.version() text",
];

#[test]
fn every_function_of_both_generations_is_there_with_its_names_and_results() -> TestResult {
    let (cluster, mut db) = cluster()?;
    let ours = rows(&mut db, SIGNATURES)?;
    for signature in OTHERS {
        assert!(ours.iter().any(|found| found == signature), "{signature}");
    }
    if has_c_library(&cluster) {
        let mut peer = cluster.create_database("peer")?;
        peer.batch_execute("create extension pgq")?;
        for signature in rows(&mut peer, SIGNATURES)? {
            assert!(ours.contains(&signature), "{signature}");
        }
    }
    Ok(())
}

/// Calls with ordinary and with odd arguments, on a queue `q` without a delay between ticks. What they
/// answer does not depend on time, on earlier databases, or on how often a sequence was asked.
const CALLS: &[&str] = &[
    "select pgq.create_queue(null)",
    "select pgq.create_queue('q')",
    "select pgq.drop_queue(null), pgq.drop_queue(null, true)",
    "select pgq.drop_queue('nowhere')",
    "select pgq.drop_queue('nowhere', null)",
    "select pgq.set_queue_config(null, 'ticker_paused', 't')",
    "select pgq.set_queue_config('q', null, 't')",
    "select pgq.set_queue_config('nowhere', 'ticker_max_lag', '0')",
    "select pgq.set_queue_config('q', 'ticker_max_lag', 'long')",
    "select pgq.set_queue_config('q', 'ticker_max_lag', '0'), pgq.set_queue_config('q', 'ticker_idle_period', '0')",
    "select pgq.grant_perms('nowhere')",
    "select pgq.grant_perms('q')",
    "select pgq.tune_storage('nowhere'), pgq.tune_storage('q'), pgq.tune_storage(null)",
    "select pgq.insert_event(null, 'a', 'b')",
    "select pgq.insert_event('nowhere', 'a', 'b')",
    "select pgq.insert_event('q', 'a', 'b')",
    "select insert_event from pgq.insert_event('q', null, null, '1', '2', '3', '4')",
    "select pgq.insert_event_raw('q', 77, '2020-01-01', null, 3, 't', 'd', null, null, null, null)",
    "select pgq.insert_event_raw('q', null, null, null, null, 't', 'd', null, null, null, null)",
    "update pgq.queue set queue_disable_insert = true",
    "select pgq.insert_event('q', 'a', 'b')",
    "select pgq.current_event_table('q')",
    "select pgq.current_event_table('nowhere')",
    "update pgq.queue set queue_disable_insert = false, queue_per_tx_limit = 1",
    "begin; select pgq.insert_event('q', 'a', 'b'); select pgq.insert_event('q', 'a', 'b')",
    "rollback",
    "update pgq.queue set queue_per_tx_limit = 0",
    "select pgq.insert_event('q', 'a', 'b')",
    "update pgq.queue set queue_per_tx_limit = null",
    "select pgq.current_event_table('q')",
    "select pgq.register_consumer('nowhere', 'c')",
    "select pgq.register_consumer('q', 'c')",
    "select pgq.register_consumer('q', 'c')",
    "select pgq.register_consumer_at('q', 'c', 777)",
    "select pgq.register_consumer_at('q', 'c', 1)",
    "select pgq.register_consumer_at('q', 'd', null)",
    "select pgq.unregister_consumer('nowhere', 'c'), pgq.unregister_consumer('q', 'nobody')",
    "select pgq.unregister_consumer('q', 'd')",
    "select pgq.next_batch('q', 'nobody')",
    "select pgq.next_batch(null, 'c')",
    "select next_batch from pgq.next_batch('q', 'c')",
    "select * from pgq.next_batch_info('q', 'c')",
    "select pgq.ticker('q')",
    "select pgq.ticker('nowhere')",
    "select pgq.ticker('q', 5, now(), 5)",
    "select pgq.force_tick('nowhere')",
    "select batch_id, cur_tick_id, prev_tick_id from pgq.next_batch_custom('q', 'c', null, 1, '0')",
    "select ev_id, ev_retry, ev_type, ev_data, ev_extra1, ev_extra4 from pgq.get_batch_events(1)",
    "select (e).ev_id, (e).ev_retry from (select pgq.get_batch_events(1) e) x",
    "select pgq.get_batch_events(777)",
    "select pgq.batch_event_sql(777)",
    "select pgq.batch_event_tables(777)",
    "select pgq.batch_event_tables(1)",
    "select * from pgq.get_batch_info(777)",
    "select queue_name, consumer_name, prev_tick_id, tick_id from pgq.get_batch_info(1)",
    "select * from pgq.get_batch_cursor(777, 'c', 1)",
    "select * from pgq.get_batch_cursor(null, 'c', 1)",
    "begin; select ev_id from pgq.get_batch_cursor(1, 'c', 2, 'ev_retry is null')",
    "close c",
    "rollback",
    "select pgq.finish_batch(777)",
    "select pgq.event_retry(777, 1, 1)",
    "select pgq.event_retry(1, 777, 1)",
    "select pgq.event_retry(1, 77, 0)",
    "select pgq.event_retry(1, 77, now())",
    "select pgq.batch_retry(777, 1)",
    "select pgq.batch_retry(1, 0)",
    "select pgq.event_retry_raw('q', 'nobody', now(), 1, now(), 1, 't', 'd', null, null, null, null)",
    "select pgq.event_retry_raw('q', 'c', now(), 900, now(), 1, 't', 'd', null, null, null, null)",
    "select pgq.maint_retry_events()",
    "select pgq.maint_retry_events()",
    "select pgq.finish_batch(1)",
    "select pgq.finish_batch(1)",
    "select queue_name, queue_ntables, queue_cur_table, queue_rotation_period, queue_external_ticker, \
     queue_ticker_paused, queue_ticker_max_count, queue_ticker_max_lag, queue_ticker_idle_period, \
     last_tick_id from pgq.get_queue_info('q')",
    "select * from pgq.get_queue_info('nowhere')",
    "select queue_name, consumer_name, last_tick, current_batch, next_tick, pending_events \
     from pgq.get_consumer_info('q', null)",
    "select * from pgq.get_consumer_info('nowhere')",
    "select pgq.quote_fqname('a.B.c'), pgq.quote_fqname('Foo'), pgq.quote_fqname(null)",
    "select pgq.seq_getval('pgq.nothing')",
    "select pgq.seq_setval('pgq.batch_id_seq', 100), pgq.seq_setval('pgq.batch_id_seq', 50)",
    "select pgq.drop_queue('q')",
    "select pgq.drop_queue('q', true)",
    "select * from pgq.get_consumer_info()",
];

/// What a call answers: column names and rows, or the message of the error.
fn answer(db: &mut Client, call: &str) -> String {
    match db.simple_query(call) {
        Err(error) => format!(
            "error: {}",
            error.as_db_error().map_or("", |error| error.message())
        ),
        Ok(messages) => messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::RowDescription(columns) => Some(
                    columns
                        .iter()
                        .map(|column| column.name())
                        .collect::<Vec<_>>()
                        .join(","),
                ),
                SimpleQueryMessage::Row(row) => Some(
                    (0..row.len())
                        .map(|i| row.get(i).unwrap_or("NULL"))
                        .collect::<Vec<_>>()
                        .join("|"),
                ),
                _ => None,
            })
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

#[test]
fn the_functions_answer_as_those_of_version_3() -> TestResult {
    let (cluster, mut db) = cluster()?;
    if !has_c_library(&cluster) {
        return Ok(());
    }
    let mut peer = cluster.create_database("peer")?;
    peer.batch_execute("create extension pgq")?;
    for call in CALLS {
        assert_eq!(answer(&mut db, call), answer(&mut peer, call), "{call}");
    }
    // Where the text was a mistake.
    let call = "select pgq.create_queue('q'); select pgq.set_queue_config('q', 'data_pfx', 'x')";
    assert_eq!(
        [answer(&mut db, call), answer(&mut peer, call)],
        [
            "error: cannot change parameter \"data_pfx\"",
            "error: cannot change parameter \"data_pfxs\""
        ]
    );
    Ok(())
}
