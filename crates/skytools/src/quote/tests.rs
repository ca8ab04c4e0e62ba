use proptest::prelude::*;

use super::*;

fn lit(value: &str) -> String {
    let mut out = Vec::new();
    push_literal(Some(value.as_bytes()), &mut out).unwrap();
    assert_eq!(literal(value).as_bytes(), out);
    String::from_utf8(out).unwrap()
}

fn read(text: &str, strings: Strings) -> Result<Option<String>, Error> {
    let value = unquote_literal(text.as_bytes(), strings)?;
    Ok(value.map(|value| String::from_utf8(value.into_owned()).unwrap()))
}

#[test]
fn literals_double_quotes_and_backslashes() {
    let cases = [
        ("", "''"),
        ("O'Reilly", "'O''Reilly'"),
        (r"C:\tmp", r"E'C:\\tmp'"),
        (r"\'", r"E'\\'''"),
        ("12", "'12'"),
        ("é\n\t", "'é\n\t'"),
    ];
    for (value, expected) in cases {
        assert_eq!(lit(value), expected);
    }
    let mut out = Vec::new();
    push_literal(None, &mut out).unwrap();
    assert_eq!(out, b"null");
}

#[test]
fn a_literal_with_a_nul_byte_is_refused_and_leaves_the_buffer_alone() {
    let mut out = b"select ".to_vec();
    assert_eq!(push_literal(Some(b"a\0b"), &mut out), Err(Error::NulByte));
    assert_eq!(out, b"select ");
}

#[test]
fn identifiers_are_quoted_where_the_server_would_read_another_name() {
    let cases = [
        ("abc_19", "abc_19"),
        ("_u", "_u"),
        ("from", "\"from\""),
        ("between", "\"between\""),
        ("system_user", "\"system_user\""),
        ("json_table", "\"json_table\""),
        ("name", "name"),
        ("9a", "\"9a\""),
        ("mixCase", "\"mixCase\""),
        ("a\"b", "\"a\"\"b\""),
        ("a$b", "\"a$b\""),
        ("é", "\"é\""),
        ("a b", "\"a b\""),
        ("", "\"\""),
    ];
    for (name, expected) in cases {
        assert_eq!(ident(name), expected);
    }
}

#[test]
fn the_keywords_are_sorted_for_searching() {
    assert!(KEYWORDS.is_sorted());
}

#[test]
fn qualified_names_split_at_the_first_dot() {
    let cases = [
        ("s.Order", "s.\"Order\""),
        ("a.b.c", "a.\"b.c\""),
        ("users", "public.users"),
        (".x", "\"\".x"),
    ];
    for (name, expected) in cases {
        assert_eq!(fqident(name), expected);
    }
    assert_eq!(split_fq_name(b"t"), (&b"public"[..], &b"t"[..]));
    assert_eq!(split_fq_name(b"a.b.c"), (&b"a"[..], &b"b.c"[..]));
}

#[test]
fn bytea_is_written_in_its_escape_format() {
    let raw = b"\t\xe4";
    assert_eq!(bytea(raw), br"\011\344");
    assert_eq!(bytea(b"a\\'\x7f"), br"a\\'\177");
    let mut out = Vec::new();
    push_bytea_literal(Some(raw), &mut out);
    assert_eq!(out, br"E'\\011\\344'");
    out.clear();
    push_bytea_literal(None, &mut out);
    assert_eq!(out, b"null");
}

#[test]
fn json_strings_escape_controls_quotes_and_slashes() {
    assert_eq!(
        json("a\"\\/\u{8}\u{c}\n\r\té\u{1}"),
        r#""a\"\\\/\b\f\n\r\té\u0001""#
    );
    let mut out = Vec::new();
    push_json(None, &mut out);
    assert_eq!(out, b"null");
}

#[test]
fn templates_take_values_by_place_or_by_name() {
    let list: &[Option<&[u8]>] = &[Some(b"a'b"), None];
    assert_eq!(
        statement("select %s, %s, 5 %% 2", Values::List(list)).unwrap(),
        b"select 'a''b', null, 5 % 2"
    );
    let map: &[(&str, Option<&[u8]>)] = &[("a", Some(b"\\")), ("unused", None)];
    assert_eq!(
        statement("f(%(a)s, %(a)s)", Values::Map(map)).unwrap(),
        br"f(E'\\', E'\\')"
    );
    let failures = [
        ("%s", Values::List(list)),
        ("%s %s %s", Values::List(list)),
        ("%d %s", Values::List(list)),
        ("%(b)s", Values::Map(map)),
        ("%s", Values::Map(map)),
        ("100%", Values::Map(map)),
    ];
    for (template, values) in failures {
        let error = statement(template, values).unwrap_err();
        assert!(matches!(error, Error::Template(_)), "{template}");
    }
}

