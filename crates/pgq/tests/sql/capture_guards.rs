//! Captures while the definitions of their tables change: in sessions with warm plans, and in transactions
//! whose snapshot is older than the change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::captures::queue_and_table;
use crate::support::{
    cluster_without_pgq, copy_database, has_program, install, refusal, row, rows,
};

/// A change of the table `w.t (id, a, b)`, statements of a row with the key `{id}`, and what they log.
struct Case {
    ddl: &'static str,
    statements: &'static [&'static str],
    events: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        ddl: "alter table w.t add c int default 5",
        statements: &[
            "insert into w.t values ({id}, 'x', 2, 7)",
            "update w.t set c = 8 where id = {id}",
            "delete from w.t where id = {id}",
        ],
        events: &[
            "I|(id,a,b,c) values ('{id}','x','2','7')|w.t",
            "U|c='8' where id='{id}'|w.t",
            "D|id='{id}'|w.t",
        ],
    },
    Case {
        ddl: "alter table w.t drop a",
        statements: &[
            "insert into w.t values ({id}, 2)",
            "update w.t set b = 3 where id = {id}",
        ],
        events: &[
            "I|(id,b) values ('{id}','2')|w.t",
            "U|b='3' where id='{id}'|w.t",
        ],
    },
    Case {
        ddl: "alter table w.t rename a to renamed",
        statements: &[
            "insert into w.t values ({id}, 'x', 2)",
            "update w.t set renamed = 'y' where id = {id}",
        ],
        events: &[
            "I|(id,renamed,b) values ('{id}','x','2')|w.t",
            "U|renamed='y' where id='{id}'|w.t",
        ],
    },
    Case {
        ddl: "alter table w.t rename a to x",
        statements: &[
            "insert into w.t values ({id}, 'a', 2)",
            "update w.t set x = 'y' where id = {id}",
        ],
        events: &[
            "I|(id,x,b) values ('{id}','a','2')|w.t",
            "U|x='y' where id='{id}'|w.t",
        ],
    },
    Case {
        ddl: "alter table w.t rename id to number",
        statements: &[
            "insert into w.t values ({id}, 'x', 2)",
            "update w.t set a = 'y' where number = {id}",
            "delete from w.t where number = {id}",
        ],
        events: &[
            "I|(number,a,b) values ('{id}','x','2')|w.t",
            "U|a='y' where number='{id}'|w.t",
            "D|number='{id}'|w.t",
        ],
    },
    Case {
        ddl: "alter table w.t alter b type text using b::text",
        statements: &[
            "insert into w.t values ({id}, 'x', 'it''s')",
            "update w.t set b = 'y\\' where id = {id}",
        ],
        events: &[
            "I|(id,a,b) values ('{id}','x','it''s')|w.t",
            "U|b=E'y\\\\' where id='{id}'|w.t",
        ],
    },
    Case {
        ddl: "alter table w.t alter id type bigint",
        statements: &[
            "insert into w.t values ({id}, 'x', 2)",
            "delete from w.t where id = {id}",
        ],
        events: &["I|(id,a,b) values ('{id}','x','2')|w.t", "D|id='{id}'|w.t"],
    },
    Case {
        ddl: "alter table w.t drop constraint t_pkey, add primary key (id, a)",
        statements: &[
            "insert into w.t values ({id}, 'x', 2)",
            "update w.t set b = 3 where id = {id}",
        ],
        events: &[
            "I|(id,a,b) values ('{id}','x','2')|w.t",
            "U|b='3' where id='{id}' and a='x'|w.t",
        ],
    },
    Case {
        ddl: "alter table w.t rename to other",
        statements: &["insert into w.other values ({id}, 'x', 2)"],
        events: &["I|(id,a,b) values ('{id}','x','2')|w.other"],
    },
    Case {
        ddl: "create schema elsewhere; alter table w.t set schema elsewhere",
        statements: &["insert into elsewhere.t values ({id}, 'x', 2)"],
        events: &["I|(id,a,b) values ('{id}','x','2')|elsewhere.t"],
    },
    Case {
        ddl: "alter schema w rename to w2",
        statements: &["insert into w2.t values ({id}, 'x', 2)"],
        events: &["I|(id,a,b) values ('{id}','x','2')|w2.t"],
    },
];

