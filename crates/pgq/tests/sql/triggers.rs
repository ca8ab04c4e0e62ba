//! What the capture triggers write, byte by byte.

mod arguments;
mod edges;
mod features;
mod places;
mod values;
mod ways;

use postgres::Client;
use testkit::TestResult;

use crate::support::rows;

/// What the event fields are read with: events of `pgq` since the last call.
fn events(db: &mut Client) -> TestResult<Vec<String>> {
    let events = rows(
        db,
        "select ev_type, ev_data, ev_extra1, ev_extra2 from pgq.event_template order by ev_id",
    )?;
    db.batch_execute("truncate pgq.event_1_0")?;
    Ok(events)
}

/// As [`events`], the type and the data only.
fn changes(db: &mut Client) -> TestResult<Vec<String>> {
    let lines = rows(
        db,
        "select ev_type, ev_data from pgq.event_template order by ev_id",
    )?;
    db.batch_execute("truncate pgq.event_1_0")?;
    Ok(lines)
}

/// Runs statements and returns what they logged.
fn logged(db: &mut Client, sql: &str) -> TestResult<Vec<String>> {
    db.simple_query(sql)
        .map_err(|error| format!("{sql}: {error:?}"))?;
    changes(db)
}

/// Replaces the trigger of a table.
fn capture(db: &mut Client, table: &str, function: &str, arguments: &str) -> TestResult {
    db.batch_execute(&format!(
        "drop trigger if exists capture on {table};
         create trigger capture after insert or update or delete on {table}
             for each row execute function pgq.{function}({arguments})"
    ))?;
    Ok(())
}

/// A generated capture in place of the trigger.
fn generated(db: &mut Client, table: &str, arguments: &str) -> TestResult {
    db.batch_execute(&format!(
        "select pgq.create_capture('{table}', 'capture', 'sql', 'row', array[{arguments}])"
    ))?;
    Ok(())
}
