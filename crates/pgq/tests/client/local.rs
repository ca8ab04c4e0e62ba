//! The local consumer: a file keeps its position.

use std::fs;
use std::path::PathBuf;

use pgq::consumer::{ConsumerArgs, LocalConsumer, LockLevel, SerialArgs};
use pgq::{Error, TickId, admin};
use skytools::daemon::{Context, Work};
use skytools::db::Connection;
use tempfile::TempDir;
use testkit::{Cluster, TestResult};

use crate::support::{
    config, consumer, context, data, database, logged, produce, queue, tick, with_consumer,
    with_queue,
};

/// A queue, and a directory for the file.
struct Site {
    cluster: Cluster,
    db: Connection,
    dir: TempDir,
    context: Context,
}

impl Site {
    fn new() -> TestResult<Site> {
        let cluster = Cluster::start()?;
        Ok(Site {
            db: with_queue(&cluster, "src")?,
            cluster,
            dir: tempfile::tempdir()?,
            context: context(),
        })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("tick")
    }

    fn consumer(&self) -> TestResult<LocalConsumer> {
        let mut config = config(LockLevel::Session);
        config.tracking_file = Some(self.path());
        let src = database(&self.cluster.conninfo("src"))?;
        Ok(LocalConsumer::new(src, config)?)
    }

    fn local(&self) -> TestResult<i64> {
        Ok(fs::read_to_string(self.path())?.trim().parse()?)
    }

    fn position(&mut self) -> TestResult<Option<i64>> {
        let tick = admin::consumer_position(&mut *self.db, &queue(), &consumer())?;
        Ok(tick.map(TickId::get))
    }

    fn round(&mut self, consumer: &mut LocalConsumer) -> Result<(Work, Vec<String>), Error> {
        let mut seen = Vec::new();
        let work = consumer.work(&mut self.context, |events| {
            while let Some(event) = events.next()? {
                seen.push(event);
            }
            Ok::<_, Error>(())
        })?;
        Ok((work, data(&seen)))
    }
}

#[test]
fn a_local_consumer_hands_on_batch_after_batch_and_notes_its_position() -> TestResult {
    let site = &mut Site::new()?;
    let consumer = &mut site.consumer()?;
    assert_eq!(site.round(consumer)?, (Work::Idle, vec![]));
    assert_eq!(Some(site.local()?), site.position()?);
    produce(&mut site.db, &["a", "b", "c"])?;
    produce(&mut site.db, &["d"])?;
    tick(&mut site.db)?;
    for expected in [&["a", "b", "c"][..], &["d"], &[]] {
        let (work, seen) = site.round(consumer)?;
        assert_eq!(
            (work, &seen[..]),
            (
                Work::More,
                &expected
                    .iter()
                    .map(|text| (*text).to_owned())
                    .collect::<Vec<_>>()[..]
            )
        );
        assert_eq!(Some(site.local()?), site.position()?);
    }
    assert_eq!(site.round(consumer)?.0, Work::Idle);
    Ok(())
}

#[test]
fn a_failed_handler_leaves_the_position_and_gets_the_batch_again() -> TestResult {
    let site = &mut Site::new()?;
    let consumer = &mut site.consumer()?;
    site.round(consumer)?;
    let before = site.local()?;
    produce(&mut site.db, &["a"])?;
    let failed = consumer.work(&mut site.context, |_| Err::<(), Error>(Error::NoEventTime));
    assert!(failed.is_err());
    consumer.recover();
    assert_eq!(site.local()?, before);
    assert_eq!(site.round(consumer)?.1, ["a"]);
    Ok(())
}

#[test]
fn a_consumer_lost_at_the_source_comes_back_where_the_file_is() -> TestResult {
    let site = &mut Site::new()?;
    let consumer = &mut site.consumer()?;
    site.round(consumer)?;
    admin::unregister_consumer(&mut *site.db, &queue(), &crate::support::consumer())?;
    produce(&mut site.db, &["a"])?;
    assert!(site.round(consumer).is_err(), "it is not registered");
    consumer.recover();
    assert_eq!(site.round(consumer)?.1, ["a"]);
    Ok(())
}

#[test]
fn a_lost_file_is_made_again_from_the_queue() -> TestResult {
    let site = &mut Site::new()?;
    site.db = with_consumer(&site.cluster, "other")?;
    site.db = crate::support::open(&site.cluster.conninfo("src"))?;
    let consumer = &mut site.consumer()?;
    site.round(consumer)?;
    produce(&mut site.db, &["a"])?;
    site.round(consumer)?;
    for text in [None, Some(""), Some("-1\n")] {
        match text {
            None => fs::remove_file(site.path())?,
            Some(text) => fs::write(site.path(), text)?,
        }
        let consumer = &mut site.consumer()?;
        assert_eq!(site.round(consumer)?.0, Work::Idle);
        assert_eq!(Some(site.local()?), site.position()?);
    }
    Ok(())
}

