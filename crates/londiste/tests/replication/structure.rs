//! What a copy does to the structure of its table.

use testkit::TestResult;

use crate::support::{ALL, Pair};

#[test]
fn a_missing_column_is_noticed_before_anything_is_touched() -> TestResult {
    let pair = Pair::start("create table t (id int primary key, data text)")?;
    pair.subscriber()?
        .batch_execute("insert into t values (-1, 'kept')")?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    pair.subscriber()?
        .batch_execute("insert into t values (-1, 'kept')")?;
    pair.provider()?
        .batch_execute("alter table t add column extra int")?;
    pair.londiste(&["subscriber", "resync", "t"])?;
    pair.wait_log("Column extra does not exist on dest side")?;
    let rows: i64 = pair
        .subscriber()?
        .query_one("select count(*) from t", &[])?
        .get(0);
    assert_eq!(rows, 1);
    pair.subscriber()?
        .batch_execute("alter table t add column extra int")?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 0);
    Ok(())
}

#[test]
fn indexes_are_after_the_copy_what_they_were_before() -> TestResult {
    let pair = Pair::start(
        r#"create table t (id int, a text, b text, during int4range, "Odd" int not null,
                           constraint "T pk" primary key (id) include (a) with (fillfactor = 71),
                           constraint t_b_key unique (b) deferrable initially deferred,
                           constraint t_check check (a <> 'bad'),
                           constraint t_excl exclude using gist (during with &&) where (id > 0))"#,
    )?;
    pair.subscriber
        .create_tablespace("elsewhere", pair.subscriber.socket_dir().as_path())?;
    pair.subscriber()?.batch_execute(
        r#"create index t_expr on t (lower(a), id desc nulls last) with (fillfactor = 55)
                  tablespace elsewhere where id > 3;
           alter index t_b_key set tablespace elsewhere;
           alter index t_expr alter column 1 set statistics 77;
           create unique index t_odd on t ("Odd");
           comment on index t_expr is 'it''s mine';
           comment on constraint "T pk" on t is 'the key';
           alter table t cluster on t_odd;
           alter table t replica identity using index t_odd;
           create view v as select id, a, count(*) from t group by id"#,
    )?;
    let shape = "select c.relname::text, pg_get_indexdef(i.indexrelid), i.indisclustered, \
                 i.indisreplident, i.indimmediate, i.indisprimary, c.reloptions::text, \
                 obj_description(c.oid, 'pg_class'), pg_get_constraintdef(k.oid), \
                 obj_description(k.oid, 'pg_constraint'), \
                 (select max(attstattarget::int4) from pg_attribute where attrelid = c.oid), \
                 (select spcname from pg_tablespace where oid = c.reltablespace) \
                 from pg_index i join pg_class c on c.oid = i.indexrelid \
                 left join pg_constraint k on k.conindid = c.oid and k.contype in ('p', 'u', 'x') \
                 where i.indrelid = 't'::regclass order by 1";
    let read = |pair: &Pair| -> TestResult<Vec<String>> {
        let mut db = pair.subscriber()?;
        let rows = db.simple_query(shape)?;
        Ok(rows
            .iter()
            .filter_map(|message| match message {
                postgres::SimpleQueryMessage::Row(row) => Some(format!(
                    "{:?}",
                    (0..row.len()).map(|i| row.get(i)).collect::<Vec<_>>()
                )),
                _ => None,
            })
            .collect())
    };
    let before = read(&pair)?;
    let elsewhere = |shape: &&String| shape.ends_with("Some(\"elsewhere\")]");
    assert_eq!(
        (before.len(), before.iter().filter(elsewhere).count()),
        (5, 2)
    );
    pair.provider()?.batch_execute(
        "insert into t select g, 'a', g, int4range(g, g + 1), g from generate_series(1, 1500) g",
    )?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    assert_eq!(read(&pair)?, before);
    let log = pair.log()?;
    assert!(
        log.contains("Dropping t_expr") && log.contains("Creating t_excl"),
        "{log}"
    );
    assert!(
        log.contains("keeping T pk: other objects depend on it"),
        "{log}"
    );
    pair.assert_equal(r#"select * from t order by id"#)?;
    Ok(())
}

/// Everything that has a definition of its own and belongs to the tables of a schema.
const SHAPES: &str = "
    select 'index', indexrelid::regclass::text || pg_get_indexdef(indexrelid) || indisvalid
                    || coalesce(reltablespace::text, '') || coalesce(reloptions::text, '')
                    || coalesce((select inhparent::regclass::text from pg_inherits where inhrelid = indexrelid), '')
      from pg_index join pg_class on pg_class.oid = indexrelid
     where relnamespace = 'public'::regnamespace
    union all
    select 'constraint', conrelid::regclass || conname || pg_get_constraintdef(oid) || conislocal || coninhcount
                         || coalesce(obj_description(oid, 'pg_constraint'), '')
      from pg_constraint where connamespace = 'public'::regnamespace
    union all
    select 'rule', pg_get_ruledef(oid) from pg_rewrite where ev_class in (
        select oid from pg_class where relnamespace = 'public'::regnamespace)
    union all
    select 'parent', inhrelid::regclass || ' of ' || inhparent::regclass from pg_inherits
    order by 1, 2";

