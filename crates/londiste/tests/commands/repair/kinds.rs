//! Tables and values of every kind, compared and repaired.

use testkit::TestResult;

use super::{report, run_fix};
use crate::replicating::{replicate, replicating};
use crate::support::{Pair, value};

#[test]
fn values_of_all_kinds_are_told_apart_and_repaired() -> TestResult {
    let columns = "n numeric, j json, b bytea, f float8, p point, d timestamptz, a text[], c char(5), x xml, o bool, \
                   u uuid, r int4range, g int generated always as (7) stored, i inet, k bit(3), y box";
    let mut pair = Pair::installed()?;
    pair.both(&format!(
        r#"create table "Odd ""Table"".x/y" ("I D" text, "order" int, {columns}, primary key ("order", "I D"))"#
    ))?;
    let mut set = replicate(pair, &[r#"public.Odd "Table".x/y"#])?;
    let table = r#""Odd ""Table"".x/y""#;
    set.pair.provider.batch_execute(&format!(
        r#"insert into {table} ("I D", "order", n, j, b, f, p, d, a, c, x, o, u, r, i, k, y)
           select e, g, 1.00, '{{"a":  1}}', '\x00ff', '-0', '(1,2)', '2026-01-01 00:00+02', array['a,b', null, ''],
                  'c', '<x/>', true, '00000000-0000-0000-0000-000000000001', '[1,5)', '1.2.3.4', '101', '(1,1),(0,0)'
             from generate_series(1, 3) g,
                  unnest(array['', E'a\tb', E'a\nb', E'a\\b', E'\x01', E'\x7f', 'Ä', 'a''b', 'NULL', E'\\N']) e"#
    ))?;
    let all = ["compare", r#"public.Odd "Table".x/y"#];
    assert_eq!(set.pair.run_args(&all)?.code, Some(0));
    assert_eq!(
        set.pair
            .run_args(&[&all[..], &["--chunk", "1"]].concat())?
            .code,
        Some(0)
    );
    for (column, wrong) in [
        ("n", "1.0"),
        ("j", r#"'{"a": 1}'"#),
        ("b", "''"),
        ("f", "0"),
        ("p", "'(1,2.5)'"),
        ("d", "null"),
        ("a", "array['a', 'b', null, '']"),
        ("c", "'C'"),
        ("x", "'<x></x>'"),
        ("o", "false"),
        ("r", "'empty'"),
        ("i", "'1.2.3.4/24'"),
        ("k", "'111'"),
        // As large as before.
        ("y", "'(2,1),(1,0)'"),
        (r#""I D""#, r#""I D" || 'z'"#),
    ] {
        set.pair.subscriber.batch_execute(&format!(
            "update {table} set {column} = {wrong} where \"order\" = 2"
        ))?;
        let run = set.pair.run_args(&all)?;
        assert_eq!(run.code, Some(3), "{column}: {}", run.log);
        let run = set.pair.run_args(&["repair", all[1]])?;
        assert_eq!(run.code, Some(0), "{column}: {}", run.log);
        run_fix(&mut set, r#"fix.public.Odd "Table".x_y.sql"#)?;
        let run = set.pair.run_args(&all)?;
        assert_eq!(run.code, Some(0), "{column}: {}", run.log);
    }
    // Once more, all at once.
    set.pair.subscriber.batch_execute(&format!(
        "update {table} set n = null, j = null, b = null, f = null, p = null, a = null, y = null;
         delete from {table} where \"order\" = 1"
    ))?;
    assert_eq!(
        set.pair.run_args(&["repair", all[1], "--apply"])?.code,
        Some(0)
    );
    assert_eq!(set.pair.run_args(&all)?.code, Some(0));
    Ok(())
}

#[test]
fn composite_values_that_hold_a_null_are_repaired() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both(
        "create type place as (street text, number int);
         create table t (id int primary key, p place)",
    )?;
    let mut set = replicate(pair, &["t"])?;
    set.pair.provider.batch_execute(
        "insert into t values (1, row('a', null)), (2, row(null, null)), (3, null), (4, row('b', 4))",
    )?;
    set.pair.ok("compare t")?;
    let wrong = "delete from t where id in (1, 2);
                 update t set p = row('b', null) where id = 4";
    set.pair.subscriber.batch_execute(wrong)?;
    let (_, json) = report(&set, "compare t --json")?;
    assert_eq!(
        (&json[0]["missing"], &json[0]["changed"]),
        (&2.into(), &1.into())
    );
    set.pair.ok("repair t")?;
    run_fix(&mut set, "fix.public.t.sql")?;
    set.pair.ok("compare t")?;
    set.pair.subscriber.batch_execute(wrong)?;
    set.pair.ok("repair t --apply")?;
    set.pair.ok("compare t")?;
    Ok(())
}

#[test]
fn identity_columns_are_repaired() -> TestResult {
    let mut set = replicating(
        "create table t (id int generated always as identity primary key,
                         n int generated always as identity, v int)",
        &["t"],
    )?;
    set.pair
        .provider
        .batch_execute("insert into t (v) select g from generate_series(1, 20) g")?;
    set.pair.ok("compare t")?;
    set.pair.subscriber.batch_execute(
        "delete from t where id in (3, 4);
         delete from t where id = 5;
         insert into t (id, n, v) overriding system value values (5, 500, 5), (40, 40, 40);
         update t set v = 0 where id = 6",
    )?;
    set.pair.ok("repair t")?;
    run_fix(&mut set, "fix.public.t.sql")?;
    set.pair.ok("compare t")?;
    Ok(())
}

#[test]
fn different_collations_and_types_are_no_differences() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.provider
        .batch_execute(r#"create table t (k text collate "C" primary key, n int, d timestamp)"#)?;
    pair.subscriber.batch_execute(
        r#"create table t (k varchar(20) collate "en-x-icu" primary key, n bigint, d timestamptz)"#,
    )?;
    pair.provider.batch_execute(
        "insert into t select chr(65 + g % 58) || g, g, timestamp '2026-01-01' + g * interval '1 s'
           from generate_series(1, 1000) g",
    )?;
    pair.subscriber
        .batch_execute("alter database subscriber set timezone = 'UTC'")?;
    let mut set = replicate(pair, &["t"])?;
    set.pair.ok("compare t --chunk 20")?;
    set.pair.subscriber.batch_execute(
        "update t set n = 0 where k in ('a32', 'B1'); delete from t where n = 500",
    )?;
    let (_, json) = report(&set, "compare t --chunk 20 --json")?;
    let wrong: i64 = value(
        &mut set.pair.subscriber,
        "select count(*) from t where n = 0",
    )?;
    assert_eq!(json[0]["changed"], wrong);
    assert_eq!(json[0]["missing"], 1);
    assert_eq!(json[0]["extra"], 0);
    set.pair.ok("repair t --apply --chunk 20")?;
    set.pair.ok("compare t --chunk 20")?;
    Ok(())
}

#[test]
fn a_table_without_a_common_key_is_compared_but_not_repaired() -> TestResult {
    let mut set = replicating(
        "create table t (id int primary key, v int not null)",
        &["t"],
    )?;
    set.pair
        .provider
        .batch_execute("insert into t select g, g from generate_series(1, 10) g")?;
    set.pair.ok("compare t")?;
    set.pair
        .subscriber
        .batch_execute("alter table t drop constraint t_pkey, add primary key (id, v)")?;
    set.pair.ok("compare t")?;
    let run = set.pair.run("repair t")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log.contains("ERROR public.t: pkeys do not match"),
        "{}",
        run.log
    );
    set.pair
        .subscriber
        .batch_execute("update t set v = 0 where id = 3")?;
    assert_eq!(set.pair.run("compare t")?.code, Some(3));
    Ok(())
}

#[test]
fn an_index_that_tells_rows_apart_serves_as_the_key() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both(
        "create table t (a text not null, b int not null, v text);
         create unique index by_both on t (b, a) include (v);
         create unique index of_some on t (b) where v = 'no';
         create table log (v text)",
    )?;
    pair.ok("provider add t --key-index by_both")?;
    pair.ok("provider add log --insert-only")?;
    let mut set = replicate(pair, &["t", "log"])?;
    set.pair.provider.batch_execute(
        "insert into t select g, g % 7, 'x' from generate_series(1, 500) g;
         insert into log values ('a'), ('a'), (null)",
    )?;
    set.pair.ok("compare t log")?;
    set.pair.subscriber.batch_execute(
        "delete from t where a in ('3', '400'); update t set v = null where b = 2 and a < '2';
         insert into t values ('new', 3, 'x'); delete from log where v is null",
    )?;
    let (code, json) = report(&set, "compare t --json --chunk 20")?;
    assert_eq!(code, Some(3));
    assert_eq!(
        (&json[0]["missing"], &json[0]["extra"]),
        (&2.into(), &1.into()),
        "{json}"
    );
    set.pair.ok("repair t")?;
    run_fix(&mut set, "fix.public.t.sql")?;
    set.pair.ok("compare t")?;
    set.pair
        .subscriber
        .batch_execute("update t set v = 'y' where b = 1")?;
    set.pair.ok("repair t --apply")?;
    set.pair.ok("compare t")?;
    // Rows that may be there twice are compared as a whole.
    assert_eq!(set.pair.run("compare log")?.code, Some(3));
    let run = set.pair.run("repair log")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log
            .contains("ERROR public.log: pkeys do not match: no primary key"),
        "{}",
        run.log
    );
    Ok(())
}

#[test]
fn partitioned_tables_are_repaired() -> TestResult {
    let mut set = replicating(
        "create table t (id int primary key, v text) partition by range (id);
         create table t1 partition of t for values from (0) to (500);
         create table t2 partition of t for values from (500) to (2000)",
        &["t"],
    )?;
    set.pair
        .provider
        .batch_execute("insert into t select g, 'x' from generate_series(1, 1000) g")?;
    set.pair.ok("compare t --chunk 30")?;
    set.pair.subscriber.batch_execute(
        "delete from t where id between 490 and 510; update t set v = 'y' where id in (1, 1000);
         insert into t values (1001, 'z')",
    )?;
    set.pair.ok("repair t")?;
    run_fix(&mut set, "fix.public.t.sql")?;
    set.pair.ok("compare t --chunk 30")?;
    Ok(())
}
