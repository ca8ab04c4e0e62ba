use proptest::prelude::*;

use super::*;

fn read(op: Op, sql: &str) -> Result<Row<'_>, Error> {
    parse(op, sql.as_bytes(), Strings::Standard)
}

fn row<'a>(keys: Record<'a>, values: Record<'a>) -> Row<'a> {
    Row { keys, values }
}

fn none() -> Record<'static> {
    Record::default()
}

#[test]
fn an_insert_gives_values() {
    let expected = Record::from([("id", Some("7")), ("Mixed", Some("it's")), ("n", None)]);
    let sql = "(id,\"Mixed\",n) values ('7','it''s',null)";
    assert_eq!(read(Op::Insert, sql).unwrap(), row(none(), expected));
}

#[test]
fn an_update_gives_keys_and_values() {
    let sql = r"n=E'a\\b' where id='7'";
    let parsed = read(Op::Update, sql).unwrap();
    let values = Record::from([("n", Some(r"a\b"))]);
    assert_eq!(parsed, row(Record::from([("id", Some("7"))]), values));
    assert_eq!(
        parsed.merge(),
        Record::from([("n", Some(r"a\b")), ("id", Some("7"))])
    );
    let parsed = read(
        Op::Update,
        "a='1',b=NULL,a$b='x' where k='1' and \"K\"\"\"='2'",
    )
    .unwrap();
    assert_eq!(
        parsed,
        row(
            Record::from([("k", Some("1")), ("K\"", Some("2"))]),
            Record::from([("a", Some("1")), ("b", None), ("a$b", Some("x"))])
        )
    );
}

#[test]
fn a_changed_key_stays_apart_from_the_key_that_finds_the_row() {
    let parsed = read(Op::Update, "id='8' where id='7'").unwrap();
    assert_eq!(parsed.keys.get("id"), Some(Some(&b"7"[..])));
    assert_eq!(parsed.values.get("id"), Some(Some(&b"8"[..])));
    assert_eq!(parsed.merge(), Record::from([("id", Some("7"))]));
}

#[test]
fn a_delete_gives_keys() {
    let expected = Record::from([("id", Some("1")), ("k", Some("x"))]);
    assert_eq!(
        read(Op::Delete, "id='1' and k='x'").unwrap(),
        row(expected, none())
    );
}

#[test]
fn other_producers_may_write_blanks_comments_numbers_and_dollar_quotes() {
    let sql = " ( ID , _u ) /* c */ VALUES ( 12.5e3 , $x$it's$x$ ) -- end";
    let expected = Record::from([("id", Some("12.5e3")), ("_u", Some("it's"))]);
    assert_eq!(read(Op::Insert, sql).unwrap(), row(none(), expected));
    let sql = "a = 1 , b = nUlL\nWHERE k = '1' AND j = 2";
    assert!(read(Op::Update, sql).is_ok());
}

#[test]
fn an_insert_of_no_columns_is_an_empty_row() {
    assert_eq!(read(Op::Insert, "() values ()").unwrap(), Row::default());
}

#[test]
fn backslashes_in_plain_literals_are_as_the_stream_says() {
    let sql = br"a='x\\y'";
    let parsed = |strings| parse(Op::Delete, sql, strings).unwrap().keys;
    assert_eq!(
        parsed(Strings::Standard),
        Record::from([("a", Some(r"x\\y"))])
    );
    assert_eq!(
        parsed(Strings::Backslash),
        Record::from([("a", Some(r"x\y"))])
    );
    let quote_escaped = parse(Op::Delete, br"a='\' and b=\''", Strings::Backslash).unwrap();
    assert_eq!(quote_escaped.keys, Record::from([("a", Some("' and b='"))]));
}

#[test]
fn names_and_values_borrow_from_the_text() {
    let parsed = read(Op::Insert, "(a,\"B\") values ('1',E'2')").unwrap();
    for (name, value) in parsed.values {
        assert!(matches!(name, Cow::Borrowed(_)));
        assert!(matches!(value, Some(Cow::Borrowed(_))));
    }
}

