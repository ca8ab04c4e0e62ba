//! Tables that are copied from another node than the provider.

use testkit::{Running, TestResult, wait_until};

use super::stage::Stage;
use crate::support::PATIENCE;

/// A root with rows, a relay of it, and a subscriber of the root without tables.
fn prepare() -> TestResult<(Stage, [Running; 2])> {
    let (stage, ticker) = Stage::with_root(3)?;
    stage.db(0)?.batch_execute(
        "insert into t select i, i, 'old' from generate_series(1, 3000) i; \
         insert into u select i, i, 'old' from generate_series(1, 50) i",
    )?;
    let relay = stage.relay("relay", 0, 1)?;
    stage.job("leaf", 0, 2, "")?;
    stage.run("leaf", "subscriber install")?;
    Ok((stage, [ticker, relay]))
}

/// Fails unless the leaf has what the root has, and the relay keeps nothing for it.
fn assert_done(stage: &Stage) -> TestResult {
    stage.wait_ok("leaf", 2)?;
    stage.catch_up("leaf", 0, 2)?;
    assert!(stage.assert_equal(0, 2)? >= 3000);
    let log = stage.log("leaf");
    for table in ["public.t", "public.u"] {
        assert!(
            log.contains(&format!("{table} is copied from host=")),
            "{log}"
        );
        assert!(
            log.contains(&format!("{table} goes on at the provider")),
            "{log}"
        );
    }
    for (node, left) in [(0, 1), (1, 0)] {
        wait_until("the copy to leave nothing behind", PATIENCE, || {
            let sql = "select count(*) = $1 from pgq.get_consumer_info('q') where consumer_name like 'leaf%'";
            Ok(stage.db(node)?.query_one(sql, &[&i64::from(left)])?.get(0))
        })
        .map_err(|error| stage.explain("leaf", error.to_string()))?;
    }
    stage.wait(
        "leaf",
        "the node to be forgotten",
        2,
        "select count(*) = 0 from londiste.copy_source",
    )
}

#[test]
fn tables_are_copied_from_a_relay_under_load() -> TestResult {
    let (stage, _running) = prepare()?;
    let load = stage.load(0, 10_000)?;
    let _leaf = stage.replay("leaf")?;
    let output = stage.add_from("leaf", 1)?;
    assert!(output.status.success(), "{}", output.stderr);
    stage.wait_ok("leaf", 2)?;
    assert!(load.finish()? > 10);
    assert_done(&stage)?;
    let problems = testkit::log_problems(&stage.path("leaf.log"), &[])?;
    assert!(problems.is_empty(), "{problems:#?}");
    Ok(())
}

#[cfg(feature = "failpoints")]
fn survives_death_at(step: &str) -> TestResult {
    let (stage, _running) = prepare()?;
    let load = stage.load(0, 10_000)?;
    let died = stage.path("died");
    let _leaf = stage
        .replay_program("leaf")
        .env(
            "FAILPOINTS",
            format!("{step}=return(kill-once:{})", died.display()),
        )
        .spawn()?;
    let output = stage.add_from("leaf", 1)?;
    assert!(output.status.success(), "{}", output.stderr);
    wait_until(&format!("the copy to come to {step}"), PATIENCE, || {
        Ok(died.exists())
    })
    .map_err(|error| stage.explain("leaf", error.to_string()))?;
    load.finish()?;
    assert_done(&stage)
}

#[cfg(feature = "failpoints")]
#[test]
fn a_copy_dies_with_rows_of_another_node() -> TestResult {
    survives_death_at("copy.copied")
}

#[cfg(feature = "failpoints")]
#[test]
fn a_copy_dies_when_it_is_registered_at_two_nodes() -> TestResult {
    survives_death_at("copy.registered_at_home")
}

#[cfg(feature = "failpoints")]
#[test]
fn a_copy_dies_before_it_has_left_the_other_node() -> TestResult {
    survives_death_at("copy.at_home")
}

#[test]
fn a_node_that_lacks_the_table_is_refused() -> TestResult {
    let (stage, _running) = prepare()?;
    stage.run("relay", "subscriber remove u")?;
    let output = stage.add_from("leaf", 1)?;
    assert!(
        output
            .stderr
            .contains("it does not have public.u as a whole"),
        "{}",
        output.stderr
    );
    let output = stage.add_from("leaf", 2)?;
    assert!(!output.status.success());
    let count: i64 = stage
        .db(2)?
        .query_one("select count(*) from londiste.subscriber_table", &[])?
        .get(0);
    assert_eq!(count, 0, "nothing was added");
    stage.refused(
        "leaf",
        "subscriber add t --expect-sync --copy-from dbname=x",
        "copies nothing",
    )
}
