use proptest::prelude::*;

use super::*;

/// Tokens in short form: the letter of the kind and the text.
fn tokens(sql: &str) -> Vec<(TokenKind, &str)> {
    shown(Tokens::new(sql, Strings::Standard).skip_space())
}

fn shown<'a>(tokens: Tokens<'a>) -> Vec<(TokenKind, &'a str)> {
    let text = |token: Token<'a>| (token.kind, std::str::from_utf8(token.text).unwrap());
    tokens.map(text).collect()
}

use TokenKind::{
    Dollar, Error, Ident, Number, Parameter, Placeholder, Space, Str, Symbol, Unterminated,
};

#[test]
fn every_kind_of_token_is_told_apart() {
    let cases: &[(&str, &[(TokenKind, &str)])] = &[
        ("'a''b' ''", &[(Str, "'a''b'"), (Str, "''")]),
        (r"E'a\'b'e'\\'", &[(Str, r"E'a\'b'"), (Str, r"e'\\'")]),
        (r"'a\'", &[(Str, r"'a\'")]),
        ("'a\nb'", &[(Str, "'a\nb'")]),
        ("_a$1 É2", &[(Ident, "_a$1"), (Ident, "É2")]),
        (
            "\"a\"\"b\".c",
            &[(Ident, "\"a\"\"b\""), (Symbol, "."), (Ident, "c")],
        ),
        ("$$x$$", &[(Dollar, "$$x$$")]),
        ("$a$ $b$ $$ $b$ $a$", &[(Dollar, "$a$ $b$ $$ $b$ $a$")]),
        ("$a$$a$a$", &[(Dollar, "$a$$a$"), (Ident, "a$")]),
        ("1.5e3 7", &[(Number, "1.5e3"), (Number, "7")]),
        (
            "$1,$23",
            &[(Parameter, "$1"), (Symbol, ","), (Parameter, "$23")],
        ),
        (
            "a=--x\n+b",
            &[(Ident, "a"), (Symbol, "="), (Symbol, "+"), (Ident, "b")],
        ),
        (
            "a+/*x*/-b",
            &[(Ident, "a"), (Symbol, "+"), (Symbol, "-"), (Ident, "b")],
        ),
        ("/* a /* b */ c */ d", &[(Ident, "d")]),
        (
            "a<>=b::c[1];",
            &[
                (Ident, "a"),
                (Symbol, "<>="),
                (Ident, "b"),
                (Symbol, ":"),
                (Symbol, ":"),
                (Ident, "c"),
                (Symbol, "["),
                (Number, "1"),
                (Symbol, "]"),
                (Symbol, ";"),
            ],
        ),
        (
            "\\ ` { }",
            &[(Error, "\\"), (Error, "`"), (Error, "{"), (Error, "}")],
        ),
        (
            "%(a)s",
            &[
                (Symbol, "%"),
                (Symbol, "("),
                (Ident, "a"),
                (Symbol, ")"),
                (Ident, "s"),
            ],
        ),
        ("$ 1", &[(Error, "$"), (Number, "1")]),
    ];
    for (sql, expected) in cases {
        assert_eq!(&tokens(sql), expected, "{sql}");
    }
}

#[test]
fn what_does_not_end_is_the_rest_of_the_text() {
    for open in [
        "'a", "E'a\\'", "E'\\", "\"a", "\"a\"\"", "/* /* */", "$a$ $$", "/*/", "''''' ",
    ] {
        let sql = format!("x {open}");
        assert_eq!(tokens(&sql), [(Ident, "x"), (Unterminated, open)]);
    }
}

#[test]
fn blanks_and_comments_are_one_token() {
    let sql = " -- c\n/* d */\t'x'";
    let all = shown(Tokens::new(sql, Strings::Standard));
    assert_eq!(all, [(Space, " -- c\n/* d */\t"), (Str, "'x'")]);
}

#[test]
fn plain_strings_are_as_the_server_is_set() {
    let tokens = shown(Tokens::new(r"'a\' b'", Strings::Backslash));
    assert_eq!(tokens, [(Str, r"'a\' b'")]);
}

#[test]
fn a_qualified_name_is_one_token_on_request() {
    let sql = "a.\"b.c\".d.e ;x. y.\"z";
    let tokens = shown(Tokens::new(sql, Strings::Standard).qualified().skip_space());
    let expected = [
        (Ident, "a.\"b.c\".d.e"),
        (Symbol, ";"),
        (Ident, "x"),
        (Symbol, "."),
        (Ident, "y"),
        (Symbol, "."),
        (Unterminated, "\"z"),
    ];
    assert_eq!(tokens, expected);
}

#[test]
fn placeholders_are_tokens_on_request() {
    let sql = "%(a)s {b|f} %x {";
    let tokens = shown(
        Tokens::new(sql, Strings::Standard)
            .placeholders()
            .skip_space(),
    );
    let expected = [
        (Placeholder, "%(a)s"),
        (Placeholder, "{b|f}"),
        (Symbol, "%"),
        (Ident, "x"),
        (Error, "{"),
    ];
    assert_eq!(tokens, expected);
}

