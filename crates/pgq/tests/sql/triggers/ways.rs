//! What all ways to capture have in common: triggers made by hand, and captures of every level.

use std::io::Write as _;

use postgres::Client;
use testkit::TestResult;

use super::{capture, changes, events, values};
use crate::support::cluster_with_consumer;

/// Format, and the function of triggers that are made by hand.
const FORMATS: &[(&str, &str)] = &[
    ("sql", "sqltriga"),
    ("urlenc", "logutriga"),
    ("json", "jsontriga"),
];

/// Levels of captures; without one the trigger is made by hand.
const LEVELS: &[&str] = &["", "generic", "row", "statement"];

/// Captures a table in place of how it was captured.
fn capture_as(db: &mut Client, table: &str, format: &str, level: &str, more: &str) -> TestResult {
    release(db, table)?;
    let arguments = format!("'q'{more}");
    if level.is_empty() {
        let function = FORMATS.iter().find(|(name, _)| *name == format);
        return capture(db, table, function.ok_or("a format")?.1, &arguments);
    }
    db.batch_execute(&format!(
        "select pgq.create_capture('{table}', 'capture', '{format}', '{level}', array[{arguments}])"
    ))?;
    Ok(())
}

fn release(db: &mut Client, table: &str) -> TestResult {
    db.batch_execute(&format!(
        "select pgq.drop_capture('{table}', 'capture'); drop trigger if exists capture on {table}"
    ))?;
    Ok(())
}

/// What a format logs as an INSERT, an UPDATE from nulls, and a DELETE of the row `id = 1` of the table `v`, of whose
/// columns the name and the value in each format are known.
fn of_a_row(format: &str, columns: &[(String, [String; 3])]) -> [String; 3] {
    let joined = |pieces: Vec<String>, between: &str| pieces.join(between);
    match format {
        "sql" => {
            let names = columns.iter().map(|(name, _)| format!(",{name}")).collect();
            let values = columns.iter().map(|(_, [sql, ..])| format!(",{sql}"));
            let set = columns
                .iter()
                .filter(|(_, [sql, ..])| sql != "null")
                .map(|(name, [sql, ..])| format!("{name}={sql}"));
            [
                format!(
                    "I|(id{}) values ('1'{})",
                    joined(names, ""),
                    joined(values.collect(), "")
                ),
                format!("U|{} where id='1'", joined(set.collect(), ",")),
                "D|id='1'".to_owned(),
            ]
        }
        "urlenc" => {
            let pairs = columns
                .iter()
                .map(|(name, [sql, url, _])| match sql.as_str() {
                    "null" => format!("&{name}"),
                    _ => format!("&{name}={url}"),
                });
            let row = joined(pairs.collect(), "");
            ["I", "U", "D"].map(|op| format!("{op}:id|id=1{row}"))
        }
        _ => {
            let pairs = columns
                .iter()
                .map(|(name, [.., json])| format!(",\"{name}\":{json}"));
            let row = joined(pairs.collect(), "");
            ["INSERT", "UPDATE", "DELETE"].map(|op| {
                format!(r#"{{"op":"{op}","table":["public","v"],"pkey":["id"]}}|{{"id":1{row}}}"#)
            })
        }
    }
}

#[test]
fn every_type_is_inserted_updated_and_deleted_alike() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let types = values::types(&mut db)?;
    let list = |piece: &dyn Fn(usize, &[&str; 5]) -> String| -> String {
        let pieces = types
            .iter()
            .enumerate()
            .map(|(place, line)| piece(place, line));
        pieces.collect::<Vec<_>>().join(", ")
    };
    db.batch_execute(&format!(
        "create table v (id int primary key, {})",
        list(&|place, [kind, ..]| format!("c{place} {kind}"))
    ))?;
    let dml = format!(
        "insert into v values (1, {values});
         set session_replication_role = local; update v set {nulls}; reset session_replication_role;
         update v set {set}; delete from v",
        values = list(&|_, [_, value, ..]| (*value).to_owned()),
        nulls = list(&|place, _| format!("c{place} = null")),
        set = list(&|place, [_, value, ..]| format!("c{place} = {value}"))
    );
    let columns: Vec<(String, [String; 3])> = types
        .iter()
        .enumerate()
        .map(|(place, [_, _, texts @ ..])| (format!("c{place}"), texts.map(str::to_owned)))
        .collect();
    for (format, _) in FORMATS {
        let expected = of_a_row(format, &columns);
        for level in LEVELS {
            capture_as(&mut db, "v", format, level, "")?;
            db.batch_execute(&dml)
                .map_err(|error| format!("{format}, {level}: {error:?}"))?;
            assert_eq!(changes(&mut db)?, expected, "{format}, {level:?}");
        }
    }
    // Each as a part of the key: values are written there like all others.
    let keys: Vec<&(String, [String; 3])> = columns
        .iter()
        .filter(|(_, [sql, ..])| sql != "null")
        .collect();
    let names: Vec<&str> = keys.iter().map(|(name, _)| name.as_str()).collect();
    let condition: Vec<String> = keys
        .iter()
        .map(|(name, [sql, ..])| format!("{name}={sql}"))
        .collect();
    let condition = condition.join(" and ");
    for level in LEVELS {
        let more = format!(", 'pkey={}'", names.join(","));
        capture_as(&mut db, "v", "sql", level, &more)?;
        db.batch_execute(&format!(
            "insert into v values (1, {}); update v set id = 2; delete from v",
            list(&|_, [_, value, ..]| (*value).to_owned())
        ))?;
        assert_eq!(
            changes(&mut db)?[1..],
            [
                format!("U|id='2' where {condition}"),
                format!("D|{condition}")
            ],
            "{level:?}"
        );
    }
    Ok(())
}

