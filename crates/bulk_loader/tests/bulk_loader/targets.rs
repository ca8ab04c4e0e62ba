//! Tables of the target of every kind.

use std::time::Duration;

use testkit::{TestResult, tick, wait_until};

use crate::{METHODS, content, load, put, site};

/// Longest wait for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn tables_with_partitions_or_children_are_changed_wherever_their_rows_are() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    site.drain("mover")?;
    for (create, name) in [
        (
            "create table t (id int primary key, v text) partition by range (id);
             create table t1 partition of t for values from (0) to (5);
             create table t2 partition of t for values from (5) to (50)",
            "partitions",
        ),
        (
            "create table t (id int primary key, v text); create table t2 () inherits (t)",
            "children",
        ),
    ] {
        for method in METHODS {
            dst.batch_execute("drop table if exists t cascade")?;
            dst.batch_execute(create)?;
            dst.batch_execute("insert into t values (1, 'old'), (2, 'old')")?;
            let child = if name == "children" { "t2" } else { "t" };
            dst.batch_execute(&format!(
                "insert into {child} values (6, 'old'), (7, 'old')"
            ))?;
            load(
                &site,
                method,
                &[
                    ("U:id", "id=1&v=new"),
                    ("D:id", "id=2&v=old"),
                    ("U:id", "id=6&v=new"),
                    ("D:id", "id=7&v=old"),
                    ("I:id", "id=8&v=new"),
                ],
            )?;
            assert_eq!(
                content(&mut dst, "t")?,
                ["(1,new)", "(6,new)", "(8,new)"],
                "{name}, {method}"
            );
        }
    }
    Ok(())
}

#[test]
fn tables_and_columns_may_have_any_name() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    let table = r#""Odd ""S"."9 select É'%""#;
    for method in METHODS {
        dst.batch_execute(&format!(
            r#"drop schema if exists "Odd ""S" cascade;
               create schema "Odd ""S";
               create table {table} ("The ""Key" int primary key, "order" text);
               insert into {table} values (1, 'old'), (2, 'old')"#
        ))?;
        put(
            &mut src,
            r#"Odd "S.9 select É'%"#,
            &[
                (r#"U:The "Key"#, "The+%22Key=1&order=new"),
                (r#"D:The "Key"#, "The+%22Key=2&order=old"),
                (r#"I:The "Key"#, "The+%22Key=3&order=it's"),
            ],
        )?;
        tick(&mut src, "from")?;
        site.write("mover", method)?;
        site.drain("mover")?;
        assert_eq!(
            content(&mut dst, table)?,
            ["(1,new)", "(3,it's)"],
            "{method}"
        );
    }
    Ok(())
}

#[test]
fn two_tables_that_go_to_one_keep_the_order_of_their_events() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    dst.batch_execute("create schema stage")?;
    for method in METHODS {
        dst.batch_execute(
            "drop table if exists stage.t;
             create table stage.t (id int primary key, v text);
             insert into stage.t values (1, 'old'), (2, 'old')",
        )?;
        let moves = [
            ("public.t", "D:id", "id=1&v=old"),
            ("public.u", "I:id", "id=1&v=moved"),
        ];
        let back = [
            ("public.u", "U:id", "id=2&v=a"),
            ("public.t", "D:id", "id=2&v=a"),
        ];
        for (table, kind, data) in moves.into_iter().chain(back) {
            put(&mut src, table, &[(kind, data)])?;
        }
        tick(&mut src, "from")?;
        let remap = "remap_tables = public.t:stage.t, public.u : stage.t";
        site.write("mover", &format!("{method}\n{remap}"))?;
        site.drain("mover")?;
        assert_eq!(content(&mut dst, "stage.t")?, ["(1,moved)"], "{method}");
    }
    Ok(())
}

#[test]
fn a_table_that_is_missing_is_left_out_with_a_warning_or_blocks() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    dst.batch_execute("create table t (id int primary key, v text); create view seen as table t")?;
    put(
        &mut src,
        "public.gone",
        &[("I:id", "id=1&v=x"), ("D:id", "id=1")],
    )?;
    put(&mut src, "t", &[("I:id", "id=1&v=x")])?;
    tick(&mut src, "from")?;
    site.write("mover", "missing_table = fail")?;
    site.refused(
        "mover.ini --once",
        "is of table public.gone, but dst_db has no table public.gone; create it",
    )?;
    site.write("mover", "")?;
    let shown = site.program("mover.ini --dry-run").succeed()?.stdout;
    assert!(
        shown.contains("public.gone: 0 inserted, 0 updated, 0 deleted, 2 skipped\n"),
        "{shown}"
    );
    site.drain("mover")?;
    put(&mut src, "public.gone", &[("I:id", "id=1&v=x")])?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(content(&mut dst, "t")?, ["(1,x)"]);
    let log = site.log("mover");
    assert!(
        log.contains("table public.gone does not exist in dst_db"),
        "{log}"
    );
    assert!(log.contains("skipped: 2"), "{log}");

    // It may come later, and may go again.
    dst.batch_execute("create table gone (id int primary key, v text)")?;
    put(&mut src, "public.gone", &[("I:id", "id=2&v=x")])?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(content(&mut dst, "gone")?, ["(2,x)"]);
    dst.batch_execute("drop table gone")?;
    put(&mut src, "public.gone", &[("D:id", "id=2&v=x")])?;
    tick(&mut src, "from")?;
    site.drain("mover")?;

    put(&mut src, "public.seen", &[("I:id", "id=1&v=x")])?;
    tick(&mut src, "from")?;
    site.refused("mover.ini --once", "public.seen in dst_db is no table")?;
    Ok(())
}

