//! The schema `londiste`, without the program.

use postgres::Client;
use postgres::error::SqlState;
use testkit::TestResult;

use crate::support::{Pair, column, value};

/// The message of the error a statement must end in.
fn refusal(db: &mut Client, sql: &str) -> String {
    let error = db.batch_execute(sql).expect_err(sql);
    let message = error.as_db_error().expect("the server refuses").message();
    message.to_owned()
}

#[test]
fn every_function_pins_its_search_path_and_the_public_may_only_look() -> TestResult {
    let mut pair = Pair::installed()?;
    let functions = column(
        &mut pair.provider,
        "select p.oid::regprocedure::text from pg_proc p
          where p.pronamespace = 'londiste'::regnamespace
            and (p.proconfig is null
                 or 'search_path=pg_catalog, pg_temp' <> all (p.proconfig))",
    )?;
    assert_eq!(functions, [""; 0]);
    let writers = column(
        &mut pair.provider,
        "select p.oid::regprocedure::text from pg_proc p
          where p.pronamespace = 'londiste'::regnamespace and p.provolatile = 'v'
            and has_function_privilege('public', p.oid, 'execute')",
    )?;
    assert_eq!(writers, [""; 0]);
    let tables = column(
        &mut pair.provider,
        "select relname::text from pg_class
          where relnamespace = 'londiste'::regnamespace and relkind = 'r'
            and has_table_privilege('public', oid, 'select') order by 1",
    )?;
    assert_eq!(
        tables,
        [
            "completed",
            "link",
            "node_generation",
            "provider_table",
            "subscriber_table"
        ]
    );
    Ok(())
}

#[test]
fn functions_keep_the_argument_names_of_older_installations() -> TestResult {
    let mut pair = Pair::installed()?;
    let signatures = column(
        &mut pair.provider,
        "select proname || '(' || pg_get_function_arguments(oid) || ') ' || prorettype::regtype::text
           from pg_proc where pronamespace = 'londiste'::regnamespace
          order by proname, pronargs",
    )?;
    insta::assert_snapshot!(signatures.join("\n"));
    Ok(())
}

