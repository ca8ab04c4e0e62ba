//! Where a trigger may stand, and what it sees there.

use std::time::Duration;

use postgres::Client;
use testkit::{Cluster, TestResult, wait_until};

use super::{capture, changes, events, generated, logged};
use crate::support::{cluster, cluster_with_consumer, install, refusal, row, rows};

#[test]
fn roles_of_replication_decide_whether_a_trigger_logs() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key)")?;
    capture(&mut db, "t", "sqltriga", "'q'")?;
    for (enable, role, count) in [
        ("enable", "origin", 1),
        ("enable", "local", 0),
        ("enable", "replica", 0),
        ("enable always", "local", 0),
        ("enable always", "replica", 1),
        ("enable replica", "origin", 0),
        ("enable replica", "replica", 1),
    ] {
        let lines = logged(
            &mut db,
            &format!(
                "alter table t {enable} trigger capture; set session_replication_role = {role}; \
                 insert into t values (1); reset session_replication_role"
            ),
        )?;
        assert_eq!(lines.len(), count, "{enable} {role}");
        db.batch_execute("alter table t disable trigger capture; truncate t")?;
    }
    Ok(())
}

#[test]
fn what_a_subscription_brings_is_captured_by_rows_if_the_trigger_always_fires() -> TestResult {
    let cluster = Cluster::builder().setting("wal_level", "logical").start()?;
    let mut db = install(&cluster)?;
    let mut publisher = cluster.create_database("publisher")?;
    let table = "create table t (id int primary key, a text)";
    publisher.batch_execute(&format!("{table}; create publication p for table t"))?;
    row(
        &mut publisher,
        "select pg_create_logical_replication_slot('s', 'pgoutput') is not null",
    )?;
    db.batch_execute(&format!(
        "{table};
         select pgq.create_queue('q');
         select pgq.create_capture('t', 'always', 'sql', 'row', array['q', 'ev_extra1=''always''']),
                pgq.create_capture('t', 'generic', 'sql', 'generic', array['q', 'ev_extra1=''generic''']),
                pgq.create_capture('t', 'ordinary', 'sql', 'row', array['q', 'ev_extra1=''ordinary''']),
                pgq.create_capture('t', 'bulk', 'sql', 'statement', array['q', 'ev_extra1=''bulk''']);
         alter table t enable always trigger always;
         alter table t enable always trigger generic;
         alter table t enable always trigger bulk_insert;
         alter table t enable always trigger bulk_guard"
    ))?;
    db.batch_execute(&format!(
        "create subscription s connection '{}' publication p with (create_slot = false, slot_name = s, copy_data = false)",
        cluster.conninfo("publisher").replace('\'', "''")
    ))?;
    publisher
        .batch_execute("insert into t values (1, 'x'); update t set a = 'y'; delete from t")?;
    let logged = |name: &str| {
        format!(
            "select ev_type, ev_data from pgq.event_template where ev_extra1 = '{name}' order by ev_id"
        )
    };
    wait_until("the changes to be applied", Duration::from_secs(60), || {
        Ok(rows(&mut db, &logged("always"))?.len() == 3)
    })?;
    let expected = [
        "I|(id,a) values ('1','x')",
        "U|a='y' where id='1'",
        "D|id='1'",
    ];
    assert_eq!(rows(&mut db, &logged("always"))?, expected);
    assert_eq!(rows(&mut db, &logged("generic"))?, expected);
    assert_eq!(rows(&mut db, &logged("ordinary"))?, [""; 0]);
    // Nobody calls triggers for statements, so that a table which is fed like this cannot have them.
    assert_eq!(rows(&mut db, &logged("bulk"))?, [""; 0]);
    assert_eq!(
        refusal(
            &mut db,
            "select pgq.create_capture('t', 'more', 'sql', 'statement', array['q'])"
        )?,
        "cannot capture statements on public.t: the table is fed by logical replication, which does not call triggers \
         for statements"
    );
    db.batch_execute("drop subscription s")?;
    Ok(())
}

