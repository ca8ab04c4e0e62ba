//! Who may do what.

use std::collections::BTreeSet;

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::support::{cluster, cluster_with_consumer, insert, refusal, row, rows, tick};

/// What everybody may call.
const PUBLIC: &[&str] = &[
    "get_consumer_health()",
    "get_consumer_health(text,text)",
    "get_consumer_info()",
    "get_consumer_info(text)",
    "get_consumer_info(text,text)",
    "get_problems()",
    "get_problems(text)",
    "get_queue_health()",
    "get_queue_health(text)",
    "get_queue_info()",
    "get_queue_info(text)",
    "quote_fqname(text)",
    "seq_getval(text)",
    "version()",
];

/// What consumers may call beyond that; internal parts left out.
const READER: &[&str] = &[
    "ack(bigint)",
    "ack(bigint,bigint)",
    "batch_event_sql(bigint)",
    "batch_event_tables(bigint)",
    "batch_retry(bigint,integer)",
    "event_failed(bigint,bigint,text)",
    "event_retry(bigint,bigint,integer)",
    "event_retry(bigint,bigint,timestamp with time zone)",
    "failed_event_count(text,text)",
    "failed_event_delete(text,text,bigint)",
    "failed_event_list(text,text)",
    "failed_event_list(text,text,integer,integer)",
    "failed_event_purge(text,text,interval)",
    "failed_event_replay(text,text)",
    "failed_event_retry(text,text,bigint)",
    "find_tick_helper(integer,bigint,timestamp with time zone,bigint,bigint,interval)",
    "finish_batch(bigint)",
    "force_tick(text)",
    "get_batch_cursor(bigint,text,integer)",
    "get_batch_cursor(bigint,text,integer,text)",
    "get_batch_events(bigint)",
    "get_batch_info(bigint)",
    "nack(bigint,bigint,interval,text)",
    "next_batch(text,text)",
    "next_batch_custom(text,text,interval,integer,interval)",
    "next_batch_info(text,text)",
    "receive(text,text)",
    "receive(text,text,integer)",
    "receive_more(bigint,bigint,integer)",
    "register_consumer(text,text)",
    "register_consumer(text,text,bigint)",
    "register_consumer_at(text,text,bigint)",
    "unregister_consumer(text,text)",
];

/// What producers may call beyond what everybody may.
const WRITER: &[&str] = &[
    "current_event_table(text)",
    "insert_event(text,text,text)",
    "insert_event(text,text,text,text,text,text,text)",
    "insert_events(text,text,text[])",
    "insert_events(text,text[],text[],text[],text[],text[],text[])",
    "jsontriga()",
    "logtriga()",
    "logutriga()",
    "send(text,text)",
    "send(text,text,text)",
    "sqltriga()",
];

/// Functions of `pgq` that a role may call, without the internal ones.
fn callable(db: &mut Client, role: &str) -> TestResult<BTreeSet<String>> {
    Ok(rows(
        db,
        &format!(
            "select replace(p.oid::regprocedure::text, 'pgq.', '') from pg_proc p \
             where p.pronamespace = 'pgq'::regnamespace and p.proname !~ '^_' \
             and has_function_privilege('{role}', p.oid, 'execute')"
        ),
    )?
    .into_iter()
    .collect())
}

fn set(lists: &[&[&str]]) -> BTreeSet<String> {
    lists
        .iter()
        .flat_map(|list| list.iter().map(ToString::to_string))
        .collect()
}

#[test]
fn each_role_may_call_its_functions_and_no_others() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute("create role nobody_special")?;
    assert_eq!(callable(&mut db, "nobody_special")?, set(&[PUBLIC]));
    assert_eq!(callable(&mut db, "pgq_reader")?, set(&[PUBLIC, READER]));
    assert_eq!(callable(&mut db, "pgq_writer")?, set(&[PUBLIC, WRITER]));
    let all: BTreeSet<String> = callable(&mut db, "postgres")?;
    assert_eq!(callable(&mut db, "pgq_admin")?, all);
    // No internal function is open to everybody either.
    assert_eq!(
        rows(
            &mut db,
            "select oid::regprocedure from pg_proc where pronamespace = 'pgq'::regnamespace \
             and proname ~ '^_' and has_function_privilege('nobody_special', oid, 'execute')"
        )?,
        [] as [&str; 0]
    );
    // Of what captures are made with and call, only what those call that run as the writer.
    assert_eq!(
        rows(
            &mut db,
            "select p.proname from pg_proc p where pronamespace = 'pgq_gen'::regnamespace
                and has_function_privilege('nobody_special', oid, 'execute') order by 1"
        )?,
        [
            "check_writer",
            "encode",
            "encode_row",
            "encode_signs",
            "pinned_text",
            "refuse_key_update",
            "refuse_null_key",
            "same_row",
            "shape",
            "shape_ok"
        ]
    );
    Ok(())
}

