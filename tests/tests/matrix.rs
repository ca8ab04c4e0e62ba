//! Rows of the failure matrix: the network, a restored subscriber, tables that do not fit.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::{Load, Replication};
use testkit::{Proxy, Shutdown, TestResult, Traffic};

const SIMPLE: &str = "create table t (id int primary key, data text)";

/// Replication through a network that can fail, under load.
fn through_proxies() -> TestResult<(Replication, Load, [Proxy; 2])> {
    let it = Replication::prepare()?;
    let proxies = [Proxy::start(&it.provider)?, Proxy::start(&it.subscriber)?];
    let [provider, subscriber] = proxies.each_ref().map(|proxy| proxy.conninfo("shop"));
    it.go_through(&provider, &subscriber, "sync_poll = 0.1")?;
    it.begin(Load::TABLES)?;
    it.provider_db()?.batch_execute(Load::ROWS)?;
    let load = Load::start(&it.provider.conninfo("shop"), 2);
    it.typed("londiste replic.ini provider add ledger account item marker")?;
    Ok((it, load, proxies))
}

/// Compares everything after the last change has arrived.
fn settle(it: &Replication, load: Load) -> TestResult {
    load.settle(it)?;
    let log = std::fs::read_to_string(it.log("replic.log"))?;
    for word in ["duplicate key", "Lost position", "panicked"] {
        assert!(!log.contains(word), "{word} in\n{log}");
    }
    Ok(())
}

#[test]
fn a_network_that_is_cut_is_waited_for() -> TestResult {
    let (it, load, proxies) = through_proxies()?;
    it.typed("londiste replic.ini subscriber add ledger account item marker")?;
    // Within the copies, and under plain load.
    for proxy in &proxies {
        it.wait("a copy", || Ok(it.copy.pid().is_some()))?;
        proxy.disturb(Traffic::Cut, Duration::from_millis(700));
    }
    it.wait_synced()?;
    for proxy in proxies.iter().chain(&proxies) {
        Load::wait_progress(&it, 10)?;
        proxy.set(Traffic::Cut);
        // Nothing arrives on any way but these.
        let problems = || testkit::log_problems(&it.log("replic.log"), &[]);
        let before = problems()?.len();
        it.wait("replay to notice", || Ok(problems()?.len() > before))?;
        proxy.set(Traffic::Flows);
    }
    Load::wait_progress(&it, 10)?;
    settle(&it, load)?;
    it.stop()
}

#[test]
fn a_network_that_stalls_loses_and_doubles_nothing() -> TestResult {
    let (it, load, proxies) = through_proxies()?;
    it.typed("londiste replic.ini subscriber add ledger account item marker")?;
    it.wait_synced()?;
    for (round, proxy) in proxies.iter().chain(&proxies).enumerate() {
        Load::wait_progress(&it, 10)?;
        let before = Load::arrived(&it)?;
        proxy.disturb(Traffic::Stalls, Duration::from_secs(2));
        // It comes back, or breaks: what was under way may have been committed or not.
        if round >= proxies.len() {
            proxy.disturb(Traffic::Cut, Duration::from_millis(100));
        }
        assert!(Load::arrived(&it)? >= before, "what was committed stays");
    }
    Load::wait_progress(&it, 10)?;
    settle(&it, load)?;
    it.stop()
}

/// Copies the files of a stopped server.
fn copy_files(from: &Path, to: &Path) -> TestResult {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    match copied.success() {
        true => Ok(()),
        false => Err(format!("cannot copy {}", from.display()).into()),
    }
}

