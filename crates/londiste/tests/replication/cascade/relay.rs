//! Relays at work: what they pass on, and what they refuse.

use testkit::{TestResult, wait_until};

use super::stage::Stage;
use crate::support::PATIENCE;

/// Ticks and events of the queue, as every node must have them.
const TICKS: &str =
    "select tick_id, tick_event_seq from pgq.tick where tick_id between $1 and $2 order by 1";
const EVENTS: &str = "select ev_id, ev_time::text, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4 \
     from pgq.event_template where ev_type in ('I', 'U', 'D') order by ev_id";

#[test]
fn a_relay_has_the_same_events_and_the_same_ticks() -> TestResult {
    let (stage, _ticker) = Stage::with_root(3)?;
    stage
        .db(0)?
        .batch_execute("insert into t select i, i, 'old' from generate_series(1, 100) i")?;
    let _relay = stage.relay("relay", 0, 1)?;
    let load = stage.load(0, 1000)?;
    let _leaf = stage.subscribe("leaf", 1, 2)?;
    load.finish()?;
    stage.catch_up("relay", 0, 1)?;
    stage.catch_up("leaf", 0, 2)?;
    stage.assert_equal(0, 1)?;
    assert!(stage.assert_equal(0, 2)? > 100);

    let (mut root, mut relay) = (stage.db(0)?, stage.db(1)?);
    let row = relay.query_one("select min(tick_id), max(tick_id) from pgq.tick", &[])?;
    let (first, last): (i64, i64) = (row.get(0), row.get(1));
    let ids = |rows: Vec<postgres::Row>| rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>();
    let ticks = ids(relay.query(TICKS, &[&first, &last])?);
    assert_eq!(ticks, ids(root.query(TICKS, &[&first, &last])?));
    assert!(ticks.len() > 5, "{ticks:?}");
    let from: i64 = relay
        .query_one("select min(ev_id) from pgq.event_template", &[])?
        .get(0);
    let events = EVENTS.replace("order by", &format!("and ev_id >= {from} order by"));
    let comparison = testkit::compare(&mut root, &mut relay, &events)?;
    assert!(comparison.difference.is_none(), "{comparison:?}");
    assert!(comparison.right_rows > 100);
    // Nobody writes there but replay.
    let error = relay
        .execute("select pgq.insert_event('q', 'x', 'y')", &[])
        .unwrap_err();
    assert!(
        error
            .as_db_error()
            .is_some_and(|e| e.message().contains("disallowed")),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_leaf_is_compared_with_its_relay_while_both_are_written() -> TestResult {
    let (stage, _ticker) = Stage::with_root(3)?;
    stage
        .db(0)?
        .batch_execute("insert into t select i, i, 'old' from generate_series(1, 100) i")?;
    let _relay = stage.relay("relay", 0, 1)?;
    let _leaf = stage.subscribe("leaf", 1, 2)?;
    let load = stage.load(0, 1000)?;
    for _ in 0..3 {
        stage.run("leaf", "compare")?;
    }
    stage
        .db(2)?
        .batch_execute("delete from t where id in (1, 50)")?;
    let output = stage.output("leaf", "compare t")?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    stage.run("leaf", "repair t --apply")?;
    stage.run("leaf", "compare t")?;
    load.finish()?;
    Ok(())
}

#[cfg(feature = "failpoints")]
#[test]
fn a_leaf_is_not_compared_with_a_relay_that_has_more_than_its_ticks() -> TestResult {
    let (stage, mut ticker) = Stage::with_root(3)?;
    let mut relay = stage.relay("relay", 0, 1)?;
    let _leaf = stage.subscribe("leaf", 1, 2)?;
    ticker.kill()?;
    let newest: i64 = stage
        .db(0)?
        .query_one("select max(tick_id) from pgq.tick", &[])?
        .get(0);
    for (name, node) in [("relay", 1), ("leaf", 2)] {
        let query = format!("select londiste.get_last_tick('{name}') = {newest}");
        stage.wait(name, "the newest tick", node, &query)?;
    }
    let query = format!("select max(tick_id) = {newest} from pgq.tick");
    stage.wait("relay", "the newest tick", 1, &query)?;
    stage.run("leaf", "compare t")?;
    relay.kill()?;
    let held = stage.path("held");
    let _relay = stage
        .replay_program("relay")
        .env(
            "FAILPOINTS",
            format!("relay.before_tick=return(hold:{})", held.display()),
        )
        .spawn()?;
    let mut root = stage.db(0)?;
    root.execute("insert into t values (1, 1, 'x')", &[])?;
    root.execute("select pgq.force_tick('q')", &[])?;
    root.execute("select pgq.ticker('q')", &[])?;
    wait_until("the events without their tick", PATIENCE, || {
        Ok(held.exists())
    })
    .map_err(|error| stage.explain("relay", error.to_string()))?;
    // The job of another queue is at the same number by chance.
    stage.db(1)?.execute(
        "insert into londiste.completed values ('other', $1)",
        &[&newest],
    )?;
    stage.refused("leaf", "compare t", "never stands at its newest tick")?;
    std::fs::remove_file(&held)?;
    Ok(())
}

#[cfg(feature = "failpoints")]
#[test]
fn a_leaf_waits_for_a_relay_that_copies_the_table_itself() -> TestResult {
    let (stage, mut ticker) = Stage::with_root(3)?;
    let insert = "insert into t select i, i, 'x' from generate_series";
    stage.db(0)?.batch_execute(&format!("{insert}(1, 20) i"))?;
    let mut relay = stage.relay("relay", 0, 1)?;
    stage.job("leaf", 1, 2, "")?;
    stage.run("leaf", "subscriber install")?;
    stage.run("leaf", "subscriber add t u")?;
    relay.kill()?;
    ticker.kill()?;
    // Rows that the relay copies before it has their events.
    stage.run("relay", "subscriber resync t")?;
    stage.db(0)?.batch_execute(&format!("{insert}(21, 30) i"))?;
    let held = stage.path("held");
    let _relay = stage
        .replay_program("relay")
        .env(
            "FAILPOINTS",
            format!("copy.copied=return(hold:{})", held.display()),
        )
        .spawn()?;
    wait_until("the relay's copy", PATIENCE, || Ok(held.exists()))
        .map_err(|error| stage.explain("relay", error.to_string()))?;
    let _leaf = stage.replay("leaf")?;
    wait_until("the leaf's attempt", PATIENCE, || {
        let log = stage.log("leaf");
        Ok(log.contains("public.t is not whole on the relay")
            || log.contains("public.t: copy finished"))
    })
    .map_err(|error| stage.explain("leaf", error.to_string()))?;
    std::fs::remove_file(&held)?;
    let _ticker = stage.ticker(0)?;
    for (name, node) in [("relay", 1), ("leaf", 2)] {
        stage.wait_ok(name, node)?;
        stage.catch_up(name, 0, node)?;
        assert_eq!(stage.assert_equal(0, node)?, 30);
    }
    Ok(())
}

#[cfg(feature = "failpoints")]
/// Kills the relay's replay once at a step, under load, with a leaf behind it.
fn survives_death_at(step: &str) -> TestResult {
    let (stage, _ticker) = Stage::with_root(3)?;
    let mut relay = stage.relay("relay", 0, 1)?;
    let _leaf = stage.subscribe("leaf", 1, 2)?;
    relay.kill()?;
    let died = stage.path("died");
    let failpoints = format!("{step}=return(kill-once:{})", died.display());
    let load = stage.load(0, 1000)?;
    let mut relay = stage
        .replay_program("relay")
        .env("FAILPOINTS", &failpoints)
        .spawn()?;
    relay.wait(PATIENCE)?;
    assert!(died.exists());
    // What it has applied counts when a new root is chosen, with or without the tick.
    let status = stage.run("relay", "node status --json")?;
    let rows: serde_json::Value = serde_json::from_str(&status.stdout)?;
    let shown = rows
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["role"] == "relay"))
        .and_then(|row| row["top_tick"].as_i64());
    let applied: i64 = stage
        .db(1)?
        .query_one("select londiste.get_last_tick('relay')", &[])?
        .get(0);
    assert_eq!(shown, Some(applied));
    let _relay = stage.replay("relay")?;
    let (newest, mut root) = (2, stage.db(0)?);
    let goal: i64 = root
        .query_one("select max(tick_id) from pgq.tick", &[])?
        .get::<_, i64>(0)
        + newest;
    wait_until("ticks to pass", PATIENCE, || {
        Ok(stage
            .db(2)?
            .query_one("select londiste.get_last_tick('leaf') >= $1", &[&goal])?
            .get(0))
    })
    .map_err(|error| stage.explain("relay", error.to_string()))?;
    load.finish()?;
    for (name, node) in [("relay", 1), ("leaf", 2)] {
        stage.catch_up(name, 0, node)?;
        stage.assert_equal(0, node)?;
    }
    let mut relay = stage.db(1)?;
    let doubles: i64 = relay
        .query_one(
            "select count(*) - count(distinct ev_id) from pgq.event_template",
            &[],
        )?
        .get(0);
    assert_eq!(doubles, 0);
    Ok(())
}

