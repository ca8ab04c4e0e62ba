//! What the arguments of a trigger ask for: keys, columns, expressions, their errors.

use super::{capture, changes, events, generated, logged};
use crate::support::{cluster_with_consumer, refusal, rows};
use testkit::TestResult;

#[test]
fn a_change_of_the_key_is_refused_or_logged_as_asked() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (a int, v text, b int, primary key (b, a)); insert into t values (1, 'x', 2)",
    )?;
    for (function, arguments) in [
        ("sqltriga", "'q'"),
        ("logutriga", "'q'"),
        // The key stands behind the first change.
        ("logutriga", "'q', 'ignore=zz'"),
        ("jsontriga", "'q', 'ignore=zz'"),
    ] {
        capture(&mut db, "t", function, arguments)?;
        assert_eq!(
            refusal(&mut db, "update t set v = 'y', b = 3")?,
            "primary key update not allowed",
            "{function}({arguments})"
        );
    }
    generated(&mut db, "t", "'q', 'key_updates=refuse'")?;
    assert_eq!(
        refusal(&mut db, "update t set v = 'y', b = 3")?,
        "primary key update not allowed"
    );
    for option in ["key_updates=log", "changes=text", "settings=pinned"] {
        capture(&mut db, "t", "sqltriga", &format!("'q', '{option}'"))?;
        assert_eq!(
            refusal(&mut db, "update t set v = 'y'")?,
            "bad param to pgq trigger"
        );
    }
    for (function, arguments) in [("", "'q', 'key_updates=log'"), ("logtriga", "'q', 'kvk'")] {
        match function {
            "" => generated(&mut db, "t", arguments)?,
            _ => capture(&mut db, "t", function, arguments)?,
        }
        let lines = logged(&mut db, "begin; update t set v = 'y', b = 3; select 1")?;
        db.batch_execute("rollback")?;
        assert_eq!(lines, ["U|v='y',b='3' where a='1' and b='2'"]);
    }
    Ok(())
}

#[test]
fn the_key_follows_the_catalogue() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (gone int, id int, x int, v int, primary key (id) include (x));
         alter table t drop column gone; alter table t rename column id to ident;
         insert into t values (1, 1, 1)",
    )?;
    capture(&mut db, "t", "sqltriga", "'q'")?;
    assert_eq!(
        logged(&mut db, "update t set x = 5")?,
        ["U|x='5' where ident='1'"],
        "an included column is no key, and a renamed one has its new name"
    );
    assert_eq!(
        refusal(&mut db, "update t set ident = 5")?,
        "primary key update not allowed"
    );
    capture(&mut db, "t", "logutriga", "'q'")?;
    assert_eq!(
        logged(&mut db, "update t set v = 2")?,
        ["U:ident|ident=1&x=5&v=2"]
    );

    db.batch_execute("create table nokey (id int unique not null, v int)")?;
    for function in ["sqltriga", "logutriga", "jsontriga"] {
        capture(&mut db, "nokey", function, "'q'")?;
        assert_eq!(logged(&mut db, "insert into nokey values (1, 2)")?.len(), 1);
        for statement in ["update nokey set v = 3", "delete from nokey"] {
            assert_eq!(
                refusal(&mut db, statement)?,
                "Update/Delete on table without pkey"
            );
        }
        db.batch_execute("truncate nokey")?;
    }
    Ok(())
}

