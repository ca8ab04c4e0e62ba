//! Queues while somebody holds an old snapshot: no version of a row that is changed can be removed.

use postgres::Client;
use testkit::TestResult;

use crate::catalogue;
use crate::support::{
    cluster, cluster_with_consumer, consume, eager_queue, insert, pid, refusal, row, rows,
    run_scripts, tick, wait_for_lock,
};

/// Rounds of the consumer: each leaves two dead versions of its subscription.
const ROUNDS: usize = 400;

/// Index entries that a call may read; each dead version that it meets is one.
const FEW: i64 = 60;

/// Index entries of subscriptions and ticks that a statement reads, with 10000 for each of the tables
/// that it reads whole.
fn entries_read(db: &mut Client, sql: &str) -> TestResult<i64> {
    let count = "select (select sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) from pg_index i
                          where i.indrelid in ('pgq.subscription'::regclass, 'pgq.tick'::regclass))
                      + 10000 * (pg_stat_get_xact_numscans('pgq.subscription'::regclass)
                                 + pg_stat_get_xact_numscans('pgq.tick'::regclass))";
    db.batch_execute("begin")?;
    let before: i64 = row(db, count)?.parse()?;
    rows(db, sql)?;
    let after: i64 = row(db, count)?.parse()?;
    db.batch_execute("commit")?;
    Ok(after - before)
}

#[test]
fn a_consumer_does_not_meet_the_dead_versions_of_its_subscription() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    let mut holder = cluster.connect("postgres")?;
    db.batch_execute(
        "set synchronous_commit = off; alter table pgq.subscription set (autovacuum_enabled = off)",
    )?;
    // In one session from the start: its plans are made while the tables are small, and kept.
    for round in 0..ROUNDS {
        db.batch_execute("select pgq.insert_event('q', 'type', 'data')")?;
        tick(&mut db)?;
        assert_eq!(consume(&mut db)?, Some(vec!["data".to_owned()]));
        if round == 10 {
            holder.batch_execute("begin isolation level repeatable read; select 1")?;
        }
    }
    let version = row(&mut db, "select sub_version from pgq.subscription")?;
    assert_eq!(version, (2 * ROUNDS).to_string());

    db.batch_execute("select pgq.insert_event('q', 'type', 'data')")?;
    let mut seen = vec![
        ("ticker", entries_read(&mut db, "select pgq.ticker('q')")?),
        (
            "next_batch",
            entries_read(&mut db, "select pgq.next_batch('q', 'c')")?,
        ),
    ];
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    let event = row(
        &mut db,
        &format!("select ev_id from pgq.get_batch_events({batch})"),
    )?;
    for (function, more) in [
        ("batch_event_sql", String::new()),
        ("batch_event_tables", String::new()),
        ("get_batch_events", String::new()),
        ("event_retry", format!(", {event}, 1")),
        ("finish_batch", String::new()),
    ] {
        let sql = format!("select pgq.{function}({batch}{more})");
        seen.push((function, entries_read(&mut db, &sql)?));
    }
    assert!(seen.iter().all(|(_, entries)| *entries <= FEW), "{seen:?}");
    Ok(())
}

#[test]
fn members_of_a_group_do_not_meet_the_dead_versions_either() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    let mut holder = cluster.connect("postgres")?;
    holder.batch_execute("begin isolation level repeatable read; select 1")?;
    db.batch_execute(
        "set synchronous_commit = off; alter table pgq.subscription set (autovacuum_enabled = off)",
    )?;
    let next = "select pgq_coop.next_batch('q', 'c', 'member')";
    for _ in 0..ROUNDS {
        db.batch_execute("select pgq.insert_event('q', 'type', 'data')")?;
        tick(&mut db)?;
        let batch = row(&mut db, next)?;
        db.batch_execute(&format!("select pgq_coop.finish_batch({batch})"))?;
    }
    db.batch_execute("select pgq.insert_event('q', 'type', 'data')")?;
    tick(&mut db)?;
    let taking = entries_read(&mut db, next)?;
    let batch = row(&mut db, next)?;
    let finishing = entries_read(&mut db, &format!("select pgq_coop.finish_batch({batch})"))?;
    assert!(taking <= FEW && finishing <= FEW, "{taking}, {finishing}");
    Ok(())
}

