//! Events that are delivered again, and events that are given up.

use testkit::TestResult;

use crate::support::{
    arrived, cluster_with_consumer, consume_as, eager_queue, insert, refusal, row, rows, tick,
};

#[test]
fn a_retried_event_comes_back_to_its_consumer_with_a_counter() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.register_consumer('q', 'other')")?;
    db.batch_execute("select pgq.insert_event('q', 'type', 'data', '1', '2', '3', '4')")?;
    tick(&mut db)?;
    let events = "select ev_id, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4, ev_time \
                  from pgq.get_batch_events";
    let mut first = None;
    for retry in 0..3 {
        let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
        let event = row(&mut db, &format!("{events}({batch})"))?;
        let (id, rest) = event.split_once('|').expect("two columns");
        let (counter, rest) = rest.split_once('|').expect("three columns");
        assert_eq!(
            counter,
            if retry == 0 {
                "NULL".to_owned()
            } else {
                retry.to_string()
            }
        );
        assert_eq!(
            first.get_or_insert((id.to_owned(), rest.to_owned())),
            &(id.to_owned(), rest.to_owned())
        );
        for stored in ["1", "0"] {
            assert_eq!(
                row(
                    &mut db,
                    &format!("select pgq.event_retry({batch}, {id}, 0)")
                )?,
                stored
            );
        }
        db.batch_execute(&format!("select pgq.finish_batch({batch})"))?;
        assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, "1");
        assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, "0");
        tick(&mut db)?;
    }
    // The other consumer sees the first delivery only.
    assert_eq!(consume_as(&mut db, "other")?, Some(vec!["data".to_owned()]));
    while let Some(events) = consume_as(&mut db, "other")? {
        assert!(events.is_empty());
    }
    Ok(())
}

#[test]
fn an_event_waits_until_its_time() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    for (id, when) in [("1", "3600"), ("1", "now() - interval '1 hour'")] {
        db.batch_execute(&format!(
            "begin; select pgq.event_retry({batch}, {id}, {when})"
        ))?;
        let due = if when == "3600" { "0" } else { "1" };
        assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, due);
        db.batch_execute("rollback")?;
    }
    Ok(())
}

#[test]
fn an_event_comes_back_with_the_batch_after_its_time_not_before() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "late")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(&format!(
        "select pgq.event_retry({batch}, 1, 90), pgq.finish_batch({batch})"
    ))?;
    let wait = "select extract(epoch from ev_retry_after - now())::int between 60 and 90 from pgq.retry_queue";
    assert_eq!(row(&mut db, wait)?, "t");
    for data in ["a", "b"] {
        insert(&mut db, data)?;
        assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, "0");
        assert_eq!(arrived(&mut db)?, [data]);
    }
    db.batch_execute("update pgq.retry_queue set ev_retry_after = now()")?;
    insert(&mut db, "c")?;
    assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, "1");
    // By its id, which it kept.
    assert_eq!(arrived(&mut db)?, ["late", "c"]);
    assert!(arrived(&mut db)?.is_empty());
    Ok(())
}

#[test]
fn an_unknown_event_or_batch_is_refused() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    for call in [
        format!("pgq.event_retry({batch}, 777, 0)"),
        "pgq.event_retry(777, 1, 0)".to_owned(),
        "pgq.event_retry(777, 1, now())".to_owned(),
        format!("pgq.event_retry({batch}, null, 0)"),
        format!("pgq.event_failed({batch}, 777, 'why')"),
        "pgq.event_failed(777, 1, 'why')".to_owned(),
    ] {
        assert_eq!(
            refusal(&mut db, &format!("select {call}"))?,
            "event not found",
            "{call}"
        );
    }
    assert_eq!(
        refusal(&mut db, "select pgq.batch_retry(777, 0)")?,
        "batch_retry: batch 777 not found"
    );
    Ok(())
}

