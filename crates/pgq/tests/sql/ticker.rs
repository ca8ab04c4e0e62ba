//! When a tick is made, and that ticks never go back.

use std::thread;
use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator;
use testkit::TestResult;

use crate::support::{
    arrived, cluster, cluster_with_consumer, connect_and_hear, consume, eager_queue, insert, pid,
    refusal, row, rows, tick, wait_for_lock,
};

#[test]
fn a_queue_ticks_when_the_table_of_decisions_says_so() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute(
        "select pgq.create_queue('q');
         select pgq.set_queue_config('q', 'ticker_max_count', '10');
         select pgq.set_queue_config('q', 'ticker_max_lag', '10 seconds');
         select pgq.set_queue_config('q', 'ticker_idle_period', '60 seconds')",
    )?;
    // Events since the last tick, its age, its distance from the one before.
    for (new, age, gap, due) in [
        ("10", 0, Some(1), true),
        ("9", 0, Some(1), false),
        ("1", 9, Some(1), false),
        ("1", 10, Some(1), true),
        // idle: from half the lag on, at doubling distances up to the idle period
        ("0", 4, Some(1), false),
        ("0", 5, Some(1), true),
        ("0", 5, Some(3), false),
        ("0", 6, Some(3), true),
        ("0", 59, Some(40), false),
        ("0", 60, Some(40), true),
        // fewer events than at the last tick: as idle
        ("-5", 4, Some(1), false),
        ("-5", 5, Some(1), true),
        // nothing before the last tick
        ("0", 0, None, true),
        ("1", 0, None, false),
        // the position of the last tick is not known
        ("null", 9, Some(1), false),
        ("null", 10, Some(1), true),
        // the clock was set back since the last tick
        ("1", -3600, Some(1), true),
        ("0", -3600, Some(1), true),
        ("0", -3600, Some(7200), true),
    ] {
        let before = gap.map_or_else(String::new, |gap| {
            format!(
                "insert into pgq.tick (tick_queue, tick_id, tick_time, tick_event_seq)
                 select queue_id, 100, now() - interval '{age} s' - interval '{gap} s', 500 from pgq.queue;"
            )
        });
        // The one that ticks all queues looks at them in another way.
        for (function, yes, no) in [("ticker('q')", "102", "NULL"), ("ticker()", "1", "0")] {
            let made = row(
                &mut db,
                &format!(
                    "begin;
                     alter table pgq.tick alter tick_event_seq drop not null;
                     delete from pgq.tick;
                     select setval('pgq.event_1_id_seq', 1000), setval('pgq.event_1_tick_seq', 101);
                     {before}
                     insert into pgq.tick (tick_queue, tick_id, tick_time, tick_event_seq)
                     select queue_id, 101, now() - interval '{age} s', 1000 - {new} from pgq.queue;
                     select pgq.{function};
                     rollback"
                ),
            )?;
            let expected = if due { yes } else { no };
            assert_eq!(
                made, expected,
                "{function}: new {new}, age {age} s, gap {gap:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_state_that_cannot_be_is_warned_of() -> TestResult {
    let (cluster, mut db) = cluster()?;
    db.batch_execute("select pgq.create_queue('q'), pgq.create_queue('broken')")?;
    let (mut other, told) = connect_and_hear(&cluster, "postgres")?;
    for ticker in ["ticker('q')", "ticker()"] {
        for (change, warning) in [
            (
                "tick_event_seq = 700",
                "Negative new_events?  old=700 cur=0",
            ),
            // Such a tick is not the last word: the next one would go back.
            (
                "tick_snapshot = '1:90000000000:'",
                "Dubious PgQ state: old xmax=90000000000, cur txid=",
            ),
        ] {
            other.batch_execute(&format!(
                "begin; update pgq.tick set {change} where tick_queue = 1; select pgq.{ticker}; rollback"
            ))?;
            let warnings = told.take();
            assert!(
                warnings.len() == 1 && warnings[0].starts_with(warning),
                "{warnings:?}"
            );
        }
    }
    // A tick of an older version, whose queue has had no event.
    other.batch_execute("update pgq.tick set tick_event_seq = 1; select pgq.ticker()")?;
    assert!(told.take().is_empty());
    db.batch_execute("drop sequence pgq.event_2_tick_seq")?;
    other.batch_execute("update pgq.tick set tick_time = '2020-01-01'; select pgq.ticker()")?;
    assert_eq!(
        told.take(),
        ["cannot tick queue \"broken\": relation \"pgq.event_2_tick_seq\" does not exist"]
    );
    Ok(())
}

#[test]
fn ticks_of_an_older_version_that_do_not_know_their_position_show_none() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(
        "alter table pgq.tick alter tick_event_seq drop not null;
         update pgq.tick set tick_event_seq = null",
    )?;
    for (what, expected) in [
        (
            "ev_per_sec, ev_new, last_tick_id from pgq.get_queue_info('q')",
            "NULL|NULL|2",
        ),
        ("new_events from pgq.get_queue_health('q')", "NULL"),
        (
            "pending_events from pgq.get_consumer_info('q', 'c')",
            "NULL",
        ),
        (
            &format!("seq_start, seq_end, tick_id from pgq.get_batch_info({batch})"),
            "NULL|NULL|2",
        ),
        (
            "cur_tick_event_seq, prev_tick_event_seq, cur_tick_id from pgq.next_batch_info('q', 'c')",
            "NULL|NULL|2",
        ),
    ] {
        assert_eq!(row(&mut db, &format!("select {what}"))?, expected, "{what}");
    }
    assert_eq!(consume(&mut db)?, Some(vec!["a".to_owned()]));
    insert(&mut db, "b")?;
    assert_eq!(arrived(&mut db)?, ["b"]);
    Ok(())
}

#[test]
fn a_clock_that_is_set_back_keeps_nobody_waiting_and_makes_no_age_negative() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.set_queue_config('q', 'rotation_period', '1 hour')")?;
    insert(&mut db, "before")?;
    tick(&mut db)?;
    // All that has happened seems to be ahead.
    db.batch_execute(
        "update pgq.tick set tick_time = tick_time + interval '1 day';
         update pgq.subscription set sub_active = sub_active + interval '1 day';
         update pgq.queue set queue_switch_time = queue_switch_time + interval '1 day'",
    )?;
    for ages in [
        "select extract(epoch from ticker_lag)::int from pgq.get_queue_info('q')",
        "select extract(epoch from lag)::int, extract(epoch from last_seen)::int from pgq.get_consumer_info('q')",
        "select extract(epoch from ticker_lag)::int, extract(epoch from rotation_age)::int from pgq.get_queue_health()",
        "select extract(epoch from lag)::int, extract(epoch from last_seen)::int, extract(epoch from waiting)::int
           from pgq.get_consumer_health()",
    ] {
        let ages = row(&mut db, ages)?;
        assert!(ages.split('|').all(|age| age == "0"), "{ages}");
    }
    // One that waits until a tick has some age; a tick that is ahead by less than that is still too young.
    for (lag, given) in [("2 days", "f"), ("1 minute", "t")] {
        let batch = format!(
            "select cur_tick_id is not null from pgq.next_batch_custom('q', 'c', '{lag}', null, null)"
        );
        assert_eq!(row(&mut db, &batch)?, given, "{lag}");
    }
    consume(&mut db)?;
    insert(&mut db, "after")?;
    assert_ne!(row(&mut db, "select pgq.ticker('q')")?, "NULL");
    assert_eq!(arrived(&mut db)?, ["after"]);
    assert!(
        rows(&mut db, "select func_name from pgq.maint_operations()")?
            .contains(&"pgq.maint_rotate_tables_step1".to_owned())
    );
    row(&mut db, "select pgq.maint_rotate_tables_step1('q')")?;
    let switched = "select queue_cur_table, queue_switch_time <= now() from pgq.queue";
    assert_eq!(row(&mut db, switched)?, "1|t");
    row(&mut db, "select pgq.maint_rotate_tables_step2()")?;
    db.batch_execute("update pgq.subscription set sub_active = sub_active + interval '1 day'")?;
    let blocker =
        "select blocker, extract(epoch from blocker_age)::int from pgq._rotation_blocker(1)";
    assert_eq!(row(&mut db, blocker)?, "consumer|0");
    Ok(())
}

