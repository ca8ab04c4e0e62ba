//! Cooperative consumers: processes that share the position of one.

use std::thread;

use postgres::Client;
use testkit::TestResult;

use crate::support::{
    cluster, cluster_with_consumer, connect_and_hear, eager_queue, insert, pid, refusal, row, rows,
    tick, wait_for_lock,
};

/// Inserts events and ticks after each: a batch per event.
fn batches(db: &mut Client, events: &[&str]) -> TestResult {
    for data in events {
        insert(db, data)?;
        tick(db)?;
    }
    Ok(())
}

/// Takes the next batch of `c` for a member.
fn next(db: &mut Client, member: &str) -> TestResult<String> {
    row(
        db,
        &format!("select pgq_coop.next_batch('q', 'c', '{member}')"),
    )
}

/// As [`next`]; members that were silent for a minute are dead.
fn next_or_take_over(db: &mut Client, member: &str) -> TestResult<String> {
    row(
        db,
        &format!("select pgq_coop.next_batch('q', 'c', '{member}', '1 minute')"),
    )
}

fn data(db: &mut Client, batch: &str) -> TestResult<Vec<String>> {
    rows(
        db,
        &format!("select ev_data from pgq.get_batch_events({batch})"),
    )
}

fn finish(db: &mut Client, batch: &str) -> TestResult<String> {
    row(db, &format!("select pgq_coop.finish_batch({batch})"))
}

/// Lets a member have been silent for an hour.
fn silence(db: &mut Client, member: &str) -> TestResult {
    db.batch_execute(&format!(
        "update pgq.subscription set sub_active = now() - interval '1 hour'
          where sub_consumer = (select co_id from pgq.consumer where co_name = 'c.{member}')"
    ))?;
    Ok(())
}

/// What is registered, with positions and batches.
fn group(db: &mut Client) -> TestResult<Vec<String>> {
    rows(
        db,
        "select consumer_name, last_tick, current_batch is not null, next_tick from pgq.get_consumer_info('q')",
    )
}

#[test]
fn members_are_registered_once_and_share_the_owner_of_retries() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    eager_queue(&mut db, "q")?;
    let register =
        |member: &str| format!("select pgq_coop.register_subconsumer('q', 'c', {member})");
    for (member, new) in [("'1'", "1"), ("'1'", "0"), ("'host.domain'", "1")] {
        assert_eq!(row(&mut db, &register(member))?, new, "{member}");
    }
    assert_eq!(
        group(&mut db)?,
        ["c|1|f|NULL", "c.1|NULL|f|NULL", "c.host.domain|NULL|f|NULL"]
    );
    assert_eq!(
        row(
            &mut db,
            "select count(distinct sub_id) from pgq.subscription"
        )?,
        "1"
    );
    assert_eq!(
        refusal(&mut db, &register("null"))?,
        "consumer and subconsumer must not be NULL"
    );
    assert_eq!(
        refusal(
            &mut db,
            "select pgq_coop.register_subconsumer('nowhere', 'c', '1')"
        )?,
        "Event queue not created yet"
    );
    Ok(())
}

#[test]
fn names_that_could_mean_two_groups_are_refused() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.register_consumer('q', 'c.alone')")?;
    assert_eq!(
        refusal(
            &mut db,
            "select pgq_coop.register_subconsumer('q', 'c', 'alone')"
        )?,
        "consumer \"c.alone\" is not a member of \"c\""
    );
    assert_eq!(
        refusal(&mut db, "select pgq_coop.next_batch('q', 'c.alone', '1')")?,
        "consumer \"c.alone\" has a dot in its name"
    );
    assert_eq!(
        group(&mut db)?,
        ["c|1|f|NULL", "c.alone|1|f|NULL"],
        "nobody lost a position"
    );
    Ok(())
}

#[test]
fn members_at_work_at_the_same_time_have_different_batches() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    batches(&mut db, &["a", "b"])?;
    // Whoever asks is registered.
    let first = next(&mut db, "1")?;
    let second = next(&mut db, "2")?;
    assert_eq!(next(&mut db, "3")?, "NULL");
    assert_eq!(data(&mut db, &first)?, ["a"]);
    assert_eq!(data(&mut db, &second)?, ["b"]);
    // The same again until it is finished.
    assert_eq!(next(&mut db, "1")?, first);
    assert_eq!(
        group(&mut db)?,
        ["c|3|f|NULL", "c.1|1|t|2", "c.2|2|t|3", "c.3|NULL|f|NULL"]
    );
    for batch in [&second, &first] {
        assert_eq!(finish(&mut db, batch)?, "1");
        assert_eq!(finish(&mut db, batch)?, "0");
    }
    batches(&mut db, &["c"])?;
    let third = next(&mut db, "2")?;
    assert_eq!(data(&mut db, &third)?, ["c"]);
    Ok(())
}

