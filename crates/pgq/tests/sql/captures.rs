//! Creating, changing and dropping captures, and what they log.

use std::process::Command;
use std::thread;
use std::time::Duration;

use testkit::{Cluster, TestResult, wait_until};

use crate::support::{has_program, install, refusal, row, rows};

/// Events since the last call: type, data, table.
pub(crate) fn events(db: &mut postgres::Client) -> TestResult<Vec<String>> {
    let events = rows(
        db,
        "select ev_type, ev_data, ev_extra1 from pgq.event_template order by ev_id",
    )?;
    db.batch_execute("truncate pgq.event_1_0")?;
    Ok(events)
}

/// A cluster with the queue `q` and the table `t (id, a)`.
pub(crate) fn queue_and_table() -> TestResult<(Cluster, postgres::Client)> {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    db.batch_execute("select pgq.create_queue('q'); create table t (id int primary key, a text)")?;
    Ok((cluster, db))
}

#[test]
fn a_capture_is_created_once_changed_and_dropped_without_a_trace() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    let traces = "select (select count(*) from pg_trigger where tgrelid = 't'::regclass),
                         (select count(*) from pgq.capture),
                         (select count(*) from pg_proc where pronamespace = 'pgq_gen'::regnamespace
                                                         and proname like 'public\\_t\\_%'),
                         (select count(*) from pg_class where relnamespace = 'pgq_gen'::regnamespace)";
    db.batch_execute("alter table t add n numeric")?;
    for (level, format, triggers) in [
        ("row", "sql", 1),
        ("statement", "json", 4),
        ("generic", "urlenc", 1),
        ("statement", "sql", 4),
        ("row", "json", 1),
    ] {
        let create =
            format!("select pgq.create_capture('t', 'c', '{format}', '{level}', array['q'])");
        assert_eq!(row(&mut db, &create)?, "1");
        assert_eq!(row(&mut db, &create)?, "0");
        // Rows that the server would write as JSON in another way have a type of their own.
        let types = i32::from(format == "json" && level != "statement");
        assert_eq!(
            row(&mut db, traces)?,
            format!("{triggers}|1|1|{types}"),
            "{level}"
        );
        db.batch_execute("insert into t values (1, 'x'); delete from t")?;
        assert_eq!(events(&mut db)?.len(), 2, "{level}");
    }
    assert_eq!(row(&mut db, "select pgq.drop_capture('t', 'c')")?, "1");
    assert_eq!(row(&mut db, "select pgq.drop_capture('t', 'c')")?, "0");
    assert_eq!(row(&mut db, traces)?, "0|0|0|0");
    Ok(())
}

