//! What functions and tables answer with: the columns, by name, type and place.

use testkit::TestResult;

use crate::support::{cluster, cluster_with_consumer, row, rows};

const EVENT: &str = "ev_id bigint, ev_time timestamptz, ev_txid bigint, ev_retry integer, ev_type text, ev_data text, \
                     ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text";
const BATCH: &str = "batch_id bigint, cur_tick_id bigint, prev_tick_id bigint, cur_tick_time timestamptz, \
                     prev_tick_time timestamptz, cur_tick_event_seq bigint, prev_tick_event_seq bigint";
const QUEUE: &str = "queue_name text, queue_ntables integer, queue_cur_table integer, queue_rotation_period interval, \
                     queue_switch_time timestamptz, queue_external_ticker boolean, queue_ticker_paused boolean, \
                     queue_ticker_max_count integer, queue_ticker_max_lag interval, queue_ticker_idle_period interval, \
                     ticker_lag interval, ev_per_sec float8, ev_new bigint, last_tick_id bigint";
const CONSUMER: &str = "queue_name text, consumer_name text, lag interval, last_seen interval, last_tick bigint, \
                        current_batch bigint, next_tick bigint, pending_events bigint";

/// Calls, and the columns of their results. Both generations of clients know them by name, and some by place.
const RESULTS: &[(&str, &str)] = &[
    ("pgq.get_queue_info()", QUEUE),
    ("pgq.get_queue_info('q')", QUEUE),
    ("pgq.get_consumer_info()", CONSUMER),
    ("pgq.get_consumer_info('q')", CONSUMER),
    ("pgq.get_consumer_info('q', 'c')", CONSUMER),
    (
        "pgq.get_batch_info(1)",
        "queue_name text, consumer_name text, batch_start timestamptz, batch_end timestamptz, prev_tick_id bigint, \
         tick_id bigint, lag interval, seq_start bigint, seq_end bigint",
    ),
    ("pgq.next_batch_info('q', 'c')", BATCH),
    ("pgq.next_batch_custom('q', 'c', null, null, null)", BATCH),
    (
        "pgq.find_tick_helper(1, 1, now(), 0, 1, null)",
        "next_tick_id bigint, next_tick_time timestamptz, next_tick_seq bigint",
    ),
    ("pgq.get_batch_events(1)", EVENT),
    ("pgq.get_batch_cursor(1, 'a', 1)", EVENT),
    ("pgq.get_batch_cursor(1, 'b', 1, null)", EVENT),
    ("pgq.maint_operations()", "func_name text, func_arg text"),
    (
        "pgq.failed_event_list('q', 'c')",
        "ev_failed_reason text, ev_failed_time timestamptz, ev_id bigint, ev_time timestamptz, ev_txid bigint, \
         ev_owner integer, ev_retry integer, ev_type text, ev_data text, ev_extra1 text, ev_extra2 text, \
         ev_extra3 text, ev_extra4 text",
    ),
    // Scalars are named like their function.
    ("pgq.next_batch('q', 'c')", "next_batch bigint"),
    ("pgq.finish_batch(777)", "finish_batch integer"),
    ("pgq.insert_event('q', 't', 'd')", "insert_event bigint"),
    ("pgq.ticker()", "ticker bigint"),
    ("pgq.ticker('q')", "ticker bigint"),
    (
        "pgq.register_consumer('q', 'c')",
        "register_consumer integer",
    ),
    ("pgq.current_event_table('q')", "current_event_table text"),
    ("pgq.version()", "version text"),
    ("pgq_coop.next_batch('q', 'g', 'm')", "next_batch bigint"),
    ("pgq_ext.get_last_tick('c')", "get_last_tick bigint"),
    ("pgq_ext.is_batch_done('c', 1)", "is_batch_done boolean"),
];

#[test]
fn results_have_their_columns_in_their_order() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.ticker('q'); select pgq.next_batch('q', 'c')")?;
    for (call, columns) in RESULTS {
        db.batch_execute(&format!(
            "begin; create temp table result on commit drop as select * from {call} limit 0"
        ))?;
        let found = row(
            &mut db,
            "select string_agg(attname || ' ' || case atttypid when 'timestamptz'::regtype then 'timestamptz'
                                                               when 'float8'::regtype then 'float8'
                                                               else format_type(atttypid, null) end,
                               ', ' order by attnum)
               from pg_attribute where attrelid = 'result'::regclass and attnum > 0",
        )?;
        assert_eq!(found, *columns, "{call}");
        db.batch_execute("commit")?;
    }
    Ok(())
}