#[test]
fn what_does_not_fit_the_grammar_is_an_error() {
    let cases = [
        (Op::Insert, "", "syntax error"),
        (Op::Insert, "a", "syntax error"),
        (Op::Insert, "(1) values ('1')", "syntax error"),
        (Op::Insert, "(a,) values ('1')", "syntax error"),
        (Op::Insert, "(a", "expected , or ) got end of text"),
        (Op::Insert, "(a b) values ('1')", "expected , or ) got b"),
        (
            Op::Insert,
            "(a) value ('1')",
            "syntax error, expected VALUES",
        ),
        (Op::Insert, "(a)", "syntax error, expected VALUES"),
        (Op::Insert, "(a) values '1'", "syntax error, expected ("),
        (
            Op::Insert,
            "(a) values ('1'",
            "expected , or ) got end of text",
        ),
        (Op::Insert, "(a) values ('1';", "expected , or ) got ;"),
        (
            Op::Insert,
            "(a) values ('1' '2')",
            "expected , or ) got a string",
        ),
        (Op::Insert, "(a) values ('1') x", "expected EOF, got x"),
        (Op::Insert, "(a) values ('1');", "expected EOF, got ;"),
        (Op::Insert, "(a) values (now())", "syntax error"),
        (Op::Insert, "(a) values (-1)", "syntax error"),
        (Op::Insert, "(a) values (\"null\")", "syntax error"),
        (
            Op::Insert,
            "(a,b) values ('1')",
            "syntax error, fields do not match values",
        ),
        (
            Op::Insert,
            "() values ('1')",
            "syntax error, fields do not match values",
        ),
        (
            Op::Update,
            "a = 1",
            "syntax error, expected WHERE or , got end of text",
        ),
        (
            Op::Update,
            "a='1' b='2'",
            "syntax error, expected WHERE or , got b",
        ),
        (Op::Update, "a='1' where", "syntax error"),
        (Op::Update, "a='1', where k='1'", "syntax error"),
        (Op::Update, "a>'1' where k='1'", "syntax error"),
        (Op::Delete, "", "syntax error"),
        (Op::Delete, "a", "syntax error"),
        (Op::Delete, "a=", "syntax error"),
        (Op::Delete, "a='1' and", "syntax error"),
        (
            Op::Delete,
            "a='1' or b='2'",
            "syntax error, expected AND got or",
        ),
        (Op::Delete, "a='1';", "syntax error, expected AND got ;"),
        (Op::Delete, "a is null", "syntax error"),
        (Op::Delete, "a=null", "syntax error"),
        (Op::Delete, "a='1", "syntax error, quoted text does not end"),
        (
            Op::Delete,
            "\"a='1'",
            "syntax error, quoted text does not end",
        ),
        (
            Op::Delete,
            "a='1' /* x",
            "syntax error, quoted text does not end",
        ),
        (
            Op::Delete,
            "a=$x$1$y$",
            "syntax error, quoted text does not end",
        ),
        (
            Op::Delete,
            "a='1\0'",
            "value contains a NUL byte, which PostgreSQL text cannot hold",
        ),
    ];
    for (op, sql, message) in cases {
        assert_eq!(read(op, sql).unwrap_err().to_string(), message, "{sql}");
    }
    assert_eq!(Op::parse(b"X").unwrap_err().to_string(), "syntax error");
    assert_eq!(Op::parse(b"U").unwrap(), Op::Update);
}