#[test]
fn a_fresh_queue_ticks_twice_and_then_waits() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute("select pgq.create_queue('q')")?;
    assert_eq!(row(&mut db, "select count(*) from pgq.tick")?, "1");
    assert_eq!(row(&mut db, "select pgq.ticker('q')")?, "2");
    assert_eq!(row(&mut db, "select pgq.ticker('q')")?, "NULL");
    Ok(())
}

#[test]
fn the_first_event_of_a_queue_counts_as_new() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute(
        "select pgq.create_queue('q');
         select pgq.set_queue_config('q', 'ticker_max_count', '1')",
    )?;
    let new_events = "select ev_new from pgq.get_queue_info('q')";
    assert_eq!(row(&mut db, "select pgq.ticker('q')")?, "2");
    assert_eq!(row(&mut db, "select pgq.ticker('q')")?, "NULL");
    assert_eq!(row(&mut db, new_events)?, "0");
    insert(&mut db, "first")?;
    assert_eq!(row(&mut db, new_events)?, "1");
    assert_eq!(row(&mut db, "select pgq.ticker('q')")?, "3");
    Ok(())
}

#[test]
fn two_tickers_at_once_make_one_tick() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    let mut other = cluster.connect("postgres")?;
    other.batch_execute("begin; select pgq.ticker('q')")?;
    assert_eq!(row(&mut db, "select pgq.ticker('q')")?, "NULL");
    assert_eq!(row(&mut db, "select pgq.ticker()")?, "0");
    other.batch_execute("commit")?;
    insert(&mut db, "b")?;
    tick(&mut db)?;
    assert_eq!(consume(&mut db)?, Some(vec!["a".to_owned()]));
    assert_eq!(consume(&mut db)?, Some(vec!["b".to_owned()]));
    assert_eq!(consume(&mut db)?, None);
    Ok(())
}

