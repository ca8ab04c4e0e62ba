//! Nodes die, and others take their places.

use testkit::{Shutdown, TestResult, wait_until};

use super::stage::Stage;
use crate::support::PATIENCE;

#[test]
fn the_middle_of_a_chain_dies_under_load() -> TestResult {
    let (mut stage, _ticker) = Stage::with_root(3)?;
    let mut relay = stage.relay("relay", 0, 1)?;
    let mut leaf = stage.subscribe("leaf", 1, 2)?;
    let load = stage.load(0, 1000)?;
    let before: i64 = stage
        .db(2)?
        .query_one("select londiste.get_last_tick('leaf')", &[])?
        .get(0);
    wait_until("the load to reach the leaf", PATIENCE, || {
        let sql = "select londiste.get_last_tick('leaf') > $1::int8 + 3";
        Ok(stage.db(2)?.query_one(sql, &[&before])?.get(0))
    })?;
    stage.nodes[1].stop(Shutdown::Kill)?;
    relay.kill()?;
    leaf.kill()?;
    stage.follow("leaf", 0)?;
    let _leaf = stage.replay("leaf")?;
    assert!(load.finish()? > 10);
    stage.catch_up("leaf", 0, 2)?;
    assert!(stage.assert_equal(0, 2)? > 10);
    // Its events are gone from nowhere.
    assert!(
        stage.log("leaf").contains("overridden by"),
        "{}",
        stage.log("leaf")
    );
    // The relay comes back, and the leaf to it.
    stage.nodes[1].start_again()?;
    let _relay = stage.replay("relay")?;
    stage.catch_up("relay", 0, 1)?;
    stage.assert_equal(0, 1)?;
    Ok(())
}

#[test]
fn the_root_dies_under_load_and_a_relay_takes_over() -> TestResult {
    let (mut stage, mut ticker) = Stage::with_root(4)?;
    let mut relay = stage.relay("relay", 0, 1)?;
    let mut sibling = stage.relay("sibling", 0, 2)?;
    let mut leaf = stage.subscribe("leaf", 1, 3)?;
    let load = stage.load(0, 1000)?;
    let before: i64 = stage
        .db(3)?
        .query_one("select londiste.get_last_tick('leaf')", &[])?
        .get(0);
    wait_until("the load to reach the leaf", PATIENCE, || {
        let sql = "select londiste.get_last_tick('leaf') > $1::int8 + 3";
        Ok(stage.db(3)?.query_one(sql, &[&before])?.get(0))
    })?;
    stage.nodes[0].stop(Shutdown::Kill)?;
    ticker.kill()?;
    // The load fails with its server.
    assert!(load.finish().is_err());
    for replay in [&mut relay, &mut sibling, &mut leaf] {
        replay.kill()?;
    }
    // Whoever has the most becomes the root.
    let nodes = format!("{}|{}", stage.dsn(1), stage.dsn(2));
    let output = testkit::Program::new("londiste", stage.path("").as_path())
        .args(["relay.ini", "node", "status", "--json"])
        .args(nodes.split('|'))
        .succeed()?;
    let rows: serde_json::Value = serde_json::from_str(&output.stdout)?;
    let chosen = rows
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["candidate"] == true))
        .and_then(|row| row["node"].as_str())
        .ok_or_else(|| format!("no candidate: {rows}"))?
        .to_owned();
    let (root, job, other, behind) = match chosen.as_str() {
        "relay" => (1, "relay", "sibling", 2),
        _ => (2, "sibling", "relay", 1),
    };
    stage.run(job, "provider promote")?;
    let _ticker = stage.ticker(root)?;
    stage.follow(other, root)?;
    let _other = stage.replay(other)?;
    // The leaf may follow either.
    stage.follow("leaf", behind)?;
    let _leaf = stage.replay("leaf")?;

    let load = stage.load(root, 1_000_000)?;
    wait_until("new changes to arrive", PATIENCE, || {
        let sql = "select count(*) > 10 from t where id > 1000000";
        Ok(stage.db(3)?.query_one(sql, &[])?.get(0))
    })
    .map_err(|error| stage.explain(other, error.to_string()))?;
    load.finish()?;
    stage.catch_up(other, root, behind)?;
    stage.catch_up("leaf", root, 3)?;
    stage.assert_equal(root, behind)?;
    stage.assert_equal(root, 3)?;
    // The former root is no provider any more, and no subscriber's replay starts there.
    stage.nodes[0].start_again()?;
    stage.refused(job, "replay", "is the root")?;

    // It comes back as a relay, and what only it had is in a file.
    stage.job("back", root, 0, "mirror_queue = q")?;
    #[cfg(feature = "failpoints")]
    resurrect_half(&stage)?;
    let output = stage.run("back", "provider resurrect --dump lost.json")?;
    // What the new root read here by would keep the events everywhere; who else moved is named.
    let kept = consumers(&stage, 0)?;
    assert!(!kept.contains(&job.to_owned()), "{kept:?}");
    assert!(!kept.contains(&format!("{job}.wm")), "{kept:?}");
    assert!(kept.contains(&other.to_owned()), "{kept:?}");
    let hint = format!("pgqadm INI unregister q {other}\n");
    assert!(output.stderr.contains(&hint), "{}", output.stderr);
    let _back = stage.replay("back")?;
    stage.wait_ok("back", 0)?;
    stage.catch_up("back", root, 0)?;
    stage.assert_equal(root, 0)?;
    Ok(())
}