#[test]
fn structure_changes_are_seen_by_the_next_statement_of_every_session() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (id int primary key, a int, b text); insert into t values (1, 1, 'x')",
    )?;
    for (name, function) in [("a", "sqltriga"), ("b", "logutriga")] {
        db.batch_execute(&format!(
            "create trigger {name} after insert or update or delete on t \
             for each row execute function pgq.{function}('q')"
        ))?;
    }
    let mut warm = cluster.connect("postgres")?;
    logged(&mut warm, "update t set a = 2")?;
    for (change, statement, expected) in [
        (
            "alter table t add c int default 7",
            "update t set a = 3",
            ["U|a='3' where id='1'", "U:id|id=1&a=3&b=x&c=7"],
        ),
        (
            "alter table t alter a type text using a || '!'",
            "update t set a = 'z'",
            ["U|a='z' where id='1'", "U:id|id=1&a=z&b=x&c=7"],
        ),
        (
            "alter table t drop b",
            "update t set c = 8",
            ["U|c='8' where id='1'", "U:id|id=1&a=z&c=8"],
        ),
        (
            "alter table t rename a to aa",
            "update t set aa = 'y'",
            ["U|aa='y' where id='1'", "U:id|id=1&aa=y&c=8"],
        ),
        (
            "alter table t rename id to pk",
            "update t set aa = 'x'",
            ["U|aa='x' where pk='1'", "U:pk|pk=1&aa=x&c=8"],
        ),
        (
            "alter table t drop constraint t_pkey; alter table t add primary key (aa)",
            "update t set c = 9",
            ["U|c='9' where aa='x'", "U:aa|pk=1&aa=x&c=9"],
        ),
    ] {
        db.batch_execute(&format!("begin; {change}; commit"))?;
        assert_eq!(logged(&mut warm, statement)?, expected, "{change}");
    }
    // In the session itself, and within its transaction.
    assert_eq!(
        logged(
            &mut warm,
            "begin; alter table t add d int; update t set d = 1; commit"
        )?,
        ["U|d='1' where aa='x'", "U:aa|pk=1&aa=x&c=9&d=1"]
    );
    db.batch_execute("create schema s; alter table t rename to u; alter table u set schema s")?;
    warm.batch_execute("update s.u set d = 2")?;
    assert!(
        events(&mut warm)?
            .iter()
            .all(|event| event.contains("|s.u|"))
    );
    Ok(())
}

#[test]
fn wide_tables_and_generated_columns_are_captured() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    for width in [46, 51, 101, 1000] {
        let names: Vec<String> = (1..=width).map(|n| format!("c{n}")).collect();
        db.batch_execute(&format!(
            "drop table if exists wide; create table wide ({} int, primary key (c1))",
            names.join(" int, ")
        ))?;
        capture(&mut db, "wide", "sqltriga", "'q'")?;
        assert_eq!(
            logged(
                &mut db,
                &format!(
                    "insert into wide (c1, c{width}) values (1, 2); update wide set c{width} = 3"
                )
            )?,
            [
                format!(
                    "I|({}) values ('1',{}'2')",
                    names.join(","),
                    "null,".repeat(width - 2)
                ),
                format!("U|c{width}='3' where c1='1'"),
            ]
        );
    }
    db.batch_execute(
        "create table g (id int primary key, a int, double int generated always as (a * 2) stored)",
    )?;
    capture(&mut db, "g", "sqltriga", "'q'")?;
    assert_eq!(
        logged(&mut db, "insert into g values (1, 2); update g set a = 3")?,
        [
            "I|(id,a,double) values ('1','2','4')",
            "U|a='3',double='6' where id='1'"
        ]
    );
    capture(&mut db, "g", "sqltriga", "'q', 'ignore=double'")?;
    assert_eq!(
        logged(&mut db, "update g set a = 4")?,
        ["U|a='4' where id='1'"]
    );
    Ok(())
}

#[test]
fn ignored_columns_are_left_out_and_their_changes_too() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (id int primary key, a int, ab int, b int); insert into t values (1, 1, 1, 1)",
    )?;
    capture(&mut db, "t", "sqltriga", "'q', 'ignore= a , b'")?;
    for (statement, expected) in [
        ("update t set a = 2, b = 2", vec![]),
        ("update t set a = 3, ab = 2", vec!["U|ab='2' where id='1'"]),
        ("update t set id = id", vec!["U|id='1' where id='1'"]),
        (
            "insert into t values (2, 2, 2, 2)",
            vec!["I|(id,ab) values ('2','2')"],
        ),
        ("delete from t where id = 2", vec!["D|id='2'"]),
    ] {
        assert_eq!(logged(&mut db, statement)?, expected, "{statement}");
    }
    capture(&mut db, "t", "logutriga", "'q', 'ignore=a', 'backup'")?;
    assert!(logged(&mut db, "update t set a = 4")?.is_empty());
    db.batch_execute("update t set b = 5")?;
    assert_eq!(
        events(&mut db)?,
        ["U:id|id=1&ab=2&b=5|public.t|id=1&ab=2&b=2"]
    );
    // Everything ignored.
    for (function, expected) in [("sqltriga", "I|() values ()"), ("logutriga", "I:id|")] {
        capture(&mut db, "t", function, "'q', 'ignore=id,a,ab,b'")?;
        assert_eq!(
            logged(
                &mut db,
                "insert into t values (3); delete from t where id = 3"
            )?[0],
            expected
        );
    }
    // An ignored key still finds the row.
    capture(&mut db, "t", "sqltriga", "'q', 'ignore=id'")?;
    assert_eq!(
        logged(&mut db, "update t set a = 9")?,
        ["U|a='9' where id='1'"]
    );
    Ok(())
}

