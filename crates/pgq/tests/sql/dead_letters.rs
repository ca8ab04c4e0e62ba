//! Giving up on events that fail again and again, and the events that were given up.

use std::thread;

use postgres::Client;
use testkit::TestResult;

use crate::support::{
    arrived, cluster_with_consumer, insert, pid, refusal, row, rows, tick, wait_for_lock,
};

fn nack(db: &mut Client, batch: &str, event: &str) -> TestResult<String> {
    row(
        db,
        &format!("select pgq.nack({batch}, {event}, null, 'reason')"),
    )
}

/// Next batch of `c`, after what waits has come back.
fn next(db: &mut Client) -> TestResult<String> {
    db.batch_execute("select pgq.maint_retry_events()")?;
    tick(db)?;
    row(db, "select pgq.next_batch('q', 'c')")
}

#[test]
fn an_event_comes_again_as_often_as_the_queue_allows_and_is_then_kept() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    assert_eq!(
        row(
            &mut db,
            "select pgq.set_queue_config('q', 'max_retries', '2')"
        )?,
        "1"
    );
    insert(&mut db, "poison")?;
    insert(&mut db, "fine")?;
    for (counter, state) in [("NULL", "retry"), ("1", "retry"), ("2", "failed")] {
        let batch = next(&mut db)?;
        assert_eq!(
            row(
                &mut db,
                &format!(
                    "select ev_retry from pgq.get_batch_events({batch}) where ev_data = 'poison'"
                )
            )?,
            counter
        );
        // As often as one likes.
        assert_eq!(nack(&mut db, &batch, "1")?, state);
        assert_eq!(nack(&mut db, &batch, "1")?, state);
        db.batch_execute(&format!("select pgq.finish_batch({batch})"))?;
    }
    assert!(arrived(&mut db)?.is_empty());
    assert_eq!(
        rows(
            &mut db,
            "select ev_id, ev_retry, ev_failed_reason, ev_data from pgq.failed_event_list('q', 'c')"
        )?,
        ["1|2|reason|poison"]
    );
    assert_eq!(row(&mut db, "select count(*) from pgq.retry_queue")?, "0");
    Ok(())
}

#[test]
fn limits_are_none_at_all_zero_or_changed_on_the_way() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    for data in ["a", "b", "c"] {
        insert(&mut db, data)?;
    }
    db.batch_execute(
        "select pgq.event_retry_raw('q', 'c', now(), 4, now(), 1000, 't', 'd', null, null, null, null)",
    )?;
    let batch = next(&mut db)?;
    assert_eq!(nack(&mut db, &batch, "4")?, "retry", "no limit");
    assert_eq!(nack(&mut db, &batch, "1")?, "retry");
    db.batch_execute("select pgq.set_queue_config('q', 'max_retries', '0')")?;
    assert_eq!(nack(&mut db, &batch, "2")?, "failed");
    assert_eq!(nack(&mut db, &batch, "1")?, "retry", "it waits already");
    db.batch_execute("select pgq.set_queue_config('q', 'queue_max_retries', null)")?;
    assert_eq!(nack(&mut db, &batch, "2")?, "failed", "it is kept already");
    assert_eq!(nack(&mut db, &batch, "3")?, "retry");
    assert_eq!(
        row(
            &mut db,
            "select (select string_agg(ev_id::text, ',' order by ev_id) from pgq.retry_queue), \
             (select string_agg(ev_id::text, ',' order by ev_id) from pgq.failed_queue)"
        )?,
        "1,3,4|2"
    );
    assert_eq!(
        refusal(
            &mut db,
            "select pgq.set_queue_config('q', 'max_retries', '-1')"
        )?,
        "parameter \"max_retries\" cannot be negative"
    );
    Ok(())
}

#[test]
fn only_an_event_of_the_open_batch_can_be_refused() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    let batch = next(&mut db)?;
    for (batch, event) in [
        (batch.as_str(), "777"),
        (batch.as_str(), "null"),
        ("777", "1"),
    ] {
        assert_eq!(
            refusal(
                &mut db,
                &format!("select pgq.nack({batch}, {event}, '1 s', 'x')")
            )?,
            "event not found"
        );
    }
    Ok(())
}

