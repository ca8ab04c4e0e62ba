//! Tables that are published in other ways than by a trigger for rows and their primary key.

use testkit::{TestResult, wait_until};

use crate::support::{ALL, PATIENCE, Pair, SIMPLE};

#[test]
fn every_way_of_publishing_a_table_replicates_it() -> TestResult {
    let pair = Pair::start(
        "create table plain (id int primary key, v text);
         create table bulk (id int primary key, v text);
         create table old (id int primary key, v text);
         create table keyed (a int not null, b int not null, v text);
         create unique index by_both on keyed (b, a);
         create table log (a int, v text);
         create table parent (id int primary key);
         create table child (id int primary key, p int references parent);
         create table parts (id int primary key, v text) partition by range (id);
         create table p1 partition of parts for values from (0) to (100);
         create table p2 partition of parts for values from (100) to (200);",
    )?;
    pair.londiste(&["provider", "add", "plain", "parent", "child", "--truncate"])?;
    pair.londiste(&["provider", "add", "parts", "--truncate"])?;
    pair.londiste(&["provider", "add", "bulk", "--capture", "statement"])?;
    pair.londiste(&["provider", "add", "old", "--capture", "generic"])?;
    pair.londiste(&["provider", "add", "keyed", "--key-index", "by_both"])?;
    pair.londiste(&["provider", "add", "log", "--insert-only"])?;
    pair.londiste(&["subscriber", "add", "--all"])?;
    let _replay = pair.replay()?;
    pair.londiste(&["subscriber", "wait-sync", "--timeout", "60"])?;

    let mut db = pair.provider()?;
    for table in ["plain", "bulk", "old", "parts"] {
        db.batch_execute(&format!(
            "insert into {table} select i, i from generate_series(1, 150) i;
             update {table} set v = v || 'x' where id % 3 = 0;
             delete from {table} where id % 7 = 0;"
        ))?;
    }
    // Through a value that is free for a moment.
    for table in ["plain", "bulk"] {
        db.batch_execute(&format!("update {table} set id = id + 1000 where id < 50"))?;
    }
    db.batch_execute(
        "insert into keyed select i, 1, i from generate_series(1, 20) i;
         update keyed set b = 2, v = 'moved' where a < 5; delete from keyed where a > 15;
         insert into log values (1, 'a'), (1, 'a'), (2, null);
         insert into parent values (1), (2); insert into child values (1, 1), (2, 2);",
    )?;
    pair.catch_up()?;
    for table in [
        "plain", "bulk", "old", "keyed", "log", "parent", "child", "parts",
    ] {
        let rows = pair.assert_equal(&format!("select * from {table} t order by t::text"))?;
        assert!(rows > 0, "{table}");
    }

    db.batch_execute(
        "begin; insert into plain values (5000, 'before'); truncate plain; insert into plain values (1, 'after');
         commit;
         truncate parent, child; insert into parent values (3); insert into child values (3, 3);
         truncate parts; insert into parts values (1, 'new'), (150, 'new');",
    )?;
    pair.catch_up()?;
    for (table, expected) in [("plain", 1), ("parent", 1), ("child", 1), ("parts", 2)] {
        let rows = pair.assert_equal(&format!("select * from {table} t order by t::text"))?;
        assert_eq!(rows, expected, "{table}");
    }
    pair.assert_quiet()
}

