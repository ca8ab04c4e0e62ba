//! The consumer kinds: what they deliver, and what they refuse.

use std::time::Duration;

use pgq::batch::{self, Disposition};
use pgq::consumer::{Consumer, ConsumerConfig, LockLevel};
use pgq::{ConsumerName, Error, admin, maintenance, position};
use skytools::daemon::Work;
use skytools::db::Tx;
use testkit::{Cluster, TestResult};

use crate::pair::{Pair, REGISTER, insert};
use crate::support::{
    config, consumer, context, count, database, next, produce, queue, tick, with_consumer,
    with_queue,
};

#[test]
fn a_consumer_registers_itself_and_commits_its_work_with_the_batch() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_queue(&cluster, "src")?;
    db.batch_execute("create table applied (data text)")?;
    let mut consumer = Consumer::new(
        database(&cluster.conninfo("src"))?,
        config(LockLevel::Session),
    );
    let mut context = context();
    let handle = |tx: &mut Tx<'_>, event: &batch::Event| {
        insert(tx, event)?;
        Ok::<_, Error>(Disposition::Done)
    };
    produce(&mut db, &["before the consumer"])?;
    assert_eq!(consumer.work(&mut context, handle)?, Work::Idle);
    produce(&mut db, &["a", "b", "c"])?;
    assert_eq!(consumer.work(&mut context, handle)?, Work::More);
    assert!(
        context
            .stats
            .to_string()
            .starts_with("{count: 3, duration: ")
    );
    assert_eq!(consumer.work(&mut context, handle)?, Work::Idle);
    assert_eq!(crate::support::applied(&mut db)?, ["a", "b", "c"]);

    produce(&mut db, &["d", "e"])?;
    let failed = consumer.work(&mut context, |tx, event| {
        insert(tx, event)?;
        match event
            .data
            .as_ref()
            .is_some_and(|data| data.as_bytes() == b"e")
        {
            true => Err(Error::NoEventTime),
            false => Ok(Disposition::Done),
        }
    });
    assert!(failed.is_err());
    consumer.recover();
    assert_eq!(crate::support::applied(&mut db)?, ["a", "b", "c"]);
    assert_eq!(consumer.work(&mut context, handle)?, Work::More);
    assert_eq!(crate::support::applied(&mut db)?, ["a", "b", "c", "d", "e"]);
    Ok(())
}

#[test]
fn with_autocommit_each_event_is_committed_by_itself() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    db.batch_execute("create table applied (data text)")?;
    produce(&mut db, &["a", "b", "c"])?;
    let mut config = config(LockLevel::Session);
    (config.autocommit, config.lazy_fetch) = (true, 0);
    let mut consumer = Consumer::new(database(&cluster.conninfo("src"))?, config);
    let mut context = context();
    let mut seen = 0;
    let failed = consumer.work(&mut context, |tx, event| {
        // Nothing of the consumer is open but this event.
        assert_eq!(crate::support::count(&mut db, "applied")?, seen);
        insert(tx, event)?;
        seen += 1;
        match seen {
            3 => Err("no".into()),
            _ => Ok(Disposition::Done),
        }
    });
    let failed: Result<Work, Whatever> = failed;
    assert!(failed.is_err());
    consumer.recover();
    assert_eq!(crate::support::applied(&mut db)?, ["a", "b"]);
    let work = consumer.work(&mut context, |tx, event| {
        insert(tx, event)?;
        Ok::<_, Error>(Disposition::retry())
    })?;
    assert_eq!(work, Work::More);
    assert_eq!(crate::support::applied(&mut db)?, ["a", "b", "a", "b", "c"]);
    assert_eq!(count(&mut db, "pgq.retry_queue")?, 3);
    Ok(())
}

/// Any error at all.
#[derive(Debug)]
struct Whatever;

impl<T: std::fmt::Display> From<T> for Whatever {
    fn from(_: T) -> Whatever {
        Whatever
    }
}

#[test]
fn events_are_retried_and_failed_as_the_handler_says() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.remote()?;
    let mut context = context();
    consumer.command(REGISTER)?;
    produce(&mut pair.src, &["retry", "fail", "done"])?;
    consumer.work(&mut context, |dst, event| {
        let data = event.data.clone().unwrap_or_default();
        Ok::<_, Error>(match data.as_bytes() {
            b"retry" => Disposition::Retry {
                after: Duration::ZERO,
            },
            b"fail" => Disposition::Failed {
                reason: "no use".to_owned(),
            },
            _ => {
                insert(dst, event)?;
                Disposition::Done
            }
        })
    })?;
    let stats = context.stats.to_string();
    assert!(
        stats.ends_with("retry-events: 1, failed-events: 1}"),
        "{stats}"
    );
    assert_eq!(pair.applied()?, ["done"]);
    assert_eq!(count(&mut pair.src, "pgq.failed_queue")?, 1);

    assert_eq!(maintenance::retry_events(&mut *pair.src)?, 1);
    tick(&mut pair.src)?;
    consumer.work(&mut context, |dst, event| {
        assert_eq!(event.retry, Some(1));
        insert(dst, event)?;
        Ok::<_, Error>(Disposition::Done)
    })?;
    assert_eq!(pair.applied()?, ["done", "retry"]);
    Ok(())
}