#[cfg(feature = "failpoints")]
#[test]
fn a_relay_dies_before_it_commits_a_batch() -> TestResult {
    survives_death_at("replay.before_commit")
}

#[cfg(feature = "failpoints")]
#[test]
fn a_relay_dies_between_the_events_and_the_tick() -> TestResult {
    survives_death_at("relay.before_tick")
}

#[cfg(feature = "failpoints")]
#[test]
fn a_relay_dies_after_the_tick() -> TestResult {
    survives_death_at("relay.ticked")
}

#[test]
fn a_subscriber_of_another_lineage_is_refused() -> TestResult {
    let (mut stage, _ticker) = Stage::with_root(2)?;
    let mut replay = stage.subscribe("leaf", 0, 1)?;
    replay.kill()?;
    // Another queue of the same name.
    let other = testkit::Cluster::start()?;
    other
        .create_database("shop")?
        .batch_execute(super::stage::SCHEMA)?;
    stage.nodes.push(other);
    stage.job("other", 2, 2, "")?;
    stage.run("other", "provider install")?;
    stage.job("leaf", 2, 1, "")?;
    stage.refused("leaf", "replay", "is of lineage")?;
    stage.refused("leaf", "--rewind", "is of lineage")?;
    let output = stage.change_provider("leaf", 2, &[])?;
    assert!(output.stderr.contains("is of lineage"), "{}", output.stderr);
    let consumers: i64 = stage
        .db(2)?
        .query_one("select count(*) from pgq.consumer", &[])?
        .get(0);
    assert_eq!(consumers, 0, "nothing is registered at the wrong provider");
    // The way out that the message names.
    stage.job("leaf", 0, 1, "")?;
    stage.run("leaf", "subscriber unregister")?;
    stage.job("leaf", 2, 1, "")?;
    stage.run("other", "provider add t u")?;
    let _ticker = stage.ticker(2)?;
    stage
        .db(2)?
        .batch_execute("insert into t values (7, 7, 'other')")?;
    let _replay = stage.replay("leaf")?;
    stage.wait_ok("leaf", 1)?;
    assert_eq!(stage.assert_equal(2, 1)?, 1);
    Ok(())
}

