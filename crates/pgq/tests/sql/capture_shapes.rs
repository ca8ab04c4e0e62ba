//! Captures of tables of odd shapes: without columns, with more than a function has arguments, with virtual ones, with
//! columns of types that change, of partitions of partitions.

use testkit::TestResult;

use crate::capture_guards::FORBID_SLOW_WAY;
use crate::captures::{events, queue_and_table};
use crate::support::{refusal, row, rows};

#[test]
fn virtual_columns_are_left_to_triggers_for_rows() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    if row(
        &mut db,
        "select current_setting('server_version_num')::int >= 180000",
    )? == "f"
    {
        return Ok(());
    }
    db.batch_execute(
        "create table v (id int primary key, twice int generated always as (id * 2) virtual)",
    )?;
    let create = |level| {
        format!("select pgq.create_capture('v', 'c', 'sql', '{level}', array['q', 'ignore=twice'])")
    };
    assert_eq!(
        refusal(&mut db, &create("statement"))?,
        "cannot capture statements on public.v: transition tables do not hold the virtual columns that the table has"
    );
    row(&mut db, &create("row"))?;
    db.batch_execute("insert into v values (1); delete from v")?;
    assert_eq!(
        events(&mut db)?,
        ["I|(id) values ('1')|public.v", "D|id='1'|public.v"]
    );
    Ok(())
}

#[test]
fn a_table_without_columns_is_captured() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute("create table bare ()")?;
    let insert = "insert into bare default values";
    let expected =
        [r#"{"op":"INSERT","table":["public","bare"],"pkey":[]}|{}|public.bare"#.to_owned()];
    for level in ["generic", "row", "statement"] {
        db.batch_execute(&format!(
            "select pgq.create_capture('bare', 'c', 'json', '{level}', array['q'])"
        ))?;
        db.batch_execute(insert)?;
        assert_eq!(events(&mut db)?, expected, "{level}");
        // A queue with a limit is served in the slow way.
        db.batch_execute("update pgq.queue set queue_per_tx_limit = 10")?;
        for isolation in ["read committed", "repeatable read"] {
            db.batch_execute(&format!(
                "begin isolation level {isolation}; {insert}; commit"
            ))?;
            assert_eq!(events(&mut db)?, expected, "{level}, {isolation}");
        }
        db.batch_execute("update pgq.queue set queue_per_tx_limit = null")?;
    }
    Ok(())
}

#[test]
fn a_key_may_have_more_columns_than_a_function_has_arguments() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    let columns = |suffix: &str| -> String {
        let all: Vec<String> = (1..=120).map(|nr| format!("c{nr}{suffix}")).collect();
        all.join(", ")
    };
    db.batch_execute(&format!(
        "create table broad (id int primary key, {})",
        columns(" int not null default 7")
    ))?;
    let key = columns("").replace(' ', "");
    let condition: Vec<String> = (1..=120).map(|nr| format!("c{nr}='7'")).collect();
    for level in ["row", "statement", "generic"] {
        row(
            &mut db,
            &format!(
                "select pgq.create_capture('broad', 'c', 'sql', '{level}', array['q', 'pkey={key}'])"
            ),
        )?;
        db.batch_execute(
            "insert into broad values (1); update broad set id = 2; delete from broad",
        )?;
        let logged = events(&mut db)?;
        assert_eq!(
            logged[1..],
            [
                format!("U|id='2' where {}|public.broad", condition.join(" and ")),
                format!("D|{}|public.broad", condition.join(" and "))
            ],
            "{level}"
        );
        row(&mut db, "select pgq.drop_capture('broad', 'c')")?;
    }
    Ok(())
}

