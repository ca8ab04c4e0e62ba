//! Commands of an operator: all at once, positions, ticks, batches, failed events.

use serde_json::{Value, json};
use testkit::{TestResult, wait_until};

use crate::site::{LONG, Site};

/// A site with two queues and a consumer on the first.
fn site() -> TestResult<Site> {
    let site = Site::new()?;
    site.succeed(&["t.ini", "-q", "create", "a"])?;
    site.succeed(&["t.ini", "-q", "create", "b"])?;
    site.succeed(&["t.ini", "-q", "register", "a", "c"])?;
    Ok(site)
}

fn json_of(site: &Site, args: &[&str]) -> TestResult<Value> {
    let output = site.succeed(&[&["t.ini", "--json"], args].concat())?;
    Ok(serde_json::from_str(&output.stdout)?)
}

#[test]
fn a_star_changes_the_settings_of_all_queues_or_none() -> TestResult {
    let site = site()?;
    site.succeed(&["t.ini", "config", "*", "ticker_max_lag=7"])?;
    let log = site.log()?;
    for queue in ["a", "b"] {
        let line = format!("Change queue {queue} config to: queue_ticker_max_lag='7'");
        assert!(log.contains(&line), "{log}");
    }
    let said = site.fail(&[
        "t.ini",
        "config",
        "*",
        "ticker_max_lag=8",
        "rotation_period=x",
    ])?;
    assert!(said.contains("invalid input syntax"), "{said}");
    for queue in json_of(&site, &["config", "*"])?
        .as_array()
        .into_iter()
        .flatten()
    {
        assert_eq!(queue["ticker_max_lag_seconds"], 7.0);
    }
    assert_eq!(
        site.succeed(&["t.ini", "config", "*"])?.stdout,
        site.succeed(&["t.ini", "config"])?.stdout
    );
    Ok(())
}

#[test]
fn settings_that_most_queues_leave_alone_are_changed_and_shown_too() -> TestResult {
    let site = site()?;
    let settings = [
        "disable_insert=1",
        "per_tx_limit=7",
        "notify=1",
        "max_retries=3",
    ];
    site.succeed(&[&["t.ini", "config", "a"][..], &settings].concat())?;
    let row = site.db()?.query_one(
        "select queue_disable_insert and queue_notify, queue_per_tx_limit, queue_max_retries \
         from pgq.queue where queue_name = 'a'",
        &[],
    )?;
    let found: (bool, i32, i32) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(found, (true, 7, 3));
    let shown = site.succeed(&["t.ini", "config", "a"])?.stdout;
    let expected = "    disable_insert\t=   true\n    per_tx_limit\t=      7\n    notify\t=   true\n    \
                    max_retries\t=      3\n";
    assert!(shown.ends_with(expected), "{shown}");
    Ok(())
}

