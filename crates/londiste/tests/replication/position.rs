//! The place of replay in the queue: lost, forgotten, moved.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use testkit::{Program, Shutdown, TestResult, wait_until};

use crate::support::{ALL, PATIENCE, Pair};

#[test]
fn a_lost_position_stops_replay_until_somebody_rewinds() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into t values (1, 'x')")?;
    pair.catch_up()?;
    replay.signal(Signal::INT)?;
    replay.wait(PATIENCE)?;
    // The provider believes that two batches are applied that are not.
    for id in [2, 3] {
        provider.batch_execute(&format!(
            "insert into t values ({id}, 'x'); select pgq.force_tick('q')"
        ))?;
        wait_until("a batch", PATIENCE, || {
            let batch = provider.query_one("select pgq.next_batch('q', 'replay')", &[])?;
            let Some(batch) = batch.get::<_, Option<i64>>(0) else {
                return Ok(false);
            };
            provider.execute("select pgq.finish_batch($1)", &[&batch])?;
            Ok(true)
        })?;
    }
    let mut replay = pair.replay()?;
    provider.batch_execute("insert into t values (4, 'x')")?;
    pair.wait_log("Lost position: batch ")?;
    let refused = Program::new("londiste", pair.dir())
        .args(["replay.ini", "--rewind"])
        .output()?;
    assert_eq!(
        refused.status.code(),
        Some(1),
        "replay runs: {}",
        refused.stderr
    );
    replay.signal(Signal::INT)?;
    replay.wait(PATIENCE)?;
    let rewound = pair.londiste(&["--rewind"])?;
    assert!(
        rewound.stderr.contains("Rewinding queue"),
        "{}",
        rewound.stderr
    );
    let _replay = pair.replay()?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 4);
    Ok(())
}

#[test]
fn reset_forgets_the_position() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    pair.catch_up()?;
    replay.kill()?;
    let reset = pair.londiste(&["--reset"])?;
    assert!(
        reset
            .stderr
            .contains("Resetting queue tracking on dst side"),
        "{}",
        reset.stderr
    );
    let stored: Option<i64> = pair
        .subscriber()?
        .query_one("select londiste.get_last_tick('replay')", &[])?
        .get(0);
    assert_eq!(stored, None);
    pair.provider()?
        .batch_execute("insert into t values (1, 'x')")?;
    let _replay = pair.replay()?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 1);
    Ok(())
}

#[test]
fn a_registration_that_was_lost_is_made_again_where_it_stood() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    let mut provider = pair.provider()?;
    pair.catch_up()?;
    replay.kill()?;
    provider.batch_execute(
        "insert into t values (1, 'x'); select pgq.unregister_consumer('q', 'replay')",
    )?;
    let _replay = pair.replay()?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 1);
    pair.wait_log("the consumer was not registered any more")?;

    // Also by a replay that runs.
    provider.batch_execute(
        "select pgq.unregister_consumer('q', 'replay'); insert into t values (2, 'x')",
    )?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 2);
    Ok(())
}

#[test]
fn a_registration_that_cannot_be_made_again_stops_replay_with_advice() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    let mut provider = pair.provider()?;
    pair.catch_up()?;
    replay.kill()?;
    provider.batch_execute(
        "insert into t values (1, 'x'); select pgq.unregister_consumer('q', 'replay')",
    )?;
    wait_until("a newer tick", PATIENCE, || {
        let row = provider.query_one("select pgq.force_tick('q')", &[])?;
        let newest: i64 = row.get(0);
        let stored: i64 = pair
            .subscriber()?
            .query_one("select londiste.get_last_tick('replay')", &[])?
            .get(0);
        Ok(newest > stored + 1)
    })?;
    provider.batch_execute(
        "delete from pgq.tick where tick_id < (select max(tick_id) from pgq.tick)",
    )?;
    let refused = pair.replay_program().output()?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.stderr.contains("changes are lost"),
        "{}",
        refused.stderr
    );
    // The advice helps.
    pair.londiste(&["--reset"])?;
    pair.londiste(&["subscriber", "resync", "--all"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 1);
    Ok(())
}