#[test]
fn a_key_of_ones_own_replaces_the_primary_key() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int, v int, w int); insert into t values (1, 2, 3)")?;
    capture(
        &mut db,
        "t",
        "sqltriga",
        "'q', 'pkey=nothing', 'pkey= w, v'",
    )?;
    assert_eq!(
        logged(&mut db, "update t set id = 5")?,
        ["U|id='5' where v='2' and w='3'"]
    );
    capture(&mut db, "t", "logutriga", "'q', 'pkey=w, v'")?;
    assert_eq!(
        logged(&mut db, "update t set id = 6")?,
        ["U:w, v|id=6&v=2&w=3"]
    );
    capture(&mut db, "t", "jsontriga", "'q', 'pkey=w, v'")?;
    assert!(logged(&mut db, "update t set id = 7")?[0].contains(r#""pkey":["w","v"]"#));
    capture(&mut db, "t", "sqltriga", "'q', 'pkey=v,missing'")?;
    assert_eq!(
        refusal(&mut db, "insert into t values (1)")?,
        "pkey= names \"missing\", which is no column of the table"
    );
    capture(&mut db, "t", "sqltriga", "'q', 'pkey='")?;
    assert_eq!(
        refusal(&mut db, "delete from t")?,
        "Update/Delete on table without pkey"
    );
    capture(&mut db, "t", "sqltriga", "'q', 'pkey=v'")?;
    db.batch_execute("alter table t disable trigger capture; update t set v = null; alter table t enable trigger capture")?;
    assert_eq!(
        refusal(&mut db, "delete from t")?,
        "logtriga: Unexpected NULL key value"
    );
    Ok(())
}

#[test]
fn expressions_replace_fields_and_filter_events() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        r#"create table t (id int primary key, v text, "Odd" int, ok boolean);
           create schema mine; create function mine.up(text) returns text language sql as 'select upper($1)';
           set search_path = mine, public"#,
    )?;
    for (arguments, expected) in [
        (
            "'ev_type=v'",
            "x|(id,v,\"Odd\",ok) values ('1','x','2','t')|public.t|NULL",
        ),
        ("'ev_data=id + Odd'", "I|3|public.t|NULL"),
        (
            "'ev_extra1=''global.''''t'''",
            "I|(id,v,\"Odd\",ok) values ('1','x','2','t')|global.'t|NULL",
        ),
        (
            "'ev_extra2=up(v) || $tag$ v $tag$ || ''v'' /* v */ || E''\\'' v'' -- v'",
            "I|(id,v,\"Odd\",ok) values ('1','x','2','t')|public.t|X v v' v",
        ),
        (
            "'ev_extra2=ok'",
            "I|(id,v,\"Odd\",ok) values ('1','x','2','t')|public.t|t",
        ),
        ("'ev_data=null', 'ev_data=2'", "I|NULL|public.t|NULL"),
        (
            "'when=id = 1 and ok'",
            "I|(id,v,\"Odd\",ok) values ('1','x','2','t')|public.t|NULL",
        ),
        ("'when=id = 2'", ""),
        // Words with a dot and quoted names are not columns.
        (
            "'ev_data=(select u.v || \"V\" from (select ''inner'' as \"v\", v as \"V\") u)'",
            "I|innerx|public.t|NULL",
        ),
    ] {
        capture(&mut db, "t", "sqltriga", &format!("'q', {arguments}"))?;
        db.batch_execute("insert into t values (1, 'x', 2, true)")
            .map_err(|error| format!("{arguments}: {error:?}"))?;
        assert_eq!(events(&mut db)?.concat(), expected, "{arguments}");
        db.batch_execute("truncate t")?;
    }
    for (arguments, message) in [
        ("'when=null::boolean'", "when= should not be NULL"),
        ("'when=1'", "when= query result must be boolean, got=23"),
        ("'ev_data=''open'", "QB: syntax error"),
        ("'ev_data=/* open'", "QB: syntax error"),
        (
            "'ev_data=1 where false'",
            "Expect 1 row from override query, got 0",
        ),
        (
            "'ev_data=generate_series(1, 3)'",
            "Expect 1 row from override query, got 3",
        ),
        ("'ev_data=1 / 0'", "division by zero"),
    ] {
        capture(&mut db, "t", "sqltriga", &format!("'q', {arguments}"))?;
        assert_eq!(
            refusal(&mut db, "insert into t values (1)")?,
            message,
            "{arguments}"
        );
    }
    // The row is the deleted one, and the new one of an update.
    capture(&mut db, "t", "jsontriga", "'q', 'ev_data=v'")?;
    let lines = logged(
        &mut db,
        "insert into t values (1, 'one'); update t set v = 'two'; delete from t",
    )?;
    let data: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.rsplit('|').next())
        .collect();
    assert_eq!(data, ["one", "two", "two"]);
    Ok(())
}

