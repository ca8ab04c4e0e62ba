//! Creating, changing and dropping captures, who may write to what they capture, and what a hostile
//! session can do to them.

use testkit::{Cluster, TestResult};

use crate::support::{connect_as, install, refusal, row, rows};

/// Events since the last call: type, data, table.
fn events(db: &mut postgres::Client) -> TestResult<Vec<String>> {
    let events = rows(
        db,
        "select ev_type, ev_data, ev_extra1 from pgq.event_template order by ev_id",
    )?;
    db.batch_execute("truncate pgq.event_1_0")?;
    Ok(events)
}

fn queue_and_table() -> TestResult<(Cluster, postgres::Client)> {
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
                                                         and proname like 'public\\_t\\_%')";
    for (level, format, triggers) in [
        ("row", "sql", 1),
        ("statement", "json", 3),
        ("generic", "urlenc", 1),
        ("statement", "sql", 3),
        ("row", "json", 1),
    ] {
        let create =
            format!("select pgq.create_capture('t', 'c', '{format}', '{level}', array['q'])");
        assert_eq!(row(&mut db, &create)?, "1");
        assert_eq!(row(&mut db, &create)?, "0");
        assert_eq!(row(&mut db, traces)?, format!("{triggers}|1|1"), "{level}");
        db.batch_execute("insert into t values (1, 'x'); delete from t")?;
        assert_eq!(events(&mut db)?.len(), 2, "{level}");
    }
    assert_eq!(row(&mut db, "select pgq.drop_capture('t', 'c')")?, "1");
    assert_eq!(row(&mut db, "select pgq.drop_capture('t', 'c')")?, "0");
    assert_eq!(row(&mut db, traces)?, "0|0|0");
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
         create table leaf partition of leafy for values from (0) to (10)",
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
            "'leafy', 'c', 'sql', 'statement', array['q', 'SKIP']",
            "cannot capture statements on leafy: SKIP needs a trigger for rows",
        ),
    ] {
        let message = refusal(&mut db, &format!("select pgq.create_capture({arguments})"))?;
        assert_eq!(message.replace("public.", ""), expected, "{arguments}");
    }
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
fn writers_need_no_role_of_pgq_for_generated_captures() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create role app login; create role dba login in role pgq_admin;
         grant all on t to app, dba; alter table t owner to dba;
         create schema types; create type types.mood as enum ('sad');
         grant usage on schema types to app, dba",
    )?;
    let mut dba = connect_as(&cluster, "dba")?;
    dba.batch_execute("select pgq.create_capture('t', 'c', 'sql', 'row', array['q'])")?;
    let mut app = connect_as(&cluster, "app")?;
    app.batch_execute("insert into t values (1, 'x')")?;
    dba.batch_execute("select pgq.create_capture('t', 'c', 'sql', 'statement', array['q'])")?;
    app.batch_execute("insert into t values (2, 'x')")?;
    assert_eq!(events(&mut db)?.len(), 2);
    // Also while the capture is stale.
    dba.batch_execute("alter table t add b types.mood")?;
    app.batch_execute("insert into t values (3, 'x', 'sad')")?;
    assert_eq!(
        events(&mut db)?,
        ["I|(id,a,b) values ('3','x','sad')|public.t"]
    );

    // Expressions run as the writer, who then needs the role, and so do generic triggers.
    dba.batch_execute(
        "select pgq.create_capture('t', 'c', 'sql', 'row', array['q', 'ev_extra2=current_user'])",
    )?;
    assert_eq!(
        refusal(&mut app, "insert into t values (4)")?,
        "permission denied for function insert_event"
    );
    dba.batch_execute("select pgq.create_capture('t', 'c', 'sql', 'generic', array['q'])")?;
    assert_eq!(
        refusal(&mut app, "insert into t values (4)")?,
        "permission denied for function insert_event"
    );
    db.batch_execute("grant pgq_writer to app")?;
    app.batch_execute("insert into t values (4)")?;
    dba.batch_execute(
        "select pgq.create_capture('t', 'c', 'sql', 'row', array['q', 'ev_extra2=current_user'])",
    )?;
    app.batch_execute("insert into t values (5)")?;
    assert_eq!(
        row(
            &mut db,
            "select ev_extra2 from pgq.event_template order by ev_id desc limit 1"
        )?,
        "app"
    );

    // Nobody attaches the function of a capture to a table of his own.
    let function = row(&mut db, "select cap_function from pgq.capture")?;
    app.batch_execute("create temp table own (id int primary key, a text, b int)")?;
    assert!(
        refusal(
            &mut app,
            &format!(
                "create trigger forged after insert on own for each row execute function pgq_gen.{function}('q')"
            )
        )?
        .starts_with("permission denied for function")
    );
    assert!(
        refusal(
            &mut app,
            "select pgq.create_capture('own', 'c', 'sql', 'row', array['q'])"
        )?
        .starts_with("permission denied for function")
    );
    Ok(())
}