#[test]
fn a_batch_of_the_wanted_size_can_be_asked_for() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    batches(&mut db, &["a", "b"])?;
    for (arguments, expected) in [
        ("'1 hour', null, null", None),
        ("null, 3, null", None),
        ("null, 3, null, '1 minute'", None),
        ("null, 2, null", Some(["a", "b"])),
    ] {
        let batch = row(
            &mut db,
            &format!("select pgq_coop.next_batch_custom('q', 'c', '1', {arguments})"),
        )?;
        match expected {
            None => assert_eq!(batch, "NULL", "{arguments}"),
            Some(expected) => assert_eq!(data(&mut db, &batch)?, expected, "{arguments}"),
        }
    }
    Ok(())
}

#[test]
fn the_batch_of_a_dead_member_goes_to_another_under_a_new_id() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    batches(&mut db, &["a"])?;
    let lost = next(&mut db, "1")?;
    assert_eq!(next_or_take_over(&mut db, "2")?, "NULL", "it lives");
    silence(&mut db, "1")?;
    assert_eq!(next(&mut db, "2")?, "NULL", "nobody asked to take over");
    let taken = next_or_take_over(&mut db, "2")?;
    assert_eq!(data(&mut db, &taken)?, ["a"]);

    // The dead one wakes up: it cannot finish what another is working on, neither way.
    assert_ne!(taken, lost);
    for schema in ["pgq", "pgq_coop"] {
        assert_eq!(
            row(&mut db, &format!("select {schema}.finish_batch({lost})"))?,
            "0"
        );
    }
    assert_eq!(
        row(&mut db, "select pgq_coop.touch_subconsumer('q', 'c', '1')")?,
        "0"
    );
    assert_eq!(group(&mut db)?, ["c|2|f|NULL", "c.2|1|t|2"]);
    assert_eq!(
        rows(&mut db, "select co_name from pgq.consumer order by 1")?,
        ["c", "c.2"],
        "its name is gone as well"
    );
    // It may come back as a new member.
    assert_eq!(next(&mut db, "1")?, "NULL");
    assert_eq!(finish(&mut db, &taken)?, "1");
    Ok(())
}

#[test]
fn a_dead_member_that_holds_a_batch_is_taken_over_before_an_idle_one() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    batches(&mut db, &["a"])?;
    let lost = next(&mut db, "busy")?;
    assert_eq!(next(&mut db, "idle")?, "NULL");
    for member in ["idle", "busy"] {
        silence(&mut db, member)?;
    }
    db.batch_execute(
        "update pgq.subscription set sub_active = sub_active - interval '1 hour'
          where sub_consumer = (select co_id from pgq.consumer where co_name = 'c.idle')",
    )?;
    batches(&mut db, &["b"])?;
    let taken = next_or_take_over(&mut db, "new")?;
    assert_eq!(data(&mut db, &taken)?, ["a"]);
    assert_ne!(taken, lost);
    finish(&mut db, &taken)?;
    // With nothing to take over, the idle one is forgotten and the group's next batch is next.
    let fresh = next_or_take_over(&mut db, "new")?;
    assert_eq!(data(&mut db, &fresh)?, ["b"]);
    assert_eq!(group(&mut db)?, ["c|3|f|NULL", "c.new|2|t|3"]);
    Ok(())
}

#[test]
fn a_member_that_says_it_lives_keeps_its_batch() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    batches(&mut db, &["a"])?;
    let held = next(&mut db, "1")?;
    silence(&mut db, "1")?;
    assert_eq!(next(&mut db, "1")?, held);
    assert_eq!(next_or_take_over(&mut db, "2")?, "NULL", "it asked");
    silence(&mut db, "1")?;
    let touch = "select pgq_coop.touch_subconsumer('q', 'c', '1')";
    assert_eq!(row(&mut db, touch)?, "1");
    assert_eq!(next_or_take_over(&mut db, "2")?, "NULL");

    // In a transaction that is still open, too: its row is locked, and nobody waits for it.
    silence(&mut db, "1")?;
    let mut other = cluster.connect("postgres")?;
    assert_eq!(row(&mut db, &format!("begin; {touch}"))?, "1");
    assert_eq!(next_or_take_over(&mut other, "2")?, "NULL");
    db.batch_execute("commit")?;
    assert_eq!(finish(&mut db, &held)?, "1");
    assert_eq!(
        row(&mut db, "select pgq_coop.touch_subconsumer('q', 'c', '9')")?,
        "0"
    );
    Ok(())
}