#[test]
fn table_privileges_are_those_of_the_documentation() -> TestResult {
    let (cluster, mut db) = cluster()?;
    db.batch_execute("create role nobody_special; select pgq.create_queue('q')")?;
    let maintain = if cluster.major() >= 17 {
        ",MAINTAIN"
    } else {
        ""
    };
    let all = format!("DELETE,INSERT{maintain},SELECT,UPDATE");
    let event = format!("INSERT{maintain},SELECT,TRUNCATE");
    let expected = |public: &str, reader: &str, admin: &str| format!("{public}|{reader}|{admin}");
    for (table, privileges) in [
        ("queue", expected("SELECT", "SELECT", &all)),
        ("consumer", expected("SELECT", "SELECT", &all)),
        ("subscription", expected("SELECT", "SELECT", &all)),
        ("tick", expected("SELECT", "SELECT", &all)),
        ("retry_queue", expected("", "", &all)),
        ("failed_queue", expected("", "SELECT", &all)),
        ("event_template", expected("", "SELECT", &event)),
        ("event_1", expected("", "SELECT", &event)),
        ("event_1_2", expected("", "SELECT", &event)),
        ("capture", expected("SELECT", "SELECT", "SELECT")),
    ] {
        let shown = row(
            &mut db,
            &format!(
                "select string_agg(held, '|' order by n) from (
                     select n, coalesce((select string_agg(p, ',' order by p)
                         from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
                                     || case when current_setting('server_version_num')::int >= 170000
                                             then array['MAINTAIN'] else '{{}}' end) p
                         where has_table_privilege(role, 'pgq.{table}', p)), '') as held
                     from unnest(array['nobody_special', 'pgq_reader', 'pgq_admin']) with ordinality r (role, n)) x"
            ),
        )?;
        assert_eq!(shown, privileges, "{table}");
    }
    assert_eq!(
        row(
            &mut db,
            "select has_sequence_privilege('nobody_special', 'pgq.event_1_id_seq', 'select'), \
             has_sequence_privilege('nobody_special', 'pgq.event_1_id_seq', 'usage'), \
             has_sequence_privilege('pgq_admin', 'pgq.event_1_id_seq', 'usage'), \
             has_sequence_privilege('nobody_special', 'pgq.event_1_tick_seq', 'select'), \
             has_sequence_privilege('pgq_admin', 'pgq.event_1_tick_seq', 'usage')"
        )?,
        "t|f|t|t|f"
    );
    // Producers work through functions, and of what a target remembers nothing is open but for what was put aside.
    assert_eq!(
        rows(
            &mut db,
            "select c.oid::regclass, a.privilege_type, a.grantee::regrole from pg_class c, aclexplode(c.relacl) a
              where c.relnamespace::regnamespace::text in ('pgq', 'pgq_ext') and a.grantee <> c.relowner
                and (a.grantee = 'pgq_writer'::regrole or c.relnamespace = 'pgq_ext'::regnamespace)
              order by 1, 2"
        )?,
        [
            "pgq_ext.bad_event|DELETE|pgq_admin",
            "pgq_ext.bad_event|INSERT|pgq_writer",
            "pgq_ext.bad_event|SELECT|pgq_admin"
        ]
    );
    // The roles themselves: no log-in, and an administrator is both of the others.
    assert_eq!(
        rows(
            &mut db,
            "select r.rolname, r.rolcanlogin,
                    (select string_agg(m.roleid::regrole::text, ',' order by 1) from pg_auth_members m where m.member = r.oid)
               from pg_roles r where r.rolname ~ '^pgq_' order by 1"
        )?,
        ["pgq_admin|f|pgq_reader,pgq_writer", "pgq_reader|f|NULL", "pgq_writer|f|NULL"]
    );
    // Everybody sees the schemas; nobody makes anything in them.
    assert_eq!(
        rows(
            &mut db,
            "select n.nspname, has_schema_privilege('nobody_special', n.oid, 'usage'),
                    has_schema_privilege('nobody_special', n.oid, 'create'),
                    has_schema_privilege('pgq_admin', n.oid, 'create')
               from pg_namespace n where n.nspname ~ '^pgq' order by 1"
        )?,
        [
            "pgq|t|f|f",
            "pgq_coop|t|f|f",
            "pgq_ext|t|f|f",
            "pgq_gen|t|f|f"
        ]
    );
    Ok(())
}

