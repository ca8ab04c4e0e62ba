//! Creating, configuring and dropping queues, and putting events in.

use std::thread;

use testkit::TestResult;

use crate::support::{
    arrived, cluster, cluster_with_consumer, insert, refusal, row, rows, tick, wait_for_lock,
};

#[test]
fn creating_a_queue_makes_its_tables_as_documented() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    assert_eq!(row(&mut db, "select pgq.create_queue('q')")?, "1");
    assert_eq!(row(&mut db, "select pgq.create_queue('q')")?, "0");
    assert_eq!(
        row(
            &mut db,
            "select queue_data_pfx, queue_event_seq, queue_tick_seq from pgq.queue"
        )?,
        "pgq.event_1|pgq.event_1_id_seq|pgq.event_1_tick_seq"
    );
    assert_eq!(
        rows(
            &mut db,
            "select c.oid::regclass, c.reloptions from pg_class c \
             where c.oid::regclass::text ~ '^pgq.event_1_[0-9]+$' order by 1"
        )?,
        [0, 1, 2].map(|n| format!("pgq.event_1_{n}|{{fillfactor=100,autovacuum_enabled=off}}"))
    );
    assert_eq!(
        rows(
            &mut db,
            "select indexname from pg_indexes where tablename ~ '^event_1' order by 1"
        )?,
        [0, 1, 2].map(|n| format!("event_1_{n}_txid_idx"))
    );
    // Events of all queues can be seen in one place.
    insert(&mut db, "a")?;
    assert_eq!(row(&mut db, "select ev_data from pgq.event_template")?, "a");
    Ok(())
}

#[test]
fn two_creators_of_a_queue_make_one() -> TestResult {
    let (cluster, mut db) = cluster()?;
    let mut other = cluster.connect("postgres")?;
    let pid = crate::support::pid(&mut other)?;
    assert_eq!(row(&mut db, "begin; select pgq.create_queue('q')")?, "1");
    thread::scope(|scope| -> TestResult {
        let second = scope.spawn(|| row(&mut other, "select pgq.create_queue('q')"));
        wait_for_lock(&mut cluster.connect("postgres")?, &pid)?;
        db.batch_execute("commit")?;
        assert_eq!(
            second.join().expect("the other session does not panic")?,
            "0"
        );
        Ok(())
    })
}

#[test]
fn a_queue_is_dropped_when_nobody_reads_it_or_by_force() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(&format!("select pgq.event_retry({batch}, 1, 0)"))?;
    assert_eq!(
        refusal(&mut db, "select pgq.drop_queue('nowhere')")?,
        "No such event queue"
    );
    assert_eq!(
        refusal(&mut db, "select pgq.drop_queue('q')")?,
        "cannot drop queue, consumers still attached"
    );
    assert_eq!(row(&mut db, "select pgq.drop_queue(null)")?, "NULL");
    assert_eq!(row(&mut db, "select pgq.drop_queue('q', true)")?, "1");
    assert_eq!(
        row(
            &mut db,
            "select (select count(*) from pgq.tick), (select count(*) from pgq.retry_queue), \
             (select count(*) from pgq.consumer), (select count(*) from pg_class where relname ~ '^event_1')"
        )?,
        "0|0|0|0"
    );
    // The same name again is another queue.
    db.batch_execute("select pgq.create_queue('q')")?;
    assert_eq!(
        row(&mut db, "select queue_data_pfx from pgq.queue")?,
        "pgq.event_2"
    );
    assert_eq!(row(&mut db, "select pgq.drop_queue('q')")?, "1");
    Ok(())
}

/// A setting; what it is set to and shows then; its default; what is refused, and how.
type Setting = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static [(&'static str, &'static str)],
);

const INTEGER: &[(&str, &str)] = &[
    ("many", "invalid input syntax for type integer: \"many\""),
    ("", "invalid input syntax for type integer: \"\""),
    ("1.5", "invalid input syntax for type integer: \"1.5\""),
    (
        "2147483648",
        "value \"2147483648\" is out of range for type integer",
    ),
    ("-1", "parameter \"$\" cannot be negative"),
];
const INTERVAL: &[(&str, &str)] = &[
    ("soon", "invalid input syntax for type interval: \"soon\""),
    ("", "invalid input syntax for type interval: \"\""),
    ("-1 s", "parameter \"$\" cannot be negative"),
    ("1 day -25 hours", "parameter \"$\" cannot be negative"),
];
const BOOLEAN: &[(&str, &str)] = &[
    ("maybe", "invalid input syntax for type boolean: \"maybe\""),
    ("", "invalid input syntax for type boolean: \"\""),
];
const SWITCH: &[(&str, &str)] = &[("yes", "t"), ("0", "f"), ("TRUE", "t")];
const COUNT: &[(&str, &str)] = &[("0", "0"), ("2147483647", "2147483647"), (" 7 ", "7")];
const TIME: &[(&str, &str)] = &[("0", "00:00:00"), ("1.5", "00:00:01.5"), ("1 day", "1 day")];

