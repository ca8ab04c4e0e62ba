//! Batches that change more tables than the server has room for locks.

use postgres::Client;
use rustix::process::Signal;
use testkit::{Shutdown, TestResult, wait_until};

use crate::support::{PATIENCE, Pair};

/// Servers have room for some thousand locks more than they are set to have.
const PARTITIONS: u32 = 2400;

/// Rows of a partition.
const ROWS: u32 = 30;

/// Partitions that a tick changes: these are few enough.
const TICK: u32 = 20;

/// A pair that follows `wide`, with nothing that runs. What is written to it changes, on a subscriber with little
/// room for locks, the partitions of a table: of `wide` itself, or of one that a trigger writes to.
fn stage(directly: bool) -> TestResult<Pair> {
    let mut pair = Pair::start("")?;
    let plain = "create table wide (id int primary key, data text)";
    let parted = |table: &str| {
        format!("create table {table} (id int primary key, data text) partition by range (id)")
    };
    let (mut provider, mut subscriber) = (pair.provider()?, pair.subscriber()?);
    if directly {
        provider.batch_execute(&format!(
            "{}; create table rest partition of wide default",
            parted("wide")
        ))?;
        subscriber.batch_execute(&parted("wide"))?;
    } else {
        provider.batch_execute(plain)?;
        subscriber.batch_execute(&format!(
            "{plain}; {};
             create function side() returns trigger language plpgsql as
             $$ begin insert into side values (new.id, new.data); return new; end $$;
             create trigger side after insert on wide for each row execute function side()",
            parted("side")
        ))?;
    }
    let table = if directly { "wide" } else { "side" };
    // In several transactions, for the locks.
    subscriber.batch_execute(&format!(
        "do $$ begin for i in 0..{PARTITIONS} - 1 loop
             execute format('create table part%s partition of {table} for values from (%s) to (%s)',
                            i, i * {ROWS}, (i + 1) * {ROWS});
             commit;
         end loop; end $$"
    ))?;
    drop(subscriber);
    pair.subscriber.append_conf(
        "max_connections = 15\nmax_locks_per_transaction = 10\nmax_wal_senders = 0\n\
         max_worker_processes = 1\nautovacuum = off\nautovacuum_max_workers = 1\n",
    )?;
    pair.subscriber.restart(Shutdown::Fast)?;
    pair.add_on_provider(&["wide"])?;
    pair.londiste(&["subscriber", "add", "wide", "--expect-sync"])?;
    let mut replay = pair.replay()?;
    pair.catch_up()?;
    replay.signal(Signal::INT)?;
    replay.wait(PATIENCE)?;
    pair.ticker = None;
    Ok(pair)
}

/// Fills all partitions, a few of them before each tick.
fn backlog(provider: &mut Client) -> TestResult {
    for first in (0..PARTITIONS).step_by(TICK as usize) {
        let (from, to) = (first * ROWS, (first + TICK) * ROWS);
        provider.batch_execute(&format!(
            "insert into wide select i, 'x' from generate_series({from}, {to} - 1) i"
        ))?;
        provider.batch_execute("select pgq.ticker('q')")?;
    }
    Ok(())
}

/// Waits until all ticks are applied; who counts the rows needs room for locks.
fn wait_applied(pair: &Pair) -> TestResult {
    let newest: i64 = (pair.provider()?)
        .query_one("select max(tick_id) from pgq.tick", &[])?
        .get(0);
    let mut subscriber = pair.subscriber()?;
    wait_until("all ticks to be applied", PATIENCE, || {
        let row = subscriber.query_one("select londiste.get_last_tick('replay')", &[])?;
        Ok(row.get::<_, Option<i64>>(0) == Some(newest))
    })
    .map_err(|error| pair.explain(error))
}

/// Gives the server room for more locks.
fn make_room(pair: &mut Pair) -> TestResult {
    pair.subscriber
        .append_conf("max_locks_per_transaction = 1000")?;
    pair.subscriber.restart(Shutdown::Fast)
}

/// Numbers of events of the batches in some lines of the log, empty ones left out.
fn batches(log: &str) -> Vec<u32> {
    (log.lines())
        .filter_map(|line| {
            line.split_once("{count: ")?
                .1
                .split(',')
                .next()?
                .parse()
                .ok()
        })
        .filter(|count| *count > 0)
        .collect()
}

#[test]
fn ticks_are_not_taken_together_where_all_tables_have_more_locks_than_there_is_room_for()
-> TestResult {
    let mut pair = stage(true)?;
    backlog(&mut pair.provider()?)?;
    let mut replay = pair.replay()?;
    wait_applied(&pair)?;
    // A batch is logged after it is committed.
    wait_until("all batches to be logged", PATIENCE, || {
        Ok(batches(&pair.log()?).iter().sum::<u32>() == PARTITIONS * ROWS)
    })
    .map_err(|error| pair.explain(error))?;
    let batches = batches(&pair.log()?);
    assert_eq!(batches, vec![TICK * ROWS; (PARTITIONS / TICK) as usize]);
    pair.assert_quiet()?;
    replay.kill()?;
    make_room(&mut pair)?;
    let rows = pair.assert_equal("select * from wide order by id")?;
    assert_eq!(rows, u64::from(PARTITIONS * ROWS));
    Ok(())
}

#[test]
fn ticks_that_have_no_room_together_are_taken_one_by_one() -> TestResult {
    let mut pair = stage(false)?;
    backlog(&mut pair.provider()?)?;
    let mut replay = pair.replay()?;
    wait_applied(&pair)?;
    let log = pair.log()?;
    let told = "taking ticks one by one for a while: the server of subscriber_db has no room for more locks";
    let (_, after) = log.split_once(told).ok_or("it is not told")?;
    assert!(!after.contains(told), "{log}");
    let after = batches(after);
    assert!(after.iter().all(|batch| *batch == TICK * ROWS), "{after:?}");
    let problems = testkit::log_problems(&pair.path("replay.log"), &[told])?;
    assert!(problems.is_empty(), "{problems:#?}");
    replay.kill()?;
    make_room(&mut pair)?;
    let rows = pair.assert_equal("select * from wide order by id")?;
    assert_eq!(rows, u64::from(PARTITIONS * ROWS));
    let row = (pair.subscriber()?).query_one(
        "select count(*), count(*) = count(w.id) from side left join wide w using (id, data)",
        &[],
    )?;
    assert_eq!(
        (row.get::<_, i64>(0), row.get(1)),
        (i64::from(PARTITIONS * ROWS), true)
    );
    Ok(())
}

#[test]
fn a_tick_that_has_no_room_tells_what_the_server_lacks_and_goes_on_with_it() -> TestResult {
    let mut pair = stage(true)?;
    let mut provider = pair.provider()?;
    provider.batch_execute(&format!(
        "insert into wide select i * {ROWS}, 'x' from generate_series(0, {PARTITIONS} - 1) i"
    ))?;
    provider.batch_execute("select pgq.ticker('q')")?;
    let _replay = pair.replay()?;
    pair.wait_log("Set max_locks_per_transaction there to twice what it is, or more")?;
    let status = pair.londiste(&["status"])?.stdout;
    assert!(
        status.contains("the server of subscriber_db has no room for more locks"),
        "{status}"
    );
    make_room(&mut pair)?;
    wait_applied(&pair)?;
    let rows = pair.assert_equal("select * from wide order by id")?;
    assert_eq!(rows, u64::from(PARTITIONS));
    Ok(())
}