#[test]
fn a_job_under_another_name_does_not_begin_at_the_newest_tick() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into t values (1, 'x')")?;
    pair.catch_up()?;
    replay.kill()?;
    provider.batch_execute("insert into t values (2, 'x')")?;
    let renamed = |line: &str| {
        Program::new("londiste", pair.dir())
            .args(["renamed.ini"])
            .args(line.split(' '))
            .output()
    };
    let consumers =
        "select string_agg(consumer_name, ' ' order by 1) from pgq.get_consumer_info('q')";
    pair.write_ini("renamed", "")?;
    // Whether or not somebody registered it already.
    for prepare in ["provider tables", "subscriber register"] {
        renamed(prepare)?;
        let refused = renamed("replay --once")?;
        assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
        let log = std::fs::read_to_string(pair.path("renamed.log"))?;
        assert!(
            log.contains("If the job was renamed, set pgq_consumer_id = replay."),
            "{log}"
        );
    }
    let positions: i64 = pair
        .subscriber()?
        .query_one("select count(*) from londiste.completed", &[])?
        .get(0);
    assert_eq!(positions, 1);
    provider.batch_execute("select pgq.unregister_consumer('q', 'renamed')")?;

    pair.write_ini("renamed", "pgq_consumer_id = replay")?;
    let mut replay = Program::new("londiste", pair.dir())
        .args(["renamed.ini", "replay"])
        .spawn()?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 2);
    let registered: String = provider.query_one(consumers, &[])?.get(0);
    assert_eq!(registered, "replay");
    replay.kill()?;

    // A copy of the database of another subscriber gets everything anew.
    provider.batch_execute("insert into t values (3, 'x')")?;
    pair.write_ini("renamed", "")?;
    let resynced = renamed("subscriber resync --all")?;
    assert!(resynced.status.success(), "{}", resynced.stderr);
    let _replay = Program::new("londiste", pair.dir())
        .args(["renamed.ini", "replay"])
        .spawn()?;
    pair.wait_ok(&["public.t"])?;
    assert_eq!(pair.assert_equal(ALL)?, 3);
    Ok(())
}

/// Another name of the job, whose old consumer was unregistered by hand with a change to come.
fn renamed() -> TestResult<(Pair, postgres::Client)> {
    let (pair, mut replay) = Pair::simple()?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into t values (1, 'x')")?;
    pair.catch_up()?;
    replay.kill()?;
    provider.batch_execute(
        "insert into t values (2, 'x'); select pgq.unregister_consumer('q', 'replay')",
    )?;
    pair.write_ini("renamed", "")?;
    Ok((pair, provider))
}

fn run_renamed(pair: &Pair, line: &str) -> TestResult<testkit::Output> {
    Program::new("londiste", pair.dir())
        .args(["renamed.ini"])
        .args(line.split(' '))
        .output()
}

/// What the job says that refuses to start.
fn refusal(pair: &Pair) -> TestResult<String> {
    let log = pair.path("renamed.log");
    if log.exists() {
        std::fs::remove_file(&log)?;
    }
    let refused = run_renamed(pair, "replay --once")?;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    let log = std::fs::read_to_string(log)?;
    assert!(
        log.contains("subscriber_db holds the position of consumer replay, tick "),
        "{log}"
    );
    let positions: i64 = (pair.subscriber()?)
        .query_one("select count(*) from londiste.completed", &[])?
        .get(0);
    assert_eq!(positions, 1);
    Ok(log)
}

/// Has replay run under the new name until all rows are there.
fn goes_on(pair: &Pair, rows: i64) -> TestResult {
    let _replay = Program::new("londiste", pair.dir())
        .args(["renamed.ini", "replay"])
        .spawn()?;
    let mut subscriber = pair.subscriber()?;
    wait_until(&format!("{rows} rows"), PATIENCE, || {
        let row = subscriber.query_one("select count(*) from t", &[])?;
        Ok(row.get::<_, i64>(0) == rows)
    })?;
    assert_eq!(pair.assert_equal(ALL)?, u64::try_from(rows)?);
    Ok(())
}

