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

#[cfg(feature = "failpoints")]
#[test]
fn a_copy_from_a_root_that_was_replaced_does_not_go_on_at_the_new_one() -> TestResult {
    let (stage, [mut ticker, mut relay]) = prepare()?;
    stage.job("leaf", 1, 2, "")?;
    // The next tick of the old root is one that nobody else has.
    ticker.kill()?;
    let held = stage.path("held");
    let _leaf = stage
        .replay_program("leaf")
        .env(
            "FAILPOINTS",
            format!("copy.copied=1*return(hold:{})", held.display()),
        )
        .spawn()?;
    let output = stage.add_from("leaf", 0)?;
    assert!(output.status.success(), "{}", output.stderr);
    wait_until("the copy", PATIENCE, || Ok(held.exists()))
        .map_err(|error| stage.explain("leaf", error.to_string()))?;
    relay.kill()?;
    stage.run("relay", "provider promote")?;
    let rows = [(0, "9001, 0, 'lost'"), (1, "9002, 0, 'of the new root'")];
    for (node, row) in rows {
        let mut root = stage.db(node)?;
        root.batch_execute(&format!("insert into t values ({row})"))?;
        // Both give out the same numbers.
        for _ in 0..5 {
            root.batch_execute("select pgq.force_tick('q'); select pgq.ticker('q')")?;
        }
    }
    let _ticker = stage.ticker(1)?;
    std::fs::remove_file(&held)?;
    let arrived = "select count(*) = 1 from t where id = 9001";
    stage.wait("leaf", "what is lost to arrive", 2, arrived)?;
    let refused = "it is of generation 1, and the provider of generation 2";
    let home = "public.t goes on at the provider";
    wait_until("the copy to look at the new root", PATIENCE, || {
        let log = stage.log("leaf");
        Ok(log.contains(refused) || log.contains(home))
    })
    .map_err(|error| stage.explain("leaf", error.to_string()))?;
    assert!(!stage.log("leaf").contains(home), "{}", stage.log("leaf"));
    stage.run("leaf", "subscriber remove t u")?;
    stage.run("leaf", "subscriber add t u")?;
    // Each process that copies stops there once: that of the other table, and a new one for this table if the old one
    // saw it gone.
    wait_until("both tables to be ok", PATIENCE, || {
        let _ = std::fs::remove_file(&held);
        let ok = "select count(*) = 2 from londiste.subscriber_table where merge_state = 'ok'";
        Ok(stage.db(2)?.query_one(ok, &[])?.get(0))
    })
    .map_err(|error| stage.explain("leaf", error.to_string()))?;
    stage.catch_up("leaf", 1, 2)?;
    assert!(stage.assert_equal(1, 2)? > 3000);
    Ok(())
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
