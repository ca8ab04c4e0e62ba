//! Which events a batch holds, with real concurrent transactions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use postgres::Client;
use testkit::{Cluster, TestResult, wait_until};

use crate::support::{
    arrived, cluster_with_consumer, connect_and_hear, consume, consume_as, eager_queue, insert,
    install, refusal, row, rows, tick,
};

#[test]
fn an_open_transaction_is_delivered_once_whatever_ticks_it_spans() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    let mut long = cluster.connect("postgres")?;
    long.batch_execute("begin")?;
    insert(&mut long, "long")?;
    for data in ["a", "b", "c"] {
        insert(&mut db, data)?;
        assert_eq!(arrived(&mut db)?, [data]);
    }
    long.batch_execute("commit")?;
    insert(&mut db, "d")?;
    assert_eq!(arrived(&mut db)?, ["long", "d"]);
    assert!(arrived(&mut db)?.is_empty());
    Ok(())
}

#[test]
fn long_transactions_end_in_different_batches_and_one_that_aborts_in_none() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    let mut long = Vec::new();
    for data in ["first", "second", "aborted"] {
        let mut session = cluster.connect("postgres")?;
        session.batch_execute("begin")?;
        insert(&mut session, data)?;
        long.push(session);
    }
    assert!(arrived(&mut db)?.is_empty());
    long[1].batch_execute("commit")?;
    assert_eq!(arrived(&mut db)?, ["second"]);
    long[2].batch_execute("rollback")?;
    assert!(arrived(&mut db)?.is_empty());
    long[0].batch_execute("commit")?;
    assert_eq!(arrived(&mut db)?, ["first"]);
    Ok(())
}

#[test]
fn rolled_back_savepoints_leave_nothing_and_the_rest_carries_the_transaction() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let txid = row(
        &mut db,
        "begin;
         select pgq.insert_event('q', 't', 'before');
         savepoint a; select pgq.insert_event('q', 't', 'undone'); rollback to a;
         savepoint b; select pgq.insert_event('q', 't', 'kept'); release b;
         do $$ begin
             perform pgq.insert_event('q', 't', 'undone by exception');
             raise exception 'x';
         exception when others then
             perform pgq.insert_event('q', 't', 'handler');
         end $$;
         select txid_current();
         commit",
    )?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    let events = rows(
        &mut db,
        &format!("select ev_data, ev_txid = {txid} from pgq.get_batch_events({batch})"),
    )?;
    assert_eq!(events, ["before|t", "kept|t", "handler|t"]);
    Ok(())
}

#[test]
fn a_prepared_transaction_is_delivered_after_its_commit_only() -> TestResult {
    let cluster = Cluster::builder()
        .setting("max_prepared_transactions", "5")
        .start()?;
    let mut db = install(&cluster)?;
    eager_queue(&mut db, "q")?;
    db.batch_execute("select pgq.register_consumer('q', 'c')")?;
    db.batch_execute(
        "begin; select pgq.insert_event('q', 't', 'kept'); prepare transaction 'kept';
         begin; select pgq.insert_event('q', 't', 'dropped'); prepare transaction 'dropped'",
    )?;
    assert!(arrived(&mut db)?.is_empty());
    assert!(arrived(&mut db)?.is_empty());
    db.batch_execute("commit prepared 'kept'")?;
    db.batch_execute("rollback prepared 'dropped'")?;
    assert_eq!(arrived(&mut db)?, ["kept"]);
    assert!(arrived(&mut db)?.is_empty());
    Ok(())
}

#[test]
fn what_is_inserted_in_the_ticking_transaction_comes_with_the_next_tick() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("begin")?;
    insert(&mut db, "same")?;
    assert!(arrived(&mut db)?.is_empty());
    db.batch_execute("commit")?;
    assert_eq!(arrived(&mut db)?, ["same"]);
    assert!(arrived(&mut db)?.is_empty());
    Ok(())
}

#[test]
fn a_batch_may_be_empty_and_ids_may_have_gaps() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    assert!(arrived(&mut db)?.is_empty());
    db.batch_execute("begin; select pgq.insert_event('q', 't', 'undone'); rollback")?;
    assert!(arrived(&mut db)?.is_empty());
    for (data, id) in [("a", "2"), ("b", "4")] {
        insert(&mut db, data)?;
        let last = row(&mut db, "select max(ev_id) from pgq.event_template")?;
        assert_eq!(last, id);
        db.batch_execute("begin; select pgq.insert_event('q', 't', 'undone'); rollback")?;
    }
    assert_eq!(arrived(&mut db)?, ["a", "b"]);
    Ok(())
}