#[test]
fn grant_perms_copies_the_privileges_of_the_template() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create role \"Odd role\"; create role giver;
         grant select on pgq.event_template to public;
         grant update on pgq.event_template to \"Odd role\";
         grant delete on pgq.event_template to giver with grant option;
         select pgq.grant_perms('q')",
    )?;
    for table in ["event_1", "event_1_0", "event_1_2"] {
        assert_eq!(
            row(
                &mut db,
                &format!(
                    "select (select array_agg(a::text order by 1) from unnest(relacl) a)
                          = (select (select array_agg(a::text order by 1) from unnest(t.relacl) a)
                               from pg_class t where t.oid = 'pgq.event_template'::regclass)
                       from pg_class where oid = 'pgq.{table}'::regclass"
                )
            )?,
            "t",
            "{table}"
        );
    }
    assert_eq!(
        refusal(&mut db, "select pgq.grant_perms('nowhere')")?,
        "Queue not found"
    );
    Ok(())
}

/// A connection as a role of its own, a member of the roles given.
fn connect_as(
    cluster: &Cluster,
    db: &mut Client,
    name: &str,
    member_of: &str,
) -> TestResult<Client> {
    db.batch_execute(&format!("create role {name} login; {member_of}"))?;
    let conninfo = cluster
        .conninfo("postgres")
        .replace("user=postgres", &format!("user={name}"));
    Ok(Client::connect(&conninfo, postgres::NoTls)?)
}

#[test]
fn a_producer_and_a_consumer_work_with_their_roles_alone() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    let mut producer = connect_as(
        &cluster,
        &mut db,
        "producer",
        "grant pgq_writer to producer",
    )?;
    let mut consumer = connect_as(
        &cluster,
        &mut db,
        "consumer",
        "grant pgq_reader to consumer",
    )?;
    let mut operator = connect_as(&cluster, &mut db, "operator", "grant pgq_admin to operator")?;
    insert(&mut producer, "a")?;
    assert!(
        refusal(&mut consumer, "select pgq.insert_event('q', 't', 'd')")?
            .contains("permission denied")
    );
    assert!(
        refusal(&mut producer, "select pgq.next_batch('q', 'c')")?.contains("permission denied")
    );
    assert!(refusal(&mut consumer, "select pgq.ticker()")?.contains("permission denied"));
    tick(&mut operator)?;
    let batch = row(&mut consumer, "select pgq.next_batch('q', 'c')")?;
    assert_eq!(
        rows(
            &mut consumer,
            &format!("select ev_data from pgq.get_batch_events({batch})")
        )?,
        ["a"]
    );
    for call in [
        "event_retry({batch}, 1, 0)",
        "event_failed({batch}, 1, 'x')",
        "finish_batch({batch})",
    ] {
        let call = call.replace("{batch}", &batch);
        assert_eq!(row(&mut consumer, &format!("select pgq.{call}"))?, "1");
    }
    // The administrator runs the queue without owning anything.
    assert_eq!(row(&mut operator, "select pgq.maint_retry_events()")?, "1");
    tick(&mut operator)?;
    operator.batch_execute(
        "select pgq.create_queue('new'); select pgq.drop_queue('new');
         select pgq.set_queue_config('q', 'rotation_period', '0')",
    )?;
    crate::support::consume(&mut consumer)?;
    operator.batch_execute("select pgq.maint_rotate_tables_step1('q')")?;
    operator.batch_execute("select pgq.maint_rotate_tables_step2()")?;
    assert_eq!(
        row(
            &mut db,
            "select queue_cur_table, queue_switch_step2 is not null from pgq.queue"
        )?,
        "1|t"
    );
    assert_eq!(
        row(&mut consumer, "select pgq.failed_event_retry('q', 'c', 1)")?,
        "1"
    );
    Ok(())
}

#[test]
fn writing_to_a_captured_table_takes_the_writer_role() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (id int primary key);
         grant insert on t to public;
         create trigger capture after insert on t for each row execute function pgq.logutriga('q')",
    )?;
    let mut other = connect_as(&cluster, &mut db, "other", "")?;
    let error = other
        .batch_execute("insert into t values (1)")
        .expect_err("no right");
    let error = error.as_db_error().expect("the server refused");
    assert_eq!(
        error.message(),
        "permission denied for function insert_event"
    );
    assert_eq!(
        error.hint(),
        Some("To let other write to captured tables: grant pgq_writer to other")
    );
    db.batch_execute("grant pgq_writer to other")?;
    other.batch_execute("insert into t values (1)")?;
    Ok(())
}