#[test]
fn a_row_may_have_more_columns_than_a_function_has_arguments() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "do $$ begin
            execute 'create table many (k int primary key, ' || (
                select string_agg(format('%I %s', '%c' || i, case i % 3 when 0 then 'int' when 1 then 'text' else 'date' end), ', ')
                  from generate_series(1, 250) i) || ')';
         end $$",
    )?;
    for (format, function) in [
        ("sql", "sqltriga"),
        ("urlenc", "logutriga"),
        ("json", "jsontriga"),
    ] {
        db.batch_execute(&format!(
            r#"truncate many;
             truncate pgq.event_template;
             select pgq.create_capture('many', 'one', '{format}', 'row', array['q']);
             create trigger two after insert or update or delete on many
                 for each row execute function pgq.{function}('q');
             -- Columns without a value, all with one, and some.
             insert into many (k) values (1);
             do $$ begin
                 execute 'insert into many select 2, ' || (
                     select string_agg(case i % 3 when 0 then i::text when 1 then quote_literal('%1$s & ' || i) else 'current_date' end, ', ')
                       from generate_series(1, 250) i);
             end $$;
             insert into many select 3, m."%c1" from many m where k = 2;
             update many set "%c90" = null, "%c91" = 'z', "%c250" = 'w';
             update many set "%c90" = null;
             delete from many;
             drop trigger two on many"#
        ))?;
        let wrong = row(
            &mut db,
            // An update that changes nothing repeats whole rows.
            "select count(*) filter (where n % 2 <> 0) from (
                select count(*) as n from pgq.event_template group by ev_type, ev_data, ev_extra1) e",
        )?;
        let events = row(&mut db, "select count(*) from pgq.event_template")?;
        assert_eq!([wrong, events], ["0", "24"], "{format}");
    }
    Ok(())
}

#[test]
fn a_composite_type_may_get_a_field_that_knows_no_equality() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    for (level, key, value) in [
        ("row", "id", "1"),
        ("statement", "id", "1"),
        ("generic", "id", "1"),
        ("row", "c", "(1,1.50,)"),
    ] {
        db.batch_execute(&format!(
            "drop table if exists u; drop type if exists pair cascade;
             create type pair as (a int, b numeric);
             create domain of_pair as pair;
             create table u (id int, c pair, d of_pair);
             select pgq.create_capture('u', 'c', 'sql', '{level}', array['q', 'pkey={key}'])"
        ))?;
        let mut warm = cluster.connect("postgres")?;
        warm.batch_execute("insert into u values (1, (1, 1.50), (1, 1.5))")?;
        events(&mut db)?;
        warm.batch_execute("update u set d = (1, 1.50)")?;
        // What was equal until now is no change.
        let before = format!("U|{key}='{value}' where {key}='{value}'|public.u");
        assert_eq!(events(&mut db)?, [before.replace(",)'", ")'")], "{level}");
        let mut old = cluster.connect("postgres")?;
        old.batch_execute(
            "begin transaction isolation level repeatable read; select count(*) from pgq.queue",
        )?;
        db.batch_execute("alter type pair add attribute j json")?;
        let mut count = 1;
        for refreshed in [false, true] {
            if refreshed {
                db.batch_execute("select pgq.refresh_captures()")?;
            }
            for (who, session) in [("old", &mut old), ("warm", &mut warm)] {
                count += 1;
                session
                    .batch_execute(&format!("update u set d = (1, {count}, '{{}}')"))
                    .and_then(|()| session.batch_execute("commit"))
                    .map_err(|error| format!("{level}, {who}, {refreshed}: {error:?}"))?;
                let expected = format!("U|d='(1,{count},{{}})' where {key}='{value}'|public.u");
                assert_eq!(events(&mut db)?, [expected], "{level}, {who}, {refreshed}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_partitioned_table_that_becomes_a_partition_is_captured_fast_again() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create table root (id int primary key, a text) partition by range (id);
         create table mid (like root including all) partition by range (id);
         create table leaf partition of mid for values from (0) to (10);
         select pgq.create_capture('mid', 'c', 'sql', 'row', array['q'])",
    )?;
    for (change, table) in [
        (
            "alter table root attach partition mid for values from (0) to (10)",
            "root",
        ),
        ("alter table root detach partition mid", "mid"),
    ] {
        db.batch_execute(change)?;
        let write = format!("insert into {table} values (1, 'x'); delete from {table}");
        db.batch_execute(&write)?;
        db.batch_execute("select pgq.refresh_captures()")?;
        db.batch_execute(&format!("begin; {FORBID_SLOW_WAY}"))?;
        db.batch_execute(&write)?;
        let expected = [
            "I|(id,a) values ('1','x')|public.leaf",
            "D|id='1'|public.leaf",
        ];
        let logged = rows(
            &mut db,
            "select ev_type, ev_data, ev_extra1 from pgq.event_template order by ev_id",
        )?;
        assert_eq!(logged, [expected, expected].concat(), "{change}");
        db.batch_execute("rollback; truncate pgq.event_1_0")?;
    }
    Ok(())
}

#[test]
fn maintenance_does_not_touch_what_is_up_to_date() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create role app; grant execute on function
             pgq.insert_event(text, text, text, text, text, text, text) to app;
         select pgq.create_capture('t', 'generic', 'sql', 'generic', array['q']),
                pgq.create_capture('t', 'row', 'json', 'row', array['q'])",
    )?;
    // A function that is changed, be it in its privileges, is compiled again by every session.
    let versions = "select string_agg(xmin::text, ' ' order by oid) from pg_proc
                     where pronamespace = 'pgq_gen'::regnamespace";
    let before = row(&mut db, versions)?;
    db.batch_execute("select pgq.refresh_captures()")?;
    assert_eq!(row(&mut db, versions)?, before);

    let callers = "select string_agg(distinct grantee::regrole::text, ' ')
                     from pgq.capture
                     join pg_proc on proname = cap_function, aclexplode(proacl)
                    where cap_level = 'generic' and grantee <> proowner";
    assert!(row(&mut db, callers)?.contains("app"));
    db.batch_execute(
        "revoke execute on function pgq.insert_event(text, text, text, text, text, text, text) from app;
         select pgq.refresh_captures()",
    )?;
    assert!(!row(&mut db, callers)?.contains("app"));
    Ok(())
}