#[test]
fn an_idle_member_that_asks_for_work_is_not_dead() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    assert_eq!(next_or_take_over(&mut db, "1")?, "NULL");
    silence(&mut db, "1")?;
    assert_eq!(next_or_take_over(&mut db, "1")?, "NULL");
    assert_eq!(next_or_take_over(&mut db, "2")?, "NULL");
    assert_eq!(
        group(&mut db)?,
        ["c|1|f|NULL", "c.1|NULL|f|NULL", "c.2|NULL|f|NULL"]
    );
    Ok(())
}

#[test]
fn two_members_that_ask_at_once_get_a_batch_each() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    batches(&mut db, &["a", "b"])?;
    let mut other = cluster.connect("postgres")?;
    let other_pid = pid(&mut other)?;
    db.batch_execute("begin")?;
    let first = next(&mut db, "1")?;
    let second = thread::scope(|scope| -> TestResult<String> {
        let second = scope.spawn(|| next(&mut other, "2"));
        wait_for_lock(&mut cluster.connect("postgres")?, &other_pid)?;
        db.batch_execute("commit")?;
        second.join().expect("the other member does not panic")
    })?;
    assert_eq!(data(&mut db, &first)?, ["a"]);
    assert_eq!(data(&mut db, &second)?, ["b"]);
    Ok(())
}

#[test]
fn two_members_that_register_a_group_at_once_make_one() -> TestResult {
    let (cluster, mut db) = cluster()?;
    eager_queue(&mut db, "q")?;
    let mut other = cluster.connect("postgres")?;
    let other_pid = pid(&mut other)?;
    db.batch_execute("begin")?;
    assert_eq!(next(&mut db, "1")?, "NULL");
    thread::scope(|scope| -> TestResult {
        let second = scope.spawn(|| next(&mut other, "2"));
        wait_for_lock(&mut cluster.connect("postgres")?, &other_pid)?;
        db.batch_execute("commit")?;
        assert_eq!(
            second.join().expect("the other member does not panic")?,
            "NULL"
        );
        Ok(())
    })?;
    assert_eq!(
        row(
            &mut db,
            "select count(*), count(distinct sub_id) from pgq.subscription"
        )?,
        "3|1"
    );
    Ok(())
}

#[test]
fn a_main_consumer_that_reads_by_itself_stops_the_group() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    batches(&mut db, &["a"])?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    assert_eq!(
        refusal(&mut db, "select pgq_coop.next_batch('q', 'c', '1')")?,
        "main consumer has batch open?"
    );
    // Closing it through pgq_coop moves it on, as it would through pgq.
    assert_eq!(finish(&mut db, &batch)?, "1");
    assert_eq!(group(&mut db)?, ["c|2|f|NULL"]);
    Ok(())
}

#[test]
fn a_member_has_no_position_to_read_from_or_to_move() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    batches(&mut db, &["a"])?;
    db.batch_execute("select pgq_coop.register_subconsumer('q', 'c', '1')")?;
    assert_eq!(
        refusal(&mut db, "select pgq.register_consumer_at('q', 'c.1', 1)")?,
        "consumer \"c.1\" is a member of a cooperative group"
    );
    let error = db
        .batch_execute("select pgq.next_batch('q', 'c.1')")
        .expect_err("a member asks as a consumer");
    assert_eq!(
        error.as_db_error().and_then(|error| error.hint()),
        Some("A member of a cooperative group takes its batches with pgq_coop.next_batch.")
    );
    assert_eq!(
        row(&mut db, "select pgq.register_consumer('q', 'c.1')")?,
        "0"
    );
    assert_eq!(group(&mut db)?, ["c|1|f|NULL", "c.1|NULL|f|NULL"]);
    Ok(())
}

