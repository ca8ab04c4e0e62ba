//! Keys: equal ones with several texts, nulls, none, others than those of the events.

use testkit::{TestResult, tick};

use crate::{METHODS, content, load, put, site, table_with_old_rows};

#[test]
fn keys_that_are_equal_are_one_however_they_are_written() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    site.drain("mover")?;
    for method in METHODS {
        dst.batch_execute(
            "drop table if exists t; create table t (id numeric primary key, v text);
             insert into t values (1.0, 'old'), (2.0, 'old'), (3, 'old'), (4, 'old')",
        )?;
        load(
            &site,
            method,
            &[
                ("D:id", "id=1.0&v=old"),
                ("I:id", "id=1.00&v=new"),
                ("U:id", "id=2.0&v=a"),
                ("U:id", "id=2.00&v=b"),
                ("U:id", "id=2.0&v=c"),
                ("D:id", "id=3.000"),
                ("I:id", "id=5.0&v=a"),
                ("D:id", "id=5.00"),
                ("I:id", "id=5&v=b"),
                ("U:id", "id=4&v=a"),
            ],
        )?;
        let expected = ["(1.00,new)", "(2.0,c)", "(4,a)", "(5,b)"];
        assert_eq!(content(&mut dst, "t")?, expected, "{method}");
        assert!(!site.log("mover").contains("mismatch"), "{method}");
    }
    Ok(())
}

#[test]
fn keys_of_a_type_out_of_the_search_path_are_equal_as_it_says() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    if dst
        .batch_execute("create schema ext; create extension citext schema ext")
        .is_err()
    {
        eprintln!("skipped: the server came without citext");
        return Ok(());
    }
    dst.batch_execute("create domain name as ext.citext")?;
    site.drain("mover")?;
    for key_type in ["ext.citext", "public.name"] {
        for method in METHODS {
            dst.batch_execute(&format!(
                "drop table if exists t; create table t (k {key_type}, v text);
                 insert into t values ('a', 'old'), ('b', 'old'), (null, 'old')"
            ))?;
            let events = [
                ("U:k", "k=A&v=new"),
                ("D:k", "k=B&v=old"),
                ("I:k", "k=c&v=new"),
                ("U:k", "k&v=new"),
            ];
            load(&site, &format!("{method}\nnull_keys = equal"), &events)?;
            let expected = ["(,new)", "(A,new)", "(c,new)"];
            assert_eq!(content(&mut dst, "t")?, expected, "{method}");
            load(&site, method, &[("U:k", "k=a&v=newer"), ("D:k", "k=C")])?;
            let expected = ["(,new)", "(a,newer)"];
            assert_eq!(content(&mut dst, "t")?, expected, "{method}");
        }
    }
    let log = site.log("mover");
    assert!(!log.contains("mismatch"), "{log}");
    Ok(())
}

#[test]
fn a_key_is_written_as_in_the_last_event() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    site.drain("mover")?;
    for method in METHODS {
        dst.batch_execute(
            "drop table if exists t; create table t (id numeric primary key, v text);
             insert into t values (1.0, 'old'), (2.0, 'old')",
        )?;
        load(
            &site,
            method,
            &[("U:id", "id=1.00&v=new"), ("U:id", "id=2.00")],
        )?;
        let kept = matches!(method, "load_method = 0" | "merge_mode = upsert");
        let second = if kept { "(2.00,old)" } else { "(2.00,)" };
        assert_eq!(content(&mut dst, "t")?, ["(1.00,new)", second], "{method}");
    }
    load(&site, "heal = 1", &[("U:id", "id=2.0"), ("U:id", "id=3.0")])?;
    let ids = crate::rows(&mut dst, "select id from t")?;
    assert_eq!(ids, ["(1.00)", "(2.0)", "(3.0)"]);
    assert!(!site.log("mover").contains("mismatch"));
    Ok(())
}

#[test]
fn a_null_in_a_key_matches_nothing_unless_it_is_told_to() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    let events = [
        ("I:id,n", "id=1&n&v=a"),
        ("U:id,n", "id=1&n&v=b"),
        ("D:id,n", "id=2&n"),
        ("U:id,n", "id=3&n=1&v=new"),
    ];
    for (lines, expected) in [
        ("", &["(1,,a)", "(2,,old)", "(3,1,new)"][..]),
        ("null_keys = equal", &["(1,,b)", "(3,1,new)"]),
    ] {
        dst.batch_execute(
            "drop table if exists t; create table t (id int, n int, v text);
             insert into t values (2, null, 'old'), (3, 1, 'old')",
        )?;
        load(&site, lines, &events)?;
        assert_eq!(content(&mut dst, "t")?, expected, "{lines}");
    }
    // An event without a key that could say which row it is about is a bad one.
    put(&mut src, "public.t", &[("U:", "id=1&v=b")])?;
    tick(&mut src, "from")?;
    site.refused("mover.ini --once", "event without key columns")?;
    Ok(())
}

#[test]
fn rows_without_a_key_are_inserted_by_every_method() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    site.drain("mover")?;
    dst.batch_execute("create table t (a text, b text default 'own')")?;
    for method in METHODS {
        load(
            &site,
            method,
            &[("I:", "a=x"), ("I:", "a=x"), ("I:", "a&b=y"), ("I:", "a=")],
        )?;
        assert_eq!(
            content(&mut dst, "t")?,
            ["(\"\",own)", "(,y)", "(x,own)", "(x,own)"],
            "{method}"
        );
        dst.batch_execute("truncate t")?;
    }
    Ok(())
}