#[test]
fn tokens_know_where_they_end() {
    let ends: Vec<usize> = Tokens::new("ab  'c'", Strings::Standard)
        .map(|token| token.end)
        .collect();
    assert_eq!(ends, [2, 4, 7]);
}

fn split(script: &str) -> Vec<&str> {
    statements(script, Strings::Standard).unwrap()
}

fn failure(script: &str) -> String {
    statements(script, Strings::Standard)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_script_is_split_at_its_semicolons() {
    assert_eq!(
        split("begin; select 1; select 'a;b'; end;"),
        ["begin;", "select 1;", "select 'a;b';", "end;"]
    );
    assert_eq!(split("select (1;2);"), ["select (1;2);"]);
    assert_eq!(split("-- only a comment\n  ;; /* ; */ ;"), [""; 0]);
    assert_eq!(
        split(" -- c;\nselect 1 -- d;\n ; select 2"),
        ["select 1 -- d;\n ;", "select 2"]
    );
    assert_eq!(split(""), [""; 0]);
}

#[test]
fn function_bodies_stay_whole() {
    let dollar =
        "create function f() returns void as $x$ begin; perform ';'; end $x$ language plpgsql;";
    assert_eq!(split(&format!("{dollar} select 1;")), [dollar, "select 1;"]);
    let atomic = "create function f(a int) returns int begin Atomic \
                  select case when a = 1 then (select case a when 1 then 2 end) else 3 end; \
                  select 2; end;";
    assert_eq!(split(&format!("{atomic} select 1;")), [atomic, "select 1;"]);
}

#[test]
fn transaction_blocks_and_case_are_not_bodies() {
    assert_eq!(
        split("begin; select case when true then 1 end; end; select 2;"),
        [
            "begin;",
            "select case when true then 1 end;",
            "end;",
            "select 2;"
        ]
    );
}

#[test]
fn scripts_that_cannot_be_split_are_errors() {
    let unbalanced = "syntax error - unbalanced parenthesis";
    assert_eq!(
        failure("select 1;\nselect (1;\n"),
        format!("line 3: {unbalanced}")
    );
    assert_eq!(failure("select 1);"), format!("line 1: {unbalanced}"));
    let atomic = "create function f() returns int begin atomic select 1;";
    assert_eq!(failure(atomic), format!("line 1: {unbalanced}"));
    assert_eq!(
        failure("select 1;\ncopy t (a)\nfrom -- c\nstdin;"),
        "line 4: copy from stdin not supported"
    );
    assert_eq!(
        failure("select 1;\nselect 'a"),
        "line 2: quoted text or comment does not end"
    );
    assert_eq!(
        failure("\\i x.sql"),
        "line 1: psql meta-commands are not supported"
    );
}

#[test]
fn only_copy_from_stdin_is_refused() {
    for script in [
        "copy t to stdout;",
        "select a from stdin;",
        "copy (select a from stdin) to stdout;",
    ] {
        assert_eq!(split(script), [script]);
    }
}

fn sql_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "'",
        "\"",
        "$",
        "$a$",
        "/*",
        "*/",
        "--",
        "\n",
        "\\",
        "e",
        "E'",
        "a",
        "é",
        "1",
        ".",
        ";",
        "(",
        ")",
        "%(a)s",
        "{",
        "}",
        "=",
        " ",
        "begin atomic ",
        "create ",
        "end ",
        "case ",
        "copy ",
        "from ",
        "stdin ",
    ]);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

fn all_options(bytes: &[u8]) -> impl Iterator<Item = Tokens<'_>> {
    [Strings::Standard, Strings::Backslash]
        .into_iter()
        .flat_map(move |strings| {
            let plain = Tokens::new(bytes, strings);
            [
                plain.clone(),
                plain.clone().qualified(),
                plain.placeholders(),
            ]
        })
}

proptest! {
    #[test]
    fn all_tokens_together_are_the_text(bytes: Vec<u8>, text in sql_like()) {
        for input in [&bytes[..], text.as_bytes()] {
            for tokens in all_options(input) {
                let mut at = 0;
                for token in tokens {
                    prop_assert!(!token.text.is_empty());
                    prop_assert_eq!(token.text, &input[at..token.end]);
                    at = token.end;
                }
                prop_assert_eq!(at, input.len());
            }
        }
    }

    #[test]
    fn statements_split_again_are_the_same(script in sql_like()) {
        if let Ok(list) = statements(&script, Strings::Standard) {
            let again = list.join("\n");
            prop_assert_eq!(statements(&again, Strings::Standard).unwrap(), list);
        }
    }

    #[test]
    fn splitting_arbitrary_text_never_panics(text: String, similar in sql_like()) {
        for script in [text, similar] {
            for strings in [Strings::Standard, Strings::Backslash] {
                let _ = statements(&script, strings);
            }
        }
    }
}
