//! Reading the next batch while one is applied.

use postgres::Client;
use testkit::{Running, TestResult, wait_until};

use crate::support::{PATIENCE, Pair};

const SCHEMA: &str = "
    create table free (id int primary key, data text);
    create table locked (id int primary key, data text);";

const FREE: &str = "select * from free order by id";

/// A pair whose subscriber holds up the second of three batches.
struct Stage {
    pair: Pair,
    provider: Client,
    /// Has `locked` locked.
    blocker: Client,
    _replay: Running,
    /// Ticks that end the batches.
    ticks: [i64; 3],
}

impl Stage {
    /// The third batch is what `last` does.
    fn set(last: &str) -> TestResult<Stage> {
        let pair = stopped()?;
        let mut provider = pair.provider()?;
        // What was ticked before and not applied yet.
        tick(&mut provider)?;
        let mut ticks = [0; 3];
        let batches = [
            "insert into free values (1, 'first')",
            "insert into locked values (2, 'second')",
            last,
        ];
        for (batch, end) in batches.iter().zip(&mut ticks) {
            provider.batch_execute(batch)?;
            *end = tick(&mut provider)?;
        }
        let mut blocker = pair.subscriber()?;
        blocker.batch_execute("begin; lock table locked")?;
        let replay = pair.replay()?;
        Ok(Stage {
            pair,
            provider,
            blocker,
            _replay: replay,
            ticks,
        })
    }

    /// Waits until replay hangs in the second batch and has done with reading ahead.
    fn wait_read(&mut self) -> TestResult {
        let Stage { pair, provider, .. } = self;
        // Within a transaction this would not change.
        let mut subscriber = pair.subscriber()?;
        wait_until("the third batch to be read", PATIENCE, || {
            let waits = subscriber.query_opt(
                "select from pg_stat_activity \
                 where application_name = 'replay' and wait_event_type = 'Lock'",
                &[],
            )?;
            let read = provider.query_opt(
                "select from pg_stat_activity where application_name = 'replay' \
                 and state = 'idle' and query like 'rollback%'",
                &[],
            )?;
            Ok(waits.is_some() && read.is_some())
        })
        .map_err(|error| pair.explain(error))
    }

    fn go_on(&mut self) -> TestResult {
        Ok(self.blocker.batch_execute("rollback")?)
    }

    fn wait_rows(&mut self, table: &str, count: i64) -> TestResult {
        let Stage { pair, blocker, .. } = self;
        wait_until(&format!("{count} rows in {table}"), PATIENCE, || {
            let row = blocker.query_one(&format!("select count(*) from {table}"), &[])?;
            Ok(row.get::<_, i64>(0) == count)
        })
        .map_err(|error| pair.explain(error))
    }
}

fn tick(provider: &mut Client) -> TestResult<i64> {
    provider.batch_execute("select pgq.force_tick('q'); select pgq.ticker('q')")?;
    let row = provider.query_one("select max(tick_id) from pgq.tick", &[])?;
    Ok(row.get(0))
}

#[test]
fn the_next_batch_is_read_while_one_is_applied_and_the_provider_left_as_it_was() -> TestResult {
    let mut stage = Stage::set("insert into free select i from generate_series(3, 100) i")?;
    stage.wait_read()?;
    let row = stage.provider.query_one(
        "select last_tick, next_tick from pgq.get_consumer_info('q', 'replay')",
        &[],
    )?;
    assert_eq!(
        [row.get::<_, i64>(0), row.get(1)],
        stage.ticks[..2],
        "the second batch is open"
    );
    let gone = stage.provider.execute(
        "delete from pgq.event_1 where ev_extra1 = 'public.free'",
        &[],
    )?;
    assert_eq!(gone, 99, "who reads now finds nothing");
    stage.go_on()?;
    stage.wait_rows("free", 99)?;
    stage.pair.assert_equal(FREE)?;
    stage.pair.assert_quiet()
}

#[test]
fn what_was_read_ahead_is_not_taken_for_another_batch() -> TestResult {
    let mut stage = Stage::set("insert into free values (3, 'third')")?;
    stage.wait_read()?;
    stage
        .provider
        .batch_execute("insert into free values (4, 'fourth')")?;
    tick(&mut stage.provider)?;
    let third = stage.ticks[2];
    let gone = stage
        .provider
        .execute("delete from pgq.tick where tick_id = $1", &[&third])?;
    assert_eq!(gone, 1, "the third batch goes on to the next tick");
    stage.go_on()?;
    stage.wait_rows("free", 3)?;
    stage.pair.assert_equal(FREE)?;
    stage.pair.assert_quiet()
}