#[test]
fn a_job_does_not_begin_where_another_that_was_unregistered_did_not_end() -> TestResult {
    let (pair, _provider) = renamed()?;
    // Whether or not somebody registered it already.
    for prepare in ["provider tables", "subscriber register"] {
        run_renamed(&pair, prepare)?;
        let log = refusal(&pair)?;
        assert!(
            log.contains("If the job was renamed, set pgq_consumer_id = replay, and replay goes on at that tick."),
            "{log}"
        );
    }
    pair.write_ini("renamed", "pgq_consumer_id = replay")?;
    goes_on(&pair, 2)
}

#[test]
fn a_job_begins_where_one_that_was_unregistered_has_ended() -> TestResult {
    let (pair, mut provider) = renamed()?;
    let (_, applied) = pair.force_tick()?;
    provider.execute(
        "select pgq.register_consumer_at('q', 'renamed', $1)",
        &[&applied],
    )?;
    goes_on(&pair, 2)
}

#[test]
fn tables_of_an_unregistered_job_whose_tick_is_gone_are_copied_again() -> TestResult {
    let (mut pair, mut provider) = renamed()?;
    let (newest, applied) = pair.force_tick()?;
    assert!(applied <= newest);
    wait_until("another tick", PATIENCE, || {
        Ok(pair.force_tick()?.0 > newest)
    })?;
    pair.ticker = None;
    provider.execute("delete from pgq.tick where tick_id <= $1", &[&applied])?;
    let log = refusal(&pair)?;
    assert!(
        log.contains("That tick is gone from the queue, and what came after it may be, too: run \"londiste INI subscriber resync --all\""),
        "{log}"
    );
    pair.start_ticker()?;
    assert!(
        run_renamed(&pair, "subscriber resync --all")?
            .status
            .success()
    );
    goes_on(&pair, 2)
}

#[test]
fn a_position_that_is_said_to_mean_nothing_is_forgotten() -> TestResult {
    let (pair, mut provider) = renamed()?;
    refusal(&pair)?;
    // Somebody has brought the tables up to date by other means.
    (pair.subscriber()?).batch_execute("insert into t values (2, 'x')")?;
    let (newest, _) = pair.force_tick()?;
    wait_until("another tick", PATIENCE, || {
        Ok(pair.force_tick()?.0 > newest)
    })?;
    let reset = run_renamed(&pair, "--reset --set pgq_consumer_id=replay")?;
    assert!(reset.status.success(), "{}", reset.stderr);
    assert!(run_renamed(&pair, "subscriber register")?.status.success());
    provider.batch_execute("insert into t values (3, 'x')")?;
    goes_on(&pair, 3)
}

#[test]
fn a_job_of_another_queue_begins_beside_a_position_of_the_first() -> TestResult {
    let (pair, mut provider) = renamed()?;
    let table = "create table other (id int primary key)";
    provider.batch_execute(table)?;
    (pair.subscriber()?).batch_execute(table)?;
    for line in [
        "provider install",
        "provider add other",
        "subscriber add other --expect-sync",
    ] {
        let done = run_renamed(&pair, &format!("{line} --set pgq_queue_name=second"))?;
        assert!(done.status.success(), "{line}: {}", done.stderr);
    }
    provider.batch_execute("select pgq.ticker('second')")?;
    let done = run_renamed(&pair, "replay --once --set pgq_queue_name=second")?;
    assert!(done.status.success(), "{}", done.stderr);
    let ours: i64 = (pair.subscriber()?)
        .query_one("select londiste.get_last_tick('renamed')", &[])?
        .get(0);
    assert!(ours > 0);
    Ok(())
}

#[test]
fn rewinding_makes_tables_in_copy_start_over() -> TestResult {
    let (pair, mut replay) = Pair::simple()?;
    pair.catch_up()?;
    replay.kill()?;
    pair.subscriber()?.batch_execute(
        "update londiste.subscriber_table set merge_state = 'wanna-sync:1', snapshot = '3:3:'",
    )?;
    let stored: i64 = pair
        .subscriber()?
        .query_one("select londiste.get_last_tick('replay')", &[])?
        .get(0);
    // Where the queue does not hold the tick any more nothing has changed, and it says what to do.
    pair.subscriber()?
        .batch_execute("select londiste.set_last_tick('replay', 0)")?;
    let refused = Program::new("londiste", pair.dir())
        .args(["replay.ini", "--rewind"])
        .output()?;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("tick not found: 0: queue q does not hold")
            && refused.stderr.contains("subscriber resync --all"),
        "{}",
        refused.stderr
    );
    assert_eq!(pair.state("public.t")?, "wanna-sync:1");
    pair.subscriber()?
        .execute("select londiste.set_last_tick('replay', $1)", &[&stored])?;
    pair.londiste(&["--rewind"])?;
    assert_eq!(pair.state("public.t")?, "-");
    pair.provider()?
        .batch_execute("insert into t values (1, 'x')")?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 1);
    pair.assert_tidy()
}

