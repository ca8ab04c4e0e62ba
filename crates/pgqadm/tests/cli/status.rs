//! `status`: what is wrong, what to type, and for whom it is printed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use testkit::{TestResult, bin, wait_until};

use crate::site::{LONG, Site};

const RULER: &str =
    "------------------------------------------------------------------------------";

/// The section of problems, times left out.
fn problems(text: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| *line != "Problems");
    lines.next();
    lines
        .map(|line| match (line.rfind(" ("), line.ends_with("s)")) {
            (Some(at), true) => line[..at].to_owned(),
            _ => line.to_owned(),
        })
        .filter(|line| line != RULER)
        .collect()
}

/// Queues in every state that somebody should look at.
fn in_trouble() -> TestResult<Site> {
    let site = Site::new()?;
    for queue in ["late", "paused", "quiet"] {
        site.succeed(&["t.ini", "-q", "create", queue])?;
    }
    for consumer in ["gone", "picky"] {
        site.succeed(&["t.ini", "-q", "register", "quiet", consumer])?;
    }
    site.db()?.batch_execute(
        "update pgq.queue set queue_ticker_paused = true where queue_name = 'paused'; \
         select pgq.insert_event('paused', 't', 'd'); \
         select pgq.insert_event('quiet', 't', 'poison')",
    )?;
    site.succeed(&["t.ini", "-q", "tick", "quiet"])?;
    site.db()?.batch_execute(
        "select pgq.event_failed(b, e.ev_id, 'it''s bad') \
           from (select pgq.next_batch('quiet', 'picky') as b offset 0) x, \
                pgq.get_batch_events(b) e; \
         select pgq.finish_batch(sub_batch) from pgq.subscription where sub_batch is not null; \
         update pgq.tick set tick_time = now() - interval '2 hours'; \
         update pgq.subscription s set sub_active = now() - interval '2 hours' \
           from pgq.consumer where co_id = sub_consumer and co_name = 'gone'; \
         select pgq.force_tick('quiet'), pgq.ticker('quiet')",
    )?;
    Ok(site)
}

#[test]
fn what_is_wrong_comes_with_what_to_type() -> TestResult {
    let site = in_trouble()?;
    let text = site.succeed(&["t.ini", "status"])?.stdout;
    assert!(text.contains("\nEvent queue "), "{text}");
    assert_eq!(
        problems(&text),
        [
            "error   no ticker runs; queues that wait for a tick: 1",
            "        -> pgqadm t.ini -d --ensure ticker; if it runs, look into its log",
            "error   quiet/gone: it does not run, and keeps the event tables from rotating",
            "        -> start the consumer, or, if nobody needs it: pgqadm t.ini unregister quiet gone",
            "warning paused: paused while about 1 events wait",
            "        -> pgqadm t.ini resume paused",
            "warning quiet/picky: events that it gave up on: 1",
            "        -> pgqadm t.ini failed list quiet picky; then failed retry, or failed delete",
        ]
    );
    // One queue.
    let text = site.succeed(&["t.ini", "status", "paused"])?.stdout;
    assert!(!text.contains("quiet") && !text.contains("late"), "{text}");
    assert_eq!(problems(&text).len(), 2, "{text}");
    let said = site.fail(&["t.ini", "status", "nope"])?;
    assert!(said.contains("no such queue: nope"), "{said}");
    Ok(())
}

#[test]
fn a_check_ends_with_code_3_only_if_something_is_wrong() -> TestResult {
    let site = Site::new()?;
    let check = |site: &Site| -> TestResult<Option<i32>> {
        Ok(site.run(&["t.ini", "status", "--check"])?.status.code())
    };
    site.succeed(&["t.ini", "-q", "create", "q"])?;
    let text = site.succeed(&["t.ini", "status"])?.stdout;
    assert!(!text.contains("Problems"), "{text}");
    assert_eq!(check(&site)?, Some(0));
    site.db()?
        .batch_execute("update pgq.tick set tick_time = now() - interval '1 day'")?;
    site.succeed(&["t.ini", "status"])?;
    assert_eq!(check(&site)?, Some(3));
    // What to type helps.
    let _ticker = site.spawn(&["t.ini", "-d", "--ensure", "ticker"])?;
    wait_until("a tick", LONG, || Ok(check(&site)? == Some(0)))?;
    Ok(())
}

#[test]
fn status_as_json_tells_everything() -> TestResult {
    let site = in_trouble()?;
    let text = site.succeed(&["t.ini", "status", "--json"])?.stdout;
    let json: Value = serde_json::from_str(&text)?;
    assert!(json.get("database").is_none());
    let kinds: Vec<_> = json["problems"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|problem| (&problem["severity"], &problem["problem"], &problem["queue"]))
        .map(|(severity, kind, queue)| format!("{severity} {kind} {queue}"))
        .collect();
    assert_eq!(
        kinds,
        [
            r#""error" "no_ticker" null"#,
            r#""error" "consumer_gone" "quiet""#,
            r#""warning" "paused" "paused""#,
            r#""warning" "failed_events" "quiet""#,
        ]
    );
    assert_eq!(json["problems"][2]["amount"], 1);
    assert_eq!(json["queues"][1]["ticker_paused"], true);
    assert_eq!(json["queue_health"][2]["queue"], "quiet");
    assert_eq!(json["queue_health"][2]["failed_events"], 1);
    assert!(json["queue_health"][2]["event_tables_size_bytes"].as_i64() > Some(0));
    assert_eq!(json["consumer_health"][1]["consumer"], "picky");
    assert_eq!(json["consumer_health"][1]["failed_events"], 1);
    Ok(())
}

