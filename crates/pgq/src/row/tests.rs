use proptest::prelude::*;

use super::*;

fn event<'a>(kind: &'a str, data: &'a str, extra2: Option<&'a str>) -> Fields<'a> {
    Fields {
        kind: Some(kind.as_bytes()),
        data: Some(data.as_bytes()),
        extra1: Some(b"public.t"),
        extra2: extra2.map(str::as_bytes),
    }
}

fn read<'a>(kind: &'a str, data: &'a str) -> RowEvent<'a> {
    RowEvent::parse(event(kind, data, None), Strings::Standard)
        .unwrap()
        .unwrap()
}

fn statement_of(event: &RowEvent<'_>) -> String {
    let mut out = Vec::new();
    event.push_statement(b"public.t", &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

const JSON_INSERT: &str = r#"{"op":"INSERT","table":["public","t"],"pkey":["id"]}"#;

fn whole_row() -> [Record<'static>; 2] {
    [
        Record::from([("id", Some("1"))]),
        Record::from([("txt", Some("text1")), ("val", None)]),
    ]
}

#[test]
fn an_insert_reads_the_same_from_every_whole_row_format() {
    let [keys, values] = whole_row();
    for (kind, data, format) in [
        ("I:id", "id=1&txt=text1&val", Format::UrlEncoded),
        (
            JSON_INSERT,
            r#"{"id":1,"txt":"text1","val":null}"#,
            Format::Json,
        ),
    ] {
        let expected = RowEvent {
            op: Op::Insert,
            format,
            table: Some(Cow::Borrowed(b"public.t")),
            keys: keys.clone(),
            values: values.clone(),
        };
        let event = read(kind, data);
        assert_eq!(event, expected);
        assert_eq!(
            statement_of(&event),
            "insert into public.t (id, txt, val) values ('1', 'text1', null);"
        );
    }
}

#[test]
fn partial_sql_tells_conditions_from_values() {
    let insert = read("I", "(id,txt,val) values ('1','text1',null)");
    assert_eq!((insert.op, insert.format), (Op::Insert, Format::Partial));
    assert!(insert.keys.is_empty());
    assert_eq!(insert.values.len(), 3);
    let update = read("U", "txt=NULL where id='1'");
    assert_eq!(update.keys, Record::from([("id", Some("1"))]));
    assert_eq!(update.values, Record::from([("txt", None)]));
    let delete = read("D", "id='1'");
    assert_eq!(delete.keys, Record::from([("id", Some("1"))]));
    assert_eq!(
        statement_of(&delete),
        "delete from only public.t where id = '1';"
    );
}

#[test]
fn a_no_op_update_touches_the_row() {
    let touch = "update only public.t set id = '1' where id = '1';";
    assert_eq!(statement_of(&read("U", "id='1' where id='1'")), touch);
    assert_eq!(statement_of(&read("U:id", "id=1")), touch);
}

#[test]
fn a_whole_row_update_sets_all_but_the_key() {
    let update = read("U:id", "id=1&txt=a+b&val");
    assert_eq!(
        statement_of(&update),
        "update only public.t set txt = 'a b', val = null where id = '1';"
    );
    assert_eq!(
        update.into_row(),
        Record::from([("txt", Some("a b")), ("val", None), ("id", Some("1"))])
    );
}

#[test]
fn key_lists_are_trimmed_and_may_be_empty() {
    let keys = |event: &RowEvent<'_>| {
        let names = event
            .keys
            .iter()
            .map(|(name, _)| String::from_utf8(name.to_vec()).unwrap());
        names.collect::<Vec<_>>()
    };
    assert_eq!(keys(&read("U:v, w,,v", "w=1&v=2")), ["v", "w"]);
    assert_eq!(keys(&read("I:", "w=1")), [""; 0]);
    assert_eq!(
        keys(&read(
            r#"{"op":"INSERT","pkey":["v"," w"]}"#,
            r#"{"w":1,"v":2}"#
        )),
        ["v", "w"]
    );
    let keyless = read("D:", "w=1");
    let mut out = Vec::new();
    let error = keyless.push_statement(b"t", &mut out).unwrap_err();
    assert_eq!(error.to_string(), "delete needs pkeys");
}

#[test]
fn the_key_list_of_old_triggers_is_found_in_extra2() {
    let fields = event("U", "id=1&txt=x", Some("id"));
    let old = RowEvent::parse(fields, Strings::Standard).unwrap().unwrap();
    assert_eq!(old.format, Format::UrlEncoded);
    assert_eq!(old.keys, Record::from([("id", Some("1"))]));
}

#[test]
fn a_backup_in_extra2_is_not_a_key_list() {
    let cases = [
        ("U", "txt='x' where id='1'", "id=1&txt=y", Format::Partial),
        ("D", "id='1'", "id", Format::Partial),
        ("U:id", "id=1&txt=x", "id=1&txt=y", Format::UrlEncoded),
    ];
    for (kind, data, backup, format) in cases {
        let event = RowEvent::parse(event(kind, data, Some(backup)), Strings::Standard);
        assert_eq!(event.unwrap().unwrap().format, format);
    }
}

#[test]
fn json_values_keep_every_digit() {
    let data = r#"{"id":9223372036854775807,"n":1.10,"b":true,"f":false,"s":"a\"\u00e9\n","x":"","o":{"a":[1, 2]}}"#;
    let event = read(JSON_INSERT, data);
    assert_eq!(
        event.keys,
        Record::from([("id", Some("9223372036854775807"))])
    );
    assert_eq!(
        event.values,
        Record::from([
            ("n", Some("1.10")),
            ("b", Some("true")),
            ("f", Some("false")),
            ("s", Some("a\"é\n")),
            ("x", Some("")),
            ("o", Some(r#"{"a":[1, 2]}"#)),
        ])
    );
}

#[test]
fn json_names_the_table_if_extra1_does_not() {
    let fields = Fields {
        extra1: None,
        ..event(JSON_INSERT, r#"{"id":1}"#, None)
    };
    let event = RowEvent::parse(fields, Strings::Standard).unwrap().unwrap();
    assert_eq!(event.table.as_deref(), Some(&b"public.t"[..]));
}

#[test]
fn truncates_have_no_columns() {
    for (kind, data) in [("R", ""), (r#"{"op":"TRUNCATE","pkey":["id"]}"#, "{}")] {
        let event = read(kind, data);
        assert_eq!(event.op, Op::Truncate);
        assert!(event.keys.is_empty() && event.values.is_empty());
        assert_eq!(statement_of(&event), "");
    }
}

#[test]
fn other_events_are_not_row_events() {
    for kind in [
        "",
        "EXECUTE",
        "londiste.add-table",
        "pgq.tick-id",
        "T",
        "X:id",
        "i",
        "R:x",
        r#"{"op":"VACUUM"}"#,
        r#"{"a":1}"#,
    ] {
        let event = RowEvent::parse(event(kind, "id=1", None), Strings::Standard);
        assert_eq!(event.unwrap(), None, "{kind}");
    }
    assert_eq!(
        RowEvent::parse(Fields::default(), Strings::Standard).unwrap(),
        None
    );
}

#[test]
fn malformed_row_events_are_errors() {
    let cases = [
        ("I", "id=1", "cannot parse partial SQL: syntax error"),
        (
            "I:id",
            "id=%4",
            "cannot decode the URL-encoded row: Incomplete hex code",
        ),
        ("I:id", "", "row event without columns"),
        ("U:", "&", "row event without columns"),
        ("I:a:b", "a=1&b=2", "key column a:b is missing in the row"),
        ("D:id", "", "key column id is missing in the row"),
        (
            "I:id",
            "id=1&=2",
            "row event with a column that has no name",
        ),
        (
            r#"{"op":"INSERT","pkey":["id"]}"#,
            "{}",
            "row event without columns",
        ),
        (
            r#"{"op":"DELETE","pkey":["id"]}"#,
            "{}",
            "key column id is missing in the row",
        ),
    ];
    for (kind, data, message) in cases {
        let error = RowEvent::parse(event(kind, data, None), Strings::Standard).unwrap_err();
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        assert_eq!(
            format!("{error}{}", cause.unwrap_or_default()),
            message,
            "{kind} {data}"
        );
    }
    for (kind, data) in [
        ("{\"", "{}"),
        (JSON_INSERT, "{"),
        (JSON_INSERT, "[1]"),
        (JSON_INSERT, "{\"id\":1}x"),
    ] {
        let error = RowEvent::parse(event(kind, data, None), Strings::Standard).unwrap_err();
        assert!(matches!(error, Error::Json(_)));
    }
    for kind in ["I", "D:id", JSON_INSERT] {
        let fields = Fields {
            data: None,
            ..event(kind, "", None)
        };
        let error = RowEvent::parse(fields, Strings::Standard).unwrap_err();
        assert!(matches!(error, Error::NoData));
    }
}

/// Parses, and makes a statement of what was parsed.
fn digest(fields: Fields<'_>, strings: Strings) -> Result<Option<Op>, Error> {
    let event = RowEvent::parse(fields, strings)?;
    if let Some(event) = &event {
        let mut out = Vec::new();
        // A row without a key has none.
        let _ = event.push_statement(b"t", &mut out);
    }
    Ok(event.map(|event| event.op))
}

/// Events as the triggers write them, with every kind of token.
const VALID: [(&str, &str); 10] = [
    (
        "I",
        r#"(id,"Mixed ""x""",n) values ('7',E'it''s \\ \n',null)"#,
    ),
    ("I", "() values ()"),
    ("U", r#"n=E'a\\b',"c d"=NULL where id='7'"#),
    ("D", "id='7' and k='x'"),
    ("I:id", "id=7&n=a+b%c3%a9&m"),
    ("U:k,id", "n=%00&id=7&k="),
    ("D:", "id=7"),
    (
        JSON_INSERT,
        r#"{"id":7,"n":"a\u00e9\"\n","m":null,"d":{"x":[1.50,true]}}"#,
    ),
    (
        r#"{"op":"UPDATE","table":["s","t"],"pkey":["id"]}"#,
        r#"{"id":-1.5e3,"n":false}"#,
    ),
    (
        r#"{"op":"DELETE","table":["s","t"],"pkey":["id","n"]}"#,
        r#"{"id":7,"n":""}"#,
    ),
];

#[test]
fn an_event_that_was_cut_off_is_an_error_wherever_the_format_can_tell() {
    for (kind, data) in VALID {
        let whole = digest(event(kind, data, None), Strings::Standard);
        assert!(matches!(whole, Ok(Some(_))), "{data}: {whole:?}");
        // A condition may end after each of its parts, and a literal with each quote in it.
        let complete: &[&str] = match (kind, data) {
            ("D", _) => &["id='7'", "id='7' "],
            _ => &[],
        };
        for cut in 0..data.len() {
            let Some(part) = data.get(..cut) else {
                continue;
            };
            let result = digest(event(kind, part, None), Strings::Standard);
            let told = match kind.as_bytes() {
                // Any of its columns may be the last, with any value.
                [_, b':', ..] => result.is_err() || !is_within_escape(part),
                _ => result.is_err() != complete.contains(&part),
            };
            assert!(told, "{kind} {part:?}: {result:?}");
        }
        // So is a type that was cut off, unless what is left is another type.
        if kind.starts_with('{') {
            for cut in 2..kind.len() {
                let result = digest(event(&kind[..cut], data, None), Strings::Standard);
                assert!(result.is_err(), "{}: {result:?}", &kind[..cut]);
            }
        }
    }
}

/// Whether URL-encoded text ends between a percent sign and its two digits.
fn is_within_escape(text: &str) -> bool {
    text.bytes().rev().take(2).any(|byte| byte == b'%')
}

#[test]
fn an_endlessly_nested_event_is_an_error_or_a_value_and_no_overflow() {
    let open = "[".repeat(1_000_000);
    for data in [
        format!("{{\"id\":{open}"),
        format!("{{\"id\":{open}{}}}", "]".repeat(1_000_000)),
        format!("({open}"),
        "(".repeat(1_000_000),
        "/*".repeat(1_000_000),
    ] {
        for kind in ["I", "U", "D", JSON_INSERT] {
            let _ = digest(event(kind, &data, None), Strings::Standard);
        }
    }
    let kind = format!("{{\"op\":{open}");
    assert!(digest(event(&kind, "{}", None), Strings::Standard).is_err());
}

proptest! {
    #[test]
    fn reading_arbitrary_events_never_panics(
        kind in prop_oneof!["[IUDR]", "[IUD]:[a,: ]{0,4}", r#"\{"op":"INSERT","pkey":\["a"\]\}"#, ".*"],
        data: Vec<u8>,
        similar in r#"\{?("?[ab=&]"?|'1'|,| where |:|null|1|%c3|\}|\\){0,10}"#,
        extra2: Option<String>,
    ) {
        for data in [&data[..], similar.as_bytes()] {
            let fields = Fields {
                kind: Some(kind.as_bytes()),
                data: Some(data),
                extra1: None,
                extra2: extra2.as_deref().map(str::as_bytes),
            };
            for strings in [Strings::Standard, Strings::Backslash] {
                let _ = digest(fields, strings);
            }
        }
    }

    #[test]
    fn reading_damaged_events_never_panics(
        which in 0..VALID.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
        of_type: bool,
        extra2: Option<Vec<u8>>,
    ) {
        let (kind, data) = VALID[which];
        let (mut kind, mut data) = (kind.as_bytes().to_vec(), data.as_bytes().to_vec());
        let target = if of_type { &mut kind } else { &mut data };
        for (place, byte, way) in damage {
            let at = place.index(target.len() + 1);
            match way {
                0 => target.insert(at, byte),
                1 => target.truncate(at),
                2 if at < target.len() => target[at] = byte,
                _ if at < target.len() => { target.remove(at); }
                _ => {}
            }
        }
        let fields = Fields {
            kind: Some(&kind),
            data: Some(&data),
            extra1: None,
            extra2: extra2.as_deref(),
        };
        for strings in [Strings::Standard, Strings::Backslash] {
            let _ = digest(fields, strings);
        }
    }

    #[test]
    fn a_key_list_of_any_bytes_names_columns_or_is_an_error(
        list in prop::collection::vec(prop_oneof![any::<u8>(), Just(b','), Just(b' '), Just(b'a')], 0..20),
    ) {
        let kind = [b"D:", &list[..]].concat();
        let fields = Fields { kind: Some(&kind), data: Some(b"a=1&aa=2"), ..Fields::default() };
        match RowEvent::parse(fields, Strings::Standard) {
            Ok(Some(event)) => prop_assert_eq!(event.keys.len() + event.values.len(), 2),
            other => prop_assert!(matches!(other, Err(Error::MissingKey(_))), "{:?}", other),
        }
    }

    #[test]
    fn a_url_encoded_row_reads_back_with_any_bytes(key in prop::collection::vec(any::<u8>(), 1..9), value: Option<Vec<u8>>) {
        let row: Record<'_> = [
            (Cow::Borrowed(&b"k"[..]), Some(Cow::Borrowed(&key[..]))),
            (Cow::Borrowed(&b"v"[..]), value.as_deref().map(Cow::Borrowed)),
        ].into_iter().collect();
        let data = urlencode::encode(&row);
        let fields = Fields { kind: Some(b"U:k"), data: Some(&data), ..Fields::default() };
        let event = RowEvent::parse(fields, Strings::Standard).unwrap().unwrap();
        prop_assert_eq!(event.keys.get("k"), Some(Some(&key[..])));
        prop_assert_eq!(event.values.get("v"), Some(value.as_deref()));
    }
}