#[test]
fn names_of_relations_can_be_split_and_made() -> TestResult {
    let mut pair = Pair::installed()?;
    for (raw, schema, name, quoted) in [
        ("t", "public", "t", "public.t"),
        ("s.t", "s", "t", "s.t"),
        ("s.a.b", "s", "a.b", r#"s."a.b""#),
        ("S.Order", "S", "Order", r#""S"."Order""#),
        (r#""my.s".t"#, "my.s", "t", r#""my.s".t"#),
        (r#""a""b"."q""#, "a\"b", "\"q\"", r#""a""b"."""q""""#),
        (r#""open.t"#, "\"open", "t", r#""""open".t"#),
    ] {
        let row = pair.provider.query_one(
            "select o_schema, o_name, londiste.quote_fqname($1) from londiste.split_fqname($1)",
            &[&raw],
        )?;
        let parts: (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(parts, (schema, name, quoted), "{raw}");
        let made = pair.provider.query_one(
            "select londiste.make_fqname(o_schema, o_name) from londiste.split_fqname($1)",
            &[&raw],
        )?;
        let again = pair.provider.query_one(
            "select o_schema, o_name from londiste.split_fqname($1)",
            &[&made.get::<_, String>(0)],
        )?;
        assert_eq!((again.get(0), again.get(1)), (schema, name), "{raw}");
    }
    Ok(())
}

#[test]
fn column_letters_follow_the_table_not_its_index() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.provider.batch_execute(
        r#"create table t (gone int, a int, id int, b int, g int generated always as (a) stored,
                           primary key (id) include (b));
           alter table t drop column gone;
           alter table t rename column id to "Key";
           create table nokey (a int);"#,
    )?;
    let letters: String = value(&mut pair.provider, "select londiste.find_column_types('t')")?;
    assert_eq!(letters, "vkvi");
    let letters: String = value(
        &mut pair.provider,
        "select londiste.find_column_types('nokey')",
    )?;
    assert_eq!(letters, "v");
    assert_eq!(
        refusal(&mut pair.provider, "select londiste.find_column_types('x')"),
        "table not found: x"
    );
    Ok(())
}

#[test]
fn long_queue_names_give_short_unique_trigger_names() -> TestResult {
    let mut pair = Pair::installed()?;
    let name = "select londiste.trigger_name(";
    let long = "x".repeat(70);
    let a: String = value(&mut pair.provider, &format!("{name}'{long}a')"))?;
    let b: String = value(&mut pair.provider, &format!("{name}'{long}b')"))?;
    assert_eq!((a.len(), b.len()), (63, 63));
    assert_ne!(a, b);
    let wide: String = value(&mut pair.provider, &format!("{name}'{}')", "ä".repeat(40)))?;
    assert!(wide.len() <= 63, "{wide}");

    pair.provider.batch_execute(&format!(
        "create table t (id int primary key);
         select pgq.create_queue('{long}');
         select londiste.provider_add_table('{long}', 'public.t');
         select londiste.provider_refresh_trigger('{long}', 'public.t');"
    ))?;
    let triggers = "select tgname::text from pg_trigger where tgrelid = 't'::regclass";
    let stored = "select trigger_name from londiste.provider_table";
    assert_eq!(
        column(&mut pair.provider, triggers)?,
        column(&mut pair.provider, stored)?
    );
    pair.provider.batch_execute(&format!(
        "select londiste.provider_remove_table('{long}', 'public.t')"
    ))?;
    assert_eq!(column(&mut pair.provider, triggers)?, [""; 0]);
    Ok(())
}

#[test]
fn registering_checks_its_arguments() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.provider;
    db.batch_execute("create table t (id int primary key); create table nokey (a int)")?;
    for (sql, message) in [
        (
            "provider_add_table('replic', 'public.nokey')",
            "need key column",
        ),
        (
            "provider_add_table('replic', 'public.x')",
            "table not found: public.x",
        ),
        (
            "provider_add_table('replic', 't')",
            "need fully-qualified table name",
        ),
        (
            "provider_add_table('none', 'public.t')",
            "no such event queue: none",
        ),
        (
            "provider_remove_table('replic', 'public.t')",
            "no such table registered: public.t",
        ),
        (
            "provider_refresh_trigger('replic', 'public.t')",
            "table not found: public.t is not registered",
        ),
        (
            "provider_add_seq('replic', 'public.t')",
            "seq not found: public.t",
        ),
        (
            "provider_remove_seq('replic', 'public.s')",
            "seq not attached: public.s",
        ),
        (
            "subscriber_remove_table('replic', 'public.t')",
            "no such table: public.t",
        ),
        (
            "subscriber_set_table_state('replic', 'public.t', null, 'ok')",
            "no such table: public.t",
        ),
        (
            "subscriber_set_skip_truncate('replic', 'public.t', true)",
            "table not found: public.t",
        ),
        (
            "subscriber_remove_seq('replic', 'public.s')",
            "no such seq? public.s",
        ),
        ("find_rel_oid('public.t', 'v')", "weird relkind: v"),
        ("link_del('a', 'b')", "no suck link"),
    ] {
        assert_eq!(refusal(db, &format!("select londiste.{sql}")), message);
    }
    db.batch_execute("select londiste.provider_add_table('replic', 'public.t')")?;
    let twice = db
        .batch_execute("select londiste.provider_add_table('replic', 'public.t')")
        .unwrap_err();
    let twice = twice.as_db_error().unwrap();
    assert_eq!(twice.code(), &SqlState::UNIQUE_VIOLATION);
    assert_eq!(twice.constraint(), Some("provider_table_pkey"));
    Ok(())
}

#[test]
fn generated_columns_are_not_captured() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.provider;
    db.batch_execute(
        "create table t (id int primary key, a int, g int generated always as (a * 2) stored);
         select londiste.provider_add_table('replic', 'public.t');
         insert into t values (1, 5);
         update t set a = 6;",
    )?;
    assert_eq!(
        column(db, "select ev_data from pgq.event_template order by ev_id")?,
        ["(id,a) values ('1','5')", "a='6' where id='1'"]
    );
    Ok(())
}

#[test]
fn events_do_not_depend_on_the_writers_session() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.provider;
    db.batch_execute(
        r"create table t (id int primary key, d date, f float8, b bytea, n numeric, z timestamptz);
          select londiste.provider_add_table('replic', 'public.t');
          set datestyle = 'SQL, DMY'; set extra_float_digits = 0; set bytea_output = 'escape';
          set timezone = 'Asia/Tokyo';
          insert into t values (1, '31/12/2020', 0.1::float8 + 0.2::float8, '\x00ff', 1.0,
                                '31/12/2020 12:00:00+00');
          update t set n = 1.00;",
    )?;
    assert_eq!(
        column(db, "select ev_data from pgq.event_template order by ev_id")?,
        [
            r"(id,d,f,b,n,z) values ('1','2020-12-31','0.30000000000000004',E'\\x00ff','1.0','2020-12-31 12:00:00+00')",
            "n='1.00' where id='1'",
        ]
    );
    Ok(())
}

#[test]
fn events_carry_the_registered_name_of_a_renamed_table() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.provider;
    db.batch_execute(
        "create table t (id int primary key);
         select londiste.provider_add_table('replic', 'public.t');
         alter table t rename to u;
         insert into u values (1);",
    )?;
    assert_eq!(
        column(db, "select ev_extra1 from pgq.event_template")?,
        ["public.t"]
    );
    Ok(())
}