#[test]
fn every_control_character_is_written_as_its_format_wants() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    let signs: Vec<u8> = (1..=31).chain([127]).collect();
    let texts = |bytes: &[u8]| -> [String; 3] {
        let mut all = [String::from("'"), String::new(), String::from("\"")];
        for byte in bytes {
            let sign = char::from(*byte);
            all[0].push(sign);
            all[1].push_str(&format!("%{byte:02x}"));
            match sign {
                '\u{8}' => all[2].push_str("\\b"),
                '\t' => all[2].push_str("\\t"),
                '\n' => all[2].push_str("\\n"),
                '\u{c}' => all[2].push_str("\\f"),
                '\r' => all[2].push_str("\\r"),
                '\u{7f}' => all[2].push(sign),
                _ => all[2].push_str(&format!("\\u{byte:04x}")),
            }
        }
        all[0].push('\'');
        all[2].push('"');
        all
    };
    // Each alone, and all in one.
    let mut columns: Vec<(String, [String; 3])> = signs
        .iter()
        .map(|sign| (format!("c{sign}"), texts(&[*sign])))
        .collect();
    columns.push(("every".to_owned(), texts(&signs)));
    let characters: Vec<String> = signs.iter().map(|sign| format!("chr({sign})")).collect();
    let values = format!("{}, {}", characters.join(", "), characters.join(" || "));
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    db.batch_execute(&format!(
        "create table v (id int primary key, {} text)",
        names.join(" text, ")
    ))?;
    for (format, _) in FORMATS {
        let expected = of_a_row(format, &columns);
        for level in LEVELS {
            capture_as(&mut db, "v", format, level, "")?;
            db.batch_execute(&format!(
                "insert into v values (1, {values});
                 set session_replication_role = local; update v set {} = null; reset session_replication_role;
                 update v set ({}) = row({values}); delete from v",
                names.join(" = null, "),
                names.join(", ")
            ))?;
            assert_eq!(changes(&mut db)?, expected, "{format}, {level:?}");
        }
    }
    Ok(())
}

