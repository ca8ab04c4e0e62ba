//! `compare`, beside a running replay.

use std::time::Duration;

use testkit::{TestResult, wait_until};

use crate::replicating::{replicate, replicating};
use crate::support::{Pair, value};

#[test]
fn equal_tables_exit_with_0_and_different_ones_with_3() -> TestResult {
    let mut set = replicating(
        r#"create table "Mixed Case" ("I D" int primary key, "order" text, j json, n numeric,
                                      t timestamptz, g int generated always as (7) stored);
           create table plain (id int primary key)"#,
        &["Mixed Case", "plain"],
    )?;
    set.pair.provider.batch_execute(
        r#"insert into "Mixed Case" select g, 'x' || g, '{"a": 1}', 1.50, now()
             from generate_series(1, 100) g;
           insert into plain select generate_series(1, 10)"#,
    )?;
    let run = set.pair.ok("compare")?;
    assert!(run.log.contains("INFO srcdb: res = 100, "), "{}", run.log);
    assert!(run.log.contains("INFO dstdb: res = 10, "), "{}", run.log);
    assert!(!run.log.contains("WARNING"), "{}", run.log);

    // Same count, other text.
    set.pair
        .subscriber
        .batch_execute(r#"update "Mixed Case" set n = 1.5 where "I D" = 50"#)?;
    let run = set.pair.run("compare")?;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(
        run.log
            .contains("WARNING public.Mixed Case: Results do not match!\n"),
        "{}",
        run.log
    );
    assert_eq!(set.pair.run("compare plain")?.code, Some(0));
    assert_eq!(set.pair.run("compare --count-only")?.code, Some(0));

    let run = set
        .pair
        .run_args(&["compare", "Mixed Case", "--count-only", "--json"])?;
    assert_eq!(
        run.stdout.split_whitespace().collect::<String>(),
        r#"[{"table":"public.MixedCase","equal":true,"provider":"100","subscriber":"100"}]"#
    );
    Ok(())
}

#[test]
fn a_query_of_the_configuration_replaces_the_default() -> TestResult {
    let mut set = replicating("create table t (id int primary key, v int)", &["t"])?;
    set.pair
        .provider
        .batch_execute("insert into t values (1, 10), (2, 20)")?;
    set.pair
        .configure("compare_sql = select sum(v), max(id) from _TABLE_")?;
    let run = set.pair.ok("compare")?;
    assert!(run.log.contains("INFO srcdb: res = 30, 2\n"), "{}", run.log);
    set.pair.configure("compare_sql = select nonsense")?;
    let run = set.pair.run("compare")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log
            .contains("ERROR public.t: cannot run the comparing query on the provider: ERROR: "),
        "{}",
        run.log
    );
    Ok(())
}

#[test]
fn columns_of_one_side_are_left_out_with_a_warning() -> TestResult {
    let mut set = replicating("create table t (id int primary key, v int)", &["t"])?;
    set.pair
        .subscriber
        .batch_execute("alter table t add column own text default 'x'")?;
    set.pair
        .provider
        .batch_execute("insert into t values (1, 10)")?;
    let run = set.pair.ok("compare t")?;
    assert!(
        run.log
            .contains("WARNING public.t: Ignoring some columns\n"),
        "{}",
        run.log
    );
    Ok(())
}

#[test]
fn what_cannot_be_compared_does_not_look_equal() -> TestResult {
    let mut set = replicating("create table t (id int primary key)", &["t"])?;
    set.pair.both("create table u (id int primary key)")?;
    set.pair.subscriber.batch_execute(
        "insert into londiste.subscriber_table (queue_name, table_name, merge_state)
         values ('replic', 'public.gone', 'ok')",
    )?;
    let run = set.pair.run("compare u gone t")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log.starts_with(
            "WARNING Table not subscribed: public.u\n\
             WARNING Table public.gone does not exist on provider side\n\
             INFO Syncing public.t\nINFO Counting public.t\n"
        ),
        "{}",
        run.log
    );
    Ok(())
}

#[test]
fn a_wrong_name_is_reported_before_the_lag_of_the_consumer() -> TestResult {
    let pair = Pair::installed()?;
    let run = pair.run("compare nosuch")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(run.log, "WARNING Table not subscribed: public.nosuch\n");
    Ok(())
}

#[test]
fn a_table_under_write_load_compares_equal() -> TestResult {
    let set = replicating("create table t (id int primary key, v int)", &["t"])?;
    let mut writer = set.pair.cluster.connect("provider")?;
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| -> TestResult {
        let load = scope.spawn(|| -> TestResult<i32> {
            let mut written = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                written += 1;
                writer.execute("insert into t values ($1, $1)", &[&written])?;
                writer.execute(
                    "update t set v = v + 1 where id <= $1 and id > $1 - 5",
                    &[&written],
                )?;
            }
            Ok(written)
        });
        let runs = (0..3)
            .map(|_| set.pair.run("compare"))
            .collect::<TestResult<Vec<_>>>();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let written = load.join().expect("it does not panic")?;
        for run in runs? {
            assert_eq!(run.code, Some(0), "{run:?}");
        }
        assert!(written > 10);
        Ok(())
    })
}