fn shapes(pair: &Pair) -> TestResult<Vec<(String, String)>> {
    let rows = pair.subscriber()?.query(SHAPES, &[])?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

#[test]
fn partitions_heirs_and_rules_are_after_the_copy_what_they_were_before() -> TestResult {
    let pair = Pair::start(
        "create table root (id int not null, v text, primary key (id)) partition by range (id);
         create table leaf partition of root for values from (0) to (2000);
         create index root_v on root (v);
         create index leaf_own on leaf (lower(v)) with (fillfactor = 60);
         create table whole (id int primary key, v text) partition by range (id);
         create table whole1 partition of whole for values from (0) to (1000);
         create table whole2 partition of whole for values from (1000) to (2000);
         create table parent (id int not null, v text not null check (v <> ''));
         create table heir (primary key (id), own int) inherits (parent);
         create index heir_v on heir (v) include (own);
         create rule heir_rule as on insert to heir where new.id < 0 do instead nothing;
         create table plain (id int primary key, v text, n int)",
    )?;
    let mut subscriber = pair.subscriber()?;
    let version: i32 = subscriber
        .query_one("select current_setting('server_version_num')::int", &[])?
        .get(0);
    if version >= 150_000 {
        subscriber.batch_execute(
            "alter table plain add constraint plain_n unique nulls not distinct (n);
             comment on constraint plain_n on plain is 'one null'",
        )?;
    }
    let before = shapes(&pair)?;
    pair.provider()?.batch_execute(
        "insert into leaf select g, g from generate_series(1, 1500) g;
         insert into whole select g, g from generate_series(1, 1500) g;
         insert into heir select g, g, g from generate_series(1, 1500) g;
         insert into parent values (1, 'of the parent alone');
         insert into plain select g, g, g from generate_series(1, 1500) g",
    )?;
    let _replay = pair.replay()?;
    pair.add(&["leaf", "whole", "heir", "plain"])?;
    pair.wait_ok(&["public.leaf", "public.whole", "public.heir", "public.plain"])?;
    assert_eq!(shapes(&pair)?, before);
    let log = pair.log()?;
    assert!(
        log.contains("Dropping leaf_own") && log.contains("Creating heir_pkey"),
        "{log}"
    );
    assert!(!log.contains("Dropping leaf_pkey"), "{log}");
    for table in ["root", "whole", "only heir", "plain"] {
        pair.assert_equal(&format!("select * from {table} order by id"))?;
    }
    Ok(())
}

#[test]
fn a_small_table_keeps_its_indexes() -> TestResult {
    let pair =
        Pair::start("create table t (id int primary key, v text); create index t_v on t (v)")?;
    pair.provider()?
        .batch_execute("insert into t select g, g from generate_series(1, 999) g")?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    assert!(!pair.log()?.contains("Dropping"), "{}", pair.log()?);
    pair.assert_equal("select * from t order by id")?;
    Ok(())
}

/// From version 17 on the server makes indexes with a search path of its own.
#[test]
fn an_index_whose_function_depends_on_the_search_path_is_named_and_nothing_is_lost() -> TestResult {
    let pair = Pair::start(
        "create table t (id int primary key, v text);
         create function inner_f(text) returns text language sql immutable as 'select lower($1)';
         create function outer_f(text) returns text language plpgsql immutable
             as 'begin return inner_f($1); end'",
    )?;
    if pair.subscriber.major() < 17 {
        return Ok(());
    }
    let mut there = pair.subscriber()?;
    there.batch_execute("create index t_outer on t (outer_f(v))")?;
    pair.provider()?
        .batch_execute("insert into t select g, 'V' || g from generate_series(1, 1500) g")?;
    pair.add(&["t"])?;
    let _replay = pair.replay()?;
    let index =
        "select count(*) from pg_index where indexrelid = 't_outer'::regclass and indisvalid";
    pair.wait_log("Query: CREATE INDEX t_outer ")?;
    let status = pair.londiste(&["status"])?.stdout;
    assert!(
        status.contains("the copy of public.t fails") && status.contains("inner_f"),
        "{status}"
    );
    assert_eq!(there.query_one(index, &[])?.get::<_, i64>(0), 1);
    there.batch_execute("alter function outer_f(text) set search_path = public")?;
    pair.wait_ok(&["public.t"])?;
    assert_eq!(there.query_one(index, &[])?.get::<_, i64>(0), 1);
    pair.assert_equal("select * from t order by id")?;
    Ok(())
}
