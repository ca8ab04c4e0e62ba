//! Events that cannot be applied, TRUNCATE, and configurations that make no sense.

use testkit::{TestResult, tick};

use crate::{content, load, put, site};

/// Events that are wrong, each with what is wrong with it.
const BAD: [(&str, &str, &str); 9] = [
    ("X:id", "id=1&v=x", "is no operation on a row"),
    ("", "id=1", "is no operation on a row"),
    ("I", "id=1", "does not hold the whole row"),
    ("I:a:b", "id=1", "key column a:b is missing"),
    ("U:gone", "id=1&v=x", "key column gone is missing"),
    ("I:id", "id=%zz", "Invalid hex code"),
    ("I:id", "", "without columns"),
    (
        "U:other",
        "id=1&other=2",
        "has no column other, which is part of the key",
    ),
    ("R", "", "truncated"),
];

#[test]
fn bad_events_block_or_are_left_out_or_put_aside() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    dst.batch_execute("create table t (id int primary key, v text)")?;
    for (kind, data, why) in BAD {
        put(
            &mut src,
            "public.t",
            &[("I:id", "id=7&v=x"), (kind, data), ("I:id", "id=8&v=x")],
        )?;
        tick(&mut src, "from")?;
        site.write("mover", "")?;
        site.refused("mover.ini --once", why)?;
        assert!(content(&mut dst, "t")?.is_empty(), "{kind}");
        site.write("mover", "bad_event = quarantine")?;
        site.drain("mover")?;
        assert_eq!(content(&mut dst, "t")?, ["(7,x)", "(8,x)"], "{kind}");
        let aside: String = dst
            .query_one(
                "select reason from pgq_ext.bad_event order by ev_id desc limit 1",
                &[],
            )?
            .get(0);
        assert!(aside.contains(why), "{kind}: {aside}");
        dst.batch_execute("truncate t")?;
    }
    src.batch_execute(
        "select pgq.insert_event('from', null, 'id=1', 'public.t', null, null, null);
         select pgq.insert_event('from', 'I:id', null, 'public.t', null, null, null);
         select pgq.insert_event('from', 'I:id', 'id=1&v=x', null, null, null, null)",
    )?;
    tick(&mut src, "from")?;
    load(&site, "bad_event = skip", &[("I:id", "id=9&v=x")])?;
    assert_eq!(content(&mut dst, "t")?, ["(9,x)"]);
    let aside: i64 = dst
        .query_one("select count(*) from pgq_ext.bad_event", &[])?
        .get(0);
    assert_eq!(usize::try_from(aside)?, BAD.len());
    Ok(())
}

#[test]
fn a_truncate_empties_the_table_where_it_is_applied() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    dst.batch_execute(
        "create table t (id int primary key, v text); insert into t values (1, 'old')",
    )?;
    let events = [
        ("U:id", "id=1&v=new"),
        ("I:id", "id=2&v=new"),
        ("R", ""),
        ("I:id", "id=3&v=new"),
    ];
    load(&site, "truncate = apply", &events)?;
    assert_eq!(content(&mut dst, "t")?, ["(3,new)"]);
    load(
        &site,
        "truncate = ignore",
        &[("R", ""), ("I:id", "id=4&v=new")],
    )?;
    assert_eq!(content(&mut dst, "t")?, ["(3,new)", "(4,new)"]);

    // Rows of another table would go with those of this one.
    put(&mut src, "public.t", &[("R", "")])?;
    tick(&mut src, "from")?;
    site.write(
        "mover",
        "truncate = apply\nremap_tables = public.other:public.t",
    )?;
    site.refused(
        "mover.ini --once",
        "public.t was truncated, but other tables go to public.t, too",
    )?;
    Ok(())
}

#[test]
fn keys_of_the_configuration_that_make_no_sense_are_refused_at_the_start() -> TestResult {
    let site = site()?;
    for (line, why) in [
        (
            "load_method = 7",
            "load_method is 7, which is none of 0, 1, 2",
        ),
        (
            "load_method = 300",
            "load_method is 300, which is none of 0, 1, 2",
        ),
        ("load_method = -1", "load_method is -1"),
        ("load_method = x", "load_method"),
        ("merge_mode = both", "merge_mode"),
        (
            "remap_tables = a, b:c",
            "\"a\" is not of the form old_table:new_table",
        ),
        ("pkey_map = a", "table:column+column"),
        ("missing_table = create", "missing_table"),
        ("batch_memory_limit = -1", "batch_memory_limit"),
        ("bad_event = ignore", "bad_event"),
    ] {
        site.write("mover", line)?;
        site.refused("mover.ini", why)?;
    }
    Ok(())
}

#[test]
fn rows_that_the_target_refuses_are_found_in_few_tries_and_put_aside() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    dst.batch_execute(
        "create table t (id int primary key, v int check (v <> 700), w text);
         insert into t values (900, 0), (901, 0)",
    )?;
    src.batch_execute(
        "select pgq.insert_event('from', case when n > 899 then 'U:id' else 'I:id' end,
                    'id=' || n || '&v=' || case n when 77 then 'x' else n::text end, 'public.t', null, null, null)
           from generate_series(1, 901) n;
         select pgq.insert_event('from', 'I:id', 'id=950&v=1&w=x', 'public.t', null, null, null);
         select pgq.insert_event('from', 'X:id', 'id=14', 'public.t', null, null, null)",
    )?;
    src.batch_execute(
        "select pgq.insert_event('from', 'I:id', 'id=951&v=1', 'public.other', null, null, null)",
    )?;
    tick(&mut src, "from")?;
    let lines = "remap_tables = public.other:public.t\nbad_event = quarantine";
    site.write("mover", lines)?;
    site.refused("mover.ini --once", "invalid input syntax for type integer")?;
    for limit in [1, 100] {
        site.write("mover", &format!("{lines}\nbad_row_limit = {limit}"))?;
        let output = site.program("mover.ini -v --once").output()?;
        if limit == 1 {
            assert_eq!(output.status.code(), Some(1));
            let why = "the target refuses more than 1 events of the batch, event 700 among them: ";
            assert!(output.stderr.contains(why), "{}", output.stderr);
            assert_eq!(content(&mut dst, "t")?.len(), 2);
        } else {
            assert!(output.status.success(), "{}", output.stderr);
        }
    }
    let log = site.log("mover");
    let (_, log) = log.rsplit_once("among them").unwrap_or_default();
    let tries = log.matches("trying them in halves").count();
    assert!((10..=30).contains(&tries), "{tries}: {log}");
    assert!(log.contains("{count: 904, "), "{log}");
    assert!(log.contains("quarantined: 3"), "{log}");
    let aside = dst.query(
        "select ev_id, reason from pgq_ext.bad_event order by ev_id",
        &[],
    )?;
    let aside: Vec<(i64, &str)> = aside.iter().map(|row| (row.get(0), row.get(1))).collect();
    for ((event, reason), (expected, why)) in aside.iter().zip([
        (77, "invalid input syntax for type integer: \"x\""),
        (700, "violates check constraint"),
        (903, "is no operation on a row"),
    ]) {
        assert_eq!(*event, expected);
        assert!(reason.contains(why), "{event}: {reason}");
    }
    let row = dst.query_one(
        "select count(*), count(w), sum(v) filter (where id > 899) from t",
        &[],
    )?;
    let counts: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(counts, (901, 1, 1803));
    Ok(())
}
