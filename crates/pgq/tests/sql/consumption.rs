//! Taking batches of a wanted size, reading them through cursors, moving consumers.

use testkit::TestResult;

use crate::support::{
    arrived, cluster, cluster_with_consumer, consume, insert, refusal, row, rows, tick,
};

#[test]
fn next_batch_custom_merges_ticks_up_to_the_wanted_size() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    // The consumer is at tick 1; ticks 2 to 5 follow at 10, 20, 30, 40 events and minutes.
    db.batch_execute(
        "update pgq.tick set tick_time = now() - interval '40 minutes', tick_event_seq = 0;
         insert into pgq.tick (tick_queue, tick_id, tick_time, tick_event_seq)
         select 1, n, now() - interval '40 minutes' + (n - 1) * interval '10 minutes', (n - 1) * 10
           from generate_series(2, 5) n",
    )?;
    for (arguments, end) in [
        ("null, null, null", "2"),
        // lag: the next tick is 30 minutes old
        ("'29 minutes', null, null", "2"),
        ("'31 minutes', null, null", "NULL"),
        // count: 40 events are there; beyond twice the wish it is the first tick that meets it
        ("null, 41, null", "NULL"),
        ("null, 40, null", "5"),
        ("null, 20, null", "5"),
        ("null, 19, null", "3"),
        ("null, 10, null", "2"),
        ("null, 1, null", "2"),
        // interval
        ("null, null, '41 minutes'", "NULL"),
        ("null, null, '40 minutes'", "5"),
        ("null, null, '20 minutes'", "5"),
        ("null, null, '19 minutes'", "3"),
        // both: one that is met is enough
        ("null, 41, '40 minutes'", "5"),
        ("null, 19, '41 minutes'", "3"),
        ("null, 41, '41 minutes'", "NULL"),
        // the end must be old enough as well
        ("'1 minute', 40, null", "NULL"),
    ] {
        let sql = format!(
            "begin; select batch_id is null, cur_tick_id, prev_tick_id, cur_tick_time is null, \
             prev_tick_time is null, cur_tick_event_seq, prev_tick_event_seq \
             from pgq.next_batch_custom('q', 'c', {arguments}); rollback"
        );
        let expected = match end {
            "NULL" => "t|NULL|NULL|t|t|NULL|NULL".to_owned(),
            end => format!("f|{end}|1|f|f|{}|0", (end.parse::<i64>()? - 1) * 10),
        };
        assert_eq!(row(&mut db, &sql)?, expected, "{arguments}");
    }

    // A position that is not known, as of ticks of version 2, counts as enough.
    db.batch_execute("alter table pgq.tick alter tick_event_seq drop not null")?;
    for unknown in [1, 5] {
        assert_eq!(
            row(
                &mut db,
                &format!(
                    "begin; update pgq.tick set tick_event_seq = null where tick_id = {unknown};
                     select cur_tick_id from pgq.next_batch_custom('q', 'c', null, 1000, null);
                     rollback"
                )
            )?,
            "5"
        );
    }

    // There is nothing after the newest tick, whatever is wanted.
    db.batch_execute("select pgq.register_consumer_at('q', 'c', 5)")?;
    for arguments in ["null, null, null", "null, 0, null", "null, null, '0'"] {
        let sql = format!("select * from pgq.next_batch_custom('q', 'c', {arguments})");
        assert_eq!(
            row(&mut db, &sql)?,
            "NULL|NULL|NULL|NULL|NULL|NULL|NULL",
            "{arguments}"
        );
    }
    Ok(())
}

#[test]
fn all_forms_of_next_batch_give_the_same_batch() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select next_batch from pgq.next_batch('q', 'c')")?;
    let ticks = "batch_id, cur_tick_id, prev_tick_id, cur_tick_event_seq, prev_tick_event_seq";
    let expected = format!("{batch}|2|1|1|0");
    for call in [
        "next_batch_info('q', 'c')",
        "next_batch_custom('q', 'c', '1 hour', 100, '1 hour')",
    ] {
        assert_eq!(
            row(&mut db, &format!("select {ticks} from pgq.{call}"))?,
            expected
        );
    }
    assert_eq!(
        row(
            &mut db,
            &format!(
                "select queue_name, consumer_name, prev_tick_id, tick_id, seq_start, seq_end, \
                 batch_start < batch_end, lag > '0' from pgq.get_batch_info({batch})"
            )
        )?,
        "q|c|1|2|0|1|t|t"
    );
    assert_eq!(
        row(
            &mut db,
            "select n.n, i.tick_id from pgq.next_batch('q', 'c') n, pgq.get_batch_info(777) i"
        )?,
        format!("{batch}|NULL")
    );
    for (call, who) in [
        ("next_batch('q', 'nobody')", "q/nobody"),
        ("next_batch('nowhere', 'c')", "nowhere/c"),
        ("next_batch(null, null)", "NULL/NULL"),
    ] {
        assert_eq!(
            refusal(&mut db, &format!("select pgq.{call}"))?,
            format!("Not subscriber to queue: {who}")
        );
    }
    Ok(())
}

