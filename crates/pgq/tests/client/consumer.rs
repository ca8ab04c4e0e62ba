//! The consumer kinds: what they deliver, and what they refuse.

use std::time::Duration;

use pgq::batch::{self, Disposition};
use pgq::consumer::{
    Consumer, ConsumerArgs, ConsumerConfig, LockLevel, RemoteConsumer, SerialArgs, SerialConsumer,
};
use pgq::{ConsumerName, Error, TickId, admin, maintenance, position};
use skytools::daemon::{Context, Work};
use skytools::db::{Connection, DbError, During, Tx};
use testkit::{Cluster, TestResult};

use crate::support::{
    config, consumer, context, count, database, install, next, open, produce, queue, tick,
    with_consumer, with_queue,
};

const REGISTER: ConsumerArgs = ConsumerArgs {
    register: true,
    unregister: false,
};

const UNREGISTER: ConsumerArgs = ConsumerArgs {
    register: false,
    unregister: true,
};

const REWIND: SerialArgs = SerialArgs {
    consumer: ConsumerArgs {
        register: false,
        unregister: false,
    },
    rewind: true,
    reset: false,
};

const RESET: SerialArgs = SerialArgs {
    rewind: false,
    reset: true,
    ..REWIND
};

/// A source with a queue, and a target with a table of what arrived.
struct Pair {
    cluster: Cluster,
    src: Connection,
    dst: Connection,
}

impl Pair {
    fn new() -> TestResult<Pair> {
        let cluster = Cluster::start()?;
        let src = with_queue(&cluster, "src")?;
        let mut dst = install(&cluster, "dst")?;
        dst.batch_execute("create table applied (data text)")?;
        Ok(Pair { cluster, src, dst })
    }

    fn serial(&self) -> TestResult<SerialConsumer> {
        self.serial_with(LockLevel::Session)
    }

    fn serial_with(&self, lock: LockLevel) -> TestResult<SerialConsumer> {
        let (src, dst) = (
            database(&self.cluster.conninfo("src"))?,
            database(&self.cluster.conninfo("dst"))?,
        );
        Ok(SerialConsumer::new(src, dst, "pgq_ext", config(lock)))
    }

    fn remote(&self) -> TestResult<RemoteConsumer> {
        let (src, dst) = (
            database(&self.cluster.conninfo("src"))?,
            database(&self.cluster.conninfo("dst"))?,
        );
        Ok(RemoteConsumer::new(src, dst, config(LockLevel::Session)))
    }

    fn applied(&mut self) -> TestResult<Vec<String>> {
        crate::support::applied(&mut self.dst)
    }

    fn stored(&mut self) -> TestResult<Option<TickId>> {
        Ok(position::last_tick(&mut *self.dst, "pgq_ext", &consumer())?)
    }

    fn source_position(&mut self) -> TestResult<Option<TickId>> {
        let info = admin::consumer_info(&mut *self.src, Some(&queue()), Some(&consumer()))?;
        Ok(info.first().ok_or("not registered")?.last_tick)
    }
}

fn insert(dst: &mut Tx<'_>, event: &pgq::batch::Event) -> Result<(), Error> {
    crate::support::apply(dst, event)
}

/// One round of a serial consumer that inserts what it gets.
fn round(consumer: &mut SerialConsumer, context: &mut Context) -> Result<Work, Error> {
    consumer.work(context, |events, dst| {
        while let Some(event) = events.next()? {
            insert(dst, &event)?;
        }
        Ok::<_, Error>(())
    })
}

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
    position::set_batch_done(&mut *pair.dst, &crate::support::consumer(), batch.id)?;
    let work = consumer.work(&mut context(), |_, _| -> Result<Disposition, Error> {
        panic!("the batch is applied")
    })?;
    assert_eq!(work, Work::More);
    assert_eq!(pair.source_position()?, Some(batch.tick));
    Ok(())
}

#[test]
fn a_serial_consumer_applies_batch_after_batch() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.serial()?;
    let mut context = context();
    assert_eq!(round(&mut consumer, &mut context)?, Work::Idle);
    produce(&mut pair.src, &["a", "b", "c"])?;
    produce(&mut pair.src, &["d"])?;
    tick(&mut pair.src)?;
    for expected in [3, 4, 4] {
        assert_eq!(round(&mut consumer, &mut context)?, Work::More);
        assert_eq!(pair.applied()?.len(), expected);
        assert_eq!(pair.stored()?, pair.source_position()?);
    }
    assert_eq!(round(&mut consumer, &mut context)?, Work::Idle);
    assert_eq!(pair.applied()?, ["a", "b", "c", "d"]);
    Ok(())
}

#[test]
fn a_swallowed_error_of_the_target_does_not_lose_the_batch() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.serial()?;
    let mut context = context();
    round(&mut consumer, &mut context)?;
    produce(&mut pair.src, &["a"])?;
    let before = pair.source_position()?;
    let result = consumer.work(&mut context, |_, dst| {
        let swallowed = dst.batch_execute("insert into nowhere values (1)");
        assert!(swallowed.is_err());
        Ok::<_, Error>(())
    });
    assert!(result.is_err());
    consumer.recover();
    assert_eq!((pair.source_position()?, pair.stored()?), (before, None));
    round(&mut consumer, &mut context)?;
    assert_eq!(pair.applied()?, ["a"]);
    Ok(())
}

