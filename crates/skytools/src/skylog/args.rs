//! `args = ("~/log/%(job_name)s.log", 100*1024*1024, 3)`.

use tracing::Level;

/// What a handler can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arg {
    Text(String),
    Number(i64),
    Tuple(Vec<Arg>),
    Stderr,
    Stdout,
}

/// Tuples in tuples in tuples: no handler takes more.
const DEEPEST: usize = 8;

/// Parses a parenthesised tuple.
pub(super) fn parse(text: &str) -> Result<Vec<Arg>, String> {
    let mut parser = Parser { rest: text.trim() };
    let args = parser.tuple(0)?;
    match parser.rest.trim_start() {
        "" => Ok(args),
        rest => Err(format!("expected nothing after the tuple, found {rest:?}")),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn tuple(&mut self, depth: usize) -> Result<Vec<Arg>, String> {
        if depth > DEEPEST {
            return Err("expected no deeper tuple".to_owned());
        }
        self.expect('(')?;
        let mut args = Vec::new();
        loop {
            if self.skip(')') {
                return Ok(args);
            }
            args.push(self.arg(depth)?);
            if !self.skip(',') {
                self.expect(')')?;
                return Ok(args);
            }
        }
    }

    fn arg(&mut self, depth: usize) -> Result<Arg, String> {
        self.rest = self.rest.trim_start();
        match self.rest.chars().next() {
            Some('(') => Ok(Arg::Tuple(self.tuple(depth + 1)?)),
            Some(quote @ ('"' | '\'')) => self.text(quote).map(Arg::Text),
            Some(c) if c.is_ascii_digit() || c == '-' || c == '+' => self.product(),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.name(),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// A string literal, with Python's escapes.
    fn text(&mut self, quote: char) -> Result<String, String> {
        let mut chars = self.rest.char_indices().skip(1);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, c @ ('\\' | '\'' | '"'))) => text.push(c),
                    Some((_, c)) => text.extend(['\\', c]),
                    None => break,
                },
                _ => text.push(c),
            }
        }
        Err(format!("expected {quote} at the end of a string"))
    }

    /// `100*1024*1024`.
    fn product(&mut self) -> Result<Arg, String> {
        let mut product = self.number()?;
        while self.skip('*') {
            product = product
                .checked_mul(self.number()?)
                .ok_or("expected a smaller product")?;
        }
        Ok(Arg::Number(product))
    }

    fn number(&mut self) -> Result<i64, String> {
        self.rest = self.rest.trim_start();
        let sign = usize::from(self.rest.starts_with(['-', '+']));
        let digits = self.rest[sign..].bytes().take_while(u8::is_ascii_digit);
        let end = sign + digits.count();
        let number = self.rest[..end]
            .parse()
            .map_err(|_| self.unexpected("an integer"))?;
        self.rest = &self.rest[end..];
        Ok(number)
    }

    /// `sys.stderr`, `handlers.SysLogHandler.LOG_LOCAL0`.
    fn name(&mut self) -> Result<Arg, String> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
            .unwrap_or(self.rest.len());
        let name = &self.rest[..end];
        let arg = match name {
            "sys.stderr" => Arg::Stderr,
            "sys.stdout" => Arg::Stdout,
            _ => name
                .rsplit_once("SysLogHandler.LOG_")
                .and_then(|(_, facility)| facility_number(facility))
                .map(Arg::Number)
                .ok_or_else(|| format!("expected a known name, found {name}"))?,
        };
        self.rest = &self.rest[end..];
        Ok(arg)
    }

    fn skip(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.skip(c) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("'{c}'")))
        }
    }

    fn unexpected(&self, expected: &str) -> String {
        match self.rest.chars().next() {
            Some(c) => format!("expected {expected}, found {c:?}"),
            None => format!("expected {expected} at the end"),
        }
    }
}

/// Number of a syslog facility, of either case.
pub(super) fn facility_number(name: &str) -> Option<i64> {
    let name = name.to_ascii_lowercase();
    if let Some(local) = name.strip_prefix("local") {
        return match local.parse() {
            Ok(number @ 0..=7) if local.len() == 1 => Some(16 + number),
            _ => None,
        };
    }
    let known = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp",
    ];
    let index = known.iter().position(|known| *known == name);
    // `security` is an old name.
    let index = index.or((name == "security").then_some(4))?;
    i64::try_from(index).ok()
}

