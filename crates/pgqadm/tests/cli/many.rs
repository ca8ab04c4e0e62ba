//! Many databases of one server, from one process.

use std::fs;

use postgres::{Client, NoTls};
use rustix::process::Signal;
use testkit::{Shutdown, TestResult, wait_until};

use crate::site::{LONG, Site};

/// Connect string without a database.
fn server(site: &Site) -> String {
    let directory = site.cluster.socket_dir();
    let port = site.cluster.port();
    format!("host={} port={port} user=postgres", directory.display())
}

/// Writes `m.ini`, a configuration of the kind that Debian's daemon has.
fn configure(site: &Site, more: &str) -> TestResult {
    let text = format!(
        "[pgqd]\nlogfile = m.log\npidfile = u.pid\nbase_connstr = {}\n\
         ticker_period = 0.05\nretry_period = 0.2\nmaint_period = 0.5\nexception_sleep = 0.2\n\
         {more}\n",
        server(site)
    );
    Ok(fs::write(site.path("m.ini"), text)?)
}

/// Makes a database with PgQ and a queue that is always due.
fn database(site: &Site, name: &str) -> TestResult<Client> {
    let quoted = name.replace('"', "\"\"");
    site.db()?
        .batch_execute(&format!("create database \"{quoted}\""))?;
    let db = Client::connect(&conninfo(site, name), NoTls)?;
    with_queue(site, db, name)
}

/// Connect string of a database with any name.
fn conninfo(site: &Site, name: &str) -> String {
    let name = name.replace('\\', r"\\").replace('\'', r"\'");
    format!("{} dbname='{name}'", server(site))
}

