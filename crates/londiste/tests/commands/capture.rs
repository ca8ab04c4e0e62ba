//! What `provider add` captures changes with, and how captures follow their tables.

use postgres::Client;
use testkit::TestResult;

use crate::support::{Pair, column};

/// Triggers of the table `t`: name, schema of the function.
fn triggers(db: &mut Client) -> TestResult<Vec<String>> {
    column(
        db,
        "select concat_ws('|', g.tgname, p.pronamespace::regnamespace)
           from pg_trigger g join pg_proc p on p.oid = g.tgfoid
          where g.tgrelid = 't'::regclass and not g.tgisinternal order by g.tgname",
    )
}

/// Events so far: type, data, table.
fn events(db: &mut Client) -> TestResult<Vec<String>> {
    column(
        db,
        "select concat_ws('|', ev_type, ev_data, ev_extra1) from pgq.event_template order by ev_id",
    )
}

#[test]
fn a_table_gets_a_capture_of_the_kind_that_was_asked_for() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both(
        "create table t (id int primary key, n numeric, g int generated always as (1) stored)",
    )?;
    for (option, expected, last) in [
        (
            "",
            &["_londiste_replic|pgq_gen"][..],
            "U|n='1.00' where id='2'|public.t",
        ),
        (
            " --capture statement",
            &[
                "_londiste_replic_delete|pgq_gen",
                "_londiste_replic_guard|pgq_gen",
                "_londiste_replic_insert|pgq_gen",
                "_londiste_replic_update|pgq_gen",
            ],
            "U|n='1.00' where id='2'|public.t",
        ),
        // Equal for the type, equal for the generic trigger.
        (
            " --capture generic",
            &["_londiste_replic|pgq"],
            "U|id='1' where id='1'|public.t",
        ),
    ] {
        pair.ok(&format!("provider add t{option}"))?;
        let db = &mut pair.provider;
        assert_eq!(triggers(db)?, expected);
        db.batch_execute("insert into t values (1, 1.0)")?;
        if option != " --capture generic" {
            db.batch_execute("update t set id = 2")?;
        }
        db.batch_execute("update t set n = 1.00; delete from t")?;
        let events = events(db)?;
        assert_eq!(events[events.len() - 2], last, "{option}: {events:?}");
        pair.ok("provider remove t")?;
        assert_eq!(triggers(&mut pair.provider)?, [""; 0]);
    }
    Ok(())
}

#[test]
fn a_changed_table_is_captured_anew_in_the_same_transaction() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (id int primary key, a int)")?;
    for option in ["", " --capture statement", " --capture generic"] {
        pair.ok(&format!("provider add t{option}"))?;
        let db = &mut pair.provider;
        db.batch_execute(
            "begin; alter table t add b int;
             select londiste.provider_refresh_trigger('replic', 'public.t');
             commit;
             insert into t values (1, 2, 3);
             begin; alter table t add g int generated always as (a * 2) stored;
             alter table t rename b to c;
             alter table t drop constraint t_pkey; alter table t add primary key (c);
             select londiste.provider_refresh_trigger('replic', 'public.t');
             commit;
             update t set a = 7; delete from t;
             alter table t drop g, drop c; alter table t add primary key (id)",
        )?;
        let events = events(db)?;
        assert_eq!(
            events[events.len() - 3..],
            [
                "I|(id,a,b) values ('1','2','3')|public.t",
                "U|a='7' where c='3'|public.t",
                "D|c='3'|public.t",
            ],
            "{option}"
        );
        pair.ok("provider remove t")?;
    }
    Ok(())
}

