//! What is written of a row: values, names, and what counts as a change.

use postgres::Client;
use testkit::{Cluster, TestResult};

use super::{capture, events, generated, logged};
use crate::support::{cluster_with_consumer, row};

#[test]
fn whole_events_are_those_of_the_documentation() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (id int primary key, txt text, val float8);
         create trigger a after insert or update or delete on t for each row execute function pgq.sqltriga('q');
         create trigger b after insert or update or delete on t for each row execute function pgq.logutriga('q');
         create trigger c after insert or update or delete on t for each row execute function pgq.jsontriga('q');
         create trigger d after truncate on t for each statement execute function pgq.sqltriga('q');
         create trigger e after truncate on t for each statement execute function pgq.logutriga('q');
         create trigger f after truncate on t for each statement execute function pgq.jsontriga('q')",
    )?;
    for (statement, expected) in [
        (
            "insert into t values (1, 'text1', null)",
            [
                "I|(id,txt,val) values ('1','text1',null)|public.t|NULL",
                "I:id|id=1&txt=text1&val|public.t|NULL",
                r#"{"op":"INSERT","table":["public","t"],"pkey":["id"]}|{"id":1,"txt":"text1","val":null}|public.t|NULL"#,
            ],
        ),
        (
            "update t set txt = null",
            [
                "U|txt=NULL where id='1'|public.t|NULL",
                "U:id|id=1&txt&val|public.t|NULL",
                r#"{"op":"UPDATE","table":["public","t"],"pkey":["id"]}|{"id":1,"txt":null,"val":null}|public.t|NULL"#,
            ],
        ),
        (
            "update t set id = id",
            [
                "U|id='1' where id='1'|public.t|NULL",
                "U:id|id=1&txt&val|public.t|NULL",
                r#"{"op":"UPDATE","table":["public","t"],"pkey":["id"]}|{"id":1,"txt":null,"val":null}|public.t|NULL"#,
            ],
        ),
        (
            "delete from t",
            [
                "D|id='1'|public.t|NULL",
                "D:id|id=1&txt&val|public.t|NULL",
                r#"{"op":"DELETE","table":["public","t"],"pkey":["id"]}|{"id":1,"txt":null,"val":null}|public.t|NULL"#,
            ],
        ),
        (
            "truncate t",
            [
                "R||public.t|NULL",
                "R||public.t|NULL",
                r#"{"op":"TRUNCATE","table":["public","t"],"pkey":["id"]}|{}|public.t|NULL"#,
            ],
        ),
    ] {
        db.batch_execute(statement)?;
        assert_eq!(events(&mut db)?, expected, "{statement}");
    }
    Ok(())
}