#[test]
fn magic_columns_replace_fields_and_are_no_data() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (id int primary key, _pgq_ev_type text, v int, _pgq_ev_extra4 int)",
    )?;
    capture(&mut db, "t", "sqltriga", "'q'")?;
    db.batch_execute("insert into t values (1, 'kind', 2, 4)")?;
    assert_eq!(
        rows(
            &mut db,
            "select ev_type, ev_data, ev_extra1, ev_extra4 from pgq.event_template"
        )?,
        ["kind|(id,v) values ('1','2')|public.t|4"]
    );
    changes(&mut db)?;
    assert!(logged(&mut db, "update t set _pgq_ev_extra4 = 5")?.is_empty());
    assert_eq!(
        logged(&mut db, "update t set _pgq_ev_type = null, v = 3")?,
        ["NULL|v='3' where id='1'"]
    );
    capture(&mut db, "t", "logutriga", "'q', 'ev_type=''argument'''")?;
    assert_eq!(
        logged(&mut db, "update t set _pgq_ev_extra4 = 6")?,
        ["argument|id=1&v=3"]
    );
    capture(&mut db, "t", "logutriga", "'q', 'ignore=zz'")?;
    assert!(logged(&mut db, "update t set _pgq_ev_extra4 = 7")?.is_empty());
    db.batch_execute("alter table t add _pgq_ev_odd int")?;
    assert_eq!(
        refusal(&mut db, "delete from t")?,
        "Unknown magic column: _pgq_ev_odd"
    );
    Ok(())
}

