//! Copying a table while it is written, and handing it over.

use postgres::Client;
use rustix::process::Signal;
use testkit::{Shutdown, TestResult, wait_until};

use crate::support::{ALL, Load, PATIENCE, Pair, Setting};

/// A table that is written all the time, and one that takes a while to copy.
const BUSY: &str = "create table t (id int primary key, data text, n int not null default 0);
    create index t_data on t (data);
    create table big (id int primary key, filler text)";

/// Inserts, updates, deletes and changes keys, in transactions of their own, some rolled back.
fn write(client: &mut Client, number: u64) -> TestResult {
    let id = i32::try_from(number)? * 10;
    let mut tx = client.transaction()?;
    tx.batch_execute(&format!(
        "insert into t select {id} + i, 'load ' || i from generate_series(1, 5) i; \
         update t set n = n + 1 where id in ({id} + 1, {id} - 9, {id} - 99); \
         delete from t where id = {id} - 7; \
         update t set id = id + 5 where id = {id} + 2"
    ))?;
    if number % 7 == 3 {
        tx.rollback()?;
    } else {
        tx.commit()?;
    }
    Ok(())
}

#[test]
fn a_table_is_added_while_it_is_written() -> TestResult {
    let pair = Pair::start(BUSY)?;
    pair.provider()?
        .batch_execute("insert into t select -i, 'old' from generate_series(1, 5000) i")?;
    let _replay = pair.replay()?;
    let load = Load::start(pair.provider()?, write);
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    let steps = load.finish()?;
    pair.catch_up()?;
    assert!(pair.assert_equal(ALL)? > 5000);
    assert!(steps > 10, "only {steps} steps");
    pair.assert_tidy()?;
    pair.assert_quiet()
}

#[test]
fn who_looks_rarely_hears_of_changes_at_once() -> TestResult {
    let pair = Pair::start(BUSY)?;
    pair.provider()?
        .batch_execute("insert into t select i, 'old' from generate_series(1, 100) i")?;
    let rarely = ["--set", "loop_delay=600", "--set", "sync_poll=300"];
    let mut replay = pair.replay_program().args(rarely).spawn()?;
    pair.add(&["t", "big"])?;
    // In less than the time between two looks.
    pair.wait_ok(&["public.t", "public.big"])?;
    assert_eq!(pair.assert_equal(ALL)?, 100);
    replay.signal(Signal::INT)?;
    assert!(replay.wait(PATIENCE)?.success());
    pair.assert_quiet()
}

#[test]
fn transactions_open_across_the_copy_are_applied_once() -> TestResult {
    let pair = Pair::start(BUSY)?;
    pair.provider()?
        .batch_execute("insert into t select i, 'old' from generate_series(1, 100) i")?;
    let _replay = pair.replay()?;
    pair.add_on_provider(&["t"])?;
    // Open before the copy, committed when it is in the hands of the copy process, and when it is ok.
    let mut first = pair.provider()?;
    let mut first = first.transaction()?;
    first.batch_execute(
        "insert into t values (1001, 'first'); update t set n = 1 where id = 1; savepoint s; \
         update t set n = 100 where id = 3; rollback to s; delete from t where id = 4",
    )?;
    let mut second = pair.provider()?;
    let mut second = second.transaction()?;
    second
        .batch_execute("insert into t values (1002, 'second'); update t set n = 2 where id = 2")?;
    pair.add_on_subscriber(&["t"])?;
    pair.wait_copied("public.t")?;
    first.commit()?;
    pair.wait_ok(&["public.t"])?;
    pair.provider()?
        .batch_execute("update t set data = 'after' where id = 5")?;
    pair.catch_up_to_open()?;
    second.commit()?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 101);
    pair.assert_tidy()?;
    pair.assert_quiet()
}

