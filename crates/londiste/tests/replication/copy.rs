//! Copying a table while it is written, and handing it over.

use std::time::{Duration, Instant};

use postgres::Client;
use testkit::{TestResult, wait_until};

use crate::support::{Load, PATIENCE, Pair, Setting};

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

const ALL: &str = "select * from t order by id";

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
    pair.assert_tidy()
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
    pair.assert_tidy()
}

#[test]
fn an_idle_small_table_is_ok_within_three_seconds() -> TestResult {
    // The defaults of both programs, as a user has them.
    let pair = Pair::with(Setting {
        schema: BUSY,
        lines: "loop_delay = 1.0\nsync_poll = 0.2",
    })?;
    pair.provider()?
        .batch_execute("insert into t select i, 'old' from generate_series(1, 100) i")?;
    let _replay = pair.replay()?;
    wait_until("replay to be attached", PATIENCE, || {
        let row = pair
            .subscriber()?
            .query_one("select londiste.get_last_tick('replay')", &[])?;
        Ok(row.get::<_, Option<i64>>(0).is_some())
    })?;
    pair.add(&["t"])?;
    let start = Instant::now();
    pair.wait_ok(&["public.t"])?;
    let taken = start.elapsed();
    assert!(taken < Duration::from_secs(3), "took {taken:?}");
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 100);
    Ok(())
}
