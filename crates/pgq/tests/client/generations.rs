//! Servers of the older generations: PgQ 2.1 without the functions of 3.x, 3.x without failed events.

use pgq::batch::Disposition;
use pgq::consumer::{Consumer, FailedEventAction, LockLevel, SerialArgs, SerialConsumer};
use pgq::{Error, Features};
use skytools::daemon::Work;
use skytools::db::{Connection, Tx};
use testkit::{Cluster, TestResult};

use crate::support::{
    applied, apply, config, consumer, context, data, database, install, next, produce, queue,
    with_queue,
};

/// What 2.1 has, on top of functions that are out of sight.
const TWO: &str = "
    create schema hidden;
    alter function pgq.next_batch_custom(text, text, interval, int, interval) set schema hidden;
    alter function pgq.register_consumer_at(text, text, bigint) set schema hidden;
    drop function pgq.next_batch_info(text, text);
    drop function pgq.get_batch_cursor(bigint, text, int);
    drop function pgq.get_batch_cursor(bigint, text, int, text);
    create or replace function pgq.next_batch(i_queue_name text, i_consumer_name text)
    returns bigint language sql as
    $$ select batch_id from hidden.next_batch_custom($1, $2, null, null, null) $$;
    create or replace function pgq.register_consumer(x_queue_name text, x_consumer_id text)
    returns int language sql as $$ select hidden.register_consumer_at($1, $2, null) $$;
    create or replace function pgq.register_consumer(
        x_queue_name text, x_consumer_name text, x_tick_pos bigint) returns int language plpgsql as
    $$ begin
        if exists (select from pgq.get_consumer_info($1, $2) where current_batch is not null) then
            raise exception 'reposition while active not allowed';
        end if;
        return hidden.register_consumer_at($1, $2, $3);
    end $$;";

fn two(cluster: &Cluster) -> TestResult<Connection> {
    let mut db = with_queue(cluster, "src")?;
    db.batch_execute(TWO)?;
    Ok(db)
}

#[test]
fn a_server_tells_what_it_can_do() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = with_queue(&cluster, "src")?;
    let ours = Features::of(&mut *db)?;
    assert!(ours.custom_batches && ours.batch_cursors && ours.register_at && ours.failed_queue);
    db.batch_execute(TWO)?;
    let old = Features::of(&mut *db)?;
    assert!(!old.custom_batches && !old.batch_cursors && !old.register_at && old.failed_queue);
    Ok(())
}

#[test]
fn a_consumer_works_and_rewinds_on_a_server_of_2_1() -> TestResult {
    let cluster = Cluster::start()?;
    let mut src = two(&cluster)?;
    let mut dst = install(&cluster, "dst")?;
    dst.batch_execute("create table applied (data text)")?;
    let mut context = context();
    for lazy_fetch in [2, 0] {
        let mut config = config(LockLevel::Session);
        config.lazy_fetch = lazy_fetch;
        config.filter = Some("ev_data <> 'unwanted'".to_owned());
        let (from, to) = (
            database(&cluster.conninfo("src"))?,
            database(&cluster.conninfo("dst"))?,
        );
        let mut serial = SerialConsumer::new(from, to, "pgq_ext", config);
        let mut round = |serial: &mut SerialConsumer| {
            serial.work(&mut context, |events, tx| {
                while let Some(event) = events.next()? {
                    apply(tx, &event)?;
                }
                Ok::<_, Error>(())
            })
        };
        assert_eq!(round(&mut serial)?, Work::Idle);
        produce(&mut src, &["a", "b", "unwanted", "c"])?;
        produce(&mut src, &["d"])?;
        assert_eq!(round(&mut serial)?, Work::More);
        let stored = pgq::position::last_tick(&mut *dst, "pgq_ext", &consumer())?;
        assert_eq!(round(&mut serial)?, Work::More);
        assert_eq!(round(&mut serial)?, Work::Idle);
        assert_eq!(applied(&mut dst)?, ["a", "b", "c", "d"]);

        // The target comes from a backup, and a batch is open.
        pgq::position::set_last_tick(&mut *dst, "pgq_ext", &consumer(), stored)?;
        dst.batch_execute("delete from applied where data = 'd'")?;
        produce(&mut src, &["e"])?;
        assert!(matches!(
            round(&mut serial),
            Err(Error::LostPosition { .. })
        ));
        serial.recover();
        let rewind = SerialArgs {
            rewind: true,
            ..SerialArgs::default()
        };
        assert!(serial.command(rewind)?);
        while round(&mut serial)? == Work::More {}
        assert_eq!(applied(&mut dst)?, ["a", "b", "c", "d", "e"]);
        dst.batch_execute("truncate applied")?;
    }
    Ok(())
}

/// Works on a server of 3.x, where the handler gives every event up.
fn give_up(action: FailedEventAction) -> TestResult<(Connection, Result<Work, Error>)> {
    let cluster = Cluster::start()?;
    let mut db = with_queue(&cluster, "src")?;
    db.batch_execute("drop function pgq.event_failed(bigint, bigint, text)")?;
    pgq::admin::register_consumer(&mut *db, &queue(), &consumer())?;
    produce(&mut db, &["a"])?;
    let mut config = config(LockLevel::Session);
    config.failed_event_action = action;
    let mut plain = Consumer::new(database(&cluster.conninfo("src"))?, config);
    let work = plain.work(&mut context(), |_: &mut Tx<'_>, _| {
        Ok::<_, Error>(Disposition::failed("no use"))
    });
    match action {
        FailedEventAction::Refuse => {
            let batch = next(&mut db)?;
            let events = pgq::batch::events(&mut *db, batch.id, None)?;
            assert_eq!(data(&events), ["a"], "the batch is not finished");
        }
        _ => assert!(pgq::batch::next_batch(&mut *db, &queue(), &consumer())?.is_none()),
    }
    let rows = db.query_typed("select ev_data from pgq.retry_queue", &[])?;
    let retried = action == FailedEventAction::Retry;
    assert_eq!(rows.len(), usize::from(retried));
    Ok((db, work))
}

#[test]
fn a_failed_event_fails_its_batch_where_there_is_no_place_for_it() -> TestResult {
    let (_, work) = give_up(FailedEventAction::Refuse)?;
    let error = work.expect_err("there is no queue of failed events");
    assert_eq!(
        error.to_string(),
        "event 1 has failed, and pgq has no queue of failed events: no use"
    );
    Ok(())
}

#[test]
fn a_failed_event_is_retried_or_dropped_if_the_settings_say_so() -> TestResult {
    for action in [FailedEventAction::Retry, FailedEventAction::Drop] {
        assert_eq!(give_up(action)?.1?, Work::More);
    }
    Ok(())
}
