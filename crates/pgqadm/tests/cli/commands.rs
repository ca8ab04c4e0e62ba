//! The commands that end by themselves: what they do, print and log, and how they fail.

use testkit::TestResult;

use crate::site::Site;

/// Log lines without time and process id.
fn messages(log: &str) -> Vec<&str> {
    log.lines()
        .map(|line| line.splitn(4, ' ').nth(3).unwrap_or(line))
        .collect()
}

#[test]
fn install_brings_everything_once() -> TestResult {
    let site = Site::bare()?;
    site.succeed(&["t.ini", "install"])?;
    assert_eq!(
        messages(&site.log()?),
        [
            "INFO txid_current_snapshot is installed",
            "INFO Installing pgq",
            "INFO   Reading from pgq/install.sql",
            "INFO Installing pgq_ext",
            "INFO   Reading from pgq_ext/install.sql",
            "INFO Installing pgq_coop",
            "INFO   Reading from pgq_coop/install.sql",
        ]
    );
    std::fs::remove_file(site.path("t.log"))?;
    site.succeed(&["t.ini", "create", "q"])?;
    site.succeed(&["t.ini", "install"])?;
    assert_eq!(
        messages(&site.log()?)[1..],
        [
            "INFO txid_current_snapshot is installed",
            "INFO pgq is installed",
            "INFO pgq_ext is installed",
            "INFO pgq_coop is installed",
        ]
    );
    assert!(
        site.succeed(&["t.ini", "config"])?
            .stdout
            .starts_with("q\n")
    );
    Ok(())
}

#[test]
fn a_directory_can_replace_the_embedded_sql() -> TestResult {
    let site = Site::bare()?;
    let sql = site.path("sql");
    for schema in ["pgq", "pgq_ext"] {
        std::fs::create_dir_all(sql.join(schema))?;
        std::fs::write(sql.join(schema).join("install.sql"), "\\ir own.sql\n")?;
    }
    std::fs::write(sql.join("pgq/own.sql"), "create schema pgq;")?;
    let install = || {
        testkit::Program::new("pgqadm", &site.path("."))
            .args(["t.ini", "install"])
            .env("SKYTOOLS_SQL_DIR", &sql)
            .output()
    };
    let output = install()?;
    assert_eq!(output.status.code(), Some(1));
    let missing = sql.join("pgq_ext/own.sql");
    let message = format!("File not found: {}", missing.display());
    assert!(output.stderr.contains(&message), "{}", output.stderr);

    std::fs::write(
        missing,
        "create schema pgq_ext; create table pgq_ext.own ();",
    )?;
    let output = install()?;
    assert!(output.status.success(), "{}", output.stderr);
    site.db()?.batch_execute("select from pgq_ext.own")?;
    Ok(())
}

#[test]
fn a_database_without_pgq_says_what_to_do() -> TestResult {
    let site = Site::bare()?;
    for command in [
        &["status"][..],
        &["config"],
        &["create", "q"],
        &["register", "q", "c"],
        &["--once", "ticker"],
    ] {
        let said = site.fail(&[&["t.ini"], command].concat())?;
        let advice = "PgQ is not installed in this database; run: pgqadm INI install";
        assert!(said.contains(advice), "{command:?}: {said}");
    }
    Ok(())
}

#[test]
fn queues_and_consumers_come_and_go() -> TestResult {
    let site = Site::new()?;
    for args in [
        &["create", "q"][..],
        &["create", "q"],
        &["register", "q", "c"],
        &["register", "q", "c"],
        &["unregister", "q", "c"],
        &["drop", "q"],
    ] {
        let output = site.succeed(&[&["t.ini"], args].concat())?;
        assert_eq!(output.stdout, "");
    }
    assert_eq!(
        messages(&site.log()?),
        [
            "INFO Creating queue: q",
            "INFO Creating queue: q",
            "INFO Queue already exists",
            "INFO Registering consumer c on queue q",
            "INFO Registering consumer c on queue q",
            "INFO Consumer already registered",
            "INFO Unregistering consumer c from queue q",
            "INFO Dropping queue: q",
        ]
    );
    let mut db = site.db()?;
    let row = db.query_one("select count(*) from pgq.queue", &[])?;
    assert_eq!(row.get::<_, i64>(0), 0);
    Ok(())
}

