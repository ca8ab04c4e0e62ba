//! Tables streamed from one database into another.

use std::ops::ControlFlow;

use postgres::error::SqlState;
use skytools::conninfo::ConnInfo;
use skytools::db::{Connection, Isolation, Session};
use skytools::full_copy::{Copied, CopyError, FullCopy};
use skytools::table::TableName;
use skytools::{copy, quote};
use testkit::{Cluster, TestResult};

const GO_ON: fn(Copied) -> ControlFlow<()> = |_| ControlFlow::Continue(());

struct Pair {
    _cluster: Cluster,
    source: Connection,
    target: Connection,
    target_conninfo: ConnInfo,
}

/// Two databases, with `schema` run in both.
fn pair(schema: &str) -> TestResult<Pair> {
    let cluster = Cluster::start()?;
    for name in ["source", "target"] {
        cluster.create_database(name)?.batch_execute(schema)?;
    }
    let source = Connection::open("source_db", &ConnInfo::parse(&cluster.conninfo("source"))?)?;
    let target_conninfo = ConnInfo::parse(&cluster.conninfo("target"))?;
    let target = Connection::open("target_db", &target_conninfo)?;
    Ok(Pair {
        _cluster: cluster,
        source,
        target,
        target_conninfo,
    })
}

fn one<T: for<'a> postgres::types::FromSql<'a>>(db: &mut Session<'_>, sql: &str) -> T {
    db.query_typed_one(sql, &[]).expect(sql).get(0)
}

const DIGEST: &str = "select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from t";

#[test]
fn every_value_arrives_as_it_was() -> TestResult {
    let mut p = pair("create table t (id int, data text, \"From\" bytea, list text[])")?;
    p.source.batch_execute(
        r#"insert into t values (1, E'\\.', '\x00ff0a', '{a,NULL,""}'), (2, null, null, null),
              (3, E'tab\tnewline\ncr\r backslash\\ \\N', '', '{}'), (4, '', '\x5c', '{\\\\.}')"#,
    )?;
    let (mut from, mut to) = (p.source.begin()?, p.target.begin()?);
    let copied = FullCopy::new(&TableName::parse("t")).run(&mut from, &mut to, GO_ON)?;
    assert_eq!(copied.rows, 4);
    let digest: String = one(&mut from, DIGEST);
    assert_eq!(one::<String>(&mut to, DIGEST), digest);
    Ok(())
}

#[test]
fn an_empty_table_gives_nothing() -> TestResult {
    let mut p = pair("create table t (id int)")?;
    let (mut from, mut to) = (p.source.begin()?, p.target.begin()?);
    let copied = FullCopy::new(&TableName::parse("t")).run(&mut from, &mut to, GO_ON)?;
    assert_eq!(copied, Copied::default());
    to.commit()?;
    Ok(())
}

#[test]
fn rows_longer_than_a_chunk_and_tables_longer_than_a_part_arrive_whole() -> TestResult {
    let mut p = pair("create table t (id int, data text)")?;
    p.source.batch_execute(
        "insert into t values (0, repeat('long', 500000));
         insert into t select g, repeat(md5(g::text), 10) from generate_series(1, 20000) g",
    )?;
    let (mut from, mut to) = (p.source.begin()?, p.target.begin()?);
    let mut seen = Vec::new();
    let copied = FullCopy::new(&TableName::parse("t")).run(&mut from, &mut to, |copied| {
        seen.push(copied);
        ControlFlow::Continue(())
    })?;
    to.commit()?;
    assert_eq!(copied.rows, 20001);
    assert_eq!(seen.last(), Some(&copied));
    assert!(seen.len() > 10, "progress is told of each chunk: {seen:?}");
    assert!(
        seen.windows(2)
            .all(|w| w[0].bytes < w[1].bytes || w[0] == w[1])
    );
    let digest: String = one(&mut from, DIGEST);
    drop(from);
    assert_eq!(one::<String>(&mut p.target, DIGEST), digest);
    Ok(())
}

#[test]
fn frozen_rows_leave_nothing_to_vacuum() -> TestResult {
    let mut p = pair("create table t (id int, data text)")?;
    p.source.batch_execute(
        "insert into t select g, repeat(md5(g::text), 30) from generate_series(1, 3000) g",
    )?;
    let mut to = p.target.begin_with(Isolation::RepeatableRead)?;
    to.batch_execute("truncate only t")?;
    let mut from = p.source.begin()?;
    // More than one COPY makes.
    let copied = FullCopy::new(&TableName::parse("t"))
        .frozen()
        .run(&mut from, &mut to, GO_ON)?;
    to.commit()?;
    assert!(copied.bytes > 2 * 1024 * 1024, "{copied:?}");
    p.target.batch_execute("analyze t")?;
    // Behind those with rows there may be pages that the server has made in advance.
    assert!(one::<bool>(
        &mut p.target,
        "select relallvisible >= pages and pages > 100
           from pg_class, (select count(distinct (ctid::text::point)[0]) as pages from t) t
          where relname = 't'"
    ));
    let digest: String = one(&mut from, DIGEST);
    drop(from);
    assert_eq!(one::<String>(&mut p.target, DIGEST), digest);
    Ok(())
}

