//! The serial consumer: every batch once and in order, or an error.

use pgq::consumer::{ConsumerArgs, LockLevel, SerialArgs, SerialConsumer};
use pgq::{Error, TickId, admin, position};
use skytools::daemon::Work;
use skytools::db::{DbError, During};
use testkit::{Cluster, TestResult};

use crate::pair::{Pair, REGISTER, UNREGISTER, insert, round};
use crate::support::{config, context, database, logged, open, produce, queue, tick, with_queue};

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
    let text = error.to_string();
    let Error::LostPosition {
        start,
        end,
        applied,
    } = error
    else {
        panic!("{error}");
    };
    let expected = format!("Lost position: batch {start}..{end}, dst has {applied}");
    assert_eq!(text, expected);
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

/// As after a restore, or with a standby that had not everything: the next tick has the number of the one that is lost.
#[test]
fn a_source_that_makes_its_newest_tick_anew_is_noticed() -> TestResult {
    let pair = &mut Pair::new()?;
    let once =
        |pair: &Pair| -> TestResult<Work> { Ok(round(&mut pair.serial()?, &mut context())?) };
    once(pair)?;
    produce(&mut pair.src, &["a"])?;
    once(pair)?;
    pair.back_up()?;
    produce(&mut pair.src, &["lost"])?;
    once(pair)?;
    let reached = pair.stored()?.ok_or("nothing is stored")?;
    pair.restore()?;
    let before = pair.source_position()?.ok_or("not registered")?;
    produce(&mut pair.src, &["other"])?;

    let mut consumer = pair.serial()?;
    let mut context = context();
    let refused = |result: Result<_, Error>| match result {
        Err(Error::OtherTick { tick, known, found }) => tick == reached && known < found,
        _ => false,
    };
    assert!(refused(round(&mut consumer, &mut context)));
    consumer.recover();
    assert!(refused(consumer.command(REWIND).map(|_| Work::Idle)));
    consumer.recover();
    assert_eq!(pair.source_position()?, Some(before));
    // As the start of a batch it is another one, too.
    let name = crate::support::consumer();
    admin::register_consumer_at(&mut *pair.src, &queue(), &name, reached)?;
    produce(&mut pair.src, &["next"])?;
    assert!(refused(round(&mut consumer, &mut context)));
    consumer.recover();
    assert_eq!(pair.applied()?, ["a", "lost"]);

    admin::register_consumer_at(&mut *pair.src, &queue(), &name, before)?;
    consumer.command(RESET)?;
    while round(&mut consumer, &mut context)? == Work::More {}
    assert_eq!(pair.applied()?, ["a", "lost", "other", "next"]);
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
fn a_lost_registration_is_said_and_not_made_anew() -> TestResult {
    let pair = &mut Pair::new()?;
    let name = crate::support::consumer();
    let mut consumer = pair.serial()?;
    let mut context = context();
    round(&mut consumer, &mut context)?;
    produce(&mut pair.src, &["a"])?;
    round(&mut consumer, &mut context)?;
    admin::unregister_consumer(&mut *pair.src, &queue(), &name)?;
    produce(&mut pair.src, &["b"])?;

    // The one that was running fails on its next batch, then sees why.
    assert!(round(&mut consumer, &mut context).is_err());
    consumer.recover();
    let stored = pair.stored()?.ok_or("nothing is stored")?;
    for _ in 0..2 {
        let error = round(&mut consumer, &mut context).unwrap_err();
        assert!(consumer.is_fatal(&error), "{error}");
        assert_eq!(
            error.to_string(),
            format!(
                "consumer it's a consumer is not registered on queue Test \"queue\" any more, so \
                 events may be missing; --rewind registers it at tick {stored}, which the \
                 destination has reached, --register does so at the newest tick"
            )
        );
        // A new process sees it by the position.
        drop(consumer);
        consumer = pair.serial()?;
    }
    assert!(consumer.command(REWIND)?);
    round(&mut consumer, &mut context)?;
    assert_eq!(pair.applied()?, ["a", "b"]);
    Ok(())
}

#[test]
fn a_consumer_that_may_not_register_itself_says_so() -> TestResult {
    let pair = &mut Pair::new()?;
    let info = |name: &str| database(&pair.cluster.conninfo(name));
    let mut config = config(LockLevel::Session);
    config.register = false;
    let mut consumer = SerialConsumer::new(info("src")?, info("dst")?, "pgq_ext", config);
    let error = round(&mut consumer, &mut context()).unwrap_err();
    assert!(consumer.is_fatal(&error), "{error}");
    assert!(error.to_string().ends_with("--register does it"), "{error}");
    assert_eq!(pair.source_position().ok(), None);
    Ok(())
}

#[test]
fn a_position_that_somebody_moves_meanwhile_undoes_the_batch() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.serial()?;
    let mut context = context();
    round(&mut consumer, &mut context)?;
    produce(&mut pair.src, &["a"])?;
    let other = &mut pair.dst;
    let result = consumer.work(&mut context, |events, dst| {
        while let Some(event) = events.next()? {
            insert(dst, &event)?;
        }
        let tick = Some(TickId::from(7));
        position::set_last_tick(&mut **other, "pgq_ext", &crate::support::consumer(), tick)
    });
    assert!(matches!(result, Err(Error::Overtaken(_))), "{result:?}");
    assert!(pair.applied()?.is_empty());
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

#[test]
fn what_is_done_with_positions_is_logged() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut consumer = pair.serial()?;
    // Attaching once.
    for expected in [
        &[
            "DEBUG Attaching",
            "INFO Registering consumer on source queue",
        ][..],
        &[],
    ] {
        let log = logged(|| {
            assert_eq!(round(&mut consumer, &mut context())?, Work::Idle);
            Ok(())
        })?;
        assert_eq!(log, expected);
    }
    let of = |consumer| SerialArgs {
        consumer,
        ..SerialArgs::default()
    };
    for (args, expected) in [
        // It is registered.
        (of(REGISTER), &[][..]),
        (
            REWIND,
            &["INFO Rewinding queue", "WARN No tick found on dst side"],
        ),
        (RESET, &["INFO Resetting queue tracking on dst side"]),
        (
            of(UNREGISTER),
            &["INFO Unregistering consumer from source queue"],
        ),
        (of(REGISTER), &["INFO Registering consumer on source queue"]),
    ] {
        let log = logged(|| {
            assert!(consumer.command(args)?);
            Ok(())
        })?;
        assert_eq!(log, expected, "{args:?}");
    }
    Ok(())
}