#[test]
fn a_ticker_with_an_old_snapshot_makes_no_tick() -> TestResult {
    for isolation in ["repeatable read", "serializable"] {
        let (cluster, mut db) = cluster_with_consumer()?;
        let mut old = cluster.connect("postgres")?;
        old.batch_execute(&format!("begin isolation level {isolation}; select 1"))?;
        insert(&mut db, "a")?;
        tick(&mut db)?;
        assert_eq!(row(&mut old, "select pgq.ticker('q')")?, "NULL");
        old.batch_execute("commit")?;
        assert_eq!(consume(&mut db)?, Some(vec!["a".to_owned()]));
        assert!(arrived(&mut db)?.is_empty(), "delivered twice");

        // With nothing newer it ticks, whether or not a tick was rolled back before.
        old.batch_execute("begin; select pgq.ticker('q'); rollback")?;
        old.batch_execute(&format!("begin isolation level {isolation}; select 1"))?;
        assert_ne!(row(&mut old, "select pgq.ticker('q')")?, "NULL");
        old.batch_execute("commit")?;
    }
    Ok(())
}

#[test]
fn a_queue_that_may_not_tick_says_why_and_does_not_stop_the_others() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    for queue in ["a broken", "external", "paused", "works"] {
        eager_queue(&mut db, queue)?;
    }
    db.batch_execute(
        "select pgq.set_queue_config('external', 'external_ticker', 'true');
         select pgq.set_queue_config('paused', 'ticker_paused', 'true');
         drop sequence pgq.event_1_tick_seq",
    )?;
    for (queue, message) in [
        ("nobody", "no such queue"),
        ("external", "This queue has external tick source."),
        ("paused", "Ticker has been paused for this queue"),
    ] {
        assert_eq!(
            refusal(&mut db, &format!("select pgq.ticker('{queue}')"))?,
            message
        );
    }
    assert_eq!(row(&mut db, "select pgq.ticker()")?, "1");
    // Nor does a name that nobody can read.
    for name in ["pgq.\"event", "", "nowhere", "pgq.event_1"] {
        db.batch_execute(&format!(
            "update pgq.queue set queue_event_seq = '{name}' where queue_name = 'a broken'"
        ))?;
        assert_eq!(row(&mut db, "select pgq.ticker()")?, "1", "{name}");
    }
    db.batch_execute(
        "update pgq.queue set queue_event_seq = 'pgq.event_1_id_seq' where queue_name = 'a broken';
         select pgq.drop_queue('works')",
    )?;
    assert!(refusal(&mut db, "select pgq.ticker()")?.contains("pgq.event_1_tick_seq"));
    Ok(())
}