#[test]
fn a_batch_can_be_read_through_a_cursor() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    for data in ["1", "2", "3", "4", "5"] {
        insert(&mut db, data)?;
    }
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    for (limit, quick) in [(0, 0), (-1, 0), (2, 2), (5, 5), (9, 5)] {
        db.batch_execute("begin")?;
        let first = rows(
            &mut db,
            &format!("select ev_data from pgq.get_batch_cursor({batch}, 'odd \"name\"', {limit})"),
        )?;
        let rest = rows(&mut db, "fetch all from \"odd \"\"name\"\"\"")?;
        assert_eq!(
            (first.len(), rest.len()),
            (quick, 5 - quick),
            "limit {limit}"
        );
        db.batch_execute("close \"odd \"\"name\"\"\"; commit")?;
    }
    // It reads onwards, and ends with the transaction.
    for name in ["é; --", "Upper 'Case'", &"x".repeat(63)] {
        db.batch_execute("begin")?;
        let name = name.replace('\'', "''");
        db.batch_execute(&format!(
            "select pgq.get_batch_cursor({batch}, '{name}', 1)"
        ))?;
        let cursors = "select name, is_scrollable, is_holdable from pg_cursors";
        assert_eq!(
            rows(&mut db, cursors)?,
            [format!("{}|f|f", name.replace("''", "'"))]
        );
        db.batch_execute("commit")?;
        assert!(rows(&mut db, cursors)?.is_empty());
    }
    assert_eq!(
        refusal(&mut db, "select pgq.get_batch_cursor(777, 'c', 1)")?,
        "batch not found"
    );
    // A filter, with a comment at its end and the caller's search path.
    db.batch_execute(
        "create schema mine; create function mine.odd(text) returns boolean language sql as 'select $1::int % 2 = 1';
         set search_path = mine, public; begin",
    )?;
    assert_eq!(
        rows(
            &mut db,
            &format!(
                "select ev_data from pgq.get_batch_cursor({batch}, 'c', 2, 'odd(ev_data) -- why')"
            )
        )?,
        ["1", "3"]
    );
    assert_eq!(rows(&mut db, "fetch all from c")?.len(), 1);
    assert!(
        refusal(
            &mut db,
            &format!("select pgq.get_batch_cursor({batch}, 'c', 2, null)")
        )?
        .contains("already exists")
    );
    db.batch_execute("rollback")?;
    for arguments in [
        "null, 'c', 1, null",
        "1, null, 1, null",
        "1, 'c', null, null",
        "null, 'c', 1",
        "1, null, 1",
        "1, 'c', null",
    ] {
        db.batch_execute("begin")?;
        assert!(
            rows(
                &mut db,
                &format!("select pgq.get_batch_cursor({arguments})")
            )?
            .is_empty()
        );
        assert!(rows(&mut db, "select from pg_cursors")?.is_empty());
        db.batch_execute("rollback")?;
    }
    Ok(())
}

#[test]
fn the_text_of_the_query_serves_as_cursor_and_sub_select() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    let sql = row(&mut db, &format!("select pgq.batch_event_sql({batch})"))?;
    assert!(sql.ends_with(" order by 1"), "{sql}");
    let columns = "ev_id, ev_txid is null, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4";
    assert_eq!(
        row(&mut db, &format!("select {columns} from ({sql}) x"))?,
        "1|f|NULL|type|a|NULL|NULL|NULL|NULL"
    );
    db.batch_execute(&format!("begin; declare w no scroll cursor for {sql}"))?;
    assert_eq!(rows(&mut db, "fetch 10 from w")?.len(), 1);
    Ok(())
}