#[test]
fn wrong_captures_are_refused_with_the_reason_and_leave_nothing() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create function f() returns trigger language plpgsql as $$ begin return null; end $$;
         create trigger mine after insert on t for each row execute function f();
         create table parent (id int primary key);
         create table child () inherits (parent);
         create table leafy (id int primary key) partition by range (id);
         create table leaf partition of leafy for values from (0) to (10);
         create table special (id int primary key, _pgq_row int)",
    )?;
    for (arguments, expected) in [
        (
            "'t', 'c', 'csv', 'row', array['q']",
            "unknown format of captures: csv",
        ),
        (
            "'t', 'c', 'sql', 'page', array['q']",
            "unknown level of captures: page",
        ),
        ("'t', 'c', 'sql', 'row', array['nope']", "No such queue"),
        (
            "'t', 'c', 'sql', 'row', array[]::text[]",
            "Invalid NULL value",
        ),
        (
            "'t', 'c', 'sql', 'row', array['q', null]",
            "Invalid NULL value",
        ),
        (
            "'t', 'c', 'sql', 'row', array['q', 'colour=red']",
            "bad param to pgq trigger",
        ),
        (
            "'t', 'c', 'json', 'row', array['q', 'encoding=minimal']",
            "bad param to pgq trigger",
        ),
        (
            "'t', 'c', 'json', 'generic', array['q', 'settings=pinned']",
            "bad param to pgq trigger",
        ),
        (
            "'t', 'c', 'sql', 'row', array['q', 'pkey=nope']",
            "pkey= names \"nope\", which is no column of the table",
        ),
        (
            "'t', 'mine', 'sql', 'row', array['q']",
            "trigger \"mine\" of t is no capture",
        ),
        (
            "'t', 'c', 'sql', 'statement', array['q']",
            "cannot capture statements on t: the table has AFTER triggers for rows: what they change would be \
             logged before its cause",
        ),
        (
            "'leaf', 'c', 'sql', 'statement', array['q']",
            "cannot capture statements on leaf: the table is a partition: statements on its root would not be \
             captured",
        ),
        (
            "'parent', 'c', 'sql', 'statement', array['q']",
            "cannot capture statements on parent: the table has inheritance children: their rows would be \
             captured as its own",
        ),
        (
            "'child', 'c', 'sql', 'statement', array['q']",
            "cannot capture statements on child: the table inherits from another: statements on that would not be \
             captured",
        ),
        (
            "'special', 'c', 'json', 'statement', array['q']",
            "cannot capture statements on special: columns named _pgq_... are special, and need a trigger for rows",
        ),
        (
            "'leafy', 'c', 'sql', 'statement', array['q', 'SKIP']",
            "cannot capture statements on leafy: SKIP needs a trigger for rows",
        ),
        (
            "'leafy', 'c', 'sql', 'statement', array['q', 'ev_extra1=upper(''x'')']",
            "cannot capture statements on leafy: deny, when= and ev_...= need a trigger for rows, unless it is \
             ev_extra1= with a literal",
        ),
    ] {
        let message = refusal(&mut db, &format!("select pgq.create_capture({arguments})"))?;
        assert_eq!(message.replace("public.", ""), expected, "{arguments}");
    }
    // A longer name would be cut, and with it what tells the triggers for statements apart.
    for (level, longest) in [("row", 63), ("statement", 56), ("generic", 63)] {
        let create = |length: usize| {
            let name = "x".repeat(length);
            format!("select pgq.create_capture('leafy', '{name}', 'sql', '{level}', array['q'])")
        };
        assert_eq!(
            refusal(&mut db, &create(longest + 1))?,
            format!(
                "name of a capture is too long: \"{}\"",
                "x".repeat(longest + 1)
            )
        );
        assert_eq!(row(&mut db, "select count(*) from pgq.capture")?, "0");
        assert_eq!(row(&mut db, &create(longest))?, "1");
        assert_eq!(row(&mut db, &create(longest))?, "0");
        let drop = format!(
            "select pgq.drop_capture('leafy', '{}')",
            "x".repeat(longest)
        );
        assert_eq!(row(&mut db, &drop)?, "1");
    }
    assert_eq!(row(&mut db, "select count(*) from pgq.capture")?, "0");
    Ok(())
}

#[test]
fn maintenance_warns_of_a_table_that_cannot_be_captured_by_statements_any_more() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create table root (id int primary key) partition by range (id);
         select pgq.create_capture('t', 'c', 'sql', 'statement', array['q'])",
    )?;
    let maintain = || -> TestResult<String> {
        let output = Command::new(cluster.bindir().join("psql"))
            .args(["-X", "-q", "-c", "select pgq.refresh_captures()", "-d"])
            .arg(cluster.conninfo("postgres"))
            .output()?;
        Ok(String::from_utf8(output.stderr)?)
    };
    if !has_program(&cluster, "psql") {
        return Ok(());
    }
    assert_eq!(maintain()?, "");
    db.batch_execute(
        "create table other (like t including all) partition by range (id);
         drop trigger c_guard on t;
         alter table other attach partition t for values from (0) to (10)",
    )?;
    assert_eq!(
        maintain()?,
        "WARNING:  capture c of public.t: cannot capture statements on public.t: the table is a partition: statements on its root \
         would not be captured\nHINT:  The table has changed; capture rows instead.\n"
    );
    Ok(())
}