#[test]
fn constraints_that_can_wait_are_checked_at_the_end() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    dst.batch_execute(
        "create table parent (id int primary key);
         create table child (id int primary key, parent int references parent deferrable,
                             place int unique deferrable);
         insert into parent values (1);
         insert into child values (1, 1, 10), (2, 1, 20)",
    )?;
    // The child comes first, and two rows change places.
    put(
        &mut src,
        "public.child",
        &[
            ("I:id", "id=3&parent=2&place=30"),
            ("U:id", "id=1&parent=1&place=20"),
            ("U:id", "id=2&parent=2&place=10"),
        ],
    )?;
    put(&mut src, "public.parent", &[("I:id", "id=2")])?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(
        content(&mut dst, "child")?,
        ["(1,1,20)", "(2,2,10)", "(3,2,30)"]
    );
    Ok(())
}

#[test]
fn rows_that_a_cluster_distributes_are_found_by_the_columns_for_that_if_told() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    site.drain("mover")?;
    // The catalog of such a cluster: here the column `part` distributes.
    dst.batch_execute(
        "set allow_system_table_mods = on;
         create table pg_catalog.gp_distribution_policy (localoid oid, distkey int2vector);
         create table t (id int primary key, v text, part int);
         insert into pg_catalog.gp_distribution_policy values ('t'::regclass, '3')",
    )?;
    let events = [
        ("U:id", "id=1&v=new&part=1"),
        ("U:id", "id=2&v=new&part=9"),
        ("D:id", "id=3&v=old&part=1"),
        ("I:id", "id=4&v=new&part=1"),
    ];
    let start = "truncate t; insert into t values (1, 'old', 1), (2, 'old', 1), (3, 'old', 1)";
    for (lines, moved) in [
        ("dist_join = never", "(2,new,9)"),
        ("", "(2,new,9)"),
        // The row has another place now, where it is looked for in vain.
        ("dist_join = always", "(2,old,1)"),
    ] {
        dst.batch_execute(start)?;
        load(&site, lines, &events)?;
        assert_eq!(
            content(&mut dst, "t")?,
            ["(1,new,1)", moved, "(4,new,1)"],
            "{lines}"
        );
    }
    let log = site.log("mover");
    let warning = "is distributed by columns that are not part of the key: part";
    assert_eq!(log.matches(warning).count(), 2, "{log}");
    Ok(())
}