#[test]
fn tables_of_half_the_arguments_of_a_function_are_captured() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    for width in [49, 50, 51] {
        let names: Vec<String> = (1..=width).map(|place| format!("c{place}")).collect();
        let columns: Vec<(String, [String; 3])> = names
            .iter()
            .enumerate()
            .map(|(place, name)| {
                let texts = [format!("'{place}'"), place.to_string(), place.to_string()];
                (name.clone(), texts)
            })
            .collect();
        let numbers: Vec<String> = (0..width).map(|place| place.to_string()).collect();
        let numbers = numbers.join(", ");
        db.batch_execute(&format!(
            "drop table if exists v; create table v (id int primary key, {} int)",
            names.join(" int, ")
        ))?;
        for (format, _) in FORMATS {
            let expected = of_a_row(format, &columns);
            for level in LEVELS {
                capture_as(&mut db, "v", format, level, "")?;
                db.batch_execute(&format!(
                    "insert into v values (1, {numbers});
                     set session_replication_role = local; update v set {} = null; reset session_replication_role;
                     update v set ({}) = row({numbers}); delete from v",
                    names.join(" = null, "),
                    names.join(", ")
                ))?;
                assert_eq!(changes(&mut db)?, expected, "{width}, {format}, {level:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn statements_of_every_kind_are_logged_at_every_level() -> TestResult {
    let (cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (id int primary key, a text);
         create table u (like t including all);
         create table p (like t including all) partition by range (id);
         create table p1 partition of p for values from (0) to (10);
         create table p2 partition of p for values from (10) to (20);
         create table parent (id int primary key);
         create table child (id int primary key, parent int references parent on delete set null on update cascade);
         create table tree (id int primary key, above int references tree on delete cascade)",
    )?;
    for level in LEVELS {
        for table in ["t", "u", "p", "child", "tree"] {
            capture_as(&mut db, table, "sql", level, "")?;
        }
        if matches!(*level, "row" | "statement") {
            capture_as(&mut db, "parent", "sql", level, ", 'key_updates=log'")?;
        } else {
            capture(&mut db, "parent", "logtriga", "'q', 'k'")?;
        }
        let by_statements = *level == "statement";
        let mut expect = |statement: &str, expected: &[&str]| -> TestResult {
            db.batch_execute(statement)?;
            let lines = changes(&mut db)?;
            assert_eq!(lines, expected, "{level:?}: {statement}");
            Ok(())
        };
        // The rows of a statement: in their order, or by what was done to them.
        expect(
            "insert into t values (1, 'x'), (2, 'y')",
            &["I|(id,a) values ('1','x')", "I|(id,a) values ('2','y')"],
        )?;
        let [first, updated, last] = [
            "I|(id,a) values ('8','n')",
            "U|a='c' where id='2'",
            "I|(id,a) values ('9','m')",
        ];
        expect(
            "insert into t values (8, 'n'), (2, 'c'), (9, 'm') on conflict (id) do update set a = excluded.a",
            &match by_statements {
                false => [first, updated, last],
                true => [updated, first, last],
            },
        )?;
        if cluster.major() >= 15 {
            let [updated, deleted, inserted] = [
                "U|a='new' where id='2'",
                "D|id='8'",
                "I|(id,a) values ('7','more')",
            ];
            expect(
                "merge into t using (values (2, 'new'), (8, null), (7, 'more')) v (id, a) on t.id = v.id
                 when matched and v.a is null then delete
                 when matched then update set a = v.a
                 when not matched then insert values (v.id, v.a)",
                &match by_statements {
                    false => [updated, deleted, inserted],
                    true => [deleted, updated, inserted],
                },
            )?;
        }
        // What a foreign key does comes behind its cause.
        expect(
            "insert into parent values (1); insert into child values (5, 1), (6, 1)",
            &[
                "I|(id) values ('1')",
                "I|(id,parent) values ('5','1')",
                "I|(id,parent) values ('6','1')",
            ],
        )?;
        expect(
            "update parent set id = 2",
            &[
                "U|id='2' where id='1'",
                "U|parent='2' where id='5'",
                "U|parent='2' where id='6'",
            ],
        )?;
        expect(
            "delete from parent",
            &[
                "D|id='2'",
                "U|parent=NULL where id='5'",
                "U|parent=NULL where id='6'",
            ],
        )?;
        expect(
            "insert into tree values (1, null), (2, 1), (3, 2)",
            &[
                "I|(id,above) values ('1',null)",
                "I|(id,above) values ('2','1')",
                "I|(id,above) values ('3','2')",
            ],
        )?;
        expect(
            "delete from tree where id = 1",
            &["D|id='1'", "D|id='2'", "D|id='3'"],
        )?;
        // Partitions.
        expect(
            "insert into p values (1, 'x'), (12, 'y'); update p set id = 2 where id = 12;
             insert into p values (1, 'z'), (13, 'w') on conflict (id) do update set a = excluded.a",
            &[
                "I|(id,a) values ('1','x')",
                "I|(id,a) values ('12','y')",
                "D|id='12'",
                "I|(id,a) values ('2','y')",
                "U|a='z' where id='1'",
                "I|(id,a) values ('13','w')",
            ],
        )?;
        // Several tables in one statement, in the order in which these are done with.
        db.batch_execute(
            "with moved as (delete from t where id = 1 returning *) insert into u select * from moved",
        )?;
        let mut lines = events(&mut db)?;
        lines.sort();
        assert_eq!(
            lines,
            [
                "D|id='1'|public.t|NULL",
                "I|(id,a) values ('1','x')|public.u|NULL"
            ],
            "{level:?}"
        );
        for table in ["t", "p"] {
            let mut copy = db.copy_in(&format!("copy {table} from stdin"))?;
            copy.write_all(b"3\ta\\\\b\n14\t\\N\n")?;
            assert_eq!(copy.finish()?, 2);
            assert_eq!(
                changes(&mut db)?,
                [
                    r"I|(id,a) values ('3',E'a\\b')",
                    "I|(id,a) values ('14',null)"
                ],
                "{level:?}: {table}"
            );
        }
        db.batch_execute("truncate t, u, p, parent, child, tree")?;
    }
    Ok(())
}