#[test]
fn a_table_captured_by_statements_becomes_no_heir_until_its_rows_are_captured() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    db.batch_execute(
        "create table parent (id int not null, a text);
         create table root (id int primary key, a text) partition by range (id);
         select pgq.create_capture('t', 'c', 'sql', 'statement', array['q'])",
    )?;
    let dml = |table: &str| {
        format!("insert into t values (1, 'x'); update {table} set a = 'y'; delete from {table}")
    };
    let expected = [
        "I|(id,a) values ('1','x')|public.t",
        "U|a='y' where id='1'|public.t",
        "D|id='1'|public.t",
    ];
    let mut dba = cluster.connect("postgres")?;
    for (become_heir, what, leave) in [
        (
            "alter table t inherit parent",
            "becoming an inheritance child",
            "alter table t no inherit parent",
        ),
        (
            "alter table root attach partition t for values from (0) to (10)",
            "becoming a partition",
            "alter table root detach partition t",
        ),
    ] {
        assert_eq!(
            refusal(&mut dba, become_heir)?,
            format!("trigger \"c_guard\" prevents table \"t\" from {what}")
        );
        // Who switches triggers off for a while switches all on.
        db.batch_execute("alter table t disable trigger user; alter table t enable trigger user")?;
        db.batch_execute(&dml("t"))?;
        assert_eq!(events(&mut db)?, expected);
        // One that was made without it is completed.
        db.batch_execute("drop trigger c_guard on t")?;
        let create =
            |level| format!("select pgq.create_capture('t', 'c', 'sql', '{level}', array['q'])");
        assert_eq!(row(&mut db, &create("statement"))?, "1");
        assert!(refusal(&mut dba, become_heir)?.starts_with("trigger \"c_guard\""));

        row(&mut db, &create("row"))?;
        dba.batch_execute(become_heir)?;
        let parent = if what.ends_with("partition") {
            "root"
        } else {
            "parent"
        };
        db.batch_execute(&dml(parent))?;
        assert_eq!(events(&mut db)?, expected, "through {parent}");
        assert!(refusal(&mut db, &create("statement"))?.contains("cannot capture statements"));
        dba.batch_execute(leave)?;
        row(&mut db, &create("statement"))?;
    }
    Ok(())
}