#[test]
fn an_external_tick_is_stored_as_it_is() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let tick = "select pgq.ticker('q', 50, '2020-01-02 03:04:05+00', 700)";
    assert_eq!(
        refusal(&mut db, tick)?,
        "queue not found or ticker disabled: q"
    );
    db.batch_execute("select pgq.set_queue_config('q', 'external_ticker', 'true')")?;
    insert(&mut db, "before")?;
    assert_eq!(row(&mut db, tick)?, "50");
    assert_eq!(
        row(
            &mut db,
            "select tick_time = '2020-01-02 03:04:05+00', tick_event_seq from pgq.tick where tick_id = 50"
        )?,
        "t|700"
    );
    assert_eq!(
        row(
            &mut db,
            "select pgq.seq_getval('pgq.event_1_tick_seq'), pgq.seq_getval('pgq.event_1_id_seq')"
        )?,
        "50|700"
    );
    assert!(refusal(&mut db, tick)?.contains("tick_pkey"));
    // The position may go down, the sequences do not.
    assert_eq!(row(&mut db, "select pgq.ticker('q', 60, now(), 0)")?, "60");
    assert_eq!(
        row(&mut db, "select pgq.seq_getval('pgq.event_1_id_seq')")?,
        "700"
    );
    assert_eq!(row(&mut db, "select pgq.ticker('q', 61)")?, "61");
    assert_eq!(
        row(
            &mut db,
            "select tick_event_seq, now() - tick_time < '1 minute' from pgq.tick where tick_id = 61"
        )?,
        "700|t"
    );
    db.batch_execute("select pgq.create_queue('own')")?;
    for queue in ["nobody", "own", "q"] {
        if queue == "q" {
            db.batch_execute("select pgq.set_queue_config('q', 'ticker_paused', 'true')")?;
        }
        for arguments in ["70", "70, now(), 0"] {
            assert_eq!(
                refusal(
                    &mut db,
                    &format!("select pgq.ticker('{queue}', {arguments})")
                )?,
                format!("queue not found or ticker disabled: {queue}")
            );
        }
    }
    assert_eq!(consume(&mut db)?, Some(vec!["before".to_owned()]));
    assert_eq!(consume(&mut db)?, Some(vec![]));
    Ok(())
}

#[test]
fn events_pushed_in_the_transaction_of_an_external_tick_come_with_the_next() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.set_queue_config('q', 'external_ticker', 'true')")?;
    db.batch_execute(
        "begin; select pgq.insert_event('q', 'type', 'with it'); select pgq.ticker('q', 50); commit",
    )?;
    assert_eq!(consume(&mut db)?, Some(vec![]));
    assert_eq!(row(&mut db, "select pgq.ticker('q', 51)")?, "51");
    assert_eq!(consume(&mut db)?, Some(vec!["with it".to_owned()]));
    assert_eq!(consume(&mut db)?, None);
    Ok(())
}

#[test]
fn external_ticks_do_not_go_back_either() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.set_queue_config('q', 'external_ticker', 'true')")?;
    let mut number = 50;
    for isolation in ["repeatable read", "serializable"] {
        // Some that were rolled back are in the way of nobody.
        let (kept, late) = (number, number + 1);
        let mut old = cluster.connect("postgres")?;
        old.batch_execute(&format!(
            "begin; select pgq.ticker('q', {late}); rollback;
             begin isolation level {isolation}; select 1"
        ))?;
        insert(&mut db, isolation)?;
        db.batch_execute(&format!("select pgq.ticker('q', {kept})"))?;
        let error = old
            .batch_execute(&format!("select pgq.ticker('q', {late})"))
            .expect_err("its snapshot is older than the last tick");
        assert_eq!(
            error.code().map(|code| code.code()),
            Some("40001"),
            "{error:?}"
        );
        // Again, as any client does that is told so; a second one in the same transaction, too.
        old.batch_execute(&format!(
            "rollback; begin isolation level {isolation};
             select pgq.ticker('q', {late}), pgq.ticker('q', {late} + 1); commit"
        ))?;
        assert_eq!(consume(&mut db)?, Some(vec![isolation.to_owned()]));
        assert_eq!(consume(&mut db)?, Some(vec![]), "delivered twice");
        assert_eq!(consume(&mut db)?, Some(vec![]));
        number += 10;
    }

    // Two at READ COMMITTED take turns.
    let mut other = cluster.connect("postgres")?;
    let other_pid = pid(&mut other)?;
    db.batch_execute("begin; select pgq.ticker('q', 80)")?;
    thread::scope(|scope| -> TestResult {
        let second = scope.spawn(|| row(&mut other, "select pgq.ticker('q', 81)"));
        let mut third = cluster.connect("postgres")?;
        wait_for_lock(&mut third, &other_pid)?;
        insert(&mut third, "between")?;
        db.batch_execute("commit")?;
        assert_eq!(second.join().expect("the other does not panic")?, "81");
        Ok(())
    })?;
    assert_eq!(consume(&mut db)?, Some(vec![]));
    assert_eq!(consume(&mut db)?, Some(vec!["between".to_owned()]));

    db.batch_execute("update pgq.tick set tick_snapshot = '90000000000:90000000000:'")?;
    assert!(
        refusal(&mut db, "select pgq.ticker('q', 90)")?.starts_with(
            "Invalid PgQ state: old xmin=90000000000, old xmax=90000000000, cur txid="
        )
    );
    Ok(())
}