#[test]
fn captures_come_and_go_beside_maintenance_without_a_deadlock() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    let mut dba = cluster.connect("postgres")?;
    let maintenance = thread::spawn(move || -> TestResult {
        for _ in 0..40 {
            dba.batch_execute(
                "begin; select pgq.refresh_captures('t'); commit; select pgq.refresh_captures()",
            )?;
        }
        Ok(())
    });
    let create = "select pgq.create_capture('t', 'c', 'sql', 'row', array['q'])";
    for _ in 0..40 {
        for sql in [create, create, "select pgq.drop_capture('t', 'c')"] {
            db.batch_execute(sql)?;
        }
    }
    maintenance.join().expect("maintenance does not panic")?;
    assert_eq!(row(&mut db, "select count(*) from pgq.capture")?, "0");
    Ok(())
}

#[test]
fn a_capture_that_is_created_and_dropped_at_once_is_no_trap_for_who_refreshes_it() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    let mut other = cluster.connect("postgres")?;
    let pid: i32 = other.query_one("select pg_backend_pid()", &[])?.get(0);
    db.batch_execute("begin; select pgq.create_capture('t', 'c', 'sql', 'row', array['q'])")?;
    let refresh = thread::spawn(move || other.batch_execute("select pgq.refresh_captures('t')"));
    let mut watch = cluster.connect("postgres")?;
    wait_until(
        "the refresh to wait for a lock",
        Duration::from_secs(30),
        || {
            let waits = "select exists (select from pg_locks where pid = $1 and not granted)";
            Ok(watch.query_one(waits, &[&pid])?.get(0))
        },
    )?;
    db.batch_execute("select pgq.drop_capture('t', 'c'); commit")?;
    refresh.join().expect("a query does not panic")?;
    assert_eq!(row(&mut db, "select count(*) from pgq.capture")?, "0");
    Ok(())
}

#[test]
fn partitions_are_captured_under_their_own_names_by_rows_and_their_roots_by_statements()
-> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create table p (id int primary key, a text) partition by range (id);
         create table p1 partition of p for values from (0) to (10);
         create table p2 (a text, id int primary key);
         alter table p attach partition p2 for values from (10) to (20);
         select pgq.create_capture('p', 'c', 'sql', 'row', array['q'])",
    )?;
    db.batch_execute("insert into p values (11, 'first'); delete from p")?;
    events(&mut db)?;
    db.batch_execute("delete from p; insert into p values (1, 'x'), (12, 'y')")?;
    assert_eq!(
        events(&mut db)?,
        [
            "I|(id,a) values ('1','x')|public.p1",
            // In the order of the columns of the root, whatever the partition's.
            "I|(id,a) values ('12','y')|public.p2",
        ]
    );
    db.batch_execute("update p set id = 13 where id = 1; insert into p1 values (2, 'direct')")?;
    assert_eq!(
        events(&mut db)?,
        [
            "D|id='1'|public.p1",
            "I|(id,a) values ('13','x')|public.p2",
            "I|(id,a) values ('2','direct')|public.p1",
        ]
    );
    db.batch_execute(
        "create table p3 partition of p for values from (20) to (30); insert into p values (21, 'z');
         alter table p rename to root; insert into root values (3, 'w')",
    )?;
    assert_eq!(
        events(&mut db)?,
        [
            "I|(id,a) values ('21','z')|public.p3",
            "I|(id,a) values ('3','w')|public.p1"
        ]
    );

    db.batch_execute(
        "alter table root rename to p; delete from p; truncate pgq.event_1_0;
         select pgq.create_capture('p', 'c', 'sql', 'statement', array['q'])",
    )?;
    db.batch_execute(
        "insert into p values (1, 'x'), (12, 'y'); update p set id = 13 where id = 1;
         update p set a = 'z' where id = 13; delete from p where id = 12",
    )?;
    assert_eq!(
        events(&mut db)?,
        [
            "I|(id,a) values ('1','x')|public.p",
            "I|(id,a) values ('12','y')|public.p",
            "D|id='1'|public.p",
            "I|(id,a) values ('13','x')|public.p",
            "U|a='z' where id='13'|public.p",
            "D|id='12'|public.p",
        ]
    );
    Ok(())
}