#[test]
fn a_table_of_an_idle_queue_does_not_wait_for_its_ticks() -> TestResult {
    let pair = Pair::start(BUSY)?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into t select i, 'old' from generate_series(1, 100) i")?;
    let _replay = pair.replay()?;
    wait_until("replay to be attached", PATIENCE, || {
        let row = pair
            .subscriber()?
            .query_one("select londiste.get_last_tick('replay')", &[])?;
        Ok(row.get::<_, Option<i64>>(0).is_some())
    })?;
    // From here on only ticks that somebody asks for.
    provider.batch_execute(
        "update pgq.queue set queue_ticker_max_lag = '1 hour', queue_ticker_idle_period = '1 hour'",
    )?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    assert_eq!(pair.assert_equal(ALL)?, 100);
    Ok(())
}

#[test]
fn resync_copies_again_under_load() -> TestResult {
    let pair = Pair::start(BUSY)?;
    pair.provider()?
        .batch_execute("insert into t select -i, 'old' from generate_series(1, 1000) i")?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    let load = Load::start(pair.provider()?, write);
    for _ in 0..3 {
        pair.subscriber()?.batch_execute("delete from t")?;
        pair.londiste(&["subscriber", "resync", "t"])?;
        wait_until("the copy to begin", PATIENCE, || {
            Ok(pair.state("public.t")? != "-" && pair.state("public.t")? != "ok")
        })?;
        pair.wait_ok(&["public.t"])?;
    }
    load.finish()?;
    pair.catch_up()?;
    assert!(pair.assert_equal(ALL)? > 1000);
    pair.assert_tidy()?;
    pair.assert_quiet()
}

#[test]
fn a_copy_killed_again_and_again_loses_nothing() -> TestResult {
    let pair = Pair::start(BUSY)?;
    pair.provider()?
        .batch_execute("insert into t select -i, 'old' from generate_series(1, 20000) i")?;
    let mut replay = pair.replay()?;
    pair.add_on_provider(&["t"])?;
    let load = Load::start(pair.provider()?, write);
    for round in 0..6 {
        match round {
            0 => pair.add_on_subscriber(&["t"])?,
            _ => {
                pair.wait_ok(&["public.t"])?;
                pair.londiste(&["subscriber", "resync", "t"])?;
            }
        }
        let wanted = [
            "in-copy",
            "in-copy",
            "catching-up",
            "wanna-sync",
            "do-sync",
            "",
        ][round];
        // Whatever they are doing when it is found running; it may be past that already.
        wait_until(&format!("t to be {wanted}"), PATIENCE, || {
            let state = pair.state("public.t")?;
            Ok(state.starts_with(wanted) || state == "ok")
        })
        .map_err(|error| pair.explain(error))?;
        if pair.copy_pid().is_some() {
            // It may have ended by itself since.
            let _ = pair.kill_copy();
        }
        if round % 2 == 1 {
            replay.kill()?;
            replay = pair.replay()?;
        }
    }
    pair.wait_ok(&["public.t"])?;
    load.finish()?;
    pair.catch_up()?;
    assert!(pair.assert_equal(ALL)? > 20000);
    pair.assert_tidy()
}

#[test]
fn removing_a_table_ends_its_copy() -> TestResult {
    let pair = Pair::start(BUSY)?;
    pair.provider()?
        .batch_execute("insert into t select i, 'new' from generate_series(1, 100) i")?;
    pair.subscriber()?
        .batch_execute("insert into t values (-1, 'kept')")?;
    let _replay = pair.replay()?;
    // The copy cannot get past the beginning.
    let mut blocker = pair.provider()?;
    let mut blocker = blocker.transaction()?;
    pair.add_on_provider(&["t"])?;
    blocker.batch_execute("lock table t in access exclusive mode")?;
    pair.add_on_subscriber(&["t"])?;
    wait_until("the copy to hold the table", PATIENCE, || {
        let row = pair.subscriber()?.query_one(
            "select count(*) from pg_locks where relation = 't'::regclass \
             and mode = 'AccessExclusiveLock'",
            &[],
        )?;
        Ok(row.get::<_, i64>(0) > 0)
    })?;
    pair.londiste(&["subscriber", "remove", "t"])?;
    // Its session is ended while it waits for the provider.
    let rows: i64 = pair
        .subscriber()?
        .query_one("select count(*) from t where id = -1", &[])?
        .get(0);
    assert_eq!(rows, 1, "nothing of the copy is there");
    blocker.commit()?;
    wait_until("the copy to leave", PATIENCE, || {
        Ok(pair.copy_pid().is_none())
    })?;
    pair.assert_tidy()?;
    // And it can come back.
    pair.add_on_subscriber(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 100);
    Ok(())
}