#[test]
fn a_busy_table_is_given_up_and_nothing_stays_locked() -> TestResult {
    let set = replicating(
        "create table t (id int primary key); create table u (id int primary key)",
        &["t", "u"],
    )?;
    let mut writer = set.pair.cluster.connect("provider")?;
    let mut transaction = writer.transaction()?;
    transaction.batch_execute("insert into t values (1)")?;
    // By default a writer is in the way of nobody.
    set.pair.ok("compare t u --set lock_timeout=1")?;
    let run = set.pair.run("compare t u --lock --set lock_timeout=1")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log.contains(
            "ERROR public.t: cannot lock public.t within 1s: other transactions hold it\n"
        ),
        "{}",
        run.log
    );
    assert!(run.log.contains("INFO Counting public.u\n"), "{}", run.log);
    transaction.commit()?;
    set.pair.ok("compare t u --lock")?;
    Ok(())
}

#[test]
fn a_dead_replay_and_a_dead_ticker_are_told_apart() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (id int primary key)")?;
    pair.ok("provider add t")?;
    pair.ok("subscriber add t --expect-sync")?;
    let run = pair.run("compare t")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "ERROR No such consumer: replic; has replay been started?\n"
    );
    pair.provider.batch_execute("select pgq.ticker('replic')")?;
    pair.ok("subscriber register")?;
    let ticker = pair.ticker()?;
    for how in ["", " --lock"] {
        let run = pair.run(&format!("compare t --set lock_timeout=0.3{how}"))?;
        assert_eq!(run.code, Some(1));
        let lagging = "ERROR public.t: Consumer lagging too much, exiting\n";
        assert!(run.log.contains(lagging), "{}", run.log);
    }
    drop(ticker);
    let run = pair.run("compare t --lock")?;
    assert_eq!(run.code, Some(1));
    let dead = "ERROR public.t: Ticker seems dead; is pgqadm ticker running on provider_db?\n";
    assert!(run.log.contains(dead), "{}", run.log);
    // The server may not have noticed yet that the command has ended.
    wait_until("the table to be free", Duration::from_secs(30), || {
        let locks: i64 = value(
            &mut pair.provider,
            "select count(*) from pg_locks where relation = 't'::regclass",
        )?;
        Ok(locks == 0)
    })
}

#[test]
fn a_consumer_far_behind_is_not_waited_for() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (id int primary key)")?;
    pair.ok("provider add t")?;
    pair.ok("subscriber add t --expect-sync")?;
    pair.provider.batch_execute(
        "select pgq.ticker('replic');
         select pgq.register_consumer('replic', 'replic');
         update pgq.tick set tick_time = tick_time - interval '1 minute';
         select pgq.force_tick('replic');
         select pgq.ticker('replic');",
    )?;
    let run = pair.run("compare t")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "ERROR Consumer lagging too much, cannot proceed; wait until replay has caught up, or use \
         --force\n"
    );
    Ok(())
}

#[test]
fn partitioned_tables_are_copied_replicated_and_compared_with_their_partitions() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both(
        "create table p (id int primary key, v text) partition by range (id);
         create table p1 partition of p for values from (0) to (10);
         create table p2 partition of p for values from (10) to (20)",
    )?;
    pair.provider
        .batch_execute("insert into p values (1, 'a'), (2, 'b')")?;
    let mut set = replicate(pair, &["p"])?;
    set.pair.provider.batch_execute(
        "insert into p values (3, 'c'), (4, 'd');
         update p set id = 13, v = 'moved' where id = 3;
         update p set v = 'z' where id = 1;
         delete from p where id = 2",
    )?;
    let run = set.pair.ok("compare p")?;
    assert!(run.log.contains("INFO dstdb: res = 3, "), "{}", run.log);
    Ok(())
}

#[test]
fn databases_of_different_encodings_compare_by_characters() -> TestResult {
    let mut pair = Pair::empty()?;
    let mut admin = pair.cluster.connect("postgres")?;
    admin.execute("drop database subscriber with (force)", &[])?;
    admin.execute(
        "create database subscriber encoding 'LATIN1' locale 'C' template template0",
        &[],
    )?;
    pair.subscriber = pair.cluster.connect("subscriber")?;
    pair.install()?;
    pair.both("create table t (id int primary key, v text)")?;
    pair.provider
        .batch_execute("insert into t values (1, 'Ärger')")?;
    let mut set = replicate(pair, &["t"])?;
    set.pair
        .provider
        .batch_execute("insert into t values (2, 'Übermut')")?;
    set.pair.ok("compare t")?;
    set.pair
        .subscriber
        .batch_execute("update t set v = 'Ubermut' where id = 2")?;
    assert_eq!(set.pair.run("compare t")?.code, Some(3));
    Ok(())
}