#[test]
fn a_member_with_a_batch_leaves_only_if_told_what_becomes_of_it() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let leave = |member: &str, handling: &str| {
        format!("select pgq_coop.unregister_subconsumer('q', 'c', '{member}', {handling})")
    };
    batches(&mut db, &["lost", "retried"])?;
    next(&mut db, "1")?;
    next(&mut db, "2")?;
    for handling in ["0", "3", "null"] {
        assert_eq!(
            refusal(&mut db, &leave("1", handling))?,
            "subconsumer has active batch"
        );
    }
    assert_eq!(row(&mut db, &leave("1", "1"))?, "1");
    assert_eq!(row(&mut db, &leave("2", "2"))?, "1");
    assert_eq!(row(&mut db, &leave("2", "0"))?, "0");
    assert_eq!(row(&mut db, &leave("nobody", "0"))?, "0");
    assert_eq!(rows(&mut db, "select co_name from pgq.consumer")?, ["c"]);

    // What was retried comes to whoever takes the batch it is in.
    assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, "1");
    tick(&mut db)?;
    let batch = next(&mut db, "3")?;
    assert_eq!(data(&mut db, &batch)?, ["retried"]);
    finish(&mut db, &batch)?;
    assert_eq!(row(&mut db, &leave("3", "0"))?, "1");
    assert_eq!(group(&mut db)?, ["c|4|f|NULL"], "the main consumer stays");
    Ok(())
}

#[test]
fn an_unknown_batch_is_warned_of_and_is_no_error() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    batches(&mut db, &["a"])?;
    let batch = next(&mut db, "1")?;
    let (mut other, heard) = connect_and_hear(&cluster, "postgres")?;
    for (schema, name) in [("pgq", "finish_batch"), ("pgq_coop", "coop_finish_batch")] {
        for unknown in ["777", "null"] {
            let call = format!("select {schema}.finish_batch({unknown})");
            assert_eq!(row(&mut other, &call)?, "0");
            let unknown = unknown.replace("null", "<NULL>");
            assert_eq!(heard.take(), [format!("{name}: batch {unknown} not found")]);
        }
    }
    assert_eq!(
        group(&mut db)?,
        ["c|2|f|NULL", "c.1|1|t|2"],
        "nothing happened to what is open"
    );
    // Finished through the other schema it is finished as well, and the second time there is nothing to finish.
    let finish = format!("select pgq.finish_batch({batch})");
    assert_eq!(row(&mut other, &finish)?, "1");
    assert_eq!(heard.take(), [] as [&str; 0]);
    assert_eq!(group(&mut db)?, ["c|2|f|NULL", "c.1|NULL|f|NULL"]);
    assert_eq!(row(&mut other, &finish)?, "0");
    assert_eq!(heard.take().len(), 1);
    Ok(())
}

#[test]
fn a_member_leaves_through_the_ordinary_interface_and_the_group_goes_on() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    batches(&mut db, &["a", "b", "c"])?;
    let first = next(&mut db, "1")?;
    db.batch_execute(&format!("select pgq.event_retry({first}, 1, 0)"))?;
    next(&mut db, "2")?;
    // With its batch: what it did not finish is not seen again, what it had retried is.
    for member in ["1", "2"] {
        let leave = format!("select pgq.unregister_consumer('q', 'c.{member}')");
        assert_eq!(row(&mut db, &leave)?, "1", "{member}");
        assert_eq!(row(&mut db, &leave)?, "0", "{member}");
    }
    assert_eq!(group(&mut db)?, ["c|3|f|NULL"]);
    assert_eq!(rows(&mut db, "select co_name from pgq.consumer")?, ["c"]);
    assert_eq!(row(&mut db, "select pgq.maint_retry_events()")?, "1");
    tick(&mut db)?;
    for expected in ["c", "a"] {
        let batch = next(&mut db, "3")?;
        assert_eq!(data(&mut db, &batch)?, [expected]);
        finish(&mut db, &batch)?;
    }
    // The main consumer takes a member along that holds a batch.
    batches(&mut db, &["d"])?;
    next(&mut db, "3")?;
    assert_eq!(
        row(&mut db, "select pgq.unregister_consumer('q', 'c')")?,
        "2"
    );
    assert_eq!(row(&mut db, "select count(*) from pgq.consumer")?, "0");
    Ok(())
}

