//! Which rows are in a table after a batch: those of one statement after another.

use postgres::Client;
use testkit::{MoverSite, TestResult};

use crate::{apply, capture, put, rows, site};

#[test]
fn the_last_state_of_each_row_is_kept_in_small_and_large_batches() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    capture(
        &mut src,
        &mut dst,
        "t",
        "a int, b text, v text, primary key (b, a)",
    )?;
    site.drain("mover")?;
    for (seed, events) in [(1, 20), (2, 40), (3, 3000), (4, 10), (5, 2000)] {
        src.execute("select setseed($1::int4 / 10.0)", &[&seed])?;
        src.batch_execute(&format!(
            "do $$ declare k int; begin
                 for n in 1..{events} loop
                     k := random() * 60;
                     case when random() < 0.3 then delete from t where a = k;
                          else insert into t values (k, 'é' || k % 2, n)
                                   on conflict (b, a) do update set v = excluded.v;
                     end case;
                 end loop;
             end $$"
        ))?;
        apply(&site, &mut src)?;
        assert_eq!(
            rows(&mut dst, "t_kept")?,
            rows(&mut src, "t")?,
            "{events} events"
        );
    }
    Ok(())
}

#[test]
fn every_version_is_kept_in_its_order() -> TestResult {
    let site = MoverSite::start(
        "cube_dispatcher",
        "dateformat = \"kept\"\nmode = keep_all\nkeep_all_delete = ignore",
    )?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    capture(
        &mut src,
        &mut dst,
        "t",
        "id int primary key, v int default 7",
    )?;
    dst.batch_execute("create table t_kept (n serial, like t including defaults)")?;
    site.drain("mover")?;
    src.batch_execute(
        "insert into t select 1, 1; update t set v = n from generate_series(2, 2) n; delete from t;
         insert into t select n, n from generate_series(10, 3000) n",
    )?;
    // Rows without v in between, and with it again: each in its place.
    put(&mut src, "I:id", "id=5000", "public.t")?;
    put(&mut src, "I:id", "id=5001&v=1", "public.t")?;
    put(&mut src, "U:id", "id=5000", "public.t")?;
    apply(&site, &mut src)?;
    let first = rows(&mut dst, "(select * from t_kept where n <= 2)")?;
    assert_eq!(first, ["(1,1,1)", "(2,1,2)"]);
    let last = rows(
        &mut dst,
        "(select id, v from t_kept order by n desc limit 3)",
    )?;
    assert_eq!(last, ["(5000,7)", "(5000,7)", "(5001,1)"]);
    let row = dst.query_one("select count(*), max(n) from t_kept", &[])?;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i32>(1)), (2996, 2996));
    assert!(
        site.log("mover").contains("deletes: 1"),
        "{}",
        site.log("mover")
    );
    Ok(())
}

#[test]
fn keys_are_the_same_if_their_types_say_so() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(
        "create collation lax (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create schema elsewhere;
         create domain elsewhere.amount as numeric not null check (value > 0);
         create table n (k numeric primary key, v int);
         create table d (k elsewhere.amount primary key, v int);
         create table c (k char(4) primary key, v int);
         create table t (k timestamptz primary key, v int);
         create table x (k text collate lax primary key, v int)",
    )?;
    site.drain("mover")?;
    // As single statements, and by way of a temporary table.
    for filler in [0, 100] {
        for (table, keys) in [
            ("n", ["1.0", "1.00", "1"]),
            ("d", ["1.0", "1.00", "1"]),
            ("c", ["a", "a++", "a+++"]),
            (
                "t",
                [
                    "2024-01-01+00:00:00%2b00",
                    "2024-01-01+02:00:00%2b02",
                    "2024-01-01+00:00:00Z",
                ],
            ),
            ("x", ["abc", "ABC", "aBc"]),
        ] {
            let other = ["2", "2", "b", "1999-01-01", "z"];
            let other = other["ndctx".find(table).expect("a table")];
            for n in 0..filler {
                put(
                    &mut src,
                    "U:k",
                    &format!("k={other}&v={n}"),
                    &format!("public.{table}"),
                )?;
            }
            for (n, key) in keys.iter().enumerate() {
                put(
                    &mut src,
                    "U:k",
                    &format!("k={key}&v={n}"),
                    &format!("public.{table}"),
                )?;
            }
        }
        apply(&site, &mut src)?;
        for table in ["n", "d", "c", "t", "x"] {
            let kept = rows(&mut dst, &format!("(select v from {table}_kept)"))?;
            let expected: &[&str] = match filler {
                0 => &["(2)"],
                _ => &["(2)", "(99)"],
            };
            assert_eq!(kept, expected, "{table}");
        }
    }
    Ok(())
}

