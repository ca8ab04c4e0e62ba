//! The provider changes while replay runs.

use std::fs;

use testkit::{Shutdown, TestResult, wait_until};

use super::stage::Stage;
use crate::support::PATIENCE;

/// What a relay passes on; watermarks go on coming.
const EVENTS: &str = "select ev_id, ev_type, ev_data, ev_extra1 from pgq.event_template \
     where ev_type in ('I', 'U', 'D') order by ev_id";

/// Waits until the job has applied some ticks more.
fn wait_progress(stage: &Stage, name: &str, node: usize) -> TestResult {
    let mut db = stage.db(node)?;
    let sql = "select coalesce(londiste.get_last_tick($1), 0)";
    let before: i64 = db.query_one(sql, &[&name])?.get(0);
    wait_until("replay to go on", PATIENCE, || {
        Ok(db.query_one(sql, &[&name])?.get::<_, i64>(0) > before + 2)
    })
    .map_err(|error| stage.explain(name, error.to_string()))
}

#[test]
fn the_provider_changes_under_load_while_replay_runs() -> TestResult {
    let (stage, _ticker) = Stage::with_root(4)?;
    let _relay = stage.relay("relay", 0, 1)?;
    let mut second = stage.relay("second", 1, 2)?;
    let mut leaf = stage.subscribe("leaf", 1, 3)?;
    let load = stage.load(0, 1000)?;
    for (of_second, of_leaf) in [(0, 2), (1, 0), (0, 1), (1, 2)] {
        wait_progress(&stage, "second", 2)?;
        stage.follow("second", of_second)?;
        wait_progress(&stage, "leaf", 3)?;
        stage.follow("leaf", of_leaf)?;
    }
    assert!(load.finish()? > 10);
    for (name, node) in [("relay", 1), ("second", 2), ("leaf", 3)] {
        stage.catch_up(name, 0, node)?;
        assert!(stage.assert_equal(0, node)? > 10);
    }
    for (name, replay) in [("second", &mut second), ("leaf", &mut leaf)] {
        assert_eq!(replay.ended()?, None, "{name} is the same process");
        let log = stage.log(name);
        assert_eq!(log.matches("making way for a command").count(), 4, "{log}");
        let problems = testkit::log_problems(&stage.path(&format!("{name}.log")), &[])?;
        assert!(problems.is_empty(), "{problems:#?}");
        assert_eq!(log.matches("Starting full copy").count(), 2, "{log}");
    }
    // Every event once, whoever it came from.
    let (mut first, mut second) = (stage.db(1)?, stage.db(2)?);
    let from: i64 = second
        .query_one("select min(ev_id) from pgq.event_template", &[])?
        .get(0);
    let events = EVENTS.replace("order by", &format!("and ev_id >= {from} order by"));
    let comparison = testkit::compare(&mut first, &mut second, &events)?;
    assert!(comparison.difference.is_none(), "{comparison:?}");
    assert!(comparison.right_rows > 100, "{comparison:?}");
    let doubled: i64 = second
        .query_one(
            "select count(*) - count(distinct ev_id) from pgq.event_template",
            &[],
        )?
        .get(0);
    assert_eq!(doubled, 0);
    // Nothing of them is left where they are not any more.
    for (node, left) in [
        (0, vec!["relay", "relay.wm"]),
        (1, vec!["second", "second.wm"]),
    ] {
        let consumers: Vec<String> = stage
            .db(node)?
            .query(
                "select consumer_name from pgq.get_consumer_info('q') \
                 where consumer_name not like '.%' order by 1",
                &[],
            )?
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert_eq!(consumers, left, "on node {node}");
    }
    Ok(())
}

#[test]
fn a_replay_that_waits_for_a_dead_provider_goes_on_at_once_at_the_new_one() -> TestResult {
    let (mut stage, _ticker) = Stage::with_root(3)?;
    let _relay = stage.relay("relay", 0, 1)?;
    stage.job("leaf", 1, 2, "")?;
    // Longer than the test.
    let ini = fs::read_to_string(stage.path("leaf.ini"))?;
    fs::write(
        stage.path("leaf.ini"),
        ini.replace("exception_sleep = 0.3", "exception_sleep = 1000"),
    )?;
    stage.run("leaf", "subscriber install")?;
    let mut leaf = stage.replay("leaf")?;
    stage.run("leaf", "subscriber add t u --expect-sync")?;
    stage.catch_up("leaf", 0, 2)?;
    stage.nodes[1].stop(Shutdown::Kill)?;
    stage
        .db(0)?
        .batch_execute("insert into t values (1, 1, 'x')")?;
    wait_until("replay to miss its provider", PATIENCE, || {
        Ok(stage.log("leaf").contains("ERROR"))
    })?;
    stage.follow("leaf", 0)?;
    stage.catch_up("leaf", 0, 2)?;
    assert_eq!(stage.assert_equal(0, 2)?, 1);
    assert_eq!(leaf.ended()?, None);
    Ok(())
}

#[cfg(feature = "failpoints")]
#[test]
fn a_replay_in_a_long_batch_keeps_its_provider() -> TestResult {
    let (stage, _ticker) = Stage::with_root(3)?;
    let _relay = stage.relay("relay", 0, 1)?;
    let mut leaf = stage.subscribe("leaf", 0, 2)?;
    stage.wait(
        "leaf",
        "tables to be settled",
        2,
        "select count(*) = 0 from londiste.subscriber_table where snapshot is not null",
    )?;
    leaf.kill()?;
    stage.job("leaf", 0, 2, "lock_timeout = 0.2")?;
    let place = stage.path("place");
    fs::create_dir(&place)?;
    let held = place.join("held");
    let _leaf = stage
        .replay_program("leaf")
        .env(
            "FAILPOINTS",
            format!("replay.before_commit=return(hold:{})", held.display()),
        )
        .spawn()?;
    stage
        .db(0)?
        .batch_execute("insert into t values (1, 1, 'x')")?;
    wait_until("the batch", PATIENCE, || Ok(held.exists()))?;
    let output = stage.change_provider("leaf", 1, &[])?;
    assert!(
        output.stderr.contains("has not made way") && output.stderr.contains("nothing has changed"),
        "{}",
        output.stderr
    );
    let output = stage.change_provider("leaf", 1, &["--no-store"])?;
    assert!(output.stderr.contains("stop it first"), "{}", output.stderr);
    // Later batches are not held.
    fs::remove_dir_all(&place)?;
    stage.follow("leaf", 1)?;
    stage.catch_up("leaf", 0, 2)?;
    assert_eq!(stage.assert_equal(0, 2)?, 1);
    Ok(())
}
