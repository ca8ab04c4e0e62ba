//! `provider`: installing, registering tables and sequences, listing them.

use testkit::TestResult;

use crate::support::{Pair, column, value};

#[test]
fn install_brings_pgq_londiste_and_the_queue_and_may_be_repeated() -> TestResult {
    let mut pair = Pair::empty()?;
    let run = pair.ok("provider install")?;
    for part in [
        "Installing pgq\n",
        "Installing londiste\n",
        "Creating queue replic\n",
    ] {
        assert!(run.log.contains(part), "{}", run.log);
    }
    let queues: i64 = value(&mut pair.provider, "select count(*) from pgq.queue")?;
    assert_eq!(queues, 1);

    let again = pair.ok("provider install")?;
    assert!(
        again.log.contains("INFO pgq is installed\n"),
        "{}",
        again.log
    );
    assert!(
        again.log.contains("INFO londiste is installed\n"),
        "{}",
        again.log
    );
    assert!(!again.log.contains("Installing"), "{}", again.log);
    Ok(())
}

#[test]
fn install_with_fake_leaves_nothing() -> TestResult {
    let mut pair = Pair::with_config("fake = 1")?;
    pair.install()?;
    for db in [&mut pair.provider, &mut pair.subscriber] {
        let schemas: i64 = value(
            db,
            "select count(*) from pg_namespace where nspname in ('pgq', 'londiste')",
        )?;
        assert_eq!(schemas, 0);
    }
    Ok(())
}

#[test]
fn an_added_table_writes_events() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table users (id int primary key, name text)")?;
    let run = pair.ok("provider add users")?;
    assert_eq!(run.log, "INFO Adding public.users\n");

    pair.provider.batch_execute(
        "insert into users values (1, 'x''y'); update users set id = 2; delete from users",
    )?;
    let events = column(
        &mut pair.provider,
        "select concat_ws('|', ev_type, ev_data, ev_extra1) from pgq.event_template order by ev_id",
    )?;
    assert_eq!(
        events,
        [
            "I|(id,name) values ('1','x''y')|public.users",
            "U|id='2' where id='1'|public.users",
            "D|id='2'|public.users",
        ]
    );
    assert_eq!(pair.ok("provider tables")?.stdout, "public.users\n");
    assert_eq!(
        pair.ok("provider tables --json")?.stdout,
        "[\n  \"public.users\"\n]\n"
    );
    Ok(())
}

#[test]
fn adding_a_table_twice_is_no_error() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table users (id int primary key)")?;
    pair.ok("provider add users")?;
    let run = pair.ok("provider add users users")?;
    assert_eq!(run.log, "INFO Table public.users already added\n");
    Ok(())
}

#[test]
fn one_bad_table_does_not_stop_the_others() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both(
        "create table nokey (a int);
         create table good (id int primary key);
         create unlogged table volatile (id int primary key);
         create view v as select 1 as a;
         create materialized view m as select 1 as a;
         create foreign data wrapper w;
         create server far foreign data wrapper w;
         create foreign table there (id int) server far;
         create sequence s;",
    )?;
    let run = pair.run("provider add nokey volatile v m there s absent pgq.queue good")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "WARNING public.v is a view, only tables can be added\n\
         WARNING public.m is a materialized view, only tables can be added\n\
         WARNING public.there is a foreign table, its changes cannot be captured\n\
         WARNING public.s is a sequence, use: add-seq\n\
         WARNING No tables found that match public.absent\n\
         WARNING pgq.queue is a system or temporary table, it cannot be added\n\
         INFO Adding public.nokey\n\
         ERROR public.nokey: cannot add the table: ERROR: need key column\n\
         DETAIL: Table public.nokey has no primary key.\n\
         HINT: Updates and deletes are replicated by key: add a primary key to the table, name a \
         unique index with --key-index, or capture inserts alone with --insert-only.\n\
         SQLSTATE: 42P16\n\
         INFO Adding public.volatile\n\
         ERROR public.volatile: cannot add the table: ERROR: table public.volatile is temporary or unlogged\n\
         DETAIL: Its rows can vanish without an event.\n\
         SQLSTATE: 42809\n\
         INFO Adding public.good\n"
    );
    assert_eq!(pair.ok("provider tables")?.stdout, "public.good\n");
    Ok(())
}

#[test]
fn patterns_select_from_every_user_schema() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both(
        r#"create schema s1; create schema s2; create schema my_pg_data;
           create table users (id int primary key);
           create table "user+x" (id int primary key);
           create table "Users" (id int primary key);
           create table s1.t1 (id int primary key);
           create table s2.t2 (id int primary key);
           create table my_pg_data.t (id int primary key);"#,
    )?;
    pair.ok("provider add user*")?;
    assert_eq!(
        pair.ok("provider tables")?.stdout,
        "public.user+x\npublic.users\n"
    );
    pair.ok("provider add s?.t*")?;
    assert_eq!(
        pair.ok("provider tables")?.stdout,
        "public.user+x\npublic.users\ns1.t1\ns2.t2\n"
    );
    pair.ok("provider add --all")?;
    assert_eq!(
        pair.ok("provider tables")?.stdout,
        "public.user+x\npublic.users\ns1.t1\ns2.t2\nmy_pg_data.t\npublic.Users\n"
    );
    // A pattern that matches nothing is no mistake.
    let run = pair.ok("provider remove x*")?;
    assert_eq!(run.log, "INFO No tables found that match public.x*\n");
    pair.ok("provider remove s*.*")?;
    assert_eq!(
        pair.ok("provider tables")?.stdout,
        "public.user+x\npublic.users\nmy_pg_data.t\npublic.Users\n"
    );
    Ok(())
}

