//! kill -9 of every process and every server under load: both sides end equal, nothing is lost,
//! nothing is applied twice.

use std::time::Duration;

use e2e::{Load, Replication, TIMEOUT};
use testkit::{Shutdown, TestResult};

/// What a program says that is started after its forerunner was killed.
const STALE_PIDFILE: &str = "Ignoring stale pidfile";

/// What replay says of a copy that was killed, or that lost its server.
const COPY_ENDED: &str = "copy process";

/// What the programs say about a connection that went away, and about coming back. Everything
/// else at this level is a defect: a unique violation tells of an event applied twice.
const CONNECTION_LOST: &[&str] = &[
    STALE_PIDFILE,
    COPY_ENDED,
    "the database system is not yet accepting connections",
    "connection closed",
    "error connecting to server",
    "error communicating with the server",
    "Connection refused",
    "No such file or directory",
    "the database system is starting up",
    "the database system is in recovery mode",
    "the database system is shutting down",
    "terminating connection due to administrator command",
    // The same, and the server's end, for a session that has not come to its first command.
    "canceling authentication due to timeout",
    "terminating connection because of crash of another server process",
    "terminating connection due to unexpected postmaster exit",
    "server closed the connection unexpectedly",
    "broken pipe",
];

/// Starts replication of the load's tables, with writers at work before the first is added.
fn under_load() -> TestResult<(Replication, Load)> {
    let it = Replication::start(Load::TABLES)?;
    it.provider_db()?.batch_execute(Load::ROWS)?;
    let load = Load::start(&it.provider.conninfo("shop"), 3);
    it.typed("londiste replic.ini provider add ledger account item marker")?;
    Ok((it, load))
}

#[test]
fn a_killed_copy_starts_over_and_loses_nothing() -> TestResult {
    let (it, load) = under_load()?;
    // While somebody reads the table, the copy cannot empty it: it waits in the middle of its work.
    let mut reader = it.subscriber_db()?;
    let mut reading = reader.transaction()?;
    reading.batch_execute("lock table ledger in access share mode")?;
    it.typed("londiste replic.ini subscriber add ledger account item marker")?;
    let mut db = it.subscriber_db()?;
    it.wait("the copy of ledger", || {
        let row = db.query_one(
            "select count(*) from pg_locks \
             where not granted and relation = 'ledger'::regclass",
            &[],
        )?;
        Ok(row.get::<_, i64>(0) > 0)
    })?;
    let first = it.copy.wait_alive(TIMEOUT)?;
    it.copy.kill()?;
    reading.rollback()?;
    it.wait("another copy process", || {
        Ok(it.copy.pid().is_some_and(|now| now != first))
    })?;
    // And once more wherever it is by now; it may just have ended by itself.
    let _ = it.copy.kill();
    it.wait_synced()?;
    Load::wait_progress(&it, 20)?;
    load.settle(&it)?;
    it.stop()?;
    it.logs_are_clean_but_for(&[STALE_PIDFILE, COPY_ENDED])
}

#[test]
fn a_killed_replay_goes_on_where_it_was() -> TestResult {
    let (it, load) = under_load()?;
    it.typed("londiste replic.ini subscriber add ledger account item marker")?;
    // Within the copies, and then under plain load.
    for _ in 0..3 {
        it.wait("a copy", || Ok(it.copy.pid().is_some()))?;
        it.replay.kill()?;
        it.start_replay()?;
    }
    it.wait_synced()?;
    for _ in 0..5 {
        Load::wait_progress(&it, 20)?;
        it.replay.kill()?;
        it.start_replay()?;
    }
    load.settle(&it)?;
    it.stop()?;
    it.logs_are_clean_but_for(&[STALE_PIDFILE])
}

#[test]
fn a_killed_ticker_delays_and_loses_nothing() -> TestResult {
    let (it, load) = under_load()?;
    it.typed("londiste replic.ini subscriber add ledger account item marker")?;
    it.wait_synced()?;
    for _ in 0..3 {
        Load::wait_progress(&it, 20)?;
        it.ticker.kill()?;
        let mut provider = it.provider_db()?;
        let mut ticks = || -> TestResult<i64> {
            Ok(provider
                .query_one("select max(tick_id) from pgq.tick", &[])?
                .get(0))
        };
        let last = ticks()?;
        let mut subscriber = it.subscriber_db()?;
        it.wait("replay to drain", || {
            let row = subscriber.query_one(
                "select last_tick_id from londiste.completed where consumer_id = 'replic'",
                &[],
            )?;
            Ok(row.get::<_, i64>(0) >= last)
        })?;
        assert_eq!(ticks()?, last, "nobody else ticks");
        it.start_ticker()?;
    }
    load.settle(&it)?;
    it.stop()?;
    it.logs_are_clean_but_for(&[STALE_PIDFILE])
}

#[test]
fn a_killed_subscriber_server_is_waited_for() -> TestResult {
    let (mut it, load) = under_load()?;
    it.typed("londiste replic.ini subscriber add ledger account item marker")?;
    it.wait("a copy", || Ok(it.copy.pid().is_some()))?;
    it.subscriber.restart(Shutdown::Kill)?;
    it.wait_synced()?;
    for how in [Shutdown::Kill, Shutdown::Immediate, Shutdown::Fast] {
        Load::wait_progress(&it, 20)?;
        it.subscriber.restart(how)?;
    }
    Load::wait_progress(&it, 20)?;
    load.settle(&it)?;
    it.stop()?;
    it.logs_are_clean_but_for(CONNECTION_LOST)
}

#[test]
fn a_killed_provider_server_is_waited_for() -> TestResult {
    let (mut it, load) = under_load()?;
    it.typed("londiste replic.ini subscriber add ledger account item marker")?;
    it.wait("a copy", || Ok(it.copy.pid().is_some()))?;
    it.provider.restart(Shutdown::Kill)?;
    it.wait_synced()?;
    for how in [Shutdown::Kill, Shutdown::Immediate, Shutdown::Fast] {
        Load::wait_progress(&it, 20)?;
        it.provider.restart(how)?;
    }
    Load::wait_progress(&it, 20)?;
    assert!(
        it.ticker.wait_alive(Duration::from_secs(1)).is_ok(),
        "the ticker gave up"
    );
    load.settle(&it)?;
    it.stop()?;
    it.logs_are_clean_but_for(CONNECTION_LOST)
}

#[test]
fn everything_at_once_may_be_killed() -> TestResult {
    let (mut it, load) = under_load()?;
    it.typed("londiste replic.ini subscriber add ledger account item marker")?;
    it.wait("a copy", || Ok(it.copy.pid().is_some()))?;
    it.replay.kill()?;
    it.ticker.kill()?;
    // A copy that has just ended is as good as a killed one.
    let _ = it.copy.kill();
    it.provider.stop(Shutdown::Kill)?;
    it.subscriber.stop(Shutdown::Kill)?;
    it.subscriber.start_again()?;
    it.start_replay()?;
    it.provider.start_again()?;
    it.start_ticker()?;
    it.wait_synced()?;
    Load::wait_progress(&it, 20)?;
    load.settle(&it)?;
    it.stop()?;
    it.logs_are_clean_but_for(CONNECTION_LOST)
}
