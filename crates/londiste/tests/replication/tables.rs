//! Tables with something special about them, and what the subscriber has beside their rows.

use testkit::{Program, TestResult, wait_until};

use crate::support::{PATIENCE, Pair, Setting};

#[test]
fn local_tables_keep_their_foreign_keys_through_a_copy() -> TestResult {
    let pair = Pair::start("create table t (id int primary key)")?;
    pair.provider()?
        .batch_execute("insert into t values (1), (2)")?;
    let mut there = pair.subscriber()?;
    there.batch_execute(
        "create table mine (id int primary key, t int constraint refers references t);
         insert into mine values (1, null)",
    )?;
    pair.add(&["t"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    wait_until("the key to be back", PATIENCE, || {
        let back =
            "select exists (select from pg_constraint where conname = 'refers' and convalidated)
                       and not exists (select from londiste.subscriber_pending_fkeys)";
        Ok(there.query_one(back, &[])?.get(0))
    })
    .map_err(|error| pair.explain(error))?;
    assert!(
        there
            .batch_execute("insert into mine values (2, 9)")
            .is_err()
    );
    there.batch_execute("insert into mine values (2, 2)")?;
    pair.assert_quiet()
}

/// Keys that are more than a plain index of some columns.
const KEYS: &str = "
    create table incl (id int, a int, b text, primary key (id) include (a, b));
    create table later (id int primary key deferrable initially deferred, v int);
    create table halves (id int primary key, u int, v text, unique (u));";

#[test]
fn keys_of_every_kind_are_replicated_or_refused() -> TestResult {
    let pair = Pair::start(KEYS)?;
    let mut tables = vec!["incl", "later", "halves"];
    let mut db = pair.provider()?;
    let major = pair.provider.major().min(pair.subscriber.major());
    if major >= 15 {
        for side in [&mut db, &mut pair.subscriber()?] {
            side.batch_execute(
                "create table nulls (id int primary key, u int unique nulls not distinct)",
            )?;
        }
        tables.push("nulls");
        db.batch_execute("insert into nulls values (1, null), (2, 5)")?;
    }
    if major >= 18 {
        for side in [&mut db, &mut pair.subscriber()?] {
            side.batch_execute(
                "create extension btree_gist;
                 create table times (id int, during int4range, v text,
                                     primary key (id, during without overlaps));
                 create table virt (id int primary key, v int, g int generated always as (v * 2) virtual)",
            )?;
        }
        tables.extend(["times", "virt"]);
        db.batch_execute(
            "insert into times values (1, '[1,5)', 'a'), (1, '[5,9)', 'b'); insert into virt values (1, 1), (2, 2)",
        )?;
    }
    db.batch_execute(
        "insert into incl values (1, 2, 'x'), (2, 3, null); insert into later values (1, 1), (2, 2);
         insert into halves values (1, null, 'a'), (2, null, 'b'), (3, 3, 'c')",
    )?;
    pair.add(&tables)?;
    let _replay = pair.replay()?;
    for table in &tables {
        pair.wait_ok(&[format!("public.{table}").as_str()])?;
    }
    db.batch_execute(
        "update incl set a = 9, b = 'y' where id = 2; insert into incl values (3, 3, 'z'); delete from incl where id = 1;
         begin; update later set id = 5 where id = 1; insert into later values (1, 3); commit;
         update halves set u = 3 - id where id < 3; delete from halves where id = 3; insert into halves values (4, 3, 'd')",
    )?;
    if major >= 15 {
        db.batch_execute(
            "begin; update nulls set u = 7 where id = 1; update nulls set u = null where id = 2; commit;
             delete from nulls where u is null; insert into nulls values (3, null)",
        )?;
    }
    if major >= 18 {
        db.batch_execute(
            "update times set v = 'c' where during @> 6; update times set during = '[1,4)' where during @> 1;
             insert into times values (1, '[4,5)', 'd'); delete from times where v = 'a';
             update virt set v = 5 where id = 1; insert into virt values (3, 3); delete from virt where id = 2",
        )?;
    }
    pair.catch_up()?;
    for table in &tables {
        let rows = pair.assert_equal(&format!("select * from {table} t order by t::text"))?;
        assert!(rows > 0, "{table}");
    }
    let log = pair.log()?;
    assert!(!log.contains(" ERROR "), "{log}");
    Ok(())
}

/// What may act on the rows that come; only the subscriber has it.
const BYSTANDERS: &str = "
    create table seen (what text, id int);
    create function note() returns trigger language plpgsql as $$ begin
        insert into seen select tg_name, case tg_level when 'ROW' then new.id end; return new; end $$;
    create trigger by_row after insert on rows for each row execute function note();
    create trigger by_statement after insert on rows execute function note();
    create trigger never after insert on rows for each row execute function note();
    alter table rows disable trigger never;
    create trigger in_replica after insert on rows for each row execute function note();
    alter table rows enable replica trigger in_replica;
    create trigger always after insert on rows for each row execute function note();
    alter table rows enable always trigger always;
    create rule also as on insert to ruled do also insert into seen values ('also', new.id);
    create rule instead as on update to ruled where new.v = 'no' do instead nothing;
    alter table guarded enable row level security;
    create policy low on guarded using (id < 100);
    create role bystander; grant select on guarded to bystander;";

#[test]
fn rules_triggers_and_row_security_of_the_subscriber_act_as_in_any_session() -> TestResult {
    let pair = Pair::start(
        "create table rows (id int primary key); create table ruled (id int primary key, v text);
         create table guarded (id int primary key, v text)",
    )?;
    let mut db = pair.provider()?;
    let mut there = pair.subscriber()?;
    let tables = ["rows", "ruled", "guarded"];
    pair.add(&tables)?;
    let replay = pair.replay()?;
    pair.wait_ok(&["public.rows", "public.ruled", "public.guarded"])?;
    there.batch_execute(BYSTANDERS)?;
    let seen = |there: &mut postgres::Client| -> TestResult<String> {
        let rows = "select coalesce(string_agg(concat_ws(':', what, id), ' ' order by what, id), '') from seen";
        let seen = there.query_one(rows, &[])?.get(0);
        there.batch_execute("truncate seen")?;
        Ok(seen)
    };
    db.batch_execute(
        "insert into rows values (1), (2); insert into ruled values (1, 'a'); update ruled set v = 'no';
         insert into guarded values (99, 'a'), (100, 'b'); update guarded set v = 'c' where id = 100",
    )?;
    pair.catch_up()?;
    assert_eq!(
        seen(&mut there)?,
        "also:1 always:1 always:2 by_row:1 by_row:2 by_statement by_statement"
    );
    let ruled: String = there.query_one("select v from ruled", &[])?.get(0);
    assert_eq!(ruled, "a", "a rule of the subscriber's is its own affair");
    pair.assert_equal("select * from guarded order by id")?;
    drop(replay);

    // As a replica it keeps its hands off.
    pair.write_ini("replay", "apply_role = replica")?;
    let _replay = pair.replay()?;
    db.batch_execute("insert into rows values (3), (4); insert into guarded values (101, 'd')")?;
    pair.catch_up()?;
    assert_eq!(
        seen(&mut there)?,
        "always:3 always:4 in_replica:3 in_replica:4"
    );
    pair.assert_equal("select * from guarded order by id")?;
    pair.assert_equal("select * from rows order by id")?;
    Ok(())
}

#[test]
fn wide_rows_and_long_values_are_copied_and_applied() -> TestResult {
    let columns: Vec<String> = (1..1600).map(|number| format!("c{number} int")).collect();
    let schema = format!(
        "create table wide (id int primary key, {});
         create table long (id int primary key, t text, b bytea);",
        columns.join(", ")
    );
    let pair = Pair::with(Setting {
        // A capture of so many columns takes its time.
        lines: "lock_timeout = 120",
        ..Setting::default()
    })?;
    for mut side in [pair.provider()?, pair.subscriber()?] {
        side.batch_execute(&schema)?;
    }
    let mut db = pair.provider()?;
    // Not compressible, with what has to be escaped.
    let fill = |id: u32| {
        format!(
            "insert into long select {id}, string_agg(md5(i::text) || E'\\\\''\\n', ''), decode(string_agg(md5(i::text), ''), 'hex')
               from generate_series(1, 150000) i;
             insert into wide (id, c1, c1599) values ({id}, 1, {id});"
        )
    };
    db.batch_execute(&fill(1))?;
    pair.add(&["wide", "long"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.wide", "public.long"])?;
    db.batch_execute(&fill(2))?;
    db.batch_execute(
        "update wide set c800 = 5 where id = 1; update long set t = t || 'x' where id = 1;
         update long set id = 3 where id = 2",
    )?;
    pair.catch_up()?;
    pair.assert_equal("select * from wide order by id")?;
    pair.assert_equal("select id, length(t), md5(t), length(b), md5(b) from long order by id")?;

    // What no event can hold is the writer's error, and nothing of it is replicated.
    let too_long =
        db.batch_execute("insert into long values (9, null, repeat('x', 540000000)::bytea)");
    let error = too_long.expect_err("its text is longer than 1 GB");
    assert_eq!(
        error.code().map(postgres::error::SqlState::code),
        Some("54000"),
        "{error:?}"
    );
    db.batch_execute("delete from long where id = 3")?;
    pair.catch_up()?;
    pair.assert_equal("select id, md5(t), md5(b) from long order by id")?;
    pair.assert_quiet()
}

#[test]
fn empty_tables_and_tables_with_twenty_indexes_are_copied() -> TestResult {
    let indexes: Vec<String> = (1..=20)
        .map(|number| format!("create index many_{number} on many ((v + {number}), id);"))
        .collect();
    let pair = Pair::start(
        "create table none (id int primary key); create table many (id int primary key, v int)",
    )?;
    for mut side in [pair.provider()?, pair.subscriber()?] {
        side.batch_execute(&indexes.concat())?;
    }
    pair.provider()?
        .batch_execute("insert into many select i, i % 100 from generate_series(1, 20000) i")?;
    let definitions = "select indexdef from pg_indexes where schemaname = 'public' order by 1";
    pair.add(&["none", "many"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.none", "public.many"])?;
    pair.provider()?
        .batch_execute("insert into none values (1); delete from many where id % 2 = 0")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from many order by id")?, 10_000);
    assert_eq!(pair.assert_equal("select * from none")?, 1);
    assert_eq!(pair.assert_equal(definitions)?, 22);
    pair.assert_quiet()
}

#[test]
fn partitions_come_and_go() -> TestResult {
    let pair = Pair::start(
        "create table p (id int, v text, primary key (id)) partition by range (id);
         create table p1 partition of p for values from (0) to (100);
         create table p2 partition of p for values from (100) to (200)",
    )?;
    // The subscriber divides the rows in another way.
    pair.subscriber()?.batch_execute(
        "drop table p1, p2; create table rest partition of p default;
         create table low partition of p for values from (0) to (50)",
    )?;
    let mut db = pair.provider()?;
    db.batch_execute("insert into p select i, i from generate_series(0, 199) i")?;
    pair.add(&["p"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.p"])?;
    let rows = |expected: u64| -> TestResult {
        pair.catch_up()?;
        assert_eq!(pair.assert_equal("select * from p order by id")?, expected);
        Ok(())
    };
    db.batch_execute(
        "delete from p where id in (60, 160); update p set id = 160 where id = 10; update p set id = 60 where id = 110;
         create table p3 partition of p for values from (200) to (300); insert into p values (250, 'new');
         create table p4 (v text, id int not null primary key); insert into p4 values ('before', 301);",
    )?;
    rows(199)?;
    // Rows that come or go with a partition have no events: that is said in the manual. From then on
    // they are followed.
    db.batch_execute("alter table p attach partition p4 for values from (300) to (400)")?;
    pair.subscriber()?
        .batch_execute("insert into p values (301, 'before')")?;
    db.batch_execute(
        "insert into p values (302, 'after'); update p set v = 'x' where id in (250, 301)",
    )?;
    rows(201)?;
    db.batch_execute("alter table p detach partition p3; insert into p3 values (251, 'outside')")?;
    pair.subscriber()?
        .batch_execute("delete from p where id = 250")?;
    db.batch_execute("update p set v = 'y' where id = 301; delete from p where id = 302")?;
    rows(199)?;
    pair.assert_quiet()
}

#[test]
fn servers_of_any_two_majors_are_compared_and_repaired() -> TestResult {
    let pair = Pair::start(
        r#"create type mood as enum ('sad', 'ok');
           create table t (id int primary key, n numeric, f float8, ts timestamptz, iv interval, j jsonb, b bytea,
                           a text[], m mood, r int4range, t text collate "C");
           create table texts (k text primary key, v text)"#,
    )?;
    pair.add(&["t", "texts"])?;
    let _replay = pair.replay()?;
    pair.wait_ok(&["public.t", "public.texts"])?;
    pair.provider()?.batch_execute(
        "insert into t select i, i / 3.0, i / 7.0, timestamptz '2026-01-01' + i * interval '1 min',
                i * interval '1 hour', jsonb_build_object('i', i, 'x', null), decode(md5(i::text), 'hex'),
                array[i::text, null, '\"'], 'sad', int4range(i, i + 5), repeat('ä', i % 7)
           from generate_series(1, 2000) i;
         insert into texts select chr(33 + i % 90) || md5(i::text) || chr(200 + i % 50), i::text
           from generate_series(1, 2000) i",
    )?;
    pair.catch_up()?;
    let compare = ["compare", "--chunk", "300"];
    pair.londiste(&compare)?;
    pair.subscriber()?.batch_execute(
        "update t set n = n + 1 where id = 3; update t set f = f + 1e-9 where id = 4;
         update t set j = j - 'x' where id = 5; delete from t where id in (1, 2000);
         delete from texts where v in ('1', '1000'); insert into texts values ('ü', 'new')",
    )?;
    let run = || {
        Program::new("londiste", pair.dir())
            .args(["replay.ini"])
            .args(compare)
            .output()
    };
    let differs = run()?;
    assert_eq!(differs.status.code(), Some(3), "{}", differs.stderr);
    pair.londiste(&["repair", "--apply", "--chunk", "300"])?;
    pair.londiste(&compare)?;
    pair.assert_equal("select * from t order by id")?;
    pair.assert_equal(r#"select * from texts order by k collate "C""#)?;
    Ok(())
}