#[test]
fn a_watch_goes_on_over_a_restart_until_its_reader_leaves() -> TestResult {
    let mut site = Site::new()?;
    site.succeed(&["t.ini", "-q", "create", "q"])?;
    let mut watch = Command::new(bin("pgqadm"))
        .args(["t.ini", "status", "--watch=0.1"])
        .current_dir(site.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut next = |wanted: &str| -> TestResult {
        for line in &mut lines {
            if line?.starts_with(wanted) {
                return Ok(());
            }
        }
        Err("it ended".into())
    };
    next("Postgres version")?;
    next("Postgres version")?;
    site.cluster.stop(testkit::Shutdown::Fast)?;
    site.wait_for_log("t.log", "ERROR cannot ")?;
    site.cluster.start_again()?;
    site.succeed(&["t.ini", "-q", "create", "new"])?;
    next("new ")?;
    drop(lines);
    wait_until("its end", LONG, || Ok(watch.try_wait()?.is_some()))?;
    assert_eq!(watch.wait()?.code(), Some(0));
    for wrong in ["--watch=0", "--watch=soon", "--watch=-1"] {
        assert_eq!(
            site.run(&["t.ini", "status", wrong])?.status.code(),
            Some(2)
        );
    }
    Ok(())
}

#[test]
fn of_many_databases_those_with_pgq_are_shown_and_one_can_be_named() -> TestResult {
    let site = Site::new()?;
    site.succeed(&["t.ini", "-q", "create", "q"])?;
    drop(site.cluster.create_database("empty")?);
    drop(site.cluster.create_database("second")?);
    let server = site.cluster.conninfo("x").replace(" dbname=x", "");
    std::fs::write(
        site.path("m.ini"),
        format!("[pgqd]\nbase_connstr = {server}\n"),
    )?;
    let said = site.fail(&["m.ini", "create", "p"])?;
    assert!(said.contains("add --dbname NAME"), "{said}");
    site.succeed(&["m.ini", "--dbname=second", "install"])?;
    site.succeed(&["m.ini", "create", "p", "--dbname", "second"])?;
    site.db()?
        .batch_execute("update pgq.tick set tick_time = now() - interval '1 day'")?;

    let text = site.succeed(&["m.ini", "status"])?.stdout;
    let headers: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("Database: "))
        .collect();
    assert_eq!(headers, ["Database: postgres", "Database: second"]);
    assert!(text.contains("pgqadm m.ini -d --ensure ticker"), "{text}");
    let json = site.succeed(&["m.ini", "status", "--json"])?.stdout;
    let json: Value = serde_json::from_str(&json)?;
    assert_eq!(json[1]["database"], "second");
    assert_eq!(json[1]["queues"][0]["queue"], "p");
    let one = site
        .succeed(&["m.ini", "status", "--dbname", "second"])?
        .stdout;
    assert!(one.starts_with("Postgres version"), "{one}");
    // One that is not there keeps nobody from seeing the others.
    std::fs::write(
        site.path("l.ini"),
        format!("[pgqd]\nbase_connstr = {server}\ndatabase_list = missing, second\n"),
    )?;
    let output = site.run(&["l.ini", "status", "--check", "--json"])?;
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let json: Value = serde_json::from_str(&output.stdout)?;
    assert_eq!(json.as_array().map(Vec::len), Some(1), "{}", output.stdout);
    assert_eq!(json[0]["database"], "second");
    for said in [
        "ERROR [missing]: cannot connect to db: ",
        "ERROR 1 of 2 databases failed\n",
    ] {
        assert!(output.stderr.contains(said), "{}", output.stderr);
    }
    // Of a single database, too.
    let other = site
        .succeed(&["t.ini", "--dbname=second", "config"])?
        .stdout;
    assert!(other.starts_with("p\n"), "{other}");
    Ok(())
}

#[test]
fn pgq_2_has_its_own_columns_and_is_told_to_upgrade() -> TestResult {
    let site = Site::bare()?;
    let mut db = site.db()?;
    db.batch_execute(include_str!(
        "../../../pgq/tests/sql/fixtures/version_2.sql"
    ))?;
    let count = db.query_one("select count(*) from pgq.queue", &[])?;
    let text = site.succeed(&["t.ini", "status"])?.stdout;
    let queues = "Event queue                                    Rotation        Ticker   TLag";
    let consumers = "Consumer                                                       Lag  LastSeen";
    assert!(text.contains(&format!("\n{queues}\n{RULER}\n")), "{text}");
    assert!(
        text.contains(&format!("\n{consumers}\n{RULER}\n")),
        "{text}"
    );
    assert!(
        text.contains("does not tell what is wrong; pgqadm t.ini upgrade"),
        "{text}"
    );
    let json = site.succeed(&["t.ini", "status", "--json"])?.stdout;
    let json: Value = serde_json::from_str(&json)?;
    assert_eq!(
        json["queues"].as_array().map(Vec::len),
        Some(usize::try_from(count.get::<_, i64>(0))?)
    );
    assert_eq!(json["problems"], Value::Null);
    Ok(())
}

#[test]
fn help_of_status_names_its_options() -> TestResult {
    let site = Site::bare()?;
    let help = site.succeed(&["status", "--help"])?.stdout;
    for option in [
        "[QUEUE]",
        "--check",
        "--watch[=<SECONDS>]",
        "--json",
        "--dbname",
    ] {
        assert!(help.contains(option), "{option}: {help}");
    }
    Ok(())
}