const SETTINGS: &[Setting] = &[
    ("ticker_max_count", COUNT, "500", INTEGER),
    ("ticker_max_lag", TIME, "00:00:03", INTERVAL),
    ("ticker_idle_period", TIME, "00:01:00", INTERVAL),
    ("ticker_paused", SWITCH, "f", BOOLEAN),
    ("rotation_period", TIME, "02:00:00", INTERVAL),
    ("external_ticker", SWITCH, "f", BOOLEAN),
    ("disable_insert", SWITCH, "f", BOOLEAN),
    ("per_tx_limit", COUNT, "NULL", INTEGER),
    ("notify", SWITCH, "f", BOOLEAN),
    ("max_retries", COUNT, "NULL", INTEGER),
];

#[test]
fn settings_are_checked_and_null_means_the_default() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute("select pgq.create_queue('q'), pgq.create_queue('other')")?;
    let set = |name: &str, value: &str| {
        format!("select set_queue_config from pgq.set_queue_config('q', {name}, {value})")
    };
    let queues = "select q from pgq.queue q order by queue_name";
    let fresh = rows(&mut db, queues)?;
    for (bare, values, default, refused) in SETTINGS {
        let read = format!("select queue_{bare} from pgq.queue where queue_name = 'q'");
        for prefix in ["", "queue_"] {
            let name = format!("'{prefix}{bare}'");
            assert_eq!(row(&mut db, &read)?, *default, "{name}");
            for (value, shown) in *values {
                assert_eq!(row(&mut db, &set(&name, &format!("'{value}'")))?, "1");
                assert_eq!(row(&mut db, &read)?, *shown, "{name}: {value}");
            }
            let before = rows(&mut db, queues)?;
            for (value, error) in *refused {
                assert_eq!(
                    refusal(&mut db, &set(&name, &format!("'{value}'")))?,
                    error.replace('$', name.trim_matches('\'')),
                );
            }
            assert_eq!(rows(&mut db, queues)?, before, "{name}");
            assert_eq!(row(&mut db, &set(&name, "null"))?, "1");
            assert_eq!(row(&mut db, &read)?, *default, "{name}");
        }
    }
    for name in [
        "data_pfx",
        "name",
        "cur_table",
        "extra_maint",
        "queue_queue_ticker_paused",
        "Ticker_paused",
        "ticker_paused = true, queue_name",
        "",
    ] {
        for value in ["'1'", "null"] {
            assert_eq!(
                refusal(&mut db, &set(&format!("'{name}'"), value))?,
                format!("cannot change parameter \"{name}\"")
            );
        }
    }
    for (arguments, error) in [
        ("'q', null, 'x'", "Invalid NULL value"),
        ("null, 'ticker_paused', 'true'", "Invalid NULL value"),
        ("'nowhere', 'ticker_paused', 'true'", "No such event queue"),
        ("'nowhere', 'bad', null", "No such event queue"),
    ] {
        let call = format!("select pgq.set_queue_config({arguments})");
        assert_eq!(refusal(&mut db, &call)?, error, "{arguments}");
    }
    // Nothing but the settings of the one queue was changed on the way, and they are as they were.
    assert_eq!(rows(&mut db, queues)?, fresh);
    Ok(())
}

#[test]
fn inserting_checks_the_queue_and_counts_what_it_refuses() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    assert_eq!(
        refusal(&mut db, "select pgq.insert_event(null, 't', 'd')")?,
        "Queue name must not be NULL"
    );
    assert_eq!(
        refusal(&mut db, "select pgq.insert_event('nowhere', 't', 'd')")?,
        "No such queue"
    );
    assert_eq!(
        row(&mut db, "select pgq.insert_event('q', null, null)")?,
        "1"
    );

    db.batch_execute("select pgq.set_queue_config('q', 'disable_insert', 'true')")?;
    assert_eq!(
        refusal(&mut db, "select pgq.insert_event('q', 't', 'd')")?,
        "Insert into queue disallowed"
    );
    for (role, allowed) in [("origin", false), ("local", false), ("replica", true)] {
        db.batch_execute(&format!("set session_replication_role = {role}"))?;
        let inserted = db
            .simple_query("select pgq.insert_event('q', 't', 'd')")
            .is_ok();
        assert_eq!(inserted, allowed, "{role}");
        let position = row(&mut db, "select last_value from pgq.event_1_id_seq")?;
        for call in [
            "pgq.current_event_table('q')",
            "pgq.insert_event('q', 't', 'd', null, null, null, null)",
            "pgq.insert_event_raw('q', 1, now(), null, null, 't', 'd', null, null, null, null)",
            "pgq.insert_events('q', 't', '{d}')",
            "pgq.send('q', 'd')",
        ] {
            let done = db.simple_query(&format!("begin; select {call}")).is_ok();
            db.batch_execute("rollback")?;
            assert_eq!(done, allowed, "{role}: {call}");
        }
        // The rest counts what was refused above.
        db.batch_execute(&format!("select setval('pgq.event_1_id_seq', {position})"))?;
    }
    db.batch_execute("reset session_replication_role")?;
    assert_eq!(
        refusal(&mut db, "select pgq.current_event_table('q')")?,
        "Writing to queue disabled"
    );
    assert_eq!(
        refusal(&mut db, "select pgq.current_event_table('nowhere')")?,
        "Event queue not found"
    );
    db.batch_execute("select pgq.set_queue_config('q', 'disable_insert', null)")?;
    // Refused at 2, 3 and 4, accepted at 5 in replica role.
    assert_eq!(row(&mut db, "select pgq.insert_event('q', 't', 'd')")?, "6");
    Ok(())
}