#[test]
fn force_tick_makes_the_next_run_tick() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute("select pgq.create_queue('q'); select pgq.ticker('q')")?;
    assert_eq!(row(&mut db, "select pgq.ticker('q')")?, "NULL");
    assert_eq!(row(&mut db, "select pgq.force_tick('q')")?, "2");
    // As many events as let any ticker tick: the next one, twice the queue's count, and a thousand.
    assert_eq!(
        row(&mut db, "select ev_new from pgq.get_queue_info('q')")?,
        "2001"
    );
    assert_eq!(row(&mut db, "select pgq.ticker('q')")?, "3");
    for setting in ["ticker_paused", "external_ticker"] {
        db.batch_execute(&format!(
            "select pgq.set_queue_config('q', '{setting}', 'true')"
        ))?;
        let position = row(&mut db, "select pgq.seq_getval('pgq.event_1_id_seq')")?;
        assert_eq!(row(&mut db, "select pgq.force_tick('q')")?, "3");
        assert_eq!(
            row(&mut db, "select pgq.seq_getval('pgq.event_1_id_seq')")?,
            position
        );
    }
    assert_eq!(row(&mut db, "select pgq.force_tick('nobody')")?, "NULL");
    db.batch_execute("delete from pgq.tick")?;
    assert_eq!(row(&mut db, "select pgq.force_tick('q')")?, "NULL");
    Ok(())
}

#[test]
fn who_listens_is_told_of_every_tick_if_the_queue_is_set_to() -> TestResult {
    let (cluster, mut db) = cluster()?;
    let long = "x".repeat(8100);
    for queue in ["a queue, 1", "silent", "external", &long] {
        eager_queue(&mut db, queue)?;
        if queue != "silent" {
            db.batch_execute(&format!(
                "select pgq.set_queue_config('{queue}', 'notify', 'true')"
            ))?;
        }
    }
    db.batch_execute("select pgq.set_queue_config('external', 'external_ticker', 'true')")?;
    let mut listener = cluster.connect("postgres")?;
    listener.batch_execute("listen pgq_tick")?;
    db.batch_execute("select pgq.ticker('a queue, 1')")?;
    db.batch_execute("select pgq.ticker('silent')")?;
    // Not what is rolled back.
    db.batch_execute("begin; select pgq.ticker('a queue, 1'); rollback")?;
    db.batch_execute("select pgq.ticker('external', 7, now(), 0)")?;
    db.batch_execute("select pgq.ticker()")?;
    let mut heard = Vec::new();
    let mut notifications = listener.notifications();
    let mut waiting = notifications.timeout_iter(Duration::from_secs(30));
    while heard.len() < 4 {
        let notice = waiting.next()?.ok_or("not told within 30 seconds")?;
        assert_eq!(notice.channel(), "pgq_tick");
        heard.push(notice.payload().to_owned());
    }
    assert_eq!(heard, ["2 a queue, 1", "7 external", "4 a queue, 1", "2"]);
    Ok(())
}

#[test]
fn a_database_that_went_back_in_time_does_not_tick() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("update pgq.tick set tick_snapshot = '90000000000:90000000000:'")?;
    assert!(
        refusal(&mut db, "select pgq.ticker('q')")?.starts_with(
            "Invalid PgQ state: old xmin=90000000000, old xmax=90000000000, cur txid="
        )
    );
    assert!(refusal(&mut db, "select pgq.ticker()")?.starts_with("Invalid PgQ state: "));
    assert!(rows(&mut db, "select from pgq.tick where tick_id > 1")?.is_empty());
    Ok(())
}