/// Type of the column, SQL value, then its text in partial SQL, url-encoded and JSON.
const VALUES: &[[&str; 5]] = &[
    ["bool", "true", "'t'", "t", "true"],
    ["bool", "false", "'f'", "f", "false"],
    [
        "int8",
        "9223372036854775807",
        "'9223372036854775807'",
        "9223372036854775807",
        "9223372036854775807",
    ],
    ["int2", "-32768", "'-32768'", "-32768", "-32768"],
    ["numeric", "'NaN'", "'NaN'", "NaN", "\"NaN\""],
    [
        "numeric",
        "'Infinity'",
        "'Infinity'",
        "Infinity",
        "\"Infinity\"",
    ],
    [
        "numeric",
        "0.0000000001",
        "'0.0000000001'",
        "0.0000000001",
        "\"0.0000000001\"",
    ],
    ["float4", "1.5e20", "'1.5e+20'", "1.5e%2b20", "\"1.5e+20\""],
    ["float8", "'-0'", "'-0'", "-0", "\"-0\""],
    ["char(6)", "'ab'", "'ab    '", "ab++++", "\"ab    \""],
    [
        "text",
        "E'it''s \\\\ back\\nnl\\ttab é€😀 \"dq\"'",
        "E'it''s \\\\ back\nnl\ttab é€😀 \"dq\"'",
        "it%27s+%5c+back%0anl%09tab+%c3%a9%e2%82%ac%f0%9f%98%80+%22dq%22",
        r#""it's \\ back\nnl\ttab é€😀 \"dq\"""#,
    ],
    ["text", "''", "''", "", "\"\""],
    ["text", "'NULL'", "'NULL'", "NULL", "\"NULL\""],
    [
        "text",
        "'a&b=c%d+e~*!''()/:;<>?@[]^`{|}#$,-_.'",
        "'a&b=c%d+e~*!''()/:;<>?@[]^`{|}#$,-_.'",
        "a%26b%3dc%25d%2be%7e%2a%21%27%28%29%2f%3a%3b%3c%3e%3f%40%5b%5d%5e%60%7b%7c%7d%23%24%2c-_.",
        "\"a&b=c%d+e~*!'()/:;<>?@[]^`{|}#$,-_.\"",
    ],
    [
        "text",
        "chr(1) || chr(31) || chr(127)",
        "'\u{1}\u{1f}\u{7f}'",
        "%01%1f%7f",
        "\"\\u0001\\u001f\u{7f}\"",
    ],
    [
        "bytea",
        r"'\x00ff5c27'",
        r"E'\\x00ff5c27'",
        "%5cx00ff5c27",
        r#""\\x00ff5c27""#,
    ],
    [
        "int[]",
        "'{1,NULL,3}'",
        "'{1,NULL,3}'",
        "%7b1%2cNULL%2c3%7d",
        "\"{1,NULL,3}\"",
    ],
    ["bool[]", "'{true}'", "'{t}'", "%7bt%7d", "\"{t}\""],
    [
        "text[]",
        r#"array['a b', 'q"uo\te', null, 'NULL']"#,
        r#"E'{"a b","q\\"uo\\\\te",NULL,"NULL"}'"#,
        "%7b%22a+b%22%2c%22q%5c%22uo%5c%5cte%22%2cNULL%2c%22NULL%22%7d",
        r#""{\"a b\",\"q\\\"uo\\\\te\",NULL,\"NULL\"}""#,
    ],
    [
        "pair",
        "(1, 'x, \"y\"')",
        r#"'(1,"x, ""y""")'"#,
        "%281%2c%22x%2c+%22%22y%22%22%22%29",
        r#""(1,\"x, \"\"y\"\"\")""#,
    ],
    ["pair", "row(null, null)", "'(,)'", "%28%2c%29", "\"(,)\""],
    [
        "timestamp",
        "'2020-01-02 03:04:05.678901'",
        "'2020-01-02 03:04:05.678901'",
        "2020-01-02+03%3a04%3a05.678901",
        "\"2020-01-02T03:04:05.678901\"",
    ],
    [
        "timestamptz",
        "'2020-01-02 03:04:05.6+02'",
        "'2020-01-02 01:04:05.6+00'",
        "2020-01-02+01%3a04%3a05.6%2b00",
        "\"2020-01-02T01:04:05.6+00:00\"",
    ],
    [
        "timestamptz",
        "'infinity'",
        "'infinity'",
        "infinity",
        "\"infinity\"",
    ],
    [
        "date",
        "'0044-03-15 BC'",
        "'0044-03-15 BC'",
        "0044-03-15+BC",
        "\"0044-03-15 BC\"",
    ],
    [
        "timetz",
        "'03:04:05+02'",
        "'03:04:05+02'",
        "03%3a04%3a05%2b02",
        "\"03:04:05+02\"",
    ],
    [
        "interval",
        "'1 day 2:03:04'",
        "'1 day 02:03:04'",
        "1+day+02%3a03%3a04",
        "\"1 day 02:03:04\"",
    ],
    [
        "json",
        r#"'{"a": "b\\n\"", "n" :1.0}'"#,
        r#"E'{"a": "b\\\\n\\"", "n" :1.0}'"#,
        "%7b%22a%22%3a+%22b%5c%5cn%5c%22%22%2c+%22n%22+%3a1.0%7d",
        r#""{\"a\": \"b\\\\n\\\"\", \"n\" :1.0}""#,
    ],
    [
        "jsonb",
        r#"'{"b":1,"a":"é"}'"#,
        r#"'{"a": "é", "b": 1}'"#,
        "%7b%22a%22%3a+%22%c3%a9%22%2c+%22b%22%3a+1%7d",
        r#""{\"a\": \"é\", \"b\": 1}""#,
    ],
    [
        "uuid",
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"",
    ],
    [
        "label",
        "'it''s \"quoted\"'",
        "'it''s \"quoted\"'",
        "it%27s+%22quoted%22",
        r#""it's \"quoted\"""#,
    ],
    [
        "inet",
        "'192.168.1.5'",
        "'192.168.1.5'",
        "192.168.1.5",
        "\"192.168.1.5\"",
    ],
    [
        "cidr",
        "'10.0.0.0/8'",
        "'10.0.0.0/8'",
        "10.0.0.0%2f8",
        "\"10.0.0.0/8\"",
    ],
    [
        "point",
        "'(1.5,2)'",
        "'(1.5,2)'",
        "%281.5%2c2%29",
        "\"(1.5,2)\"",
    ],
    ["money", "12.34", "'$12.34'", "%2412.34", "\"$12.34\""],
    [
        "int4range",
        "'[1,5)'",
        "'[1,5)'",
        "%5b1%2c5%29",
        "\"[1,5)\"",
    ],
    [
        "tsvector",
        "'b a:1'",
        "'''a'':1 ''b'''",
        "%27a%27%3a1+%27b%27",
        "\"'a':1 'b'\"",
    ],
    ["whole", "5", "'5'", "5", "\"5\""],
    ["answer", "true", "'t'", "t", "\"t\""],
    [
        "list",
        "'{1,NULL,3}'",
        "'{1,NULL,3}'",
        "%7b1%2cNULL%2c3%7d",
        "\"{1,NULL,3}\"",
    ],
    [
        "xml",
        "'<a>&amp;</a>'",
        "'<a>&amp;</a>'",
        "%3ca%3e%26amp%3b%3c%2fa%3e",
        "\"<a>&amp;</a>\"",
    ],
    ["text", "null", "null", "", "null"],
];

