//! The process of replay and its connections: refused, stopped, killed, cut off.

use std::time::Duration;

use rustix::process::Signal;
use testkit::{Program, Shutdown, TestResult, wait_until};

use crate::support::{ALL, Load, PATIENCE, Pair, SIMPLE, Setting};

#[test]
fn a_second_replay_of_a_job_is_refused() -> TestResult {
    let (pair, replay) = Pair::simple()?;
    let second = pair.replay_program().output()?;
    assert_eq!(second.status.code(), Some(1));
    assert!(
        second
            .stderr
            .contains("Pidfile exists, another process running?"),
        "{}",
        second.stderr
    );
    // From another host there is no pidfile in the way.
    pair.write_ini("elsewhere", "pgq_consumer_id = replay")?;
    let third = Program::new("londiste", pair.dir())
        .args(["elsewhere.ini", "replay"])
        .output()?;
    assert_eq!(third.status.code(), Some(1));
    assert!(
        third
            .stderr
            .contains("consumer replay is served by another process"),
        "{}",
        third.stderr
    );
    pair.provider()?
        .batch_execute("insert into t values (1, 'x')")?;
    pair.catch_up()?;
    drop(replay);
    Ok(())
}

#[test]
fn a_stop_signal_ends_replay_and_its_copy() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    pair.provider()?
        .batch_execute("insert into t values (1, 'x')")?;
    pair.catch_up()?;
    // A copy that waits for a lock cannot finish by itself.
    let mut blocker = pair.provider()?;
    let mut blocker = blocker.transaction()?;
    blocker.batch_execute("lock table t in access exclusive mode")?;
    pair.londiste(&["subscriber", "resync", "t"])?;
    wait_until("the copy to run", PATIENCE, || {
        Ok(pair.copy_pid().is_some())
    })?;
    replay.signal(Signal::INT)?;
    assert!(replay.wait(PATIENCE)?.success());
    assert!(pair.copy_pid().is_none());
    blocker.commit()?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 1);
    Ok(())
}

#[test]
fn servers_may_crash_and_come_back() -> TestResult {
    let (mut pair, _replay) = Pair::simple()?;
    let write = |pair: &Pair, from: i32| -> TestResult {
        let mut provider = pair.provider()?;
        for id in from..from + 50 {
            provider.execute("insert into t values ($1, 'x')", &[&id])?;
        }
        Ok(())
    };
    write(&pair, 0)?;
    pair.subscriber.restart(Shutdown::Immediate)?;
    write(&pair, 100)?;
    pair.provider.restart(Shutdown::Immediate)?;
    pair.start_ticker()?;
    write(&pair, 200)?;
    pair.subscriber.restart(Shutdown::Kill)?;
    write(&pair, 300)?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 200);
    Ok(())
}

#[test]
fn replay_may_be_killed_at_any_time() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    let load = Load::start(pair.provider()?, |client, number| {
        let id = i32::try_from(number)?;
        client.batch_execute(&format!(
            "insert into t values ({id}, 'x'); update t set data = data || 'y' where id = {id} / 2"
        ))?;
        Ok(())
    });
    let mut position = 0;
    for _ in 0..10 {
        // Each life gets somewhere, and ends in the middle of it.
        wait_until("replay to get on", PATIENCE, || {
            let row = pair
                .subscriber()?
                .query_one("select londiste.get_last_tick('replay')", &[])?;
            let tick: i64 = row.get(0);
            let got_on = tick > position;
            position = tick;
            Ok(got_on)
        })
        .map_err(|error| pair.explain(error))?;
        replay.kill()?;
        replay = pair.replay()?;
    }
    load.finish()?;
    pair.catch_up()?;
    assert!(pair.assert_equal(ALL)? > 50);
    Ok(())
}

#[test]
fn a_provider_that_cannot_say_who_it_is_is_asked_again() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    let mut provider = pair.provider()?;
    pair.catch_up()?;
    replay.kill()?;
    // A table was copied a moment ago: it must not be continued from another node.
    pair.subscriber()?.batch_execute(
        "update londiste.subscriber_table set snapshot = '2000000000:2000000000:'",
    )?;
    provider.batch_execute("alter function pg_catalog.pg_control_system() rename to gone")?;
    let _replay = pair.replay()?;
    pair.wait_log("pg_control_system() does not exist")?;
    provider.batch_execute("alter function pg_catalog.gone() rename to pg_control_system")?;
    pair.subscriber()?
        .batch_execute("update londiste.subscriber_table set snapshot = null")?;
    provider.batch_execute("insert into t values (1, 'x')")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 1);
    Ok(())
}

#[test]
fn a_killed_replay_can_be_started_again_at_once() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    replay.kill()?;
    let mut replay = pair.replay()?;
    pair.provider()?
        .batch_execute("insert into t values (1, 'x')")?;
    pair.catch_up()?;
    assert!(replay.wait(Duration::ZERO).is_err(), "it still runs");
    Ok(())
}

#[test]
fn connections_are_replaced_while_replay_works() -> TestResult {
    let (pair, _replay) = Pair::replicating(Setting {
        lines: "connection_lifetime = 1",
        schema: SIMPLE,
        ..Setting::default()
    })?;
    let load = Load::start(pair.provider()?, |client, number| {
        client.execute("insert into t values ($1, 'x')", &[&i32::try_from(number)?])?;
        Ok(())
    });
    let connections = |pair: &Pair| -> TestResult<usize> {
        Ok(pair.log()?.matches("Connect 'subscriber_db'").count())
    };
    let before = connections(&pair)?;
    wait_until("some connections", PATIENCE, || {
        Ok(connections(&pair)? > before + 3)
    })
    .map_err(|error| pair.explain(error))?;
    load.finish()?;
    pair.catch_up()?;
    assert!(pair.assert_equal(ALL)? > 10);
    pair.assert_quiet()
}