const TEMPLATE: &str = "ev_retry integer, ev_type text, ev_data text, ev_extra1 text, ev_extra2 text, ev_extra3 text, \
                        ev_extra4 text";

/// Tables, and the columns that clients and the C library know, `!` for not null, with defaults. What this version adds
/// comes after them.
const TABLES: &[(&str, &str)] = &[
    (
        "pgq.consumer",
        "co_id integer! = nextval('pgq.consumer_co_id_seq'::regclass), co_name text!",
    ),
    (
        "pgq.queue",
        "queue_id integer! = nextval('pgq.queue_queue_id_seq'::regclass), queue_name text!, \
         queue_ntables integer! = 3, queue_cur_table integer! = 0, \
         queue_rotation_period interval! = '02:00:00'::interval, queue_switch_step1 bigint! = txid_current(), \
         queue_switch_step2 bigint = txid_current(), queue_switch_time timestamp with time zone! = now(), \
         queue_external_ticker boolean! = false, queue_disable_insert boolean! = false, \
         queue_ticker_paused boolean! = false, queue_ticker_max_count integer! = 500, \
         queue_ticker_max_lag interval! = '00:00:03'::interval, \
         queue_ticker_idle_period interval! = '00:01:00'::interval, queue_per_tx_limit integer, \
         queue_data_pfx text!, queue_event_seq text!, queue_tick_seq text!, queue_extra_maint text[]",
    ),
    (
        "pgq.tick",
        "tick_queue integer!, tick_id bigint!, tick_time timestamp with time zone! = now(), \
         tick_snapshot txid_snapshot! = txid_current_snapshot(), tick_event_seq bigint!",
    ),
    (
        "pgq.subscription",
        "sub_id integer! = nextval('pgq.subscription_sub_id_seq'::regclass), sub_queue integer!, \
         sub_consumer integer!, sub_last_tick bigint, sub_active timestamp with time zone! = now(), \
         sub_batch bigint, sub_next_tick bigint",
    ),
    (
        "pgq.event_template",
        "ev_id bigint!, ev_time timestamp with time zone!, ev_txid bigint! = txid_current(), ev_owner integer, {}",
    ),
    (
        "pgq.event_1_0",
        "ev_id bigint! = nextval('pgq.event_1_id_seq'::regclass), ev_time timestamp with time zone!, \
         ev_txid bigint! = txid_current(), ev_owner integer, {}",
    ),
    (
        "pgq.retry_queue",
        "ev_retry_after timestamp with time zone!, ev_queue integer!, ev_id bigint!, \
         ev_time timestamp with time zone!, ev_txid bigint, ev_owner integer!, {}",
    ),
    (
        "pgq.failed_queue",
        "ev_failed_reason text, ev_failed_time timestamp with time zone!, ev_id bigint!, \
         ev_time timestamp with time zone!, ev_txid bigint, ev_owner integer!, {}",
    ),
    (
        "pgq_ext.completed_tick",
        "consumer_id text!, subconsumer_id text! = ''::text, last_tick_id bigint!",
    ),
    (
        "pgq_ext.completed_batch",
        "consumer_id text!, subconsumer_id text! = ''::text, last_batch_id bigint!",
    ),
    (
        "pgq_ext.completed_event",
        "consumer_id text!, subconsumer_id text! = ''::text, batch_id bigint!, event_id bigint!",
    ),
    (
        "pgq_ext.partial_batch",
        "consumer_id text!, subconsumer_id text! = ''::text, cur_batch_id bigint!",
    ),
];

/// Keys and indexes of those tables.
const KEYS: &[&str] = &[
    "consumer_name_uq UNIQUE (co_name)",
    "consumer_pkey PRIMARY KEY (co_id)",
    "fq_pkey PRIMARY KEY (ev_owner, ev_id)",
    "queue_name_uq UNIQUE (queue_name)",
    "queue_pkey PRIMARY KEY (queue_id)",
    "rq_pkey PRIMARY KEY (ev_owner, ev_id)",
    "rq_queue_id_fkey FOREIGN KEY (ev_queue) REFERENCES pgq.queue(queue_id)",
    "tick_pkey PRIMARY KEY (tick_queue, tick_id)",
    "tick_queue_fkey FOREIGN KEY (tick_queue) REFERENCES pgq.queue(queue_id)",
    "sub_consumer_fkey FOREIGN KEY (sub_consumer) REFERENCES pgq.consumer(co_id)",
    "sub_queue_fkey FOREIGN KEY (sub_queue) REFERENCES pgq.queue(queue_id)",
    "completed_batch_pkey PRIMARY KEY (consumer_id, subconsumer_id)",
    "completed_event_pkey PRIMARY KEY (consumer_id, subconsumer_id, batch_id, event_id)",
    "completed_tick_pkey PRIMARY KEY (consumer_id, subconsumer_id)",
    "partial_batch_pkey PRIMARY KEY (consumer_id, subconsumer_id)",
];