/// Creates the types of [`VALUES`]; returns what the server can do of these.
pub(super) fn types(db: &mut Client) -> TestResult<Vec<[&'static str; 5]>> {
    db.batch_execute(
        "set timezone = 'UTC'; set lc_monetary = 'C';
         create type pair as (a int, b text);
         create type label as enum ('it''s \"quoted\"');
         create domain whole as int; create domain answer as bool; create domain list as int[]",
    )?;
    let monetary = row(db, "select 12.34::money::text = '$12.34'")? == "t";
    // A server may be built without it.
    let xml = db.simple_query("select '<a/>'::xml").is_ok();
    let there = |[kind, ..]: &&[&str; 5]| (*kind != "money" || monetary) && (*kind != "xml" || xml);
    Ok(VALUES.iter().filter(there).copied().collect())
}

#[test]
fn values_of_every_type_are_written_as_their_output_functions_do() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    for [kind, value, sql, url, json] in types(&mut db)? {
        db.batch_execute(&format!(
            "drop table if exists v; create table v (id int primary key, c {kind})"
        ))?;
        let insert = format!("delete from v; insert into v values (1, {value}); ");
        capture(&mut db, "v", "sqltriga", "'q'")?;
        assert_eq!(
            logged(&mut db, &insert)?,
            [format!("I|(id,c) values ('1',{sql})")],
            "{kind} {value}"
        );
        let update = format!(
            "alter table v disable trigger capture; update v set c = null; \
                              alter table v enable trigger capture; update v set c = {value}"
        );
        let expected = if value == "null" {
            "id='1'".to_owned()
        } else {
            format!("c={sql}")
        };
        assert_eq!(
            logged(&mut db, &update)?,
            [format!("U|{expected} where id='1'")],
            "{kind} {value}"
        );
        db.batch_execute("truncate v")?;
        capture(&mut db, "v", "logutriga", "'q'")?;
        let pair = if value == "null" {
            "c".to_owned()
        } else {
            format!("c={url}")
        };
        assert_eq!(
            logged(&mut db, &insert)?,
            [format!("I:id|id=1&{pair}")],
            "{kind} {value}"
        );
        db.batch_execute("truncate v")?;
        capture(&mut db, "v", "jsontriga", "'q'")?;
        assert_eq!(
            logged(&mut db, &insert)?,
            [format!(
                "{{\"op\":\"INSERT\",\"table\":[\"public\",\"v\"],\"pkey\":[\"id\"]}}|{{\"id\":1,\"c\":{json}}}"
            )],
            "{kind} {value}"
        );
    }
    Ok(())
}