#[test]
fn a_type_whose_equality_is_out_of_the_search_path_keeps_it() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    // Equality of lengths, and equality of texts that a search path finds first.
    if dst
        .batch_execute("create schema ext; create extension citext schema ext")
        .is_err()
    {
        eprintln!("skipped: the server came without citext");
        return Ok(());
    }
    dst.batch_execute("create table t (k ext.citext primary key, v int)")?;
    site.drain("mover")?;
    for (n, key) in ["a", "A"].iter().enumerate() {
        put(&mut src, "I:k", &format!("k={key}&v={n}"), "public.t")?;
    }
    apply(&site, &mut src)?;
    assert_eq!(rows(&mut dst, "t_kept")?, ["(A,1)"]);
    for n in 0..100 {
        put(
            &mut src,
            "I:k",
            &format!("k={}&v={n}", ["a", "A"][n % 2]),
            "public.t",
        )?;
    }
    apply(&site, &mut src)?;
    assert_eq!(rows(&mut dst, "t_kept")?, ["(A,99)"]);
    Ok(())
}

/// Events that a table with another key, or without, gets.
fn put_all(src: &mut Client, events: &[(&str, &str)], filler: usize) -> TestResult {
    for n in 0..filler {
        put(src, "U:a", &format!("a=-1&b={n}"), "public.t")?;
    }
    for (kind, data) in events {
        put(src, kind, data, "public.t")?;
    }
    Ok(())
}

#[test]
fn the_key_of_each_event_counts_even_if_it_changes_within_a_batch() -> TestResult {
    for filler in [0, 100] {
        let site = site()?;
        let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
        dst.batch_execute("create table t (a int, b int, v text); create table t_kept (like t)")?;
        site.drain("mover")?;
        put_all(
            &mut src,
            &[
                ("I:a", "a=1&b=10&v=first"),
                ("I:a", "a=2&b=20&v=second"),
                // One row takes the place of both.
                ("I:a", "a=1&b=20&v=third"),
                ("U:b", "a=7&b=20&v=fourth"),
                ("I:a,b", "a=1&b=1"),
                ("I:b, a", "a=1&b=1&v=fifth"),
            ],
            filler,
        )?;
        apply(&site, &mut src)?;
        let kept = rows(&mut dst, "(select * from t_kept where a > 0)")?;
        assert_eq!(kept, ["(1,1,fifth)", "(7,20,fourth)"]);
        assert_eq!(rows(&mut dst, "t_kept")?.len(), 2 + usize::from(filler > 0));
    }
    Ok(())
}

#[test]
fn a_null_in_a_key_makes_a_row_that_nothing_replaces() -> TestResult {
    for filler in [0, 100] {
        let site = site()?;
        let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
        dst.batch_execute("create table t (a int, b int, v text); create table t_kept (like t)")?;
        site.drain("mover")?;
        put_all(
            &mut src,
            &[
                ("I:a,b", "a=1&b&v=x"),
                ("U:a,b", "a=1&b&v=y"),
                ("D:a,b", "a=1&b&v=y"),
                ("I:a,b", "a=1&b=1&v=z"),
                ("I:a,b", "a=1&b=1"),
            ],
            filler,
        )?;
        apply(&site, &mut src)?;
        let kept = rows(&mut dst, "(select * from t_kept where a > 0)")?;
        assert_eq!(kept, ["(1,,x)", "(1,,y)", "(1,1,)"]);
        assert!(
            site.log("mover").contains("null_key: 3"),
            "{}",
            site.log("mover")
        );
    }
    Ok(())
}