#[test]
fn a_declared_key_may_differ_from_the_primary_key() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.provider;
    db.batch_execute(
        "create table t (id int unique not null, a int, secret int);
         select londiste.provider_add_table('replic', 'public.t', 'kvi');
         insert into t values (1, 5, 9);
         update t set secret = 8;
         delete from t;",
    )?;
    assert_eq!(
        column(db, "select ev_data from pgq.event_template order by ev_id")?,
        ["(id,a) values ('1','5')", "id='1'"]
    );
    Ok(())
}

#[test]
fn foreign_keys_come_back_as_they_were_under_any_search_path() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.subscriber;
    db.batch_execute(
        r#"create schema "Odd Schema";
           create table "Odd Schema".ref (id int primary key);
           create table "Odd Schema"."my.tab" (id int primary key,
               r int constraint "F K" references "Odd Schema".ref on delete cascade
                     deferrable initially deferred,
               self int constraint f2 references "Odd Schema"."my.tab");
           alter table "Odd Schema"."my.tab" add constraint f3 foreign key (r)
               references "Odd Schema".ref not valid;
           comment on constraint "F K" on "Odd Schema"."my.tab" is 'kept';
           set search_path = "Odd Schema";"#,
    )?;
    let major: i32 = value(
        db,
        "select current_setting('server_version_num')::int / 10000",
    )?;
    if major >= 18 {
        db.batch_execute(r#"alter table "my.tab" alter constraint f2 not enforced"#)?;
    }
    let keys = "select concat_ws('|', conname, pg_catalog.pg_get_constraintdef(oid), convalidated, \
                pg_catalog.obj_description(oid, 'pg_constraint')) \
                from pg_catalog.pg_constraint where contype = 'f' order by conname";
    let before = column(db, keys)?;
    assert_eq!(before.len(), 3);

    let found = column(
        db,
        "select from_table || ' ' || to_table || ' ' || fkey_name \
         from londiste.find_table_fkeys('Odd Schema.ref')",
    )?;
    assert_eq!(
        found,
        [
            "Odd Schema.my.tab Odd Schema.ref F K",
            "Odd Schema.my.tab Odd Schema.ref f3"
        ]
    );
    let all = "select londiste.subscriber_drop_table_fkey(from_table, fkey_name)::text \
               from londiste.find_table_fkeys('Odd Schema.my.tab')";
    assert_eq!(column(db, all)?, ["1", "1", "1"]);
    assert_eq!(column(db, keys)?, [""; 0]);
    let again: i32 = value(
        db,
        "select londiste.subscriber_drop_table_fkey('Odd Schema.my.tab', 'f2')",
    )?;
    assert_eq!(again, 0);

    db.batch_execute("set search_path = pg_catalog")?;
    let all = "select londiste.subscriber_restore_table_fkey(from_table, fkey_name)::text \
               from londiste.subscriber_get_table_pending_fkeys('Odd Schema.my.tab')";
    assert_eq!(column(db, all)?, ["1", "1", "1"]);
    db.batch_execute(r#"set search_path = "Odd Schema""#)?;
    assert_eq!(column(db, keys)?, before);
    Ok(())
}

#[test]
fn restoring_one_foreign_key_leaves_others_of_its_name_pending() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.subscriber;
    db.batch_execute(
        "create table r (id int primary key);
         create table a (id int primary key, x int constraint same references r);
         create table b (id int primary key, x int constraint same references r);
         select londiste.subscriber_drop_table_fkey('public.a', 'same'),
                londiste.subscriber_drop_table_fkey('public.b', 'same');
         select londiste.subscriber_restore_table_fkey('public.a', 'same');",
    )?;
    assert_eq!(
        column(
            db,
            "select from_table from londiste.subscriber_pending_fkeys"
        )?,
        ["public.b"]
    );
    Ok(())
}