#[test]
fn columns_tables_and_rows_can_be_chosen() -> TestResult {
    let mut p = pair(
        "create table t (id int, \"Select\" text, n int generated always as (id * 2) stored);
         create table child () inherits (t);
         create schema s; create table s.\"Other\" (b text, a int)",
    )?;
    p.source.batch_execute(
        "insert into t select g, 'v' || g from generate_series(1, 10) g;
         insert into child values (11, 'of the child')",
    )?;
    let table = TableName::parse("t");
    let (mut from, mut to) = (p.source.begin()?, p.target.begin()?);
    let copied = FullCopy::new(&table)
        .columns(&["id", "Select"])
        .condition("id > 7")
        .into_table(&TableName::parse("s.Other"))
        .into_columns(&["a", "b"])
        .run(&mut from, &mut to, GO_ON)?;
    assert_eq!(copied.rows, 3);
    assert_eq!(
        one::<String>(
            &mut to,
            "select string_agg(a || b, ' ' order by a) from s.\"Other\""
        ),
        "8v8 9v9 10v10"
    );
    let error = FullCopy::new(&table)
        .columns(&["id", "Select"])
        .into_columns(&["a"])
        .run(&mut from, &mut to, GO_ON)
        .expect_err("lists differ");
    assert_eq!(
        error.to_string(),
        "src and dst column lists must match in length"
    );
    Ok(())
}

#[test]
fn an_error_on_the_target_ends_both_sides_soon() -> TestResult {
    let mut p = pair("create table t (id int, data text)")?;
    p.source.batch_execute(
        "insert into t select g, repeat('x', 1000) from generate_series(1, 100000) g",
    )?;
    p.target
        .batch_execute("alter table t add check (id <> 500)")?;
    let (mut from, mut to) = (p.source.begin()?, p.target.begin()?);
    let mut sent = Copied::default();
    let error = FullCopy::new(&TableName::parse("t"))
        .run(&mut from, &mut to, |copied| {
            sent = copied;
            ControlFlow::Continue(())
        })
        .expect_err("row 500 is refused");
    let CopyError::Target(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.sql_state(), Some(&SqlState::CHECK_VIOLATION));
    assert!(
        sent.bytes < 5_000_000,
        "all but a part was spared: {sent:?}"
    );
    assert!(
        from.commit().is_err(),
        "the source's transaction has failed"
    );
    assert!(to.commit().is_err(), "the target's transaction has failed");
    assert_eq!(one::<i64>(&mut p.source, "select count(*) from t"), 100_000);
    assert_eq!(one::<i64>(&mut p.target, "select count(*) from t"), 0);
    Ok(())
}

#[test]
fn an_error_on_the_source_ends_both_sides() -> TestResult {
    let mut p = pair(
        "create table t (id int);
         create function fail_at(i int) returns bool language plpgsql as
         'begin if i = 250000 then raise exception ''bad row''; end if; return true; end'",
    )?;
    p.source
        .batch_execute("insert into t select generate_series(1, 300000)")?;
    let (mut from, mut to) = (p.source.begin()?, p.target.begin()?);
    let error = FullCopy::new(&TableName::parse("t"))
        .condition("fail_at(id)")
        .run(&mut from, &mut to, GO_ON)
        .expect_err("row 250000 fails");
    let CopyError::Source(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.sql_state(), Some(&SqlState::RAISE_EXCEPTION));
    assert!(
        from.commit().is_err(),
        "the source's transaction has failed"
    );
    assert!(to.commit().is_err(), "the target's transaction has failed");
    assert_eq!(one::<i64>(&mut p.target, "select count(*) from t"), 0);
    assert_eq!(one::<i64>(&mut p.source, "select count(*) from t"), 300_000);
    Ok(())
}

#[test]
fn a_table_missing_on_the_source_is_named() -> TestResult {
    let mut p = pair("create table t (id int)")?;
    let (mut from, mut to) = (p.source.begin()?, p.target.begin()?);
    let error = FullCopy::new(&TableName::parse("nowhere"))
        .run(&mut from, &mut to, GO_ON)
        .expect_err("no such table on the source");
    assert_eq!(error.to_string(), "cannot copy from table public.nowhere");
    assert!(from.commit().is_err());
    assert!(to.commit().is_err());
    assert!(p.source.is_open() && p.target.is_open());
    Ok(())
}

