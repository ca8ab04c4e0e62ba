//! Who may write to what captures log, and what a hostile session can do to code that runs as the owner.

use testkit::{Cluster, TestResult};

use crate::captures::{events, queue_and_table};
use crate::support::{connect_as, refusal, row, rows, run};

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
fn a_domain_is_compared_as_its_base_whatever_operators_somebody_made() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    let extension = "select count(*) from pg_available_extensions where name = 'citext'";
    if row(&mut db, extension)? == "0" {
        return Ok(());
    }
    db.batch_execute(
        "create extension citext; create role app login; grant create on schema public to app",
    )?;
    let mut app = connect_as(&cluster, "app")?;
    app.batch_execute(
        "create domain name_of as citext;
         create function same(name_of, name_of) returns boolean language plpgsql as
             $$ begin raise exception 'hijacked'; end $$;
         create operator = (leftarg = name_of, rightarg = name_of, function = same);
         create table own (id int primary key, v name_of)",
    )?;
    for level in ["row", "statement", "generic"] {
        db.batch_execute(&format!(
            "select pgq.create_capture('own', 'c', 'sql', '{level}', array['q']);
             grant pgq_writer to app"
        ))?;
        app.batch_execute(
            "insert into own values (1, 'a'); update own set v = 'A'; update own set v = 'b'; delete from own",
        )?;
        assert_eq!(
            events(&mut db)?,
            [
                "I|(id,v) values ('1','a')|public.own",
                "U|id='1' where id='1'|public.own",
                "U|v='b' where id='1'|public.own",
                "D|id='1'|public.own",
            ],
            "{level}"
        );
    }
    Ok(())
}

#[test]
fn an_owner_of_pgq_who_may_not_use_a_schema_serves_its_tables_and_types() -> TestResult {
    let cluster = Cluster::start()?;
    cluster.connect("postgres")?.batch_execute(
        "create role keeper login createrole; create role app login;
         grant create on database postgres to keeper, app",
    )?;
    let mut db = connect_as(&cluster, "keeper")?;
    run(&mut db, &["pgq/install.sql"])?;
    db.batch_execute("select pgq.create_queue('q'); grant pgq_admin to app")?;
    let mut app = connect_as(&cluster, "app")?;
    app.batch_execute(
        r#"create schema "50%s"; create type "50%s".mood as enum ('a', 'b');
           create domain "50%s".of_mood as "50%s".mood; create domain "50%s".twice as "50%s".of_mood;
           create table "50%s".t (id int primary key, m "50%s".mood, d "50%s".twice)"#,
    )?;
    let table = r#""50%s".t"#;
    let create = |level: &str| {
        format!("select pgq.create_capture('{table}', 'c', 'sql', '{level}', array['q'])")
    };
    let dml = format!(
        "insert into {table} values (1, 'a', 'a'); update {table} set d = 'b';
         update {table} set m = 'a'; delete from {table}"
    );
    let expected = [
        "I|(id,m,d) values ('1','a','a')|50%s.t",
        "U|d='b' where id='1'|50%s.t",
        "U|id='1' where id='1'|50%s.t",
        "D|id='1'|50%s.t",
    ];
    for level in ["row", "generic"] {
        app.batch_execute(&create(level))?;
        app.batch_execute(&dml)?;
        assert_eq!(events(&mut db)?, expected, "{level}");
    }
    // The slow way names the type of the rows, and a table may change at any time.
    assert_eq!(
        refusal(&mut app, &create("statement"))?,
        r#"cannot capture statements on "50%s".t: the owner of PgQ may not use schema "50%s""#
    );
    app.batch_execute(r#"grant usage on schema "50%s" to keeper"#)?;
    app.batch_execute(&create("statement"))?;
    app.batch_execute(&dml)?;
    assert_eq!(events(&mut db)?, expected);
    app.batch_execute(&format!("alter table {table} add x int"))?;
    app.batch_execute(&dml)?;
    assert_eq!(events(&mut db)?.len(), expected.len(), "the slow way");
    Ok(())
}

#[test]
fn the_name_of_a_time_zone_is_no_part_of_an_event() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute("create table w (id int primary key, z timestamptz, a text)")?;
    for (format, option, expected) in [
        (
            "sql",
            "backup",
            "(id,z,a) values ('1','12/31/2023 19:00:00 A''&B=','x')",
        ),
        (
            "urlenc",
            "backup",
            "id=1&z=12%2f31%2f2023+19%3a00%3a00+A%27%26B%3d&a=x",
        ),
        (
            // The slow way encodes all of it.
            "urlenc",
            "encoding=minimal",
            "id=1&z=12%2f31%2f2023+19%3a00%3a00+A%27%26B%3d&a=x",
        ),
        (
            "json",
            "backup",
            r#"{"id":1,"z":"2023-12-31T19:00:00-05:00","a":"x"}"#,
        ),
    ] {
        for level in ["row", "statement", "generic"] {
            if level == "generic" && option != "backup" {
                continue;
            }
            db.batch_execute(&format!(
                "select pgq.create_capture('w', 'c', '{format}', '{level}', array['q', '{option}']);
                 set timezone = 'A''&B=5'; set datestyle = 'SQL, MDY';
                 insert into w values (1, '2024-01-01 00:00:00+00', 'x');
                 update w set a = 'y'; delete from w;
                 reset timezone; reset datestyle"
            ))?;
            let backup = row(
                &mut db,
                "select coalesce(max(ev_extra2), '') from pgq.event_template",
            )?;
            let logged = rows(
                &mut db,
                "select ev_data from pgq.event_template order by ev_id",
            )?;
            db.batch_execute("truncate pgq.event_1_0")?;
            assert_eq!(logged[0], expected, "{format}, {option}, {level}");
            match (format, option) {
                ("sql", _) => assert_eq!(
                    backup, "id=1&z=12%2f31%2f2023+19%3a00%3a00+A%27%26B%3d&a=x",
                    "{level}"
                ),
                (_, "backup") => assert_eq!(backup, expected, "{format}, {level}"),
                _ => assert_eq!(backup, ""),
            }
        }
    }
    Ok(())
}
