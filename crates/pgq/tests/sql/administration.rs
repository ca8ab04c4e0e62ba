//! Creating, configuring and dropping queues, and putting events in.

use std::thread;

use testkit::TestResult;

use crate::support::{
    arrived, cluster, cluster_with_consumer, insert, refusal, row, rows, tick, wait_for_lock,
};

#[test]
fn a_queue_can_have_any_name() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    let long = "x".repeat(1000);
    for name in [
        "it''s",
        "Mixed \"Case\"",
        "a.b.c",
        "",
        "%s \\ é",
        long.as_str(),
    ] {
        for call in [
            format!("create_queue('{name}')"),
            format!("set_queue_config('{name}', 'ticker_max_lag', '0')"),
            format!("register_consumer('{name}', '{name}')"),
            format!("insert_event('{name}', '{name}', 'data')"),
            format!("ticker('{name}')"),
        ] {
            db.batch_execute(&format!("select pgq.{call}"))?;
        }
        let batch = row(
            &mut db,
            &format!("select pgq.next_batch('{name}', '{name}')"),
        )?;
        assert_eq!(
            row(
                &mut db,
                &format!("select ev_data from pgq.get_batch_events({batch})")
            )?,
            "data"
        );
        assert_eq!(
            row(
                &mut db,
                &format!("select queue_name = '{name}' from pgq.get_queue_info('{name}')")
            )?,
            "t"
        );
        assert_eq!(
            row(&mut db, &format!("select pgq.drop_queue('{name}', true)"))?,
            "1"
        );
    }
    assert_eq!(
        refusal(&mut db, "select pgq.create_queue(null)")?,
        "Invalid NULL value"
    );
    Ok(())
}

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

#[test]
fn settings_are_checked_and_null_means_the_default() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute("select pgq.create_queue('q')")?;
    let set =
        |name: &str, value: &str| format!("select pgq.set_queue_config('q', {name}, {value})");
    for (name, value, shown, default) in [
        ("ticker_max_count", "'7'", "7", "500"),
        ("ticker_max_lag", "'1 min'", "00:01:00", "00:00:03"),
        ("ticker_idle_period", "'0'", "00:00:00", "00:01:00"),
        ("ticker_paused", "'yes'", "t", "f"),
        ("rotation_period", "'1 day'", "1 day", "02:00:00"),
        ("external_ticker", "'true'", "t", "f"),
        ("disable_insert", "'on'", "t", "f"),
        ("per_tx_limit", "'3'", "3", "NULL"),
        ("queue_per_tx_limit", "'4'", "4", "NULL"),
        ("notify", "'1'", "t", "f"),
        ("max_retries", "'3'", "3", "NULL"),
    ] {
        let read = format!(
            "select queue_{} from pgq.queue",
            name.trim_start_matches("queue_")
        );
        assert_eq!(row(&mut db, &set(&format!("'{name}'"), value))?, "1");
        assert_eq!(row(&mut db, &read)?, shown, "{name}");
        assert_eq!(row(&mut db, &set(&format!("'{name}'"), "null"))?, "1");
        assert_eq!(row(&mut db, &read)?, default, "{name}");
    }
    assert_eq!(
        refusal(&mut db, &set("'data_pfx'", "'x'"))?,
        "cannot change parameter \"data_pfx\""
    );
    assert_eq!(
        refusal(&mut db, &set("'ticker_max_lag'", "'-1 s'"))?,
        "parameter \"ticker_max_lag\" cannot be negative"
    );
    assert!(refusal(&mut db, &set("'ticker_max_count'", "'many'"))?.contains("integer"));
    assert_eq!(refusal(&mut db, &set("null", "'x'"))?, "Invalid NULL value");
    assert_eq!(
        refusal(
            &mut db,
            "select pgq.set_queue_config('nowhere', 'ticker_paused', 'true')"
        )?,
        "No such event queue"
    );
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
        let table = db
            .simple_query("select pgq.current_event_table('q')")
            .is_ok();
        assert_eq!((inserted, table), (allowed, allowed), "{role}");
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
    db.batch_execute(&limit("'2'"))?;
    for _ in 0..2 {
        db.batch_execute(&format!("begin; {insert} {insert} commit"))?;
    }
    assert_eq!(
        refusal(&mut db, &format!("begin; {insert} {insert} {insert}"))?,
        "Queue 'q' allows max 2 events from one TX"
    );
    db.batch_execute("rollback")?;
    db.batch_execute(&format!(
        "begin; savepoint s; {insert} {insert} rollback to s; {insert} {insert} commit"
    ))?;
    db.batch_execute(&limit("'0'"))?;
    assert_eq!(
        refusal(&mut db, insert)?,
        "Queue 'q' allows max 0 events from one TX"
    );
    db.batch_execute(&limit("null"))?;
    db.batch_execute(&format!("begin; {insert} {insert} {insert} commit"))?;
    assert_eq!(arrived(&mut db)?.len(), 9);
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
