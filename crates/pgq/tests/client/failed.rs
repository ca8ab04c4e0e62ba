//! Dead letters: given up, looked at, put back or forgotten.

use std::time::Duration;

use pgq::batch::{self, Disposition, Nacked};
use pgq::consumer::{Consumer, LockLevel};
use pgq::failed::{self, Page};
use pgq::{Error, EventId, admin, maintenance};
use skytools::daemon::Work;
use skytools::db::Connection;
use testkit::{Cluster, TestResult};

use crate::support::{
    config, consumer, context, data, database, next, produce, queue, tick, with_consumer,
};

/// Gives up all events of a batch; returns their ids.
fn give_up(db: &mut Connection, texts: &[&str]) -> TestResult<Vec<EventId>> {
    produce(db, texts)?;
    let open = next(db)?;
    let mut ids = Vec::new();
    for event in batch::events(&mut **db, open.id, None)? {
        assert!(batch::event_failed(&mut **db, open.id, event.id, "no use")?);
        ids.push(event.id);
    }
    batch::finish_batch(&mut **db, open.id)?;
    Ok(ids)
}

#[test]
fn failed_events_are_listed_in_order_and_page_by_page() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    let (queue, consumer) = (queue(), consumer());
    assert_eq!(failed::list(&mut *db, &queue, &consumer, None)?, []);
    let ids = give_up(&mut db, &["a", "b", "c"])?;
    assert_eq!(failed::count(&mut *db, &queue, &consumer)?, 3);
    let all = failed::list(&mut *db, &queue, &consumer, None)?;
    let listed: Vec<EventId> = all.iter().map(|dead| dead.event.id).collect();
    assert_eq!(listed, ids);
    assert!(
        all.iter()
            .all(|dead| dead.reason.as_deref() == Some("no use"))
    );
    assert!(all.iter().all(|dead| dead.failed > dead.event.time));
    let page = Page {
        count: 1,
        offset: 1,
    };
    let second = failed::list(&mut *db, &queue, &consumer, Some(page))?;
    assert_eq!(second, all[1..2]);
    Ok(())
}

#[test]
fn failed_events_are_put_back_or_forgotten() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    let (queue, consumer) = (queue(), consumer());
    let ids = give_up(&mut db, &["a", "b", "c", "d"])?;
    failed::delete(&mut *db, &queue, &consumer, ids[0])?;
    assert!(failed::delete(&mut *db, &queue, &consumer, ids[0]).is_err());
    failed::retry(&mut *db, &queue, &consumer, ids[1])?;
    assert_eq!(
        failed::purge(&mut *db, &queue, &consumer, Duration::from_secs(3600))?,
        0
    );
    assert_eq!(failed::replay(&mut *db, &queue, &consumer)?, 2);
    assert_eq!(failed::count(&mut *db, &queue, &consumer)?, 0);
    tick(&mut db)?;
    let open = next(&mut db)?;
    let events = batch::events(&mut *db, open.id, None)?;
    assert_eq!(data(&events), ["b", "c", "d"]);
    batch::finish_batch(&mut *db, open.id)?;
    give_up(&mut db, &["e", "f"])?;
    assert_eq!(
        failed::purge(&mut *db, &queue, &consumer, Duration::ZERO)?,
        2
    );
    let unknown = "unknown".into();
    assert!(failed::replay(&mut *db, &queue, &unknown).is_err());
    Ok(())
}

#[test]
fn an_event_is_given_up_when_it_was_redelivered_as_often_as_the_queue_allows() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    admin::set_queue_config(&mut *db, &queue(), "max_retries", Some("2"))?;
    produce(&mut db, &["poison"])?;
    let mut plain = Consumer::new(
        database(&cluster.conninfo("src"))?,
        config(LockLevel::Session),
    );
    let mut deliveries = Vec::new();
    for _ in 0..3 {
        let mut context = context();
        let work = plain.work(&mut context, |_, event| {
            deliveries.push(event.retry);
            Ok::<_, Error>(Disposition::Nack {
                after: Duration::ZERO,
                reason: "indigestible".to_owned(),
            })
        })?;
        assert_eq!(work, Work::More);
        let outcome = if deliveries.len() < 3 {
            "retry-events: 1}"
        } else {
            "failed-events: 1}"
        };
        let stats = context.stats.to_string();
        assert!(stats.ends_with(outcome), "{stats}");
        maintenance::retry_events(&mut *db)?;
        tick(&mut db)?;
    }
    assert_eq!(deliveries, [None, Some(1), Some(2)]);
    let dead = failed::list(&mut *db, &queue(), &consumer(), None)?;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason.as_deref(), Some("indigestible"));
    Ok(())
}

#[test]
fn a_nack_may_be_repeated_and_a_whole_batch_retried() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_consumer(&cluster, "src")?;
    produce(&mut db, &["a", "b", "c"])?;
    let open = next(&mut db)?;
    let events = batch::events(&mut *db, open.id, None)?;
    for _ in 0..2 {
        let nacked = batch::nack(&mut *db, open.id, events[0].id, Duration::ZERO, "no")?;
        assert_eq!(nacked, Nacked::Retried);
    }
    assert_eq!(batch::batch_retry(&mut *db, open.id, Duration::ZERO)?, 2);
    let info = batch::info(&mut *db, open.id)?.ok_or("the batch is open")?;
    assert_eq!(
        (info.batch.clone(), info.queue, info.consumer),
        (open.clone(), queue(), consumer())
    );
    assert!(info.batch.start < info.batch.end && info.lag_seconds >= 0.0);
    batch::finish_batch(&mut *db, open.id)?;
    assert_eq!(batch::info(&mut *db, open.id)?, None);
    Ok(())
}