#[test]
fn a_consumer_has_one_row_per_queue_however_it_is_added() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    // With a version of its own each, so that the primary key finds nothing wrong.
    let add = |version: u32| {
        format!(
            "insert into pgq.subscription (sub_queue, sub_consumer, sub_last_tick, sub_version)
             values (1, 1, 1, {version})"
        )
    };
    assert_eq!(
        refusal(&mut db, &add(1))?,
        "consumer 1 is registered on queue 1 already"
    );
    db.batch_execute(
        "insert into pgq.consumer (co_id, co_name) values (100, 'd');
         insert into pgq.subscription (sub_queue, sub_consumer, sub_last_tick) values (1, 100, 1);
         update pgq.subscription set sub_version = 9 where sub_consumer = 100",
    )?;
    assert_eq!(
        refusal(
            &mut db,
            "update pgq.subscription set sub_consumer = 1 where sub_consumer = 100"
        )?,
        "consumer 1 is registered on queue 1 already"
    );

    // Two at once: the second waits for the first, and one with an old snapshot cannot go on.
    for (isolation, state) in [("read committed", "23505"), ("repeatable read", "40001")] {
        db.batch_execute("delete from pgq.subscription where sub_consumer = 1")?;
        let mut first = cluster.connect("postgres")?;
        let mut second = cluster.connect("postgres")?;
        let waiting = pid(&mut second)?;
        first.batch_execute(&format!("begin; {}", add(1)))?;
        second.batch_execute(&format!("begin isolation level {isolation}; select 1"))?;
        let result = std::thread::scope(|scope| -> TestResult<_> {
            let second = scope.spawn(|| second.batch_execute(&add(2)));
            wait_for_lock(&mut db, &waiting)?;
            first.batch_execute("commit")?;
            Ok(second.join().map_err(|_| "the second session panicked")?)
        })?;
        let code = result
            .err()
            .and_then(|error| error.code().map(|code| code.code().to_owned()));
        assert_eq!(code.as_deref(), Some(state), "{isolation}");
    }
    // Also when the row is there already, and the snapshot too old to see it.
    db.batch_execute("delete from pgq.subscription where sub_consumer = 1")?;
    let mut old = cluster.connect("postgres")?;
    old.batch_execute("begin isolation level repeatable read; select 1")?;
    db.batch_execute(&add(1))?;
    assert!(refusal(&mut old, &add(2))?.contains("could not serialize"));
    Ok(())
}

#[test]
fn a_change_that_does_not_raise_the_version_is_seen_all_the_same() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("select pgq.insert_event('q', 'type', 'a')")?;
    tick(&mut db)?;
    db.batch_execute(
        "update pgq.subscription set sub_batch = 900, sub_next_tick = 2;
         update pgq.subscription set sub_version = 5",
    )?;
    assert_eq!(row(&mut db, "select pgq.next_batch('q', 'c')")?, "900");
    db.batch_execute("update pgq.subscription set sub_version = 1")?;
    assert_eq!(row(&mut db, "select pgq.next_batch('q', 'c')")?, "900");
    assert_eq!(consume(&mut db)?, Some(vec!["a".to_owned()]));
    assert_eq!(consume(&mut db)?, None);
    Ok(())
}

#[test]
fn subscriptions_without_versions_are_upgraded_with_their_open_batches() -> TestResult {
    let (cluster, mut fresh) = cluster()?;
    let mut db = cluster.create_database("old")?;
    run_scripts(&mut db)?;
    eager_queue(&mut db, "q")?;
    db.batch_execute("select pgq.register_consumer('q', 'c')")?;
    insert(&mut db, "kept")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    db.batch_execute(
        "drop trigger subscription_once on pgq.subscription;
         alter table pgq.subscription drop constraint subscription_pkey, drop column sub_version;
         alter table pgq.subscription add constraint subscription_pkey primary key (sub_queue, sub_consumer)",
    )?;
    run_scripts(&mut db)?;
    assert_eq!(row(&mut db, "select pgq.upgrade_schema()")?, "0");
    catalogue::assert_same(&mut db, &mut fresh)?;
    assert_eq!(row(&mut db, "select pgq.next_batch('q', 'c')")?, batch);
    assert_eq!(consume(&mut db)?, Some(vec!["kept".to_owned()]));
    assert_eq!(consume(&mut db)?, None);
    Ok(())
}