/// Makes the slow way an error, so that its use is seen.
pub(crate) const FORBID_SLOW_WAY: &str = "
    alter function pgq._capture(text, boolean, text, text, oid, text, text, text[], anyelement, anyelement)
        rename to _capture_kept;
    create function pgq._capture(text, boolean, text, text, oid, text, text, text[], anyelement, anyelement)
    returns boolean language plpgsql as $$ begin raise exception 'the slow way'; end $$";

const ALLOW_SLOW_WAY: &str = "
    drop function pgq._capture(text, boolean, text, text, oid, text, text, text[], anyelement, anyelement);
    alter function pgq._capture_kept(text, boolean, text, text, oid, text, text, text[], anyelement, anyelement)
        rename to _capture";

/// Events since the last call.
fn events(db: &mut Client) -> TestResult<Vec<String>> {
    let events = rows(
        db,
        "select ev_type, ev_data, ev_extra1 from pgq.event_template order by ev_id",
    )?;
    db.batch_execute("truncate pgq.event_1_0")?;
    Ok(events)
}

/// Runs the statements of a case for a row of its own, and checks what they logged.
fn check(db: &mut Client, look: &mut Client, case: &Case, id: usize, who: &str) -> TestResult {
    for statement in case.statements {
        let statement = statement.replace("{id}", &id.to_string());
        db.batch_execute(&statement)
            .map_err(|error| format!("{}: {who}: {statement}: {error:?}", case.ddl))?;
    }
    // Ends the transaction of a session that is in one.
    db.batch_execute("commit")?;
    let expected: Vec<String> = case
        .events
        .iter()
        .map(|event| event.replace("{id}", &id.to_string()))
        .collect();
    assert_eq!(events(look)?, expected, "{}: {who}", case.ddl);
    Ok(())
}

#[test]
fn a_change_of_the_table_is_captured_by_every_session_at_once() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    db.batch_execute("select pgq.create_queue('q')")?;
    for level in ["row", "statement", "generic"] {
        for case in CASES {
            db.batch_execute(&format!(
                "drop schema if exists w cascade; drop schema if exists w2 cascade;
                 drop schema if exists elsewhere cascade;
                 create schema w;
                 create table w.t (id int primary key, a text not null, b numeric);
                 select pgq.create_capture('w.t', 'capture', 'sql', '{level}', array['q'])"
            ))?;
            let mut warm = cluster.connect("postgres")?;
            warm.batch_execute(
                "insert into w.t values (1, 'x', 1); update w.t set b = 2; delete from w.t",
            )?;
            let mut old = cluster.connect("postgres")?;
            old.batch_execute("insert into w.t values (2, 'x', 1)")?;
            old.batch_execute(
                "begin transaction isolation level repeatable read; select count(*) from pgq.queue",
            )?;
            let mut cold = cluster.connect("postgres")?;
            cold.batch_execute(
                "begin transaction isolation level serializable; select count(*) from pgq.queue",
            )?;
            events(&mut db)?;

            db.batch_execute(case.ddl)?;
            check(&mut warm, &mut db, case, 10, "a session with plans")?;
            check(
                &mut old,
                &mut db,
                case,
                11,
                "a transaction older than the change",
            )?;
            check(
                &mut cold,
                &mut db,
                case,
                12,
                "an older transaction of a fresh session",
            )?;

            db.batch_execute("select pgq.refresh_captures()")?;
            db.batch_execute(FORBID_SLOW_WAY)?;
            check(&mut warm, &mut db, case, 20, "after refreshing")?;
            check(&mut old, &mut db, case, 21, "after refreshing, old session")?;
            db.batch_execute(ALLOW_SLOW_WAY)?;
        }
    }
    Ok(())
}

#[test]
fn the_type_of_logged_rows_follows_the_table() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "alter table t add n numeric;
         select pgq.create_capture('t', 'c', 'json', 'row', array['q']);
         insert into t values (1, 'x', 1.50)",
    )?;
    for (change, types, data) in [
        (
            "alter table t rename n to number",
            1,
            r#"{"id":1,"a":"x","number":"1.50"}"#,
        ),
        (
            "alter table t add f float8 default 0.5",
            1,
            r#"{"id":1,"a":"x","number":"1.50","f":"0.5"}"#,
        ),
        // The fields of both have the same names, and a session may still run the function as it was.
        (
            "alter table t alter number type int",
            2,
            r#"{"id":1,"a":"x","number":2,"f":"0.5"}"#,
        ),
        (
            "alter table t drop f, drop number",
            0,
            r#"{"id":1,"a":"x"}"#,
        ),
    ] {
        db.batch_execute(change)?;
        for refresh in [false, true] {
            if refresh {
                db.batch_execute("select pgq.refresh_captures()")?;
            }
            db.batch_execute("truncate pgq.event_1_0; update t set a = a")?;
            assert_eq!(
                row(&mut db, "select ev_data from pgq.event_template")?,
                data,
                "{change}, refreshed: {refresh}"
            );
        }
        let found = "select count(*) from pg_class where relnamespace = 'pgq_gen'::regnamespace";
        assert_eq!(row(&mut db, found)?, types.to_string(), "{change}");
    }
    Ok(())
}

