//! Large values: through every format and every way to capture.

use pgq::row::{Fields, RowEvent};
use postgres::Client;
use skytools::db::Text;
use skytools::quote::Strings;
use testkit::TestResult;

use crate::captures::queue_and_table;
use crate::support::{refusal, row};

/// Megabytes of a value: what `PGQ_VALUE_MB` says. With 300 it takes minutes, and some gigabytes of memory.
fn megabytes() -> u32 {
    let text = std::env::var("PGQ_VALUE_MB").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Captures `t` at a level of captures, or by a trigger made by hand.
fn capture(db: &mut Client, format: &str, function: &str, level: &str) -> TestResult {
    db.batch_execute(&match level {
        "by hand" => format!(
            "create trigger c after insert or update or delete on t for each row execute function pgq.{function}('q')"
        ),
        _ => format!("select pgq.create_capture('t', 'c', '{format}', '{level}', array['q'])"),
    })?;
    Ok(())
}

const LEVELS: &[&str] = &["by hand", "generic", "row", "statement"];

/// What the only event says of the column `a`.
fn value(db: &mut Client) -> TestResult<Option<Vec<u8>>> {
    let event = db.query_one("select ev_type, ev_data from pgq.event_template", &[])?;
    let [kind, data]: [Text; 2] = [event.get(0), event.get(1)];
    let fields = Fields {
        kind: Some(kind.as_bytes()),
        data: Some(data.as_bytes()),
        ..Fields::default()
    };
    let event = RowEvent::parse(fields, Strings::Standard)?.ok_or("a row event")?;
    Ok(event.into_row().get("a").flatten().map(<[u8]>::to_vec))
}

/// A value comes through whole, however it is captured and changed.
fn a_large_value_is_logged_whole(format: &str, function: &str) -> TestResult {
    let (_cluster, mut db) = queue_and_table()?;
    db.batch_execute("alter table t alter a set storage external")?;
    let size = megabytes() as usize * 1_000_000;
    for level in LEVELS {
        capture(&mut db, format, function, level)?;
        for piece in ["x", "\\", "it's \\ \"so\"\n&=+% é😀"] {
            let count = size / piece.len();
            let text = piece.repeat(count);
            let case = format!("{format}, {level}, {piece:?}");
            db.execute(
                "insert into t values (1, repeat($1, $2))",
                &[&piece, &i32::try_from(count)?],
            )
            .map_err(|error| format!("{case}: {error:?}"))?;
            let seen = value(&mut db)?;
            assert!(seen.as_deref() == Some(text.as_bytes()), "{case}: inserted");
            db.batch_execute("truncate pgq.event_1_0; update t set a = a || '!'")
                .map_err(|error| format!("{case}: {error:?}"))?;
            let seen = value(&mut db)?;
            assert!(
                seen.is_some_and(|seen| seen.strip_suffix(b"!") == Some(text.as_bytes())),
                "{case}: updated"
            );
            db.batch_execute("truncate pgq.event_1_0; delete from t")
                .map_err(|error| format!("{case}: {error:?}"))?;
            assert_eq!(
                row(&mut db, "select count(*) from pgq.event_template")?,
                "1",
                "{case}"
            );
            db.batch_execute("truncate pgq.event_1_0")?;
        }
        db.batch_execute("select pgq.drop_capture('t', 'c'); drop trigger if exists c on t")?;
    }
    Ok(())
}

/// A field of an event has no room for a value: an error of the change. With `PGQ_VALUE_MB=300` only.
fn an_event_that_is_too_large_is_refused(format: &str, function: &str) -> TestResult {
    if megabytes() < 300 {
        return Ok(());
    }
    let (_cluster, mut db) = queue_and_table()?;
    for level in LEVELS {
        capture(&mut db, format, function, level)?;
        // Each becomes two, three or six characters.
        let sign = if format == "json" {
            "chr(1)"
        } else {
            "chr(92)"
        };
        let message = refusal(
            &mut db,
            &format!("insert into t values (1, repeat({sign}, 540000000))"),
        )?;
        assert!(
            [
                "invalid memory alloc request size",
                "out of memory",
                "string buffer exceeds",
                "requested length too large"
            ]
            .iter()
            .any(|known| message.contains(known)),
            "{format}, {level}: {message}"
        );
        assert_eq!(row(&mut db, "select count(*) from t")?, "0");
        assert_eq!(
            row(&mut db, "select count(*) from pgq.event_template")?,
            "0"
        );
        db.batch_execute("select pgq.drop_capture('t', 'c'); drop trigger if exists c on t")?;
    }
    Ok(())
}

#[test]
fn a_large_value_is_logged_whole_as_sql() -> TestResult {
    a_large_value_is_logged_whole("sql", "sqltriga")?;
    an_event_that_is_too_large_is_refused("sql", "sqltriga")
}

#[test]
fn a_large_value_is_logged_whole_in_url_encoding() -> TestResult {
    a_large_value_is_logged_whole("urlenc", "logutriga")?;
    an_event_that_is_too_large_is_refused("urlenc", "logutriga")
}

#[test]
fn a_large_value_is_logged_whole_as_json() -> TestResult {
    a_large_value_is_logged_whole("json", "jsontriga")?;
    an_event_that_is_too_large_is_refused("json", "jsontriga")
}