#[test]
fn a_transaction_may_insert_as_many_events_as_the_queue_allows() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let insert = "select pgq.insert_event('q', 't', 'd');";
    let limit = |limit: &str| format!("select pgq.set_queue_config('q', 'per_tx_limit', {limit})");
    let mut kept = 0;
    for (value, allowed) in [("'2'", 2), ("'1'", 1), ("'0'", 0), ("null", 5)] {
        db.batch_execute(&limit(value))?;
        // The limit holds for everybody, and anew for each transaction, whatever happened to the last.
        for role in ["origin", "local", "replica", "origin"] {
            db.batch_execute(&format!("set session_replication_role = {role}"))?;
            db.batch_execute(&format!("begin; {} commit", insert.repeat(allowed)))?;
            kept += allowed;
            if value != "null" {
                assert_eq!(
                    refusal(&mut db, &format!("begin; {}", insert.repeat(allowed + 1)))?,
                    format!("Queue 'q' allows max {allowed} events from one TX"),
                    "{role}"
                );
                db.batch_execute("rollback")?;
            }
        }
    }
    db.batch_execute(&limit("'2'"))?;
    // What a savepoint took back does not count; what it released does.
    db.batch_execute(&format!(
        "begin; savepoint s; {insert} {insert} rollback to s; {insert} {insert} commit"
    ))?;
    assert_eq!(
        refusal(
            &mut db,
            &format!(
                "begin; savepoint s; {insert} release s; savepoint s; {insert} release s; {insert}"
            )
        )?,
        "Queue 'q' allows max 2 events from one TX"
    );
    db.batch_execute("rollback")?;
    // A refusal inside a savepoint leaves the transaction what it had.
    db.batch_execute(&format!("begin; {insert} {insert} savepoint s"))?;
    assert_eq!(
        refusal(&mut db, insert)?,
        "Queue 'q' allows max 2 events from one TX"
    );
    db.batch_execute("rollback to s; commit")?;
    assert_eq!(arrived(&mut db)?.len(), kept + 4);
    Ok(())
}

#[test]
fn an_event_can_be_inserted_with_all_its_fields() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let raw = |id: &str, time: &str| {
        format!(
            "select pgq.insert_event_raw('q', {id}, {time}, null, 5, 't', 'd', '1', '2', '3', '4')"
        )
    };
    assert_eq!(row(&mut db, &raw("900", "'2020-01-01'"))?, "900");
    assert_eq!(row(&mut db, &raw("null", "null"))?, "2");
    // The time of the transaction also where an id is given, and under a limit.
    db.batch_execute("begin")?;
    row(&mut db, &raw("901", "null"))?;
    db.batch_execute("select pgq.set_queue_config('q', 'per_tx_limit', '1')")?;
    row(&mut db, &raw("null", "null"))?;
    assert_eq!(
        rows(
            &mut db,
            "select ev_id from pgq.event_1 where ev_time = now() order by 1"
        )?,
        ["4", "901"]
    );
    db.batch_execute("rollback")?;
    assert_eq!(
        rows(
            &mut db,
            "select ev_id, ev_time = '2020-01-01', ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, \
             ev_extra4 from pgq.event_1 order by 1"
        )?,
        ["2|f|5|t|d|1|2|3|4", "900|t|5|t|d|1|2|3|4"]
    );
    Ok(())
}

#[test]
fn sequences_and_names_are_helped_with() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    for (name, quoted) in [
        ("Foo", "public.\"Foo\""),
        ("a.b.c", "a.\"b.c\""),
        ("a.b", "a.b"),
        ("select.From", "\"select\".\"From\""),
    ] {
        assert_eq!(
            row(&mut db, &format!("select pgq.quote_fqname('{name}')"))?,
            quoted
        );
    }
    db.batch_execute("create sequence public.\"Seq\"")?;
    assert_eq!(row(&mut db, "select pgq.seq_getval('Seq')")?, "1");
    assert_eq!(row(&mut db, "select pgq.seq_setval('Seq', 10)")?, "10");
    assert_eq!(row(&mut db, "select pgq.seq_setval('Seq', 5)")?, "10");
    assert_eq!(row(&mut db, "select nextval('public.\"Seq\"')")?, "11");
    // A sequence that gave nothing out yet shows 1, and must not give out 1 after being set to it.
    db.batch_execute("create sequence public.virgin")?;
    assert_eq!(row(&mut db, "select pgq.seq_setval('virgin', 1)")?, "1");
    assert_eq!(row(&mut db, "select nextval('virgin')")?, "2");
    Ok(())
}