#[test]
fn what_is_no_change_of_the_table_leaves_captures_fast() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    db.batch_execute(
        "select pgq.create_queue('q');
         create table t (id int primary key, a text);
         select pgq.create_capture('t', 'capture', 'sql', 'row', array['q'])",
    )?;
    db.batch_execute(FORBID_SLOW_WAY)?;
    let mut warm = cluster.connect("postgres")?;
    for (id, statement) in [
        "analyze t",
        "create index on t (a)",
        "vacuum t",
        "grant select on t to public",
        "alter table t alter a set statistics 50",
        "alter table t alter a set default 'd'",
        "select pgq.refresh_captures()",
    ]
    .iter()
    .enumerate()
    {
        db.batch_execute(statement)?;
        warm.batch_execute(&format!("insert into t values ({id})"))
            .map_err(|error| format!("{statement}: {error:?}"))?;
    }
    // And the check can fail: this is a change.
    db.batch_execute("alter table t add c int")?;
    assert_eq!(
        refusal(&mut warm, "insert into t values (100)")?,
        "the slow way"
    );
    db.batch_execute("alter table t drop c")?;
    warm.batch_execute("insert into t values (100)")?;
    Ok(())
}

#[test]
fn maintenance_does_not_wait_for_tables_that_are_being_changed() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    db.batch_execute(
        "select pgq.create_queue('q');
         create table t (id int primary key); create table u (id int primary key);
         select pgq.create_capture('t', 'capture', 'sql', 'row', array['q']),
                pgq.create_capture('u', 'capture', 'sql', 'row', array['q'])",
    )?;
    let mut dba = cluster.connect("postgres")?;
    db.batch_execute("alter table u add a int")?;
    dba.batch_execute("begin; alter table t add a int")?;
    assert_eq!(row(&mut db, "select pgq.refresh_captures()")?, "0");
    // Whoever changes the table refreshes in the same transaction.
    dba.batch_execute("select pgq.refresh_captures('t'); commit")?;
    db.batch_execute(FORBID_SLOW_WAY)?;
    db.batch_execute("insert into t values (1, 1); insert into u values (1, 1)")?;
    assert_eq!(
        events(&mut db)?,
        [
            "I|(id,a) values ('1','1')|public.t",
            "I|(id,a) values ('1','1')|public.u"
        ]
    );
    // The other way round: maintenance has the registry, and the change waits for it.
    db.batch_execute("begin; select pgq.refresh_captures()")?;
    dba.batch_execute("set lock_timeout = '10ms'")?;
    assert_eq!(
        refusal(&mut dba, "select pgq.refresh_captures('t')")?,
        "canceling statement due to lock timeout"
    );
    db.batch_execute("commit")?;
    dba.batch_execute("select pgq.refresh_captures('t')")?;
    Ok(())
}

#[test]
fn queues_in_unusual_states_are_served_in_the_slow_way() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    db.batch_execute(
        "select pgq.create_queue('q');
         create table t (id int primary key, a text);
         select pgq.create_capture('t', 'capture', 'sql', 'row', array['q']);
         insert into t values (1)",
    )?;
    db.batch_execute("update pgq.queue set queue_disable_insert = true")?;
    assert_eq!(
        refusal(&mut db, "insert into t values (2)")?,
        "Insert into queue disallowed"
    );
    db.batch_execute("update pgq.queue set queue_disable_insert = false, queue_per_tx_limit = 1")?;
    assert_eq!(
        refusal(&mut db, "insert into t values (2), (3)")?,
        "Queue 'q' allows max 1 events from one TX"
    );
    db.batch_execute("update pgq.queue set queue_per_tx_limit = null")?;
    db.batch_execute("select pgq.drop_queue('q')")?;
    assert_eq!(
        refusal(&mut db, "insert into t values (2)")?,
        "No such queue"
    );
    // One of the same name is another queue, and is served.
    db.batch_execute("select pgq.create_queue('q'); insert into t values (2)")?;
    assert_eq!(row(&mut db, "select count(*) from pgq.event_2")?, "1");
    db.batch_execute("select pgq.refresh_captures()")?;
    db.batch_execute(FORBID_SLOW_WAY)?;
    db.batch_execute("insert into t values (3)")?;
    assert_eq!(row(&mut db, "select count(*) from pgq.event_2")?, "2");
    Ok(())
}