#[test]
fn an_event_waits_for_as_long_as_was_said() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    let batch = next(&mut db)?;
    for (delay, due) in [("'1 hour'", "0"), ("'-1 s'", "1"), ("null", "1")] {
        db.batch_execute(&format!(
            "begin; select pgq.nack({batch}, 1, {delay}, null)"
        ))?;
        assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, due);
        db.batch_execute("rollback")?;
    }
    Ok(())
}

#[test]
fn the_counter_is_that_of_the_last_delivery_when_a_batch_holds_an_event_twice() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(&format!(
        "select pgq.event_retry({batch}, 1, 0); select pgq.maint_retry_events()"
    ))?;
    tick(&mut db)?;
    // Both deliveries in one batch.
    db.batch_execute("select pgq.register_consumer_at('q', 'c', 1)")?;
    let batch = row(
        &mut db,
        "select batch_id from pgq.next_batch_custom('q', 'c', null, 2, null)",
    )?;
    let batch = if batch == "NULL" {
        row(
            &mut db,
            "select batch_id from pgq.next_batch_custom('q', 'c', null, null, '0')",
        )?
    } else {
        batch
    };
    assert_eq!(
        rows(
            &mut db,
            &format!("select ev_retry from pgq.get_batch_events({batch}) order by 1 nulls first")
        )?,
        ["NULL", "1"]
    );
    db.batch_execute(&format!("select pgq.event_retry({batch}, 1, 0)"))?;
    assert_eq!(row(&mut db, "select ev_retry from pgq.retry_queue")?, "2");
    Ok(())
}

/// Three failed events.
fn failed(db: &mut Client) -> TestResult {
    for data in ["a", "b", "c"] {
        insert(db, data)?;
    }
    let batch = next(db)?;
    db.batch_execute(&format!(
        "select pgq.event_failed({batch}, n, 'x') from generate_series(1, 3) n; select pgq.finish_batch({batch})"
    ))?;
    Ok(())
}

#[test]
fn all_failed_events_of_a_consumer_can_be_replayed() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.register_consumer('q', 'other')")?;
    failed(&mut db)?;
    let replay = |consumer: &str| format!("select pgq.failed_event_replay('q', '{consumer}')");
    assert_eq!(
        refusal(&mut db, &replay("nobody"))?,
        "no such queue/consumer"
    );
    assert_eq!(row(&mut db, &replay("other"))?, "0");
    db.batch_execute("select pgq.set_queue_config('q', 'disable_insert', 'true')")?;
    assert_eq!(
        refusal(&mut db, &replay("c"))?,
        "Insert into queue disallowed"
    );
    db.batch_execute("select pgq.set_queue_config('q', 'disable_insert', null)")?;
    assert_eq!(row(&mut db, &replay("c"))?, "3");
    assert_eq!(row(&mut db, &replay("c"))?, "0");
    assert_eq!(arrived(&mut db)?, ["a", "b", "c"]);
    Ok(())
}

#[test]
fn two_replays_at_once_replay_an_event_once() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    failed(&mut db)?;
    let replay = "select pgq.failed_event_replay('q', 'c')";
    let mut other = cluster.connect("postgres")?;
    let other_pid = pid(&mut other)?;
    assert_eq!(row(&mut db, &format!("begin; {replay}"))?, "3");
    thread::scope(|scope| -> TestResult {
        let second = scope.spawn(|| row(&mut other, replay));
        wait_for_lock(&mut cluster.connect("postgres")?, &other_pid)?;
        db.batch_execute("commit")?;
        assert_eq!(second.join().expect("the other does not panic")?, "0");
        Ok(())
    })?;
    assert_eq!(arrived(&mut db)?, ["a", "b", "c"]);
    Ok(())
}

#[test]
fn failed_events_are_forgotten_by_age() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    failed(&mut db)?;
    db.batch_execute(
        "update pgq.failed_queue set ev_failed_time = now() - ev_id * interval '1 day'",
    )?;
    let purge = |consumer: &str, age: &str| {
        format!("select pgq.failed_event_purge('q', '{consumer}', {age})")
    };
    assert_eq!(
        refusal(&mut db, &purge("nobody", "'0'"))?,
        "no such queue/consumer"
    );
    assert_eq!(refusal(&mut db, &purge("c", "null"))?, "Invalid NULL value");
    for (age, gone) in [
        ("'4 days'", "0"),
        ("'36 hours'", "2"),
        ("'0'", "1"),
        ("'0'", "0"),
    ] {
        assert_eq!(row(&mut db, &purge("c", age))?, gone, "{age}");
    }
    Ok(())
}
