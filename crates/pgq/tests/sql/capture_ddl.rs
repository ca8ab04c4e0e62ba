//! Captures while other things change than columns of their tables: types elsewhere, the queue, the place of the table
//! among partitions and heirs. Sessions with plans, prepared statements and older transactions go on writing.

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::support::{cluster, refusal, row, rows};

/// A change around the table `w.t (id, a, m, p, d)`, statements of a row with the key `{id}`, and what they log.
struct Case {
    ddl: &'static str,
    statements: &'static [&'static str],
    events: &'static [&'static str],
    /// Levels that refuse the change; nobody writes then.
    refused: &'static str,
    /// Whether the three prepared statements of a plain row go on, too.
    prepared: bool,
}

const PLAIN: &[&str] = &[
    "insert into w.t (id) values ({id})",
    "update w.t set a = 'y' where id = {id}",
    "delete from w.t where id = {id}",
];

const PLAIN_EVENTS: &[&str] = &[
    "I|(id,a,m,p,d) values ('{id}','x',null,null,null)",
    "U|a='y' where id='{id}'",
    "D|id='{id}'",
];

const fn case(
    ddl: &'static str,
    statements: &'static [&'static str],
    events: &'static [&'static str],
) -> Case {
    Case {
        ddl,
        statements,
        events,
        refused: "",
        prepared: true,
    }
}

const CASES: &[Case] = &[
    case(
        "alter type w.mood add value 'c'",
        &[
            "insert into w.t (id, m) values ({id}, 'c')",
            "update w.t set m = 'a' where id = {id}",
        ],
        &[
            "I|(id,a,m,p,d) values ('{id}','x','c',null,null)",
            "U|m='a' where id='{id}'",
        ],
    ),
    case(
        "alter type w.mood rename value 'a' to 'z'",
        &["insert into w.t (id, m) values ({id}, 'z')"],
        &["I|(id,a,m,p,d) values ('{id}','x','z',null,null)"],
    ),
    case("alter type w.mood rename to feeling", PLAIN, PLAIN_EVENTS),
    case("alter type w.mood set schema public", PLAIN, PLAIN_EVENTS),
    case(
        "alter type w.pair add attribute c text",
        &[
            "insert into w.t (id, p) values ({id}, (1, 2, 'q'))",
            "update w.t set p = (1, 2, 'r') where id = {id}",
        ],
        &[
            "I|(id,a,m,p,d) values ('{id}','x',null,'(1,2,q)',null)",
            "U|p='(1,2,r)' where id='{id}'",
        ],
    ),
    case(
        "alter type w.pair drop attribute b",
        &[
            "insert into w.t (id, p) values ({id}, row(1))",
            "update w.t set p = row(2) where id = {id}",
        ],
        &[
            "I|(id,a,m,p,d) values ('{id}','x',null,'(1)',null)",
            "U|p='(2)' where id='{id}'",
        ],
    ),
    case(
        "alter domain w.pos add constraint c check (value > 0)",
        &[
            "insert into w.t (id, d) values ({id}, 5)",
            "update w.t set d = 6 where id = {id}",
        ],
        &[
            "I|(id,a,m,p,d) values ('{id}','x',null,null,'5')",
            "U|d='6' where id='{id}'",
        ],
    ),
    Case {
        // The prepared statements would insert a null.
        prepared: false,
        ..case(
            "alter domain w.pos set not null",
            &["insert into w.t (id, d) values ({id}, 5)"],
            &["I|(id,a,m,p,d) values ('{id}','x',null,null,'5')"],
        )
    },
    Case {
        refused: "statement",
        ..case(
            "create table w.root (like w.t) partition by range (id);
             alter table w.root attach partition w.t for values from (0) to (1000)",
            &[
                "insert into w.root (id, a) values ({id}, 'x')",
                "update w.root set a = 'y' where id = {id}",
                "delete from w.t where id = {id}",
            ],
            PLAIN_EVENTS,
        )
    },
    Case {
        refused: "statement",
        ..case(
            "create table w.parent (id int not null, a text not null); alter table w.t inherit w.parent",
            &[
                "insert into w.t (id) values ({id})",
                "update w.parent set a = 'y' where id = {id}",
                "delete from w.parent where id = {id}",
            ],
            PLAIN_EVENTS,
        )
    },
    case(
        "create table w.parent (id int not null, a text not null);
         create table w.heir () inherits (w.parent)",
        PLAIN,
        PLAIN_EVENTS,
    ),
    case(
        "alter table w.t drop m; alter table w.t add m int default 3",
        &[
            "insert into w.t (id) values ({id})",
            "update w.t set m = 4 where id = {id}",
        ],
        &[
            "I|(id,a,p,d,m) values ('{id}','x',null,null,'3')",
            "U|m='4' where id='{id}'",
        ],
    ),
    Case {
        // The prepared statements would mean another column.
        prepared: false,
        ..case(
            "alter table w.t rename a to b; alter table w.t rename d to a; alter table w.t rename b to d",
            &[
                "insert into w.t (id, a) values ({id}, 7)",
                "update w.t set d = 'y' where id = {id}",
            ],
            &[
                "I|(id,d,m,p,a) values ('{id}','x',null,null,'7')",
                "U|d='y' where id='{id}'",
            ],
        )
    },
    Case {
        prepared: false,
        ..case(
            "alter table w.t rename to former; create table w.t (like w.former including all)",
            &[
                "insert into w.former (id) values ({id})",
                "delete from w.former where id = {id}",
                "insert into w.t (id) values ({id})",
            ],
            &[
                "I|(id,a,m,p,d) values ('{id}','x',null,null,null)",
                "D|id='{id}'",
            ],
        )
    },
    case(
        "alter table w.t alter a type text collate \"C\"",
        PLAIN,
        PLAIN_EVENTS,
    ),
    case("alter table w.t replica identity full", PLAIN, PLAIN_EVENTS),
    case(
        "alter table w.t add g int generated always as (id * 2) stored",
        &["insert into w.t (id) values ({id})"],
        &["I|(id,a,m,p,d,g) values ('{id}','x',null,null,null,'{twice}')"],
    ),
];

