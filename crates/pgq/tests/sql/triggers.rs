//! What the capture triggers write, byte by byte.

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::support::{cluster, cluster_with_consumer, install, refusal, row, rows};

/// What the event fields are read with: events of `pgq` since the last call.
fn events(db: &mut Client) -> TestResult<Vec<String>> {
    let events = rows(
        db,
        "select ev_type, ev_data, ev_extra1, ev_extra2 from pgq.event_template order by ev_id",
    )?;
    db.batch_execute("truncate pgq.event_1_0")?;
    Ok(events)
}

/// As [`events`], the type and the data only.
fn changes(db: &mut Client) -> TestResult<Vec<String>> {
    let lines = rows(
        db,
        "select ev_type, ev_data from pgq.event_template order by ev_id",
    )?;
    db.batch_execute("truncate pgq.event_1_0")?;
    Ok(lines)
}

/// Runs statements and returns what they logged.
fn logged(db: &mut Client, sql: &str) -> TestResult<Vec<String>> {
    db.simple_query(sql)
        .map_err(|error| format!("{sql}: {error:?}"))?;
    changes(db)
}

/// Replaces the trigger of a table.
fn capture(db: &mut Client, table: &str, function: &str, arguments: &str) -> TestResult {
    db.batch_execute(&format!(
        "drop trigger if exists capture on {table};
         create trigger capture after insert or update or delete on {table}
             for each row execute function pgq.{function}({arguments})"
    ))?;
    Ok(())
}

/// A generated capture in place of the trigger.
fn generated(db: &mut Client, table: &str, arguments: &str) -> TestResult {
    db.batch_execute(&format!(
        "select pgq.create_capture('{table}', 'capture', 'sql', 'row', array[{arguments}])"
    ))?;
    Ok(())
}

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
    ["text", "null", "null", "", "null"],
];

#[test]
fn values_of_every_type_are_written_as_their_output_functions_do() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "set timezone = 'UTC'; set lc_monetary = 'C';
         create type pair as (a int, b text);
         create type label as enum ('it''s \"quoted\"');
         create domain whole as int; create domain answer as bool",
    )?;
    let monetary = row(&mut db, "select 12.34::money::text = '$12.34'")? == "t";
    for [kind, value, sql, url, json] in VALUES {
        if *kind == "money" && !monetary {
            continue;
        }
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
        let expected = if *value == "null" {
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
        let pair = if *value == "null" {
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
    for (kind, old, new, by_equality, by_text) in [
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
    for width in [46, 101, 1000] {
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
fn before_triggers_return_the_row_or_suppress_it() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key, v int)")?;
    let before = |db: &mut Client, arguments: &str| -> TestResult {
        db.batch_execute(&format!(
            "drop trigger if exists capture on t;
             create trigger capture before insert or update or delete on t
                 for each row execute function pgq.sqltriga('q'{arguments})"
        ))?;
        Ok(())
    };
    before(&mut db, "")?;
    assert_eq!(
        logged(&mut db, "insert into t values (1, 1), (2, 2); update t set v = 5 where id = 1; delete from t where id = 2")?
            .len(),
        4
    );
    assert_eq!(rows(&mut db, "select * from t")?, ["1|5"]);

    before(&mut db, ", 'SKIP'")?;
    assert_eq!(
        logged(
            &mut db,
            "insert into t values (3, 3); update t set v = 6; delete from t"
        )?,
        [
            "I|(id,v) values ('3','3')",
            "U|v='6' where id='1'",
            "D|id='1'"
        ]
    );
    assert_eq!(rows(&mut db, "select * from t")?, ["1|5"]);
    // Suppressed also when there is no event; in local role nothing is.
    before(&mut db, ", 'SKIP', 'when=false'")?;
    assert!(logged(&mut db, "insert into t values (4, 4)")?.is_empty());
    assert_eq!(rows(&mut db, "select * from t")?, ["1|5"]);
    assert!(
        logged(&mut db, "set session_replication_role = local; insert into t values (4, 4); reset session_replication_role")?
            .is_empty()
    );
    assert_eq!(rows(&mut db, "select * from t order by 1")?, ["1|5", "4|4"]);
    capture(&mut db, "t", "sqltriga", "'q', 'SKIP'")?;
    assert_eq!(
        refusal(&mut db, "delete from t")?,
        "SKIP does not work in AFTER trigger."
    );
    Ok(())
}

#[test]
fn roles_of_replication_decide_whether_a_trigger_logs() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key)")?;
    capture(&mut db, "t", "sqltriga", "'q'")?;
    for (enable, role, count) in [
        ("enable", "origin", 1),
        ("enable", "local", 0),
        ("enable", "replica", 0),
        ("enable always", "local", 0),
        ("enable always", "replica", 1),
        ("enable replica", "origin", 0),
        ("enable replica", "replica", 1),
    ] {
        let lines = logged(
            &mut db,
            &format!(
                "alter table t {enable} trigger capture; set session_replication_role = {role}; \
                 insert into t values (1); reset session_replication_role"
            ),
        )?;
        assert_eq!(lines.len(), count, "{enable} {role}");
        db.batch_execute("alter table t disable trigger capture; truncate t")?;
    }
    Ok(())
}

#[test]
fn a_trigger_that_denies_refuses_every_change() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key); insert into t values (1)")?;
    capture(&mut db, "t", "sqltriga", "'nowhere', 'deny'")?;
    db.batch_execute(
        "create trigger cut before truncate on t for each statement execute function pgq.logutriga('nowhere', 'deny')",
    )?;
    for (statement, op) in [
        ("insert into t values (2)", "INSERT"),
        ("update t set id = 1", "UPDATE"),
        ("delete from t", "DELETE"),
        ("truncate t", "TRUNCATE"),
    ] {
        assert_eq!(
            refusal(&mut db, statement)?,
            format!("Table 'public.t' to queue 'nowhere': change not allowed ({op})")
        );
    }
    db.batch_execute("set session_replication_role = local; delete from t")?;
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
    // A key that is null cannot find its row.
    capture(&mut db, "t", "logtriga", "'q', 'vik'")?;
    assert_eq!(
        logged(&mut db, "update t set dat2 = null")?,
        ["U|dat2=NULL where dat2='c'"]
    );
    assert_eq!(
        refusal(&mut db, "delete from t")?,
        "logtriga: Unexpected NULL key value"
    );
    Ok(())
}

