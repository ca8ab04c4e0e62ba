//! The two models of privileges: roles that decide, and everybody as with SkyTools 2.

use postgres::Client;
use testkit::TestResult;

use crate::catalogue;
use crate::support::{cluster, cluster_with_consumer, refusal, row, rows, run};

/// Functions that some role may call by an explicit privilege, or that nobody may.
fn functions(db: &mut Client, granted: bool) -> TestResult<Vec<String>> {
    rows(
        db,
        &format!(
            "select replace(p.oid::regprocedure::text, 'pgq.', '') from pg_proc p \
             where p.pronamespace = 'pgq'::regnamespace and {granted} = exists ( \
                select from aclexplode(p.proacl) a where a.grantee in \
                    (0, 'pgq_reader'::regrole, 'pgq_writer'::regrole, 'pgq_admin'::regrole)) \
             order by 1"
        ),
    )
}

#[test]
fn every_function_is_for_some_role_but_for_the_inner_parts_of_others() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    let nobody = functions(&mut db, false)?;
    let inner: Vec<&String> = nobody.iter().filter(|name| name.starts_with('_')).collect();
    assert_eq!(nobody.iter().collect::<Vec<_>>(), inner);
    // They run as the owner, or as a trigger; whoever calls their callers needs no right to them.
    assert_eq!(
        rows(
            &mut db,
            "select distinct p.oid::regprocedure::text from pg_proc p \
             join pg_proc c on c.pronamespace = p.pronamespace and not c.prosecdef \
              and c.prosrc ~ ('pgq\\.' || p.proname || '\\(') and c.proacl is not null \
              and exists (select from aclexplode(c.proacl) a where a.grantee in \
                  ('pgq_reader'::regrole, 'pgq_writer'::regrole)) \
             where p.pronamespace = 'pgq'::regnamespace and p.proname ~ '^_' \
             and p.oid <> c.oid and not exists (select from aclexplode(p.proacl) a where a.grantee in \
                  (0, 'pgq_reader'::regrole, 'pgq_writer'::regrole, 'pgq_admin'::regrole))"
        )?,
        [] as [&str; 0]
    );
    Ok(())
}

#[test]
fn in_the_old_model_everybody_may_do_all_but_make_functions() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    let mut fresh = cluster.create_database("fresh")?;
    crate::support::run_scripts(&mut fresh)?;
    db.batch_execute("create role anybody")?;
    run(&mut db, &["pgq/oldgrants.sql"])?;
    run(&mut db, &["pgq/oldgrants.sql"])?;
    let callable = rows(
        &mut db,
        "select replace(p.oid::regprocedure::text, 'pgq.', '') from pg_proc p \
         where p.pronamespace = 'pgq'::regnamespace and has_function_privilege('anybody', p.oid, 'execute') \
         order by 1",
    )?;
    let expected: Vec<String> = functions(&mut db, true)?
        .into_iter()
        .filter(|name| {
            !["create_capture(", "drop_capture(", "refresh_captures("]
                .iter()
                .any(|maker| name.starts_with(maker))
        })
        .collect();
    assert!(expected.len() > 60, "{expected:?}");
    assert_eq!(callable, expected);

    let mut anybody = cluster.connect("postgres")?;
    anybody.batch_execute("set role anybody; select pgq.create_queue('new')")?;
    for table in [
        "queue",
        "consumer",
        "tick",
        "subscription",
        "event_template",
        "retry_queue",
        "failed_queue",
        "event_1",
        "event_1_2",
        "event_2",
        "event_2_0",
    ] {
        anybody.batch_execute(&format!("select from pgq.{table}"))?;
        for change in ["delete from", "truncate"] {
            assert!(
                refusal(&mut anybody, &format!("{change} pgq.{table}"))?
                    .starts_with("permission denied"),
                "{change} {table}"
            );
        }
    }
    // An installation keeps the model; the roles leave no trace of it.
    run(&mut db, &["pgq/install.sql"])?;
    anybody.batch_execute(
        "select pgq.insert_event('new', 'type', 'data'); select from pgq.event_2_0",
    )?;
    run(&mut db, &["pgq/newgrants.sql"])?;
    catalogue::assert_same(&mut db, &mut fresh)?;
    for statement in [
        "select pgq.insert_event('new', 'type', 'data')",
        "select from pgq.event_1_0",
        "select from pgq.event_2_0",
        "select from pgq.retry_queue",
    ] {
        assert!(
            refusal(&mut anybody, statement)?.starts_with("permission denied"),
            "{statement}"
        );
    }
    Ok(())
}

#[test]
fn maintenance_calls_no_function_of_somebody_who_does_not_own_the_queues() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create role villain; grant pgq_admin to villain; grant create on database postgres to villain;
         create function public.good(text) returns int language sql as 'select 0';
         set role villain;
         create schema evil;
         create function evil.escalate(name text, more int default 1) returns int language sql as 'select 0';
         update pgq.queue set queue_extra_maint = '{evil.escalate,public.good,not.there}';
         reset role",
    )?;
    let operations = "select func_name from pgq.maint_operations() where func_arg = 'q' and func_name <> 'vacuum'";
    assert_eq!(rows(&mut db, operations)?, ["public.good", "not.there"]);
    db.batch_execute("alter function evil.escalate(text, int) owner to postgres")?;
    assert_eq!(
        rows(&mut db, operations)?,
        ["evil.escalate", "public.good", "not.there"]
    );
    assert_eq!(row(&mut db, "select count(*) from pgq.queue")?, "1");
    Ok(())
}
