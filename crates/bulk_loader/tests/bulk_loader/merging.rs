//! What sequences of changes come to, by every method.

use testkit::{TestResult, tick};

use crate::{METHODS, content, load, put, site};

/// All sequences of up to three changes.
fn sequences() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..3 {
        let longer = |sequence: &String| ["I", "U", "D"].map(|op| format!("{sequence}{op}"));
        last = last.iter().flat_map(longer).collect();
        all.extend(last.iter().cloned());
    }
    all.retain(|sequence| !sequence.is_empty());
    all
}

/// What the changes of a row come to: `I`, `U`, `D` or nothing.
fn net(sequence: &str) -> char {
    sequence.chars().fold(' ', |state, op| match (state, op) {
        (' ', op) => op,
        ('I', 'D') => '-',
        ('-', 'I') => 'I',
        ('U', 'D') => 'D',
        ('D', 'I') => 'U',
        (state, _) => state,
    })
}

/// Whether a table can have changed like this.
fn is_consistent(sequence: &str, mut present: bool) -> bool {
    for op in sequence.chars() {
        if present == (op == 'I') {
            return false;
        }
        present = op != 'D';
    }
    true
}

/// Value and value that only the target has, of a row at the end, by the method; `None` if there is none.
fn expected(method: &str, sequence: &str, present: bool) -> Option<(String, &'static str)> {
    let last = sequence.len().to_string();
    let fresh = "default";
    match (net(sequence), present, method) {
        ('-', false, _) | ('D', _, _) => None,
        ('-', true, _) => Some(("old".to_owned(), "kept")),
        ('U', false, "load_method = 0") => None,
        ('U', true, "load_method = 0" | "merge_mode = upsert") => Some((last, "kept")),
        (_, true, "merge_mode = upsert") => Some((last, "kept")),
        _ => Some((last, fresh)),
    }
}

#[test]
fn every_sequence_comes_to_what_the_tables_of_the_page_say_by_every_method() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    for method in METHODS {
        dst.batch_execute(
            "drop table if exists t;
             create table t (id int primary key, v text, own text default 'default')",
        )?;
        let mut wanted = Vec::new();
        let mut id = 0;
        for sequence in sequences() {
            for present in [false, true] {
                let collides = net(&sequence) == 'I' && present;
                if collides && matches!(method, "load_method = 0" | "load_method = 1") {
                    continue;
                }
                id += 1;
                if present {
                    dst.execute("insert into t values ($1, 'old', 'kept')", &[&id])?;
                }
                for (step, op) in sequence.chars().enumerate() {
                    let (kind, data) = (format!("{op}:id"), format!("id={id}&v={}", step + 1));
                    put(&mut src, "public.t", &[(&kind, &data)])?;
                }
                if let Some((value, own)) = expected(method, &sequence, present) {
                    wanted.push((id, value.clone(), own.to_owned(), sequence.clone()));
                    if is_consistent(&sequence, present) {
                        // One by one it would be the same.
                        assert_eq!(value, sequence.len().to_string(), "{sequence}");
                        assert!(!sequence.ends_with('D'), "{sequence}");
                    }
                } else if is_consistent(&sequence, present) {
                    assert!(sequence.ends_with('D'), "{sequence}");
                }
            }
        }
        tick(&mut src, "from")?;
        site.write("mover", method)?;
        site.drain("mover")?;
        let rows = dst.query("select id, v, own from t order by id", &[])?;
        let found: Vec<(i32, String, String)> = (rows.iter())
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect();
        for ((id, value, own, sequence), row) in wanted.iter().zip(&found) {
            assert_eq!(
                &(*id, value.clone(), own.clone()),
                row,
                "{method} {sequence}"
            );
        }
        assert_eq!(found.len(), wanted.len(), "{method}");
        assert!(id > 60, "{id}");
    }
    Ok(())
}