#[test]
fn a_trigger_that_denies_refuses_every_change() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key); insert into t values (1)")?;
    capture(&mut db, "t", "sqltriga", "'nowhere', 'deny'")?;
    db.batch_execute(
        "create trigger cut before truncate on t for each statement execute function pgq.logutriga('nowhere', 'deny')",
    )?;
    for (statement, op) in [
        ("insert into t values (2)", "INSERT"),
        ("update t set id = 1", "UPDATE"),
        ("delete from t", "DELETE"),
        ("truncate t", "TRUNCATE"),
    ] {
        assert_eq!(
            refusal(&mut db, statement)?,
            format!("Table 'public.t' to queue 'nowhere': change not allowed ({op})")
        );
    }
    db.batch_execute("set session_replication_role = local; delete from t")?;
    Ok(())
}

#[test]
fn partitions_cascades_and_conflicts_are_logged_as_they_happen() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table p (id int primary key, v int) partition by range (id);
         create table p1 partition of p for values from (0) to (10);
         create table p2 (v int, id int not null);
         alter table p attach partition p2 for values from (10) to (20);
         create table parent (id int primary key);
         create table child (id int primary key, parent int references parent on delete cascade)",
    )?;
    for table in ["p", "parent", "child"] {
        capture(&mut db, table, "sqltriga", "'q'")?;
    }
    db.batch_execute("insert into p values (1, 1), (11, 11); update p set id = 12 where id = 1")?;
    assert_eq!(
        events(&mut db)?,
        [
            "I|(id,v) values ('1','1')|public.p1|NULL",
            "I|(v,id) values ('11','11')|public.p2|NULL",
            "D|id='1'|public.p1|NULL",
            "I|(v,id) values ('1','12')|public.p2|NULL",
        ]
    );
    db.batch_execute("insert into parent values (1); insert into child values (5, 1)")?;
    events(&mut db)?;
    db.batch_execute("delete from parent")?;
    assert_eq!(
        events(&mut db)?,
        ["D|id='1'|public.parent|NULL", "D|id='5'|public.child|NULL"]
    );
    assert_eq!(
        logged(
            &mut db,
            "insert into parent values (1), (2) on conflict do nothing;
             insert into p values (12, 5), (13, 5) on conflict (id) do update set v = 9"
        )?,
        [
            "I|(id) values ('1')",
            "I|(id) values ('2')",
            "U|v='9' where id='12'",
            "I|(v,id) values ('5','13')",
        ]
    );
    Ok(())
}

#[test]
fn views_and_deferred_triggers_are_captured() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (id int primary key, v int); create view w as select * from t;
         create trigger capture instead of insert or update or delete on w
             for each row execute function pgq.sqltriga('q', 'pkey=id');
         create constraint trigger late after insert on t deferrable initially deferred
             for each row execute function pgq.logutriga('q')",
    )?;
    assert_eq!(
        logged(&mut db, "insert into w values (1, 2)")?,
        ["I|(id,v) values ('1','2')"]
    );
    db.batch_execute("begin; insert into t values (2, 2), (1, 1)")?;
    assert!(rows(&mut db, "select from pgq.event_template")?.is_empty());
    db.batch_execute("commit")?;
    assert_eq!(changes(&mut db)?, ["I:id|id=2&v=2", "I:id|id=1&v=1"]);
    Ok(())
}

#[test]
fn large_values_arrive_whole() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key, v text)")?;
    let value = r#"repeat(E'a"b\\c,d(e)f ''g', 100000)"#;
    for (function, check) in [
        (
            "sqltriga",
            format!("'(id,v) values (''1'',' || quote_literal({value}) || ')'"),
        ),
        (
            "jsontriga",
            format!("'{{\"id\":1,\"v\":' || to_json({value})::text || '}}'"),
        ),
        (
            "logutriga",
            "'id=1&v=' || repeat('a%22b%5cc%2cd%28e%29f+%27g', 100000)".to_owned(),
        ),
    ] {
        capture(&mut db, "t", function, "'q'")?;
        db.batch_execute(&format!("insert into t values (1, {value})"))?;
        assert_eq!(
            row(
                &mut db,
                &format!("select ev_data = {check} from pgq.event_template")
            )?,
            "t",
            "{function}"
        );
        db.batch_execute("truncate t, pgq.event_1_0")?;
    }
    Ok(())
}