#[test]
fn partitions_cascades_and_conflicts_are_logged_as_they_happen() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table p (id int primary key, v int) partition by range (id);
         create table p1 partition of p for values from (0) to (10);
         create table p2 (v int, id int not null);
         alter table p attach partition p2 for values from (10) to (20);
         create table parent (id int primary key);
         create table child (id int primary key, parent int references parent on delete cascade)",
    )?;
    for table in ["p", "parent", "child"] {
        capture(&mut db, table, "sqltriga", "'q'")?;
    }
    db.batch_execute("insert into p values (1, 1), (11, 11); update p set id = 12 where id = 1")?;
    assert_eq!(
        events(&mut db)?,
        [
            "I|(id,v) values ('1','1')|public.p1|NULL",
            "I|(v,id) values ('11','11')|public.p2|NULL",
            "D|id='1'|public.p1|NULL",
            "I|(v,id) values ('1','12')|public.p2|NULL",
        ]
    );
    db.batch_execute("insert into parent values (1); insert into child values (5, 1)")?;
    events(&mut db)?;
    db.batch_execute("delete from parent")?;
    assert_eq!(
        events(&mut db)?,
        ["D|id='1'|public.parent|NULL", "D|id='5'|public.child|NULL"]
    );
    assert_eq!(
        logged(
            &mut db,
            "insert into parent values (1), (2) on conflict do nothing;
             insert into p values (12, 5), (13, 5) on conflict (id) do update set v = 9"
        )?,
        [
            "I|(id) values ('1')",
            "I|(id) values ('2')",
            "U|v='9' where id='12'",
            "I|(v,id) values ('5','13')",
        ]
    );
    Ok(())
}