#[test]
fn a_batch_that_takes_much_memory_is_not_read_ahead() -> TestResult {
    let mut stage = Stage::set(
        "insert into free select i, repeat('x', 1000000) from generate_series(3, 42) i",
    )?;
    stage.pair.wait_log("too large to be read ahead")?;
    stage.go_on()?;
    stage.wait_rows("free", 41)?;
    stage.pair.assert_equal(FREE)?;
    stage.pair.assert_quiet()
}

#[test]
fn a_provider_that_goes_away_takes_along_what_was_read_ahead() -> TestResult {
    let mut stage = Stage::set("insert into free values (3, 'third')")?;
    stage.wait_read()?;
    stage.provider.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'replay'",
        &[],
    )?;
    // Who comes back may find another batch there.
    let gone = stage
        .provider
        .execute("delete from pgq.event_1 where ev_data like '%third%'", &[])?;
    assert_eq!(gone, 1);
    stage
        .provider
        .batch_execute("insert into free values (4, 'fourth')")?;
    tick(&mut stage.provider)?;
    stage.go_on()?;
    stage.wait_rows("free", 2)?;
    let ids = stage
        .blocker
        .query("select id from free order by id", &[])?;
    let ids: Vec<i32> = ids.iter().map(|row| row.get(0)).collect();
    assert_eq!(ids, [1, 4]);
    Ok(())
}

/// A pair that follows `free` and `locked`, with nothing that runs.
pub(crate) fn stopped() -> TestResult<Pair> {
    let mut pair = Pair::start(SCHEMA)?;
    let mut replay = pair.replay()?;
    pair.add(&["free", "locked"])?;
    pair.wait_ok(&["public.free", "public.locked"])?;
    pair.catch_up()?;
    pair.assert_tidy()?;
    replay.signal(rustix::process::Signal::INT)?;
    replay.wait(PATIENCE)?;
    pair.ticker = None;
    Ok(pair)
}

/// Six ticks of 12,000 events.
fn backlog(provider: &mut Client) -> TestResult {
    for batch in 0..6 {
        provider.batch_execute(&format!(
            "insert into free select i, 'x' from generate_series({batch} * 12000 + 1, \
             {batch} * 12000 + 12000) i"
        ))?;
        // One that is forced looks like thousands of events more.
        provider.batch_execute("select pgq.ticker('q')")?;
    }
    Ok(())
}

fn applied(subscriber: &mut Client) -> TestResult<i64> {
    Ok(subscriber
        .query_one("select count(*) from free", &[])?
        .get(0))
}

fn wait_backlog(pair: &Pair) -> TestResult {
    let mut subscriber = pair.subscriber()?;
    wait_until("all rows to arrive", PATIENCE, || {
        Ok(applied(&mut subscriber)? == 72_000)
    })
    .map_err(|error| pair.explain(error))?;
    pair.assert_equal(FREE)?;
    Ok(())
}

#[test]
fn who_is_far_behind_takes_several_ticks_at_once() -> TestResult {
    let pair = stopped()?;
    let mut provider = pair.provider()?;
    backlog(&mut provider)?;
    let _replay = pair.replay()?;
    wait_backlog(&pair)?;
    let log = pair.log()?;
    let batches: Vec<&str> = (log.lines())
        .filter_map(|line| line.split_once("{count: ")?.1.split(',').next())
        .filter(|count| *count != "0")
        .collect();
    // Ticks that were forced before count as many events: the first batch may be one of a single tick.
    assert!(batches.len() <= 4, "{batches:?}");
    assert!(batches.contains(&"24000"), "{batches:?}");
    pair.assert_quiet()
}