#[test]
fn what_a_member_retries_or_fails_belongs_to_the_group() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "again")?;
    insert(&mut db, "bad")?;
    tick(&mut db)?;
    let batch = next(&mut db, "1")?;
    db.batch_execute(&format!(
        "select pgq.event_retry({batch}, 1, 0), pgq.event_failed({batch}, 2, 'why')"
    ))?;
    assert_eq!(finish(&mut db, &batch)?, "1");
    for consumer in ["c", "c.1"] {
        assert_eq!(
            row(
                &mut db,
                &format!("select ev_data from pgq.failed_event_list('q', '{consumer}')")
            )?,
            "bad"
        );
        for (call, result) in [
            ("failed_event_list('q', '{consumer}', 1, 0)).ev_id", "2"),
            ("failed_event_count('q', '{consumer}'))", "1"),
            ("failed_event_delete('q', '{consumer}', 2))", "1"),
            ("failed_event_retry('q', '{consumer}', 2))", "2"),
            ("failed_event_replay('q', '{consumer}'))", "1"),
            ("failed_event_purge('q', '{consumer}', '0'))", "1"),
        ] {
            let call = call.replace("{consumer}", consumer);
            let sql = format!("begin; select (pgq.{call}");
            assert_eq!(row(&mut db, &sql)?, result, "{call}");
            db.batch_execute("rollback")?;
        }
    }
    // The member goes, through either interface; the events stay, and come to another member.
    assert_eq!(
        row(&mut db, "select pgq.unregister_consumer('q', 'c.1')")?,
        "1"
    );
    db.batch_execute("select pgq.maint_retry_events(), pgq.failed_event_retry('q', 'c', 2)")?;
    tick(&mut db)?;
    let batch = next(&mut db, "2")?;
    assert_eq!(data(&mut db, &batch)?, ["again", "bad"]);
    // The main consumer takes everything along.
    db.batch_execute(&format!("select pgq.event_retry({batch}, 1, 0)"))?;
    assert_eq!(
        row(&mut db, "select pgq.unregister_consumer('q', 'c')")?,
        "2"
    );
    assert_eq!(
        row(
            &mut db,
            "select (select count(*) from pgq.retry_queue), (select count(*) from pgq.subscription), \
             (select count(*) from pgq.consumer)"
        )?,
        "0|0|0"
    );
    Ok(())
}

#[test]
fn a_dead_member_of_another_group_or_queue_is_left_alone() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    eager_queue(&mut db, "other")?;
    batches(&mut db, &["a"])?;
    db.batch_execute(
        "select pgq.register_consumer_at('q', 'd', 1);
         select pgq_coop.next_batch('q', 'd', '1');
         select pgq_coop.register_subconsumer('other', 'c', '1');
         -- as after a restore that lost the sequences
         update pgq.subscription set sub_id = (select min(sub_id) from pgq.subscription where sub_queue = 1)
          where sub_queue = 2;
         update pgq.subscription set sub_active = now() - interval '1 hour'",
    )?;
    let batch = next_or_take_over(&mut db, "2")?;
    assert_eq!(data(&mut db, &batch)?, ["a"]);
    assert_eq!(
        rows(
            &mut db,
            "select queue_name, consumer_name from pgq.get_consumer_info()"
        )?,
        ["other|c", "other|c.1", "q|c", "q|c.2", "q|d", "q|d.1"]
    );
    // Unregistering one leaves the other queue's rows with the same owner.
    db.batch_execute(
        "select pgq.event_retry_raw(q, 'c', now(), 700 + n, now(), 1, 't', q, null, null, null, null)
           from (values ('q', 1), ('other', 2)) v (q, n);
         insert into pgq.failed_queue (ev_failed_time, ev_id, ev_time, ev_owner, ev_data)
         select now(), 800, now(), min(sub_id), 'of one of them' from pgq.subscription where sub_queue = 2",
    )?;
    assert_eq!(
        row(&mut db, "select pgq.unregister_consumer('q', 'c')")?,
        "2"
    );
    assert_eq!(
        row(
            &mut db,
            "select (select string_agg(ev_data, ',') from pgq.retry_queue), \
             (select string_agg(ev_data, ',') from pgq.failed_queue)"
        )?,
        "other|of one of them"
    );
    assert_eq!(
        rows(
            &mut db,
            "select consumer_name from pgq.get_consumer_info('other')"
        )?,
        ["c", "c.1"]
    );
    Ok(())
}

#[test]
fn reading_cooperatively_takes_the_reader_role_alone() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create role nobody_special")?;
    let allowed = |role: &str| {
        format!(
            "select p.oid::regprocedure from pg_proc p where pronamespace = 'pgq_coop'::regnamespace \
             and has_function_privilege('{role}', p.oid, 'execute') order by 1"
        )
    };
    assert_eq!(
        rows(&mut db, &allowed("nobody_special"))?,
        ["pgq_coop.version()"]
    );
    assert_eq!(rows(&mut db, &allowed("pgq_reader"))?.len(), 9);
    batches(&mut db, &["a"])?;
    db.batch_execute("set role pgq_reader")?;
    let batch = next_or_take_over(&mut db, "1")?;
    assert_eq!(data(&mut db, &batch)?, ["a"]);
    assert_eq!(finish(&mut db, &batch)?, "1");
    db.batch_execute("select pgq_coop.unregister_subconsumer('q', 'c', '1', 0)")?;
    Ok(())
}
