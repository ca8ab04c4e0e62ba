//! Large batches, whose events are read as they stand in the provider's table.

use postgres::Client;
use testkit::{TestResult, wait_until};

use crate::ahead::stopped;
use crate::support::{PATIENCE, Pair};

const AGAIN: &str = "the batch is read again, sorted";

/// Inserts so many rows in one batch and changes the first of them at the end.
fn batch(provider: &mut Client, first: i32, event_that_moves: &str) -> TestResult {
    provider.batch_execute(&format!(
        "begin;
         insert into free select i, 'row ' || i from generate_series({first}, {first} + 59999) i;
         update free set data = 'changed' where id = {first};
         commit"
    ))?;
    // Its new version lies behind all others.
    let moved = provider.execute(
        "update pgq.event_1 set ev_extra3 = '' where ev_data like '%' || $1 || '%'",
        &[&format!("'row {event_that_moves}'")],
    )?;
    assert_eq!(moved, 1);
    Ok(provider.batch_execute("select pgq.force_tick('q'); select pgq.ticker('q')")?)
}

fn wait_changed(pair: &Pair, id: i32) -> TestResult {
    let mut subscriber = pair.subscriber()?;
    wait_until("the batch to be applied", PATIENCE, || {
        let changed = subscriber.query_opt(
            "select from free where id = $1 and data = 'changed'",
            &[&id],
        )?;
        Ok(changed.is_some())
    })
    .map_err(|error| pair.explain(error))
}

#[test]
fn events_of_a_large_batch_are_applied_in_order_wherever_they_lie() -> TestResult {
    let pair = stopped()?;
    let mut provider = pair.provider()?;
    batch(&mut provider, 1, "59000")?;
    let _replay = pair.replay()?;
    wait_changed(&pair, 1)?;
    assert!(!pair.log()?.contains(AGAIN), "it lay near its place");
    // An insert that comes after the change of its row.
    batch(&mut provider, 60_001, "60001")?;
    pair.wait_log(AGAIN)?;
    wait_changed(&pair, 60_001)?;
    assert_eq!(
        pair.assert_equal("select * from free order by id")?,
        120_000
    );
    pair.assert_quiet()
}
