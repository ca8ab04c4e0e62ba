//! Events with other columns than the target, or than each other.

use testkit::{MoverSite, TestResult, tick};

use crate::{METHODS, content, load, put, site};

#[test]
fn columns_that_come_and_go_within_a_batch_lose_nothing() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    site.drain("mover")?;
    for method in METHODS {
        dst.batch_execute(
            "drop table if exists t;
             create table t (id int primary key, a text, b text, c text default 'c', d text default 'd');
             insert into t select id, 'old', 'old', 'own', 'own' from generate_series(1, 5) id",
        )?;
        load(
            &site,
            method,
            &[
                // Wide, narrow, wide again, each with its own order of columns.
                ("U:id", "id=1&a=1&b=1&c=1"),
                ("U:id", "a=2&id=1"),
                ("U:id", "d=3&id=1"),
                ("U:id", "id=2&a=1&b=1"),
                ("U:id", "id=3&a=1"),
                ("U:id", "id=3&b"),
                // Another row begins: what the old one had does not show.
                ("U:id", "id=4&b=gone"),
                ("D:id", "id=4&a=old&b=gone&c=own&d=own"),
                ("I:id", "id=4&a=new&b"),
                ("I:id", "id=6&a=new"),
                ("I:id", "id=7&a=new&b=x&c="),
                ("U:id", "id=7&a=newer"),
                ("D:id", "id=5"),
            ],
        )?;
        let kept = matches!(method, "load_method = 0" | "merge_mode = upsert");
        let expected = match kept {
            true => [
                "(1,2,1,1,3)",
                "(2,1,1,own,own)",
                "(3,1,,own,own)",
                "(4,new,,own,own)",
                "(6,new,,c,d)",
                "(7,newer,x,\"\",d)",
            ],
            false => [
                "(1,2,1,1,3)",
                "(2,1,1,c,d)",
                "(3,1,,c,d)",
                "(4,new,,c,d)",
                "(6,new,,c,d)",
                "(7,newer,x,\"\",d)",
            ],
        };
        assert_eq!(content(&mut dst, "t")?, expected, "{method}");
    }
    Ok(())
}

#[test]
fn columns_that_the_target_lacks_block_or_are_left_out_or_added() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    src.batch_execute(
        "create table t (id int primary key, a text, \"New one\" numeric(10,2), later int[])",
    )?;
    dst.batch_execute("create table t (id int primary key, a text)")?;
    put(
        &mut src,
        "public.t",
        &[
            ("I:id", "id=1&a=x"),
            ("I:id", "id=2&a=y&New+one=1.50&unknown=z"),
        ],
    )?;
    tick(&mut src, "from")?;
    site.refused(
        "mover.ini --once",
        "table public.t in dst_db has no column New one; add it, or set drift",
    )?;
    assert!(content(&mut dst, "t")?.is_empty());

    site.write("mover", "drift = ignore")?;
    site.drain("mover")?;
    assert_eq!(content(&mut dst, "t")?, ["(1,x)", "(2,y)"]);
    let log = site.log("mover");
    let warning = "column public.t.New one does not exist in dst_db, its values are left out";
    assert_eq!(log.matches(warning).count(), 1, "{log}");

    let events = [
        ("U:id", "id=1&a=x&New+one=7&unknown=u"),
        ("U:id", "id=2&a=y&New+one&unknown&later=%7b1%2c2%7d"),
    ];
    put(&mut src, "public.t", &events)?;
    tick(&mut src, "from")?;
    site.write("mover", "drift = add")?;
    let shown = site.program("mover.ini --dry-run").succeed()?.stdout;
    assert!(
        shown.contains("public.t.New one: created\npublic.t.unknown: created\n"),
        "{shown}"
    );
    assert_eq!(content(&mut dst, "t")?, ["(1,x)", "(2,y)"]);
    site.drain("mover")?;
    assert_eq!(
        content(&mut dst, "t")?,
        ["(1,x,7.00,u,)", "(2,y,,,\"{1,2}\")"]
    );
    let types = "select string_agg(format_type(atttypid, atttypmod), ' ' order by attnum)
                 from pg_attribute where attrelid = 't'::regclass and attnum > 2";
    let types: String = dst.query_one(types, &[])?.get(0);
    assert_eq!(types, "numeric(10,2) text integer[]");
    Ok(())
}

#[test]
fn columns_that_the_server_writes_are_left_to_it() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    site.drain("mover")?;
    for method in METHODS {
        dst.batch_execute(
            "drop table if exists t;
             create table t (id int primary key, n int generated always as identity,
                             twice int generated always as (id * 2) stored,
                             needed text not null, v text);
             insert into t (id, needed, v) values (1, 'x', 'old'), (2, 'x', 'old')",
        )?;
        load(
            &site,
            method,
            &[
                ("U:id", "id=1&n=1&twice=7&needed=y&v=new"),
                ("D:id", "id=2"),
                ("I:id", "id=3&n=30&twice=7&needed=y&v=new"),
            ],
        )?;
        assert_eq!(
            content(&mut dst, "t")?,
            ["(1,1,2,y,new)", "(3,30,6,y,new)"],
            "{method}"
        );
    }
    Ok(())
}

#[test]
fn values_arrive_byte_by_byte() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    let odd = "create table t (id serial primary key, \"%+&= \" text, \"Select.1\" text)";
    src.batch_execute(odd)?;
    dst.batch_execute(odd)?;
    crate::capture(&mut src, "t", "")?;
    for method in METHODS {
        src.batch_execute(
            r#"insert into t ("%+&= ", "Select.1") values
                   (null, ''), ('', null), (E'\t\n\r\b\f\v', E'\\N'), ('\.', '\'), (E'\x01\x7f', '''"'),
                   ('é', '𝄞'), ('a=b&c', '%zz%41+ '), (repeat('x', 3000000), 'NULL');
               update t set "Select.1" = "Select.1" || '\N' where id % 3 = 0"#,
        )?;
        tick(&mut src, "from")?;
        site.write("mover", method)?;
        site.drain("mover")?;
        assert!(
            content(&mut dst, "t")? == content(&mut src, "t")?,
            "{method}"
        );
    }
    Ok(())
}

#[test]
fn rows_are_read_in_the_encoding_of_the_source() -> TestResult {
    let site = MoverSite::with_encoding("bulk_loader", "", "LATIN1")?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    for db in [&mut src, &mut dst] {
        db.batch_execute("create table \"Straße\" (\"Nº\" text primary key, \"é\" text)")?;
    }
    crate::capture(&mut src, "\"Straße\"", "")?;
    for method in METHODS {
        src.batch_execute(
            "delete from \"Straße\"; insert into \"Straße\" values ('ÿ', 'café'), ('ä', 'x');
             update \"Straße\" set \"é\" = '½' where \"Nº\" = 'ä'",
        )?;
        tick(&mut src, "from")?;
        site.write("mover", method)?;
        site.drain("mover")?;
        assert_eq!(
            content(&mut dst, "\"Straße\"")?,
            content(&mut src, "\"Straße\"")?,
            "{method}"
        );
    }
    Ok(())
}