#[test]
fn a_queue_with_consumers_is_dropped_by_force_only() -> TestResult {
    let site = Site::new()?;
    site.succeed(&["t.ini", "create", "q"])?;
    site.succeed(&["t.ini", "register", "q", "c"])?;
    let said = site.fail(&["t.ini", "drop", "q"])?;
    assert!(
        said.contains(
            "ERROR cannot drop queue, consumers still attached: c; unregister them, or add --force"
        ),
        "{said}"
    );
    site.succeed(&["t.ini", "drop", "q", "--force"])?;
    assert_eq!(site.succeed(&["t.ini", "config"])?.stdout, "");
    Ok(())
}

#[test]
fn what_does_not_exist_is_an_error() -> TestResult {
    let site = Site::new()?;
    site.succeed(&["t.ini", "create", "q"])?;
    for (args, expected) in [
        (&["drop", "nope"][..], "No such event queue"),
        (&["register", "nope", "c"], "Event queue not created yet"),
        (
            &["unregister", "q", "c"],
            "consumer not registered on queue",
        ),
        (
            &["unregister", "nope", "c"],
            "consumer not registered on queue",
        ),
        (&["config", "nope"], "no such queue: nope"),
        (&["config", "nope", "--json"], "no such queue: nope"),
        (
            &["config", "nope", "ticker_max_lag=1"],
            "no such queue: nope",
        ),
        (&["frobnicate"], "unknown command 'frobnicate'"),
        (&[], "need command"),
    ] {
        let said = site.fail(&[&["t.ini"], args].concat())?;
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    Ok(())
}

#[test]
fn a_wrong_number_of_arguments_shows_the_usage() -> TestResult {
    let site = Site::new()?;
    for args in [
        &["create"][..],
        &["create", "a", "b"],
        &["drop"],
        &["register", "q"],
        &["register", "q", "c", "d"],
        &["unregister", "q"],
        &["status", "q", "r"],
        &["pause"],
        &["tick"],
        &["batch", "q"],
        &["ticker", "q"],
    ] {
        let said = site.fail(&[&["t.ini"], args].concat())?;
        let usage = format!("Usage: pgqadm INI {}", args[0]);
        assert!(said.contains(&usage), "{args:?}: {said}");
    }
    for args in [&["create", ""][..], &["register", "q", ""]] {
        let refused = site.run(&[&["t.ini"], args].concat())?;
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(refused.stderr.contains("none was supplied"), "{refused:?}");
    }
    assert_eq!(site.log()?, "");
    Ok(())
}

#[test]
fn a_missing_or_wrong_configuration_is_named() -> TestResult {
    let site = Site::bare()?;
    let said = site.fail(&[])?;
    assert!(said.contains("need config file"), "{said}");
    let said = site.fail(&["missing.ini", "status"])?;
    assert!(
        said.contains("Config file not found: missing.ini"),
        "{said}"
    );
    std::fs::write(site.path("empty.ini"), "[pgqadm]\n")?;
    let said = site.fail(&["empty.ini", "status"])?;
    assert!(said.contains("Config value not set: db"), "{said}");
    let said = site.fail(&["empty.ini", "ticker"])?;
    assert!(said.contains("Config value not set: db"), "{said}");
    std::fs::write(site.path("other.ini"), "[londiste]\n")?;
    let said = site.fail(&["other.ini", "status"])?;
    assert!(said.contains("no section 'pgqadm' in other.ini"), "{said}");
    let said = site.fail(&["t.ini", "--set", "maint_delay=soon", "status"])?;
    assert!(said.contains("maint_delay"), "{said}");
    let said = site.fail(&["t.ini", "--set", "db=host='", "status"])?;
    assert!(said.contains("db is no connect string"), "{said}");
    Ok(())
}

#[test]
fn a_server_that_is_down_is_an_error_without_the_password() -> TestResult {
    let site = Site::bare()?;
    let db = "db=host=/nowhere dbname=x user=u password=s3cr3t";
    for command in [&["status"][..], &["create", "q"], &["--once", "ticker"]] {
        let said = site.fail(&[&["t.ini", "-vv", "--set", db], command].concat())?;
        assert!(said.contains("/nowhere"), "{said}");
        assert!(!said.contains("s3cr3t"), "{said}");
    }
    Ok(())
}

#[test]
fn keys_of_old_files_are_accepted_in_silence() -> TestResult {
    let site = Site::new()?;
    site.configure(
        "old.ini",
        "logfile = old.log\nidle_interval = 3\nmax_events = 500\nmax_lag = 3\n\
         maint_delay_min = 1\nticker_log_delay = 5",
    )?;
    site.succeed(&["old.ini", "status"])?;
    assert_eq!(site.log_of("old.log")?, "");
    Ok(())
}

#[test]
fn config_shows_settings_and_changes_them() -> TestResult {
    let site = Site::new()?;
    site.succeed(&["t.ini", "create", "testqueue"])?;
    site.succeed(&["t.ini", "create", "a second"])?;
    let first = "testqueue\n    ticker_max_lag\t=      3\n    ticker_max_count\t=    500\n    \
                 ticker_idle_period\t=     60\n    rotation_period\t=   7200\n";
    assert_eq!(
        site.succeed(&["t.ini", "config", "testqueue"])?.stdout,
        first
    );
    let all = site.succeed(&["t.ini", "config"])?.stdout;
    let second = first.replace("testqueue", "a second");
    assert_eq!(all, format!("{second}{first}"));

    site.succeed(&[
        "t.ini",
        "config",
        "testqueue",
        "queue_ticker_max_lag=0.25",
        "ticker_max_count = 10",
        "rotation_period=1 day",
        "ticker_paused=true",
    ])?;
    let line = "Change queue testqueue config to: queue_ticker_max_lag='0.25', \
                queue_ticker_max_count='10', queue_rotation_period='1 day', \
                queue_ticker_paused='true'";
    assert!(site.log()?.contains(line), "{}", site.log()?);
    let changed = first
        .replace("     3\n", "  0.25\n")
        .replace("  500\n", "   10\n");
    let changed = changed.replace("  7200\n", " 86400\n    ticker_paused\t=   true\n");
    assert_eq!(
        site.succeed(&["t.ini", "config", "testqueue"])?.stdout,
        changed
    );

    let json = site
        .succeed(&["t.ini", "config", "testqueue", "--json"])?
        .stdout;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    assert_eq!(
        json,
        serde_json::json!([{
            "queue": "testqueue",
            "ticker_max_lag_seconds": 0.25,
            "ticker_max_count": 10,
            "ticker_idle_period_seconds": 60.0,
            "rotation_period_seconds": 86400.0,
            "ticker_paused": true,
            "external_ticker": false,
            "disable_insert": false,
            "per_tx_limit": null,
            "notify": false,
            "max_retries": null,
        }])
    );
    Ok(())
}

#[test]
fn a_wrong_change_changes_nothing() -> TestResult {
    let site = Site::new()?;
    site.succeed(&["t.ini", "create", "q"])?;
    let before = site.succeed(&["t.ini", "config"])?.stdout;
    for (wrong, expected) in [
        (
            "max_events=3",
            "unknown config var: max_events; there are ticker_max_lag, ticker_max_count, ",
        ),
        (
            "ticker_max_count",
            "expected VAR=VAL, got 'ticker_max_count'",
        ),
        (
            "ticker_max_count=many",
            "invalid input syntax for type integer",
        ),
        (
            "rotation_period=1; drop table pgq.queue",
            "invalid input syntax for type interval",
        ),
    ] {
        let said = site.fail(&["t.ini", "config", "q", "ticker_max_lag=9", wrong])?;
        assert!(said.contains(expected), "{said}");
        assert_eq!(
            site.succeed(&["t.ini", "config"])?.stdout,
            before,
            "{wrong}"
        );
    }
    Ok(())
}

#[test]
fn status_shows_queues_and_consumers_in_columns() -> TestResult {
    let site = Site::new()?;
    let ruler = "-".repeat(78);
    let body = |site: &Site| -> TestResult<Vec<String>> {
        let text = site.succeed(&["t.ini", "status"])?.stdout;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let queues = "Event queue                        Rotation        Ticker   TLag    EPS   New";
    let consumers = "Consumer                                               Lag  LastSeen  Pending";
    let empty = body(&site)?;
    assert!(empty[0].starts_with("Postgres version: "), "{}", empty[0]);
    assert!(empty[0].contains("   PgQ version: 3."), "{}", empty[0]);
    assert_eq!(
        empty[1..],
        ["", queues, &ruler, &ruler, "", consumers, &ruler, &ruler]
    );

    let long = "a_queue_whose_name_is_longer_than_its_column";
    for queue in ["alone", "busy", long] {
        site.succeed(&["t.ini", "create", queue])?;
    }
    site.succeed(&["t.ini", "register", "busy", "replic"])?;
    // Times that do not depend on the clock: none, and exactly two hours ago.
    site.db()?.batch_execute(
        "delete from pgq.tick using pgq.queue \
         where queue_id = tick_queue and queue_name in ('alone', 'busy'); \
         update pgq.tick set tick_time = now() - interval '2 hours'; \
         update pgq.subscription set sub_active = now() - interval '100 days'",
    )?;
    let mut text = body(&site)?;
    let problems = text.iter().position(|line| line == "Problems");
    text.truncate(problems.expect("no ticker runs") - 1);
    let alone = "alone                               3/7200s    500/3s/60s   NULL   NULL  NULL";
    let busy = "busy                                3/7200s    500/3s/60s   NULL   NULL  NULL";
    let pushed = format!("{long}   3/7200s    500/3s/60s  7200s   NULL     0");
    let replic = "  replic                                              NULL  8640000s     NULL";
    assert_eq!(
        text[1..],
        [
            "",
            queues,
            &ruler,
            &pushed,
            alone,
            busy,
            &ruler,
            "",
            consumers,
            &ruler,
            &format!("{long}:"),
            "alone:",
            "busy:",
            replic,
            &ruler,
        ]
    );
    Ok(())
}

#[test]
fn status_as_json_holds_the_same() -> TestResult {
    let site = Site::new()?;
    site.succeed(&["t.ini", "create", "q"])?;
    site.succeed(&["t.ini", "register", "q", "c"])?;
    let text = site.succeed(&["t.ini", "--json", "status"])?.stdout;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!(json["queues"][0]["queue"], "q");
    assert_eq!(json["queues"][0]["ticker_max_count"], 500);
    assert_eq!(json["consumers"][0]["consumer"], "c");
    assert_eq!(json["consumers"][0]["queue"], "q");
    assert_eq!(json["consumers"][0]["pending_events"], 0);
    assert!(json["consumers"][0]["lag_seconds"].as_f64() >= Some(0.0));
    Ok(())
}

#[test]
fn reading_commands_need_no_pidfile_and_changing_ones_exclude_each_other() -> TestResult {
    let site = Site::new()?;
    let lock = std::fs::File::create(site.path("t.pid.admin.lock"))?;
    lock.lock()?;
    let said = site.fail(&["t.ini", "create", "q"])?;
    assert!(
        said.contains("Pidfile exists, another process running?"),
        "{said}"
    );
    site.succeed(&["t.ini", "status"])?;
    site.succeed(&["t.ini", "config"])?;
    Ok(())
}

#[test]
fn the_sample_configuration_works() -> TestResult {
    let site = Site::new()?;
    let sample = site.succeed(&["--ini"])?.stdout;
    std::fs::write(site.path("sample.ini"), sample)?;
    let db = format!("db={}", site.cluster.conninfo("postgres"));
    // Before a command and after it.
    let output = site.succeed(&["--set", &db, "sample.ini", "status", "--set", "logfile="])?;
    assert!(output.stdout.contains("Event queue"));
    assert_eq!(output.stderr, "");
    Ok(())
}

#[test]
fn help_names_every_command() -> TestResult {
    let site = Site::bare()?;
    let help = site.succeed(&["--help"])?.stdout;
    for command in [
        "ticker",
        "status",
        "install",
        "create",
        "drop",
        "register",
        "unregister",
        "config",
        "pause",
        "resume",
        "tick",
        "batch",
        "failed",
    ] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command}: {help}"
        );
        let own = site.succeed(&[command, "--help"])?.stdout;
        assert!(
            own.contains(&format!("Usage: pgqadm INI {command}")),
            "{own}"
        );
    }
    Ok(())
}