#[test]
fn an_event_replayed_gives_the_same_row() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute(
        "select pgq.create_queue('q');
         create type pair as (a int, b text);
         create table src (id int primary key, t text, n numeric, f float8, b bytea, ts timestamptz, i interval,
             j jsonb, a text[], p pair, c char(5), m money);
         create table dst (like src including all)",
    )?;
    generated(
        &mut db,
        "src",
        "'q', 'ev_extra1=''public.dst''', 'key_updates=log', 'changes=text', 'settings=pinned'",
    )?;
    db.batch_execute(
        r"set datestyle = 'German'; set timezone = 'Asia/Tokyo'; set extra_float_digits = -3; set intervalstyle = 'sql_standard';
          insert into src select n, repeat(chr(n) || '\', 3), n / 3.0, n / 3.0::float8, decode(lpad(to_hex(n), 4, '0'), 'hex'),
                 timestamptz '2020-01-01' + n * interval '1 day 1.5 s', n * interval '1 day 1.5 s',
                 to_jsonb(chr(n)), array[chr(n), null, '', 'NULL'], row(n, chr(n))::pair, chr(n), n
            from generate_series(1, 300) n where n <> 32;
          update src set n = (n || '0')::numeric, id = id + 1000, t = nullif(t, repeat('a\', 3)) where id % 2 = 0;
          update src set p = row(null, null), a = '{}', f = '-0' where id % 3 = 0;
          delete from src where id % 7 = 0;
          do $$ declare r record; begin
              for r in select * from pgq.event_template order by ev_id loop
                  execute case r.ev_type when 'I' then 'insert into dst ' || r.ev_data
                                         when 'U' then 'update only dst set ' || r.ev_data
                                         else 'delete from only dst where ' || r.ev_data end;
              end loop;
          end $$",
    )?;
    assert_eq!(
        row(
            &mut db,
            "select (select count(*) from src) > 200, (select count(*) from (select src::text from src except all select dst::text from dst) x), (select count(*) from (select dst::text from dst except all select src::text from src) x)"
        )?,
        "t|0|0"
    );
    Ok(())
}

#[test]
fn capturing_needs_no_more_of_a_fresh_database_than_installing() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    db.batch_execute("select pgq.create_queue('q'); create table t (id int primary key)")?;
    capture(&mut db, "t", "sqltriga", "'q'")?;
    assert_eq!(
        logged(&mut db, "insert into t values (1)")?,
        ["I|(id) values ('1')"]
    );
    Ok(())
}

#[test]
fn before_triggers_return_the_row_or_suppress_it() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key, v int)")?;
    let before = |db: &mut Client, arguments: &str| -> TestResult {
        db.batch_execute(&format!(
            "drop trigger if exists capture on t;
             create trigger capture before insert or update or delete on t
                 for each row execute function pgq.sqltriga('q'{arguments})"
        ))?;
        Ok(())
    };
    before(&mut db, "")?;
    assert_eq!(
        logged(&mut db, "insert into t values (1, 1), (2, 2); update t set v = 5 where id = 1; delete from t where id = 2")?
            .len(),
        4
    );
    assert_eq!(rows(&mut db, "select * from t")?, ["1|5"]);

    before(&mut db, ", 'SKIP'")?;
    assert_eq!(
        logged(
            &mut db,
            "insert into t values (3, 3); update t set v = 6; delete from t"
        )?,
        [
            "I|(id,v) values ('3','3')",
            "U|v='6' where id='1'",
            "D|id='1'"
        ]
    );
    assert_eq!(rows(&mut db, "select * from t")?, ["1|5"]);
    // Suppressed also when there is no event; in local role nothing is.
    before(&mut db, ", 'SKIP', 'when=false'")?;
    assert!(logged(&mut db, "insert into t values (4, 4)")?.is_empty());
    assert_eq!(rows(&mut db, "select * from t")?, ["1|5"]);
    assert!(
        logged(&mut db, "set session_replication_role = local; insert into t values (4, 4); reset session_replication_role")?
            .is_empty()
    );
    assert_eq!(rows(&mut db, "select * from t order by 1")?, ["1|5", "4|4"]);
    capture(&mut db, "t", "sqltriga", "'q', 'SKIP'")?;
    assert_eq!(
        refusal(&mut db, "delete from t")?,
        "SKIP does not work in AFTER trigger."
    );
    Ok(())
}
