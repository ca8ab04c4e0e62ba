//! `provider execute`: scripts in the stream of changes.

use testkit::{Program, TestResult, wait_until};

use crate::support::{PATIENCE, Pair};

const SCHEMA: &str = "create table t (id int primary key, v text);
                      create table u (id int primary key, v text)";

/// Writes a script and runs `provider execute` on it; returns the exit code and the log.
fn execute(pair: &Pair, name: &str, text: &str, options: &[&str]) -> TestResult<(i32, String)> {
    std::fs::write(pair.path(name), text)?;
    let output = Program::new("londiste", pair.dir())
        .args(["replay.ini", "provider", "execute", name])
        .args(options.iter().copied())
        .output()?;
    Ok((output.status.code().unwrap_or(-1), output.stderr))
}

fn ok(pair: &Pair, name: &str, text: &str) -> TestResult<String> {
    match execute(pair, name, text, &[])? {
        (0, log) => Ok(log),
        (code, log) => Err(format!("{name} ended with {code}: {log}").into()),
    }
}

fn refused(pair: &Pair, name: &str, text: &str) -> TestResult<String> {
    match execute(pair, name, text, &[])? {
        (1, log) => Ok(log),
        (code, log) => Err(format!("{name} ended with {code}: {log}").into()),
    }
}

#[test]
fn a_script_runs_at_its_place_among_the_changes() -> TestResult {
    let pair = Pair::start(SCHEMA)?;
    pair.add(&["t", "u"])?;
    let mut replay = Some(pair.replay()?);
    pair.wait_ok(&["public.t", "public.u"])?;
    // All of this comes in few batches.
    replay.take();
    let mut db = pair.provider()?;
    db.batch_execute("insert into t select i, 'old' from generate_series(1, 100) i")?;
    ok(
        &pair,
        "1.sql",
        "set local search_path = pg_catalog;
         alter table public.t add w int not null default 7;
         update public.t set v = v || id where id % 2 = 0;
         alter table public.t rename v to x;",
    )?;
    db.batch_execute(
        "insert into t select i, 'new', i from generate_series(101, 150) i;
         update t set w = 8 where id < 10; insert into u values (1, 'u')",
    )?;
    ok(
        &pair,
        "2.sql",
        "alter table t drop w; alter table t add g int generated always as (id * 2) stored;
         create index on u (v)",
    )?;
    db.batch_execute("update t set x = 'end' where id = 5; insert into t values (200, 'last')")?;
    let _replay = pair.replay()?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from t order by id")?, 151);
    pair.assert_equal("select * from u order by id")?;
    // A generated column is not captured, and captures are as they should be.
    pair.londiste(&["provider", "check"])?;
    pair.assert_equal(
        "select execute_file, execute_hash from londiste.applied_execute order by 1",
    )?;
    pair.assert_quiet()
}

#[test]
fn a_script_runs_once() -> TestResult {
    let pair = Pair::start(SCHEMA)?;
    let _replay = pair.replay()?;
    ok(&pair, "1.sql", "create table n (a int)")?;
    let log = ok(&pair, "1.sql", "create table n (a int)")?;
    assert!(
        log.contains("INFO 1.sql has been run before, skipping\n"),
        "{log}"
    );
    // Another text is another script.
    ok(&pair, "1.sql", "alter table n add b int")?;
    pair.catch_up()?;
    pair.assert_equal(
        "select attname::text from pg_attribute where attrelid = 'n'::regclass order by 1",
    )?;
    Ok(())
}

#[test]
fn what_cannot_run_in_the_stream_is_refused() -> TestResult {
    let pair = Pair::start(SCHEMA)?;
    pair.add_on_provider(&["t"])?;
    for (text, message) in [
        (
            "alter table u rename to w; alter table t rename to \"T\"",
            "ERROR 1.sql: the script 1.sql renames the registered table public.t to public.T, under which",
        ),
        (
            "create index concurrently i on t (v)",
            "ERROR the script 1.sql cannot run in a transaction: create index concurrently i on t (v); \
             run it on each database by itself\n",
        ),
        (
            "set search_path = x",
            "ERROR the script 1.sql changes the session: set search_path = x; use SET LOCAL\n",
        ),
        ("", "ERROR the script 1.sql has no statements\n"),
        (
            "--*-- Sometimes: x\nselect 1",
            "ERROR the script 1.sql has an unknown header: Sometimes: x\n",
        ),
        (
            "--*-- Need-Table: public.t, public.absent\nselect 1",
            "ERROR 1.sql: the script 1.sql is limited to what is only partly here: public.absent is missing\n",
        ),
        (
            "select 1; select nonsense",
            "ERROR 1.sql: cannot run statement 2 of 1.sql: ERROR: column \"nonsense\" does not exist",
        ),
    ] {
        let log = refused(&pair, "1.sql", text)?;
        assert!(log.contains(message), "{text}: {log}");
    }
    let events: i64 = pair
        .provider()?
        .query_one("select count(*) from pgq.event_template", &[])?
        .get(0);
    assert_eq!(events, 0);
    Ok(())
}