/// Severity of a level in syslog.
pub(super) fn severity(level: Level) -> i64 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Arg {
        Arg::Text(text.to_owned())
    }

    #[test]
    fn a_tuple_holds_texts_numbers_products_names_and_tuples() {
        for (source, expected) in [
            ("()", vec![]),
            ("( )", vec![]),
            ("(sys.stderr,)", vec![Arg::Stderr]),
            ("(sys.stdout)", vec![Arg::Stdout]),
            (
                "('~/log/x.log', \"a\", 100*1024 * 1024, -3)",
                vec![
                    text("~/log/x.log"),
                    text("a"),
                    Arg::Number(104_857_600),
                    Arg::Number(-3),
                ],
            ),
            (
                "(('localhost', 514), handlers.SysLogHandler.LOG_LOCAL0,)",
                vec![
                    Arg::Tuple(vec![text("localhost"), Arg::Number(514)]),
                    Arg::Number(16),
                ],
            ),
            (
                r#"('it\'s', "say \"hi\" \\ \d")"#,
                vec![text("it's"), text(r#"say "hi" \ \d"#)],
            ),
            ("\n('é',)\n", vec![text("é")]),
        ] {
            assert_eq!(parse(source), Ok(expected), "{source}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (source, problem) in [
            ("", "expected '(' at the end"),
            ("'x'", "expected '(', found '\\''"),
            ("('x'", "expected ')' at the end"),
            ("('x", "expected ' at the end of a string"),
            ("('x\\", "expected ' at the end of a string"),
            ("('a' 'b')", "expected ')', found '\\''"),
            ("(,)", "expected a value, found ','"),
            ("(1*)", "expected an integer, found ')'"),
            ("(1*2.5)", "expected ')', found '.'"),
            ("(99999999999999999999)", "expected an integer, found '9'"),
            ("(9223372036854775807*2)", "expected a smaller product"),
            ("(open('x'))", "expected a known name, found open"),
            (
                "(handlers.SysLogHandler.LOG_NONE)",
                "expected a known name, found handlers.SysLogHandler.LOG_NONE",
            ),
            ("(1) x", "expected nothing after the tuple, found \"x\""),
            ("(((((((((((1)))))))))))", "expected no deeper tuple"),
        ] {
            assert_eq!(parse(source), Err(problem.to_owned()), "{source}");
        }
    }

    #[test]
    fn facilities_have_their_numbers() {
        for (name, number) in [
            ("user", Some(1)),
            ("DAEMON", Some(3)),
            ("authpriv", Some(10)),
            ("security", Some(4)),
            ("local7", Some(23)),
            ("local8", None),
            ("local", None),
            ("", None),
        ] {
            assert_eq!(facility_number(name), number, "{name}");
        }
    }

    /// The source of an argument.
    fn shown(arg: &Arg) -> String {
        match arg {
            Arg::Text(text) => {
                let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
                format!("'{escaped}'")
            }
            Arg::Number(number) => number.to_string(),
            Arg::Tuple(args) => tuple(args),
            Arg::Stderr => "sys.stderr".to_owned(),
            Arg::Stdout => "sys.stdout".to_owned(),
        }
    }

    fn tuple(args: &[Arg]) -> String {
        let args: String = args.iter().map(|arg| format!("{},", shown(arg))).collect();
        format!("({args})")
    }

    fn any_arg() -> impl Strategy<Value = Arg> {
        let leaf = prop_oneof![
            ".*".prop_map(Arg::Text),
            any::<i64>().prop_map(Arg::Number),
            Just(Arg::Stderr),
            Just(Arg::Stdout),
        ];
        leaf.prop_recursive(3, 20, 5, |arg| {
            prop::collection::vec(arg, 0..5).prop_map(Arg::Tuple)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(args in prop::collection::vec(any_arg(), 0..5)) {
            prop_assert_eq!(parse(&tuple(&args)), Ok(args));
        }

        #[test]
        fn a_tuple_that_stops_early_is_refused(args in prop::collection::vec(any_arg(), 0..5)) {
            let whole = tuple(&args);
            for (end, _) in whole.char_indices() {
                prop_assert!(parse(&whole[..end]).is_err(), "{:?}", &whole[..end]);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[('\",)*0-9a-z.\\\\ é]*") {
            let _ = parse(&text);
        }

        #[test]
        fn no_text_at_all_makes_it_panic(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
