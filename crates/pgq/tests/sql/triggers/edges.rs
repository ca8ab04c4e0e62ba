//! Arguments that are written in unusual ways, and names at the limits of the server: as the C triggers take them.

use testkit::TestResult;

use super::{capture, changes, events, generated, logged};
use crate::support::{cluster_with_consumer, refusal, row, rows};

#[test]
fn names_in_a_key_list_stand_between_commas_or_blanks() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key, a int, b int, \"a b\" int)")?;
    for (list, kind, key) in [
        ("b a", "b a", "a='1' and b='2'"),
        ("b,a,", "b,a,", "a='1' and b='2'"),
        (",b", ",b", "b='2'"),
        ("b,\n\ta", "b,\n\ta", "a='1' and b='2'"),
        ("id , id", "id , id", "id='0'"),
        // Three columns, as it says all their names.
        ("a b", "a b", "a='1' and b='2' and \"a b\"='3'"),
    ] {
        let insert = "insert into t values (0, 1, 2, 3); delete from t";
        let row = "id=0&a=1&b=2&a+b=3";
        for function in ["sqltriga", "logutriga"] {
            capture(&mut db, "t", function, &format!("'q', 'pkey={list}'"))?;
            let deleted = match function {
                "sqltriga" => format!("D|{key}"),
                _ => format!("D:{kind}|{row}"),
            };
            assert_eq!(logged(&mut db, insert)?[1], deleted, "{list:?}");
        }
        for (format, deleted) in [
            ("sql", format!("D|{key}")),
            ("urlenc", format!("D:{kind}|{row}")),
        ] {
            for level in ["generic", "row", "statement"] {
                db.batch_execute(&format!(
                    "drop trigger if exists capture on t;
                     select pgq.create_capture('t', 'capture', '{format}', '{level}', array['q', 'pkey={list}'])"
                ))?;
                assert_eq!(logged(&mut db, insert)?[1], deleted, "{list:?}, {level}");
                db.batch_execute("select pgq.drop_capture('t', 'capture')")?;
            }
        }
    }
    // With a key of one's own, the primary key is data like any other.
    capture(&mut db, "t", "sqltriga", "'q', 'pkey=a'")?;
    assert_eq!(
        logged(
            &mut db,
            "insert into t values (0, 1, 2, 3); update t set id = 7"
        )?[1],
        "U|id='7' where a='1'"
    );
    assert_eq!(
        refusal(&mut db, "update t set a = 2")?,
        "primary key update not allowed"
    );
    for (list, name) in [("b,nope", "nope"), ("b nope", "b nope")] {
        capture(&mut db, "t", "sqltriga", &format!("'q', 'pkey={list}'"))?;
        assert_eq!(
            refusal(&mut db, "delete from t")?,
            format!("pkey= names \"{name}\", which is no column of the table")
        );
    }
    capture(&mut db, "t", "sqltriga", "'q', 'pkey= '")?;
    assert_eq!(
        refusal(&mut db, "delete from t")?,
        "Update/Delete on table without pkey"
    );
    Ok(())
}

#[test]
fn of_repeated_arguments_lists_count_as_the_last_says_and_expressions_as_the_first() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key, a int, b int)")?;
    for (arguments, expected) in [
        ("'ignore=a', 'ignore=b'", Some("I|(id,a) values ('1','2')")),
        (
            "'ignore=a', 'ignore='",
            Some("I|(id,a,b) values ('1','2','3')"),
        ),
        ("'ev_data=1', 'ev_data=2'", Some("I|1")),
        ("'when=false', 'when=true'", None),
        ("'when=true', 'when=false', 'ev_data=b'", Some("I|3")),
        (
            "'backup', 'backup'",
            Some("I|(id,a,b) values ('1','2','3')"),
        ),
    ] {
        capture(&mut db, "t", "sqltriga", &format!("'q', {arguments}"))?;
        let by_hand = logged(&mut db, "insert into t values (1, 2, 3)")?;
        assert_eq!(by_hand.first().map(String::as_str), expected, "{arguments}");
        db.batch_execute("truncate t; drop trigger capture on t")?;
        generated(&mut db, "t", &format!("'q', {arguments}"))?;
        assert_eq!(
            logged(&mut db, "insert into t values (1, 2, 3)")?,
            by_hand,
            "{arguments}"
        );
        db.batch_execute("truncate t; select pgq.drop_capture('t', 'capture')")?;
    }
    Ok(())
}