#[test]
fn writers_never_fail_and_lose_nothing_while_the_table_changes() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    db.batch_execute("select pgq.create_queue('q')")?;
    for level in ["row", "generic", "statement"] {
        db.batch_execute(&format!(
            "drop table if exists t; create table t (id serial primary key, a text default 'a');
             truncate pgq.event_1_0;
             select pgq.create_capture('t', 'capture', 'urlenc', '{level}', array['q'])"
        ))?;
        let stop = AtomicBool::new(false);
        let written = thread::scope(|scope| -> TestResult<u64> {
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| -> Result<u64, String> {
                        let mut db = cluster.connect("postgres").map_err(|e| e.to_string())?;
                        let insert = db
                            .prepare("insert into t default values")
                            .map_err(|e| e.to_string())?;
                        let mut count = 0;
                        while !stop.load(Ordering::Relaxed) {
                            count += db.execute(&insert, &[]).map_err(|e| format!("{e:?}"))?;
                        }
                        Ok(count)
                    })
                })
                .collect();
            for round in 0..10 {
                for statement in [
                    format!("alter table t add c{round} int default {round}"),
                    "select pgq.refresh_captures()".to_owned(),
                    format!("alter table t rename c{round} to d{round}"),
                    format!("alter table t alter d{round} type text"),
                    "select pgq.refresh_captures('t')".to_owned(),
                    format!("alter table t drop d{round}"),
                ] {
                    db.batch_execute(&statement)?;
                }
            }
            stop.store(true, Ordering::Relaxed);
            let mut written = 0;
            for writer in writers {
                written += writer.join().map_err(|_| "a writer panicked")??;
            }
            Ok(written)
        })?;
        assert_eq!(
            row(&mut db, "select count(*) from pgq.event_1")?,
            written.to_string(),
            "{level}"
        );
    }
    Ok(())
}

#[test]
fn captures_of_a_restored_dump_work_at_once_and_are_generated_anew() -> TestResult {
    let from = Cluster::start()?;
    if !has_program(&from, "pg_dump") || !has_program(&from, "psql") {
        return Ok(());
    }
    let mut db = install(&from)?;
    db.batch_execute(
        "create table before (id int primary key); drop table before;
         select pgq.create_queue('q');
         create table t (id int primary key, a text);
         create table u (id int primary key, a text, n numeric);
         select pgq.create_capture('t', 'capture', 'sql', 'row', array['q']),
                pgq.create_capture('u', 'capture', 'json', 'row', array['q']),
                pgq.create_capture('u', 'generic', 'sql', 'generic', array['q']),
                pgq.create_capture('t', 'bulk', 'sql', 'statement', array['q'])",
    )?;
    let to = cluster_without_pgq()?;
    copy_database(&from, &to)?;
    let mut copy = to.connect("postgres")?;
    let logged =
        "select distinct ev_data from pgq.event_template where ev_extra1 = 'public.t' order by 1";
    copy.batch_execute("insert into t values (1, 'x'); insert into u values (1, 'x')")?;
    assert_eq!(rows(&mut copy, logged)?, ["(id,a) values ('1','x')"]);
    assert_eq!(
        row(&mut copy, "select count(*) from pgq.event_template")?,
        "4"
    );

    copy.batch_execute("select pgq.refresh_captures()")?;
    assert_eq!(
        rows(
            &mut copy,
            "select cap_relid::regclass, cap_trigger, cap_level from pgq.capture order by 1, 2"
        )?,
        [
            "t|bulk|statement",
            "t|capture|row",
            "u|capture|row",
            "u|generic|generic"
        ]
    );
    copy.batch_execute(FORBID_SLOW_WAY)?;
    copy.batch_execute("insert into t values (2, 'x'); insert into u values (2, 'x')")?;
    assert_eq!(
        row(&mut copy, "select count(*) from pgq.event_template")?,
        "8"
    );
    Ok(())
}