#[test]
fn applying_completes_the_statement_without_parsing() {
    let applied = |op, table: &str, data: &str| {
        let mut out = Vec::new();
        statement(op, table.as_bytes(), data.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        applied(Op::Insert, "public.Order", "(id) values ('1')"),
        "insert into public.\"Order\" (id) values ('1');"
    );
    assert_eq!(
        applied(Op::Update, "t", "a='1' where id='1'"),
        "update only public.t set a='1' where id='1';"
    );
    assert_eq!(
        applied(Op::Delete, "s.t", "id='1'"),
        "delete from only s.t where id='1';"
    );
}

/// Text that a trigger writes for these columns.
fn written(op: Op, columns: &[(Vec<u8>, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let separated = |out: &mut Vec<u8>, place: usize, separator: &[u8]| {
        if place > 0 {
            out.extend_from_slice(separator);
        }
    };
    if op == Op::Insert {
        out.push(b'(');
        for (place, (name, _)) in columns.iter().enumerate() {
            separated(&mut out, place, b",");
            quote::push_ident(name, &mut out);
        }
        out.extend_from_slice(b") values (");
        for (place, (_, value)) in columns.iter().enumerate() {
            separated(&mut out, place, b",");
            quote::push_literal(value.as_deref(), &mut out).unwrap();
        }
        out.push(b')');
        return out;
    }
    let pairs = |out: &mut Vec<u8>, separator: &[u8]| {
        for (place, (name, value)) in columns.iter().enumerate() {
            separated(out, place, separator);
            quote::push_ident(name, out);
            out.push(b'=');
            quote::push_literal(value.as_deref(), out).unwrap();
        }
    };
    if op == Op::Update {
        pairs(&mut out, b",");
        out.extend_from_slice(b" where ");
    }
    pairs(&mut out, b" and ");
    out
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(1_u8..=255, 0..12),
        r#"['"\\$ ,=()a]{0,8}"#.prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn what_a_trigger_writes_reads_back(
        columns in prop::collection::vec((text(), prop::option::of(text())), 1..6),
        keys in prop::collection::vec((text(), text().prop_map(Some)), 1..4),
    ) {
        for strings in [Strings::Standard, Strings::Backslash] {
            let record = |columns: &[(Vec<u8>, Option<Vec<u8>>)]| {
                let owned = |(name, value): &(Vec<u8>, Option<Vec<u8>>)| {
                    (Cow::Owned(name.clone()), value.clone().map(Cow::Owned))
                };
                columns.iter().map(owned).collect::<Record<'static>>()
            };
            let insert = written(Op::Insert, &columns);
            prop_assert_eq!(parse(Op::Insert, &insert, strings).unwrap().values, record(&columns));
            let delete = written(Op::Delete, &keys);
            prop_assert_eq!(parse(Op::Delete, &delete, strings).unwrap().keys, record(&keys));
            let update = written(Op::Update, &keys);
            let parsed = parse(Op::Update, &update, strings).unwrap();
            prop_assert_eq!(&parsed.keys, &record(&keys));
            prop_assert_eq!(&parsed.values, &record(&keys));
        }
    }

    #[test]
    fn what_stops_early_is_refused(
        columns in prop::collection::vec((text(), prop::option::of(text())), 1..4),
        keys in prop::collection::vec((text(), text().prop_map(Some)), 1..3),
    ) {
        let insert = written(Op::Insert, &columns);
        for end in 0..insert.len() {
            prop_assert!(parse(Op::Insert, &insert[..end], Strings::Standard).is_err());
        }
        // Behind a value these two may end, and so may a value before a doubled quote.
        let update = written(Op::Update, &keys);
        let keys = written(Op::Delete, &keys);
        let set = update.len() - keys.len();
        for end in 0..update.len() {
            let part = &update[..end];
            if end <= set || !part.trim_ascii_end().ends_with(b"'") {
                prop_assert!(parse(Op::Update, part, Strings::Standard).is_err());
            }
        }
        for end in 0..keys.len() {
            let part = &keys[..end];
            if !part.trim_ascii_end().ends_with(b"'") {
                prop_assert!(parse(Op::Delete, part, Strings::Standard).is_err());
            }
        }
    }

    #[test]
    fn parsing_arbitrary_text_never_panics(
        bytes: Vec<u8>,
        similar in r#"\(?([abE]|'[a\\]?'?|"|,|=|\$|and|where| |\)|values \(|null|1){0,12}"#,
    ) {
        for op in [Op::Insert, Op::Update, Op::Delete] {
            for strings in [Strings::Standard, Strings::Backslash] {
                let _ = parse(op, &bytes, strings);
                let _ = parse(op, similar.as_bytes(), strings);
            }
        }
    }
}