#[test]
fn a_table_that_is_all_key_is_left_alone_by_updates_or_healed() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    site.drain("mover")?;
    let events = [
        ("U:a,b", "a=1&b=1"),
        ("D:b,a", "a=2&b=2"),
        ("I:a,b", "a=3&b=3"),
        ("U:a,b", "a=4&b=4"),
    ];
    for (lines, healed) in [
        ("load_method = 0", false),
        ("load_method = 0\nheal = 1", true),
        ("load_method = 1", true),
        ("load_method = 2", true),
        ("merge_mode = upsert", true),
    ] {
        dst.batch_execute(
            "drop table if exists t; create table t (a int, b int, primary key (a, b));
             insert into t values (1, 1), (2, 2)",
        )?;
        load(&site, lines, &events)?;
        let expected: &[&str] = match healed {
            true => &["(1,1)", "(3,3)", "(4,4)"],
            false => &["(1,1)", "(3,3)"],
        };
        assert_eq!(content(&mut dst, "t")?, expected, "{lines}");
    }
    Ok(())
}

#[test]
fn another_key_can_be_given_by_the_name_in_the_events() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    for method in METHODS {
        dst.batch_execute(
            "drop table if exists t;
             create table t (own serial primary key, shop int, number int, v text, unique (shop, number));
             insert into t (shop, number, v) values (1, 1, 'old'), (1, 2, 'old')",
        )?;
        load(
            &site,
            &format!("{method}\npkey_map = public.t: shop + number"),
            &[
                ("U:", "shop=1&number=1&v=new"),
                ("D:id", "id=2&shop=1&number=2&v=old"),
                ("I:", "shop=2&number=1&v=new"),
            ],
        )?;
        let rows = crate::rows(&mut dst, "select shop, number, v from t")?;
        assert_eq!(rows, ["(1,1,new)", "(2,1,new)"], "{method}");
    }
    put(&mut src, "public.t", &[("D:id", "id=2&shop=1")])?;
    tick(&mut src, "from")?;
    site.refused(
        "mover.ini --once",
        "key column number is missing in the row",
    )?;
    Ok(())
}

#[test]
fn a_key_list_that_changes_within_a_batch_starts_anew() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    site.drain("mover")?;
    dst.batch_execute("create table t (a int, b int, v text)")?;
    for method in METHODS {
        load(
            &site,
            method,
            &[
                ("I:a", "a=1&b=1&v=1"),
                ("I:a", "a=2&b=2&v=1"),
                ("U:b", "a=7&b=1&v=2"),
                ("U:b", "a=2&b=2&v=2"),
                ("D:a", "a=7&b=9&v=2"),
                ("U:a,b", "a=2&b=2&v=3"),
            ],
        )?;
        assert_eq!(content(&mut dst, "t")?, ["(2,2,3)"], "{method}");
        dst.batch_execute("truncate t")?;
    }
    Ok(())
}

#[test]
fn a_row_that_changes_its_key_leaves_the_old_one_if_events_say_it() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    table_with_old_rows(&mut src, &mut dst)?;
    for method in METHODS {
        src.batch_execute(
            "delete from t; insert into t select id, 'old' from generate_series(1, 6) id",
        )?;
        tick(&mut src, "from")?;
        site.write("mover", method)?;
        site.drain("mover")?;
        src.batch_execute(
            "update t set id = 11 where id = 1;
             update t set id = 12, v = 'new' where id = 2;
             update t set id = 22 where id = 12;
             delete from t where id = 3; update t set id = 3 where id = 4;
             update t set id = 15 where id = 5; insert into t values (5, 'again');
             update t set v = 'new' where id = 6",
        )?;
        tick(&mut src, "from")?;
        site.drain("mover")?;
        assert_eq!(content(&mut dst, "t")?, content(&mut src, "t")?, "{method}");
    }
    Ok(())
}

#[test]
fn rows_that_exchange_their_keys_or_shift_them_all_stay() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    table_with_old_rows(&mut src, &mut dst)?;
    src.batch_execute(
        "alter table t drop constraint t_pkey, add primary key (id) deferrable initially deferred",
    )?;
    for method in METHODS {
        src.batch_execute(
            "delete from t; insert into t select id, 'row ' || id from generate_series(1, 30) id;
             update t set v = 'same' where id in (9, 10)",
        )?;
        tick(&mut src, "from")?;
        site.write("mover", method)?;
        site.drain("mover")?;
        src.batch_execute(
            "update t set id = 3 - id where id in (1, 2);
             update t set id = case id when 3 then 4 when 4 then 5 else 3 end where id in (3, 4, 5);
             begin;
                 update t set id = 7 where id = 6; update t set id = 6 where v = 'row 7';
                 update t set v = 'changed' where id = 7;
             commit;
             update t set id = 19 - id where id in (9, 10);
             begin;
                 update t set id = 12 where id = 11; update t set id = 111 where v = 'row 12';
                 delete from t where id = 12;
             commit;
             update t set id = 100 where id = 14; update t set id = 114, v = 'far' where id = 100;
             update t set id = id + 1 where id >= 20",
        )?;
        tick(&mut src, "from")?;
        site.drain("mover")?;
        assert_eq!(content(&mut dst, "t")?, content(&mut src, "t")?, "{method}");
        assert!(
            !site.log("mover").contains("mismatch"),
            "{}",
            site.log("mover")
        );
    }
    Ok(())
}