#[test]
fn a_commit_that_fails_does_not_finish_the_batch() -> TestResult {
    let pair = &mut Pair::new()?;
    pair.dst.batch_execute(
        "create table parent (id int primary key); \
         create table child (id int references parent deferrable initially deferred)",
    )?;
    let mut consumer = pair.serial()?;
    let mut context = context();
    round(&mut consumer, &mut context)?;
    produce(&mut pair.src, &["a"])?;
    let before = pair.source_position()?;
    let result = consumer.work(&mut context, |_, dst| {
        dst.batch_execute("insert into child values (1)")
            .during("insert")?;
        Ok::<_, Error>(())
    });
    assert!(result.is_err());
    consumer.recover();
    assert_eq!((pair.source_position()?, pair.stored()?), (before, None));
    Ok(())
}

#[test]
fn a_source_lost_after_the_targets_commit_means_one_skipped_batch() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.serial()?;
    let mut context = context();
    round(&mut consumer, &mut context)?;
    produce(&mut pair.src, &["a"])?;
    let before = pair.source_position()?;
    let killer = &mut pair.src;
    let result = consumer.work(&mut context, |events, dst| {
        while let Some(event) = events.next()? {
            insert(dst, &event)?;
        }
        crate::support::terminate_others(killer)?;
        Ok::<_, Error>(())
    });
    assert!(result.is_err());
    assert_eq!((pair.source_position()?, pair.applied()?), (before, vec![]));
    consumer.recover();
    round(&mut consumer, &mut context)?;
    assert_eq!(pair.applied()?, ["a"]);
    Ok(())
}

#[test]
fn a_target_restored_from_a_backup_is_noticed_and_rewound_to() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.serial()?;
    let mut context = context();
    round(&mut consumer, &mut context)?;
    produce(&mut pair.src, &["a"])?;
    round(&mut consumer, &mut context)?;
    let backup = pair.stored()?;
    produce(&mut pair.src, &["b"])?;
    round(&mut consumer, &mut context)?;

    position::set_last_tick(
        &mut *pair.dst,
        "pgq_ext",
        &crate::support::consumer(),
        backup,
    )?;
    pair.dst
        .batch_execute("delete from applied where data = 'b'")?;
    produce(&mut pair.src, &["c"])?;
    let error = round(&mut consumer, &mut context).unwrap_err();
    let Error::LostPosition { start, applied, .. } = error else {
        panic!("{error}");
    };
    assert!(Some(applied) == backup && applied < start);
    consumer.recover();

    // The batch is open at the source: rewinding abandons it.
    assert!(consumer.command(REWIND)?);
    assert_eq!(pair.source_position()?, backup);
    while round(&mut consumer, &mut context)? == Work::More {}
    assert_eq!(pair.applied()?, ["a", "b", "c"]);
    Ok(())
}

#[test]
fn a_source_that_lost_ticks_is_noticed() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.serial()?;
    let mut context = context();
    round(&mut consumer, &mut context)?;
    let start = pair.source_position()?.ok_or("registered without a tick")?;
    produce(&mut pair.src, &["a"])?;
    produce(&mut pair.src, &["b"])?;
    round(&mut consumer, &mut context)?;
    round(&mut consumer, &mut context)?;
    admin::register_consumer_at(&mut *pair.src, &queue(), &crate::support::consumer(), start)?;
    let error = round(&mut consumer, &mut context).unwrap_err();
    let Error::LostPosition { end, applied, .. } = error else {
        panic!("{error}");
    };
    assert!(applied > end);
    assert_eq!(pair.applied()?, ["a", "b"]);
    Ok(())
}

#[test]
fn a_rewind_to_a_tick_that_is_gone_changes_nothing() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.serial()?;
    round(&mut consumer, &mut context())?;
    let before = pair.source_position()?;
    let name = crate::support::consumer();
    position::set_last_tick(&mut *pair.dst, "pgq_ext", &name, Some(TickId::from(999)))?;
    let error = consumer.command(REWIND).unwrap_err();
    assert!(skytools::app::chain(&error).contains("tick not found: 999"));
    assert_eq!(pair.source_position()?, before);
    assert_eq!(pair.stored()?, Some(TickId::from(999)));
    Ok(())
}

#[test]
fn a_rewind_without_a_position_does_nothing() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.serial()?;
    round(&mut consumer, &mut context())?;
    let before = pair.source_position()?;
    assert!(consumer.command(REWIND)?);
    assert_eq!(pair.source_position()?, before);
    Ok(())
}

#[test]
fn a_reset_forgets_the_position_of_the_target() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.serial()?;
    let mut context = context();
    round(&mut consumer, &mut context)?;
    produce(&mut pair.src, &["a"])?;
    round(&mut consumer, &mut context)?;
    assert!(pair.stored()?.is_some());
    assert!(consumer.command(RESET)?);
    assert_eq!(pair.stored()?, None);
    assert!(!consumer.command(SerialArgs::default())?);
    Ok(())
}