#[test]
fn queues_are_paused_and_resumed() -> TestResult {
    let site = site()?;
    let paused = |site: &Site| -> TestResult<Vec<Value>> {
        let queues = json_of(site, &["config"])?;
        let queues = queues.as_array().cloned().unwrap_or_default();
        Ok(queues
            .into_iter()
            .map(|queue| queue["ticker_paused"].clone())
            .collect())
    };
    site.succeed(&["t.ini", "pause", "a"])?;
    assert_eq!(paused(&site)?, [true, false]);
    site.succeed(&["t.ini", "pause", "*"])?;
    assert_eq!(paused(&site)?, [true, true]);
    site.succeed(&["t.ini", "resume", "*"])?;
    assert_eq!(paused(&site)?, [false, false]);
    let log = site.log()?;
    for line in [
        "INFO Pausing queue b",
        "INFO Queue is paused already",
        "INFO Resuming queue a",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    let said = site.fail(&["t.ini", "pause", "nope"])?;
    assert!(said.contains("no such queue: nope"), "{said}");
    Ok(())
}

#[test]
fn a_queue_is_ticked_on_request_with_and_without_a_ticker() -> TestResult {
    let site = site()?;
    let newest = |site: &Site| -> TestResult<i64> {
        let row = site
            .db()?
            .query_one("select last_tick_id from pgq.get_queue_info('a')", &[])?;
        Ok(row.get(0))
    };
    let before = newest(&site)?;
    let first = site.succeed(&["t.ini", "tick", "a"])?.stdout;
    assert_eq!(first, format!("a\t{}\n", newest(&site)?));
    assert!(newest(&site)? > before);
    let _ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_log("t.log", "{ticks: ")?;
    let before = newest(&site)?;
    let second = json_of(&site, &["tick", "a"])?;
    assert_eq!(second[0]["queue"], "a");
    assert!(second[0]["tick"].as_i64() > Some(before), "{second}");

    site.succeed(&["t.ini", "-q", "pause", "a"])?;
    let said = site.fail(&["t.ini", "tick", "a"])?;
    assert!(said.contains("queue a is paused"), "{said}");
    let all = site.succeed(&["t.ini", "tick", "*"])?.stdout;
    assert!(all.starts_with("b\t") && all.lines().count() == 1, "{all}");
    site.succeed(&["t.ini", "-q", "config", "b", "external_ticker=1"])?;
    let said = site.fail(&["t.ini", "tick", "b"])?;
    assert!(said.contains("queue b is ticked from elsewhere"), "{said}");
    Ok(())
}

#[test]
fn a_consumer_is_registered_at_a_tick_or_where_another_one_is() -> TestResult {
    let site = site()?;
    let position = |consumer: &str| -> TestResult<Option<i64>> {
        let row = site.db()?.query_one(
            "select last_tick from pgq.get_consumer_info('a', $1)",
            &[&consumer],
        )?;
        Ok(row.get(0))
    };
    let start = position("c")?.expect("a position");
    site.succeed(&["t.ini", "tick", "a"])?;
    let at = start.to_string();
    site.succeed(&["t.ini", "register", "a", "early", "--at", &at])?;
    assert_eq!(position("early")?, Some(start));
    site.succeed(&["t.ini", "register", "a", "new"])?;
    assert!(position("new")? > Some(start));
    site.succeed(&["t.ini", "register", "a", "twin", "--copy=new"])?;
    assert_eq!(position("twin")?, position("new")?);
    site.succeed(&["t.ini", "register", "a", "twin", "--copy", "c"])?;
    assert_eq!(position("twin")?, Some(start));
    let log = site.log()?;
    let line = format!("INFO Registering consumer twin on queue a at tick {start}");
    assert!(log.contains(&line), "{log}");
    assert!(
        log.contains("INFO Consumer already registered, moved"),
        "{log}"
    );

    for (args, expected) in [
        (["--at", "999"], "tick not found"),
        (["--copy", "nobody"], "not registered on queue: nobody on a"),
    ] {
        let said = site.fail(&[&["t.ini", "register", "a", "x"][..], &args].concat())?;
        assert!(said.contains(expected), "{said}");
    }
    let both = ["t.ini", "register", "a", "x", "--at", "1", "--copy", "c"];
    assert_eq!(site.run(&both)?.status.code(), Some(2));
    Ok(())
}

#[test]
fn all_consumers_of_a_queue_are_removed_at_once() -> TestResult {
    let site = site()?;
    site.succeed(&["t.ini", "-q", "register", "a", "d"])?;
    site.succeed(&["t.ini", "-q", "register", "b", "d"])?;
    site.succeed(&["t.ini", "unregister", "a", "*"])?;
    let rows = site
        .db()?
        .query("select queue_name from pgq.get_consumer_info()", &[])?;
    let left: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, ["b"]);
    let log = site.log()?;
    assert!(
        log.contains("INFO Unregistering consumer c from queue a"),
        "{log}"
    );
    let said = site.fail(&["t.ini", "unregister", "nope", "*"])?;
    assert!(said.contains("no such queue: nope"), "{said}");
    Ok(())
}

