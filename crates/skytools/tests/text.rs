//! What we quote, the server reads as the same value; what it writes, we read.
//!
//! The database is SQL_ASCII, in which text may be any bytes but NUL, and many random values go in
//! one statement.

use std::collections::BTreeSet;
use std::io::Read as _;

use postgres::Client;
use postgres::types::Type;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use skytools::conninfo::ConnInfo;
use skytools::db::{Connection, Text};
use skytools::partial::{self, Op};
use skytools::quote::{self, Strings};
use skytools::record::Record;
use skytools::statement::{Rows, Target};
use skytools::{array, copy};
use testkit::{Cluster, TestResult};

/// Values for one statement.
const MANY: usize = 500;

type Bytes = Vec<u8>;

/// A connection of ours.
fn open(cluster: &Cluster, database: &str) -> TestResult<Connection> {
    let conninfo = ConnInfo::parse(&cluster.conninfo(database))?;
    Ok(Connection::open("db", &conninfo)?)
}

/// A database whose text is bytes, and functions to run statements that are not UTF-8.
fn bytes_database(cluster: &Cluster) -> TestResult<Client> {
    cluster.connect("postgres")?.batch_execute(
        "create database bytes template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'",
    )?;
    let mut db = cluster.connect("bytes")?;
    db.batch_execute(
        "set client_encoding = 'SQL_ASCII'; set escape_string_warning = off;
         create function run(sql text) returns void language plpgsql as
         $$ begin execute sql; end $$;
         create function run_query(sql text) returns setof text language plpgsql as
         $$ begin return query execute sql; end $$;",
    )?;
    Ok(db)
}

/// Random values, and those that have a meaning somewhere.
fn values() -> Vec<Bytes> {
    let special = [
        "", "null", "NULL", "\\N", "\\.", "\\", "'", "\\'", "E'", "$$", "{}", "\t\n\r",
    ];
    let nasty =
        prop::sample::select(b"'\"\\\t\n\r\x0b\x0c\x08\x07 ,{}$E%&=+.nNx01a\xc3\xa9\xff".to_vec());
    let byte = prop_oneof![nasty, 1_u8..=255];
    let text = prop::collection::vec(byte, 0..12);
    let mut runner = TestRunner::deterministic();
    let random = (0..MANY).map(|_| text.new_tree(&mut runner).expect("no filters").current());
    special
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .chain(random)
        .collect()
}

fn run(db: &mut Client, sql: Bytes) -> TestResult {
    db.query_typed("select run($1)", &[(&Text::from(sql), Type::TEXT)])?;
    Ok(())
}

/// First column of a query that is not UTF-8.
fn column(db: &mut Client, sql: Bytes) -> TestResult<Vec<Bytes>> {
    let sql = Text::from(sql);
    let rows = db.query_typed("select run_query($1)", &[(&sql, Type::TEXT)])?;
    Ok(rows
        .iter()
        .map(|row| row.get::<_, Text>(0).into_bytes())
        .collect())
}

/// Both settings of `standard_conforming_strings`.
fn under_both_settings(mut test: impl FnMut(&mut Client, Strings) -> TestResult) -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = bytes_database(&cluster)?;
    for (setting, strings) in [("on", Strings::Standard), ("off", Strings::Backslash)] {
        db.batch_execute(&format!("set standard_conforming_strings = {setting}"))?;
        test(&mut db, strings)?;
    }
    Ok(())
}

#[test]
fn every_keyword_of_the_server_that_needs_quotes_gets_them() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    let sql = "select word::text from pg_get_keywords() where catcode <> 'U' order by 1";
    let words: Vec<String> = db.query(sql, &[])?.iter().map(|row| row.get(0)).collect();
    assert!(words.len() > 100);
    for word in &words {
        assert_eq!(quote::ident(word), format!("\"{word}\""));
    }
    let sql = "select word::text from pg_get_keywords() where catcode = 'U'";
    for row in db.query(sql, &[])? {
        let word: String = row.get(0);
        let table = quote::ident(&word);
        db.batch_execute(&format!("create temp table {table} (); drop table {table}"))?;
    }
    Ok(())
}