#[test]
fn registering_anew_and_unregistering_clear_the_position_of_the_target() -> TestResult {
    let pair = &mut Pair::new()?;
    let name = crate::support::consumer();
    let command = |consumer| SerialArgs {
        consumer,
        ..SerialArgs::default()
    };
    let mut consumer = pair.serial()?;
    for _ in 0..2 {
        position::set_last_tick(&mut *pair.dst, "pgq_ext", &name, Some(TickId::from(9)))?;
        consumer.command(command(REGISTER))?;
        assert_eq!(pair.stored()?, None);
        position::set_last_tick(&mut *pair.dst, "pgq_ext", &name, Some(TickId::from(9)))?;
        consumer.command(command(REGISTER))?;
        assert_eq!(pair.stored()?, Some(TickId::from(9)), "it was registered");
        consumer.command(command(UNREGISTER))?;
        assert_eq!(pair.stored()?, None);
    }
    let all = admin::consumer_info(&mut *pair.src, None, None)?;
    assert_eq!(all, []);
    Ok(())
}

#[test]
fn a_second_process_with_the_same_consumer_is_refused() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut first = pair.serial()?;
    let mut second = pair.serial()?;
    round(&mut first, &mut context())?;
    let error = round(&mut second, &mut context()).unwrap_err();
    assert!(second.is_fatal(&error), "{error}");
    assert_eq!(
        error.to_string(),
        "consumer pgq_ext.it's a consumer is run by another process"
    );
    drop(first);
    round(&mut second, &mut context())?;
    Ok(())
}

#[test]
fn behind_a_proxy_the_second_process_waits_and_skips() -> TestResult {
    let pair = &mut Pair::new()?;
    round(
        &mut pair.serial_with(LockLevel::Transaction)?,
        &mut context(),
    )?;
    produce(&mut pair.src, &["a"])?;
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut consumer = pair.serial_with(LockLevel::Transaction)?;
            Ok(std::thread::spawn(move || {
                // Whoever comes too late may find the batch finished under its hands.
                match round(&mut consumer, &mut context()) {
                    Ok(_) | Err(Error::BatchGone(_)) => Ok(()),
                    Err(error) => Err(skytools::app::chain(&error)),
                }
            }))
        })
        .collect::<TestResult<_>>()?;
    for thread in threads {
        thread.join().expect("the thread does not panic")?;
    }
    assert_eq!(pair.applied()?, ["a"]);
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

#[test]
fn a_server_that_went_away_is_found_again() -> TestResult {
    let mut pair = Pair::new()?;
    let mut consumer = pair.serial()?;
    let mut context = context();
    round(&mut consumer, &mut context)?;
    produce(&mut pair.src, &["a"])?;
    pair.cluster.restart(testkit::Shutdown::Immediate)?;
    assert!(round(&mut consumer, &mut context).is_err());
    consumer.recover();
    round(&mut consumer, &mut context)?;
    pair.dst = open(&pair.cluster.conninfo("dst"))?;
    assert_eq!(pair.applied()?, ["a"]);
    Ok(())
}

#[test]
fn a_source_killed_while_a_batch_is_open_gives_it_again() -> TestResult {
    let mut pair = Pair::new()?;
    let mut source = Cluster::start()?;
    pair.src = with_queue(&source, "src")?;
    let (src, dst) = (
        database(&source.conninfo("src"))?,
        database(&pair.cluster.conninfo("dst"))?,
    );
    let mut consumer = SerialConsumer::new(src, dst, "pgq_ext", config(LockLevel::Session));
    let mut context = context();
    round(&mut consumer, &mut context)?;
    for (text, applies) in [("a", false), ("b", true)] {
        produce(&mut pair.src, &[text])?;
        // The opening of the batch need not be on the disk by then.
        let killed = consumer.work(&mut context, |events, dst| {
            while let Some(event) = events.next()? {
                insert(dst, &event)?;
            }
            source
                .restart(testkit::Shutdown::Kill)
                .map_err(|_| Error::NoEventTime)?;
            match applies {
                true => Ok(()),
                false => Err(Error::NoEventTime),
            }
        });
        assert!(killed.is_err());
        consumer.recover();
        pair.src = open(&source.conninfo("src"))?;
        while round(&mut consumer, &mut context)? == Work::More {}
    }
    assert_eq!(pair.applied()?, ["a", "b"]);
    assert_eq!(pair.stored()?, pair.source_position()?);
    Ok(())
}

/// The driver's error passes through a handler's own error type.
#[derive(Debug, thiserror::Error)]
enum Own {
    #[error(transparent)]
    Queue(#[from] Error),
    #[error(transparent)]
    Db(#[from] DbError),
}

#[test]
fn a_handler_may_have_an_error_type_of_its_own() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.serial()?;
    let work = consumer.work(&mut context(), |_, dst| -> Result<(), Own> {
        dst.batch_execute("select 1").during("ask")?;
        Ok(())
    })?;
    assert_eq!(work, Work::Idle);
    Ok(())
}