#[test]
fn expressions_may_be_empty_and_may_end_in_a_semicolon() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key, text text)")?;
    for (arguments, expected) in [
        ("'ev_extra1='", "I|(id,text) values ('1','x')|NULL|NULL"),
        ("'ev_extra1= \n'", "I|(id,text) values ('1','x')|NULL|NULL"),
        (
            "'ev_extra2=id; '",
            "I|(id,text) values ('1','x')|public.t|1",
        ),
        (
            "'when=id = 1;', 'ev_extra2=''a;'' ;'",
            "I|(id,text) values ('1','x')|public.t|a;",
        ),
        ("'ev_type=', 'ev_data=text'", "NULL|x|public.t|NULL"),
        // Of every kind, in the order in which they are evaluated.
        (
            "'backup', 'ev_extra2=text', 'ev_type=id::int', 'ev_data=null'",
            "1|NULL|public.t|x",
        ),
    ] {
        for level in ["", "row", "generic"] {
            match level {
                "" => capture(&mut db, "t", "sqltriga", &format!("'q', {arguments}"))?,
                _ => db.batch_execute(&format!(
                    "select pgq.create_capture('t', 'capture', 'sql', '{level}', array['q', {arguments}])"
                ))?,
            }
            db.batch_execute("insert into t values (1, 'x')")
                .map_err(|error| format!("{arguments}, {level}: {error:?}"))?;
            assert_eq!(events(&mut db)?, [expected], "{arguments}, {level}");
            db.batch_execute("truncate t; drop trigger capture on t")?;
        }
    }
    db.batch_execute(
        "select pgq.create_capture('t', 'capture', 'sql', 'statement', array['q', 'ev_extra1='])",
    )?;
    db.batch_execute("insert into t values (1, 'x')")?;
    assert_eq!(events(&mut db)?, ["I|(id,text) values ('1','x')|NULL|NULL"]);
    db.batch_execute("select pgq.drop_capture('t', 'capture'); truncate t")?;
    for (arguments, message) in [
        ("'when='", "when= query result must be boolean, got=0"),
        // A column's name stands for its value wherever it is a word of its own.
        ("'ev_extra3=id::text'", "syntax error at or near \"(\""),
        // All are evaluated, whether there will be an event or not.
        ("'when=false', 'ev_data=1 / (id - 1)'", "division by zero"),
        (
            "'ev_extra3=txid_current() where false'",
            "Expect 1 row from override query, got 0",
        ),
    ] {
        for level in ["", "row"] {
            match level {
                "" => capture(&mut db, "t", "sqltriga", &format!("'q', {arguments}"))?,
                _ => generated(&mut db, "t", &format!("'q', {arguments}"))?,
            }
            assert_eq!(
                refusal(&mut db, "insert into t values (1)")?,
                message,
                "{arguments}, {level}"
            );
            db.batch_execute("drop trigger capture on t")?;
        }
    }
    Ok(())
}