#[test]
fn a_remote_consumer_skips_the_batch_that_its_target_has() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.remote()?;
    consumer.command(REGISTER)?;
    produce(&mut pair.src, &["a"])?;
    let batch = next(&mut pair.src)?;
    position::set_batch_done(&mut *pair.dst, &crate::support::consumer(), batch.id, None)?;
    let work = consumer.work(&mut context(), |_, _| -> Result<Disposition, Error> {
        panic!("the batch is applied")
    })?;
    assert_eq!(work, Work::More);
    assert_eq!(pair.source_position()?, Some(batch.tick));
    Ok(())
}

#[test]
fn a_remote_consumer_skips_no_batch_that_has_only_the_number_of_the_applied_one() -> TestResult {
    let pair = &mut Pair::new()?;
    let once = |pair: &Pair| -> TestResult<Work> {
        Ok(pair.remote()?.work(&mut context(), |dst, event| {
            insert(dst, event)?;
            Ok::<_, Error>(Disposition::Done)
        })?)
    };
    once(pair)?;
    produce(&mut pair.src, &["a"])?;
    once(pair)?;
    pair.back_up()?;
    let number = |pair: &mut Pair| -> TestResult<i64> {
        let stored = "select last_batch_id from pgq_ext.completed_batch";
        Ok(pair.dst.query_typed_one(stored, &[])?.get(0))
    };
    produce(&mut pair.src, &["lost"])?;
    once(pair)?;
    let applied = number(pair)?;
    pair.restore()?;
    produce(&mut pair.src, &["other"])?;
    once(pair)?;
    assert_eq!(number(pair)?, applied);
    assert_eq!(pair.applied()?, ["a", "lost", "other"]);
    Ok(())
}

#[test]
fn two_consumers_of_one_queue_each_get_everything() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    let other = ConsumerName::from("other");
    admin::register_consumer(&mut *db, &queue(), &other)?;
    assert!(!admin::register_consumer(&mut *db, &queue(), &other)?);
    produce(&mut db, &["a"])?;
    let batch = batch::next_batch(&mut *db, &queue(), &other)?.ok_or("no batch")?;
    assert_eq!(batch::events(&mut *db, batch.id, None)?.len(), 1);
    assert!(batch::finish_batch(&mut *db, batch.id)?);
    let batch = next(&mut db)?;
    assert_eq!(batch::events(&mut *db, batch.id, None)?.len(), 1);
    Ok(())
}

#[test]
fn an_idle_consumer_gives_a_sign_of_life() -> TestResult {
    let cluster = Cluster::start()?;
    let db = with_consumer(&cluster, "src")?;
    drop(db);
    let mut config = ConsumerConfig::new(queue(), consumer());
    config.keepalive = Duration::ZERO;
    let mut consumer = Consumer::new(database(&cluster.conninfo("src"))?, config);
    let mut context = context();
    let work = consumer.work(&mut context, |_, _| Ok::<_, Error>(Disposition::Done))?;
    assert_eq!(work, Work::Idle);
    assert!(context.stats.to_string().starts_with("{idle: "));
    Ok(())
}

#[test]
fn a_consumer_takes_the_batches_and_events_that_its_settings_ask_for() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    let mut config = config(LockLevel::Session);
    let work = |config: &ConsumerConfig| -> TestResult<(Work, Vec<String>)> {
        let source = database(&cluster.conninfo("src"))?;
        let mut consumer = Consumer::new(source, config.clone());
        let mut seen = Vec::new();
        let work = consumer.work(&mut context(), |_, event| {
            seen.push(event.clone());
            Ok::<_, Error>(Disposition::Done)
        })?;
        Ok((work, crate::support::data(&seen)))
    };
    config.wish.min_count = Some(3);
    produce(&mut db, &["a", "b"])?;
    assert_eq!(work(&config)?, (Work::Idle, vec![]));
    produce(&mut db, &["c"])?;
    let all = ["a", "b", "c"].map(str::to_owned).to_vec();
    assert_eq!(work(&config)?, (Work::More, all));

    config.wish = batch::BatchWish {
        keep_lag: Some("1 hour".to_owned()),
        ..batch::BatchWish::default()
    };
    produce(&mut db, &["late"])?;
    assert_eq!(work(&config)?, (Work::Idle, vec![]));
    db.batch_execute("update pgq.tick set tick_time = tick_time - interval '2 hours'")?;
    assert_eq!(work(&config)?, (Work::More, vec!["late".to_owned()]));

    config.wish = batch::BatchWish::default();
    for lazy_fetch in [0, 2] {
        config.lazy_fetch = lazy_fetch;
        config.filter = Some("ev_data like 'x%' -- of all".to_owned());
        produce(&mut db, &["x1", "y1", "x2", "y2", "x3"])?;
        let wanted = ["x1", "x2", "x3"].map(str::to_owned).to_vec();
        assert_eq!(work(&config)?, (Work::More, wanted));
        // A batch of which nothing is left is finished all the same.
        produce(&mut db, &["y"])?;
        assert_eq!(work(&config)?, (Work::More, vec![]));
        assert_eq!(work(&config)?, (Work::Idle, vec![]));
    }
    Ok(())
}