#[test]
fn an_event_is_looked_up_without_reading_the_whole_batch() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.insert_event('q', 'type', i::text) from generate_series(1, 5) i")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    // Makes it an error to ask for all events.
    db.batch_execute(
        "alter function pgq._batch_sql(bigint, bigint) rename to _batch_sql_kept;
         create function pgq._batch_sql(i_batch_id bigint, i_event_id bigint) returns text language plpgsql as $$
         begin
             if i_event_id is null then
                 raise exception 'all events are read';
             end if;
             return pgq._batch_sql_kept(i_batch_id, i_event_id);
         end $$",
    )?;
    for call in [
        format!("pgq.event_retry({batch}, 1, 60)"),
        format!("pgq.event_failed({batch}, 2, 'reason')"),
        format!("pgq.nack({batch}, 3, interval '1 minute', 'reason')"),
    ] {
        row(&mut db, &format!("select {call}"))?;
    }
    let filter = row(&mut db, &format!("select pgq._batch_sql({batch}, 4)"))?;
    assert!(filter.contains("ev.ev_id = 4"), "{filter}");
    // And the check can fail.
    assert_eq!(
        refusal(
            &mut db,
            &format!("select * from pgq.get_batch_events({batch})")
        )?,
        "all events are read"
    );
    Ok(())
}

#[test]
fn a_batch_is_retried_without_what_waits_already() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    for data in ["a", "b", "c"] {
        insert(&mut db, data)?;
    }
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(&format!("select pgq.event_retry({batch}, 2, 0)"))?;
    assert_eq!(
        row(&mut db, &format!("select pgq.batch_retry({batch}, 0)"))?,
        "2"
    );
    assert_eq!(
        row(&mut db, &format!("select pgq.batch_retry({batch}, 0)"))?,
        "0"
    );
    db.batch_execute(&format!(
        "select pgq.finish_batch({batch}); select pgq.maint_retry_events()"
    ))?;
    assert_eq!(arrived(&mut db)?, ["a", "b", "c"]);
    Ok(())
}

#[test]
fn a_batch_that_holds_an_event_twice_retries_it_once() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    let raw = |retry: u32| {
        format!(
            "select pgq.event_retry_raw('q', 'c', now(), 1, now(), {retry}, 'type', 'a', null, null, null, null);
             select pgq.maint_retry_events()"
        )
    };
    db.batch_execute(&raw(4))?;
    db.batch_execute(&raw(2))?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    let events = format!("select count(*) from pgq.get_batch_events({batch})");
    assert_eq!(row(&mut db, &events)?, "3");
    assert_eq!(
        row(&mut db, &format!("select pgq.batch_retry({batch}, 0)"))?,
        "1"
    );
    assert_eq!(
        row(&mut db, "select ev_id, ev_retry from pgq.retry_queue")?,
        "1|5"
    );
    Ok(())
}

#[test]
fn events_come_back_ten_at_a_time() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    for n in 0..21 {
        insert(&mut db, &n.to_string())?;
    }
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(&format!(
        "select pgq.batch_retry({batch}, 0); select pgq.finish_batch({batch})"
    ))?;
    // Those that have been due for longest come first.
    db.batch_execute(
        "update pgq.retry_queue set ev_retry_after = now() - (ev_id * 7 % 22) * interval '1 s'",
    )?;
    let oldest_ten = rows(
        &mut db,
        "select ev_id from (select * from pgq.retry_queue order by ev_retry_after limit 10) r order by 1",
    )?;
    for moved in ["10", "10", "1", "0"] {
        assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, moved);
        if row(&mut db, "select count(*) from pgq.retry_queue")? == "11" {
            assert_eq!(
                rows(
                    &mut db,
                    "select ev_id from pgq.event_1 where ev_owner is not null order by 1"
                )?,
                oldest_ten
            );
        }
    }
    assert_eq!(arrived(&mut db)?.len(), 21);
    Ok(())
}

#[test]
fn a_queue_that_takes_no_events_does_not_hold_up_the_retries_of_others() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    eager_queue(&mut db, "disabled")?;
    db.batch_execute("select pgq.register_consumer('disabled', 'c')")?;
    for queue in ["disabled", "q"] {
        db.batch_execute(&format!(
            "select pgq.event_retry_raw('{queue}', 'c', now(), null, now(), 1, 't', '{queue}', null, null, null, null)
               from generate_series(1, 12)"
        ))?;
    }
    db.batch_execute(
        "update pgq.queue set queue_disable_insert = true where queue_name = 'disabled';
         update pgq.queue set queue_per_tx_limit = 1 where queue_name = 'q'",
    )?;
    for moved in ["10", "2", "0"] {
        assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, moved);
    }
    assert_eq!(arrived(&mut db)?, ["q"; 12]);
    assert_eq!(
        row(&mut db, "select count(*) from pgq.retry_queue")?,
        "12",
        "the disabled queue keeps its own"
    );
    // Dropping the queue takes them along.
    db.batch_execute("select pgq.drop_queue('disabled', true)")?;
    assert_eq!(row(&mut db, "select count(*) from pgq.retry_queue")?, "0");
    Ok(())
}