#[test]
fn a_hostile_path_changes_nothing_that_runs_as_the_owner() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create role app login; grant create on database postgres to app;
         create table w (id int primary key, n numeric, t text, c char(3), tz timestamptz, f float8, j json,
                         p point, d date);
         grant all on t, w to app",
    )?;
    let mut app = connect_as(&cluster, "app")?;
    app.batch_execute(
        "create schema evil;
         create function evil.bad() returns boolean language plpgsql as
             $$ begin if current_user <> 'app' then raise exception 'hijacked'; end if; return true; end $$;
         create function evil.concat(variadic text[]) returns text language plpgsql as
             $$ begin perform evil.bad(); return 'evil'; end $$;
         create function evil.quote_literal(text) returns text language plpgsql as
             $$ begin perform evil.bad(); return 'evil'; end $$;
         create function evil.eq(int, int) returns boolean language sql as 'select evil.bad()';
         create operator evil.= (leftarg = int, rightarg = int, function = evil.eq);
         create operator evil.<> (leftarg = int, rightarg = int, function = evil.eq);
         create function evil.eqt(text, text) returns boolean language sql as 'select evil.bad()';
         create operator evil.= (leftarg = text, rightarg = text, function = evil.eqt);
         create function evil.cat(text, text) returns text language plpgsql as
             $$ begin perform evil.bad(); return 'evil'; end $$;
         create operator evil.|| (leftarg = text, rightarg = text, function = evil.cat);
         create domain pg_temp.text as pg_catalog.text check (evil.bad());
         create domain pg_temp.int4 as pg_catalog.int4 check (evil.bad())",
    )?;
    for format in ["sql", "urlenc", "json"] {
        for level in ["row", "statement"] {
            for stale in [false, true] {
                db.batch_execute(&format!(
                    "select pgq.create_capture('w', 'c', '{format}', '{level}', array['q', 'ignore=f'])"
                ))?;
                if stale {
                    db.batch_execute("alter table w add extra int")?;
                }
                let dml = "insert into w values (1, 1.5, 'a b', 'c', '2020-01-01 00:00+00', 1, '{}', '(1,2)', '2020-01-01');
                           update w set n = 1.50, t = 'x' where id operator(pg_catalog.=) 1;
                           delete from w";
                db.batch_execute("truncate pgq.event_1_0")?;
                db.batch_execute(dml)?;
                let expected = events(&mut db)?;
                app.batch_execute("set search_path = pg_temp, evil, pg_catalog, public")?;
                app.batch_execute(dml)
                    .map_err(|error| format!("{format} {level} {stale}: {error:?}"))?;
                assert_eq!(events(&mut db)?, expected, "{format} {level} {stale}");
                if stale {
                    db.batch_execute("alter table w drop extra")?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn code_that_comes_with_a_type_does_not_run_as_the_owner() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    db.batch_execute("create role app login; grant create on schema public to app")?;
    let mut app = connect_as(&cluster, "app")?;
    app.batch_execute(
        "create function bad() returns boolean language plpgsql as
             $$ begin if current_user <> 'app' then raise exception 'hijacked'; end if; return true; end $$;
         create type pair as (a int, b int);
         create function to_json_of(pair) returns json language sql as $$ select case when bad() then '1'::json end $$;
         create cast (pair as json) with function to_json_of(pair);
         create function to_text_of(pair) returns text language sql as $$ select case when bad() then 'x' end $$;
         create cast (pair as text) with function to_text_of(pair) as implicit;
         create function same(pair, pair) returns boolean language sql as 'select bad()';
         create operator = (leftarg = pair, rightarg = pair, function = same);
         create domain checked as int check (value is null or bad());
         create table own (id int primary key, p pair, c checked)",
    )?;
    for format in ["sql", "urlenc", "json"] {
        for level in ["row", "statement"] {
            for stale in [false, true] {
                db.batch_execute(&format!(
                    "select pgq.create_capture('own', 'c', '{format}', '{level}', array['q', 'backup', 'ignore=id'])"
                ))?;
                if stale {
                    app.batch_execute("alter table own add extra int")?;
                }
                for isolation in ["read committed", "repeatable read"] {
                    app.batch_execute(&format!(
                        "begin transaction isolation level {isolation};
                         insert into own values (1, (1, 2), 3); update own set p = (2, 3), c = 4; delete from own;
                         commit"
                    ))
                    .map_err(|error| format!("{format} {level} {stale} {isolation}: {error:?}"))?;
                }
                if stale {
                    app.batch_execute("alter table own drop extra")?;
                }
            }
        }
    }
    assert_eq!(events(&mut db)?.len(), 3 * 2 * 2 * 2 * 3);
    Ok(())
}

#[test]
fn names_with_line_ends_are_no_code() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create function hijacked() returns int language plpgsql as
             $$ begin raise exception 'hijacked'; end $$;
         select pgq.create_queue(E'q2\ndeclare z int := public.hijacked();--')",
    )?;
    let table = "\"t\ndeclare z int := public.hijacked();--\"";
    for level in ["row", "statement", "generic"] {
        db.batch_execute(&format!(
            "drop table if exists {table};
             create table {table} (id int primary key, \"c\n'; perform public.hijacked();--\" text);
             select pgq.create_capture('{table}', E't\n--', 'sql', '{level}',
                                       array[E'q2\ndeclare z int := public.hijacked();--'])"
        ))?;
        db.batch_execute(&format!(
            "insert into {table} values (1, 'x'); update {table} set id = id; delete from {table}"
        ))?;
        assert_eq!(
            row(&mut db, "select count(*) from pgq.event_2")?,
            "3",
            "{level}"
        );
        db.batch_execute("truncate pgq.event_2_0")?;
    }
    Ok(())
}

#[test]
fn generated_functions_serve_their_own_tables_and_arguments_only() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create role app login in role pgq_admin; grant create on schema public to app;
         select pgq.create_capture('t', 'row', 'sql', 'row', array['q']),
                pgq.create_capture('t', 'generic', 'sql', 'generic', array['q'])",
    )?;
    let mut app = connect_as(&cluster, "app")?;
    app.batch_execute(
        "create function bad() returns text language plpgsql as
             $$ begin if current_user <> 'app' then raise exception 'hijacked'; end if; return 'x'; end $$;
         create type mine as enum ('x');
         create function mine_text(mine) returns text language sql as 'select bad()';
         create cast (mine as text) with function mine_text(mine);
         create type forged as (id int, a mine);
         create table own (id int primary key, a mine)",
    )?;
    let builder = row(
        &mut db,
        "select cap_function from pgq.capture where cap_trigger = 'generic'",
    )?;
    assert_eq!(
        row(
            &mut app,
            &format!(
                "select pgq_gen.{builder}('INSERT', '[0:0]={{q}}'::text[], row(1, 'x')::forged, row(1, 'x')::forged)"
            )
        )?,
        "NULL"
    );
    let function = row(
        &mut db,
        "select cap_function from pgq.capture where cap_trigger = 'row'",
    )?;
    app.batch_execute(&format!(
        "create trigger forged after insert on own for each row
             execute function pgq_gen.{function}('q', 'ev_extra3=bad()')"
    ))?;
    app.batch_execute("insert into own values (1, 'x')")?;
    assert_eq!(events(&mut db)?, ["I|(id,a) values ('1','x')|public.own"]);
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