#[test]
fn every_magic_column_is_its_field() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let fields = ["type", "data", "extra1", "extra2", "extra3", "extra4"];
    for (place, field) in fields.iter().enumerate() {
        for level in ["", "row", "generic"] {
            db.batch_execute(&format!(
                "drop table if exists t; create table t (id int primary key, _pgq_ev_{field} inet)"
            ))?;
            match level {
                "" => capture(&mut db, "t", "sqltriga", "'q', 'backup'")?,
                _ => db.batch_execute(&format!(
                    "select pgq.create_capture('t', 'capture', 'sql', '{level}', array['q', 'backup'])"
                ))?,
            }
            db.batch_execute(&format!(
                "insert into t values (1, '10.0.0.1'); update t set id = id, _pgq_ev_{field} = '10.0.0.2' where false;
                 delete from t; insert into t values (2, null)"
            ))?;
            let seen = rows(
                &mut db,
                "select ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4 from pgq.event_template order by ev_id",
            )?;
            changes(&mut db)?;
            let expected = |kind: &str, data: &str, value: &str| {
                let mut all = [kind, data, "public.t", "NULL", "NULL", "NULL"];
                all[place] = value;
                all.join("|")
            };
            assert_eq!(
                seen,
                [
                    // As the output function writes it: a host has no mask.
                    expected("I", "(id) values ('1')", "10.0.0.1"),
                    expected("D", "id='1'", "10.0.0.1"),
                    expected("I", "(id) values ('2')", "NULL"),
                ],
                "{field}, {level}"
            );
        }
    }
    for (function, ignored, count) in [
        ("sqltriga", "", 0),
        ("logutriga", "", 1),
        ("jsontriga", "", 1),
        ("sqltriga", ", 'ignore=zz'", 0),
        ("logutriga", ", 'ignore=zz'", 0),
        ("jsontriga", ", 'ignore=zz'", 0),
        // An empty list is one.
        ("logutriga", ", 'ignore='", 0),
        ("jsontriga", ", 'ignore='", 0),
    ] {
        capture(&mut db, "t", function, &format!("'q'{ignored}"))?;
        let lines = logged(&mut db, "update t set _pgq_ev_extra4 = '10.0.0.3'")?;
        assert_eq!(lines.len(), count, "{function}{ignored}");
        db.batch_execute("update t set _pgq_ev_extra4 = null")?;
        changes(&mut db)?;
    }
    for suffix in ["", "extra5", "Type"] {
        db.batch_execute(&format!(
            "drop table t; create table t (id int primary key, \"_pgq_ev_{suffix}\" int)"
        ))?;
        capture(
            &mut db,
            "t",
            "sqltriga",
            &format!("'q', 'ignore=_pgq_ev_{suffix}'"),
        )?;
        assert_eq!(
            refusal(&mut db, "insert into t values (1)")?,
            format!("Unknown magic column: _pgq_ev_{suffix}")
        );
    }
    // A table may consist of nothing else.
    db.batch_execute("drop table t; create table t (_pgq_ev_type text, _pgq_ev_data text)")?;
    capture(&mut db, "t", "jsontriga", "'q'")?;
    assert_eq!(logged(&mut db, "insert into t values ('a', 'b')")?, ["a|b"]);
    Ok(())
}

#[test]
fn the_old_row_is_backed_up_in_the_format_of_the_row() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key, a text, b int)")?;
    for (format, function, backup) in [
        ("sql", "sqltriga", "id=1&a=x+y"),
        ("urlenc", "logutriga", "id=1&a=x+y"),
        ("json", "jsontriga", r#"{"id":1,"a":"x y"}"#),
    ] {
        for level in ["", "row", "statement", "generic"] {
            for (option, expected) in [("", backup), (", 'ev_extra2=''mine'''", "mine")] {
                let arguments = format!("'q', 'backup', 'ignore=b'{option}");
                match level {
                    "" => capture(&mut db, "t", function, &arguments)?,
                    "statement" if !option.is_empty() => continue,
                    _ => db.batch_execute(&format!(
                        "select pgq.create_capture('t', 'capture', '{format}', '{level}', array[{arguments}])"
                    ))?,
                }
                db.batch_execute(
                    "insert into t values (1, 'x y', 2); update t set a = 'z', b = 3; delete from t",
                )?;
                let none = if option.is_empty() { "NULL" } else { "mine" };
                assert_eq!(
                    rows(
                        &mut db,
                        "select ev_extra2 from pgq.event_template order by ev_id"
                    )?,
                    [none, expected, none],
                    "{format}, {level}, {option}"
                );
                changes(&mut db)?;
                db.batch_execute(
                    "select pgq.drop_capture('t', 'capture'); drop trigger if exists capture on t",
                )?;
            }
        }
    }
    Ok(())
}