#[test]
fn keys_of_partitions_are_their_parents_business() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.subscriber;
    db.batch_execute(
        "create table r (id int primary key);
         create table p (id int primary key, x int constraint f references r)
             partition by range (id);
         create table p1 partition of p for values from (0) to (10);",
    )?;
    let keys = |db: &mut Client, table: &str| {
        column(
            db,
            &format!("select fkey_def from londiste.find_table_fkeys('{table}')"),
        )
    };
    assert_eq!(keys(db, "p1")?, [""; 0]);
    assert_eq!(
        keys(db, "r")?,
        ["alter table public.p add constraint f FOREIGN KEY (x) REFERENCES public.r(id)"]
    );
    db.batch_execute(
        "select londiste.subscriber_drop_table_fkey('public.p', 'f');
         select londiste.subscriber_restore_table_fkey('public.p', 'f');",
    )?;
    assert_eq!(keys(db, "p")?.len(), 1);
    Ok(())
}

#[test]
fn only_keys_between_settled_tables_of_the_queue_can_come_back() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.subscriber;
    db.batch_execute(
        "create table r (id int primary key);
         create table a (id int primary key, x int constraint f references r);
         select londiste.subscriber_drop_table_fkey('public.a', 'f');
         select londiste.subscriber_add_table('replic', 'public.a');
         select londiste.subscriber_add_table('replic', 'public.r');",
    )?;
    let valid = "select count(*) from londiste.subscriber_get_queue_valid_pending_fkeys('replic')";
    for (table, snapshot, state, count) in [
        ("public.a", "null", "'ok'", 0_i64),
        ("public.r", "'1:2:'", "'ok'", 0),
        ("public.r", "null", "'ok'", 1),
        ("public.a", "null", "'catching-up'", 0),
    ] {
        db.batch_execute(&format!(
            "select londiste.set_table_state('replic', '{table}', {snapshot}, {state})"
        ))?;
        assert_eq!(
            value::<i64>(db, valid)?,
            count,
            "{table} {snapshot} {state}"
        );
    }
    // A table that nobody subscribes does not keep them away, one of another queue does.
    for (sql, count) in [
        (
            "select londiste.subscriber_remove_table('replic', 'public.a')",
            1,
        ),
        (
            "select londiste.subscriber_add_table('other', 'public.a')",
            0,
        ),
        (
            "select londiste.set_table_state('other', 'public.a', null, 'ok')",
            0,
        ),
        (
            "select londiste.subscriber_remove_table('other', 'public.a')",
            1,
        ),
        ("drop table a", 0),
    ] {
        db.batch_execute(sql)?;
        assert_eq!(value::<i64>(db, valid)?, count, "{sql}");
    }
    Ok(())
}