#[test]
fn expected_sync_needs_no_copy() -> TestResult {
    let pair = Pair::start(BUSY)?;
    for side in [pair.provider()?, pair.subscriber()?].iter_mut() {
        side.batch_execute("insert into t select i, 'same' from generate_series(1, 10) i")?;
    }
    let _replay = pair.replay()?;
    pair.add_on_provider(&["t"])?;
    pair.londiste(&["subscriber", "add", "t", "--expect-sync"])?;
    assert_eq!(pair.state("public.t")?, "ok");
    pair.provider()?
        .batch_execute("update t set n = 5 where id = 5; delete from t where id = 6")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 9);
    assert!(!pair.log()?.contains("Launching copy process"));
    Ok(())
}

#[test]
fn skipped_truncate_keeps_rows_and_a_later_resync_does_not() -> TestResult {
    let pair = Pair::start(BUSY)?;
    pair.subscriber()?
        .batch_execute("insert into t values (-1, 'local')")?;
    pair.provider()?
        .batch_execute("insert into t values (1, 'copied')")?;
    // The first two copies die: one with the rows in its transaction, one as soon as they are committed.
    let failpoints: Vec<String> = (["before_commit", "copied"].iter())
        .map(|step| {
            format!(
                "copy.{step}=return(kill-once:{})",
                pair.path(step).display()
            )
        })
        .collect();
    let replay = pair
        .replay_program()
        .env("FAILPOINTS", failpoints.join(";"));
    let _replay = replay.spawn()?;
    pair.add_on_provider(&["t"])?;
    pair.londiste(&["subscriber", "add", "t", "--skip-truncate"])?;
    pair.wait_ok(&["public.t"])?;
    let died = pair.path("before_commit").exists() && pair.path("copied").exists();
    assert_eq!(died, cfg!(feature = "failpoints"));
    let rows = |pair: &Pair| -> TestResult<i64> {
        let row = pair
            .subscriber()?
            .query_one("select count(*) from t", &[])?;
        Ok(row.get(0))
    };
    assert_eq!(rows(&pair)?, 2);
    pair.londiste(&["subscriber", "resync", "t"])?;
    pair.wait_log("public.t: truncating")?;
    pair.wait_ok(&["public.t"])?;
    assert_eq!(rows(&pair)?, 1);
    Ok(())
}

#[test]
fn other_sessions_see_how_far_a_copy_is() -> TestResult {
    let pair = Pair::start("create table t (id int primary key, v text)")?;
    pair.provider()?.batch_execute(
        "insert into t select g, repeat('x', 5000) from generate_series(1, 1500) g; analyze t",
    )?;
    // Takes its time for each row, until it is told not to.
    let mut subscriber = pair.subscriber()?;
    subscriber.batch_execute(
        "create table go (); drop table go;
         create function slow(int) returns bool language plpgsql as
         $$ begin
                if to_regclass('public.go') is null then perform pg_sleep(0.01); end if;
                return true;
            end $$;
         alter table t add check (slow(id))",
    )?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    wait_until("progress", PATIENCE, || {
        let run = pair.londiste(&["subscriber", "tables"])?;
        Ok(run.stdout.contains(" rows of about 1500 ("))
    })?;
    subscriber.batch_execute("create table public.go ()")?;
    pair.wait_ok(&["public.t"])?;
    let left: i64 = subscriber
        .query_one("select count(*) from londiste.copy_progress", &[])?
        .get(0);
    assert_eq!(left, 0);
    Ok(())
}