#[test]
fn a_truncate_empties_what_the_provider_emptied_and_nothing_else() -> TestResult {
    let pair = Pair::start(
        "create table a (id int primary key); create table b (id int primary key references a);
         alter table a add b int references b; create table c (id int primary key);
         create table free (id int primary key);",
    )?;
    pair.londiste(&["provider", "add", "a", "b", "c", "free", "--truncate"])?;
    let mut db = pair.provider()?;
    let mut there = pair.subscriber()?;
    pair.londiste(&["subscriber", "add", "--all"])?;
    let replay = pair.replay()?;
    pair.londiste(&["subscriber", "wait-sync", "--timeout", "60"])?;
    there.batch_execute(
        "create table local (id int primary key, a int references a);
         create table further (id int primary key references local);",
    )?;
    let fill = "insert into a values (1), (2); insert into b values (1); insert into c values (1);
                insert into free values (1);";

    // The foreign keys of the tables to each other and those of empty tables are no obstacle, nor are
    // events of other transactions between those of one TRUNCATE.
    db.batch_execute(fill)?;
    db.batch_execute("truncate a, b; truncate free; insert into free values (2)")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select id from a")?, 0);
    db.batch_execute(
        "set session_replication_role = local;
         begin; insert into a values (3); insert into b values (3);
         select pgq.insert_event('q', 'I', '(id) values (''3'')', t, null, null, null)
           from unnest(array['public.a', 'public.b']) t;
         select pgq.insert_event('q', 'R', '', 'public.a', null, null, null);
         select pgq.insert_event('q', 'I', '(id) values (''7'')', 'public.c', null, null, null);
         select pgq.insert_event('q', 'R', '', 'public.b', null, null, null);
         select pgq.insert_event('q', 'I', '(id) values (''4'')', t, null, null, null)
           from unnest(array['public.a', 'public.b']) t;
         insert into c values (7); truncate a, b; insert into a values (4); insert into b values (4); commit;
         reset session_replication_role",
    )?;
    pair.catch_up()?;
    for table in ["a", "b", "c", "free"] {
        pair.assert_equal(&format!("select * from {table} order by id"))?;
    }
    pair.assert_quiet()?;

    // Rows that only the subscriber has stay, and replay says why it stands.
    there.batch_execute(
        "insert into local values (1, 4), (2, null); insert into further values (2)",
    )?;
    db.batch_execute("begin; insert into free values (10); truncate a, b; commit")?;
    pair.wait_log("table public.further refers to public.local and holds rows")?;
    there.batch_execute("delete from further")?;
    pair.wait_log("table public.local refers to public.a and holds rows")?;
    let rows = |db: &mut postgres::Client, table: &str| -> TestResult<i64> {
        Ok(db
            .query_one(&format!("select count(*) from {table}"), &[])?
            .get(0))
    };
    assert_eq!(rows(&mut there, "local")?, 2);
    assert_eq!(
        rows(&mut there, "free")?,
        1,
        "nothing of the batch is applied"
    );
    there.batch_execute("delete from local")?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select id from free")?, 2);
    assert_eq!(pair.assert_equal("select id from a")?, 0);

    // Unless it was told to empty them too.
    db.batch_execute("insert into a values (5)")?;
    pair.catch_up()?;
    there.batch_execute("insert into local values (1, 5)")?;
    db.batch_execute("truncate a, b")?;
    let problem = "table public.local refers to public.a and holds rows";
    let before = pair.log()?.matches(problem).count();
    wait_until("replay to stand again", PATIENCE, || {
        Ok(pair.log()?.matches(problem).count() > before)
    })?;
    pair.write_ini("replay", "truncate_cascade = 1")?;
    replay.signal(rustix::process::Signal::HUP)?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select id from a")?, 0);
    assert_eq!(rows(&mut there, "local")?, 0);
    Ok(())
}