#[test]
fn two_movers_at_once_move_an_event_once() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "select pgq.event_retry_raw('q', 'c', now(), null, now(), 1, 't', 'once', null, null, null, null)",
    )?;
    let mut other = cluster.connect("postgres")?;
    let pid = crate::support::pid(&mut other)?;
    insert(&mut db, "meanwhile")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    assert_eq!(row(&mut db, "begin; select pgq.maint_retry_events()")?, "1");
    // Consumers do not wait for movers.
    let mut consumer = cluster.connect("postgres")?;
    consumer.batch_execute(&format!(
        "set statement_timeout = '20s';
         select pgq.event_retry({batch}, ev_id, 3600) from pgq.get_batch_events({batch});
         select pgq.finish_batch({batch})"
    ))?;
    std::thread::scope(|scope| -> TestResult {
        let second = scope.spawn(|| row(&mut other, "select pgq.maint_retry_events()"));
        crate::support::wait_for_lock(&mut cluster.connect("postgres")?, &pid)?;
        db.batch_execute("commit")?;
        assert_eq!(second.join().expect("the other mover does not panic")?, "0");
        Ok(())
    })?;
    assert_eq!(arrived(&mut db)?, ["once"]);
    Ok(())
}

#[test]
fn an_event_of_any_content_can_be_put_into_the_retry_queue() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let call = |consumer: &str, id: &str| {
        format!(
            "select pgq.event_retry_raw('q', '{consumer}', now(), {id}, '2020-01-01', 7, 't', 'd', null, null, null, 'x')"
        )
    };
    assert_eq!(
        refusal(&mut db, &call("nobody", "1"))?,
        "consumer not registered"
    );
    assert_eq!(row(&mut db, &call("c", "null"))?, "1");
    assert_eq!(row(&mut db, &call("c", "500"))?, "500");
    assert!(refusal(&mut db, &call("c", "500"))?.contains("rq_pkey"));
    assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, "2");
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    assert_eq!(
        rows(
            &mut db,
            &format!(
                "select ev_id, ev_retry, ev_time = '2020-01-01', ev_extra4 from pgq.get_batch_events({batch})"
            )
        )?,
        ["1|7|t|x", "500|7|t|x"]
    );
    Ok(())
}

#[test]
fn failed_events_are_kept_listed_retried_and_deleted() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    for data in ["a", "b", "c"] {
        insert(&mut db, data)?;
    }
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    for id in 1..=3 {
        let call = format!("select pgq.event_failed({batch}, {id}, 'reason {id}')");
        assert_eq!(row(&mut db, &call)?, "1");
        assert_eq!(row(&mut db, &call)?, "0");
    }
    db.batch_execute(&format!("select pgq.finish_batch({batch})"))?;

    let list =
        "select ev_id, ev_failed_reason, ev_retry, ev_txid, ev_data from pgq.failed_event_list";
    assert_eq!(
        rows(&mut db, &format!("{list}('q', 'c')"))?,
        [
            "1|reason 1|0|NULL|a",
            "2|reason 2|0|NULL|b",
            "3|reason 3|0|NULL|c"
        ]
    );
    assert_eq!(
        rows(&mut db, &format!("{list}('q', 'c', 1, 1)"))?,
        ["2|reason 2|0|NULL|b"]
    );
    assert!(rows(&mut db, &format!("{list}('q', 'c', 0, 0)"))?.is_empty());
    assert!(rows(&mut db, &format!("{list}('q', 'nobody')"))?.is_empty());
    assert_eq!(
        row(&mut db, "select pgq.failed_event_count('q', 'c')")?,
        "3"
    );
    assert_eq!(
        row(&mut db, "select pgq.failed_event_count('nobody', 'c')")?,
        "0"
    );

    for function in ["failed_event_delete", "failed_event_retry"] {
        assert_eq!(
            refusal(&mut db, &format!("select pgq.{function}('q', 'nobody', 1)"))?,
            "no such queue/consumer"
        );
        assert_eq!(
            refusal(&mut db, &format!("select pgq.{function}('q', 'c', 777)"))?,
            "event not found"
        );
    }
    assert_eq!(
        row(&mut db, "select pgq.failed_event_delete('q', 'c', 1)")?,
        "1"
    );
    assert_eq!(
        row(&mut db, "select pgq.failed_event_retry('q', 'c', 2)")?,
        "2"
    );
    assert_eq!(
        row(&mut db, "select pgq.failed_event_count('q', 'c')")?,
        "1"
    );
    assert_eq!(arrived(&mut db)?, ["b"]);

    db.batch_execute("select pgq.unregister_consumer('q', 'c')")?;
    assert_eq!(row(&mut db, "select count(*) from pgq.failed_queue")?, "0");
    Ok(())
}