#[test]
fn databases_of_an_older_version_get_their_lineage_silently() -> TestResult {
    let (stage, _ticker) = Stage::with_root(2)?;
    stage.job("leaf", 0, 1, "")?;
    stage.run("leaf", "subscriber install")?;
    for node in [0, 1] {
        stage.db(node)?.batch_execute(
            "drop table londiste.node_info, londiste.node_generation;
             drop function londiste.node_create, londiste.node_join, londiste.node_promoted,
                 londiste.node_provider, londiste.node_forget, londiste.publish_watermark",
        )?;
    }
    let _replay = stage.replay("leaf")?;
    stage.run("leaf", "subscriber add t u")?;
    stage.wait_ok("leaf", 1)?;
    let lineage = |node: usize| -> TestResult<String> {
        Ok(stage
            .db(node)?
            .query_one("select lineage::text from londiste.node_info", &[])?
            .get(0))
    };
    assert_eq!(lineage(0)?, lineage(1)?);
    assert!(
        !stage.log("leaf").contains("WARNING"),
        "{}",
        stage.log("leaf")
    );
    Ok(())
}

#[test]
fn a_provider_is_not_said_to_be_stored_where_it_cannot_be() -> TestResult {
    let (stage, _ticker) = Stage::with_root(2)?;
    // Nobody may begin a lineage here: the ticks come from elsewhere.
    stage.db(0)?.batch_execute(
        "delete from londiste.node_info; update pgq.queue set queue_external_ticker = true",
    )?;
    stage.job("leaf", 0, 1, "")?;
    stage.run("leaf", "subscriber install")?;
    stage
        .db(1)?
        .execute("select londiste.set_last_tick('leaf', 1)", &[])?;
    let registered = "select count(*) from pgq.get_consumer_info('q')";
    let output = stage.change_provider("leaf", 0, &[])?;
    assert!(output.stderr.contains("use --no-store"), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
    let count: i64 = stage.db(0)?.query_one(registered, &[])?.get(0);
    assert_eq!(count, 0);
    let output = stage.change_provider("leaf", 0, &["--no-store"])?;
    assert!(output.status.success(), "{output:?}");
    Ok(())
}

#[test]
fn watermarks_keep_events_on_every_node_until_all_have_them() -> TestResult {
    let (stage, _ticker) = Stage::with_root(3)?;
    let _relay = stage.relay("relay", 0, 1)?;
    let mut leaf = stage.subscribe("leaf", 1, 2)?;
    stage.catch_up("leaf", 0, 2)?;
    leaf.kill()?;
    let position = |node: usize, name: &str| -> TestResult<i64> {
        let row = stage.db(node)?.query_one(
            "select last_tick from pgq.get_consumer_info('q', $1)",
            &[&name],
        )?;
        Ok(row.get(0))
    };
    // It may have died with a batch applied and not finished.
    let stands = position(1, "leaf")?;
    stage
        .db(0)?
        .batch_execute("insert into t values (1, 1, 'x')")?;
    stage.catch_up("relay", 0, 1)?;
    // What the relay says upstream, and hears back, is where its leaf stands.
    wait_until("the watermarks to reach the leaf", PATIENCE, || {
        stage.db(0)?.execute("select pgq.force_tick('q')", &[])?;
        Ok(position(0, "relay.wm")? == stands && position(1, ".global_watermark")? == stands)
    })
    .map_err(|error| stage.explain("relay", error.to_string()))?;
    assert!(position(0, "relay")? > stands);
    // The leaf is given up: everything may go.
    stage
        .db(1)?
        .execute("select pgq.unregister_consumer('q', 'leaf')", &[])?;
    let goal = position(0, "relay")?;
    wait_until("the watermarks to pass the leaf", PATIENCE, || {
        stage.db(0)?.execute("select pgq.force_tick('q')", &[])?;
        Ok(position(0, "relay.wm")? > goal && position(1, ".global_watermark")? > stands)
    })
    .map_err(|error| stage.explain("relay", error.to_string()))
}

#[test]
fn a_plain_pair_sees_no_event_of_cascades() -> TestResult {
    let (stage, _ticker) = Stage::with_root(2)?;
    let _leaf = stage.subscribe("leaf", 0, 1)?;
    stage
        .db(0)?
        .execute("select londiste.publish_watermark('q', '0')", &[])?;
    stage
        .db(0)?
        .batch_execute("insert into t values (1, 1, 'x')")?;
    stage.catch_up("leaf", 0, 1)?;
    let others: i64 = stage
        .db(0)?
        .query_one(
            "select count(*) from pgq.event_template where ev_type not in ('I', 'U', 'D')",
            &[],
        )?
        .get(0);
    assert_eq!(others, 0);
    Ok(())
}

#[test]
fn a_relay_without_mirror_queue_does_not_run() -> TestResult {
    let (stage, _ticker) = Stage::with_root(2)?;
    let mut relay = stage.relay("relay", 0, 1)?;
    relay.kill()?;
    stage.job("relay", 0, 1, "")?;
    stage.refused("relay", "replay", "set mirror_queue = q")?;
    stage.refused("relay", "subscriber unregister", "is a relay")?;
    stage.job("relay", 0, 1, "mirror_queue = other")?;
    stage.refused("relay", "replay", "mirror_queue = other")
}

#[test]
fn commands_at_the_wrong_node_say_what_is_wrong() -> TestResult {
    let (mut stage, _ticker) = Stage::with_root(3)?;
    let _relay = stage.relay("relay", 0, 1)?;
    let _leaf = stage.subscribe("leaf", 1, 2)?;
    stage.refused(
        "leaf",
        "provider remove t",
        "with the root of the cascade as provider_db",
    )?;
    let server = stage.nodes[0].conninfo("postgres");
    let output = testkit::Program::new("londiste", stage.path("").as_path())
        .args(["leaf.ini", "subscriber", "change-provider", &server])
        .output()?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        output.stderr.contains("the database of DSN has no queue q"),
        "{output:?}"
    );
    // A subscriber that is gone hides no provider.
    stage.nodes[2].stop(testkit::Shutdown::Kill)?;
    let output = stage.output("leaf", "node status")?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        output.stdout.contains("relay (provider_db): relay"),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn a_relay_is_not_turned_to_itself() -> TestResult {
    let (stage, _ticker) = Stage::with_root(2)?;
    let _relay = stage.relay("relay", 0, 1)?;
    for more in [&[][..], &["--no-store"], &["--force"]] {
        let output = stage.change_provider("relay", 1, more)?;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            output.stderr.contains("are the same database"),
            "{output:?}"
        );
    }
    stage
        .db(0)?
        .batch_execute("insert into t values (1, 1, 'x')")?;
    stage.catch_up("relay", 0, 1)?;
    assert_eq!(stage.assert_equal(0, 1)?, 1);
    Ok(())
}