#[test]
fn names_of_any_length_and_sign_are_logged_whole() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    // 63 bytes each, of characters of one, two and four bytes.
    let long = "l".repeat(63);
    let accents = format!("x{}", "é".repeat(31));
    let smileys = format!("xyz{}", "😀".repeat(15));
    for (schema, table, column) in [
        (long.as_str(), accents.as_str(), smileys.as_str()),
        ("s.\"'\\.", "t.\"'\\ &=%+", "c.\"'\\ &=%+"),
        (" ", "a&b", "a+b"),
        ("é", "ü", "a%b"),
    ] {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let target = format!("{}.{}", quoted(schema), quoted(table));
        db.batch_execute(&format!(
            "create schema {}; create table {target} ({} int primary key)",
            quoted(schema),
            quoted(column)
        ))?;
        let mut encoded = String::new();
        for byte in column.bytes() {
            match byte {
                b' ' => encoded.push('+'),
                b'.' | b'0'..=b'9' | b'a'..=b'z' => encoded.push(char::from(byte)),
                _ => encoded.push_str(&format!("%{byte:02x}")),
            }
        }
        let json = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        for (format, function, expected) in [
            (
                "sql",
                "sqltriga",
                format!("I|({}) values ('1')|{schema}.{table}|NULL", {
                    match column == "l" {
                        true => column.to_owned(),
                        false => quoted(column),
                    }
                }),
            ),
            (
                "urlenc",
                "logutriga",
                format!("I:{column}|{encoded}=1|{schema}.{table}|NULL"),
            ),
            (
                "json",
                "jsontriga",
                format!(
                    r#"{{"op":"INSERT","table":["{}","{}"],"pkey":["{}"]}}|{{"{2}":1}}|{schema}.{table}|NULL"#,
                    json(schema),
                    json(table),
                    json(column)
                ),
            ),
        ] {
            for level in ["", "row", "statement", "generic"] {
                match level {
                    "" => capture(&mut db, &target, function, "'q'")?,
                    _ => {
                        let name = target.replace('\'', "''");
                        db.batch_execute(&format!(
                            "select pgq.create_capture('{name}', 'capture', '{format}', '{level}', array['q'])"
                        ))?;
                    }
                }
                db.batch_execute(&format!("insert into {target} values (1)"))?;
                assert_eq!(events(&mut db)?, [expected.as_str()], "{level}");
                let name = target.replace('\'', "''");
                db.batch_execute(&format!(
                    "truncate {target}; select pgq.drop_capture('{name}', 'capture');
                     drop trigger if exists capture on {target}"
                ))?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_session_that_quotes_all_names_has_events_that_read_alike() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (id int primary key, a text); set quote_all_identifiers = on",
    )?;
    capture(&mut db, "t", "sqltriga", "'q'")?;
    let dml = "insert into t values (1, 'x'); update t set a = 'y'; delete from t";
    assert_eq!(
        logged(&mut db, dml)?,
        [
            r#"I|("id","a") values ('1','x')"#,
            r#"U|"a"='y' where "id"='1'"#,
            r#"D|"id"='1'"#
        ]
    );
    db.batch_execute("drop trigger capture on t")?;
    // What was generated has its names from then.
    for created in ["on", "off"] {
        for level in ["row", "statement", "generic"] {
            db.batch_execute(&format!(
                "set quote_all_identifiers = {created};
                 select pgq.create_capture('t', 'capture', 'sql', '{level}', array['q']);
                 set quote_all_identifiers = on"
            ))?;
            let data = logged(&mut db, dml)?;
            let plain: Vec<String> = data.iter().map(|line| line.replace('"', "")).collect();
            assert_eq!(
                plain,
                [
                    "I|(id,a) values ('1','x')",
                    "U|a='y' where id='1'",
                    "D|id='1'"
                ],
                "{level}"
            );
            row(&mut db, "select pgq.drop_capture('t', 'capture')")?;
        }
    }
    Ok(())
}

#[test]
fn an_expression_is_one_and_sees_the_change() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key, a text)")?;
    for level in ["", "row", "generic"] {
        for (expression, expected) in [
            (
                "(select count(*) from t)",
                ["I|2", "I|2", "U|2", "U|2", "D|0", "D|0"],
            ),
            (
                "$1",
                [
                    "I|(1,x)", "I|(2,y)", "U|(1,z)", "U|(2,z)", "D|(1,z)", "D|(2,z)",
                ],
            ),
        ] {
            let arguments = format!("'q', 'ev_data={expression}'");
            match level {
                "" => capture(&mut db, "t", "sqltriga", &arguments)?,
                _ => db.batch_execute(&format!(
                    "select pgq.create_capture('t', 'capture', 'sql', '{level}', array[{arguments}])"
                ))?,
            }
            assert_eq!(
                logged(
                    &mut db,
                    "insert into t values (1, 'x'), (2, 'y'); update t set a = 'z'; delete from t"
                )?,
                expected,
                "{expression}, {level:?}"
            );
            db.batch_execute("drop trigger capture on t")?;
        }
    }
    for expression in ["1; select 2", "1;-- x", "(", "1 +", "select 1", "''x"] {
        capture(
            &mut db,
            "t",
            "sqltriga",
            &format!("'q', 'ev_data={expression}'"),
        )?;
        let message = refusal(&mut db, "insert into t values (3, 'x')")?;
        assert!(message.contains("syntax error"), "{expression}: {message}");
        assert_eq!(row(&mut db, "select count(*) from t")?, "0");
    }
    Ok(())
}

