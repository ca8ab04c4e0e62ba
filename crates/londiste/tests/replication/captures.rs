//! Tables that are published in other ways than by a trigger for rows and their primary key.

use testkit::TestResult;

use crate::support::Pair;

#[test]
fn every_way_of_publishing_a_table_replicates_it() -> TestResult {
    let pair = Pair::start(
        "create table plain (id int primary key, v text);
         create table bulk (id int primary key, v text);
         create table old (id int primary key, v text);
         create table keyed (a int not null, b int not null, v text);
         create unique index by_both on keyed (b, a);
         create table log (a int, v text);
         create table parent (id int primary key);
         create table child (id int primary key, p int references parent);
         create table parts (id int primary key, v text) partition by range (id);
         create table p1 partition of parts for values from (0) to (100);
         create table p2 partition of parts for values from (100) to (200);",
    )?;
    pair.londiste(&["provider", "add", "plain", "parent", "child", "--truncate"])?;
    pair.londiste(&["provider", "add", "parts", "--truncate"])?;
    pair.londiste(&["provider", "add", "bulk", "--capture", "statement"])?;
    pair.londiste(&["provider", "add", "old", "--capture", "generic"])?;
    pair.londiste(&["provider", "add", "keyed", "--key-index", "by_both"])?;
    pair.londiste(&["provider", "add", "log", "--insert-only"])?;
    pair.londiste(&["subscriber", "add", "--all"])?;
    let _replay = pair.replay()?;
    pair.londiste(&["subscriber", "wait-sync", "--timeout", "60"])?;

    let mut db = pair.provider()?;
    for table in ["plain", "bulk", "old", "parts"] {
        db.batch_execute(&format!(
            "insert into {table} select i, i from generate_series(1, 150) i;
             update {table} set v = v || 'x' where id % 3 = 0;
             delete from {table} where id % 7 = 0;"
        ))?;
    }
    // Through a value that is free for a moment.
    for table in ["plain", "bulk"] {
        db.batch_execute(&format!("update {table} set id = id + 1000 where id < 50"))?;
    }
    db.batch_execute(
        "insert into keyed select i, 1, i from generate_series(1, 20) i;
         update keyed set b = 2, v = 'moved' where a < 5; delete from keyed where a > 15;
         insert into log values (1, 'a'), (1, 'a'), (2, null);
         insert into parent values (1), (2); insert into child values (1, 1), (2, 2);",
    )?;
    pair.catch_up()?;
    for table in [
        "plain", "bulk", "old", "keyed", "log", "parent", "child", "parts",
    ] {
        let rows = pair.assert_equal(&format!("select * from {table} t order by t::text"))?;
        assert!(rows > 0, "{table}");
    }

    db.batch_execute(
        "begin; insert into plain values (5000, 'before'); truncate plain; insert into plain values (1, 'after');
         commit;
         truncate parent, child; insert into parent values (3); insert into child values (3, 3);
         truncate parts; insert into parts values (1, 'new'), (150, 'new');",
    )?;
    pair.catch_up()?;
    for (table, expected) in [("plain", 1), ("parent", 1), ("child", 1), ("parts", 2)] {
        let rows = pair.assert_equal(&format!("select * from {table} t order by t::text"))?;
        assert_eq!(rows, expected, "{table}");
    }
    pair.assert_quiet()
}

#[test]
fn a_removal_that_is_older_than_the_subscription_does_not_end_it() -> TestResult {
    let pair = Pair::start("create table t (id int primary key, v text)")?;
    pair.add(&["t"])?;
    let replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    drop(replay);
    // Replay comes to the removal when the table is back on both sides.
    pair.londiste(&["provider", "remove", "t"])?;
    pair.londiste(&["subscriber", "remove", "t"])?;
    pair.add_on_provider(&["t"])?;
    pair.londiste(&["subscriber", "add", "t", "--expect-sync"])?;
    pair.provider()?
        .batch_execute("insert into t select i, i from generate_series(1, 10) i")?;
    let _replay = pair.replay()?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from t order by id")?, 10);
    assert_eq!(pair.state("public.t")?, "ok");
    let log = pair.log()?;
    assert!(log.contains("got new table event: \n"), "{log}");
    assert!(!log.contains("copied again"), "{log}");

    // One that the subscriber has not followed means a new copy.
    pair.londiste(&["provider", "remove", "t"])?;
    pair.add_on_provider(&["t"])?;
    pair.provider()?
        .batch_execute("insert into t values (11, 'x')")?;
    pair.catch_up()?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from t order by id")?, 11);
    pair.londiste(&["provider", "remove", "t"])?;
    pair.catch_up()?;
    assert_eq!(pair.state("public.t")?, "");
    Ok(())
}