/// The consumers that are registered at a node.
fn consumers(stage: &Stage, node: usize) -> TestResult<Vec<String>> {
    let rows = stage.db(node)?.query(
        "select consumer_name from pgq.get_consumer_info('q') order by 1",
        &[],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[test]
fn a_subscriber_ahead_of_the_new_root_is_refused() -> TestResult {
    let (stage, _ticker) = Stage::with_root(3)?;
    let mut relay = stage.relay("relay", 0, 1)?;
    let mut ahead = stage.subscribe("ahead", 0, 2)?;
    relay.kill()?;
    stage
        .db(0)?
        .batch_execute("insert into t values (1, 1, 'only here and there')")?;
    stage.catch_up("ahead", 0, 2)?;
    ahead.kill()?;
    let output = stage.change_provider("ahead", 1, &["--wait", "0.5"])?;
    assert!(
        output.stderr.contains("does not have tick"),
        "{}",
        output.stderr
    );
    stage.run("relay", "provider promote")?;
    let output = stage.change_provider("ahead", 1, &[])?;
    assert!(
        output.stderr.contains("exists here alone"),
        "{}",
        output.stderr
    );
    // By hand it is the same.
    stage.job("ahead", 1, 2, "")?;
    stage.refused("ahead", "replay", "exists here alone")?;
    stage.refused("ahead", "--rewind", "exists here alone")?;
    // The way out.
    stage.run("ahead", "subscriber unregister")?;
    let _ticker = stage.ticker(1)?;
    let _ahead = stage.replay("ahead")?;
    stage.wait_ok("ahead", 2)?;
    stage.catch_up("ahead", 1, 2)?;
    stage.assert_equal(1, 2)?;
    // Whoever followed the new root does not go back to the old one.
    Ok(())
}

#[test]
fn who_followed_one_of_two_new_roots_does_not_go_to_the_other() -> TestResult {
    let (stage, mut ticker) = Stage::with_root(4)?;
    let mut one = stage.relay("one", 0, 1)?;
    let mut two = stage.relay("two", 0, 2)?;
    let mut leaf = stage.subscribe("leaf", 1, 3)?;
    for replay in [&mut one, &mut two, &mut ticker] {
        replay.kill()?;
    }
    let mut tickers = Vec::new();
    for (name, node) in [("one", 1), ("two", 2)] {
        stage.run(name, "provider promote")?;
        tickers.push(stage.ticker(node)?);
        let sql = format!("insert into t values ({node}, {node}, 'of {name}')");
        stage.db(node)?.batch_execute(&sql)?;
    }
    stage.catch_up("leaf", 1, 3)?;
    leaf.kill()?;
    // The other has a tick of the same number, which holds other changes.
    let tick: i64 = stage
        .db(3)?
        .query_one("select londiste.get_last_tick('leaf')", &[])?
        .get(0);
    wait_until("the tick of the other root", PATIENCE, || {
        let mut db = stage.db(2)?;
        db.execute("select pgq.force_tick('q')", &[])?;
        let sql = "select exists (select from pgq.tick where tick_id = $1)";
        Ok(db.query_one(sql, &[&tick])?.get(0))
    })?;
    let output = stage.change_provider("leaf", 2, &[])?;
    assert!(!output.status.success(), "{}", output.stderr);
    assert!(
        output.stderr.contains("both were promoted"),
        "{}",
        output.stderr
    );
    stage.job("leaf", 2, 3, "")?;
    stage.refused("leaf", "replay", "both were promoted")?;
    // The way out.
    stage.run("leaf", "subscriber unregister")?;
    let _leaf = stage.replay("leaf")?;
    stage.wait_ok("leaf", 3)?;
    stage.catch_up("leaf", 2, 3)?;
    assert_eq!(stage.assert_equal(2, 3)?, 1);
    Ok(())
}

/// Runs `provider resurrect` of the job `back` and kills it half way: it can be run again. Meanwhile no tick is made
/// that would be left behind.
#[cfg(feature = "failpoints")]
fn resurrect_half(stage: &Stage) -> TestResult {
    let mut blocker = stage.db(0)?;
    blocker.batch_execute("begin; lock table t in access share mode")?;
    let mut half = testkit::Program::new("londiste", &stage.path(""))
        .args(["back.ini", "provider", "resurrect", "--dump", "lost.json"])
        .env("FAILPOINTS", "resurrect.half=return(kill)")
        .spawn()?;
    let mut db = stage.db(0)?;
    wait_until("ticks and captures to be taken away", PATIENCE, || {
        let waiting = "select from pg_locks where relation = 't'::regclass and not granted";
        Ok(db.query_opt(waiting, &[])?.is_some())
    })?;
    let mut newest = || -> TestResult<i64> {
        let row = db.query_one("select max(tick_id) from pgq.tick", &[])?;
        Ok(row.get(0))
    };
    let before = newest()?;
    let mut ticker = stage.db(0)?;
    ticker.batch_execute("select pgq.force_tick('q'); select pgq.ticker()")?;
    blocker.batch_execute("rollback")?;
    half.wait(PATIENCE)?;
    let after = newest()?;
    assert!(after <= before, "tick {after} came after {before}");
    Ok(())
}

/// Runs `provider resurrect` of the job `old`, between the new root 1 and the old one 0, as a role that gets what the
/// command asks for.
fn resurrect_by_a_plain_role(stage: &Stage) -> TestResult {
    let own = std::fs::read_to_string(stage.path("old.ini"))?;
    std::fs::write(
        stage.path("old.ini"),
        own.replace("user=postgres", "user=plain"),
    )?;
    for node in [0, 1] {
        stage.db(node)?.batch_execute("create role plain login")?;
    }
    let mut asked = Vec::new();
    for _ in 0..6 {
        let output = stage.output("old", "provider resurrect")?;
        if output.status.success() {
            std::fs::write(stage.path("old.ini"), own)?;
            assert!(!asked.is_empty(), "it has worked at once");
            return Ok(());
        }
        let (node, needed) = (output.stderr)
            .split_once("_db needs: ")
            .map(|(before, after)| (usize::from(before.ends_with("provider")), after))
            .ok_or_else(|| format!("no grants in {}", output.stderr))?;
        let line = needed.lines().next().unwrap_or_default();
        let grants = line.split_once(": ").map_or(line, |(grants, _)| grants);
        stage.db(node)?.batch_execute(grants)?;
        asked.push(grants.to_owned());
    }
    Err(format!("there is no end of it: {asked:?}").into())
}

#[test]
fn a_planned_switch_loses_nothing_and_copies_nothing() -> TestResult {
    let (stage, mut ticker) = Stage::with_root(3)?;
    let mut relay = stage.relay("relay", 0, 1)?;
    let mut leaf = stage.subscribe("leaf", 0, 2)?;
    let load = stage.load(0, 1000)?;
    wait_until("some load", PATIENCE, || {
        Ok(stage
            .db(1)?
            .query_one("select count(*) > 20 from t", &[])?
            .get(0))
    })?;
    stage.run("relay", "provider demote")?;
    // Writing has become an error.
    assert!(load.finish().is_err());
    ticker.kill()?;
    leaf.kill()?;
    relay.kill()?;
    stage.db(1)?.batch_execute(
        "create sequence own; alter table u alter id set default nextval('own'), alter t set default nextval('s')",
    )?;
    let promoted = stage.run("relay", "provider promote")?;
    let warning = "not replicated, so behind the rows of their tables: sequences public.own;";
    assert!(promoted.stderr.contains(warning), "{}", promoted.stderr);
    let shown = stage.run("relay", "status")?.stdout;
    assert!(shown.contains("there is nothing to replay"), "{shown}");
    assert!(!shown.contains("replay -d"), "{shown}");
    let _ticker = stage.ticker(1)?;
    stage.assert_equal(0, 1)?;
    stage.job("old", 1, 0, "mirror_queue = q")?;
    resurrect_by_a_plain_role(&stage)?;
    assert!(!stage.path("lost-events.json").exists());
    assert_eq!(consumers(&stage, 0)?, [".global_watermark", "leaf"]);
    let _old = stage.replay("old")?;
    // The leaf follows the new root, by hand.
    stage.job("leaf", 1, 2, "")?;
    stage.run("leaf", "--rewind")?;
    let _leaf = stage.replay("leaf")?;
    let load = stage.load(1, 1_000_000)?;
    wait_until("changes to reach the old root", PATIENCE, || {
        let sql = "select count(*) > 10 from t where id >= 1000000";
        Ok(stage.db(0)?.query_one(sql, &[])?.get(0))
    })
    .map_err(|error| stage.explain("old", error.to_string()))?;
    load.finish()?;
    for (name, node) in [("old", 0), ("leaf", 2)] {
        stage.catch_up(name, 1, node)?;
        stage.assert_equal(1, node)?;
    }
    assert!(!stage.log("old").contains("Starting full copy"));
    Ok(())
}

#[test]
fn a_demotion_waits_for_transactions_that_still_see_the_queue_open() -> TestResult {
    let (stage, _ticker) = Stage::with_root(2)?;
    let _relay = stage.relay("relay", 0, 1)?;
    stage.job(
        "impatient",
        0,
        1,
        "pgq_consumer_id = relay\nlock_timeout = 0.5\nmirror_queue = q",
    )?;
    let mut writer = stage.db(0)?;
    writer.batch_execute("begin isolation level repeatable read; select from t")?;
    stage.refused("impatient", "provider demote", "nothing has changed")?;
    writer.batch_execute("insert into t values (1, 1, 'x'); commit")?;
    stage.run("relay", "provider demote")?;
    assert_eq!(stage.assert_equal(0, 1)?, 1);
    Ok(())
}

#[test]
fn a_demotion_can_be_taken_back() -> TestResult {
    let (stage, _ticker) = Stage::with_root(2)?;
    let _relay = stage.relay("relay", 0, 1)?;
    stage.run("relay", "provider demote")?;
    let error = stage
        .db(0)?
        .batch_execute("insert into t values (1, 1, 'x')");
    assert!(error.is_err());
    stage.run("relay", "provider demote --cancel")?;
    stage
        .db(0)?
        .batch_execute("insert into t values (1, 1, 'x')")?;
    stage.catch_up("relay", 0, 1)?;
    assert_eq!(stage.assert_equal(0, 1)?, 1);
    Ok(())
}

#[cfg(feature = "failpoints")]
#[test]
fn a_demotion_that_was_killed_half_way_can_be_taken_back() -> TestResult {
    let (stage, _ticker) = Stage::with_root(2)?;
    let _relay = stage.relay("relay", 0, 1)?;
    let output = testkit::Program::new("londiste", &stage.path(""))
        .args(["relay.ini", "provider", "demote"])
        .env("FAILPOINTS", "demote.half=return(kill)")
        .output()?;
    assert!(!output.status.success(), "{output:?}");
    let insert = "insert into t values (1, 1, 'x')";
    assert!(stage.db(0)?.batch_execute(insert).is_err());
    stage.run("relay", "provider demote --cancel")?;
    stage.db(0)?.batch_execute(insert)?;
    Ok(())
}

#[cfg(feature = "failpoints")]
#[test]
fn a_table_in_copy_keeps_the_provider() -> TestResult {
    let (stage, _ticker) = Stage::with_root(3)?;
    let _relay = stage.relay("relay", 0, 1)?;
    stage
        .db(0)?
        .batch_execute("insert into t select i, i, 'x' from generate_series(1, 50) i")?;
    stage.catch_up("relay", 0, 1)?;
    stage.job("leaf", 0, 2, "")?;
    stage.run("leaf", "subscriber install")?;
    let held = stage.path("held");
    let mut leaf = stage
        .replay_program("leaf")
        .env(
            "FAILPOINTS",
            format!("copy.copied=return(hold:{})", held.display()),
        )
        .spawn()?;
    stage.run("leaf", "subscriber add t u")?;
    wait_until("the copy", PATIENCE, || Ok(held.exists()))?;
    stage.run("leaf", "-s")?;
    leaf.wait(PATIENCE)?;
    std::fs::remove_file(&held)?;
    let output = stage.change_provider("leaf", 1, &[])?;
    assert!(
        output.stderr.contains("is not settled yet"),
        "{}",
        output.stderr
    );
    let output = stage.change_provider("leaf", 1, &["--force", "--wait", "20"])?;
    assert!(output.status.success(), "{}", output.stderr);
    let _leaf = stage.replay("leaf")?;
    stage.wait_ok("leaf", 2)?;
    stage.catch_up("leaf", 0, 2)?;
    assert_eq!(stage.assert_equal(0, 2)?, 50);
    let left: i64 = stage
        .db(0)?
        .query_one(
            "select count(*) from pgq.get_consumer_info('q') where consumer_name like 'leaf%'",
            &[],
        )?
        .get(0);
    assert_eq!(left, 0, "nothing of the leaf is left at the old provider");
    Ok(())
}

#[test]
fn a_relay_that_was_ahead_of_the_new_root_comes_back_without_its_lead() -> TestResult {
    let (stage, mut ticker) = Stage::with_root(3)?;
    let mut relay = stage.relay("relay", 0, 1)?;
    let mut ahead = stage.relay("ahead", 0, 2)?;
    relay.kill()?;
    stage
        .db(0)?
        .batch_execute("insert into t values (1, 1, 'only here and there')")?;
    stage.catch_up("ahead", 0, 2)?;
    ahead.kill()?;
    ticker.kill()?;
    stage.run("relay", "provider promote")?;
    let _ticker = stage.ticker(1)?;
    stage
        .db(1)?
        .batch_execute("insert into t values (2, 2, 'of the new root')")?;
    let output = stage.change_provider("ahead", 1, &[])?;
    assert!(
        output.stderr.contains("exists here alone"),
        "{}",
        output.stderr
    );
    stage.job("ahead", 1, 2, "mirror_queue = q")?;
    stage.run("ahead", "provider resurrect --dump lost.json")?;
    let lost = std::fs::read_to_string(stage.path("lost.json"))?;
    assert!(lost.contains("only here and there"), "{lost}");
    let _ahead = stage.replay("ahead")?;
    stage.wait_ok("ahead", 2)?;
    stage.catch_up("ahead", 1, 2)?;
    assert_eq!(stage.assert_equal(1, 2)?, 1);
    let doubles: i64 = stage
        .db(2)?
        .query_one(
            "select count(*) from pgq.event_template where ev_data like '%only here%'",
            &[],
        )?
        .get(0);
    assert_eq!(doubles, 0, "its queue has what the new root has");
    Ok(())
}

#[cfg(feature = "failpoints")]
#[test]
fn a_promotion_that_was_killed_half_way_is_finished_by_another() -> TestResult {
    let (stage, mut ticker) = Stage::with_root(3)?;
    let mut relay = stage.relay("relay", 0, 1)?;
    let mut leaf = stage.subscribe("leaf", 1, 2)?;
    stage
        .db(0)?
        .batch_execute("insert into t values (1, 1, 'old')")?;
    stage.catch_up("relay", 0, 1)?;
    relay.kill()?;
    ticker.kill()?;
    let died = testkit::Program::new("londiste", &stage.path(""))
        .args(["relay.ini", "provider", "promote"])
        .env("FAILPOINTS", "promote.half=return(kill)")
        .output()?;
    assert!(!died.status.success());
    stage
        .db(1)?
        .batch_execute("insert into t values (2, 2, 'in between')")?;
    // It is not the old root's relay any more.
    stage.refused("relay", "replay", "another node became the root")?;
    stage.run("relay", "provider promote")?;
    let _ticker = stage.ticker(1)?;
    stage
        .db(1)?
        .batch_execute("insert into t values (3, 3, 'new')")?;
    stage.catch_up("leaf", 1, 2)?;
    leaf.kill()?;
    assert_eq!(stage.assert_equal(1, 2)?, 3);
    Ok(())
}

#[test]
fn a_promoted_relay_captures_as_the_old_root_did() -> TestResult {
    let (stage, mut ticker) = Stage::with_root(3)?;
    for node in 0..3 {
        stage.db(node)?.batch_execute(
            "create table log (line text); \
             create table named (id int, name text not null); \
             create unique index named_key on named (name)",
        )?;
    }
    stage.run("root", "provider add log --insert-only")?;
    stage.run(
        "root",
        "provider add named --key-index named_key --capture statement",
    )?;
    let mut relay = stage.relay("relay", 0, 1)?;
    stage.run("relay", "subscriber add log named --force")?;
    stage.wait(
        "relay",
        "all tables to be published, as they are captured",
        1,
        "select count(*) = 2 from londiste.provider_table \
         where insert_only or key_index = 'named_key' and capture_level = 'statement'",
    )?;
    stage.catch_up("relay", 0, 1)?;
    relay.kill()?;
    ticker.kill()?;
    stage.run("relay", "provider promote")?;
    let mut root = stage.db(1)?;
    root.batch_execute("insert into log values ('a'); insert into named values (1, 'x')")?;
    root.batch_execute("update named set id = 2")?;
    assert!(root.batch_execute("delete from log").is_err());
    let events: i64 = root
        .query_one(
            "select count(*) from pgq.event_template where ev_extra1 in ('public.log', 'public.named') \
             and ev_type in ('I', 'U')",
            &[],
        )?
        .get(0);
    assert_eq!(events, 3);
    Ok(())
}