#[test]
fn the_server_reads_a_literal_as_its_value() -> TestResult {
    under_both_settings(|db, strings| {
        let values = values();
        let mut sql = b"select v from (values (0, ''::text)".to_vec();
        for (number, value) in values.iter().enumerate() {
            sql.extend_from_slice(format!(",({},", number + 1).as_bytes());
            quote::push_literal(Some(value), &mut sql)?;
            sql.push(b')');
        }
        sql.extend_from_slice(b") x (n, v) where n > 0 order by n");
        assert_eq!(column(db, sql)?, values, "{strings:?}");
        Ok(())
    })
}

#[test]
fn we_read_a_literal_of_the_server_as_its_value() -> TestResult {
    under_both_settings(|db, strings| {
        for value in values() {
            let text = Text::from(value.clone());
            let row = db.query_typed_one("select quote_literal($1)", &[(&text, Type::TEXT)])?;
            let literal = row.get::<_, Text>(0).into_bytes();
            let read = quote::unquote_literal(&literal, strings)?;
            assert_eq!(read.as_deref(), Some(&value[..]));
            let mut ours = Vec::new();
            quote::push_literal(Some(&value), &mut ours)?;
            // The server may put a blank before E.
            assert_eq!(ours, literal.trim_ascii_start());
        }
        Ok(())
    })
}

#[test]
fn the_server_reads_an_identifier_as_its_name() -> TestResult {
    under_both_settings(|db, _| {
        let names: BTreeSet<Bytes> = values()
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect();
        let mut sql = b"create temp table named (".to_vec();
        for (number, name) in names.iter().enumerate() {
            sql.extend_from_slice(if number > 0 { b"," } else { b"" });
            quote::push_ident(name, &mut sql);
            sql.extend_from_slice(b" int");
        }
        sql.push(b')');
        run(db, sql)?;
        let sql = "select attname::text from pg_attribute \
                   where attrelid = 'named'::regclass and attnum > 0 order by attnum";
        let read = column(db, sql.into())?;
        assert!(names.iter().eq(&read));
        for name in names {
            let text = Text::from(name.clone());
            let row = db.query_typed_one("select quote_ident($1)", &[(&text, Type::TEXT)])?;
            let theirs = row.get::<_, Text>(0).into_bytes();
            assert_eq!(quote::unquote_ident(&theirs)?.as_ref(), name);
        }
        db.batch_execute("drop table named")?;
        Ok(())
    })
}

#[test]
fn the_server_reads_bytes_as_bytea() -> TestResult {
    under_both_settings(|db, _| {
        let all: Bytes = (0..=255).collect();
        let mut sql = b"select encode(".to_vec();
        quote::push_bytea_literal(Some(&all), &mut sql);
        sql.extend_from_slice(b"::bytea, 'hex')");
        let hex: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(column(db, sql)?, [hex.into_bytes()]);
        Ok(())
    })
}

#[test]
fn the_server_reads_our_json_strings() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    let all: String = (1..0x250)
        .filter_map(char::from_u32)
        .chain(['😀'])
        .collect();
    let sql = "select $1::json #>> '{}'";
    let json = quote::json(&all);
    let row = db.query_typed_one(sql, &[(&json, Type::TEXT)])?;
    assert_eq!(row.get::<_, String>(0), all);
    Ok(())
}

