//! Every function, called by every role, in both models of privileges and under a hostile search path.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::catalogue;
use crate::support::{cluster, connect_as, eager_queue, insert, row, rows, run, run_scripts, tick};

/// A call of each function. Trigger functions are called by a change of a table.
const CALLS: &str = include_str!("fixtures/calls.sql");

const ROLES: [&str; 4] = ["bare", "reader", "writer", "admin"];

/// Who may call a function, the function, and the call: roles are those of [`ROLES`], `maker` stands for an
/// administrator where functions are made.
fn calls() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    CALLS.split("\n\n-- ").skip(1).map(|call| {
        let (head, statement) = call.split_once('\n').expect("a statement");
        let (who, function) = head.split_once(": ").expect("a role and a function");
        (function, who, statement)
    })
}

/// A role of each kind, and the state of [`fill`].
fn in_use() -> TestResult<(Cluster, Client)> {
    let (cluster, mut db) = cluster()?;
    fill(&mut db)?;
    db.batch_execute(
        "create role bare; create role reader in role pgq_reader; create role writer in role pgq_writer;
         create role admin in role pgq_admin;
         alter table captured owner to admin",
    )?;
    Ok((cluster, db))
}

/// A queue `q` with batch 1 of `c`, of which event 3 failed and event 2 waits, and batch 2 of the member `g.1`; `d` and
/// the group `h` without a batch; queues that are ticked from elsewhere and about to rotate; tables with captures.
fn fill(db: &mut Client) -> TestResult {
    eager_queue(db, "q")?;
    db.batch_execute(
        "select pgq.register_consumer('q', 'c'), pgq.register_consumer('q', 'd'),
                pgq_coop.register_subconsumer('q', 'g', '1'), pgq_coop.register_subconsumer('q', 'h', '1')",
    )?;
    for data in ["a", "b", "c"] {
        insert(db, data)?;
    }
    tick(db)?;
    assert_eq!(row(db, "select pgq.next_batch('q', 'c')")?, "1");
    assert_eq!(row(db, "select pgq_coop.next_batch('q', 'g', '1')")?, "2");
    db.batch_execute(
        "select pgq.event_failed(1, 3, 'why'), pgq.event_retry(1, 2, 0),
                pgq.create_queue('external'), pgq.create_queue('rotates');
         select pgq.set_queue_config('external', 'external_ticker', 'true'),
                pgq.set_queue_config('rotates', 'rotation_period', '0');
         create table plain (id int primary key);
         create table captured (id int primary key);
         grant all on plain, captured to public;
         select pgq.create_capture('captured', 'capture', 'json', 'row', '{q}')",
    )?;
    for function in ["sqltriga", "logutriga", "jsontriga", "logtriga"] {
        let arguments = if function == "logtriga" {
            "'q', 'k'"
        } else {
            "'q'"
        };
        db.batch_execute(&format!(
            "create table of_{function} (id int primary key);
             grant insert on of_{function} to public;
             create trigger capture after insert on of_{function}
                 for each row execute function pgq.{function}({arguments})"
        ))?;
    }
    Ok(())
}

/// What a call comes to: nothing, or the error.
fn outcome(db: &mut Client, settings: &str, call: &str) -> TestResult<Option<String>> {
    db.batch_execute(&format!("begin; {settings}"))?;
    let result = db.simple_query(call);
    db.batch_execute("rollback")?;
    Ok(result.err().map(|error| {
        error
            .as_db_error()
            .map_or_else(|| error.to_string(), |error| error.message().to_owned())
    }))
}

#[test]
fn every_function_is_called_here() -> TestResult {
    let (_cluster, mut db) = in_use()?;
    let called: BTreeSet<String> = calls().map(|(name, ..)| name.to_owned()).collect();
    let present: BTreeSet<String> = rows(
        &mut db,
        "select p.oid::regprocedure from pg_proc p
          where p.pronamespace::regnamespace::text in ('pgq', 'pgq_ext', 'pgq_coop') and p.proname !~ '^_'",
    )?
    .into_iter()
    .collect();
    assert_eq!(called, present);
    Ok(())
}