/// The driver loses step with the server when COPY FROM fails before it reads: each later answer
/// would be taken for that to the statement after it.
#[test]
fn a_target_that_refuses_at_once_is_not_used_any_more() -> TestResult {
    let mut p = pair(
        "create table t (id int);
         create function refuse() returns trigger language plpgsql as
         'begin raise exception ''not today''; end'",
    )?;
    p.source.batch_execute(
        "insert into t select generate_series(1, 100000); create table only_here (id int)",
    )?;
    p.target.batch_execute(
        "create trigger refuse before insert on t for each statement execute function refuse()",
    )?;
    for (table, reason) in [("t", "not today"), ("only_here", "does not exist")] {
        let mut target = Connection::open("target_db", &p.target_conninfo)?;
        let (mut from, mut to) = (p.source.begin()?, target.begin()?);
        let error = FullCopy::new(&TableName::parse(table))
            .run(&mut from, &mut to, GO_ON)
            .expect_err("refused");
        let CopyError::Target(error) = error else {
            panic!("{error:?}")
        };
        assert_eq!(
            error.to_string(),
            format!("cannot copy into table public.{table}")
        );
        assert!(error.reason().contains(reason), "{}", error.reason());
        assert!(from.commit().is_err());
        assert!(to.commit().is_err());
        assert!(p.source.is_open());
        assert!(!target.is_open());
    }
    Ok(())
}

#[test]
fn progress_can_break_off() -> TestResult {
    let mut p = pair("create table t (id int, data text)")?;
    p.source.batch_execute(
        "insert into t select g, repeat('x', 1000) from generate_series(1, 20000) g",
    )?;
    let (mut from, mut to) = (p.source.begin()?, p.target.begin()?);
    let error = FullCopy::new(&TableName::parse("t"))
        .run(&mut from, &mut to, |_| ControlFlow::Break(()))
        .expect_err("stopped");
    assert!(matches!(error, CopyError::Stopped), "{error:?}");
    assert!(from.commit().is_err());
    assert!(to.commit().is_err());
    assert_eq!(one::<i64>(&mut p.target, "select count(*) from t"), 0);
    Ok(())
}

#[test]
fn rows_can_be_rewritten_left_out_and_refused_on_the_way() -> TestResult {
    let mut p = pair("create table t (id int, data text)")?;
    // Rows longer than a piece, and many in one.
    p.source.batch_execute(
        "insert into t select g, case g when 7 then repeat(E'long\\n', 100000) else E'a\\tb' end
           from generate_series(1, 50000) g",
    )?;
    let table = TableName::parse("t");
    let (mut from, mut to) = (p.source.begin()?, p.target.begin()?);
    let copied = FullCopy::new(&table).run_rewriting(
        &mut from,
        &mut to,
        |row, out| {
            let fields: Vec<_> = copy::fields(row).collect::<Result<_, _>>()?;
            let id = fields[0].as_deref().unwrap_or_default();
            let data = fields[1].as_deref();
            // Two for one, none for one, and one as it was.
            match id {
                b"1" => [b"-1", b"-2"]
                    .into_iter()
                    .for_each(|id| copy::row_of([Some(&id[..]), None], out)),
                b"2" => {}
                _ => copy::row_of([Some(id), data], out),
            }
            Ok::<(), quote::Error>(())
        },
        GO_ON,
    )?;
    assert_eq!(copied.rows, 50_000);
    assert_eq!(
        one::<String>(
            &mut to,
            "select concat_ws(' ', count(*), count(*) filter (where id < 0 and data is null),
                              count(*) filter (where id = 2), count(*) filter (where data = E'a\\tb'),
                              max(length(data))) from t"
        ),
        "50000 2 0 49997 500000"
    );
    let error = FullCopy::new(&table)
        .run_rewriting(
            &mut from,
            &mut to,
            |row, out| match row.starts_with(b"40000\t") {
                true => Err("not this one"),
                false => {
                    out.extend_from_slice(row);
                    Ok(())
                }
            },
            GO_ON,
        )
        .expect_err("a row is refused");
    assert_eq!(error.to_string(), "cannot rewrite a row");
    let cause = std::error::Error::source(&error).ok_or("no cause")?;
    assert_eq!(cause.to_string(), "not this one");
    assert!(from.commit().is_err());
    assert!(to.commit().is_err());
    assert!(p.source.is_open() && p.target.is_open());
    Ok(())
}
