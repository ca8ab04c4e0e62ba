//! The replay process: what it applies, and what it does when something is wrong.

use rustix::process::Signal;
use testkit::{TestResult, wait_until};

use crate::support::{ALL, PATIENCE, Pair, SIMPLE, Setting};

#[test]
fn an_added_table_is_copied_and_then_follows() -> TestResult {
    let pair = Pair::start(SIMPLE)?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into t select i, 'row ' || i from generate_series(1, 100) i")?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    provider.batch_execute(
        "insert into t values (200, 'new'); update t set data = null where id = 1; \
         delete from t where id = 2; update t set id = 300 where id = 3",
    )?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 100);
    pair.assert_tidy()?;
    pair.assert_quiet()
}

#[test]
fn odd_names_and_all_kinds_of_values_arrive_as_they_are() -> TestResult {
    let pair = Pair::start(
        r#"create schema "My Sch";
        create type mood as enum ('sad', 'it''s ok');
        create domain positive as int check (value > 0);
        create type pair as (a int, b text);
        create table "My Sch"."Tbl.With.Dots" (
            "I D" int, "select" text, "a""b" text, "d1.ref" text,
            constraint "the key" primary key ("d1.ref", "I D"));
        create table vals (
            id int primary key, i2 smallint, i8 bigint, n numeric, n2 numeric(10,2), f4 real,
            f8 double precision, b bool, c char(5), v varchar(20), t text, by bytea, d date,
            ts timestamp, tz timestamptz, ti time, tiz timetz, iv interval, u uuid, j json,
            jb jsonb, x xml, ia int[], ta text[], ip inet, ci cidr, m macaddr, bi bit(4),
            vb varbit, p point, r int4range, tsr tstzrange, mo money, e mood, po positive,
            co pair, tv tsvector, o oid);
        create table "order" ("user" int primary key, "group" text)"#,
    )?;
    let mut provider = pair.provider()?;
    let rows = r#"
        insert into vals values (0 + :base, -1, 9223372036854775807, 1.0, 12.30, 'NaN', '-Infinity',
            true, 'ab', 'v', E'back\\slash, tab\t, ''quote'', \\. end' || chr(10) || chr(128512),
            '\x00ff5c27', 'infinity', '2024-02-29 12:00:00.123456', '2024-02-29 12:00:00+05:30',
            '23:59:59.999999', '01:02:03+02', '-1 mon +2 days -03:04:05.6',
            'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a" : [1, null,  "x"]}', '{"b": 1, "a": 2}',
            '<a>b</a>', '{1,NULL,3}', array['a,b', 'NULL', null, '"q"', E'\\'], '10.1.2.3/8',
            '10.0.0.0/8', '08:00:2b:01:02:03', b'1010', b'101', '(1.5,-2)', '[1,10)',
            '[2024-01-01 00:00+00,)', '12.34', 'it''s ok', 7, row(1, 'x,y"z'), 'a:1 b:2', 4294967295);
        insert into vals (id, t) values (1 + :base, ''), (2 + :base, null), (3 + :base, '\N');
        insert into vals (id, f8, n) values (4 + :base, 0.30000000000000004, 'NaN'),
            (5 + :base, '-0', 1e-20);
        insert into "My Sch"."Tbl.With.Dots" values (1 + :base, 's', 'q"', 'dots'), (2 + :base, null, '', 'x');
        insert into "order" values (1 + :base, 'a')"#;
    // Half of it through the copy, half as events, written by a session of odd settings.
    provider.batch_execute(&rows.replace(":base", "0"))?;
    let _replay = pair.replay()?;
    let tables = ["vals", "My Sch.Tbl.With.Dots", "order"];
    pair.add(&tables)?;
    pair.wait_ok(&["public.vals", "My Sch.Tbl.With.Dots", "public.order"])?;
    provider.batch_execute(
        "set datestyle = 'SQL, DMY'; set intervalstyle = 'sql_standard'; \
         set extra_float_digits = 0; set bytea_output = 'escape'; set timezone = 'Asia/Kolkata'",
    )?;
    let rows = rows
        .replace("'2024-02-29", "'29/02/2024")
        .replace("'[2024-01-01", "'[01/01/2024");
    provider.batch_execute(&rows.replace(":base", "100"))?;
    provider.batch_execute(
        r#"update vals set t = t || 'x', f8 = 1.1, iv = '1 day -02:03', mo = '-5' where id = 0;
        update vals set n = 1.00 where id = 100;
        update "My Sch"."Tbl.With.Dots" set "select" = E'a\\b', "I D" = 77 where "I D" = 101;
        update "order" set "group" = null;
        delete from "order" where "user" = 1"#,
    )?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from vals order by id")?, 12);
    assert_eq!(
        pair.assert_equal(r#"select * from "My Sch"."Tbl.With.Dots" order by "I D""#)?,
        4
    );
    pair.assert_equal(r#"select * from "order" order by "user""#)?;
    pair.assert_quiet()
}

#[test]
fn foreign_keys_come_back_checked_once_both_tables_are_in_step() -> TestResult {
    let pair = Pair::start(
        "create table parent (id int primary key, up int references parent);
         create table child (id int primary key, parent int
             constraint child_fk references parent on delete cascade deferrable)",
    )?;
    let mut provider = pair.provider()?;
    provider.batch_execute(
        "insert into parent values (1, null), (2, 1); insert into child values (1, 1), (2, 2)",
    )?;
    let _replay = pair.replay()?;
    pair.add(&["child", "parent"])?;
    pair.wait_ok(&["public.child", "public.parent"])?;
    let keys = "select conname, pg_get_constraintdef(oid), convalidated from pg_constraint \
                where contype = 'f' and connamespace = 'public'::regnamespace \
                order by conname";
    wait_until("the foreign keys to come back", PATIENCE, || {
        let rows = pair.subscriber()?.query(keys, &[])?;
        Ok(rows.len() == 2 && rows.iter().all(|row| row.get::<_, bool>(2)))
    })
    .map_err(|error| pair.explain(error))?;
    assert_eq!(pair.assert_equal(keys)?, 2);
    provider.batch_execute("delete from parent where id = 2; insert into child values (3, 1)")?;
    pair.catch_up()?;
    pair.assert_equal("select * from child order by id")?;
    pair.assert_equal("select * from parent order by id")?;
    let pending = "select count(*) from londiste.subscriber_pending_fkeys";
    let pending: i64 = pair.subscriber()?.query_one(pending, &[])?.get(0);
    assert_eq!(pending, 0);
    Ok(())
}

#[test]
fn a_foreign_key_that_does_not_hold_does_not_stop_replay() -> TestResult {
    let pair = Pair::start(
        "create table parent (id int primary key); \
                            create table child (id int primary key, parent int)",
    )?;
    pair.subscriber()?.batch_execute(
        "alter table child add constraint fk foreign key (parent) references parent",
    )?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into child values (1, 99)")?;
    let _replay = pair.replay()?;
    pair.add(&["child", "parent"])?;
    pair.wait_ok(&["public.child", "public.parent"])?;
    pair.wait_log("replay goes on without it")?;
    provider.batch_execute("insert into child values (2, 98)")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from child order by id")?, 2);
    let left: i64 = pair
        .subscriber()?
        .query_one(
            "select (select count(*) from londiste.subscriber_pending_fkeys where fkey_name = 'fk') \
             - (select count(*) from pg_constraint where conname = 'fk')",
            &[],
        )?
        .get(0);
    assert_eq!(left, 1, "pending, and not on the table");
    Ok(())
}

#[test]
fn sequences_follow_even_when_nothing_else_happens() -> TestResult {
    let pair = Pair::start(
        "create sequence s; create sequence \"Unused\"; create sequence down increment -1",
    )?;
    let mut provider = pair.provider()?;
    provider.batch_execute("select nextval('s'), nextval('s'), nextval('down')")?;
    pair.londiste(&["provider", "add-seq", "s", "Unused", "down"])?;
    pair.londiste(&["subscriber", "add-seq", "s", "Unused", "down"])?;
    let replay = pair.replay()?;
    let value = |name: &str| -> TestResult<Option<i64>> {
        let sql = format!("select pg_sequence_last_value('{name}')");
        Ok(pair.subscriber()?.query_one(&sql, &[])?.get(0))
    };
    let reaches = |name: &str, wanted: i64| {
        wait_until(&format!("{name} to be {wanted}"), PATIENCE, || {
            Ok(value(name)? == Some(wanted))
        })
        .map_err(|error| pair.explain(error))
    };
    reaches("s", 2)?;
    reaches("down", -1)?;
    provider.batch_execute("select setval('s', 1000)")?;
    reaches("s", 1000)?;
    // Back on purpose.
    provider.batch_execute("select setval('s', 5)")?;
    reaches("s", 5)?;
    assert_eq!(value("\"Unused\"")?, None);
    // Ahead after a restart: it stays.
    drop(replay);
    pair.subscriber()?.batch_execute("select setval('s', 70)")?;
    provider.batch_execute("drop sequence down")?;
    let _replay = pair.replay()?;
    pair.wait_log("cannot follow sequence public.down")?;
    assert_eq!(value("s")?, Some(70));
    provider.batch_execute("select setval('s', 71)")?;
    reaches("s", 71)
}

#[test]
fn sequences_are_up_to_date_when_replay_has_been_stopped() -> TestResult {
    let pair = Pair::start("create sequence s")?;
    let mut provider = pair.provider()?;
    let mut subscriber = pair.subscriber()?;
    pair.londiste(&["provider", "add-seq", "s"])?;
    pair.londiste(&["subscriber", "add-seq", "s"])?;
    let mut value = || -> TestResult<Option<i64>> {
        let row = subscriber.query_one("select pg_sequence_last_value('s')", &[])?;
        Ok(row.get(0))
    };
    for round in 1..=3 {
        let mut replay = pair.replay()?;
        // Replay has just looked, and would not look again for a second.
        provider.execute("select setval('s', $1)", &[&(round * 10)])?;
        wait_until("the sequence to follow", PATIENCE, || {
            Ok(value()? == Some(round * 10))
        })
        .map_err(|error| pair.explain(error))?;
        provider.execute("select nextval('s')", &[])?;
        replay.signal(Signal::INT)?;
        assert!(replay.wait(PATIENCE)?.success());
        assert_eq!(value()?, Some(round * 10 + 1));
    }
    pair.assert_quiet()
}

#[test]
fn a_table_removed_on_the_provider_is_unsubscribed_and_gets_its_triggers_back() -> TestResult {
    let pair = Pair::start(
        "create table t (id int primary key); create table other (id int primary key)",
    )?;
    pair.subscriber()?.batch_execute(
        "create function f() returns trigger language plpgsql as 'begin return new; end'; \
         create trigger tg before insert on t for each row execute function f()",
    )?;
    let _replay = pair.replay()?;
    pair.add(&["t", "other"])?;
    pair.wait_ok(&["public.t", "public.other"])?;
    pair.londiste(&["provider", "remove", "t"])?;
    pair.wait_state("public.t", "")?;
    wait_until("t to be unsubscribed", PATIENCE, || {
        Ok(pair.state("public.t")?.is_empty())
    })?;
    pair.provider()?
        .batch_execute("insert into t values (1); insert into other values (1)")?;
    pair.catch_up()?;
    assert_eq!(pair.state("public.other")?, "ok");
    assert_eq!(pair.assert_equal("select * from other")?, 1);
    let counts = pair.subscriber()?.query_one(
        "select (select count(*) from t), (select count(*) from pg_trigger where tgname = 'tg')",
        &[],
    )?;
    assert_eq!((counts.get::<_, i64>(0), counts.get::<_, i64>(1)), (0, 1));
    Ok(())
}

#[test]
fn events_of_other_programs_are_skipped_and_those_of_later_versions_are_not() -> TestResult {
    let (pair, _replay) = Pair::simple()?;
    let mut provider = pair.provider()?;
    provider.batch_execute(
        "select pgq.insert_event('q', 'mine', 'x'); insert into t values (1, 'a'); \
         select pgq.insert_event('q', 'mine', 'y')",
    )?;
    pair.catch_up()?;
    pair.assert_equal(ALL)?;
    assert_eq!(pair.log()?.matches("Unknows op mine").count(), 1);
    provider.batch_execute(
        "insert into t values (2, 'b'); select pgq.insert_event('q', 'londiste.future', 'x')",
    )?;
    pair.wait_log("has the type londiste.future")?;
    let rows: i64 = pair
        .subscriber()?
        .query_one("select count(*) from t", &[])?
        .get(0);
    assert_eq!(rows, 1, "nothing of that batch is applied");
    Ok(())
}

#[test]
fn encoded_rows_and_truncates_are_applied() -> TestResult {
    let pair = Pair::start(SIMPLE)?;
    pair.provider()?
        .batch_execute("insert into t values (1, 'old')")?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    let mut provider = pair.provider()?;
    let mut event = |kind: &str, data: &str| {
        provider.execute(
            "select pgq.insert_event('q', $1, $2, 'public.t', null, null, null)",
            &[&kind, &data],
        )
    };
    event("R", "")?;
    event("I:id", "id=5&data=it%27s+a+%25")?;
    event("I:id", "id=6&data")?;
    event("U:id", "id=5&data=changed")?;
    event(
        r#"{"op":"INSERT","table":["public","t"],"pkey":["id"]}"#,
        r#"{"id":7,"data":"j\"son"}"#,
    )?;
    event(
        r#"{"op":"DELETE","table":["public","t"],"pkey":["id"]}"#,
        r#"{"id":6,"data":null}"#,
    )?;
    pair.catch_up()?;
    let rows: Vec<(i32, String)> = pair
        .subscriber()?
        .query(ALL, &[])?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert_eq!(rows, [(5, "changed".to_owned()), (7, "j\"son".to_owned())]);
    Ok(())
}

#[test]
fn columns_the_subscriber_computes_and_partitions_are_no_obstacle() -> TestResult {
    let pair = Pair::start(
        "create table g (id int generated always as identity primary key, a int,
                         twice int generated always as (a * 2) stored)",
    )?;
    pair.provider()?
        .batch_execute("create table p (id int, day date, v text, primary key (id, day))")?;
    pair.subscriber()?.batch_execute(
        "create table p (id int, day date, v text, primary key (id, day)) partition by range (day);
         create table p1 partition of p for values from ('2024-01-01') to ('2024-02-01');
         create table p2 partition of p for values from ('2024-02-01') to ('2024-03-01')",
    )?;
    let mut provider = pair.provider()?;
    let rows = "insert into g (a) select i from generate_series(1, 3) i";
    provider.batch_execute(rows)?;
    provider
        .batch_execute("insert into p values (1, '2024-01-05', 'x'), (2, '2024-02-05', 'y')")?;
    let _replay = pair.replay()?;
    pair.add(&["g", "p"])?;
    pair.wait_ok(&["public.g", "public.p"])?;
    provider.batch_execute(rows)?;
    provider.batch_execute(
        "update g set a = 100 where id = 1; update g set a = a where id = 2; \
         delete from g where id = 3; update p set v = 'z' where id = 1; \
         update p set day = '2024-01-06' where id = 2; delete from p where id = 1; \
         insert into p values (3, '2024-02-07', null)",
    )?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from g order by id")?, 5);
    assert_eq!(pair.assert_equal("select * from p order by id")?, 2);
    Ok(())
}

#[test]
fn an_event_that_cannot_be_applied_is_named_and_stops_replay_until_it_can() -> TestResult {
    let (pair, _replay) = Pair::simple()?;
    let mut provider = pair.provider()?;
    pair.subscriber()?
        .batch_execute("insert into t values (50, 'foreign')")?;
    provider.batch_execute("insert into t select i, 'x' from generate_series(1, 100) i")?;
    pair.wait_log("to table public.t (23505)")?;
    let log = pair.log()?;
    let event = log
        .split("cannot apply event ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .ok_or("no event in the log")?
        .to_owned();
    let data: String = provider
        .query_one(
            "select ev_data from pgq.event_template where ev_id = $1::text::int8",
            &[&event],
        )?
        .get(0);
    assert!(data.contains("'50'"), "{data}");
    assert!(log.contains("duplicate key value"), "{log}");
    let rows: i64 = pair
        .subscriber()?
        .query_one("select count(*) from t", &[])?
        .get(0);
    assert_eq!(rows, 1, "the batch is all or nothing");
    pair.subscriber()?
        .batch_execute("delete from t where id = 50")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 100);
    Ok(())
}

#[test]
fn a_large_batch_takes_little_memory() -> TestResult {
    let (pair, replay) = Pair::simple()?;
    let mut provider = pair.provider()?;
    provider.batch_execute(
        "select count(pgq.insert_event('q', 'I', \
             format('(id,data) values (%L,%L)', i, repeat('x', 1000)), \
             'public.t', null, null, null)) from generate_series(1, 40000) i",
    )?;
    pair.catch_up()?;
    // Few rows, but large ones.
    provider.batch_execute(
        "select count(pgq.insert_event('q', 'I', \
             format('(id,data) values (%L,%L)', -i, repeat('x', 100000)), \
             'public.t', null, null, null)) from generate_series(1, 1800) i",
    )?;
    pair.catch_up()?;
    let peak = replay.peak_memory_kb()?;
    // A third of the larger batch, of which it takes no more than of one a third as large.
    assert!(peak < 60_000, "{peak} kB for batches of 40 and 180 MB");
    let rows: i64 = pair
        .subscriber()?
        .query_one("select count(*) from t", &[])?
        .get(0);
    assert_eq!(rows, 41_800);
    Ok(())
}

#[test]
fn triggers_of_the_subscriber_fire_unless_the_role_is_replica() -> TestResult {
    for (lines, fired) in [("", 1), ("apply_role = replica", 0)] {
        let (pair, _replay) = Pair::replicating(Setting {
            lines,
            schema: SIMPLE,
            ..Setting::default()
        })?;
        pair.subscriber()?.batch_execute(
            "create table fired (id int); \
             create function f() returns trigger language plpgsql as \
             'begin insert into fired values (new.id); return new; end'; \
             create trigger tg before insert on t for each row execute function f()",
        )?;
        pair.provider()?
            .batch_execute("insert into t values (1, 'x')")?;
        pair.catch_up()?;
        let count: i64 = pair
            .subscriber()?
            .query_one("select count(*) from fired", &[])?
            .get(0);
        assert_eq!(count, fired, "{lines}");
    }
    Ok(())
}

#[test]
fn characters_arrive_where_databases_have_different_encodings() -> TestResult {
    let pair = Pair::with(Setting {
        schema: "create table t (id text primary key, \"Größe\" text)",
        encoding: "LATIN1",
        encoding_there: "UTF8",
        ..Setting::default()
    })?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into t values ('Ä', 'copiée'), ('ß', 'it''s \\ñ')")?;
    pair.add(&["t"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    provider.batch_execute(
        "insert into t values ('é', '¿'), ('plain', null); update t set \"Größe\" = 'geändert' where id = 'Ä'; \
         update t set id = 'ü' where id = 'plain'; delete from t where id = 'ß'",
    )?;
    pair.catch_up()?;
    assert_eq!(
        pair.assert_equal("select * from t order by id collate \"C\"")?,
        3
    );
    pair.assert_quiet()
}

#[test]
fn a_character_that_the_subscriber_cannot_write_stops_copy_and_replay_and_is_named() -> TestResult {
    let pair = Pair::with(Setting {
        schema: "create table t (id int primary key, data text); create table other (id int primary key)",
        encoding_there: "LATIN1",
        ..Setting::default()
    })?;
    let mut provider = pair.provider()?;
    provider.batch_execute("insert into t values (1, 'é'), (2, 'dear: €')")?;
    pair.add(&["t", "other"])?;
    let _replay = pair.replay()?;
    let told = |what: &str| {
        wait_until("status to tell of the character", PATIENCE, || {
            let text = pair.londiste(&["status"])?.stdout;
            Ok(text.contains(what) && text.contains("has no equivalent in encoding \"LATIN1\""))
        })
        .map_err(|error| pair.explain(error))
    };
    told("the copy of public.t fails since ")?;
    // A copy begins anew with what is there then.
    provider.batch_execute("update t set data = 'dear: ¤' where id = 2")?;
    pair.wait_ok(&["public.t", "public.other"])?;

    provider.batch_execute(
        "begin; insert into other values (1); insert into t values (3, '€'); commit;
         update t set data = 'EUR' where id = 3",
    )?;
    told("replay fails since ")?;
    let there = |rows: i64| -> TestResult {
        let count = pair.subscriber()?;
        let count = { count }.query_one("select count(*) from other", &[])?;
        assert_eq!(count.get::<_, i64>(0), rows, "a batch is all or nothing");
        Ok(())
    };
    there(0)?;
    // The change cannot be made: the table has to be copied again as it has become.
    pair.londiste(&["subscriber", "remove", "t"])?;
    pair.catch_up()?;
    there(1)?;
    pair.add_on_subscriber(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    assert_eq!(pair.assert_equal(ALL)?, 3);
    Ok(())
}

#[test]
fn bytes_of_databases_without_an_encoding_arrive_as_they_are() -> TestResult {
    let pair = Pair::with(Setting {
        schema: SIMPLE,
        encoding: "SQL_ASCII",
        ..Setting::default()
    })?;
    let mut provider = pair.provider()?;
    provider.batch_execute("set client_encoding = 'SQL_ASCII'")?;
    // Written on the server: the test's connection speaks UTF-8 only.
    let bytes = |id: i32, hex: &str| {
        format!("insert into t values ({id}, convert_from('\\x{hex}', 'SQL_ASCII'))")
    };
    provider.batch_execute(&bytes(1, "ff00fe".replace("00", "41").as_str()))?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    provider.batch_execute(&format!(
        "{}; {}; update t set data = data || convert_from('\\xe4275c', 'SQL_ASCII') where id = 1; \
         delete from t where id = 2",
        bytes(2, "80"),
        bytes(3, "c3a4"),
    ))?;
    pair.catch_up()?;
    let rows = "select id, convert_to(data, 'SQL_ASCII') from t order by id";
    assert_eq!(pair.assert_equal(rows)?, 2);
    let data: Vec<u8> = pair.subscriber()?.query(rows, &[])?[0].get(1);
    assert_eq!(data, b"\xff\x41\xfe\xe4'\\");
    Ok(())
}

#[test]
fn states_of_old_installations_are_understood_and_respelled() -> TestResult {
    let pair = Pair::start(SIMPLE)?;
    pair.add_on_provider(&["t"])?;
    pair.londiste(&["subscriber", "add", "t", "--expect-sync"])?;
    pair.subscriber()?
        .batch_execute("update londiste.subscriber_table set merge_state = '?'")?;
    let _replay = pair.replay()?;
    pair.wait_log("consumer replay on queue q at tick")?;
    pair.provider()?
        .batch_execute("insert into t values (1, 'x')")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal(ALL)?, 1);
    assert_eq!(pair.state("public.t")?, "ok");
    Ok(())
}

#[test]
fn control_events_of_the_later_line_are_understood() -> TestResult {
    let pair = Pair::start(
        "create table t (id int primary key, data text); create sequence s; create sequence gone",
    )?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.londiste(&["provider", "add-seq", "s", "gone"])?;
    pair.londiste(&["subscriber", "add-seq", "s", "gone"])?;
    pair.wait_ok(&["public.t"])?;
    let mut provider = pair.provider()?;
    let mut event = |kind: &str, data: &str, extra1: &str| {
        provider.execute(
            "select pgq.insert_event('q', $1, $2, $3, null, null, null)",
            &[&kind, &data, &extra1],
        )
    };
    event("pgq.tick-id", "7", "elsewhere")?;
    event("londiste.add-table", "public.other", "")?;
    event("londiste.update-seq", "30000", "public.s")?;
    event("londiste.remove-seq", "public.gone", "")?;
    event("londiste.remove-table", "public.t", "")?;
    pair.catch_up()?;
    assert_eq!(pair.state("public.t")?, "");
    let mut subscriber = pair.subscriber()?;
    let seqs: Vec<String> = subscriber
        .query("select londiste.subscriber_get_seq_list('q')", &[])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(seqs, ["public.s"]);
    let last: i64 = subscriber
        .query_one("select last_value from s", &[])?
        .get(0);
    assert_eq!(last, 30000);
    pair.assert_quiet()
}