#[test]
fn a_state_of_ok_forgets_skip_truncate() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.subscriber;
    db.batch_execute(
        "select londiste.subscriber_add_table('replic', 'public.t');
         select londiste.subscriber_set_skip_truncate('replic', 'public.t', true);
         select londiste.subscriber_set_table_state('replic', 'public.t', null, 'in-copy');",
    )?;
    let row = "select concat_ws('|', table_name, merge_state, snapshot, skip_truncate) \
               from londiste.subscriber_get_table_list('replic')";
    assert_eq!(column(db, row)?, ["public.t|in-copy|t"]);
    db.batch_execute(
        "select londiste.subscriber_set_table_state('replic', 'public.t', '3:4:', 'ok')",
    )?;
    assert_eq!(column(db, row)?, ["public.t|ok|3:4:"]);
    Ok(())
}

#[test]
fn positions_are_stored_and_forgotten() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.subscriber;
    let last = "select londiste.get_last_tick('c')";
    assert_eq!(value::<Option<i64>>(db, last)?, None);
    for tick in ["5", "7"] {
        db.batch_execute(&format!("select londiste.set_last_tick('c', {tick})"))?;
        assert_eq!(value::<Option<i64>>(db, last)?, Some(tick.parse()?));
    }
    db.batch_execute("select londiste.set_last_tick('c', null)")?;
    assert_eq!(value::<Option<i64>>(db, last)?, None);
    Ok(())
}

#[test]
fn a_linked_queue_follows_the_states_of_its_source() -> TestResult {
    let mut pair = Pair::installed()?;
    let db = &mut pair.provider;
    db.batch_execute(
        "create table t (id int primary key); create table u (id int primary key);
         select londiste.provider_add_table('replic', 'public.t');
         select londiste.subscriber_add_table('up', 'public.t');",
    )?;
    let link = "select londiste.link('up', 'replic', 100, 'public.t', '')";
    assert_eq!(refusal(db, link), "not all tables copied into subscriber");
    db.batch_execute("select londiste.set_table_state('up', 'public.t', null, 'ok')")?;
    assert_eq!(
        refusal(
            db,
            "select londiste.link('up', 'none', 100, 'public.t', '')"
        ),
        "linked provider queue does not have all tables"
    );
    assert_eq!(
        refusal(
            db,
            "select londiste.link('up', 'replic', 1, 'public.t', '')"
        ),
        "dest queue ticks larger"
    );
    db.batch_execute(link)?;
    assert_eq!(
        refusal(
            db,
            "select londiste.provider_add_table('replic', 'public.u')"
        ),
        "Linked queue, manipulation not allowed"
    );
    let tables = "select table_name from londiste.provider_get_table_list('replic')";
    db.batch_execute("select londiste.set_table_state('up', 'public.t', null, null)")?;
    assert_eq!(column(db, tables)?, [""; 0]);
    db.batch_execute("select londiste.set_table_state('up', 'public.t', null, 'ok')")?;
    assert_eq!(column(db, tables)?, ["public.t"]);
    db.batch_execute("select londiste.link_del('up', 'replic')")?;
    Ok(())
}

#[test]
fn uninstalling_removes_schema_and_triggers() -> TestResult {
    let mut pair = Pair::installed()?;
    pair.both("create table t (id int primary key)")?;
    pair.ok("provider add t")?;
    let script = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../sql/londiste/uninstall.sql"
    ))?;
    pair.provider.batch_execute(&script)?;
    pair.provider.batch_execute("insert into t values (1)")?;
    let left: i64 = value(
        &mut pair.provider,
        "select count(*) from pg_namespace where nspname = 'londiste'",
    )?;
    assert_eq!(left, 0);
    Ok(())
}

#[test]
fn every_file_of_the_schema_is_in_the_installer() -> TestResult {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/londiste");
    let installer = std::fs::read_to_string(root.join("install.sql"))?;
    let mut files = 0;
    for directory in ["functions", "tables"] {
        for entry in std::fs::read_dir(root.join(directory))? {
            let entry = entry?;
            let name = entry.file_name().into_string().expect("plain names");
            let text = std::fs::read_to_string(entry.path())?;
            assert!(
                text.is_ascii(),
                "{name} cannot be installed in any encoding"
            );
            let line = format!("\\ir {directory}/{name}\n");
            assert!(installer.contains(&line), "{name} is not installed");
            files += 1;
        }
    }
    assert!(files > 40);
    Ok(())
}
