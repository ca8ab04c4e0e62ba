//! What the real triggers write is read and repeated, whatever the names and values.

use pgq::row::Op::{self, Delete, Insert, Truncate, Update};
use pgq::row::{Fields, Format, RowEvent};
use postgres::Client;
use postgres::types::Type;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use skytools::conninfo::ConnInfo;
use skytools::db::{Connection, GenericClient, Text};
use skytools::quote::{self, Strings};
use testkit::{Cluster, TestResult};

const TABLE: &str = r#"
    "Order" int8, "from" text, "a""b" text, "é €" numeric, flag bool, doc json, raw bytea,
    list text[], day timestamptz, padded char(6), primary key ("from", "Order")"#;

/// Changes with every special character, NULLs and a no-op; keys stay, as the triggers demand.
const CHANGES: &str = r#"
    insert into "Mixed Case" values
        (9223372036854775807, 'it''s', E'back\\slash\ttab\nline', 1.10, true,
         '{"a": "\n\"", "n" :1.0}', '\x00ff5c27', array['a b', null, 'NULL', '"\'],
         '2020-01-02 03:04:05.678901+02', 'ab'),
        (-1, '', null, null, null, null, null, null, null, null),
        (2, E'\\', '', 'NaN', false, '[]', '', '{}', 'infinity', ''),
        (3, 'gone', '%41&=+ "é', 0, null, null, null, null, null, null);
    update "Mixed Case" set "a""b" = null, flag = not flag, list = '{x}' where "Order" = 2;
    update "Mixed Case" set "a""b" = E'set''\\' where "from" = '';
    update "Mixed Case" set flag = flag where flag;
    delete from "Mixed Case" where "from" = 'gone';"#;

/// Installs PgQ and makes the table, with one queue and trigger for each format.
fn captured(cluster: &Cluster) -> TestResult<Client> {
    let conninfo = skytools::conninfo::ConnInfo::parse(&cluster.conninfo("postgres"))?;
    let mut connection = Connection::open("db", &conninfo)?;
    let mut tx = connection.begin()?;
    pgq::schema::install(&mut tx)?;
    tx.commit()?;
    let mut db = cluster.connect("postgres")?;
    db.batch_execute(&format!("create table \"Mixed Case\" ({TABLE})"))?;
    for trigger in ["sqltriga", "logutriga", "jsontriga"] {
        db.batch_execute(&format!(
            "select pgq.create_queue('{trigger}');
             create trigger {trigger} after insert or update or delete on \"Mixed Case\"
             for each row execute function pgq.{trigger}('{trigger}');
             create trigger {trigger}_truncate after truncate on \"Mixed Case\"
             for each statement execute function pgq.{trigger}('{trigger}');
             create table {trigger} ({TABLE});"
        ))?;
    }
    Ok(db)
}

fn rows(db: &mut Client, table: &str) -> TestResult<Vec<String>> {
    let sql = format!("select t::text from {} t order by 1", quote::fqident(table));
    Ok(db.query(&sql, &[])?.iter().map(|row| row.get(0)).collect())
}

/// Repeats the events of a queue in the table of the same name; returns what they were.
fn repeat(db: &mut Client, queue: &str) -> TestResult<Vec<(Op, Format)>> {
    let table = db.query_typed_one(
        "select pgq.current_event_table($1)",
        &[(&queue, Type::TEXT)],
    )?;
    let sql = format!(
        "select ev_type, ev_data, ev_extra1, ev_extra2 from {} order by ev_id",
        table.get::<_, &str>(0)
    );
    let mut seen = Vec::new();
    for row in db.query(&sql, &[])? {
        let fields: [Option<Text>; 4] = [row.get(0), row.get(1), row.get(2), row.get(3)];
        let [kind, data, extra1, extra2] = fields
            .each_ref()
            .map(|field| field.as_ref().map(Text::as_bytes));
        let fields = Fields {
            kind,
            data,
            extra1,
            extra2,
        };
        let event = RowEvent::parse(fields, Strings::Standard)?.ok_or("a row event")?;
        assert_eq!(event.table.as_deref(), Some(&b"public.Mixed Case"[..]));
        let mut script = Vec::new();
        event.push_statement(queue.as_bytes(), &mut script)?;
        if event.op == Truncate {
            script = format!("truncate {}", quote::fqident(queue)).into_bytes();
        }
        db.batch_execute(&String::from_utf8(script)?)?;
        seen.push((event.op, event.format));
    }
    Ok(seen)
}

#[test]
fn changes_captured_in_any_format_repeat_to_the_same_rows() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = captured(&cluster)?;
    db.batch_execute(CHANGES)?;
    let expected = rows(&mut db, "public.Mixed Case")?;
    assert_eq!(expected.len(), 3);
    let formats = [
        ("sqltriga", Format::Partial),
        ("logutriga", Format::UrlEncoded),
        ("jsontriga", Format::Json),
    ];
    for (queue, format) in formats {
        for setting in ["on", "off"] {
            db.batch_execute(&format!(
                "set standard_conforming_strings = {setting}; truncate {queue}"
            ))?;
            let seen = repeat(&mut db, queue)?;
            assert_eq!(rows(&mut db, queue)?, expected, "{queue}");
            let ops = [
                Insert, Insert, Insert, Insert, Update, Update, Update, Update, Delete,
            ];
            assert_eq!(seen, ops.map(|op| (op, format)));
        }
    }
    Ok(())
}

