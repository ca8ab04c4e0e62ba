//! Cooperative consumers: each batch goes to one member, and that of a dead one to another.

use pgq::batch::Disposition;
use pgq::consumer::{ConsumerArgs, ConsumerConfig, CoopConsumer, LockLevel};
use pgq::coop::{self, OpenBatch};
use pgq::{Error, SubconsumerName, admin, maintenance};
use skytools::daemon::Work;
use skytools::db::Connection;
use testkit::{Cluster, TestResult};

use crate::support::{
    applied, apply, config, consumer, context, count, database, produce, queue, tick, with_queue,
};

fn settings(name: &str, timeout: Option<&str>) -> ConsumerConfig {
    let mut config = config(LockLevel::Session);
    config.subconsumer = Some(SubconsumerName::from(name));
    config.subconsumer_timeout = timeout.map(str::to_owned);
    config
}

fn member(cluster: &Cluster, name: &str, timeout: Option<&str>) -> TestResult<CoopConsumer> {
    let src = database(&cluster.conninfo("src"))?;
    Ok(CoopConsumer::new(src, settings(name, timeout))?)
}

/// One round, in which events are applied.
fn round(member: &mut CoopConsumer) -> Result<Work, Error> {
    member.work(&mut context(), |tx, event| {
        apply(tx, event)?;
        Ok(Disposition::Done)
    })
}

fn source(cluster: &Cluster) -> TestResult<Connection> {
    let mut db = with_queue(cluster, "src")?;
    db.batch_execute("create table applied (data text)")?;
    Ok(db)
}

#[test]
fn members_share_the_batches_of_their_consumer() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = source(&cluster)?;
    let (mut one, mut two) = (
        member(&cluster, "one", None)?,
        member(&cluster, "two", None)?,
    );
    assert_eq!(round(&mut one)?, Work::Idle);
    assert_eq!(round(&mut two)?, Work::Idle);
    for text in ["a", "b", "c"] {
        produce(&mut db, &[text])?;
    }
    // The first member has a batch open while the second takes the next one.
    let (queue, consumer) = (queue(), consumer());
    let name = SubconsumerName::from("one");
    let first = coop::next_batch(&mut *db, &queue, &consumer, &name, None)?.ok_or("no batch")?;
    assert_eq!(round(&mut two)?, Work::More);
    assert_eq!(applied(&mut db)?, ["b"]);
    let again = coop::next_batch(&mut *db, &queue, &consumer, &name, None)?.ok_or("no batch")?;
    assert_eq!(again, first);
    assert_eq!(round(&mut one)?, Work::More);
    assert_eq!(round(&mut one)?, Work::More);
    assert_eq!(round(&mut two)?, Work::Idle);
    assert_eq!(applied(&mut db)?, ["b", "a", "c"]);
    Ok(())
}

#[test]
fn a_silent_member_loses_its_batch_and_what_it_did_for_it() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = source(&cluster)?;
    let mut slow = member(&cluster, "slow", None)?;
    let mut quick = member(&cluster, "quick", Some("0 seconds"))?;
    round(&mut slow)?;
    round(&mut quick)?;
    produce(&mut db, &["a", "b"])?;
    let result = slow.work(&mut context(), |tx, event| {
        apply(tx, event)?;
        if event.data == Some("a".into()) {
            assert_eq!(round(&mut quick)?, Work::More);
        }
        Ok::<_, Error>(Disposition::Done)
    });
    assert!(matches!(result, Err(Error::BatchGone(_))), "{result:?}");
    slow.recover();
    assert_eq!(applied(&mut db)?, ["a", "b"]);
    // It is taken back as a member when it asks for work.
    produce(&mut db, &["c"])?;
    assert_eq!(round(&mut slow)?, Work::More);
    assert_eq!(applied(&mut db)?, ["a", "b", "c"]);
    Ok(())
}

#[test]
fn a_member_that_shows_it_is_alive_keeps_its_batch() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = source(&cluster)?;
    let (queue, consumer) = (queue(), consumer());
    let (one, two) = (SubconsumerName::from("one"), SubconsumerName::from("two"));
    coop::register_subconsumer(&mut *db, &queue, &consumer, &one)?;
    produce(&mut db, &["a"])?;
    let timeout = Some("1 hour");
    let open = coop::next_batch(&mut *db, &queue, &consumer, &one, timeout)?.ok_or("no batch")?;
    db.batch_execute("update pgq.subscription set sub_active = now() - interval '2 hours'")?;
    assert!(coop::touch_subconsumer(&mut *db, &queue, &consumer, &one)?);
    assert_eq!(
        coop::next_batch(&mut *db, &queue, &consumer, &two, timeout)?,
        None
    );
    db.batch_execute("update pgq.subscription set sub_active = now() - interval '2 hours'")?;
    let taken = coop::next_batch(&mut *db, &queue, &consumer, &two, timeout)?.ok_or("no batch")?;
    assert_eq!((taken.prev_tick, taken.tick), (open.prev_tick, open.tick));
    assert!(!coop::touch_subconsumer(&mut *db, &queue, &consumer, &one)?);
    assert!(coop::finish_batch(&mut *db, taken.id)?);
    Ok(())
}

#[test]
fn a_member_retries_events_for_all_members() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = source(&cluster)?;
    let (mut one, mut two) = (
        member(&cluster, "one", None)?,
        member(&cluster, "two", None)?,
    );
    round(&mut one)?;
    round(&mut two)?;
    produce(&mut db, &["a"])?;
    let work = one.work(&mut context(), |_, _| {
        Ok::<_, Error>(Disposition::Retry {
            after: std::time::Duration::ZERO,
        })
    })?;
    assert_eq!(work, Work::More);
    assert_eq!(maintenance::retry_events(&mut *db)?, 1);
    tick(&mut db)?;
    assert_eq!(round(&mut two)?, Work::More);
    assert_eq!(applied(&mut db)?, ["a"]);
    Ok(())
}

#[test]
fn a_member_leaves_only_without_a_batch_or_when_told_what_becomes_of_it() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = source(&cluster)?;
    let (queue, consumer) = (queue(), consumer());
    let name = SubconsumerName::from("one");
    let mut one = member(&cluster, "one", None)?;
    let register = ConsumerArgs {
        register: true,
        ..ConsumerArgs::default()
    };
    let unregister = ConsumerArgs {
        unregister: true,
        ..ConsumerArgs::default()
    };
    assert!(one.command(register)?);
    produce(&mut db, &["a", "b"])?;
    coop::next_batch(&mut *db, &queue, &consumer, &name, None)?.ok_or("no batch")?;
    let error = one.command(unregister).expect_err("it has a batch");
    let text = skytools::app::chain(&error);
    assert!(text.contains("subconsumer has active batch"), "{text}");
    let leave = OpenBatch::Retry;
    assert!(coop::unregister_subconsumer(
        &mut *db, &queue, &consumer, &name, leave
    )?);
    assert_eq!(count(&mut db, "pgq.retry_queue")?, 2);
    // The group goes on without it.
    let left = admin::consumer_info(&mut *db, Some(&queue), None)?;
    assert_eq!(left.len(), 1);
    assert!(!one.command(ConsumerArgs::default())?);
    Ok(())
}

#[test]
fn a_cooperative_consumer_needs_a_name_of_its_own() -> TestResult {
    let cluster = Cluster::start()?;
    let src = database(&cluster.conninfo("postgres"))?;
    let error = CoopConsumer::new(src, config(LockLevel::Session))
        .err()
        .ok_or("accepted")?;
    assert_eq!(error.to_string(), "Config value not set: subconsumer_name");
    Ok(())
}