#[test]
fn a_consumer_gets_what_no_tick_covered_when_it_registered() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "covered")?;
    tick(&mut db)?;
    insert(&mut db, "uncovered")?;
    db.batch_execute("select pgq.register_consumer('q', 'late')")?;
    tick(&mut db)?;
    assert_eq!(
        consume_as(&mut db, "late")?,
        Some(vec!["uncovered".to_owned()])
    );
    assert_eq!(consume(&mut db)?, Some(vec!["covered".to_owned()]));
    Ok(())
}

#[test]
fn a_transaction_far_below_the_batch_is_probed_and_a_near_one_widens_the_range() -> TestResult {
    for (distance, probed) in [(100, false), (101, true)] {
        let (cluster, mut db) = cluster_with_consumer()?;
        let mut long = cluster.connect("postgres")?;
        long.batch_execute("begin")?;
        insert(&mut long, "long")?;
        let txid: i64 = row(&mut long, "select txid_current()")?.parse()?;
        // The snapshot of the next tick ends `distance` above the open transaction.
        while row(
            &mut db,
            "select txid_snapshot_xmax(txid_current_snapshot())",
        )?
        .parse::<i64>()?
            < txid + distance
        {
            db.batch_execute("select txid_current()")?;
        }
        assert!(arrived(&mut db)?.is_empty());
        long.batch_execute("commit")?;
        tick(&mut db)?;
        let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
        let sql = row(&mut db, &format!("select pgq.batch_event_sql({batch})"))?;
        assert_eq!(
            sql.contains(&format!("ev.ev_txid in ({txid})")),
            probed,
            "{sql}"
        );
        assert_eq!(
            sql.contains(&format!("ev.ev_txid >= {txid} ")),
            !probed,
            "{sql}"
        );
        assert_eq!(consume(&mut db)?, Some(vec!["long".to_owned()]));
    }
    Ok(())
}

#[test]
fn every_event_of_concurrent_producers_arrives_once_while_tables_rotate() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "select pgq.register_consumer('q', 'second');
         select pgq.set_queue_config('q', p, v)
           from (values ('rotation_period', '0'), ('ticker_max_count', '20'),
                        ('ticker_max_lag', '20 ms'), ('ticker_idle_period', '20 ms')) c (p, v)",
    )?;
    let (enough, committed) = (AtomicBool::new(false), AtomicBool::new(false));
    let (kept, seen) = thread::scope(|scope| -> TestResult<(usize, Vec<_>)> {
        let (cluster, enough, committed) = (&cluster, &enough, &committed);
        let producers: Vec<_> = (0..6)
            .map(|number| scope.spawn(move || produce(cluster, number, enough)))
            .collect();
        let tickers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| tick_until(cluster, committed)))
            .collect();
        let consumers: Vec<_> = ["c", "second"]
            .into_iter()
            .map(|consumer| scope.spawn(move || collect(cluster, consumer, committed)))
            .collect();
        let rotated = rotate(&mut db, 6);
        enough.store(true, Ordering::SeqCst);
        let kept: TestResult<Vec<usize>> = producers
            .into_iter()
            .map(|producer| producer.join().expect("producers do not panic"))
            .collect();
        committed.store(true, Ordering::SeqCst);
        for ticker in tickers {
            ticker.join().expect("tickers do not panic")?;
        }
        let seen: TestResult<Vec<_>> = consumers
            .into_iter()
            .map(|consumer| consumer.join().expect("consumers do not panic"))
            .collect();
        rotated?;
        Ok((kept?.iter().sum(), seen?))
    })?;
    for seen in seen {
        let twice: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).collect();
        assert!(twice.is_empty(), "came more than once: {twice:?}");
        let undone = seen
            .keys()
            .filter(|data| data.starts_with("undone"))
            .count();
        assert_eq!((seen.len(), undone), (kept, 0));
    }
    Ok(())
}