#[test]
fn rows_go_through_copy_unchanged_both_ways() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = bytes_database(&cluster)?;
    db.batch_execute("create table \"Copied\" (n int, v text, \"Order\" text)")?;
    let values = values();
    let numbers: Vec<String> = (0..values.len()).map(|number| number.to_string()).collect();
    let rows: Vec<[Option<&[u8]>; 2]> = (numbers.iter().zip(&values))
        .map(|(number, value)| [Some(number.as_bytes()), Some(&value[..])])
        .collect();
    let rows = Rows::positional("public.Copied", &["n", "Order"], &rows)?;
    assert_eq!(
        rows.copy(&mut *open(&cluster, "bytes")?)?,
        values.len() as u64
    );

    assert_eq!(
        column(
            &mut db,
            b"select \"Order\" from \"Copied\" order by n".into()
        )?,
        values
    );
    let mut text = Vec::new();
    db.copy_out("copy (select v, \"Order\" from \"Copied\" order by n) to stdout")?
        .read_to_end(&mut text)?;
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    assert_eq!(lines.len(), values.len());
    for (line, value) in lines.iter().zip(&values) {
        let fields: Vec<_> = copy::fields(line).collect::<Result<_, _>>()?;
        let fields: Vec<_> = fields.iter().map(Option::as_deref).collect();
        assert_eq!(fields, [None, Some(&value[..])]);
    }
    Ok(())
}

#[test]
fn rows_larger_than_a_chunk_are_copied_whole() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute("create table big (v text)")?;
    let value = vec![b'\\'; 700_000];
    let rows = Rows::positional("big", &["v"], &[[Some(&value[..])]; 4])?;
    assert_eq!(rows.copy(&mut *open(&cluster, "postgres")?)?, 4);
    let sql = "select sum(length(v)) = 2800000 and min(v) = repeat(chr(92), 700000) from big";
    assert!(db.query_one(sql, &[])?.get::<_, bool>(0));
    Ok(())
}

#[test]
fn rows_that_the_server_refuses_are_not_written() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute("create table checked (n int primary key)")?;
    let rows: &[[Option<&[u8]>; 1]] = &[[Some(b"1")], [Some(b"1")]];
    let rows = Rows::positional("checked", &["n"], rows)?;
    for error in [
        rows.copy(&mut *open(&cluster, "postgres")?).unwrap_err(),
        rows.insert(&mut db).unwrap_err(),
    ] {
        let skytools::statement::Error::Db(error) = error else {
            panic!("{error}");
        };
        assert_eq!(
            error.sql_state().map(postgres::error::SqlState::code),
            Some("23505")
        );
    }
    assert_eq!(
        db.query_one("select count(*) from checked", &[])?
            .get::<_, i64>(0),
        0
    );
    Ok(())
}

#[test]
fn rows_are_inserted_unchanged_and_missing_columns_are_null() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute("create schema s; create table s.\"T\" (a text, b text, c text default 'x')")?;
    let rows = [
        Record::from([("a", Some("it's \\ é\t")), ("b", None)]),
        Record::from([("b", Some("2")), ("c", Some("not written"))]),
    ];
    let rows = Rows::records("s.T", None, &rows);
    for standard in ["on", "off"] {
        db.batch_execute(&format!("set standard_conforming_strings = {standard}"))?;
        assert_eq!(rows.insert(&mut db)?, 2);
    }
    let sql = "select array_agg(distinct t::text) from s.\"T\" t";
    let found: Vec<String> = db.query_one(sql, &[])?.get(0);
    assert_eq!(found, ["(\"it's \\\\ é\t\",,x)", "(,2,x)"]);
    let none = Rows::records("no.table", None, &[]);
    assert_eq!(
        (
            none.copy(&mut *open(&cluster, "postgres")?)?,
            none.insert(&mut db)?
        ),
        (0, 0)
    );
    Ok(())
}

#[test]
fn arrays_pass_through_the_server_unchanged() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = bytes_database(&cluster)?;
    let values = values();
    let mut elements: Vec<Option<&[u8]>> = values.iter().map(|value| Some(&value[..])).collect();
    elements.insert(3, None);
    let mut ours = Vec::new();
    array::push(elements.iter().copied(), &mut ours);
    let row = db.query_typed_one(
        "select ($1::text)::text[]::text",
        &[(&Text::from(ours), Type::TEXT)],
    )?;
    let theirs = row.get::<_, Text>(0).into_bytes();
    let read = array::parse(&theirs)?;
    let read: Vec<_> = read.iter().map(Option::as_deref).collect();
    assert_eq!(read, elements);
    let row = db.query_typed_one("select array_fill('x'::text, '{2}', '{0}')::text", &[])?;
    assert_eq!(array::parse(row.get::<_, String>(0).as_bytes())?.len(), 2);
    Ok(())
}