/// Fails the events with these payloads, in a batch that stays open.
fn fail_events(site: &Site, data: &[&str]) -> TestResult<Vec<i64>> {
    let mut db = site.db()?;
    for data in data {
        db.execute("select pgq.insert_event('a', 'kind', $1)", &[data])?;
    }
    site.succeed(&["t.ini", "-q", "tick", "a"])?;
    let rows = db.query(
        "with b as materialized (select pgq.next_batch('a', 'c') as id), \
         e as materialized (select id, ev_id from b, pgq.get_batch_events(id)) \
         select ev_id, pgq.event_failed(id, ev_id, 'it broke') from e order by 1",
        &[],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[test]
fn the_open_batch_of_a_consumer_is_shown() -> TestResult {
    let site = site()?;
    let none = site.succeed(&["t.ini", "batch", "a", "c"])?.stdout;
    assert_eq!(
        none,
        "Batch           none open\nPending         about 0\nTo be retried   0\nFailed          0\n"
    );
    fail_events(&site, &["one", "two"])?;
    let text = site.succeed(&["t.ini", "batch", "a", "c"])?.stdout;
    for line in [
        "Batch           1, open for 0s\n",
        "From tick       1 at 2",
        "Failed          2\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let shown = json_of(&site, &["batch", "a", "c"])?;
    assert_eq!(shown["batch"]["batch"], 1);
    assert_eq!(shown["batch"]["start_tick"], 1);
    assert!(shown["batch"]["events"].as_i64() >= Some(2), "{shown}");
    assert_eq!(shown["failed_events"], 2);
    let said = site.fail(&["t.ini", "batch", "a", "nobody"])?;
    assert!(
        said.contains("consumer not registered on queue: nobody on a"),
        "{said}"
    );
    Ok(())
}

#[test]
fn failed_events_are_listed_counted_retried_and_deleted() -> TestResult {
    let site = site()?;
    let events = fail_events(&site, &["one", "two\nlines", "three", "four"])?;
    let count = |site: &Site| -> TestResult<String> {
        Ok(site
            .succeed(&["t.ini", "failed", "count", "a", "c"])?
            .stdout)
    };
    assert_eq!(count(&site)?, "4\n");
    assert_eq!(
        json_of(&site, &["failed", "count", "a", "c"])?,
        json!({"failed_events": 4})
    );
    let text = site.succeed(&[
        "t.ini",
        "failed",
        "list",
        "a",
        "c",
        "--limit=1",
        "--offset=1",
    ])?;
    let lines: Vec<&str> = text.stdout.lines().collect();
    assert_eq!(lines[0], format!("event {}", events[1]));
    assert_eq!(
        lines[3..],
        [
            "    reason      it broke",
            "    retries     0",
            "    type        kind",
            r"    data        two\nlines"
        ]
    );
    let listed = json_of(&site, &["failed", "list", "a", "c"])?;
    assert_eq!(listed[1]["data"], "two\nlines");
    assert_eq!(listed[0]["id"], events[0]);

    let ids: Vec<String> = events.iter().map(ToString::to_string).collect();
    site.succeed(&["t.ini", "failed", "delete", "a", "c", &ids[0]])?;
    // All or nothing.
    let said = site.fail(&["t.ini", "failed", "retry", "a", "c", &ids[1], &ids[0]])?;
    assert!(said.contains("event not found"), "{said}");
    assert_eq!(count(&site)?, "3\n");
    site.succeed(&["t.ini", "failed", "retry", "a", "c", "--all"])?;
    assert_eq!(count(&site)?, "0\n");
    assert!(
        site.log()?
            .contains("INFO Retrying failed events of consumer c on queue a: 3")
    );
    let mut db = site.db()?;
    db.batch_execute("select pgq.finish_batch(1)")?;
    site.succeed(&["t.ini", "-q", "tick", "a"])?;
    let again = db.query(
        "select ev_data from (select pgq.next_batch('a', 'c') as b offset 0) x, \
         pgq.get_batch_events(b) order by ev_id",
        &[],
    )?;
    let again: Vec<String> = again.iter().map(|row| row.get(0)).collect();
    assert_eq!(again, ["two\nlines", "three", "four"]);

    for (args, expected) in [
        (
            &["failed", "retry", "a", "c"][..],
            "need ids of events, or --all",
        ),
        (
            &["failed", "count", "a", "x"],
            "consumer not registered on queue: x on a",
        ),
        (
            &["failed", "list", "a", "x"],
            "consumer not registered on queue: x on a",
        ),
        (
            &["failed", "delete", "a", "x", "--all"],
            "consumer not registered on queue: x on a",
        ),
    ] {
        let said = site.fail(&[&["t.ini"], args].concat())?;
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    Ok(())
}

#[test]
fn a_tick_that_another_session_holds_up_is_waited_for() -> TestResult {
    let site = site()?;
    let mut other = site.db()?;
    other.batch_execute(
        "begin; select pg_advisory_xact_lock(1885827412, queue_id) from pgq.queue",
    )?;
    let mut tick = site.spawn(&["t.ini", "tick", "a"])?;
    wait_until("an attempt", LONG, || {
        let row = site.db()?.query_one(
            "select count(*) from pg_stat_activity where application_name = 'test'",
            &[],
        )?;
        Ok(row.get::<_, i64>(0) == 1)
    })?;
    other.batch_execute("commit")?;
    assert_eq!(tick.wait(LONG)?.code(), Some(0));
    Ok(())
}

#[test]
fn commands_take_queues_and_consumers_of_any_name() -> TestResult {
    let site = Site::new()?;
    let mut db = site.db()?;
    // Not to be compressed: an index holds it as it is.
    let long: String = db
        .query_one(
            "select left(string_agg(md5(n::text), ''), 1000) from generate_series(1, 32) n",
            &[],
        )?
        .get(0);
    for name in [
        "it's \"quoted\"",
        "Mixed Case",
        "a.b.c",
        " ",
        "%s {} \\ é",
        "select",
        "--force",
        "a=b",
        "日本語",
        &long,
    ] {
        // What begins with a hyphen stands after two of them.
        let run = |before: &[&str], after: &[&str]| {
            site.succeed(&[&["t.ini"], before, &["--"], after].concat())
        };
        run(&["create"], &[name])?;
        run(&["register"], &[name, name])?;
        run(
            &["config"],
            &[name, "ticker_max_lag=0", "ticker_idle_period=0"],
        )?;
        let config = run(&["config"], &[name])?.stdout;
        assert!(config.starts_with(&format!("{name}\n    ")), "{config}");
        run(&["pause"], &[name])?;
        run(&["resume"], &[name])?;
        db.execute("select pgq.insert_event($1, $1, $1)", &[&name])?;
        assert_eq!(run(&["tick"], &[name])?.stdout, format!("{name}\t2\n"));
        let failed = db.query(
            "with b as materialized (select pgq.next_batch($1, $1) as id), \
             e as materialized (select id, ev_id from b, pgq.get_batch_events(id)) \
             select pgq.event_failed(id, ev_id, $1) from e",
            &[&name],
        )?;
        assert_eq!(failed.len(), 1, "{name}");
        let batch = run(&["batch"], &[name, name])?.stdout;
        assert!(batch.contains("Failed          1\n"), "{name}: {batch}");
        let status: Value = serde_json::from_str(&run(&["--json", "status"], &[name])?.stdout)?;
        assert_eq!(status["queues"][0]["queue"], name);
        assert_eq!(status["consumers"][0]["consumer"], name);
        let list: Value =
            serde_json::from_str(&run(&["--json", "failed", "list"], &[name, name])?.stdout)?;
        assert_eq!(list[0]["reason"], name);
        assert_eq!(run(&["failed", "count"], &[name, name])?.stdout, "1\n");
        run(&["failed", "retry", "--all"], &[name, name])?;
        run(&["failed", "delete", "--all"], &[name, name])?;
        assert_eq!(run(&["failed", "count"], &[name, name])?.stdout, "0\n");
        run(&["unregister"], &[name, name])?;
        run(&["drop"], &[name])?;
        let left = db.query_one(
            "select (select count(*) from pgq.queue) + (select count(*) from pgq.consumer)",
            &[],
        )?;
        assert_eq!(left.get::<_, i64>(0), 0, "{name}");
    }
    Ok(())
}