#[test]
fn a_partitioned_table_captured_by_statements_misses_nothing_as_a_partition() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    for (format, options) in [("sql", ", 'key_updates=log'"), ("json", ""), ("urlenc", "")] {
        db.batch_execute(&format!(
            "drop table if exists root, mid;
             create table root (id int primary key, a text) partition by range (id);
             create table mid (a text, id int primary key) partition by range (id);
             create table leaf partition of mid for values from (0) to (10);
             create table other partition of mid for values from (10) to (20);
             select pgq.create_capture('mid', 'c', '{format}', 'statement', array['q'{options}])"
        ))?;
        let dml = |table: &str| {
            format!(
                "insert into {table} (id, a) values (1, 'x'), (12, 'y');
                 update {table} set a = 'z' where id = 1; update {table} set id = 13 where id = 1;
                 delete from {table}"
            )
        };
        let mut warm = cluster.connect("postgres")?;
        warm.batch_execute(&dml("mid"))?;
        let expected = events(&mut db)?;
        assert_eq!(expected.len(), 7, "{expected:?}");
        let mut old = cluster.connect("postgres")?;
        old.batch_execute("begin isolation level repeatable read; select count(*) from pgq.queue")?;
        db.batch_execute("alter table root attach partition mid for values from (0) to (20)")?;
        for refreshed in [false, true] {
            for (table, session) in [("mid", &mut warm), ("root", &mut db), ("root", &mut old)] {
                session.batch_execute(&format!("{}; commit", dml(table)))?;
                let mut look = cluster.connect("postgres")?;
                assert_eq!(
                    events(&mut look)?,
                    expected,
                    "{format}, {table}, {refreshed}"
                );
            }
            db.batch_execute(
                "begin; set local session_replication_role = local; insert into root values (1);                  delete from root; commit",
            )?;
            assert_eq!(events(&mut db)?, [""; 0]);
            db.batch_execute("select pgq.refresh_captures()")?;
        }
        db.batch_execute("alter table mid rename to renamed; insert into root values (1, 'x')")?;
        let logged = events(&mut db)?;
        assert!(
            logged.len() == 1 && logged[0].ends_with("|public.renamed"),
            "{logged:?}"
        );
        db.batch_execute(
            "alter table root detach partition renamed; alter table renamed rename to mid;
             delete from mid; truncate pgq.event_1_0",
        )?;
        warm.batch_execute(&dml("mid"))?;
        assert_eq!(events(&mut db)?, expected, "{format}, alone again");
        row(&mut db, "select pgq.drop_capture('mid', 'c')")?;
        let left =
            "select count(*) from pg_trigger where tgrelid in ('mid'::regclass, 'leaf'::regclass)
                                                      and not tgisinternal";
        assert_eq!(row(&mut db, left)?, "0");
    }
    Ok(())
}

#[test]
fn columns_that_statements_cannot_capture_leave_the_slow_way_which_can() -> TestResult {
    let (cluster, mut db) = queue_and_table()?;
    let mut cases = vec![
        (
            "_pgq_row int default 7",
            "(id,a,_pgq_row) values ('1','x','7')",
            "NULL",
        ),
        (
            "_pgq_ev_extra3 int default 7",
            "(id,a) values ('1','x')",
            "7",
        ),
    ];
    if cluster.major() >= 18 {
        cases.push((
            "v int generated always as (id * 7) virtual",
            "(id,a,v) values ('1','x','7')",
            "NULL",
        ));
    }
    let mut warm = cluster.connect("postgres")?;
    for (column, values, extra3) in cases {
        db.batch_execute(
            "drop table t; create table t (id int primary key, gone int, a text); alter table t drop gone;
             select pgq.create_capture('t', 'c', 'sql', 'statement', array['q'])",
        )?;
        let dml = "insert into t values (1, 'x'); update t set a = 'y'; delete from t";
        warm.batch_execute(dml)?;
        events(&mut db)?;
        db.batch_execute(&format!("alter table t add {column}"))?;
        for refreshed in [false, true] {
            warm.batch_execute(dml)?;
            assert_eq!(
                rows(
                    &mut db,
                    "select ev_type, ev_data, ev_extra3 from pgq.event_template order by ev_id"
                )?,
                [
                    format!("I|{values}|{extra3}"),
                    format!("U|a='y' where id='1'|{extra3}"),
                    format!("D|id='1'|{extra3}"),
                ],
                "{column}, {refreshed}"
            );
            db.batch_execute("truncate pgq.event_1_0; select pgq.refresh_captures()")?;
        }
        assert!(
            refusal(
                &mut db,
                "select pgq.create_capture('t', 'd', 'sql', 'statement', array['q'])"
            )?
            .starts_with("cannot capture statements on public.t")
        );
    }
    Ok(())
}