#[test]
fn a_consumer_is_registered_once_and_moved_on_request() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    for data in ["a", "b", "c"] {
        insert(&mut db, data)?;
        tick(&mut db)?;
    }
    assert_eq!(row(&mut db, "select pgq.register_consumer('q', 'c')")?, "0");
    assert_eq!(consume(&mut db)?, Some(vec!["a".to_owned()]));

    // Forward, with an open batch, which is abandoned.
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    assert_eq!(
        row(&mut db, "select pgq.register_consumer_at('q', 'c', 3)")?,
        "0"
    );
    assert_eq!(
        row(&mut db, &format!("select pgq.finish_batch({batch})"))?,
        "0"
    );
    assert_eq!(consume(&mut db)?, Some(vec!["c".to_owned()]));
    // Backward.
    assert_eq!(
        row(&mut db, "select pgq.register_consumer('q', 'c', 1)")?,
        "0"
    );
    for data in ["a", "b", "c"] {
        assert_eq!(consume(&mut db)?, Some(vec![data.to_owned()]));
    }
    // A new one, at a tick.
    assert_eq!(
        row(&mut db, "select pgq.register_consumer_at('q', 'new', 2)")?,
        "1"
    );
    assert_eq!(
        crate::support::consume_as(&mut db, "new")?,
        Some(vec!["b".to_owned()])
    );
    assert_eq!(
        refusal(
            &mut db,
            "select pgq.register_consumer_at('q', 'other', 777)"
        )?,
        "cannot reposition, tick not found: 777"
    );
    assert_eq!(
        refusal(&mut db, "select pgq.register_consumer('nowhere', 'c')")?,
        "Event queue not created yet"
    );
    assert_eq!(row(&mut db, "select count(*) from pgq.consumer")?, "2");
    Ok(())
}

#[test]
fn an_unregistered_consumer_leaves_nothing_behind() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    insert(&mut db, "b")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(&format!(
        "select pgq.event_retry({batch}, 1, 0), pgq.event_failed({batch}, 2, 'x'), pgq.register_consumer('q', 'stays')"
    ))?;
    assert_eq!(
        row(&mut db, "select pgq.unregister_consumer('q', 'c')")?,
        "1"
    );
    assert_eq!(
        row(&mut db, "select pgq.unregister_consumer('q', 'c')")?,
        "0"
    );
    assert_eq!(
        row(
            &mut db,
            "select (select count(*) from pgq.retry_queue), (select count(*) from pgq.failed_queue), \
             (select string_agg(co_name, ',') from pgq.consumer), (select count(*) from pgq.subscription)"
        )?,
        "0|0|stays|1"
    );
    Ok(())
}

/// Makes `c.1` and `c.2` members of the group of `c`, as cooperative consumers are stored.
const GROUP: &str = "
    select pgq.register_consumer('q', 'c.1'), pgq.register_consumer('q', 'c.2');
    update pgq.subscription set sub_id = (select sub_id from pgq.subscription s, pgq.consumer
                                           where co_id = sub_consumer and co_name = 'c')
     where sub_consumer in (select co_id from pgq.consumer where co_name like 'c.%');
    update pgq.subscription set sub_last_tick = null
     where sub_consumer in (select co_id from pgq.consumer where co_name like 'c.%')";

#[test]
fn finishing_the_batch_of_a_group_member_leaves_it_idle() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(GROUP)?;
    insert(&mut db, "a")?;
    tick(&mut db)?;
    db.batch_execute(
        "update pgq.subscription set sub_last_tick = 1, sub_next_tick = 2, sub_batch = 77
          where sub_consumer = (select co_id from pgq.consumer where co_name = 'c.1')",
    )?;
    assert_eq!(row(&mut db, "select pgq.event_retry(77, 1, 0)")?, "1");
    assert_eq!(row(&mut db, "select pgq.finish_batch(77)")?, "1");
    assert_eq!(
        rows(
            &mut db,
            "select consumer_name, last_tick, current_batch, next_tick, lag is null from pgq.get_consumer_info('q')"
        )?,
        [
            "c|1|NULL|NULL|f",
            "c.1|NULL|NULL|NULL|t",
            "c.2|NULL|NULL|NULL|t"
        ]
    );
    // A member leaves alone, and the group keeps what it has to retry.
    assert_eq!(
        row(&mut db, "select pgq.unregister_consumer('q', 'c.1')")?,
        "1"
    );
    assert_eq!(
        row(
            &mut db,
            "select (select count(*) from pgq.retry_queue), (select string_agg(co_name, ',' order by 1) from pgq.consumer)"
        )?,
        "1|c,c.2"
    );
    // The main consumer takes the rest along.
    assert_eq!(
        row(&mut db, "select pgq.unregister_consumer('q', 'c')")?,
        "2"
    );
    assert_eq!(
        row(
            &mut db,
            "select (select count(*) from pgq.retry_queue), (select count(*) from pgq.consumer)"
        )?,
        "0|0"
    );
    Ok(())
}