#[cfg(feature = "failpoints")]
#[test]
fn a_crash_of_the_provider_leaves_a_batch_of_several_ticks_as_it_was() -> TestResult {
    let mut pair = stopped()?;
    backlog(&mut pair.provider()?)?;
    // What does not wait for the disk is not there for a while.
    pair.provider
        .append_conf("wal_writer_delay = 10s\nautovacuum = off")?;
    pair.provider.reload()?;
    let dir = pair.path("hold");
    std::fs::create_dir(&dir)?;
    let held = dir.join("held");
    let failpoints = format!("replay.committed=return(hold:{})", held.display());
    let _replay = (pair.replay_program())
        .env("FAILPOINTS", failpoints)
        .spawn()?;
    let mut subscriber = pair.subscriber()?;
    let mut before = 0;
    loop {
        wait_until("a batch to be committed", PATIENCE, || Ok(held.exists()))
            .map_err(|error| pair.explain(error))?;
        let now = applied(&mut subscriber)?;
        if now - before > 12_000 {
            break;
        }
        before = now;
        std::fs::remove_file(&held)?;
    }
    pair.provider.restart(testkit::Shutdown::Immediate)?;
    // Nothing is held from now on.
    std::fs::remove_dir_all(&dir)?;
    wait_backlog(&pair)
}

#[cfg(feature = "failpoints")]
#[test]
fn no_batch_is_committed_before_the_provider_is_sure_to_have_opened_it() -> TestResult {
    let mut pair = stopped()?;
    backlog(&mut pair.provider()?)?;
    let dir = pair.path("hold");
    std::fs::create_dir(&dir)?;
    let held = dir.join("held");
    let failpoints = format!("replay.committed=return(hold:{})", held.display());
    let _replay = (pair.replay_program())
        .env("FAILPOINTS", failpoints)
        .spawn()?;
    let mut subscriber = pair.subscriber()?;
    while applied(&mut subscriber)? == 0 {
        wait_until("a batch to be committed", PATIENCE, || Ok(held.exists()))
            .map_err(|error| pair.explain(error))?;
        if applied(&mut subscriber)? == 0 {
            std::fs::remove_file(&held)?;
        }
    }
    let before = applied(&mut subscriber)?;
    // From now on the provider waits for a standby that does not come.
    pair.provider
        .append_conf("synchronous_standby_names = 'nobody'")?;
    pair.provider.reload()?;
    std::fs::remove_dir_all(&dir)?;
    let mut provider = pair.provider()?;
    wait_until("the opening and the next rows to wait", PATIENCE, || {
        let opens = provider.query_opt(
            "select from pg_stat_activity \
             where application_name = 'replay' and wait_event = 'SyncRep'",
            &[],
        )?;
        let applied = subscriber.query_opt(
            "select from pg_stat_activity where application_name = 'replay' \
             and state = 'idle in transaction' and query like '%last_tick%'",
            &[],
        )?;
        Ok(opens.is_some() && applied.is_some())
    })
    .map_err(|error| pair.explain(error))?;
    assert_eq!(applied(&mut subscriber)?, before);
    pair.provider
        .append_conf("\nsynchronous_standby_names = ''")?;
    drop(provider);
    pair.provider.restart(testkit::Shutdown::Immediate)?;
    wait_backlog(&pair)
}

#[test]
fn replay_meets_no_copy_before_a_batch_of_several_ticks() -> TestResult {
    let mut pair = stopped()?;
    let (mut provider, mut subscriber) = (pair.provider()?, pair.subscriber()?);
    let start = tick(&mut provider)?;
    for id in 1..=3 {
        provider.execute("insert into free values ($1, 'x')", &[&id])?;
        provider.execute("insert into locked values ($1, 'x')", &[&id])?;
        tick(&mut provider)?;
    }
    // Replay died with a batch of three ticks open, while a copy had caught up with where it begins.
    for consumer in ["replay", "replay_copy"] {
        provider.execute(
            "select pgq.register_consumer_at('q', $1, $2)",
            &[&consumer, &start],
        )?;
        subscriber.execute(
            "select londiste.set_last_tick($1, $2)",
            &[&consumer, &start],
        )?;
    }
    let row = provider.query_one(
        "select cur_tick_id - prev_tick_id from pgq.next_batch_custom('q', 'replay', null, \
         (select max(t.tick_event_seq) - min(t.tick_event_seq) from pgq.tick t \
          where t.tick_id >= $1)::int, null)",
        &[&start],
    )?;
    assert_eq!(row.get::<_, i64>(0), 3);
    subscriber.execute(
        "update londiste.subscriber_table set merge_state = 'wanna-sync:' || $1::int8 + 1 \
         where table_name = 'public.locked'",
        &[&start],
    )?;
    pair.start_ticker()?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.locked"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(FREE)?, 3);
    assert_eq!(pair.assert_equal("select * from locked order by id")?, 3);
    pair.assert_tidy()?;
    pair.assert_quiet()
}