#[test]
fn foreign_partitions_are_captured_by_rows_alone() -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    if db
        .batch_execute("create extension postgres_fdw; drop table t")
        .is_err()
    {
        eprintln!("skipped: the server came without postgres_fdw");
        return Ok(());
    }
    db.batch_execute(
        "create table remote (id int, a text);
         do $$ begin
             execute format('create server other foreign data wrapper postgres_fdw
                             options (host %L, port %L, dbname %L, batch_size %L)',
                            current_setting('unix_socket_directories'), current_setting('port'),
                            current_database(), '100');
         end $$;
         create user mapping for current_user server other;
         create table p (id int, a text) partition by range (id);
         create table p1 partition of p for values from (0) to (10);
         create table mid partition of p for values from (10) to (30) partition by range (id);
         create foreign table p2 partition of mid for values from (10) to (20)
             server other options (table_name 'remote')",
    )?;
    let statement =
        "select pgq.create_capture('p', 'c', 'sql', 'statement', array['q', 'pkey=id'])";
    assert_eq!(
        refusal(&mut db, statement)?,
        "cannot capture statements on public.p: the table has foreign partitions, whose rows get into no transition table"
    );
    for level in ["row", "generic"] {
        row(
            &mut db,
            &format!(
                "select pgq.create_capture('p', 'c', 'sql', '{level}', array['q', 'pkey=id'])"
            ),
        )?;
        db.batch_execute(
            "insert into p values (1, 'x'), (11, 'y'), (12, 'z'); update p set a = 'w' where id = 11;
             delete from p",
        )?;
        assert_eq!(
            events(&mut db)?,
            [
                "I|(id,a) values ('1','x')|public.p1",
                "I|(id,a) values ('11','y')|public.p2",
                "I|(id,a) values ('12','z')|public.p2",
                "U|a='w' where id='11'|public.p2",
                "D|id='1'|public.p1",
                "D|id='12'|public.p2",
                "D|id='11'|public.p2",
            ],
            "{level}"
        );
    }
    // One that comes later cannot be written to through its root, and nothing is missed.
    db.batch_execute("alter table mid detach partition p2")?;
    row(&mut db, statement)?;
    db.batch_execute(
        "alter table mid attach partition p2 for values from (10) to (20);
         insert into p values (2, 'x')",
    )?;
    let write = "insert into p values (3, 'x'), (13, 'y')";
    assert_eq!(
        refusal(&mut db, write)?,
        "cannot collect transition tuples from child foreign tables"
    );
    assert_eq!(
        rows(&mut db, "select id from p union all select id from remote")?,
        ["2"]
    );
    assert_eq!(events(&mut db)?, ["I|(id,a) values ('2','x')|public.p"]);
    row(
        &mut db,
        "select pgq.create_capture('p', 'c', 'sql', 'row', array['q', 'pkey=id'])",
    )?;
    db.batch_execute(write)?;
    assert_eq!(
        events(&mut db)?,
        [
            "I|(id,a) values ('3','x')|public.p1",
            "I|(id,a) values ('13','y')|public.p2"
        ]
    );
    Ok(())
}