/// The calls of all roles that do not come to what `expected` says: the beginning of the error, if there is one.
fn surprises(
    db: &mut Client,
    expected: impl Fn(&str, &str, &str) -> Option<&'static str>,
) -> TestResult<Vec<String>> {
    let mut surprises = Vec::new();
    for (function, who, call) in calls() {
        for role in ROLES {
            let found = outcome(db, &format!("set local role {role}"), call)?;
            let right = match (&found, expected(function, who, role)) {
                (None, None) => true,
                (Some(found), Some(expected)) => found.starts_with(expected),
                _ => false,
            };
            if !right {
                surprises.push(format!("{role}: {function}: {found:?}"));
            }
        }
    }
    Ok(surprises)
}

#[test]
fn with_the_new_grants_each_role_calls_its_functions_and_no_others() -> TestResult {
    let (_cluster, mut db) = in_use()?;
    let surprises = surprises(&mut db, |_, who, role| {
        (who != "bare" && role != who && role != "admin")
            .then_some("permission denied for function")
    })?;
    assert!(surprises.is_empty(), "{surprises:#?}");
    Ok(())
}

/// What runs with the rights of its caller on tables that only an administrator changes.
const OWN_RIGHTS: &[(&str, &str)] = &[
    (
        "pgq.insert_event_raw",
        "permission denied for function insert_event",
    ),
    (
        "pgq.maint_retry_events",
        "permission denied for table retry_queue",
    ),
    (
        "pgq.maint_rotate_tables_step1",
        "permission denied for table queue",
    ),
];

#[test]
fn with_the_old_grants_everybody_calls_all_functions_with_the_rights_of_his_own() -> TestResult {
    let (_cluster, mut db) = in_use()?;
    run(&mut db, &["pgq/oldgrants.sql", "pgq_ext/oldgrants.sql"])?;
    let surprises = surprises(&mut db, |function, who, role| {
        // Version 2 had no cooperative consumers, and no functions that make functions.
        let closed =
            who == "maker" || function.starts_with("pgq_coop.") && who != "bare" && role != who;
        let name = function.split('(').next()?;
        let own = OWN_RIGHTS.iter().find(|(own, _)| *own == name);
        match (role, closed, own) {
            ("admin", ..) => None,
            (_, true, _) => Some("permission denied for function"),
            (_, _, own) => own.map(|(_, error)| *error),
        }
    })?;
    assert!(surprises.is_empty(), "{surprises:#?}");
    Ok(())
}

/// What would run in place of the server's own and of PgQ's, were a name looked up by the path of the caller.
const EVIL: &str = "
    create schema evil;
    create function evil.caught() returns boolean language plpgsql as
        $$ begin raise exception 'caught as %', current_user; end $$;
    create function evil.eq(text, text) returns boolean language sql as 'select evil.caught()';
    create operator evil.= (leftarg = text, rightarg = text, function = evil.eq);
    create function evil.eq(bigint, bigint) returns boolean language sql as 'select evil.caught()';
    create operator evil.= (leftarg = bigint, rightarg = bigint, function = evil.eq);
    create function evil.eq(integer, integer) returns boolean language sql as 'select evil.caught()';
    create operator evil.= (leftarg = integer, rightarg = integer, function = evil.eq);
    create function evil.cat(text, text) returns text language sql as 'select evil.caught()::text';
    create operator evil.|| (leftarg = text, rightarg = text, function = evil.cat);
    create function evil.now() returns timestamptz language sql as 'select now() where evil.caught()';
    create function evil.nextval(regclass) returns bigint language sql as 'select 1::bigint where evil.caught()';
    create function evil.txid_current() returns bigint language sql as 'select 1::bigint where evil.caught()';
    create function evil.quote_ident(text) returns text language sql as 'select evil.caught()::text';
    create function evil.format(text, variadic text[]) returns text language sql as 'select evil.caught()::text';
    create domain evil.text as pg_catalog.text check (evil.caught());
    create domain evil.regprocedure as pg_catalog.text check (evil.caught());
    create domain evil.regclass as pg_catalog.text check (evil.caught());
    create domain evil.oid as pg_catalog.text check (evil.caught());
    create domain evil.record as pg_catalog.text check (evil.caught());
    create domain evil.int8 as pg_catalog.text check (evil.caught());
    create domain evil.int4 as pg_catalog.text check (evil.caught());
    create domain evil.bool as pg_catalog.text check (evil.caught());
    create domain evil.timestamptz as pg_catalog.text check (evil.caught());
    create domain evil.interval as pg_catalog.text check (evil.caught());
    create temp table queue (queue_name pg_catalog.text);
    create temp table tick ();
    create temp table subscription ();
    create temp table consumer ();
    create temp table event_template ();
    create temp table retry_queue ();
    create temp table failed_queue ();
    create temp table capture ();
    create temp table completed_tick ();
    create temp table completed_batch ();
    create temp table completed_event ();
    create temp table pg_class ();
    grant usage on schema evil to public";