/// Where a column is virtual, what triggers for rows see of it is null; those for statements compute it where they
/// may know how.
const VIRTUAL: &str = "alter table w.t add g int generated always as (id * 2) virtual";

/// A table that is captured at a level, and the sessions that write to it.
fn prepare(
    cluster: &Cluster,
    db: &mut Client,
    level: &str,
) -> TestResult<(Client, [(&'static str, Client); 3])> {
    db.batch_execute(&format!(
        "drop schema if exists w cascade; drop type if exists mood;
         create schema w;
         create type w.mood as enum ('a', 'b');
         create type w.pair as (a int, b int);
         create domain w.pos as int;
         create table w.t (id int primary key, a text not null default 'x', m w.mood, p w.pair, d w.pos);
         select pgq.create_capture('w.t', 'capture', 'sql', '{level}', array['q'])"
    ))?;
    let mut prepared = cluster.connect("postgres")?;
    prepared.batch_execute(
        "prepare i(int) as insert into w.t (id) values ($1); prepare u(int) as update w.t set a = 'y' where id = $1;
         prepare d(int) as delete from w.t where id = $1",
    )?;
    // Often enough for plans that are kept.
    for _ in 0..7 {
        prepared.batch_execute("execute i(1); execute u(1); execute d(1)")?;
    }
    let mut warm = cluster.connect("postgres")?;
    let mut old = cluster.connect("postgres")?;
    for session in [&mut warm, &mut old] {
        session.batch_execute(
            "insert into w.t (id) values (2); update w.t set a = 'y'; delete from w.t",
        )?;
    }
    old.batch_execute("begin isolation level repeatable read; select count(*) from pgq.queue")?;
    let mut cold = cluster.connect("postgres")?;
    cold.batch_execute("begin isolation level serializable; select count(*) from pgq.queue")?;
    events(db)?;
    Ok((prepared, [("warm", warm), ("old", old), ("cold", cold)]))
}

/// Type and data of all events since the last call, whatever their queue.
fn events(db: &mut Client) -> TestResult<Vec<String>> {
    let events = rows(
        db,
        "select ev_type, ev_data from pgq.event_template order by ev_id",
    )?;
    db.batch_execute(
        "do $$ declare t text; begin
             for t in select oid::regclass from pg_class where relname ~ '^event_[0-9]+_[0-9]+$' and relkind = 'r' loop
                 execute 'truncate ' || t;
             end loop;
         end $$",
    )?;
    Ok(events)
}

/// Has a session write a row, and checks what was logged of it.
fn check(db: &mut Client, session: &mut Client, case: &Case, id: usize, who: &str) -> TestResult {
    let fill = |text: &str| {
        text.replace("{id}", &id.to_string())
            .replace("{twice}", &(2 * id).to_string())
    };
    for statement in case.statements {
        session
            .batch_execute(&fill(statement))
            .map_err(|error| format!("{}: {who}: {statement}: {error:?}", case.ddl))?;
    }
    session.batch_execute("commit")?;
    let expected: Vec<String> = case.events.iter().map(|event| fill(event)).collect();
    assert_eq!(events(db)?, expected, "{}: {who}", case.ddl);
    Ok(())
}

#[test]
fn what_changes_around_a_table_makes_no_writer_fail_and_loses_nothing() -> TestResult {
    let (cluster, mut db) = cluster()?;
    row(&mut db, "select pgq.create_queue('q')")?;
    for level in ["row", "statement", "generic"] {
        for case in CASES {
            let (mut prepared, mut sessions) = prepare(&cluster, &mut db, level)?;
            if case.refused == level {
                let message = refusal(&mut db, case.ddl)?;
                assert!(
                    message.starts_with("trigger \"capture_guard\" prevents"),
                    "{message}"
                );
                continue;
            }
            db.batch_execute(case.ddl)?;
            for refreshed in [false, true] {
                for (number, (who, session)) in sessions.iter_mut().enumerate() {
                    let id = 10 + number + 10 * usize::from(refreshed);
                    let who = format!("{level}, {who}, refreshed: {refreshed}");
                    check(&mut db, session, case, id, &who)?;
                }
                if case.prepared {
                    let id = 30 + usize::from(refreshed);
                    prepared
                        .batch_execute(&format!(
                            "execute i({id}); execute u({id}); execute d({id})"
                        ))
                        .map_err(|error| format!("{}: {level}: {error:?}", case.ddl))?;
                    assert_eq!(events(&mut db)?.len(), 3, "{}: {level}", case.ddl);
                }
                db.batch_execute("select pgq.refresh_captures()")?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_virtual_column_makes_no_writer_fail_whatever_he_knows_of_it() -> TestResult {
    let (cluster, mut db) = cluster()?;
    if cluster.major() < 18 {
        return Ok(());
    }
    row(&mut db, "select pgq.create_queue('q')")?;
    for level in ["row", "statement", "generic"] {
        let (_, mut sessions) = prepare(&cluster, &mut db, level)?;
        // The others of its names are not what they were either.
        db.batch_execute(&format!("{VIRTUAL}; alter table w.t rename d to e"))?;
        for refreshed in [false, true] {
            for (number, (who, session)) in sessions.iter_mut().enumerate() {
                let id = 10 + number + 10 * usize::from(refreshed);
                let computed = level == "statement" && (*who == "warm" || refreshed);
                let value = if computed {
                    format!("'{}'", 2 * id)
                } else {
                    "null".to_owned()
                };
                session
                    .batch_execute(&format!(
                        "insert into w.t (id, p) values ({id}, (1, 2)); update w.t set a = '\"y\\,' where id = {id};
                         delete from w.t; commit"
                    ))
                    .map_err(|error| format!("{level}, {who}: {error:?}"))?;
                assert_eq!(
                    events(&mut db)?,
                    [
                        format!("I|(id,a,m,p,e,g) values ('{id}','x',null,'(1,2)',null,{value})"),
                        format!("U|a=E'\"y\\\\,' where id='{id}'"),
                        format!("D|id='{id}'")
                    ],
                    "{level}, {who}, refreshed: {refreshed}"
                );
            }
            db.batch_execute("select pgq.refresh_captures()")?;
        }
        // And where the transaction knows the virtual column, but not that another column has a new name.
        let old = &mut sessions[1].1;
        old.batch_execute("begin isolation level repeatable read; select count(*) from pgq.queue")?;
        db.batch_execute("alter table w.t rename e to d")?;
        old.batch_execute("insert into w.t (id) values (50); commit")?;
        assert_eq!(
            events(&mut db)?,
            ["I|(id,a,m,p,d,g) values ('50','x',null,null,null,null)"],
            "{level}"
        );
    }
    Ok(())
}

#[test]
fn a_queue_that_is_made_anew_gets_the_events_of_all_who_can_know_it() -> TestResult {
    let (cluster, mut db) = cluster()?;
    for level in ["row", "statement", "generic"] {
        row(&mut db, "select pgq.create_queue('q')")?;
        let (mut prepared, mut sessions) = prepare(&cluster, &mut db, level)?;
        db.batch_execute("select pgq.drop_queue('q')")?;
        let [(_, warm), (_, old), (_, cold)] = &mut sessions;
        for session in [&mut *warm, &mut prepared] {
            assert_eq!(
                refusal(session, "insert into w.t (id) values (1)")?,
                "No such queue",
                "{level}"
            );
        }
        row(&mut db, "select pgq.create_queue('q')")?;
        // To them it is the one that is gone, as it is to the C triggers.
        for session in [old, cold] {
            let message = refusal(session, "insert into w.t (id) values (1)")?;
            assert!(message.contains("does not exist"), "{level}: {message}");
            session.batch_execute("rollback")?;
            session.batch_execute("insert into w.t (id) values (1); delete from w.t")?;
            assert_eq!(events(&mut db)?.len(), 2, "{level}");
        }
        for refreshed in [false, true] {
            warm.batch_execute("insert into w.t (id) values (1); delete from w.t")?;
            prepared.batch_execute("execute i(3); execute u(3); execute d(3)")?;
            assert_eq!(events(&mut db)?.len(), 5, "{level}, refreshed: {refreshed}");
            db.batch_execute("select pgq.refresh_captures()")?;
        }
        db.batch_execute("select pgq.drop_capture('w.t', 'capture'), pgq.drop_queue('q')")?;
    }
    Ok(())
}
