//! Idle consumers hear of ticks, and poll where they cannot.

use std::sync::mpsc;
use std::time::Duration;

use pgq::batch::Disposition;
use pgq::consumer::{Consumer, ConsumerConfig};
use pgq::{Error, admin};
use postgres::types::Type;
use skytools::daemon::{Context, Work};
use skytools::db::Connection;
use testkit::{Cluster, Pooler, Shutdown, TestResult, wait_until};

use crate::support::{consumer, context, database, produce, queue, with_consumer};

/// Longer than any test may take.
const NEVER: Duration = Duration::from_secs(3600);

/// Long enough for everything that does not take for ever.
const SOON: Duration = Duration::from_secs(60);

/// Says what a ticker says of a queue with `notify`.
fn announce(db: &mut Connection, tick: i64, queue: &str) -> TestResult {
    db.execute_typed(
        "select pg_notify('pgq_tick', $1)",
        &[(&format!("{tick} {queue}"), Type::TEXT)],
    )?;
    Ok(())
}

fn newest_tick(db: &mut Connection) -> TestResult<i64> {
    let row = db.query_typed_one("select max(tick_id) from pgq.tick", &[])?;
    Ok(row.get(0))
}

/// One round of a consumer that takes what it gets.
fn round(consumer: &mut Consumer, context: &mut Context) -> Result<Work, Error> {
    consumer.work(context, |_, _| Ok(Disposition::Done))
}

/// A consumer in a thread of its own: pauses for `delay` after each idle round; sends the number of
/// its round each time it has had events, and ends with the third batch.
fn start(conninfo: &str, delay: Duration) -> TestResult<mpsc::Receiver<u32>> {
    let mut consumer = Consumer::new(
        database(conninfo)?,
        ConsumerConfig::new(queue(), consumer()),
    );
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut context = context();
        let mut rounds = 0;
        let mut batches = 0;
        while batches < 3 {
            rounds += 1;
            match round(&mut consumer, &mut context) {
                Ok(Work::More) => {
                    batches += 1;
                    if send.send(rounds).is_err() {
                        return;
                    }
                }
                Ok(_) => consumer.pause(&context, delay),
                Err(_) => return,
            }
        }
    });
    Ok(receive)
}

/// Waits until the consumer's session listens and is idle.
fn wait_for_listener(db: &mut Connection) -> TestResult {
    wait_until("the consumer to listen", SOON, || {
        // What it ran last before it went to sleep.
        let row = db.query_typed_one(
            "select count(*) from pg_stat_activity where pid <> pg_backend_pid() \
             and datname = current_database() and state = 'idle' \
             and query like '%next_batch%'",
            &[],
        )?;
        Ok(row.get::<_, i64>(0) == 1)
    })
}

#[test]
fn an_idle_consumer_wakes_at_the_ticks_of_its_queue_and_of_no_other() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    admin::set_queue_config(&mut *db, &queue(), "notify", Some("true"))?;
    let rounds = start(&cluster.conninfo("src"), NEVER)?;
    let mut last = 0;
    for batch in 1..=3 {
        wait_for_listener(&mut db)?;
        // Neither another queue's tick nor the one it has is a reason to look.
        let old = newest_tick(&mut db)?;
        announce(&mut db, old + 1, "another queue")?;
        if batch > 1 {
            announce(&mut db, old, queue().as_str())?;
        }
        produce(&mut db, &["x"])?;
        let round = rounds.recv_timeout(SOON)?;
        // One idle round, in which it fell asleep, and the one that had the batch.
        assert_eq!(round, last + 2, "batch {batch}");
        last = round;
    }
    Ok(())
}

#[test]
fn what_is_said_while_a_consumer_is_busy_is_not_missed() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    admin::set_queue_config(&mut *db, &queue(), "notify", Some("true"))?;
    produce(&mut db, &["a"])?;
    let mut consumer = Consumer::new(
        database(&cluster.conninfo("src"))?,
        ConsumerConfig::new(queue(), consumer()),
    );
    let mut context = context();
    let mut more = true;
    let work = round(&mut consumer, &mut context)?;
    assert_eq!(work, Work::More);
    for expected in [Work::Idle, Work::More, Work::Idle] {
        let work = round(&mut consumer, &mut context)?;
        assert_eq!(work, expected);
        if work == Work::Idle && std::mem::take(&mut more) {
            produce(&mut db, &["b"])?;
            consumer.pause(&context, NEVER);
        }
    }
    Ok(())
}

#[test]
fn a_consumer_that_shall_not_listen_polls() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    let mut config = ConsumerConfig::new(queue(), consumer());
    config.listen = false;
    let mut consumer = Consumer::new(database(&cluster.conninfo("src"))?, config);
    let mut context = context();
    assert_eq!(round(&mut consumer, &mut context)?, Work::Idle);
    consumer.pause(&context, Duration::from_millis(1));
    produce(&mut db, &["a"])?;
    assert_eq!(round(&mut consumer, &mut context)?, Work::More);
    let row = db.query_typed_one(
        "select count(*) from pg_stat_activity where query like 'listen%'",
        &[],
    )?;
    assert_eq!(row.get::<_, i64>(0), 0);
    Ok(())
}

#[test]
fn behind_a_transaction_pooling_proxy_a_consumer_polls() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    let Some(pooler) = Pooler::start(&cluster)? else {
        eprintln!("skipped: pgbouncer is not installed");
        return Ok(());
    };
    let rounds = start(&pooler.conninfo("src"), Duration::from_millis(10))?;
    for _ in 0..3 {
        produce(&mut db, &["x"])?;
        rounds.recv_timeout(SOON)?;
    }
    Ok(())
}

#[test]
fn a_server_that_refuses_to_listen_is_asked_for_batches_all_the_same() -> TestResult {
    let mut cluster = Cluster::start()?;
    drop(with_consumer(&cluster, "src")?);
    // As a standby it refuses to listen; that it has no batches to give is another matter.
    cluster.stop(Shutdown::Fast)?;
    std::fs::write(cluster.data_dir().join("standby.signal"), "")?;
    cluster.start_again()?;
    let config = ConsumerConfig::new(queue(), consumer());
    let mut source = database(&cluster.conninfo("src"))?;
    source.listen("pgq_tick");
    let refused = source.connection().err().ok_or("a standby listens")?;
    assert!(!refused.is_connection_lost());
    let mut consumer = Consumer::new(database(&cluster.conninfo("src"))?, config);
    for _ in 0..2 {
        let error = round(&mut consumer, &mut context()).expect_err("a standby has no batches");
        let text = skytools::app::chain(&error);
        assert!(!text.contains("listen"), "{text}");
        consumer.recover();
    }
    Ok(())
}