#[test]
fn no_function_looks_at_the_search_path_or_at_temporary_tables() -> TestResult {
    let (_cluster, mut db) = in_use()?;
    db.batch_execute(EVIL)?;
    let mut surprises = Vec::new();
    for (function, _, call) in calls() {
        let settings = "set local role admin; set local search_path = evil, pg_temp, pg_catalog";
        if let Some(error) = outcome(&mut db, settings, call)? {
            surprises.push(format!("{function}: {error}"));
        }
    }
    // Nor do triggers, the fields of a row included.
    db.batch_execute(
        "create table evil.t (id int primary key, v numeric);
         grant all on evil.t to admin;
         create trigger capture after insert or update on evil.t
             for each row execute function pgq.sqltriga('q')",
    )?;
    let call =
        "insert into evil.t values (1, 1.0); update evil.t set v = 1.00; update evil.t set v = 2";
    surprises.extend(outcome(
        &mut db,
        "set local role admin; set local search_path = evil, pg_temp, pg_catalog",
        call,
    )?);
    assert!(surprises.is_empty(), "{surprises:#?}");
    Ok(())
}

#[test]
fn all_works_for_a_role_that_installed_it_without_superuser_rights_and_without_c() -> TestResult {
    let cluster = Cluster::start()?;
    let mut superuser = cluster.connect("postgres")?;
    superuser.batch_execute(
        "create role installer login createrole; grant create on database postgres to installer;
         grant create on schema public to installer",
    )?;
    let mut db = connect_as(&cluster, "installer")?;
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/dist");
    let mut run_file = |name: &str| -> TestResult {
        let text = fs::read_to_string(dist.join(name))?;
        db.batch_execute(&text)
            .map_err(|error| format!("{name}: {error:?}").into())
    };
    for name in [
        "txid.sql",
        "pgq_pl_only.sql",
        "pgq_ext.sql",
        "pgq_coop.sql",
        "pgq_pl_only.sql",
        "pgq_pl_only.upgrade.sql",
        "pgq_ext.upgrade.sql",
        "pgq_coop.upgrade.sql",
        "oldgrants_pgq.sql",
        "newgrants_pgq.sql",
    ] {
        run_file(name)?;
    }
    let mut fresh = cluster.create_database("fresh")?;
    run_scripts(&mut fresh)?;
    catalogue::assert_same(&mut db, &mut fresh)?;
    assert_eq!(
        rows(
            &mut db,
            "select distinct l.lanname, p.proowner::regrole from pg_proc p join pg_language l on l.oid = p.prolang
              where p.pronamespace::regnamespace::text ~ '^pgq' order by 1"
        )?,
        ["plpgsql|installer", "sql|installer"]
    );
    fill(&mut db)?;
    let mut surprises = Vec::new();
    for (function, _, call) in calls() {
        if let Some(error) = outcome(&mut db, "", call)? {
            surprises.push(format!("{function}: {error}"));
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
    let text = fs::read_to_string(dist.join("uninstall_pgq.sql"))?;
    db.batch_execute(&format!("drop schema pgq_coop, pgq_ext cascade; {text}"))?;
    assert_eq!(
        row(
            &mut db,
            "select count(*) from pg_namespace where nspname ~ '^pgq'"
        )?,
        "0"
    );
    Ok(())
}