#[test]
fn the_row_of_an_old_key_goes_if_the_event_has_it() -> TestResult {
    for (lines, filler) in [("", 0), ("", 100), ("delete_old_key = 0", 0)] {
        let site = site()?;
        let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
        dst.batch_execute("create table t (a numeric primary key, b text)")?;
        site.write("mover", lines)?;
        site.drain("mover")?;
        for data in ["a=1&b=one", "a=2&b=two", "a=3&b=three"] {
            put(&mut src, "I:a", data, "public.t")?;
        }
        apply(&site, &mut src)?;
        put_all(&mut src, &[], filler)?;
        // As the triggers of 2.1 wrote them; those of today refuse to change a key.
        for (old, new) in [
            ("a=1&b=one", "a=10&b=one"),
            ("a=2&b=two", "a=1&b=two"),
            ("a=3&b=three", "a=2&b=three"),
            ("a=10&b=one", "a=3&b=one"),
            // The same key in other words.
            ("a=3&b=one", "a=3.0&b=won"),
            // Of another table: it says nothing of this key.
            ("c=3", "a=3.00&b=won"),
        ] {
            src.execute(
                "select pgq.insert_event('from', 'U:a', $1, 'public.t', $2, null, null)",
                &[&new, &old],
            )?;
        }
        apply(&site, &mut src)?;
        let kept = rows(&mut dst, "(select * from t_kept where a > 0)")?;
        match lines {
            "" => assert_eq!(kept, ["(1,two)", "(2,three)", "(3.00,won)"]),
            _ => assert_eq!(kept, ["(1,two)", "(10,one)", "(2,three)", "(3.00,won)"]),
        }
    }
    Ok(())
}

#[test]
fn a_column_that_must_have_a_value_and_gets_none_is_named() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(
        "create table t (a int primary key, must text not null); create table t_kept (like t including all)",
    )?;
    site.drain("mover")?;
    crate::put(&mut src, "I:a", "a=1&must=given", "public.t")?;
    crate::put(&mut src, "I:a", "a=2", "public.t")?;
    testkit::tick(&mut src, "from")?;
    site.refused("mover.ini --once", r#"null value in column "must""#)?;
    assert!(
        rows(&mut dst, "t_kept")?.is_empty(),
        "all of the batch or nothing"
    );
    dst.batch_execute("alter table t_kept alter must set default 'since'")?;
    site.drain("mover")?;
    assert_eq!(rows(&mut dst, "t_kept")?, ["(1,given)", "(2,since)"]);
    Ok(())
}

#[test]
fn columns_may_come_and_go_within_a_batch() -> TestResult {
    for filler in [0, 100] {
        let site = site()?;
        let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
        dst.batch_execute(
            "create table t (a int primary key, b int default 5, c text default 'c', d int generated always as (a * 2) stored,
                             e int generated always as identity);
             create table t_kept (like t including all)",
        )?;
        site.drain("mover")?;
        put_all(
            &mut src,
            &[
                ("I:a", "a=1&b=1&c=wide&d=2&e=7"),
                ("I:a", "a=2"),
                ("I:a", "a=3&c=x"),
                ("U:a", "c=y&a=3"),
                ("U:a", "a=2&b&c=wide"),
                ("U:a", "a=1"),
                ("I:a", "a=4&b=4"),
                ("D:a", "a=4"),
            ],
            filler,
        )?;
        apply(&site, &mut src)?;
        let kept = rows(&mut dst, "(select a, b, c, d from t_kept where a > 0)")?;
        assert_eq!(kept, ["(1,5,c,2)", "(2,,wide,4)", "(3,5,y,6)"]);
    }
    Ok(())
}