#[test]
fn a_queue_that_is_elsewhere_is_moved_to_the_file_at_the_start() -> TestResult {
    let site = &mut Site::new()?;
    let consumer = &mut site.consumer()?;
    site.round(consumer)?;
    let start = site.local()?;
    produce(&mut site.db, &["a"])?;
    site.round(consumer)?;
    produce(&mut site.db, &["b"])?;
    site.round(consumer)?;

    // An older copy of the file, and a batch open at the source.
    fs::write(site.path(), format!("{start}\n"))?;
    produce(&mut site.db, &["c"])?;
    crate::support::next(&mut site.db)?;
    let consumer = &mut site.consumer()?;
    for expected in ["a", "b", "c"] {
        assert_eq!(site.round(consumer)?.1, [expected]);
    }
    Ok(())
}

#[test]
fn a_position_that_changes_under_way_is_an_error_and_then_made_good() -> TestResult {
    let site = &mut Site::new()?;
    let consumer = &mut site.consumer()?;
    site.round(consumer)?;
    let start = site.local()?;
    for text in ["a", "b"] {
        produce(&mut site.db, &[text])?;
        site.round(consumer)?;
    }
    fs::write(site.path(), format!("{start}\n"))?;
    produce(&mut site.db, &["c"])?;
    let error = site
        .round(consumer)
        .expect_err("the file is older than the batch");
    assert!(matches!(error, Error::LostPosition { .. }), "{error}");
    consumer.recover();
    assert_eq!(site.round(consumer)?.1, ["a"]);
    Ok(())
}

#[test]
fn a_batch_that_the_file_has_is_finished_and_not_handed_on_again() -> TestResult {
    let site = &mut Site::new()?;
    let consumer = &mut site.consumer()?;
    site.round(consumer)?;
    produce(&mut site.db, &["a"])?;
    let batch = crate::support::next(&mut site.db)?;
    fs::write(site.path(), batch.tick.to_string())?;
    assert_eq!(site.round(consumer)?, (Work::More, vec![]));
    assert_eq!(site.position()?, Some(batch.tick.get()));
    Ok(())
}

#[test]
fn commands_register_rewind_reset_and_unregister() -> TestResult {
    let site = &mut Site::new()?;
    let consumer = &mut site.consumer()?;
    let none = SerialArgs::default();
    let with = |register, unregister| SerialArgs {
        consumer: ConsumerArgs {
            register,
            unregister,
        },
        ..none
    };
    assert!(!consumer.command(none)?);
    assert!(consumer.command(with(true, false))?);
    let start = site.local()?;
    assert_eq!(site.position()?, Some(start));

    produce(&mut site.db, &["a"])?;
    site.round(consumer)?;
    fs::write(site.path(), start.to_string())?;
    assert!(consumer.command(SerialArgs {
        rewind: true,
        ..none
    })?);
    assert_eq!(site.position()?, Some(start));

    let reset = SerialArgs {
        reset: true,
        ..none
    };
    assert!(consumer.command(reset)?);
    assert!(!site.path().exists());
    // Without a position there is nothing to rewind to.
    assert!(consumer.command(SerialArgs {
        rewind: true,
        ..none
    })?);
    assert_eq!(site.position()?, Some(start));

    fs::write(site.path(), start.to_string())?;
    assert!(consumer.command(with(false, true))?);
    assert_eq!((site.position()?, site.path().exists()), (None, false));
    Ok(())
}

#[test]
fn a_local_consumer_without_a_file_is_refused() -> TestResult {
    let cluster = Cluster::start()?;
    let src = database(&cluster.conninfo("postgres"))?;
    let error = LocalConsumer::new(src, config(LockLevel::Session))
        .err()
        .ok_or("accepted")?;
    assert_eq!(
        error.to_string(),
        "Config value not set: local_tracking_file"
    );
    Ok(())
}

#[test]
fn what_is_done_about_two_positions_is_logged() -> TestResult {
    let site = &mut Site::new()?;
    for expected in [
        "INFO Registering consumer on source queue",
        "INFO Ticks match: Queue=1 Local=1",
        "WARN Tracking out of sync: Queue=2 Local=1",
    ] {
        if expected.starts_with("WARN") {
            produce(&mut site.db, &["a"])?;
            site.round(&mut site.consumer()?)?;
            fs::write(site.path(), "1")?;
        }
        let consumer = &mut site.consumer()?;
        let log = logged(|| {
            site.round(consumer)?;
            Ok(())
        })?;
        assert_eq!(log, [expected]);
    }
    Ok(())
}
