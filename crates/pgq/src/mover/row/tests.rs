use super::*;

fn rows() -> Rows {
    Rows {
        encoded: Encoding::utf8().transcoder(false),
        plain: Encoding::utf8().transcoder(false),
        keys_in_extra2: false,
        row_limit: 0,
        policy: BadEvent::Fail,
        quarantine: TableName::parse("pgq_ext.bad_event"),
        consumer: "c".into(),
        queue: "q".into(),
    }
}

/// An event on a table `public.t`.
fn event<'a>(kind: &'a str, data: &'a str, extra2: Option<&'a str>) -> Fields<'a> {
    Fields {
        kind: Some(kind.as_bytes()),
        data: Some(data.as_bytes()),
        extra1: Some(b"public.t"),
        extra2: extra2.map(str::as_bytes),
    }
}

fn refusal(fields: Fields<'_>) -> String {
    match rows().read(fields) {
        Ok(row) => panic!("{fields:?} was read as {row:?}"),
        Err(reason) => skytools::app::chain(&reason),
    }
}

#[test]
fn whole_rows_are_read_with_keys_apart() {
    for (kind, data, extra2) in [
        ("U:id", "id=1&a=x+y&b", None),
        ("U: id ,", "id=1&a=x%20y&b", Some("id=0&a&b")),
        ("U", "id=1&a=x+y&b", Some("id")),
        (
            r#"{"op":"UPDATE","pkey":["id"]}"#,
            r#"{"id":1,"a":"x y","b":null}"#,
            None,
        ),
    ] {
        let rows = rows();
        let row = rows.read(event(kind, data, extra2)).unwrap();
        assert_eq!(
            (row.op, row.table.as_deref()),
            (Op::Update, Some(&b"public.t"[..]))
        );
        assert_eq!(row.keys, Record::from([("id", Some("1"))]), "{kind}");
        assert_eq!(
            row.values,
            Record::from([("a", Some("x y")), ("b", None)]),
            "{kind}"
        );
    }
    assert!(
        rows()
            .read(event("I:", "a=1", None))
            .unwrap()
            .keys
            .is_empty()
    );
}

#[test]
fn other_events_say_what_is_wrong_with_them() {
    let whole = "does not hold the whole row";
    for (kind, data, why) in [
        ("X:id", "id=1", "type \"X:id\" is no operation on a row"),
        ("", "id=1", "type \"\" is no operation"),
        ("insert", "id=1", "type \"insert\" is no operation"),
        ("I", "(id) values ('1')", whole),
        ("U", "a='1' where id='1'", whole),
        ("R", "", "the table was truncated"),
        (r#"{"op":"TRUNCATE"}"#, "{}", "the table was truncated"),
        (r#"{"op":"VACUUM"}"#, "{}", "is no operation on a row"),
        (r#"{"op":"INSERT"#, "{}", "cannot parse JSON"),
        ("I:a:b", "a=1", "key column a:b is missing in the row"),
        ("I:id", "a=1", "key column id is missing in the row"),
        (
            "I:id",
            "id=%4",
            "cannot decode the URL-encoded row: Incomplete hex code",
        ),
        (
            "I:id",
            "id=%zz",
            "cannot decode the URL-encoded row: Invalid hex code",
        ),
        ("I:id", "id=1&v=%00", "column v holds a zero byte"),
        ("I:id", "id=1&v=%e9", "column v is not valid UTF8"),
        (
            "I:id",
            "id=1&v%ff=1",
            "the name of column v\u{fffd} is not valid UTF8",
        ),
        ("I:id", "id=1&=2", "column that has no name"),
        ("I:", "", "row event without columns"),
        ("U:", "&&", "row event without columns"),
    ] {
        let said = refusal(event(kind, data, None));
        assert!(said.contains(why), "{kind}, {data}: {said}");
    }
    let empty = Fields::default();
    assert_eq!(refusal(empty), "event without a type");
    let whole = event("I:id", "id=1", None);
    for table in [None, Some(&b""[..])] {
        let said = refusal(Fields {
            extra1: table,
            ..whole
        });
        assert_eq!(said, "event without a table");
    }
    assert_eq!(
        refusal(Fields {
            data: None,
            ..whole
        }),
        "row event without data"
    );
    assert!(
        refusal(Fields {
            extra1: Some(b"\xff"),
            ..whole
        })
        .contains("name of the table")
    );
}

#[test]
fn a_key_list_in_extra2_counts_where_it_is_asked_for() {
    let fields = event("U:", "a=1&b=2", Some("b, a"));
    assert!(rows().read(fields).unwrap().keys.is_empty());
    let asking = rows().with_keys_in_extra2();
    let row = asking.read(fields).unwrap();
    assert_eq!(row.keys, Record::from([("b", Some("2")), ("a", Some("1"))]));
    // The image of a row is no list of keys.
    let row = asking.read(event("U:", "a=1", Some("a=0"))).unwrap();
    assert!(row.keys.is_empty());
}

#[test]
fn the_row_before_an_update_is_found_where_there_is_one() {
    let rows = rows();
    let old = |fields| rows.old_row(fields);
    let image = Some(Record::from([("id", Some("0")), ("v", None)]));
    assert_eq!(old(event("U:id", "id=1&v", Some("id=0&v"))), image);
    assert_eq!(
        old(event(
            r#"{"op":"UPDATE"}"#,
            "{}",
            Some(r#"{"id":0,"v":null}"#)
        )),
        image
    );
    for none in [None, Some(""), Some("100% sure")] {
        assert_eq!(old(event("U:id", "id=1", none)), None, "{none:?}");
    }
    assert_eq!(old(event("I:id", "id=1", Some("id=1"))), None);
    assert_eq!(old(event("U", "id=1", Some("id"))), None);
}

#[test]
fn letters_that_were_not_encoded_have_been_converted_on_the_way() {
    let latin = Rows {
        encoded: encoding::Encoding::latin1().transcoder(false),
        ..rows()
    };
    let read = |data: &'static [u8]| latin.row(Some(data)).unwrap().into_owned();
    assert_eq!(read(b"caf%e9=%e9"), Record::from([("café", Some("é"))]));
    assert_eq!(
        read("café=é%26".as_bytes()),
        Record::from([("café", Some("é&"))])
    );
}