#[test]
fn a_subscriber_restored_from_an_old_backup_is_rewound() -> TestResult {
    let mut it = Replication::start(SIMPLE)?;
    it.typed("londiste replic.ini provider add t")?;
    it.typed("londiste replic.ini subscriber add t")?;
    it.provider_db()?
        .batch_execute("insert into t values (1, 'old')")?;
    it.wait_synced()?;
    it.wait_caught_up(
        "insert into t values (2, 'in the backup')",
        "select from t where id = 2",
    )?;
    // Consumers that are behind keep the ticks that a restored subscriber needs.
    it.typed("pgqadm provider_ticker.ini register shop.replic keeper")?;
    let (data, backup) = (it.subscriber.data_dir(), it.dir().join("backup"));
    it.typed("londiste replic.ini -s")?;
    it.replay.wait_gone(e2e::TIMEOUT)?;
    it.subscriber.stop(Shutdown::Fast)?;
    copy_files(&data, &backup)?;
    it.subscriber.start_again()?;
    it.start_replay()?;
    it.wait_caught_up(
        "insert into t values (3, 'not in the backup'); update t set data = 'new' where id = 1",
        "select from t where id = 3",
    )?;
    it.typed("londiste replic.ini -s")?;
    it.replay.wait_gone(e2e::TIMEOUT)?;
    it.subscriber.stop(Shutdown::Fast)?;
    std::fs::remove_dir_all(&data)?;
    std::fs::rename(&backup, &data)?;
    it.subscriber.start_again()?;

    it.start_replay()?;
    it.provider_db()?
        .batch_execute("insert into t values (4, 'after')")?;
    let log = || std::fs::read_to_string(it.log("replic.log"));
    it.wait("replay to see it", || Ok(log()?.contains("Lost position")))?;
    let rows = it
        .subscriber_db()?
        .query_one("select count(*) from t", &[])?;
    assert_eq!(rows.get::<_, i64>(0), 2, "nothing is applied behind a gap");
    it.typed("londiste replic.ini -s")?;
    it.replay.wait_gone(e2e::TIMEOUT)?;
    it.typed("londiste replic.ini --rewind")?;
    it.start_replay()?;
    it.wait_caught_up(
        "insert into t values (5, 'last')",
        "select from t where id = 5",
    )?;
    assert_eq!(it.same("select * from t order by id")?, 5);
    it.stop()
}

/// Makes an event that the subscriber's table does not take: replay stops there, names it and the reason,
/// skips nothing, and goes on when the cause is gone.
fn stops_until_mended(break_it: &str, change: &str, reason: &str, mend: &str) -> TestResult {
    let it = Replication::start(SIMPLE)?;
    it.typed("londiste replic.ini provider add t")?;
    it.typed("londiste replic.ini subscriber add t")?;
    it.wait_synced()?;
    it.wait_caught_up(
        "insert into t values (1, 'before')",
        "select from t where id = 1",
    )?;
    for statement in break_it.split(";;") {
        match statement.strip_prefix("provider: ") {
            Some(statement) => it.provider_db()?.batch_execute(statement)?,
            None => it.subscriber_db()?.batch_execute(statement)?,
        }
    }
    it.provider_db()?.batch_execute(change)?;
    it.provider_db()?
        .batch_execute("insert into t (id, data) values (9, 'z')")?;
    let log = || std::fs::read_to_string(it.log("replic.log"));
    it.wait("replay to name the event", || {
        let log = log()?;
        Ok(log.lines().any(|line| {
            line.contains("public.t")
                && line.contains(reason)
                && (line.contains("cannot apply event") || reason.contains("public.t"))
        }))
    })?;
    let mut subscriber = it.subscriber_db()?;
    let there: bool = subscriber
        .query_one("select to_regclass('t') is not null", &[])?
        .get(0);
    let later = match there {
        true => subscriber.query_opt("select from t where id = 9", &[])?,
        false => None,
    };
    assert!(later.is_none(), "a later event was applied");
    it.subscriber_db()?.batch_execute(mend)?;
    it.wait("replay to go on", || {
        Ok(it
            .subscriber_db()?
            .query_opt("select from t where id = 9", &[])?
            .is_some())
    })?;
    it.same("select * from t order by id")?;
    it.stop()
}

#[test]
fn a_column_that_is_missing_stops_replay_until_it_is_there() -> TestResult {
    stops_until_mended(
        "provider: alter table t add extra int",
        "insert into t values (2, 'b', 2)",
        "column \"extra\" of relation \"t\" does not exist",
        "alter table t add extra int",
    )
}

#[test]
fn a_type_that_is_too_narrow_stops_replay_until_it_is_wide_enough() -> TestResult {
    stops_until_mended(
        "alter table t alter data type varchar(10)",
        "insert into t values (2, 'longer than ten characters')",
        "value too long for type character varying(10)",
        "alter table t alter data type text",
    )
}

#[test]
fn a_check_that_fails_stops_replay_until_it_is_gone() -> TestResult {
    stops_until_mended(
        "alter table t add constraint small check (id < 100 and data <> 'bad')",
        "insert into t values (2, 'bad')",
        "violates check constraint \"small\"",
        "alter table t drop constraint small",
    )
}

#[test]
fn a_key_that_somebody_wrote_on_the_subscriber_stops_replay_until_it_is_gone() -> TestResult {
    stops_until_mended(
        "insert into t values (2, 'foreign')",
        "insert into t values (2, 'ours')",
        "duplicate key value violates unique constraint \"t_pkey\"",
        "delete from t where id = 2",
    )
}

#[test]
fn a_table_that_is_gone_stops_replay_until_it_is_back_or_given_up() -> TestResult {
    stops_until_mended(
        "alter table t rename to t_away",
        "insert into t values (2, 'b')",
        "table public.t does not exist on the subscriber",
        "alter table t_away rename to t",
    )
}