#[test]
fn several_tables_are_copied_at_once() -> TestResult {
    let pair = Pair::with(Setting {
        lines: "parallel_copies = 2",
        schema: "create table a (id int primary key); create table b (id int primary key);
                 create table \"C/c\" (id int primary key); create table d (id int primary key)",
        ..Setting::default()
    })?;
    let mut provider = pair.provider()?;
    let insert = |from: i32| {
        ["a", "b", "\"C/c\"", "d"]
            .map(|table| {
                format!("insert into {table} select i from generate_series({from}, {from} + 99) i")
            })
            .join(";")
    };
    provider.batch_execute(&insert(0))?;
    // Two copies stand at their locks at the same time.
    let mut blocker = pair.provider()?;
    let mut blocker = blocker.transaction()?;
    let _replay = pair.replay()?;
    pair.add_on_provider(&["a", "b", "C/c", "d"])?;
    blocker.batch_execute("lock table a, b, \"C/c\", d in access exclusive mode")?;
    pair.add_on_subscriber(&["a", "b", "C/c", "d"])?;
    wait_until("two copies to be registered", PATIENCE, || {
        let row = pair.provider()?.query_one(
            "select count(*) from pgq.get_consumer_info('q') where consumer_name like 'replay\\_copy.%'",
            &[],
        )?;
        Ok(row.get::<_, i64>(0) == 2)
    })
    .map_err(|error| pair.explain(error))?;
    blocker.commit()?;
    provider.batch_execute(&insert(1000))?;
    pair.wait_ok(&["public.a", "public.b", "public.C/c", "public.d"])?;
    provider.batch_execute(&insert(2000))?;
    pair.catch_up()?;
    for table in ["a", "b", "\"C/c\"", "d"] {
        assert_eq!(
            pair.assert_equal(&format!("select * from {table} order by id"))?,
            300
        );
    }
    pair.assert_tidy()?;
    pair.assert_quiet()
}

#[test]
fn the_largest_of_several_tables_is_copied_first() -> TestResult {
    let pair = Pair::with(Setting {
        lines: "parallel_copies = 2",
        schema: "create table a (id int primary key); create table b (id int primary key);
                 create table large (id int primary key); create table larger (id int primary key)",
        ..Setting::default()
    })?;
    pair.provider()?.batch_execute(
        "insert into large select i from generate_series(1, 2000) i;
         insert into larger select i from generate_series(1, 3000) i;
         analyze large; analyze larger",
    )?;
    // Replay finds all of them, or what is added first.
    let all = ["a", "b", "large", "larger"];
    pair.add(&all)?;
    let _replay = pair.replay()?;
    pair.wait_ok(
        &all.map(|table| format!("public.{table}"))
            .each_ref()
            .map(String::as_str),
    )?;
    let order = |log: &str, before: &str| -> Vec<String> {
        (log.lines())
            .filter_map(|line| Some(line.split_once(before)?.1.to_owned()))
            .collect()
    };
    let added = order(&pair.log()?, "Adding public.");
    assert_eq!(
        added[4..],
        ["larger", "large", "a", "b"],
        "on the subscriber"
    );
    let mut first = order(&pair.log()?, "Starting full copy of public.");
    first.truncate(2);
    first.sort();
    assert_eq!(first, ["large", "larger"]);
    pair.catch_up()?;
    for table in ["a", "large", "larger"] {
        pair.assert_equal(&format!("select * from {table} order by id"))?;
    }
    pair.assert_tidy()?;
    pair.assert_quiet()
}