#[test]
fn tables_have_the_columns_and_keys_that_clients_know() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute("select pgq.create_queue('q')")?;
    for (table, columns) in TABLES {
        let expected = columns.replace("{}", TEMPLATE);
        let found = row(
            &mut db,
            &format!(
                "select string_agg(attname || ' ' || format_type(atttypid, atttypmod)
                                   || case when attnotnull then '!' else '' end
                                   || coalesce(' = ' || pg_get_expr(adbin, adrelid), ''), ', ' order by attnum)
                   from pg_attribute a
                   left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                  where attrelid = '{table}'::regclass and attnum > 0"
            ),
        )?;
        let exact = found == expected;
        // Panels and the C library address these by place.
        let closed = [
            "pgq.event_template",
            "pgq.event_1_0",
            "pgq.retry_queue",
            "pgq.failed_queue",
        ];
        assert!(
            exact || !closed.contains(table) && found.starts_with(&format!("{expected}, ")),
            "{table}: {found}"
        );
    }
    let keys = rows(
        &mut db,
        "select conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
          where connamespace::regnamespace::text in ('pgq', 'pgq_ext')",
    )?;
    for key in KEYS {
        assert!(keys.iter().any(|found| found == key), "{key}: {keys:#?}");
    }
    // The ticker compares positions with last_value, so no session may hold numbers back.
    let sequences =
        "select sequencename, start_value, increment_by, cycle, cache_size from pg_sequences
                      where schemaname = 'pgq'";
    assert_eq!(
        rows(&mut db, &format!("{sequences} order by 1"))?,
        [
            "batch_id_seq",
            "consumer_co_id_seq",
            "event_1_id_seq",
            "event_1_tick_seq",
            "queue_queue_id_seq",
            "subscription_sub_id_seq"
        ]
        .map(|name| format!("{name}|1|1|f|1"))
    );
    // The others number columns of type integer.
    let large = format!("{sequences} and data_type = 'bigint'::regtype");
    assert_eq!(rows(&mut db, &large)?.len(), 3);
    Ok(())
}

#[test]
fn what_is_not_known_is_null() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let columns = "ticker_lag, ev_per_sec, ev_new, last_tick_id";
    // A batch that is open when its ticks go, and a queue without ticks.
    db.batch_execute("select pgq.ticker('q')")?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute("delete from pgq.tick")?;
    assert_eq!(
        row(
            &mut db,
            &format!("select queue_name, {columns} from pgq.get_queue_info('q')")
        )?,
        "q|NULL|NULL|NULL|NULL"
    );
    assert_eq!(
        row(
            &mut db,
            "select queue_name, consumer_name, lag, last_seen is null, last_tick, current_batch, next_tick, pending_events
               from pgq.get_consumer_info()"
        )?,
        format!("q|c|NULL|f|1|{batch}|2|NULL")
    );
    assert_eq!(
        row(&mut db, "select * from pgq.get_batch_info(777)")?,
        ["NULL"; 9].join("|")
    );
    for nothing in [
        "get_queue_info('nowhere')",
        "get_consumer_info('nowhere')",
        "get_consumer_info('q', 'nobody')",
        "get_consumer_info('nowhere', 'c')",
        "get_consumer_info(null, 'nobody')",
    ] {
        let found = rows(&mut db, &format!("select * from pgq.{nothing}"))?;
        assert_eq!(found, [] as [&str; 0], "{nothing}");
    }
    // The rate is that of the last 20 ticks, and of no more.
    db.batch_execute(
        "insert into pgq.tick (tick_queue, tick_id, tick_time, tick_event_seq)
         select 1, n, '2020-01-01'::timestamptz + n * interval '1 s', case when n < 10 then 0 else (n - 10) * 3 end
           from generate_series(1, 30) n",
    )?;
    assert_eq!(
        row(
            &mut db,
            "select ev_per_sec, last_tick_id from pgq.get_queue_info('q')"
        )?,
        "3|30"
    );
    // No time between them, no rate.
    db.batch_execute("update pgq.tick set tick_time = '2020-01-01'")?;
    assert_eq!(
        row(&mut db, "select ev_per_sec from pgq.get_queue_info('q')")?,
        "NULL"
    );
    Ok(())
}