fn with_queue(site: &Site, mut db: Client, name: &str) -> TestResult<Client> {
    fs::write(
        site.path("d.ini"),
        format!("[pgqadm]\ndb = {}\n", conninfo(site, name)),
    )?;
    site.succeed(&["d.ini", "-q", "install"])?;
    db.batch_execute(
        "select pgq.create_queue('q'); \
         update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    )?;
    Ok(db)
}

fn wait_for_ticks(db: &mut Client) -> TestResult {
    let mut newest = || -> TestResult<i64> {
        Ok(db
            .query_one("select coalesce(max(tick_id), 0) from pgq.tick", &[])?
            .get(0))
    };
    let before = newest()?;
    wait_until("ticks", LONG, || Ok(newest()? > before + 2))
}

/// Sessions of the ticker in a database.
fn sessions(db: &mut Client, name: &str) -> TestResult<i64> {
    let row = db.query_one(
        "select count(*) from pg_stat_activity where datname = $1 and application_name = 'pgqd'",
        &[&name],
    )?;
    Ok(row.get(0))
}

#[test]
fn databases_are_found_served_and_released() -> TestResult {
    let site = Site::bare()?;
    let mut a = database(&site, "a")?;
    let mut late = site.cluster.create_database("late")?;
    configure(&site, "check_period = 0.2\nstats_period = 0.2")?;
    let mut ticker = site.spawn(&["m.ini", "ticker"])?;
    wait_for_ticks(&mut a)?;
    // One that did not exist, one that lacked PgQ; names as they come.
    let odd = r#"it's "one"\ more"#;
    wait_for_ticks(&mut database(&site, odd)?)?;
    late = with_queue(&site, late, "late")?;
    wait_for_ticks(&mut late)?;
    wait_until("statistics", LONG, || {
        let log = site.log_of("m.log")?;
        let worked = |line: &str| {
            let (_, counts) = line.split_once("INFO {ticks: ")?;
            let (ticks, rest) = counts.split_once(", maint: ")?;
            let (maint, retry) = rest.split_once(", retry: ")?;
            Some(ticks != "0" && maint != "0" && retry == "0}")
        };
        Ok(log.lines().any(|line| worked(line) == Some(true)))
    })?;
    // Not allowed to connect any more: released.
    drop(late);
    a.batch_execute("alter database late allow_connections false")?;
    site.wait_for_log("m.log", "INFO Unregister database: [late]")?;
    wait_until("no session", LONG, || Ok(sessions(&mut a, "late")? == 0))?;
    wait_for_ticks(&mut a)?;
    ticker.signal(Signal::INT)?;
    assert_eq!(ticker.wait(LONG)?.code(), Some(0));
    let log = site.log_of("m.log")?;
    assert!(!log.contains("ERROR") && !log.contains("WARNING"), "{log}");
    Ok(())
}

#[test]
fn a_database_can_be_dropped_renamed_and_copied_under_the_ticker() -> TestResult {
    let site = Site::bare()?;
    let mut a = database(&site, "a")?;
    let mut b = database(&site, "b")?;
    configure(&site, "check_period = 3600")?;
    let _ticker = site.spawn(&["m.ini", "ticker"])?;
    wait_for_ticks(&mut a)?;
    wait_for_ticks(&mut b)?;
    drop(b);
    a.batch_execute("create database copy template b")?;
    let mut b = site.cluster.connect("b")?;
    wait_for_ticks(&mut b)?;
    drop(b);
    a.batch_execute("drop database b")?;
    site.wait_for_log("m.log", "INFO Unregister database: [b]")?;
    // Found with it, whatever the period of looking.
    let mut copy = site.cluster.connect("copy")?;
    wait_for_ticks(&mut copy)?;
    drop(copy);
    a.batch_execute("alter database copy rename to other")?;
    wait_for_ticks(&mut a)?;
    Ok(())
}

#[test]
fn the_only_database_of_a_ticker_can_be_dropped_too() -> TestResult {
    let site = Site::bare()?;
    drop(database(&site, "a")?);
    fs::write(
        site.path("one.ini"),
        format!(
            "[pgqadm]\ndb = {}\nloop_delay = 0.05\nlogfile = t.log\n",
            site.cluster.conninfo("a")
        ),
    )?;
    let _ticker = site.spawn(&["one.ini", "ticker"])?;
    let mut db = site.db()?;
    wait_until("a session", LONG, || {
        let query =
            "select from pg_stat_activity where datname = 'a' and application_name = 'pgqadm'";
        Ok(!db.query(query, &[])?.is_empty())
    })?;
    db.batch_execute("drop database a")?;
    site.wait_for_log("t.log", "somebody wants the database for himself")?;
    Ok(())
}

#[test]
fn a_list_limits_the_databases_and_a_reload_changes_it() -> TestResult {
    let site = Site::bare()?;
    let mut a = database(&site, "a")?;
    let mut b = database(&site, "b")?;
    drop(site.cluster.create_database("empty")?);
    configure(&site, "check_period = 3600\ndatabase_list = a, gone, empty")?;
    let ticker = site.spawn(&["m.ini", "ticker"])?;
    wait_for_ticks(&mut a)?;
    assert_eq!(sessions(&mut a, "b")?, 0);
    // It may be misspelt.
    site.wait_for_log("m.log", r#"ERROR [gone]: cannot connect to db: "#)?;
    site.wait_for_log(
        "m.log",
        "WARNING [empty]: PgQ is not installed in this database",
    )?;
    configure(&site, "check_period = 3600\ndatabase_list = b")?;
    ticker.signal(Signal::HUP)?;
    site.wait_for_log("m.log", "INFO Unregister database: [a]")?;
    wait_for_ticks(&mut b)?;
    wait_until("no session", LONG, || Ok(sessions(&mut b, "a")? == 0))?;
    Ok(())
}

#[test]
fn a_database_that_fails_concerns_no_other() -> TestResult {
    let site = Site::bare()?;
    let mut good = database(&site, "good")?;
    let mut bad = database(&site, "bad")?;
    bad.batch_execute(
        "create or replace function pgq.ticker() returns bigint language plpgsql \
         as $$ begin raise exception 'out of order'; end $$",
    )?;
    let mut slow = database(&site, "slow")?;
    slow.batch_execute(
        "create function public.slow(text) returns int language sql \
         as $$ select 0 from pg_sleep(3600) $$; \
         update pgq.queue set queue_extra_maint = '{public.slow}'",
    )?;
    let mut strange = site.cluster.create_database("strange")?;
    strange.batch_execute("create schema pgq")?;
    configure(&site, "check_period = 0.2")?;
    let mut ticker = site.spawn(&["m.ini", "ticker"])?;
    site.wait_for_log("m.log", "ERROR [bad]: cannot tick: ERROR: out of order")?;
    site.wait_for_log("m.log", "INFO [strange]: bad pgq version, ignoring")?;
    wait_until("maintenance to sleep", LONG, || {
        let query = "select 1 from pg_stat_activity where wait_event = 'PgSleep'";
        Ok(!good.query(query, &[])?.is_empty())
    })?;
    wait_for_ticks(&mut good)?;
    wait_for_ticks(&mut slow)?;
    good.batch_execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'",
    )?;
    site.wait_for_log(
        "m.log",
        "ERROR [slow]: Maintenance failed: cannot run public.slow",
    )?;
    ticker.signal(Signal::TERM)?;
    ticker.wait(LONG)?;
    // Told once.
    assert_eq!(site.log_of("m.log")?.matches("bad pgq version").count(), 1);
    Ok(())
}

#[test]
fn all_databases_come_back_with_their_server() -> TestResult {
    let mut site = Site::bare()?;
    for name in ["a", "b", "c"] {
        drop(database(&site, name)?);
    }
    configure(&site, "check_period = 3600")?;
    let _ticker = site.spawn(&["m.ini", "ticker"])?;
    for how in [Shutdown::Fast, Shutdown::Kill] {
        for name in ["a", "b", "c"] {
            wait_for_ticks(&mut site.cluster.connect(name)?)?;
        }
        site.cluster.stop(how)?;
        site.wait_for_log("m.log", "ERROR [a]: cannot ")?;
        site.cluster.start_again()?;
    }
    for name in ["a", "b", "c"] {
        wait_for_ticks(&mut site.cluster.connect(name)?)?;
    }
    Ok(())
}

#[test]
fn an_outage_is_one_line_for_each_database() -> TestResult {
    let mut site = Site::bare()?;
    let mut a = database(&site, "a")?;
    configure(&site, "")?;
    let text = fs::read_to_string(site.path("m.ini"))?;
    let text = text.replace("exception_sleep = 0.2", "exception_sleep = 3600");
    fs::write(site.path("m.ini"), text)?;
    let _ticker = site.spawn(&["m.ini", "-v", "ticker"])?;
    wait_for_ticks(&mut a)?;
    site.cluster.stop(Shutdown::Kill)?;
    // Tried several times, told once.
    wait_until("attempts", LONG, || {
        Ok(site.log_of("m.log")?.matches("DEBUG [a]: cannot ").count() >= 2)
    })?;
    site.cluster.start_again()?;
    wait_for_ticks(&mut site.cluster.connect("a")?)?;
    let log = site.log_of("m.log")?;
    let told = log
        .lines()
        .filter(|line| line.contains("ERROR [a]: cannot "));
    assert_eq!(told.count(), 1, "{log}");
    Ok(())
}

#[test]
fn one_pass_serves_every_database_and_tells_of_failures() -> TestResult {
    let site = Site::bare()?;
    let mut a = database(&site, "a")?;
    let mut bad = database(&site, "bad")?;
    configure(&site, "")?;
    let newest = |db: &mut Client| -> TestResult<i64> {
        Ok(db
            .query_one("select max(tick_id) from pgq.tick", &[])?
            .get(0))
    };
    let before = newest(&mut a)?;
    site.succeed(&["m.ini", "ticker", "--once"])?;
    assert_eq!(newest(&mut a)?, before + 1);
    bad.batch_execute("drop function pgq.ticker()")?;
    let said = site.fail(&["m.ini", "ticker", "--once"])?;
    assert!(said.contains("ERROR [bad]: cannot tick"), "{said}");
    assert!(said.contains("1 of 3 databases failed"), "{said}");
    assert_eq!(newest(&mut a)?, before + 2);
    // Somebody else ticks one of them.
    a.batch_execute("select pg_advisory_lock(1885827396, 0)")?;
    bad.batch_execute("drop schema pgq cascade")?;
    let said = site.fail(&["m.ini", "ticker", "--once"])?;
    assert!(said.contains("[a]: another ticker is running"), "{said}");
    site.succeed(&["m.ini", "ticker", "--once", "--ensure"])?;
    Ok(())
}

#[test]
fn a_pgq_2_database_is_ticked_and_maintained_by_the_rules_of_its_client() -> TestResult {
    let site = Site::bare()?;
    let mut old = site.cluster.create_database("old")?;
    old.batch_execute(include_str!("pgq2.sql"))?;
    configure(&site, "database_list = old")?;
    site.succeed(&["m.ini", "ticker", "--once"])?;
    site.succeed(&["m.ini", "ticker", "--once"])?;
    let ticks = |db: &mut Client| -> TestResult<Vec<(i64, String)>> {
        let rows = db.query(
            "select count(*), queue_name from pgq.tick join pgq.queue on queue_id = tick_queue \
             group by 2",
            &[],
        )?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    };
    let queue = "it's \"q\"".to_owned();
    let found = ticks(&mut old)?;
    assert!(
        found == [(1, queue.clone())] || found == [(2, queue.clone())],
        "{found:?}"
    );
    old.batch_execute("truncate pgq.calls, pgq.tick")?;

    let _ticker = site.spawn(&["m.ini", "ticker"])?;
    // At the start, five quiet ones; the next would be due in a minute.
    wait_until("the quiet ticks", LONG, || {
        Ok(ticks(&mut old)? == [(6, queue.clone())])
    })?;
    old.batch_execute("select nextval('pgq.\"event 1 seq\"'), nextval('pgq.\"event 1 seq\"')")?;
    wait_until("a tick for the event", LONG, || {
        Ok(ticks(&mut old)? == [(12, queue.clone())])
    })?;
    wait_until("maintenance", LONG, || {
        let rows = old.query("select function, argument from pgq.calls limit 3", &[])?;
        let calls: Vec<_> = rows
            .iter()
            .map(|row| (row.get::<_, String>(0), row.get::<_, Option<String>>(1)))
            .collect();
        let expected = [
            ("step1".to_owned(), Some("elsewhere".to_owned())),
            ("step1".to_owned(), Some(queue.clone())),
            ("step2".to_owned(), None),
        ];
        Ok(calls == expected)
    })?;
    site.wait_for_log("m.log", "INFO [old]: Rotating it's \"q\"")?;
    wait_until("a vacuum", LONG, || {
        let query = "select vacuum_count > 0 from pg_stat_user_tables where relname = 'tick'";
        Ok(old.query_one(query, &[])?.get(0))
    })?;
    let log = site.log_of("m.log")?;
    assert!(!log.contains("ERROR"), "{log}");
    Ok(())
}

#[test]
fn a_file_of_debians_daemon_is_understood() -> TestResult {
    let site = Site::bare()?;
    let mut db = with_queue(&site, site.db()?, "postgres")?;
    fs::write(
        site.path("pgqd.ini"),
        "[pgqd]\n\n# where to log\nlogfile = m.log\n\n# pidfile\npidfile = u.pid\n\n\
         ## optional parameters ##\n\nbase_connstr =\ninitial_database = postgres\n\
         database_list =\nsyslog = 0\nsyslog_ident = pgqd\nsyslog_facility = daemon\n\n\
         check_period = 60\nretry_period = 30\nmaint_period = 120\nticker_period = 1\n\
         stats_period = 30\nconnection_lifetime = 3600\n",
    )?;
    let start = |args: &[&str]| {
        testkit::Program::new("pgqadm", &site.path("."))
            .args([&["pgqd.ini"], args].concat())
            .env("PGHOST", site.cluster.socket_dir())
            .env("PGPORT", site.cluster.port().to_string())
            .env("PGUSER", "postgres")
    };
    start(&["ticker", "--once"]).succeed()?;
    assert_eq!(site.log_of("m.log")?, "");
    let output = start(&["-d", "ticker"]).succeed()?;
    assert_eq!(
        (output.stdout, output.stderr),
        (String::new(), String::new())
    );
    wait_for_ticks(&mut db)?;
    start(&["-s"]).succeed()?;
    wait_until("its end", LONG, || Ok(!site.path("u.pid").exists()))
}