#[test]
fn keys_and_ignored_columns_may_be_of_types_without_an_equality() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (k json, p point, i json, v text)")?;
    for level in ["trigger", "row", "statement", "generic"] {
        let arguments = "'q', 'pkey=k,p', 'ignore=i'";
        match level {
            "trigger" => capture(&mut db, "t", "sqltriga", arguments)?,
            _ => db.batch_execute(&format!(
                "drop trigger if exists capture on t;
                 select pgq.create_capture('t', 'capture', 'sql', '{level}', array[{arguments}])"
            ))?,
        }
        for (statement, expected) in [
            (
                r#"insert into t values ('{"a":1}', '(1,2)', '1', 'v')"#,
                vec![r#"I|(k,p,v) values ('{"a":1}','(1,2)','v')"#],
            ),
            (r#"update t set i = '{"b":2}'"#, vec![]),
            (
                "update t set i = null, v = 'w'",
                vec![r#"U|v='w' where k='{"a":1}' and p='(1,2)'"#],
            ),
        ] {
            assert_eq!(
                logged(&mut db, statement)?,
                expected,
                "{level}: {statement}"
            );
        }
        for change in [r#"k = '{"a": 1}'"#, "p = '(1,3)'"] {
            assert_eq!(
                refusal(&mut db, &format!("update t set {change}"))?,
                "primary key update not allowed",
                "{level}: {change}"
            );
        }
        assert_eq!(
            logged(&mut db, "delete from t")?,
            [r#"D|k='{"a":1}' and p='(1,2)'"#],
            "{level}"
        );
        if level != "trigger" {
            db.batch_execute("select pgq.drop_capture('t', 'capture')")?;
        }
    }
    Ok(())
}