#[test]
fn odd_names_are_registered_and_captured_under_their_raw_form() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.configure("pgq_queue_name = A.b C's")?;
    pair.ok("provider install")?;
    pair.both(
        r#"create schema "my.schema"; create schema "My Sch"; create schema "select";
           create table "my.schema"."t,x" ("d1.ref" int primary key);
           create table "My Sch"."Tbl.With.Dots" ("a""b" int primary key, "group" text);
           create table "select"."from" ("where" int primary key);
           create table "quote'd" (id int primary key);"#,
    )?;
    for table in [
        r#""my.schema"."t,x""#,
        r#"My Sch.Tbl.With.Dots"#,
        "select.from",
        "quote'd",
    ] {
        let run = pair.run_args(&["provider", "add", table])?;
        assert_eq!(run.code, Some(0), "{run:?}");
    }
    assert_eq!(
        pair.ok("provider tables")?.stdout,
        "\"my.schema\".t,x\nMy Sch.Tbl.With.Dots\nselect.from\npublic.quote'd\n"
    );
    pair.provider.batch_execute(
        r#"insert into "my.schema"."t,x" values (1);
           insert into "My Sch"."Tbl.With.Dots" values (1, 'g');
           insert into "select"."from" values (1);
           insert into "quote'd" values (1);"#,
    )?;
    let events = column(
        &mut pair.provider,
        "select concat_ws('|', ev_data, ev_extra1) from pgq.event_template order by ev_id",
    )?;
    assert_eq!(
        events,
        [
            r#"("d1.ref") values ('1')|"my.schema".t,x"#,
            r#"("a""b","group") values ('1','g')|My Sch.Tbl.With.Dots"#,
            r#"("where") values ('1')|select.from"#,
            "(id) values ('1')|public.quote'd",
        ]
    );
    let trigger: String = value(
        &mut pair.provider,
        "select distinct tgname::text from pg_trigger where not tgisinternal \
         and tgrelid::regclass::text !~ '^(pgq|londiste)'",
    )?;
    assert_eq!(trigger, "_londiste_A.b C's");

    let run = pair.run_args(&["provider", "remove", "*.*"])?;
    assert_eq!(run.code, Some(0), "{run:?}");
    let left: i64 = value(
        &mut pair.provider,
        "select count(*) from pg_trigger where tgname like '%londiste%'",
    )?;
    assert_eq!(left, 0);
    Ok(())
}

#[test]
fn removing_tables_tells_the_subscribers_once() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both(
        r#"create table a (id int primary key); create table b (id int primary key);
           create table c (id int primary key); create table "d,e" (id int primary key);"#,
    )?;
    pair.ok("provider add --all")?;
    let run = pair.run("provider remove a b nothing")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "WARNING Table public.nothing is not registered\n\
         INFO Removing public.a\n\
         INFO Removing public.b\n"
    );
    let events = column(
        &mut pair.provider,
        "select concat(ev_type, '|', ev_data) from pgq.event_template",
    )?;
    assert_eq!(events, [r#"T|public.c,"public.d,e""#]);

    pair.provider.batch_execute("drop table c")?;
    pair.ok("provider remove --all")?;
    assert_eq!(pair.ok("provider tables")?.stdout, "");
    let last: String = value(
        &mut pair.provider,
        "select ev_data from pgq.event_template order by ev_id desc limit 1",
    )?;
    assert_eq!(last, "");
    Ok(())
}

#[test]
fn fake_changes_no_registration() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (id int primary key)")?;
    pair.ok("provider add t --set fake=1")?;
    assert_eq!(pair.ok("provider tables")?.stdout, "");
    pair.ok("provider add t")?;
    pair.ok("provider remove t --set fake=1")?;
    assert_eq!(pair.ok("provider tables")?.stdout, "public.t\n");
    let events: i64 = value(
        &mut pair.provider,
        "select count(*) from pgq.event_template",
    )?;
    assert_eq!(events, 0);
    Ok(())
}

#[test]
fn a_locked_table_is_given_up_after_lock_timeout() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table busy (id int primary key); create table free (id int primary key)")?;
    let mut blocker = pair.cluster.connect("provider")?;
    let mut transaction = blocker.transaction()?;
    transaction.batch_execute("lock table busy in row exclusive mode")?;
    let run = pair.run("provider add busy free --set lock_timeout=0.2")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "INFO Adding public.busy\n\
         ERROR public.busy: cannot add the table: ERROR: canceling statement due to statement timeout\n\
         SQLSTATE: 57014\n\
         HINT: lock_timeout is over: other transactions hold the table, or it has too many columns for that\n\
         INFO Adding public.free\n"
    );
    assert_eq!(pair.ok("provider tables")?.stdout, "public.free\n");
    Ok(())
}