#[test]
fn values_as_keys_find_the_old_row() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table k (b text, n int, a char(4), primary key (a, b))")?;
    capture(&mut db, "k", "sqltriga", "'q'")?;
    assert_eq!(
        logged(
            &mut db,
            r"insert into k values ('it''s \', 1, 'x'); update k set n = 2; delete from k"
        )?,
        [
            r"I|(b,n,a) values (E'it''s \\','1','x   ')",
            r"U|n='2' where b=E'it''s \\' and a='x   '",
            r"D|b=E'it''s \\' and a='x   '",
        ]
    );
    // The key in the order of its index, the row in that of the table.
    capture(&mut db, "k", "logutriga", "'q'")?;
    assert_eq!(
        logged(&mut db, "insert into k values ('b', null, 'a')")?,
        ["I:a,b|b=b&n&a=a+++"]
    );
    Ok(())
}

#[test]
fn names_are_quoted_where_the_server_would() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        r#"create schema "My.Schema";
           create table "My.Schema"."T b&l" ("Mixed Case" int primary key, "select" int, name int, "a=b" int,
               "é" int, "a""q" int, "1x" int, _u int, "a b,c" int)"#,
    )?;
    let table = "\"My.Schema\".\"T b&l\"";
    capture(&mut db, table, "sqltriga", "'q'")?;
    db.batch_execute(&format!(
        "insert into {table} values (1, 2, 3, 4, 5, 6, 7, 8, 9)"
    ))?;
    assert_eq!(
        events(&mut db)?,
        [
            r#"I|("Mixed Case","select",name,"a=b","é","a""q","1x",_u,"a b,c") values ('1','2','3','4','5','6','7','8','9')|My.Schema.T b&l|NULL"#
        ]
    );
    assert_eq!(
        logged(
            &mut db,
            &format!("update {table} set \"select\" = 0, \"é\" = null")
        )?,
        [r#"U|"select"='0',"é"=NULL where "Mixed Case"='1'"#]
    );
    capture(&mut db, table, "logutriga", "'q'")?;
    assert_eq!(
        logged(&mut db, &format!("delete from {table}"))?,
        ["D:Mixed Case|Mixed+Case=1&select=0&name=3&a%3db=4&%c3%a9&a%22q=6&1x=7&_u=8&a+b%2cc=9"]
    );
    capture(
        &mut db,
        table,
        "jsontriga",
        "'q', 'ignore=select,name,1x,_u'",
    )?;
    assert_eq!(
        logged(&mut db, &format!("insert into {table} values (1)"))?,
        [
            r#"{"op":"INSERT","table":["My.Schema","T b&l"],"pkey":["Mixed Case"]}|{"Mixed Case":1,"a=b":null,"é":null,"a\"q":null,"a b,c":null}"#
        ]
    );
    Ok(())
}

#[test]
fn bytes_of_other_encodings_are_encoded_as_they_are() -> TestResult {
    let cluster = Cluster::start()?;
    for (encoding, insert, expected) in [
        ("LATIN1", "chr(233)", "%e9"),
        (
            "SQL_ASCII",
            r"convert_from('\xe9ff27'::bytea, 'SQL_ASCII')",
            "%e9%ff%27",
        ),
    ] {
        let name = encoding.to_lowercase();
        cluster.connect("postgres")?.batch_execute(&format!(
            "create database {name} template template0 encoding '{encoding}' locale 'C'"
        ))?;
        let mut db = cluster.connect(&name)?;
        crate::support::run_scripts(&mut db)?;
        db.batch_execute(
            "select pgq.create_queue('q'); create table t (id int primary key, c text)",
        )?;
        capture(&mut db, "t", "logutriga", "'q'")?;
        assert_eq!(
            logged(&mut db, &format!("insert into t values (1, {insert})"))?,
            [format!("I:id|id=1&c={expected}")]
        );
    }
    Ok(())
}