#[test]
fn a_removal_that_is_older_than_the_subscription_does_not_end_it() -> TestResult {
    let pair = Pair::start("create table t (id int primary key, v text)")?;
    pair.add(&["t"])?;
    let replay = pair.replay()?;
    pair.wait_ok(&["public.t"])?;
    drop(replay);
    // Replay comes to the removal when the table is back on both sides.
    pair.londiste(&["provider", "remove", "t"])?;
    pair.londiste(&["subscriber", "remove", "t"])?;
    pair.add_on_provider(&["t"])?;
    pair.londiste(&["subscriber", "add", "t", "--expect-sync"])?;
    pair.provider()?
        .batch_execute("insert into t select i, i from generate_series(1, 10) i")?;
    let replay = pair.replay()?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from t order by id")?, 10);
    assert_eq!(pair.state("public.t")?, "ok");
    let log = pair.log()?;
    assert!(log.contains("got new table event: \n"), "{log}");
    assert!(!log.contains("copied again"), "{log}");

    // One that the subscriber has not followed means a new copy, when replay comes to it after the table
    // is back.
    drop(replay);
    pair.londiste(&["provider", "remove", "t"])?;
    pair.add_on_provider(&["t"])?;
    pair.provider()?
        .batch_execute("insert into t values (11, 'x')")?;
    let _replay = pair.replay()?;
    pair.catch_up()?;
    pair.wait_ok(&["public.t"])?;
    pair.catch_up()?;
    assert_eq!(pair.assert_equal("select * from t order by id")?, 11);
    pair.londiste(&["provider", "remove", "t"])?;
    pair.catch_up()?;
    assert_eq!(pair.state("public.t")?, "");
    Ok(())
}

/// Tables that a replication by names and positions gets wrong.
const ODD: &str = r#"
    create schema "My Sch"; create schema "select"; create schema "a.b";
    create table "My Sch"."Tbl.With.Dots" ("I D" int, "a""b" text, "d1.ref" int, primary key ("d1.ref", "I D"));
    create table "select"."from" ("where" int primary key, "group" text);
    create table "a.b"."t,x" (id int primary key, v text);
    create table "Größe" ("Schlüssel" int primary key, "Wert" text);
    create table later (x text, gone1 int, k2 int, gone2 int, k1 int, y text, primary key (k1, k2));
    create table incl (a int, b int, c int, primary key (b) include (c));
    create table deferred (id int primary key deferrable initially deferred, v int unique deferrable);
    create table ident (id int generated always as identity primary key, v int,
                        g int generated always as (v * 2) stored);
    create table bydef (id int generated by default as identity primary key, v text);
    create table inh (id int primary key, v text); create table inh_child (primary key (id)) inherits (inh);
    create table other (w int default 1, primary key (w));
    create table middle (primary key (id)) inherits (inh, other);
    create table lowest (x int, primary key (id)) inherits (middle);"#;