#[test]
fn roles_that_may_write_are_not_shut_out_unnoticed() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.provider.batch_execute(
        r#"create role "App" login; create role reader;
           create table t (id int primary key);
           grant insert, select on t to "App"; grant select on t to reader;"#,
    )?;
    let run = pair.run("provider add t --capture generic")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "INFO Adding public.t\n\
         ERROR public.t: \"App\" may change public.t and not write into queues, so that their \
         changes would fail; give them the role pgq_writer, use another --capture, or --force\n"
    );
    assert_eq!(pair.ok("provider tables")?.stdout, "");

    // A generated capture writes as the owner of PgQ.
    pair.ok("provider add t")?;
    pair.provider
        .batch_execute(r#"set role "App"; insert into t values (0); reset role"#)?;
    pair.ok("provider remove t")?;

    pair.provider
        .batch_execute(r#"grant pgq_writer to "App""#)?;
    pair.ok("provider add t --capture generic")?;
    pair.provider
        .batch_execute(r#"set role "App"; insert into t values (1); reset role"#)?;
    pair.provider
        .batch_execute("create table u (id int primary key); grant update on u to public")?;
    let run = pair.run("provider add u --capture generic")?;
    assert!(
        run.log
            .contains("ERROR public.u: public may change public.u"),
        "{}",
        run.log
    );
    pair.ok("provider add u --capture generic --force")?;
    Ok(())
}

#[test]
fn a_trigger_that_runs_first_is_reported() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.provider.batch_execute(
        r#"create table t (id int primary key);
         create function f() returns trigger as 'begin return null; end' language plpgsql;
         create trigger "Early" after insert on t for each row execute function f();
         create trigger zz_late after insert on t for each row execute function f();
         create trigger before before insert on t for each row execute function f();
         create trigger "A_logger" after insert on t for each row execute function f();"#,
    )?;
    let run = pair.ok("provider add t")?;
    assert_eq!(
        run.log,
        "INFO Adding public.t\n\
         WARNING Table public.t has AFTER trigger 'Early' which runs before Londiste trigger.  \
         If it modifies data, then events will appear in queue in wrong order.\n"
    );
    Ok(())
}

#[test]
fn a_partitioned_table_stands_for_its_partitions() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.provider.batch_execute(
        "create table p (id int primary key, v text) partition by range (id);
         create table p1 partition of p for values from (0) to (10);
         create table p2 partition of p for values from (10) to (20);",
    )?;
    pair.ok("provider add --all")?;
    assert_eq!(pair.ok("provider tables")?.stdout, "public.p\n");
    pair.provider
        .batch_execute("insert into p values (1, 'a'), (11, 'b')")?;
    let tables = column(
        &mut pair.provider,
        "select ev_extra1 from pgq.event_template order by ev_id",
    )?;
    assert_eq!(tables, ["public.p", "public.p"]);

    let run = pair.run("provider add p1")?;
    assert_eq!(run.code, Some(1));
    assert!(
        run.log
            .contains("table public.p1 belongs to the same partitioned table as public.p\n"),
        "{}",
        run.log
    );
    Ok(())
}

#[test]
fn sequences_are_added_listed_and_removed() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both(
        r#"create sequence s; create sequence "S.x"; create table t (id serial primary key)"#,
    )?;
    let run = pair.run("provider add-seq s s t nothing")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "INFO Adding sequence: public.s\n\
         INFO Adding sequence: public.t\n\
         ERROR public.t: cannot add the sequence: ERROR: seq not found: public.t\n\
         DETAIL: It is a table.\n\
         SQLSTATE: 42809\n\
         INFO Adding sequence: public.nothing\n\
         ERROR public.nothing: cannot add the sequence: ERROR: seq not found: public.nothing\n\
         SQLSTATE: 42P01\n"
    );
    let run = pair.ok("provider add-seq --all")?;
    assert_eq!(
        run.log,
        "INFO Adding sequence: public.S.x\n\
         INFO Seq public.s already subscribed\n\
         INFO Adding sequence: public.t_id_seq\n"
    );
    assert_eq!(
        pair.ok("provider seqs")?.stdout,
        "public.s\npublic.S.x\npublic.t_id_seq\n"
    );
    let run = pair.run("provider remove-seq public.S.x nothing")?;
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.log,
        "INFO Removing sequence: public.S.x\nWARNING Seq public.nothing not registered\n"
    );
    pair.ok("provider remove-seq --all")?;
    assert_eq!(pair.ok("provider seqs")?.stdout, "");
    let events: i64 = value(
        &mut pair.provider,
        "select count(*) from pgq.event_template where ev_type = 'T'",
    )?;
    assert_eq!(events, 3);
    Ok(())
}
