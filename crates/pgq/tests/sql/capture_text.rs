//! All ways to capture a change write the same bytes: the C triggers of Debian's PgQ where the server has
//! them, the code that is generated for rows, for statements and for generic triggers, and the slow way.

use postgres::Client;
use testkit::{Cluster, TestResult};

use crate::support::{install, row, rows};

/// A column's name and type, and values that it takes; a null is always one more.
type Column = (&'static str, &'static str, &'static [&'static str]);

/// Types of columns of which the server writes the rows of the table themselves into JSON just as a capture does.
const ALIKE: &[&str] = &[
    "int2",
    "int4",
    "int8",
    "bool",
    "date",
    "timestamp",
    "timestamptz",
    "text",
    "varchar(20)",
    "char(6)",
    "uuid",
    "int",
    "oid",
    "bytea",
    "time",
    "timetz",
    "interval",
    "inet",
    "cidr",
];

/// Columns of the table.
const COLUMNS: &[Column] = &[
    ("i2", "int2", &["-32768", "0", "7"]),
    ("i4", "int4", &["-1", "0", "2147483647"]),
    ("i8", "int8", &["9223372036854775807", "0"]),
    ("o", "oid", &["0", "4294967295"]),
    (
        "n",
        "numeric",
        &[
            "1.0",
            "1.00",
            "'NaN'",
            "'Infinity'",
            "-12345678901234567890.5",
        ],
    ),
    ("n2", "numeric(12,2)", &["1", "2.5", "-0.01"]),
    ("f4", "float4", &["0", "'-0'", "1.5e20", "'NaN'", "0.1"]),
    (
        "f8",
        "float8",
        &["0", "'-0'", "1.0/3", "'-Infinity'", "1e-300"],
    ),
    ("b", "bool", &["true", "false"]),
    ("c", "char(6)", &["'ab'", "''", "'it''s'"]),
    (
        "t",
        "text",
        &[
            "''",
            "'plain'",
            "'two words'",
            "E'it''s \\\\ back\\nnl\\ttab \\x01\\x1f\\x7f é€😀 \"dq\" %25+&=/~*!()'",
            "'NULL'",
            "repeat('0123456789 é&=', 200)",
        ],
    ),
    (
        "v",
        "varchar(20)",
        &["'x'", "'a''b\\c'", "'-._'", "'a,NULL'"],
    ),
    ("tc", "text collate \"C\"", &["'one'"]),
    ("tp", "text collate \"POSIX\"", &["'other'"]),
    ("nm", "name", &["'Name'", "'with \"quotes\"'"]),
    ("by", "bytea", &["'\\x00ff5c27'", "''"]),
    (
        "ai",
        "int[]",
        &["'{1,NULL,3}'", "'[0:1]={1,2}'", "'{1,2}'", "'{}'"],
    ),
    (
        "at",
        "text[]",
        &[
            "'{\"a b\",\"q\\\"uo\\\\te\",NULL,\"NULL\"}'",
            "'{{a,b},{c,d}}'",
        ],
    ),
    ("ab", "bool[]", &["'{true,false}'"]),
    (
        "co",
        "pair",
        &["row(1, 'x, \"y\"')", "row(null, null)", "row(2, '')"],
    ),
    (
        "ts",
        "timestamp",
        &[
            "'2020-01-02 03:04:05.678901'",
            "'infinity'",
            "'0044-03-15 BC'",
            "'12020-01-01'",
        ],
    ),
    (
        "tz",
        "timestamptz",
        &[
            "'2020-01-02 03:04:05.6+02'",
            "'-infinity'",
            "'0044-03-15 BC'",
            "'1890-01-01'",
        ],
    ),
    (
        "d",
        "date",
        &["'2020-01-02'", "'infinity'", "'0044-03-15 BC'"],
    ),
    ("ti", "time", &["'03:04:05'", "'24:00:00'"]),
    ("tt", "timetz", &["'03:04:05+02'"]),
    (
        "iv",
        "interval",
        &[
            "'1 day 02:03:04'",
            "'1 mon'",
            "'30 days'",
            "'-1 year 2 days'",
        ],
    ),
    (
        "js",
        "json",
        &[
            "'{\"a\": \"b\\\\n\\\"\", \"n\" :1.0}'",
            "'{\"a\":1}'",
            "'{\"a\": 1}'",
            "'null'",
        ],
    ),
    (
        "jb",
        "jsonb",
        &["'{\"b\":1,\"a\":\"é\"}'", "'[1.0]'", "'[1.00]'", "'\"x\"'"],
    ),
    ("u", "uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]),
    ("e", "mood", &["'it''s \"quoted\"'", "'sad'"]),
    ("ip", "inet", &["'192.168.1.5'", "'10.0.0.0/8'", "'::1'"]),
    ("ci", "cidr", &["'10.0.0.0/8'"]),
    ("pt", "point", &["'(1.5,2)'", "'(0,0)'"]),
    ("bx", "box", &["'(1,1),(0,0)'", "'(2,0.5),(0,0)'"]),
    ("x", "xml", &["'<a>&amp;</a>'"]),
    ("mo", "money", &["12.34", "0"]),
    ("ir", "int4range", &["'[1,5)'", "'empty'"]),
    (
        "tr",
        "tstzrange",
        &["'[2020-01-01 00:00+00,2020-01-02 00:00+00)'"],
    ),
    ("tv", "tsvector", &["'a:1 b'"]),
    ("bi", "bit(3)", &["B'101'"]),
    ("vb", "varbit", &["B'1'", "B''"]),
    ("dn", "whole", &["5", "6"]),
    ("db", "truth", &["true"]),
    ("dt", "words", &["'{a,b}'"]),
    ("rg", "regtype", &["'int4'::regtype"]),
    ("\"Mixed Case\"", "text", &["'m'"]),
    ("\"select\"", "int", &["1", "2"]),
    ("\"q\"\"uo't%e\"", "text", &["'q'", "''"]),
    ("\"a=b&c+d%\"", "text", &["'eq'"]),
    ("\"é\"", "text", &["'accent'"]),
];

/// Settings that shape the text of values.
const SETTINGS: &[(&str, &[&str])] = &[
    (
        "DateStyle",
        &["ISO, MDY", "German", "SQL, DMY", "Postgres, MDY"],
    ),
    (
        "IntervalStyle",
        &["postgres", "iso_8601", "sql_standard", "postgres_verbose"],
    ),
    ("TimeZone", &["UTC", "America/New_York", "Asia/Kolkata"]),
    ("bytea_output", &["hex", "escape"]),
    ("extra_float_digits", &["1", "0", "-5", "3"]),
];

/// Options that the C triggers do not have.
const LONDISTE: &[&str] = &["key_updates=log", "changes=text", "settings=pinned"];

/// The same for a key that is checked late.
const LATE: &[&str] = &[
    "key_updates=log",
    "changes=text",
    "settings=pinned",
    "backup=changes",
];

/// One for pairs.
const MINIMAL: &[&str] = &["encoding=minimal"];

/// Whether only generated captures have the arguments.
fn is_extended(arguments: &[&str]) -> bool {
    arguments.starts_with(LONDISTE) || arguments == MINIMAL
}

/// A small generator of numbers: the same seed gives the same test.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below a usize")
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Seed of the run, and how many statements it makes of each table.
fn plan() -> (u64, usize) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    (
        number("CAPTURE_SEED").unwrap_or(20_030),
        number("CAPTURE_STATEMENTS").map_or(15, |n| usize::try_from(n).unwrap_or(usize::MAX)),
    )
}