#[test]
fn wrong_arguments_and_places_are_refused_by_name() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key, v int)")?;
    for (function, arguments, message) in [
        (
            "sqltriga",
            "",
            "pgq trigger must have destination queue as argument",
        ),
        ("sqltriga", "'q', 'skip'", "bad param to pgq trigger"),
        ("logutriga", "'q', 'nonsense=1'", "bad param to pgq trigger"),
        (
            "logutriga",
            "'q', 'settings=pinned'",
            "bad param to pgq trigger",
        ),
        (
            "sqltriga",
            "'q', 'changes=never'",
            "bad param to pgq trigger",
        ),
        ("sqltriga", "'nowhere'", "No such queue"),
        (
            "logtriga",
            "'q'",
            "pgq.logtriga must be used with 2 or 3 args",
        ),
        (
            "logtriga",
            "'q', 'k', 'x', 'y'",
            "pgq.logtriga must be used with 2 or 3 args",
        ),
        ("logtriga", "'q', 'vv'", "need at least one key column"),
        ("logtriga", "'q', 'vvk'", "key column does not exist"),
    ] {
        capture(&mut db, "t", function, arguments)?;
        assert_eq!(
            refusal(&mut db, "insert into t values (1)")?,
            message,
            "{function}({arguments})"
        );
    }
    db.batch_execute("drop trigger capture on t")?;
    for (place, function, arguments, statement, message) in [
        (
            "after insert on t for each statement",
            "sqltriga",
            "'q'",
            "insert into t values (1)",
            "pgq Ins/Upd/Del trigger must be fired FOR EACH ROW",
        ),
        (
            "before insert on t for each row",
            "logtriga",
            "'q', 'k'",
            "insert into t values (1)",
            "pgq.logtriga must be fired AFTER",
        ),
        (
            "after truncate on t for each statement",
            "sqltriga",
            "'q', 'ignore=v'",
            "truncate t",
            "Column ignore does not make sense for truncate trigger",
        ),
        (
            "after truncate on t for each statement",
            "sqltriga",
            "'q', 'pkey=v'",
            "truncate t",
            "Custom pkey_list does not make sense for truncate trigger",
        ),
        (
            "after truncate on t for each statement",
            "sqltriga",
            "'q', 'backup'",
            "truncate t",
            "Backup does not make sense for truncate trigger",
        ),
        (
            "after truncate on t for each statement",
            "sqltriga",
            "'q', 'when=true'",
            "truncate t",
            "Custom expressions do not make sense for truncater trigger",
        ),
    ] {
        db.batch_execute(&format!(
            "create trigger capture {place} execute function pgq.{function}({arguments})"
        ))?;
        assert_eq!(refusal(&mut db, statement)?, message);
        db.batch_execute("drop trigger capture on t")?;
    }
    Ok(())
}

#[test]
fn positional_arguments_work_as_in_version_2() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (gone int, id int, dat text, dat2 text); alter table t drop gone",
    )?;
    capture(&mut db, "t", "logtriga", "'q', 'kiv', 'other.name'")?;
    for (statement, expected) in [
        (
            "insert into t values (1, '666', 'newdat')",
            vec!["I|(id,dat2) values ('1','newdat')"],
        ),
        (
            "update t set dat = 5, dat2 = 'newdat2'",
            vec!["U|dat2='newdat2' where id='1'"],
        ),
        ("update t set dat = 6", vec![]),
        ("update t set dat = dat", vec!["U|id='1' where id='1'"]),
        ("update t set id = 2", vec!["U|id='2' where id='1'"]),
        ("delete from t", vec!["D|id='2'"]),
    ] {
        assert_eq!(logged(&mut db, statement)?, expected, "{statement}");
    }
    // The name of the table is its own; a column without a letter is ignored.
    capture(&mut db, "t", "logtriga", "'q', 'kv', 'other.name'")?;
    db.batch_execute("insert into t values (1, 'a', 'b')")?;
    assert_eq!(
        events(&mut db)?,
        ["I|(id,dat) values ('1','a')|public.t|NULL"]
    );
    assert!(logged(&mut db, "update t set dat2 = 'c'")?.is_empty());
    // More letters than columns: none of them may be the last key.
    capture(&mut db, "t", "logtriga", "'q', 'kvviv'")?;
    assert_eq!(
        logged(&mut db, "update t set dat = 'd', dat2 = 'e'")?,
        ["U|dat='d',dat2='e' where id='1'"]
    );
    capture(&mut db, "t", "logtriga", "'q', 'kvvk'")?;
    assert_eq!(
        refusal(&mut db, "update t set dat = 'e'")?,
        "key column does not exist"
    );
    // A key that is null cannot find its row.
    capture(&mut db, "t", "logtriga", "'q', 'vik'")?;
    assert_eq!(
        logged(&mut db, "update t set dat2 = null")?,
        ["U|dat2=NULL where dat2='e'"]
    );
    assert_eq!(
        refusal(&mut db, "delete from t")?,
        "logtriga: Unexpected NULL key value"
    );
    Ok(())
}