#[test]
fn partial_sql_of_the_server_is_read_and_applied() -> TestResult {
    under_both_settings(|db, strings| {
        let values: Vec<Bytes> = values();
        db.batch_execute(
            "drop table if exists \"Row\"; create table \"Row\" (k text, \"Order\" text)",
        )?;
        for (number, value) in values.iter().enumerate() {
            let write = "select format('(%I,%I) values (%L,%s)', 'k', 'Order', $1, 'null'), \
                         format('%I=%L where %I=%L', 'Order', $2, 'k', $1)";
            let key = number.to_string();
            let row = db.query_typed_one(
                write,
                &[(&key, Type::TEXT), (&Text::from(value.clone()), Type::TEXT)],
            )?;
            let (insert, update) = (row.get::<_, Text>(0), row.get::<_, Text>(1));
            let parsed = partial::parse(Op::Insert, insert.as_bytes(), strings)?;
            assert_eq!(
                parsed.values,
                Record::from([("k", Some(&*key)), ("Order", None)])
            );
            let parsed = partial::parse(Op::Update, update.as_bytes(), strings)?;
            assert_eq!(parsed.keys, Record::from([("k", Some(&*key))]));
            assert_eq!(parsed.values.get("Order"), Some(Some(&value[..])));
            let mut script = Vec::new();
            partial::statement(Op::Insert, b"Row", insert.as_bytes(), &mut script);
            partial::statement(Op::Update, b"public.Row", update.as_bytes(), &mut script);
            run(db, script)?;
        }
        let read = column(db, b"select \"Order\" from \"Row\" order by k::int".into())?;
        assert_eq!(read, values);
        let mut script = Vec::new();
        partial::statement(Op::Delete, b"public.Row", b"k='0'", &mut script);
        run(db, script)?;
        let left = column(db, b"select count(*)::text from \"Row\"".into())?;
        assert_eq!(left, [(values.len() - 1).to_string().into_bytes()]);
        Ok(())
    })
}

#[test]
fn generated_statements_write_the_row() -> TestResult {
    under_both_settings(|db, _| {
        db.batch_execute(
            "drop table if exists \"Gen\";
             create table \"Gen\" (id text primary key, \"from\" text, n text)",
        )?;
        let target = Target {
            table: b"public.Gen",
            keys: &[b"id"],
            fields: &[],
        };
        let values = values();
        for value in values.iter().collect::<BTreeSet<_>>() {
            let text = || std::borrow::Cow::Borrowed(&value[..]);
            let name = |name: &'static str| std::borrow::Cow::Borrowed(name.as_bytes());
            let row = |n: &'static [u8]| {
                let columns = vec![
                    (name("id"), Some(text())),
                    (name("from"), None),
                    (name("n"), Some(n.into())),
                ];
                Record::new(columns)
            };
            let mut script = Vec::new();
            target.push_insert(&row(b"1"), &mut script)?;
            target.push_update(&row(b"2"), &mut script)?;
            run(db, script)?;
            let mut sql = b"select n from \"Gen\" where \"from\" is null and id = ".to_vec();
            quote::push_literal(Some(value), &mut sql)?;
            assert_eq!(column(db, sql)?, [b"2"]);
            let mut script = Vec::new();
            target.push_delete(&row(b"3"), &mut script)?;
            run(db, script)?;
        }
        assert_eq!(
            column(db, b"select count(*)::text from \"Gen\"".into())?,
            [b"0"]
        );
        Ok(())
    })
}