#[test]
fn a_key_of_ones_own_must_not_be_null_at_any_level() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute("create table n (a int, b int, v text)")?;
    for level in ["row", "statement", "generic"] {
        db.batch_execute(&format!(
            "select pgq.create_capture('n', 'c', 'sql', '{level}', array['q', 'pkey=a,b']);
             insert into n values (null, 1, 'x')"
        ))?;
        for statement in ["delete from n", "update n set v = 'y'"] {
            assert_eq!(
                refusal(&mut db, statement)?,
                "logtriga: Unexpected NULL key value",
                "{level}: {statement}"
            );
        }
        db.batch_execute("truncate n")?;
    }
    Ok(())
}

#[test]
fn a_capture_that_does_not_capture_everything_any_more_is_created_again() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    for (level, damage) in [
        ("statement", "drop trigger c_insert on t"),
        ("statement", "alter table t disable trigger c_update"),
        ("row", "alter table t disable trigger c"),
        ("row", "alter trigger c on t rename to d"),
        ("row", "drop trigger c on t"),
    ] {
        let create = format!("select pgq.create_capture('t', 'c', 'sql', '{level}', array['q'])");
        db.batch_execute(&create)?;
        db.batch_execute(damage)?;
        assert_eq!(row(&mut db, &create)?, "1", "{damage}");
        db.batch_execute("insert into t values (1, 'x'); update t set a = 'y'; delete from t")?;
        assert_eq!(events(&mut db)?.len(), 3, "{damage}");
    }
    db.batch_execute(
        "select pgq.drop_capture('t', 'c');
         create trigger c after insert on t for each row execute function pgq.sqltriga('q');
         select pgq.refresh_captures();
         select pgq.create_capture('t', 'c', 'sql', 'generic', array['q'])",
    )?;
    db.batch_execute("insert into t values (1, 'x'); delete from t")?;
    assert_eq!(events(&mut db)?.len(), 2);
    Ok(())
}

#[test]
fn text_decides_about_changes_whatever_the_collation_becomes() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create table c (id int primary key, v text)",
    )?;
    for level in ["row", "statement"] {
        db.batch_execute(&format!(
            "select pgq.create_capture('c', 'c', 'sql', '{level}', array['q', 'changes=text']);
             alter table c alter v type text collate nocase;
             insert into c values (1, 'a'); update c set v = 'A';
             select pgq.refresh_captures();
             update c set v = 'a'; delete from c;
             alter table c alter v type text collate \"default\""
        ))?;
        assert_eq!(
            events(&mut db)?,
            [
                "I|(id,v) values ('1','a')|public.c",
                "U|v='A' where id='1'|public.c",
                "U|v='a' where id='1'|public.c",
                "D|id='1'|public.c",
            ],
            "{level}"
        );
    }
    Ok(())
}

#[test]
fn a_capture_of_statements_may_name_the_table_as_it_likes() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "select pgq.create_capture('t', 'c', 'sql', 'statement', array['q', 'ev_extra1=''it''''s''']);
         insert into t values (1, 'x'); update t set a = 'y';
         alter table t rename to u; delete from u",
    )?;
    assert_eq!(
        events(&mut db)?,
        [
            "I|(id,a) values ('1','x')|it's",
            "U|a='y' where id='1'|it's",
            "D|id='1'|it's",
        ]
    );
    Ok(())
}

#[test]
fn minimal_encoding_reads_back_as_the_same_row() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "select pgq.create_capture('t', 'full', 'urlenc', 'row', array['q']),
                pgq.create_capture('t', 'minimal', 'urlenc', 'row', array['q', 'encoding=minimal']),
                pgq.create_capture('t', 'bulk', 'urlenc', 'statement', array['q', 'encoding=minimal']);
         insert into t values (1, E'a+b&c=d%25 \\\\ é\\n'), (2, null), (3, '')",
    )?;
    let data = rows(
        &mut db,
        "select ev_data from pgq.event_template order by ev_id",
    )?;
    assert_eq!(data.len(), 9);
    assert!(
        data.contains(&"id=1&a=a%2bb%26c%3dd%2525 \\ é\n".to_owned()),
        "{data:?}"
    );
    let mut read = Vec::new();
    for text in &data {
        read.push(format!(
            "{:?}",
            skytools::urlencode::decode(text.as_bytes())?
        ));
    }
    assert_eq!(read[0], read[1]);
    assert_eq!(read[2], read[3]);
    assert_eq!(read[4], read[5]);
    assert_eq!(
        [&read[0], &read[2], &read[4]],
        [&read[6], &read[7], &read[8]]
    );
    Ok(())
}