#[test]
fn identifiers_are_read_as_the_server_reads_them() {
    let read = |text: &'static str| unquote_fqident(text);
    assert_eq!(read("\"Foo\"").unwrap(), "Foo");
    assert_eq!(read("\"a\"\"b\"").unwrap(), "a\"b");
    assert_eq!(read("Foo").unwrap(), "foo");
    assert_eq!(read("\"\"").unwrap(), "");
    assert_eq!(read("\"a.b\".\"C\"").unwrap(), "a.b.C");
    assert_eq!(read("S.\"x.y\"").unwrap(), "s.x.y");
    for broken in ["\"", "a\"b", "\"a\"b\"", "\"a", "s.\"a"] {
        assert!(
            matches!(read(broken), Err(Error::StrayQuote(_))),
            "{broken}"
        );
    }
}

#[test]
fn literals_are_read_back() {
    use Strings::{Backslash, Standard};
    let same = |text: &str, expected: Option<&str>| {
        for strings in [Backslash, Standard] {
            assert_eq!(read(text, strings).unwrap().as_deref(), expected, "{text}");
        }
    };
    same("null", None);
    same("NULL", None);
    same("'null'", Some("null"));
    same("'a''b'", Some("a'b"));
    same(r"E'a\\b''c\'d\x\101'", Some(r"a\b'c'dxA"));
    same(r"e'\n'", Some("\n"));
    same("$$x$$", Some("x"));
    same("$a$b'c$a$", Some("b'c"));
    same("$$$$", Some(""));
    same("12", Some("12"));
    same("'", Some("'"));
    same("E'", Some("E'"));
    same("", Some(""));
    same("''", Some(""));
    assert_eq!(read(r"'a\\b'", Backslash).unwrap().unwrap(), r"a\b");
    assert_eq!(read(r"'a\\b'", Standard).unwrap().unwrap(), r"a\\b");
    assert_eq!(read(r"'a\'", Standard).unwrap().unwrap(), r"a\");
}

#[test]
fn broken_literals_are_errors() {
    let broken = [
        ("'a'b'", Strings::Standard, Error::BrokenStandard),
        ("'''", Strings::Standard, Error::BrokenStandard),
        ("'a'b'", Strings::Backslash, Error::BrokenExtended),
        (r"'a\'", Strings::Backslash, Error::BrokenExtended),
        (r"E'a'b'", Strings::Standard, Error::BrokenExtended),
        (r"E'a'\n'", Strings::Standard, Error::BrokenExtended),
        ("$a$b$c$", Strings::Standard, Error::BrokenDollar),
        ("$$", Strings::Standard, Error::BrokenDollar),
        ("$a$", Strings::Standard, Error::BrokenDollar),
        ("$$x$", Strings::Standard, Error::BrokenDollar),
    ];
    for (text, strings, expected) in broken {
        assert_eq!(read(text, strings), Err(expected), "{text}");
    }
}

#[test]
fn escapes_are_replaced_as_c_does() {
    let cases: [(&[u8], &[u8]); 7] = [
        (br"a\tb", b"a\tb"),
        (br"\101\60\9", b"A09"),
        (br"\N", b"N"),
        (br"x\fy", b"xfy"),
        (br"\x41\'\a\b\\", b"x41'\x07\x08\\"),
        (br"\777\4000", b"\xff\x000"),
        (b"plain", b"plain"),
    ];
    for (text, expected) in cases {
        assert_eq!(unescape(text).unwrap().as_ref(), expected);
    }
    assert_eq!(unescape(br"a\"), Err(Error::BackslashAtEnd));
    assert_eq!(
        Error::BackslashAtEnd.to_string(),
        r"Broken string - \ at the end"
    );
}

proptest! {
    #[test]
    fn a_literal_reads_back_as_its_value(value: Vec<u8>) {
        let mut text = Vec::new();
        match push_literal(Some(&value), &mut text) {
            Ok(()) => for strings in [Strings::Standard, Strings::Backslash] {
                let read = unquote_literal(&text, strings).unwrap().unwrap();
                prop_assert_eq!(read.as_ref(), &value);
            },
            Err(error) => {
                prop_assert_eq!(error, Error::NulByte);
                prop_assert!(value.contains(&0));
            }
        }
    }

    #[test]
    fn an_identifier_reads_back_as_its_name(name: Vec<u8>) {
        let mut text = Vec::new();
        push_ident(&name, &mut text);
        let read = unquote_ident(&text).unwrap();
        prop_assert_eq!(read.as_ref(), name);
    }

    #[test]
    fn a_qualified_name_reads_back(schema in "[^.]*", name: String) {
        let raw = format!("{schema}.{name}");
        prop_assert_eq!(unquote_fqident(&fqident(&raw)).unwrap(), raw);
    }

    #[test]
    fn reading_arbitrary_bytes_never_panics(text: Vec<u8>, quoted in r#"[E$'"\\a0-9]{0,12}"#) {
        for text in [&text[..], quoted.as_bytes()] {
            let _ = unquote_literal(text, Strings::Standard);
            let _ = unquote_literal(text, Strings::Backslash);
            let _ = unquote_ident(text);
            let _ = unescape(text);
        }
    }
}