#[test]
fn views_and_deferred_triggers_are_captured() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute(
        "create table t (id int primary key, v int); create view w as select * from t;
         create trigger capture instead of insert or update or delete on w
             for each row execute function pgq.sqltriga('q', 'pkey=id');
         create constraint trigger late after insert on t deferrable initially deferred
             for each row execute function pgq.logutriga('q')",
    )?;
    assert_eq!(
        logged(&mut db, "insert into w values (1, 2)")?,
        ["I|(id,v) values ('1','2')"]
    );
    db.batch_execute("begin; insert into t values (2, 2), (1, 1)")?;
    assert!(rows(&mut db, "select from pgq.event_template")?.is_empty());
    db.batch_execute("commit")?;
    assert_eq!(changes(&mut db)?, ["I:id|id=2&v=2", "I:id|id=1&v=1"]);
    Ok(())
}

#[test]
fn large_values_arrive_whole() -> TestResult {
    let (_cluster, mut db) = cluster_with_consumer()?;
    db.batch_execute("create table t (id int primary key, v text)")?;
    let value = r#"repeat(E'a"b\\c,d(e)f ''g', 100000)"#;
    for (function, check) in [
        (
            "sqltriga",
            format!("'(id,v) values (''1'',' || quote_literal({value}) || ')'"),
        ),
        (
            "jsontriga",
            format!("'{{\"id\":1,\"v\":' || to_json({value})::text || '}}'"),
        ),
        (
            "logutriga",
            "'id=1&v=' || repeat('a%22b%5cc%2cd%28e%29f+%27g', 100000)".to_owned(),
        ),
    ] {
        capture(&mut db, "t", function, "'q'")?;
        db.batch_execute(&format!("insert into t values (1, {value})"))?;
        assert_eq!(
            row(
                &mut db,
                &format!("select ev_data = {check} from pgq.event_template")
            )?,
            "t",
            "{function}"
        );
        db.batch_execute("truncate t, pgq.event_1_0")?;
    }
    Ok(())
}

#[test]
fn an_event_replayed_gives_the_same_row() -> TestResult {
    let (_cluster, mut db) = cluster()?;
    db.batch_execute(
        "select pgq.create_queue('q');
         create type pair as (a int, b text);
         create table src (id int primary key, t text, n numeric, f float8, b bytea, ts timestamptz, i interval,
             j jsonb, a text[], p pair, c char(5), m money);
         create table dst (like src including all)",
    )?;
    generated(
        &mut db,
        "src",
        "'q', 'ev_extra1=''public.dst''', 'key_updates=log', 'changes=text', 'settings=pinned'",
    )?;
    db.batch_execute(
        r"set datestyle = 'German'; set timezone = 'Asia/Tokyo'; set extra_float_digits = -3; set intervalstyle = 'sql_standard';
          insert into src select n, repeat(chr(n) || '\', 3), n / 3.0, n / 3.0::float8, decode(lpad(to_hex(n), 4, '0'), 'hex'),
                 timestamptz '2020-01-01' + n * interval '1 day 1.5 s', n * interval '1 day 1.5 s',
                 to_jsonb(chr(n)), array[chr(n), null, '', 'NULL'], row(n, chr(n))::pair, chr(n), n
            from generate_series(1, 300) n where n <> 32;
          update src set n = (n || '0')::numeric, id = id + 1000, t = nullif(t, repeat('a\', 3)) where id % 2 = 0;
          update src set p = row(null, null), a = '{}', f = '-0' where id % 3 = 0;
          delete from src where id % 7 = 0;
          do $$ declare r record; begin
              for r in select * from pgq.event_template order by ev_id loop
                  execute case r.ev_type when 'I' then 'insert into dst ' || r.ev_data
                                         when 'U' then 'update only dst set ' || r.ev_data
                                         else 'delete from only dst where ' || r.ev_data end;
              end loop;
          end $$",
    )?;
    assert_eq!(
        row(
            &mut db,
            "select (select count(*) from src) > 200, (select count(*) from (select src::text from src except all select dst::text from dst) x), (select count(*) from (select dst::text from dst except all select src::text from src) x)"
        )?,
        "t|0|0"
    );
    Ok(())
}

#[test]
fn capturing_needs_no_more_of_a_fresh_database_than_installing() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    db.batch_execute("select pgq.create_queue('q'); create table t (id int primary key)")?;
    capture(&mut db, "t", "sqltriga", "'q'")?;
    assert_eq!(
        logged(&mut db, "insert into t values (1)")?,
        ["I|(id) values ('1')"]
    );
    Ok(())
}