#[test]
fn a_large_update_keeps_its_order_in_a_plan_made_for_few_rows() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "select pgq.create_capture('t', 'c', 'sql', 'statement', array['q']);
         set work_mem = '64kB';
         insert into t values (0, 'first'); update t set a = 'second'; delete from t",
    )?;
    db.batch_execute(
        "insert into t select i, 'x' from generate_series(1, 20000) i order by hashint4(i);
         truncate pgq.event_1_0;
         update t set a = 'y'",
    )?;
    // Plans made for many rows would have the server compile expressions again for each small statement.
    assert_eq!(
        row(
            &mut db,
            "select proconfig @> '{jit=off}' from pg_proc, pgq.capture \
              where pronamespace = 'pgq_gen'::regnamespace and proname = cap_function"
        )?,
        "t"
    );
    assert_eq!(
        row(
            &mut db,
            "select count(*), count(*) filter (where place = number)
               from (select row_number() over (order by ev_id) as place, ev_data from pgq.event_template) e
               join (select id, row_number() over (order by ctid) as number from t) t
                 on ev_data = 'a=''y'' where id=''' || id || ''''"
        )?,
        "20000|20000"
    );
    assert_eq!(
        refusal(&mut db, "update t set id = id + 100000")?,
        "primary key update not allowed"
    );
    db.batch_execute("update t set a = 'z' where false; delete from t where false")?;
    Ok(())
}

#[test]
fn maintenance_leaves_a_trigger_alone_that_is_an_error() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create trigger wrong after insert on t for each row execute function pgq.sqltriga('q', 'SKIP');
         select pgq.refresh_captures()",
    )?;
    assert_eq!(
        refusal(&mut db, "insert into t values (1)")?,
        "SKIP does not work in AFTER trigger."
    );
    Ok(())
}

#[test]
fn events_read_alike_whether_plain_strings_of_the_session_have_backslashes_or_not() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create table s (id int primary key, b bytea, t text, \"c-d\" int);
         set escape_string_warning = off",
    )?;
    let londiste = "'q', 'ev_extra1=''it.s''', 'ignore=c-d', 'key_updates=log', 'changes=text', 'settings=pinned'";
    for (format, arguments) in [
        ("sql", londiste),
        ("sql", "'q'"),
        ("urlenc", "'q', 'ignore=c-d'"),
        ("json", "'q', 'ignore=c-d'"),
    ] {
        for level in ["row", "statement", "generic"] {
            if level == "generic" && arguments == londiste {
                continue;
            }
            // With a limit the queue is served in the slow way.
            for limit in ["null", "1000000000"] {
                let mut seen = Vec::new();
                for strings in ["on", "off"] {
                    db.batch_execute(&format!(
                        "update pgq.queue set queue_per_tx_limit = {limit};
                         set standard_conforming_strings = {strings};
                         select pgq.create_capture('s', 'c', '{format}', '{level}', array[{}]);
                         insert into s values (1, decode('005c27', 'hex'), chr(92) || chr(39), 1);
                         update s set t = chr(92); delete from s;
                         select pgq.drop_capture('s', 'c')",
                        // Doubled quotes mean the same in both kinds of strings.
                        arguments
                    ))?;
                    seen.push(events(&mut db)?);
                }
                assert_eq!(seen[0].len(), 3);
                assert_eq!(seen[0], seen[1], "{format} {level} {arguments} {limit}");
            }
        }
    }
    Ok(())
}