#[test]
fn a_failed_event_comes_back_as_it_was_and_to_its_consumer_alone() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.register_consumer('q', 'other')")?;
    for data in ["a", "b", "c"] {
        db.batch_execute(&format!(
            "select pgq.insert_event('q', 't', '{data}', '1', null, '3', '')"
        ))?;
    }
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(&format!(
        "select pgq.event_retry({batch}, 2, 0), pgq.finish_batch({batch}), pgq.maint_retry_events()"
    ))?;
    tick(&mut db)?;
    // Fails when it is delivered again: the counter stays. The others fail after it, and are listed by id.
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    assert_eq!(
        row(
            &mut db,
            &format!("select pgq.event_failed({batch}, 2, null)")
        )?,
        "1"
    );
    db.batch_execute(&format!(
        "select pgq.finish_batch({batch}), pgq.register_consumer_at('q', 'c', 1)"
    ))?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(&format!(
        "select pgq.event_failed({batch}, 3, 'x'); select pgq.event_failed({batch}, 1, 'x'), pgq.finish_batch({batch})"
    ))?;
    let fields = "ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4";
    let list = |page: &str| format!("select {fields} from pgq.failed_event_list('q', 'c'{page})");
    let failed = rows(&mut db, &list(""))?;
    let short: Vec<_> = rows(
        &mut db,
        "select ev_id, ev_retry, ev_failed_reason from pgq.failed_event_list('q', 'c')",
    )?;
    assert_eq!(short, ["1|0|x", "2|1|NULL", "3|0|x"]);
    for (page, expected) in [
        (", 2, 0", &failed[..2]),
        (", 2, 2", &failed[2..]),
        (", 1, 3", &[]),
        (", null, 1", &failed[1..]),
        (", 10, null", &failed[..]),
    ] {
        assert_eq!(rows(&mut db, &list(page))?, expected, "{page}");
    }
    // Refused, it stays where it is.
    db.batch_execute("select pgq.set_queue_config('q', 'disable_insert', 'true')")?;
    assert_eq!(
        refusal(&mut db, "select pgq.failed_event_retry('q', 'c', 2)")?,
        "Insert into queue disallowed"
    );
    db.batch_execute("select pgq.set_queue_config('q', 'disable_insert', null)")?;
    assert_eq!(rows(&mut db, &list(""))?, failed);

    while consume_as(&mut db, "c")?.is_some() {}
    while consume_as(&mut db, "other")?.is_some() {}
    let before = row(&mut db, "select count(*) from pgq.event_1 where ev_id = 2")?;
    assert_eq!(
        row(&mut db, "select pgq.failed_event_retry('q', 'c', 2)")?,
        "2"
    );
    assert_eq!(
        row(
            &mut db,
            &format!(
                "select {fields} from pgq.event_1 where ev_id = 2 order by ev_txid desc limit 1"
            )
        )?,
        failed[1]
    );
    assert_eq!(
        row(
            &mut db,
            &format!("select count(*) - {before} from pgq.event_1 where ev_id = 2")
        )?,
        "1"
    );
    assert_eq!(
        rows(&mut db, &list(""))?,
        [failed[0].clone(), failed[2].clone()]
    );
    assert_eq!(arrived(&mut db)?, ["b"]);
    assert_eq!(consume_as(&mut db, "other")?, Some(vec![]));

    // Failed events of others stay when a consumer goes, and go with the queue.
    insert(&mut db, "d")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'other')")?;
    db.batch_execute(&format!(
        "select pgq.event_failed({batch}, ev_id, 'x') from pgq.get_batch_events({batch})"
    ))?;
    db.batch_execute("select pgq.unregister_consumer('q', 'c')")?;
    assert_eq!(
        rows(&mut db, "select ev_data from pgq.failed_queue")?,
        ["d"]
    );
    db.batch_execute("select pgq.drop_queue('q', true)")?;
    assert_eq!(row(&mut db, "select count(*) from pgq.failed_queue")?, "0");
    Ok(())
}