#[test]
fn only_what_the_type_calls_a_change_is_one_unless_text_is_asked_for() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create domain price as numeric;
         create type amount as (n numeric);
         create type doc as (j json);
         create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    )?;
    let citext = db.batch_execute("create extension citext").is_ok();
    for (kind, old, new, by_equality, by_text) in [
        ("citext", "'a'", "'A'", false, true),
        ("citext", "'a'", "'b'", true, true),
        ("numeric", "1.0", "1.00", false, true),
        ("numeric", "1", "2", true, true),
        ("float8", "0", "'-0'", false, true),
        ("float8", "'NaN'", "'NaN'", false, false),
        ("price", "1.0", "1.00", false, true),
        ("interval", "'24 hours'", "'1 day'", false, true),
        ("jsonb", "'{\"a\":1}'", "'{\"a\": 1}'", false, false),
        ("jsonb", "'1.0'", "'1.00'", false, true),
        ("json", "'{\"a\":1}'", "'{\"a\": 1}'", true, true),
        ("json", "'1'", "'1'", false, false),
        ("int[]", "'{1,2}'", "'[0:1]={1,2}'", true, true),
        ("numeric[]", "'{1.0}'", "'{1.00}'", true, true),
        ("text", "'a'", "'A'", true, true),
        ("text collate nocase", "'a'", "'A'", false, true),
        ("amount", "row(1.0)", "row(1.00)", false, true),
        ("amount", "row(null)", "row(null)", false, false),
        ("amount", "row(null)", "null", true, true),
        ("doc", "row('1')", "row(' 1')", true, true),
        ("point", "'(1,2)'", "'(1,3)'", true, true),
        ("box", "'(1,1),(0,0)'", "'(2,1),(1,0)'", true, true),
        ("text", "null", "''", true, true),
        ("text", "''", "null", true, true),
        ("text", "null", "null", false, false),
        ("varchar", "'x'", "'y'", true, true),
        ("char", "'x'", "'y'", true, true),
        ("bpchar", "'x'", "'x '", false, true),
        ("inet", "'10.0.0.1'", "'10.0.0.2'", true, true),
    ] {
        if kind == "citext" && !citext {
            continue;
        }
        db.batch_execute(&format!(
            "drop table if exists v; create table v (id int primary key, c {kind});
             insert into v values (1, {old})"
        ))?;
        for (arguments, changed) in [
            ("'q'", by_equality),
            ("'q', 'changes=equal'", by_equality),
            ("'q', 'changes=text', 'settings=pinned'", by_text),
        ] {
            match arguments {
                "'q'" => capture(&mut db, "v", "sqltriga", arguments)?,
                _ => generated(&mut db, "v", arguments)?,
            }
            let lines = logged(&mut db, &format!("begin; update v set c = {new}; select 1"))?;
            db.batch_execute("rollback")?;
            assert_eq!(lines.len(), 1);
            assert_eq!(
                lines[0].starts_with("U|c="),
                changed,
                "{kind} {old} -> {new} with {arguments}: {lines:?}"
            );
            assert!(changed || lines[0] == "U|id='1' where id='1'", "{lines:?}");
        }
    }
    Ok(())
}

#[test]
fn pinned_settings_make_the_text_independent_of_the_writer() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table v (id int primary key, t timestamptz, d date, i interval, f float8, b bytea);
         set datestyle = 'SQL, DMY'; set timezone = 'America/New_York'; set intervalstyle = 'iso_8601';
         set extra_float_digits = -5; set bytea_output = 'escape'",
    )?;
    let insert = r"insert into v values (1, '2020-12-31 12:00:00+00', '31/12/2020', 'P1DT2H', 1.0::float8 / 3, '\x001a');
                   delete from v";
    capture(&mut db, "v", "sqltriga", "'q'")?;
    assert_eq!(
        logged(&mut db, insert)?[0],
        r"I|(id,t,d,i,f,b) values ('1','31/12/2020 07:00:00 EST','31/12/2020','P1DT2H','0.3333333333',E'\\000\\032')"
    );
    generated(&mut db, "v", "'q', 'settings=pinned'")?;
    assert_eq!(
        logged(&mut db, insert)?[0],
        r"I|(id,t,d,i,f,b) values ('1','2020-12-31 12:00:00+00','2020-12-31','1 day 02:00:00','0.3333333333333333',E'\\x001a')"
    );
    // The settings of the session are its own again.
    assert_eq!(
        row(&mut db, "select current_setting('timezone')")?,
        "America/New_York"
    );
    // JSON has its own form of times.
    capture(&mut db, "v", "jsontriga", "'q', 'ignore=i,f,b'")?;
    assert!(
        logged(&mut db, insert)?[0]
            .ends_with(r#"|{"id":1,"t":"2020-12-31T07:00:00-05:00","d":"2020-12-31"}"#)
    );
    // Standard strings or not, the literal is the same.
    generated(&mut db, "v", "'q', 'ignore=t,d,i,f', 'settings=pinned'")?;
    db.batch_execute("set standard_conforming_strings = off; set escape_string_warning = off")?;
    assert_eq!(
        logged(&mut db, r"insert into v (id, b) values (1, '\\x5c')")?,
        [r"I|(id,b) values ('1',E'\\x5c')"]
    );
    Ok(())
}