#[test]
fn a_new_row_that_is_there_already_blocks_methods_0_and_1_and_no_others() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    dst.batch_execute(
        "create table t (id int primary key, v text); insert into t values (1, 'old')",
    )?;
    put(
        &mut src,
        "public.t",
        &[("I:id", "id=1&v=new"), ("I:id", "id=2&v=new")],
    )?;
    tick(&mut src, "from")?;
    for method in ["load_method = 0", "load_method = 1"] {
        site.write("mover", method)?;
        site.refused("mover.ini --once", "cannot load rows into public.t")?;
        assert!(site.log("mover").contains("duplicate key value"));
        assert_eq!(content(&mut dst, "t")?, ["(1,old)"]);
    }
    site.write("mover", "load_method = 2")?;
    let shown = site.program("mover.ini --dry-run").succeed()?.stdout;
    assert!(
        shown.ends_with("public.t: 1 inserted, 1 updated, 0 deleted\n"),
        "{shown}"
    );
    assert_eq!(content(&mut dst, "t")?, ["(1,old)"]);
    site.drain("mover")?;
    assert_eq!(content(&mut dst, "t")?, ["(1,new)", "(2,new)"]);

    put(
        &mut src,
        "public.t",
        &[("I:id", "id=1&v=newer"), ("I:id", "id=3&v=new")],
    )?;
    tick(&mut src, "from")?;
    site.write("mover", "merge_mode = upsert")?;
    let shown = site.program("mover.ini --dry-run").succeed()?.stdout;
    assert!(
        shown.ends_with("public.t: 1 inserted, 1 updated, 0 deleted\n"),
        "{shown}"
    );
    site.drain("mover")?;
    assert_eq!(content(&mut dst, "t")?, ["(1,newer)", "(2,new)", "(3,new)"]);
    Ok(())
}

#[test]
fn rows_that_are_not_there_are_told_with_expected_and_actual_numbers() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    site.drain("mover")?;
    dst.batch_execute("create table t (id int primary key, v text)")?;
    for (method, update) in [
        (
            "load_method = 0",
            "Update mismatch in public.t: expected=2 updated=1",
        ),
        (
            "load_method = 1",
            "Update mismatch in public.t: expected=2 deleted=1",
        ),
        (
            "load_method = 2",
            "Update mismatch in public.t: expected=2 deleted=1",
        ),
    ] {
        dst.batch_execute("truncate t; insert into t values (1, 'old'), (3, 'old')")?;
        let events = [
            ("U:id", "id=1&v=new"),
            ("U:id", "id=2&v=new"),
            ("D:id", "id=3&v=old"),
            ("D:id", "id=4&v=old"),
        ];
        put(&mut src, "public.t", &events)?;
        tick(&mut src, "from")?;
        site.write("mover", method)?;
        let before = site.log("mover").len();
        site.drain("mover")?;
        let log = site.log("mover").split_off(before);
        assert!(log.contains(update), "{method}: {log}");
        assert!(
            log.contains("Delete mismatch in public.t: expected=2 deleted=1"),
            "{method}: {log}"
        );
        let healed = method != "load_method = 0";
        let rows: &[&str] = if healed {
            &["(1,new)", "(2,new)"]
        } else {
            &["(1,new)"]
        };
        assert_eq!(content(&mut dst, "t")?, rows, "{method}");
    }
    Ok(())
}

#[test]
fn a_row_whose_values_grow_and_shrink_takes_the_memory_of_its_last_ones() -> TestResult {
    let site = site()?;
    let mut dst = site.db("dst")?;
    site.drain("mover")?;
    dst.batch_execute(
        "create table t (id int primary key, v text); insert into t values (1, 'old')",
    )?;
    let large = format!("id=1&v={}", "x".repeat(400 * 1024));
    let events = [("U:id", large.as_str()), ("U:id", "id=1&v=small")].repeat(5);
    load(&site, "batch_memory_limit = 1", &events)?;
    assert_eq!(content(&mut dst, "t")?, ["(1,small)"]);
    let log = site.log("mover");
    assert_eq!(
        log.matches("Updating 1 rows in public.t").count(),
        1,
        "{log}"
    );
    Ok(())
}