#[test]
fn an_idle_group_member_does_not_hold_rotation_and_one_with_a_batch_does() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(GROUP)?;
    db.batch_execute("select pgq.set_queue_config('q', 'rotation_period', '0')")?;
    arrived(&mut db)?;
    for (batch, table) in [("1, 2, 77", "0"), ("null, null, null", "1")] {
        db.batch_execute(&format!(
            "update pgq.subscription set (sub_last_tick, sub_next_tick, sub_batch) = row({batch})
              where sub_consumer = (select co_id from pgq.consumer where co_name = 'c.1');
             select pgq.maint_rotate_tables_step1('q')"
        ))?;
        assert_eq!(
            row(&mut db, "select queue_cur_table from pgq.queue")?,
            table
        );
    }
    Ok(())
}

#[test]
fn information_is_there_for_whom_and_what_there_is() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    for call in [
        "get_queue_info()",
        "get_queue_info(null)",
        "get_queue_info('q')",
        "get_consumer_info()",
        "get_consumer_info(null)",
        "get_consumer_info(null, null)",
        "get_consumer_info('q', 'c')",
    ] {
        assert!(
            rows(&mut db, &format!("select * from pgq.{call}"))?.is_empty(),
            "{call}"
        );
    }
    db.batch_execute(
        "select pgq.create_queue('b'), pgq.create_queue('a');
         select pgq.register_consumer('b', 'y'), pgq.register_consumer('b', 'x'), pgq.register_consumer('a', 'x')",
    )?;
    assert_eq!(
        rows(&mut db, "select queue_name from pgq.get_queue_info()")?,
        ["a", "b"]
    );
    assert_eq!(
        rows(&mut db, "select queue_name from pgq.get_queue_info('b')")?,
        ["b"]
    );
    let consumers = "select queue_name, consumer_name from pgq.get_consumer_info";
    assert_eq!(
        rows(&mut db, &format!("{consumers}()"))?,
        ["a|x", "b|x", "b|y"]
    );
    assert_eq!(rows(&mut db, &format!("{consumers}('b')"))?, ["b|x", "b|y"]);
    assert_eq!(
        rows(&mut db, &format!("{consumers}(null, 'x')"))?,
        ["a|x", "b|x"]
    );
    // Monitoring scripts take what stands before the first comma.
    assert!(row(&mut db, "select pgq.get_queue_info('a')")?.starts_with("(a,3,0,02:00:00,"));
    assert_eq!(
        row(
            &mut db,
            "select queue_external_ticker, queue_ticker_paused, queue_ticker_max_count, queue_ticker_max_lag, \
             queue_ticker_idle_period, ticker_lag > '0', ev_per_sec, ev_new, last_tick_id from pgq.get_queue_info('a')"
        )?,
        "f|f|500|00:00:03|00:01:00|t|NULL|0|1"
    );
    // Five events a second between two ticks.
    db.batch_execute(
        "insert into pgq.tick (tick_queue, tick_id, tick_time, tick_event_seq)
         select 1, 2, tick_time + interval '10 s', 50 from pgq.tick where tick_queue = 1;
         select setval('pgq.event_1_id_seq', 57)",
    )?;
    assert_eq!(
        row(
            &mut db,
            "select ev_per_sec, ev_new, last_tick_id from pgq.get_queue_info('b')"
        )?,
        "5|7|2"
    );
    assert_eq!(
        row(
            &mut db,
            "select last_tick, current_batch, next_tick, pending_events, last_seen >= '0' from pgq.get_consumer_info('b', 'x')"
        )?,
        "1|NULL|NULL|50|t"
    );
    // A sequence that was set back, as by an upgrade: its first tick counts from one more.
    db.batch_execute(
        "update pgq.tick set tick_event_seq = 51 where tick_queue = 1 and tick_id = 1",
    )?;
    assert_eq!(
        row(&mut db, "select ev_per_sec from pgq.get_queue_info('b')")?,
        "0"
    );
    Ok(())
}