#[test]
fn a_truncate_is_captured_in_any_format() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = captured(&cluster)?;
    db.batch_execute(CHANGES)?;
    db.batch_execute("truncate \"Mixed Case\"")?;
    for queue in ["sqltriga", "logutriga", "jsontriga"] {
        let seen = repeat(&mut db, queue)?;
        assert_eq!(seen.last().map(|(op, _)| *op), Some(Truncate));
        assert_eq!(rows(&mut db, queue)?, [""; 0]);
    }
    Ok(())
}

/// A row: the key, and a value for each other column of [`RANDOM`].
type Row = (String, [Option<String>; 3], Option<Vec<u8>>, Option<f64>);

const RANDOM: &str = r#"
    "k e/y" text primary key, "a=b&c%d+e" text, "'É""" text, "null" text[], "values" bytea,
    "where" numeric"#;

/// The columns as text, in the order of the table; arrays of one element.
const COLUMNS: &str =
    r#""k e/y", "a=b&c%d+e", "'É""", "null"::text, "values"::text, "where"::text"#;

fn text() -> impl Strategy<Value = String> {
    // NUL is the one character that PostgreSQL has no place for.
    let special = r#"[\\'"%&+=,{}()\n\t\r\x01-\x1f\x7f a-cé€😀]{0,12}"#;
    prop_oneof![special, "[^\0]{0,12}", Just("NULL".to_owned())]
}

fn row() -> impl Strategy<Value = Row> {
    let texts = prop::array::uniform3(prop::option::of(text()));
    let number = prop::option::of(prop::num::f64::NORMAL);
    (text(), texts, any::<Option<Vec<u8>>>(), number)
}

/// The columns of a row as text.
type Values = Vec<Option<Vec<u8>>>;

/// Reads the events that this transaction has put into a queue, with the columns in the order of names.
fn captured_rows(
    db: &mut impl GenericClient,
    queue: &str,
    names: &[&str],
) -> TestResult<Vec<(Op, Values)>> {
    let sql = format!(
        "select ev_type, ev_data, ev_extra1, ev_extra2 from {} \
         where ev_txid = txid_current() order by ev_id",
        db.query_one("select pgq.current_event_table($1)", &[&queue])?
            .get::<_, &str>(0)
    );
    let mut rows = Vec::new();
    for row in db.query(&sql, &[])? {
        let fields: [Option<Text>; 4] = [row.get(0), row.get(1), row.get(2), row.get(3)];
        let [kind, data, extra1, extra2] = fields
            .each_ref()
            .map(|field| field.as_ref().map(Text::as_bytes));
        let fields = Fields {
            kind,
            data,
            extra1,
            extra2,
        };
        let event = RowEvent::parse(fields, Strings::Standard)?.ok_or("a row event")?;
        let op = event.op;
        let record = event.into_row();
        let value = |name: &&str| record.get(*name).flatten().map(<[u8]>::to_vec);
        rows.push((op, names.iter().map(value).collect()));
    }
    Ok(rows)
}

/// What the triggers say of a row that is put in and taken out again.
fn put_in_and_out(db: &mut Connection, row: &Row) -> TestResult {
    let (key, [first, second, third], bytes, number) = row;
    let mut tx = db.begin()?;
    let row = tx.query_typed_one(
        &format!(
            "insert into random values ($1, $2, $3, array[$4], $5, $6::float8::numeric) \
             returning {COLUMNS}"
        ),
        &[
            (key, Type::TEXT),
            (first, Type::TEXT),
            (second, Type::TEXT),
            (third, Type::TEXT),
            (bytes, Type::BYTEA),
            (number, Type::FLOAT8),
        ],
    )?;
    let stored: Values = (0..row.len())
        .map(|column| row.get::<_, Option<Text>>(column).map(Text::into_bytes))
        .collect();
    tx.batch_execute("delete from random")?;
    let names = ["k e/y", "a=b&c%d+e", "'É\"", "null", "values", "where"];
    for queue in ["sqltriga", "logutriga", "jsontriga"] {
        let mut deleted = stored.clone();
        if queue == "sqltriga" {
            // Partial SQL names the key of a row that goes, and nothing else.
            deleted[1..].fill(None);
        }
        let expected = [(Insert, stored.clone()), (Delete, deleted)];
        let seen = captured_rows(&mut *tx, queue, &names)?;
        if seen != expected {
            return Err(format!("{queue}: {seen:?} instead of {expected:?}").into());
        }
    }
    Ok(())
}

#[test]
fn random_rows_read_back_from_any_format_as_they_are_stored() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = captured(&cluster)?;
    db.batch_execute(&format!("create table random ({RANDOM})"))?;
    for trigger in ["sqltriga", "logutriga", "jsontriga"] {
        db.batch_execute(&format!(
            "create trigger {trigger} after insert or update or delete on random
             for each row execute function pgq.{trigger}('{trigger}')"
        ))?;
    }
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    let own = Connection::open("db", &ConnInfo::parse(&cluster.conninfo("postgres"))?)?;
    let db = std::cell::RefCell::new(own);
    runner.run(&row(), |row| {
        put_in_and_out(&mut db.borrow_mut(), &row)
            .map_err(|error| TestCaseError::fail(error.to_string()))
    })?;
    Ok(())
}