#[test]
fn a_target_that_changes_under_a_running_job_is_seen_by_the_next_batch() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    dst.batch_execute("create table t (id int primary key, v varchar(3))")?;
    site.write("mover", "temp_tables = session\nmerge_mode = upsert")?;
    let mut running = site.program("mover.ini").spawn()?;
    // Each step fits the table as it is by then only.
    for (change, data, row) in [
        ("", "id=1&v=abc", "(1,abc)"),
        (
            "alter table t alter v type varchar(9)",
            "id=1&v=abcdef",
            "(1,abcdef)",
        ),
        ("alter table t add w int", "id=1&v=a&w=7", "(1,a,7)"),
        (
            "alter table t drop v, alter w type text",
            "id=1&w=seven",
            "(1,seven)",
        ),
        (
            "drop table t; create table t (w text, id int primary key); insert into t values ('x', 1)",
            "id=1&w=y",
            "(y,1)",
        ),
    ] {
        dst.batch_execute(change)?;
        put(&mut src, "public.t", &[("U:id", data)])?;
        tick(&mut src, "from")?;
        wait_until("the change to arrive", PATIENCE, || {
            Ok(content(&mut dst, "t")? == [row])
        })?;
    }
    site.program("mover.ini -s").succeed()?;
    assert!(running.wait(PATIENCE)?.success());
    assert!(
        !site.log("mover").contains(" ERROR "),
        "{}",
        site.log("mover")
    );
    Ok(())
}

#[test]
fn a_role_needs_rights_on_the_tables_and_no_more() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute(
        "create table t (id int primary key, v text);
         create role loader login;
         grant usage on schema pgq_ext to loader;
         grant pgq_writer to loader;
         grant select, insert, delete on t to loader",
    )?;
    let as_loader = site
        .cluster
        .conninfo("dst")
        .replace("user=postgres", "user=loader");
    site.write("mover", &format!("dst_db = {as_loader}\nload_method = 1"))?;
    site.drain("mover")?;
    put(&mut src, "public.t", &[("I:id", "id=1&v=x")])?;
    tick(&mut src, "from")?;
    put(
        &mut src,
        "public.t",
        &[("U:id", "id=1&v=y"), ("D:id", "id=2&v=y")],
    )?;
    tick(&mut src, "from")?;
    site.drain("mover")?;
    assert_eq!(content(&mut dst, "t")?, ["(1,y)"]);
    dst.batch_execute("revoke insert on t from loader")?;
    put(&mut src, "public.t", &[("I:id", "id=3&v=x")])?;
    tick(&mut src, "from")?;
    site.refused("mover.ini --once", "permission denied for table t")?;
    Ok(())
}

#[test]
fn upsert_finds_rows_that_are_there_without_the_help_of_an_index() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    site.drain("mover")?;
    for (create, nulls) in [
        ("create table t (id int, v text)", "distinct"),
        (
            "create table t (id int primary key deferrable, v text)",
            "distinct",
        ),
        (
            "create table t (id int primary key, v text); create table t2 () inherits (t)",
            "distinct",
        ),
        ("create table t (id int unique, v text)", "equal"),
    ] {
        dst.batch_execute("drop table if exists t cascade")?;
        dst.batch_execute(create)?;
        let place = if create.contains("t2") { "t2" } else { "t" };
        dst.batch_execute(&format!("insert into {place} values (1, 'old')"))?;
        let (mut events, mut expected) = (
            vec![("I:id", "id=1&v=new"), ("I:id", "id=2&v=new")],
            vec!["(1,new)", "(2,new)"],
        );
        if nulls == "equal" {
            dst.batch_execute("insert into t values (null, 'old')")?;
            events.push(("I:id", "id&v=new"));
            expected.insert(0, "(,new)");
        } else if create.ends_with("(id int, v text)") {
            // One row too many does not stand for one that is missing.
            dst.batch_execute("insert into t values (3, 'old'), (3, 'old')")?;
            events.extend([("U:id", "id=3&v=new"), ("U:id", "id=4&v=new")]);
            expected.extend(["(3,new)", "(3,new)", "(4,new)"]);
        }
        load(
            &site,
            &format!("merge_mode = upsert\nnull_keys = {nulls}"),
            &events,
        )?;
        assert_eq!(content(&mut dst, "t")?, expected, "{create}");
    }
    Ok(())
}

#[test]
fn upsert_of_rows_without_a_key_says_what_stands_in_the_way() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    dst.batch_execute("create table t (id int unique, v text); insert into t values (1, 'old')")?;
    put(&mut src, "public.t", &[("I:", "id=1&v=new")])?;
    tick(&mut src, "from")?;
    site.write("mover", "merge_mode = upsert")?;
    site.refused("mover.ini --once", "duplicate key value")
}