#[test]
fn a_script_is_for_the_databases_that_its_header_names() -> TestResult {
    let pair = Pair::start(SCHEMA)?;
    pair.add_on_provider(&["t", "u"])?;
    pair.add_on_subscriber(&["t"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    ok(
        &pair,
        "t.sql",
        "--*-- Local-Table: public.t\nalter table @public.t@ add here int",
    )?;
    ok(
        &pair,
        "u.sql",
        "-- only where it is\n\n--*-- Local-Table: u\ncreate table only_there (a int)",
    )?;
    pair.catch_up()?;
    let tables = "select relname::text from pg_class where relname = 'only_there'
                  union all
                  select attname from pg_attribute where attrelid = 't'::regclass and attname = 'here'
                  order by 1";
    let names = |mut db: postgres::Client| -> TestResult<Vec<String>> {
        let rows = db.query(tables, &[])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    assert_eq!(names(pair.provider()?)?, ["here", "only_there"]);
    assert_eq!(names(pair.subscriber()?)?, ["here"]);

    // What is partly there is for a person to sort out.
    ok(
        &pair,
        "both.sql",
        "--*-- Local-Table: public.t, public.u\nselect 1",
    )?;
    pair.wait_log(
        "the script both.sql is limited to what is only partly here: public.u is missing",
    )?;
    pair.add_on_subscriber(&["u"])?;
    pair.catch_up()
}

#[test]
fn a_role_that_cannot_quiet_captures_may_change_tables_but_no_captured_rows() -> TestResult {
    let pair = Pair::start(SCHEMA)?;
    let mut db = pair.provider()?;
    db.batch_execute(
        "create role dba login in role pgq_admin;
         alter table t owner to dba; alter table u owner to dba;
         grant all on schema public to dba;
         grant usage on schema londiste to dba;
         grant execute on all functions in schema londiste to dba;",
    )?;
    pair.add(&["t", "u"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t", "public.u"])?;
    let conninfo = db
        .query_one("select current_user::text", &[])?
        .get::<_, String>(0);
    assert_ne!(conninfo, "dba");
    db.batch_execute("insert into t values (1, 'x')")?;
    pair.write_ini("dba", "")?;
    let ini = std::fs::read_to_string(pair.path("dba.ini"))?;
    let ini = ini.replacen("provider_db = ", "provider_db = options='-c role=dba' ", 1);
    std::fs::write(pair.path("dba.ini"), ini)?;
    let run = |name: &str, text: &str| -> TestResult<(Option<i32>, String)> {
        std::fs::write(pair.path(name), text)?;
        let output = Program::new("londiste", pair.dir())
            .args(["dba.ini", "provider", "execute", name])
            .output()?;
        Ok((output.status.code(), output.stderr))
    };
    let (code, log) = run("ddl.sql", "alter table t add a int default 5")?;
    assert_eq!(code, Some(0), "{log}");
    let (code, log) = run("dml.sql", "update t set a = 6")?;
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("script \"dml.sql\" has changed captured rows"),
        "{log}"
    );
    db.batch_execute("insert into t values (2, 'y', 7)")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from t order by id")?, 2);
    Ok(())
}

#[test]
fn a_script_waits_for_copies() -> TestResult {
    let pair = Pair::start(SCHEMA)?;
    pair.add(&["u"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.u"])?;
    let mut db = pair.provider()?;
    db.batch_execute("insert into t select i, i from generate_series(1, 1000) i")?;
    // The copy of t waits in the middle.
    let mut holder = pair.subscriber()?;
    holder.batch_execute(
        "create function hold(int) returns boolean language plpgsql as $$
         begin
             if $1 = 500 then perform pg_advisory_xact_lock(1); end if;
             return true;
         end $$;
         alter table t add check (hold(id)); select pg_advisory_lock(1)",
    )?;
    pair.add(&["t"])?;
    pair.wait_state("public.t", "in-copy")?;
    wait_until("the copy to be registered", PATIENCE, || {
        let row = db.query_one("select count(*) from pgq.get_consumer_info('q')", &[])?;
        Ok(row.get::<_, i64>(0) == 2)
    })?;
    let text = "alter table u add a int default 1; update t set v = v || '!'";
    let log = refused(&pair, "1.sql", text)?;
    assert!(
        log.contains("ERROR tables are being copied: replay_copy, public.t; run the script when they are in sync"),
        "{log}"
    );
    let (code, log) = execute(&pair, "1.sql", text, &["--force"])?;
    assert_eq!(code, 0, "{log}");
    db.batch_execute("insert into t values (2000, 'x'); insert into u values (1, 'u', 2)")?;
    pair.wait_log("has to wait for tables that are being copied: public.t")?;
    holder.batch_execute("select pg_advisory_unlock(1)")?;
    pair.catch_up()?;
    pair.wait_ok(&["public.t", "public.u"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from t order by id")?, 1001);
    pair.assert_equal("select * from u order by id")?;
    Ok(())
}

#[test]
fn a_script_may_have_the_session_forget_its_statements() -> TestResult {
    let pair = Pair::start(SCHEMA)?;
    pair.add(&["t", "u"])?;
    let mut replay = Some(pair.replay()?);
    pair.wait_ok(&["public.t", "public.u"])?;
    replay.take();
    let mut db = pair.provider()?;
    db.batch_execute("insert into t select i, 'before' from generate_series(1, 50) i")?;
    ok(
        &pair,
        "1.sql",
        "do $$ begin execute 'deallocate all'; end $$",
    )?;
    db.batch_execute(
        "insert into t select i, 'after' from generate_series(51, 100) i;
         update t set v = v || id",
    )?;
    let _replay = pair.replay()?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from t order by id")?, 100);
    pair.assert_quiet()
}