/// Copies the files of a stopped server.
fn copy_files(from: &Path, to: &Path) -> TestResult {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    match copied.success() {
        true => Ok(()),
        false => Err(format!("cannot copy {}", from.display()).into()),
    }
}

/// As if a standby had taken over that did not have everything: its next tick has the number of the one that is lost.
#[test]
fn a_provider_that_lost_its_newest_tick_is_not_taken_for_the_one_that_had_it() -> TestResult {
    let (mut pair, mut replay) = Pair::simple()?;
    pair.provider()?
        .batch_execute("insert into t values (1, 'old')")?;
    pair.catch_up()?;
    // No tick but those that are asked for, and replay has done with all that are there.
    pair.ticker = None;
    wait_until("replay to finish the last batch", PATIENCE, || {
        let level =
            "select max(t.tick_id) = min(s.sub_last_tick) from pgq.tick t, pgq.subscription s";
        Ok(pair.provider()?.query_one(level, &[])?.get(0))
    })?;
    replay.signal(Signal::INT)?;
    replay.wait(PATIENCE)?;
    let (data, backup) = (pair.provider.data_dir(), pair.path("backup"));
    pair.provider.stop(Shutdown::Fast)?;
    copy_files(&data, &backup)?;
    pair.provider.start_again()?;
    let write = |pair: &Pair, row: &str| -> TestResult<i64> {
        let mut provider = pair.provider()?;
        provider.batch_execute(&format!("insert into t values ({row})"))?;
        provider.batch_execute("select pgq.force_tick('q')")?;
        provider.batch_execute("select pgq.ticker('q')")?;
        Ok(provider
            .query_one("select max(tick_id) from pgq.tick", &[])?
            .get(0))
    };
    let applied = |pair: &Pair| -> TestResult<Option<i64>> {
        let row = pair
            .subscriber()?
            .query_one("select londiste.get_last_tick('replay')", &[])?;
        Ok(row.get(0))
    };
    let tick = write(&pair, "2, 'lost'")?;
    let mut replay = pair.replay()?;
    wait_until("replay to apply it", PATIENCE, || {
        Ok(applied(&pair)? == Some(tick))
    })?;
    replay.signal(Signal::INT)?;
    replay.wait(PATIENCE)?;

    pair.provider.stop(Shutdown::Kill)?;
    std::fs::remove_dir_all(&data)?;
    std::fs::rename(&backup, &data)?;
    pair.provider.start_again()?;
    let mut replay = pair.replay()?;
    pair.wait_log("and on the provider that number is not reached")?;
    let status = Program::new("londiste", pair.dir())
        .args(["replay.ini", "status"])
        .output()?;
    let advised = status.stdout.lines().any(|line| {
        line.trim_start().starts_with("-> londiste replay.ini ")
            && line.ends_with("subscriber resync --all")
    });
    assert!(advised, "{}", status.stdout);
    assert_eq!(write(&pair, "3, 'other'")?, tick);
    pair.wait_log("and on the provider that number is another one")?;
    assert_eq!(applied(&pair)?, Some(tick));
    replay.signal(Signal::INT)?;
    replay.wait(PATIENCE)?;
    let refused = Program::new("londiste", pair.dir())
        .args(["replay.ini", "--rewind"])
        .output()?;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("Lost position: tick "),
        "{}",
        refused.stderr
    );
    // The advice helps.
    pair.start_ticker()?;
    pair.londiste(&["--reset"])?;
    pair.londiste(&["subscriber", "resync", "--all"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 2);
    pair.assert_tidy()
}