#[test]
fn odd_tables_are_replicated_through_every_change() -> TestResult {
    let pair = Pair::start(ODD)?;
    pair.londiste(&["provider", "add", "--all"])?;
    let mut db = pair.provider()?;
    db.batch_execute(
        r#"insert into "My Sch"."Tbl.With.Dots" values (1, 'x', 2), (3, null, 4);
           insert into "select"."from" values (1, 'it''s \ "odd"');
           insert into "a.b"."t,x" values (1, 'x'); insert into "Größe" values (1, 'ß');
           insert into later values ('a', 1, 2, 3, 4, 'b'); insert into incl values (1, 2, 3);
           insert into ident (v) values (5), (6); insert into bydef (v) values ('a');
           insert into inh values (1, 'p'); insert into inh_child values (2, 'c');
           insert into other values (7); insert into middle values (3, 'm', 3); insert into lowest values (4, 'l', 3, 4);"#,
    )?;
    pair.londiste(&["subscriber", "add", "--all"])?;
    let _replay = pair.replay()?;
    pair.londiste(&["subscriber", "wait-sync", "--timeout", "90"])?;

    // Captures are refreshed at once, late, and not at all.
    for (drops, refresh) in [("gone1", true), ("gone2", false)] {
        let drop_column = format!("alter table later drop column {drops}");
        db.batch_execute(&drop_column)?;
        if refresh {
            db.batch_execute("select londiste.provider_refresh_trigger('q', 'public.later')")?;
        }
        db.batch_execute(
            "update later set x = x || '!', y = null; update later set k2 = k2 + 10 where k1 = 4;
             insert into later (x, k2, k1) values (random()::text, (random() * 1e9)::int, 9)",
        )?;
        // Events before the change speak of the column.
        pair.catch_up()?;
        pair.subscriber()?.batch_execute(&drop_column)?;
    }
    for side in [&mut db, &mut pair.subscriber()?] {
        side.batch_execute(r#"alter table "My Sch"."Tbl.With.Dots" rename "d1.ref" to "key""#)?;
    }
    db.batch_execute(
        r#"update "My Sch"."Tbl.With.Dots" set "a""b" = 'y' where "key" = 2;
           update "My Sch"."Tbl.With.Dots" set "key" = "key" + 10, "I D" = 7 where "key" = 4;
           update "select"."from" set "group" = E'tab\there' where "where" = 1;
           update "a.b"."t,x" set v = null; delete from "Größe"; insert into "Größe" values (2, 'ä');
           update incl set c = c + 1, a = null; update incl set b = 9;
           insert into deferred values (1, 1), (2, 2);
           update ident set v = 7 where v = 5; update ident set v = v where v = 6;
           insert into ident overriding system value values (100, 8); delete from ident where v = 7;
           update bydef set id = 50; insert into bydef values (51, 'z');
           update only inh set v = 'P'; update inh_child set v = 'C'; delete from only inh where id = 1;
           update other set w = w + 1; update inh set v = v || '!' where id > 2; update middle set id = id + 10;"#,
    )?;
    pair.catch_up()?;
    for table in [
        r#""My Sch"."Tbl.With.Dots""#,
        r#""select"."from""#,
        r#""a.b"."t,x""#,
        r#""Größe""#,
        "later",
        "incl",
        "deferred",
        "ident",
        "bydef",
        "only inh",
        "inh_child",
        "only other",
        "only middle",
        "lowest",
    ] {
        pair.assert_equal(&format!("select * from {table} t order by t::text"))?;
    }
    // Deferrable keys are warned about.
    let log = pair.log()?;
    assert!(!log.contains(" ERROR "), "{log}");
    Ok(())
}

#[test]
fn plain_literals_of_other_producers_keep_their_backslashes() -> TestResult {
    let pair = Pair::start(SIMPLE)?;
    // What the subscriber would make of them by itself does not matter.
    pair.subscriber()?
        .batch_execute("alter database shop set standard_conforming_strings = off")?;
    let _replay = pair.replay()?;
    pair.add(&["t"])?;
    pair.wait_ok(&["public.t"])?;
    let mut provider = pair.provider()?;
    for (kind, data, extra2) in [
        ("I", r"(id,data) values ('1','a\\b')", None),
        ("I", r"(id,data) values ('2','it''s \')", None),
        ("I", r"(id,data) values ('3',E'a\\b')", None),
        ("I", r"(id,data) values ('4','x\\')", None),
        ("I", r"(id,data) values ('5','n')", None),
        ("U", r"data='t\\t' where id='3' and data=E'a\\b'", None),
        ("D", r"id='4' and data='x\\'", None),
        // As triggers before 2.1.5 write them.
        ("U", r"id=5&data=o%5cld", Some("id")),
        ("I", r"id=6&data", Some("id")),
        ("I", r"id=7&data=x", Some("id")),
        ("D", r"id=7&data=x", Some("id")),
    ] {
        provider.execute(
            "select pgq.insert_event('q', $1, $2, 'public.t', $3, null, null)",
            &[&kind, &data, &extra2],
        )?;
    }
    pair.catch_up()?;
    let rows: Vec<(i32, Option<String>)> = pair
        .subscriber()?
        .query(ALL, &[])?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let expected = [
        (1, Some(r"a\\b")),
        (2, Some(r"it's \")),
        (3, Some(r"t\\t")),
        (5, Some(r"o\ld")),
        (6, None),
    ];
    assert_eq!(
        rows,
        expected.map(|(id, data)| (id, data.map(str::to_owned)))
    );
    pair.assert_quiet()
}