/// Makes the C triggers callable beside ours. False where the server came without them.
#[expect(clippy::print_stderr, reason = "the reader of the results has to know")]
fn c_triggers(db: &mut Client) -> TestResult<bool> {
    let created = db.batch_execute(
        "create schema c;
         create function c.sqltriga() returns trigger as '$libdir/pgq_triggers', 'pgq_sqltriga' language c;
         create function c.logutriga() returns trigger as '$libdir/pgq_triggers', 'pgq_logutriga' language c;
         create function c.jsontriga() returns trigger as '$libdir/pgq_triggers', 'pgq_jsontriga' language c",
    );
    match created {
        Ok(()) => Ok(true),
        Err(error)
            if error
                .as_db_error()
                .is_some_and(|e| e.code().code() == "58P01") =>
        {
            eprintln!("skipped: the C triggers, which this server does not have");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Creates the types and the table `t`.
fn table(db: &mut Client, columns: &[Column]) -> TestResult {
    let columns: Vec<String> = columns
        .iter()
        .map(|(name, kind, _)| format!("{name} {kind}"))
        .collect();
    db.batch_execute(&format!(
        "drop table if exists t;
         do $$ begin
            if to_regtype('pair') is null then
                create type pair as (a int, b text);
                create type mood as enum ('it''s \"quoted\"', 'sad');
                create domain whole as int;
                create domain truth as bool;
                create domain words as text[];
            end if;
         end $$;
         create table t (gone int, k int, {}, \"K 2\" text, primary key (\"K 2\", k));
         alter table t drop column gone",
        columns.join(", ")
    ))?;
    Ok(())
}

/// One of the values, or a null.
fn value(random: &mut Random, values: &[&str]) -> String {
    match random.below(values.len() + 1) {
        0 => "null".to_owned(),
        n => values[n - 1].to_owned(),
    }
}

/// Inserts a random row.
fn insertion(random: &mut Random, columns: &[Column], key: usize) -> String {
    let values: Vec<String> = columns
        .iter()
        .map(|column| value(random, column.2))
        .collect();
    format!(
        "insert into t values ({key}, {}, {}) on conflict do nothing",
        values.join(", "),
        random.pick(&["'key'", "'k''e\\y'", "'%'"]),
    )
}

/// A random statement over rows whose keys are below 8.
fn statement(random: &mut Random, columns: &[Column]) -> String {
    match random.below(10) {
        0..=1 => {
            let key = random.below(8);
            insertion(random, columns, key)
        }
        2 => format!("delete from t where k = {}", random.below(8)),
        3 => format!("update t set i4 = i4 where k = {}", random.below(8)),
        _ => {
            let mut changes = vec!["k = k".to_owned()];
            for column in columns {
                if random.below(8) == 0 {
                    changes.push(format!("{} = {}", column.0, value(random, column.2)));
                }
            }
            format!(
                "update t set {} where k % 3 = {}",
                changes.join(", "),
                random.below(3)
            )
        }
    }
}

/// Ways to capture `t`, each into a queue of its own; the first is held against the others.
fn capture(
    db: &mut Client,
    format: &str,
    arguments: &[&str],
    with_c: bool,
) -> TestResult<Vec<&'static str>> {
    let function = match format {
        "sql" => "sqltriga",
        "urlenc" => "logutriga",
        _ => "jsontriga",
    };
    let list = |queue: &str| {
        let quoted: Vec<String> = std::iter::once(queue)
            .chain(arguments.iter().copied())
            .map(|argument| format!("'{}'", argument.replace('\'', "''")))
            .collect();
        quoted.join(", ")
    };
    let mut ways = vec!["slow", "row"];
    // What only generated captures have is rendered in the slow way for a queue with a limit.
    let limit = match is_extended(arguments) {
        true => "1000000000",
        false => "null",
    };
    db.batch_execute(&format!(
        "update pgq.queue set queue_per_tx_limit = {limit} where queue_name = 'slow'"
    ))?;
    if is_extended(arguments) {
        // The slow way encodes everything.
        ways = vec!["slow", "row", "statement"];
        ways.retain(|way| *way != "slow" || arguments != MINIMAL);
        for way in &ways {
            let level = if *way == "statement" { *way } else { "row" };
            db.batch_execute(&format!(
                "select pgq.create_capture('t', '{way}', '{format}', '{level}', array[{}])",
                list(way)
            ))?;
        }
        return Ok(ways);
    }
    db.batch_execute(&format!(
        "create trigger slow after insert or update or delete on t
             for each row execute function pgq.{function}({});
         select pgq.create_capture('t', 'row', '{format}', 'row', array[{}]),
                pgq.create_capture('t', 'generic', '{format}', 'generic', array[{}]);
         delete from pgq.capture where cap_trigger = 'slow'",
        list("slow"),
        list("row"),
        list("generic"),
    ))?;
    ways.push("generic");
    if !arguments
        .iter()
        .any(|argument| argument.starts_with("ev_") || argument.starts_with("when"))
    {
        db.batch_execute(&format!(
            "select pgq.create_capture('t', 'statement', '{format}', 'statement', array[{}])",
            list("statement")
        ))?;
        ways.push("statement");
    }
    if with_c {
        db.batch_execute(&format!(
            "create trigger c after insert or update or delete on t
                 for each row execute function c.{function}({})",
            list("c")
        ))?;
        ways.push("c");
    }
    Ok(ways)
}

/// What the current statements wrote into a queue.
fn events(db: &mut Client, queue: &str) -> TestResult<Vec<String>> {
    let prefix = row(
        db,
        &format!("select queue_data_pfx from pgq.queue where queue_name = '{queue}'"),
    )?;
    rows(
        db,
        &format!(
            "select ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4 from {prefix} order by ev_id"
        ),
    )
}

#[test]
fn every_way_to_capture_writes_the_same_bytes() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    let with_c = c_triggers(&mut db)?;
    for queue in ["slow", "row", "generic", "statement", "c"] {
        db.batch_execute(&format!("select pgq.create_queue('{queue}')"))?;
    }
    let (seed, statements) = plan();
    let mut random = Random(seed);
    let some = |wanted: fn(&Column) -> bool| -> Vec<Column> {
        COLUMNS.iter().copied().filter(wanted).collect()
    };
    let alike = some(|(_, kind, _)| ALIKE.contains(kind));
    // Pairs of these are encoded together, and of the fewer mostly hold nothing to be encoded.
    let named_plainly = some(|(name, ..)| name.bytes().all(|b| b.is_ascii_alphanumeric()));
    let simple = some(|(name, ..)| ["i4", "n", "f8", "b", "c", "t", "v", "tz"].contains(name));
    for (format, columns) in [
        ("sql", COLUMNS),
        ("urlenc", COLUMNS),
        ("json", COLUMNS),
        ("json", &alike),
        ("urlenc", &named_plainly),
        ("urlenc", &simple),
    ] {
        for arguments in [
            &[][..],
            &["ignore=i4,t,by"],
            &["backup"],
            &["backup", "ignore=k,jb,nm"],
            &["pkey=k,K 2"],
            &["ev_extra3='constant'", "ev_extra1='other.name'"],
            &["when=k > 1", "ev_extra4=t || k", "ev_type='T' || b"],
            LONDISTE,
            LATE,
            MINIMAL,
        ] {
            let extended = is_extended(arguments);
            let key_updates = arguments.starts_with(LONDISTE);
            let whole = columns.len() == COLUMNS.len();
            if match arguments {
                MINIMAL => format != "urlenc" || whole,
                ["backup"] => format == "urlenc" && !whole,
                _ if key_updates => format != "sql",
                _ => !whole && !arguments.is_empty(),
            } {
                continue;
            }
            table(&mut db, columns)?;
            let ways = capture(&mut db, format, arguments, with_c && !extended)?;
            let by_one_call = |row_type| {
                format!(
                    "select count(*) from pg_trigger join pg_proc p on p.oid = tgfoid
                      where tgrelid = 't'::regclass and p.pronamespace = 'pgq_gen'::regnamespace
                        and strpos(p.prosrc, ':= pg_catalog.row_to_json({row_type}') > 0"
                )
            };
            let of_table = columns == alike;
            for (row_type, expected) in [("NEW)", of_table), ("row(NEW.", !of_table)] {
                assert_eq!(
                    row(&mut db, &by_one_call(row_type))? != "0",
                    format == "json" && expected,
                    "{format} {arguments:?}"
                );
            }
            for number in 0..statements + 6 {
                for (name, values) in SETTINGS {
                    db.batch_execute(&format!("set {name} = '{}'", random.pick(values)))?;
                }
                let statement = match random.below(4) {
                    _ if number < 6 => insertion(&mut random, columns, number),
                    0 if key_updates => {
                        "update t set k = k + 8, n = n where k in (1, 9)".to_owned()
                    }
                    _ => statement(&mut random, columns),
                };
                db.batch_execute(&statement)
                    .map_err(|error| format!("{statement}: {error:?}"))?;
            }
            let expected = events(&mut db, ways[0])?;
            assert!(
                expected.len() > statements / 2,
                "too little happened: {}",
                expected.len()
            );
            for way in &ways[1..] {
                let found = events(&mut db, way)?;
                let difference = expected.iter().zip(&found).find(|(a, b)| a != b);
                assert_eq!(
                    difference, None,
                    "{way} differs from slow: {format} {arguments:?}, seed {seed}"
                );
                assert_eq!(
                    found.len(),
                    expected.len(),
                    "{way}: {format} {arguments:?}, seed {seed}"
                );
            }
            for way in &ways {
                db.batch_execute(&format!(
                    "do $$ begin execute 'truncate ' || (select queue_data_pfx from pgq.queue
                                                         where queue_name = '{way}') || '_0'; end $$"
                ))?;
            }
        }
    }
    Ok(())
}

#[test]
fn the_trigger_of_version_2_writes_the_same_bytes_with_generated_code() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = install(&cluster)?;
    let with_c = c_triggers(&mut db)?;
    let (seed, statements) = plan();
    let mut random = Random(seed);
    // A letter per column: the key, data with something to ignore in between, and the rest of the key.
    let kinds: String = std::iter::once('k')
        .chain((0..COLUMNS.len()).map(|i| if i % 5 == 2 { 'i' } else { 'v' }))
        .chain(['k'])
        .collect();
    table(&mut db, COLUMNS)?;
    let mut ways = vec!["slow", "generic"];
    for queue in ["slow", "generic", "c"] {
        db.batch_execute(&format!("select pgq.create_queue('{queue}')"))?;
    }
    for queue in &ways {
        db.batch_execute(&format!(
            "create trigger {queue} after insert or update or delete on t
                 for each row execute function pgq.logtriga('{queue}', '{kinds}', 'unused')"
        ))?;
    }
    if with_c {
        db.batch_execute(&format!(
            "create function c.logtriga() returns trigger as '$libdir/pgq_triggers', 'pgq_logtriga' language c;
             create trigger c after insert or update or delete on t
                 for each row execute function c.logtriga('c', '{kinds}')"
        ))?;
        ways.push("c");
    }
    db.batch_execute(
        "select pgq.refresh_captures(); select pgq_gen._remove('t'::regclass, 'slow')",
    )?;
    assert_eq!(
        rows(&mut db, "select cap_trigger, cap_format from pgq.capture")?,
        ["generic|kinds"]
    );
    for number in 0..statements + 6 {
        let statement = if number < 6 {
            insertion(&mut random, COLUMNS, number)
        } else {
            statement(&mut random, COLUMNS)
        };
        db.batch_execute(&statement)
            .map_err(|error| format!("{statement}: {error:?}"))?;
    }
    let expected = events(&mut db, "slow")?;
    assert!(expected.len() > 6);
    for way in &ways[1..] {
        assert_eq!(events(&mut db, way)?, expected, "{way}, seed {seed}");
    }
    Ok(())
}