#[test]
fn a_copy_whose_registration_was_lost_starts_over() -> TestResult {
    let pair = Pair::start(BUSY)?;
    pair.provider()?
        .batch_execute("insert into t select -i, 'old' from generate_series(1, 100) i")?;
    let mut replay = pair.replay()?;
    pair.add_on_provider(&["t"])?;
    pair.catch_up()?;
    pair.add_on_subscriber(&["t"])?;
    pair.wait_copied("public.t")?;
    // Replay away, the copy can only wait.
    replay.kill()?;
    if pair.copy_pid().is_some() {
        pair.kill_copy()?;
    }
    if pair.state("public.t")? == "ok" {
        // Too late this time; what follows is still true.
        pair.londiste(&["subscriber", "resync", "t"])?;
    }
    pair.provider()?.batch_execute(
        "select pgq.unregister_consumer('q', 'replay_copy'); insert into t values (7, 'new')",
    )?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 101);
    pair.assert_tidy()
}

#[test]
fn a_copy_without_replay_does_not_outlive_its_servers() -> TestResult {
    let mut pair = Pair::start(BUSY)?;
    let mut replay = pair.replay()?;
    let mut blocker = pair.provider()?;
    let mut blocker = blocker.transaction()?;
    pair.add_on_provider(&["t"])?;
    blocker.batch_execute("lock table t in access exclusive mode")?;
    pair.add_on_subscriber(&["t"])?;
    wait_until("the copy to run", PATIENCE, || {
        Ok(pair.copy_pid().is_some())
    })?;
    replay.kill()?;
    drop(blocker);
    pair.provider.stop(Shutdown::Immediate)?;
    pair.subscriber.stop(Shutdown::Immediate)?;
    wait_until("the copy to leave", PATIENCE, || {
        Ok(pair.copy_pid().is_none())
    })
}

#[test]
fn a_copy_that_lives_on_is_found_by_the_next_replay() -> TestResult {
    let pair = Pair::start(BUSY)?;
    pair.provider()?
        .batch_execute("insert into t select -i, 'old' from generate_series(1, 100) i")?;
    let mut replay = pair.replay()?;
    let mut blocker = pair.provider()?;
    let mut blocker = blocker.transaction()?;
    pair.add_on_provider(&["t"])?;
    blocker.batch_execute("lock table t in access exclusive mode")?;
    pair.add_on_subscriber(&["t"])?;
    wait_until("the copy to run", PATIENCE, || {
        Ok(pair.copy_pid().is_some())
    })?;
    let copy = pair.copy_pid();
    replay.kill()?;
    let _replay = pair.replay()?;
    pair.provider()?
        .batch_execute("select pgq.force_tick('q')")?;
    wait_until("the new replay to get on", PATIENCE, || {
        Ok(pair.log()?.matches("count: 0").count() > 1)
    })?;
    assert_eq!(pair.copy_pid(), copy);
    blocker.commit()?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.log()?.matches("Launching copy process").count(), 1);
    assert_eq!(pair.assert_equal(ALL)?, 100);
    pair.assert_tidy()
}

#[test]
fn daemons_are_stopped_together() -> TestResult {
    let pair = Pair::start(BUSY)?;
    let replay = testkit::Job::new(pair.path("replay.pid"));
    pair.londiste(&["replay", "-d"])?;
    replay.wait_alive(PATIENCE)?;
    let mut blocker = pair.provider()?;
    let mut blocker = blocker.transaction()?;
    pair.add_on_provider(&["t"])?;
    blocker
        .batch_execute("insert into t values (1, 'x'); lock table t in access exclusive mode")?;
    pair.add_on_subscriber(&["t"])?;
    wait_until("the copy to run", PATIENCE, || {
        Ok(pair.copy_pid().is_some())
    })
    .map_err(|error| pair.explain(error))?;
    pair.londiste(&["-s"])?;
    replay.wait_gone(PATIENCE)?;
    wait_until("the copy to end", PATIENCE, || {
        Ok(pair.copy_pid().is_none())
    })?;
    blocker.commit()?;
    pair.londiste(&["replay", "-d"])?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 1);
    pair.assert_tidy()
}