#[test]
fn triggers_of_older_installations_are_refreshed_and_removed() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (id int primary key, a int)")?;
    let long = "Long.".repeat(15);
    for queue in ["replic", &long] {
        let old = format!("{}_logger", queue.to_lowercase().replace('.', "_"));
        for refresh in [true, false] {
            let db = &mut pair.provider;
            // The server cuts the trigger's name and the table keeps the whole.
            db.batch_execute(&format!(
                "select pgq.create_queue('{queue}');
                 insert into londiste.provider_table (queue_name, table_name, trigger_name)
                 values ('{queue}', 'public.t', '{old}');
                 create trigger \"{old}\" after insert or update or delete on t
                    for each row execute function pgq.logtriga('{queue}', 'kv', 'public.t')"
            ))?;
            if refresh {
                db.batch_execute(&format!(
                    "select londiste.provider_refresh_trigger('{queue}', 'public.t')"
                ))?;
                let found = triggers(db)?;
                assert_eq!(found.len(), 1, "{found:?}");
                assert!(found[0].starts_with("_londiste_"), "{found:?}");
                assert!(found[0].ends_with("|pgq_gen"), "{found:?}");
            }
            db.batch_execute(&format!(
                "insert into t values (1, 1); delete from t;
                 select londiste.provider_remove_table('{queue}', 'public.t')"
            ))?;
            assert_eq!(triggers(db)?, [""; 0]);
        }
    }
    Ok(())
}

#[test]
fn an_index_can_stand_for_the_primary_key() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both(
        "create table t (a int not null, b int not null, c int);
         create unique index both_ on t (b, a) include (c);
         create unique index nullable on t (c);
         create unique index partial on t (a) where b > 0;
         create index plain on t (a)",
    )?;
    for (index, reason) in [
        ("nullable", "its columns may be null"),
        ("partial", "it is partial"),
        ("plain", "it is not unique"),
    ] {
        let run = pair.run(&format!("provider add t --key-index {index}"))?;
        assert_eq!(run.code, Some(1));
        let message = format!("index {index} cannot be the key of public.t: {reason}\n");
        assert!(run.log.contains(&message), "{}", run.log);
    }
    let run = pair.run("provider add t --key-index absent")?;
    assert!(
        run.log
            .contains("no such index: public.t has no index absent\n"),
        "{}",
        run.log
    );

    pair.ok("provider add t --key-index both_")?;
    pair.provider.batch_execute(
        "insert into t values (1, 2, 3); update t set c = 4;
         select londiste.provider_refresh_trigger('replic', 'public.t');
         delete from t",
    )?;
    assert_eq!(
        events(&mut pair.provider)?,
        [
            "I|(a,b,c) values ('1','2','3')|public.t",
            "U|c='4' where a='1' and b='2'|public.t",
            "D|a='1' and b='2'|public.t",
        ]
    );
    Ok(())
}

#[test]
fn a_table_without_key_can_be_captured_for_inserts_alone() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (a int)")?;
    for keyed in [false, true] {
        if keyed {
            pair.both("alter table t add id int generated always as identity primary key")?;
        }
        for kind in ["row", "statement", "generic"] {
            pair.ok(&format!("provider add t --insert-only --capture {kind}"))?;
            let db = &mut pair.provider;
            db.batch_execute("insert into t values (1)")?;
            for change in ["update t set a = 2", "delete from t"] {
                let error = db.batch_execute(change).unwrap_err();
                let error = error.as_db_error().expect("the server refuses it");
                assert_eq!(
                    error.message(),
                    "Update/Delete on table without pkey",
                    "{kind} {keyed}"
                );
            }
            pair.ok("provider remove t")?;
            pair.provider.batch_execute("truncate t")?;
        }
    }
    Ok(())
}

#[test]
fn truncate_is_captured_if_asked_for_by_whoever_may_truncate() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (id int primary key)")?;
    pair.ok("provider add t --truncate")?;
    assert_eq!(
        triggers(&mut pair.provider)?,
        [
            "_londiste_replic|pgq_gen",
            "_londiste_replic_truncate|londiste"
        ]
    );
    let db = &mut pair.provider;
    db.batch_execute(
        "create role app; grant truncate on t to app; set role app; truncate t; reset role;
         set session_replication_role = local; truncate t; reset session_replication_role",
    )?;
    assert_eq!(events(db)?, ["R||public.t"]);
    pair.ok("provider remove t")?;
    assert_eq!(triggers(&mut pair.provider)?, [""; 0]);
    Ok(())
}