/// Commits and rolls back transactions of different shapes; returns how many events it committed.
fn produce(cluster: &Cluster, number: usize, enough: &AtomicBool) -> TestResult<usize> {
    let mut db = cluster.connect("postgres")?;
    let mut n = 0;
    while !enough.load(Ordering::SeqCst) {
        let event =
            |kind: &str| format!("select pgq.insert_event('q', 't', '{kind} {number} {n}');");
        let isolation = ["read committed", "repeatable read"][n % 2];
        db.batch_execute(&format!("begin isolation level {isolation}; select 1"))?;
        if n % 5 == 0 {
            db.batch_execute(&format!("savepoint s; {} rollback to s", event("undone")))?;
        }
        db.batch_execute(&event("kept"))?;
        db.batch_execute("commit")?;
        db.batch_execute(&format!("begin; {} rollback", event("undone")))?;
        n += 1;
    }
    Ok(n)
}

fn tick_until(cluster: &Cluster, done: &AtomicBool) -> TestResult {
    let mut db = cluster.connect("postgres")?;
    while !done.load(Ordering::SeqCst) {
        rows(&mut db, "select pgq.ticker()")?;
    }
    Ok(())
}

/// Switches tables so many times.
pub(crate) fn rotate(db: &mut Client, times: usize) -> TestResult {
    let mut tables = Vec::new();
    wait_until("the tables to rotate", Duration::from_secs(120), || {
        rows(db, "select pgq.maint_rotate_tables_step1('q')")?;
        rows(db, "select pgq.maint_rotate_tables_step2()")?;
        tables.push(row(db, "select queue_cur_table from pgq.queue")?);
        tables.dedup();
        Ok(tables.len() > times)
    })
}

/// Consumes what there is, and once all is committed what one more tick covers.
fn collect(
    cluster: &Cluster,
    consumer: &str,
    done: &AtomicBool,
) -> TestResult<HashMap<String, usize>> {
    let mut db = cluster.connect("postgres")?;
    let mut seen = HashMap::new();
    let mut covered = false;
    loop {
        if done.load(Ordering::SeqCst) && !covered {
            covered = row(&mut db, "select pgq.ticker('q')")? != "NULL";
        }
        if let Some(events) = consume_as(&mut db, consumer)? {
            for data in events {
                *seen.entry(data).or_insert(0) += 1;
            }
        } else if covered {
            return Ok(seen);
        }
    }
}

#[test]
fn two_sessions_of_a_consumer_get_the_same_batch() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    tick(&mut db)?;
    let mut other = cluster.connect("postgres")?;
    let pid = crate::support::pid(&mut other)?;
    let first = row(&mut db, "begin; select pgq.next_batch('q', 'c')")?;
    let second = thread::scope(|scope| -> TestResult<String> {
        let second = scope.spawn(|| row(&mut other, "select pgq.next_batch('q', 'c')"));
        let mut watcher = cluster.connect("postgres")?;
        crate::support::wait_for_lock(&mut watcher, &pid)?;
        db.batch_execute("commit")?;
        second.join().expect("the other session does not panic")
    })?;
    assert_eq!(first, second);
    assert_eq!(consume(&mut db)?, Some(vec!["a".to_owned()]));
    Ok(())
}

#[test]
fn a_batch_stays_the_same_until_it_is_finished_and_finishes_once() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    insert(&mut db, "a")?;
    tick(&mut db)?;
    let batch = row(&mut db, "select pgq.next_batch('q', 'c')")?;
    insert(&mut db, "b")?;
    tick(&mut db)?;
    assert_eq!(row(&mut db, "select pgq.next_batch('q', 'c')")?, batch);
    assert_eq!(
        row(&mut db, &format!("select pgq.finish_batch({batch})"))?,
        "1"
    );
    let (mut other, told) = connect_and_hear(&cluster, "postgres")?;
    for schema in ["pgq", "pgq_coop"] {
        assert_eq!(
            row(
                &mut other,
                &format!("select {schema}.finish_batch({batch})")
            )?,
            "0"
        );
    }
    assert_eq!(
        told.take(),
        ["finish_batch", "coop_finish_batch"]
            .map(|name| format!("{name}: batch {batch} not found"))
    );
    assert_eq!(
        refusal(
            &mut db,
            &format!("select * from pgq.get_batch_events({batch})")
        )?,
        "batch not found"
    );
    assert_eq!(
        refusal(&mut db, &format!("select pgq.batch_event_tables({batch})"))?,
        format!("Cannot find data for batch {batch}")
    );
    assert_eq!(consume(&mut db)?, Some(vec!["b".to_owned()]));
    assert_eq!(consume(&mut db)?, None);
    Ok(())
}
