//! The daemon: ticks, maintenance, signals, two of them, failures of the server.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use testkit::{Cluster, Job, Shutdown, TestResult, wait_until};

use crate::site::{LONG, Site};

#[test]
fn the_ticker_ticks_until_interrupted() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    let mut ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_tick()?;
    site.wait_for_log("t.log", "INFO {ticks: 1}")?;
    site.wait_for_log("t.log", "INFO {maint_duration: 0.0")?;
    ticker.signal(Signal::INT)?;
    assert_eq!(ticker.wait(LONG)?.code(), Some(0));
    assert!(!site.path("t.pid").exists());
    Ok(())
}

#[test]
fn ticks_are_reported_every_ticker_log_delay() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    site.configure("t.ini", "logfile = t.log\nticker_log_delay = 0.3")?;
    let _ticker = site.spawn(&["t.ini", "ticker"])?;
    wait_until("three reports", LONG, || {
        Ok(site.log()?.matches("INFO {ticks: ").count() >= 3)
    })?;
    let log = site.log()?;
    let counted = |line: &str| {
        let (_, rest) = line.split_once("{ticks: ")?;
        rest.trim_end_matches('}').parse::<i64>().ok()
    };
    let mut reports = log.lines().filter_map(counted);
    assert_eq!(reports.next(), Some(1), "the first comes at once");
    assert!(reports.all(|ticks| ticks > 1), "{log}");
    Ok(())
}

#[test]
fn a_paused_queue_is_left_alone_and_others_are_ticked() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("paused")?;
    site.eager_queue("q")?;
    site.succeed(&["t.ini", "-q", "config", "paused", "ticker_paused=1"])?;
    let mut db = site.db()?;
    let mut last = |queue: &str| -> TestResult<i64> {
        let row = db.query_one("select last_tick_id from pgq.get_queue_info($1)", &[&queue])?;
        Ok(row.get(0))
    };
    let before = last("paused")?;
    let _ticker = site.spawn(&["t.ini", "ticker"])?;
    wait_until("ticks", LONG, || Ok(last("q")? > 3))?;
    assert_eq!(last("paused")?, before);
    Ok(())
}

#[test]
fn a_queue_created_and_dropped_under_the_ticker_does_no_harm() -> TestResult {
    let site = Site::new()?;
    let _ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_log("t.log", "{ticks: 0}")?;
    for _ in 0..5 {
        site.eager_queue("q")?;
        site.wait_for_tick()?;
        site.succeed(&["t.ini", "-q", "drop", "q"])?;
    }
    assert!(!site.log()?.contains("deadlock"), "{}", site.log()?);
    Ok(())
}

#[test]
fn maintenance_rotates_tables_in_two_transactions() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    site.succeed(&["t.ini", "-q", "config", "q", "rotation_period=0"])?;
    let mut db = site.db()?;
    let _ticker = site.spawn(&["t.ini", "ticker"])?;
    let mut row = || {
        db.query_one(
            "select queue_cur_table, queue_switch_step1, queue_switch_step2 from pgq.queue",
            &[],
        )
    };
    wait_until("a finished rotation", LONG, || {
        let row = row()?;
        Ok(row.get::<_, i32>(0) == 1 && row.get::<_, Option<i64>>(2).is_some())
    })?;
    let row = row()?;
    assert!(row.get::<_, i64>(1) < row.get::<_, i64>(2));
    Ok(())
}

#[test]
fn maintenance_puts_retried_events_back() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    site.succeed(&["t.ini", "-q", "register", "q", "c"])?;
    let mut db = site.db()?;
    db.batch_execute(
        "select pgq.insert_event('q', 'type', n::text) from generate_series(1, 25) n",
    )?;
    db.batch_execute("select pgq.ticker('q')")?;
    db.batch_execute(
        "select pgq.batch_retry(b, 0), pgq.finish_batch(b) \
         from (select pgq.next_batch('q', 'c') as b offset 0) x",
    )?;
    let _ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_log("t.log", "INFO Got 25 events for retry")?;
    let row = db.query_one("select count(*) from pgq.retry_queue", &[])?;
    assert_eq!(row.get::<_, i64>(0), 0);
    Ok(())
}

#[test]
fn without_autovacuum_maintenance_vacuums() -> TestResult {
    let site = Site::on(Cluster::builder().setting("autovacuum", "off").start()?)?;
    site.succeed(&["t.ini", "install"])?;
    site.succeed(&["t.ini", "ticker", "--once"])?;
    let mut db = site.db()?;
    wait_until("the statistics of the vacuums", LONG, || {
        let query = "select count(*) from pg_stat_user_tables \
                     where relname in ('queue', 'tick', 'subscription', 'completed_tick') \
                     and vacuum_count = 1";
        Ok(db.query_one(query, &[])?.get::<_, i64>(0) == 4)
    })
}

#[test]
fn slow_maintenance_delays_no_tick() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    let mut db = site.db()?;
    db.batch_execute(
        "create function public.slow(text) returns int language sql \
         as $$ select 0 from pg_sleep(3600) $$; \
         update pgq.queue set queue_extra_maint = '{public.slow}'",
    )?;
    let mut ticker = site.spawn(&["t.ini", "ticker"])?;
    wait_until("maintenance to sleep", LONG, || {
        let query = "select 1 from pg_stat_activity where wait_event = 'PgSleep'";
        Ok(!db.query(query, &[])?.is_empty())
    })?;
    site.wait_for_tick()?;
    site.wait_for_tick()?;
    ticker.signal(Signal::TERM)?;
    let status = ticker.wait(LONG)?;
    assert_eq!(status.code(), None, "SIGTERM waits for nothing: {status}");
    assert!(!site.path("t.pid").exists());
    Ok(())
}

#[test]
fn failing_maintenance_stops_neither_the_ticks_nor_the_rest_of_maintenance() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("a")?;
    site.eager_queue("b")?;
    let mut db = site.db()?;
    db.batch_execute(
        "create table done (queue text); \
         create function public.extra(queue text) returns void language plpgsql as $$ begin \
         if queue = 'a' then raise exception 'out of order'; end if; \
         insert into done values (queue); end $$; \
         update pgq.queue set queue_extra_maint = '{public.extra}', queue_rotation_period = '0'; \
         select pgq.register_consumer('a', 'lost'); \
         delete from pgq.tick where tick_queue = 1",
    )?;
    // Once: the daemon would pause for 20 seconds after the failure.
    let said = site.fail(&["t.ini", "ticker", "--once"])?;
    for failure in ["queue a maint failure: tick 1 not found", "out of order"] {
        assert!(said.contains(failure), "{said}");
    }
    let row = db.query_one("select string_agg(queue, ',') from done", &[])?;
    assert_eq!(row.get::<_, Option<&str>>(0), Some("b"));
    let row = db.query_one(
        "select string_agg(queue_cur_table || ' ' || (queue_switch_step2 is not null), ',' order by queue_name) \
         from pgq.queue",
        &[],
    )?;
    assert_eq!(row.get::<_, Option<&str>>(0), Some("0 true,1 true"));
    db.batch_execute("select pgq.unregister_consumer('a', 'lost')")?;

    let _ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_log(
        "t.log",
        "ERROR Maintenance failed: cannot run public.extra: ERROR: out",
    )?;
    site.wait_for_tick()?;
    Ok(())
}

#[test]
fn an_operation_that_always_asks_for_more_ends() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    let mut db = site.db()?;
    db.batch_execute(
        "create sequence calls; \
         create function public.more(text) returns bigint language sql \
         as $$ select nextval('calls') $$; \
         update pgq.queue set queue_extra_maint = '{public.more}'",
    )?;
    site.succeed(&["t.ini", "ticker", "--once"])?;
    let row = db.query_one("select last_value from calls", &[])?;
    assert_eq!(row.get::<_, i64>(0), 1000);
    Ok(())
}

#[test]
fn a_second_start_is_refused_or_silent() -> TestResult {
    let site = Site::new()?;
    let ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_log("t.log", "{ticks: 0}")?;
    site.wait_for_log("t.log", "{maint_duration: ")?;
    let before = site.log()?;
    for args in [&["ticker"][..], &["-d", "ticker"], &["--once", "ticker"]] {
        let said = site.fail(&[&["t.ini"], args].concat())?;
        assert_eq!(
            said, "Pidfile exists, another process running?\n",
            "{args:?}"
        );
        let output = site.succeed(&[&["t.ini", "--ensure"], args].concat())?;
        assert_eq!(
            (output.stdout, output.stderr),
            (String::new(), String::new())
        );
    }
    assert_eq!(site.log()?, before);
    drop(ticker);
    Ok(())
}

#[test]
fn a_second_ticker_of_the_database_waits_and_takes_over() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    site.configure("u.ini", "pidfile = u.pid\nlogfile = u.log")?;
    let mut first = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_tick()?;
    let _second = site.spawn(&["u.ini", "ticker"])?;
    site.wait_for_log(
        "u.log",
        "WARNING another ticker is running on this database",
    )?;
    let (log, busy) = (site.log_of("u.log")?, "another ticker is running");
    assert!(!log.contains("ticks"), "{log}");

    site.configure("v.ini", "pidfile = v.pid")?;
    let said = site.fail(&["v.ini", "--once", "ticker"])?;
    assert!(said.contains(busy), "{said}");
    let output = site.succeed(&["v.ini", "--once", "--ensure", "ticker"])?;
    assert_eq!(output.stderr, "");

    first.kill()?;
    site.wait_for_log("u.log", "INFO the other ticker is gone, taking over")?;
    site.wait_for_tick()?;
    Ok(())
}

#[test]
fn without_its_lock_a_second_ticker_runs() -> TestResult {
    let site = Site::new()?;
    let _first = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_log("t.log", "{ticks: 0}")?;
    site.configure("u.ini", "ticker_lock = 0")?;
    site.succeed(&["u.ini", "--once", "ticker"])?;
    Ok(())
}

#[test]
fn an_expired_connection_is_replaced_without_losing_the_lock() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    site.configure("t.ini", "logfile = t.log\nconnection_lifetime = 0.2")?;
    let _ticker = site.spawn(&["t.ini", "ticker"])?;
    let mut db = site.db()?;
    let mut pid = || -> TestResult<Option<i32>> {
        let rows = db.query(
            "select pid from pg_locks where locktype = 'advisory' and classid = 1885827396",
            &[],
        )?;
        Ok(rows.first().map(|row| row.get(0)))
    };
    let mut seen = Vec::new();
    wait_until("four connections one after another", LONG, || {
        if let Some(pid) = pid()?
            && !seen.contains(&pid)
        {
            seen.push(pid);
        }
        Ok(seen.len() >= 4)
    })?;
    assert!(!site.log()?.contains("another ticker"), "{}", site.log()?);
    Ok(())
}

#[test]
fn a_restart_of_the_server_is_survived() -> TestResult {
    let mut site = Site::new()?;
    site.eager_queue("q")?;
    let mut ticker = site.spawn(&["t.ini", "ticker"])?;
    for how in [Shutdown::Fast, Shutdown::Kill] {
        site.wait_for_tick()?;
        let before = site.log()?.matches("Job test crashed: ").count();
        site.cluster.stop(how)?;
        wait_until("the ticker to notice", LONG, || {
            Ok(site.log()?.matches("Job test crashed: ").count() > before)
        })?;
        site.cluster.start_again()?;
        site.wait_for_tick()?;
    }
    ticker.signal(Signal::INT)?;
    assert_eq!(ticker.wait(LONG)?.code(), Some(0));
    Ok(())
}

#[test]
fn a_server_that_is_down_at_the_start_is_waited_for() -> TestResult {
    let mut site = Site::new()?;
    site.eager_queue("q")?;
    site.cluster.stop(Shutdown::Fast)?;
    let mut ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_log("t.log", "ERROR Job test crashed: ")?;
    site.cluster.start_again()?;
    site.wait_for_tick()?;
    ticker.signal(Signal::INT)?;
    assert_eq!(ticker.wait(LONG)?.code(), Some(0));
    Ok(())
}

#[test]
fn an_interrupt_ends_the_pause_after_an_error() -> TestResult {
    let mut site = Site::new()?;
    site.configure("t.ini", "logfile = t.log\n")?;
    let text = fs::read_to_string(site.path("t.ini"))?;
    let text = text.replace("exception_sleep = 0.2", "exception_sleep = 3600");
    fs::write(site.path("t.ini"), text)?;
    site.cluster.stop(Shutdown::Fast)?;
    let mut ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_log("t.log", "ERROR Job test crashed: ")?;
    ticker.signal(Signal::INT)?;
    assert_eq!(ticker.wait(LONG)?.code(), Some(0));
    Ok(())
}

#[test]
fn a_reload_takes_the_new_configuration_or_keeps_the_old_one() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    let ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_log("t.log", "{ticks: ")?;

    fs::write(site.path("t.ini"), "[pgqadm]\ndb = host='\n")?;
    ticker.signal(Signal::HUP)?;
    site.wait_for_log(
        "t.log",
        "ERROR cannot reload the config, the old one stays: ",
    )?;
    site.wait_for_tick()?;

    drop(site.cluster.create_database("other")?);
    site.configure("t.ini", "pidfile = t.pid\nlogfile = t.log")?;
    let text = fs::read_to_string(site.path("t.ini"))?;
    fs::write(
        site.path("t.ini"),
        text.replace("dbname=postgres", "dbname=other"),
    )?;
    site.succeed(&["t.ini", "-q", "install"])?;
    site.eager_queue("q")?;
    site.succeed(&["t.ini", "-r"])?;
    site.wait_for_log("t.log", "INFO Config reloaded")?;
    let mut other = site.cluster.connect("other")?;
    wait_until("ticks in the other database", LONG, || {
        let row = other.query_one("select max(tick_id) from pgq.tick", &[])?;
        Ok(row.get::<_, i64>(0) > 3)
    })?;
    Ok(())
}

#[test]
fn a_daemon_starts_in_silence_and_stops_on_request() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    let job = Job::new(site.path("t.pid"));
    for (stop, status) in [("-s", "finishes"), ("-k", "ends at once")] {
        let output = site.succeed(&["t.ini", "-d", "ticker"])?;
        assert_eq!(
            (output.stdout, output.stderr),
            (String::new(), String::new())
        );
        job.wait_alive(LONG)?;
        site.wait_for_tick()?;
        site.succeed(&["t.ini", stop])?;
        job.wait_gone(LONG)?;
        wait_until(status, LONG, || Ok(!site.path("t.pid").exists()))?;
    }
    Ok(())
}

#[test]
fn a_daemon_killed_hard_is_started_again_by_cron() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    let job = Job::new(site.path("t.pid"));
    site.succeed(&["t.ini", "-d", "--ensure", "ticker"])?;
    let first = job.wait_alive(LONG)?;
    site.wait_for_tick()?;
    job.kill()?;
    let output = site.succeed(&["t.ini", "-d", "--ensure", "ticker"])?;
    assert_eq!((output.stdout, output.stderr.as_str()), (String::new(), ""));
    wait_until("another process", LONG, || {
        Ok(job.pid().is_some_and(|pid| pid != first))
    })?;
    site.wait_for_tick()?;
    site.succeed(&["t.ini", "-d", "--ensure", "ticker"])?;
    Ok(())
}

#[test]
fn one_pass_ticks_what_is_due_and_maintains() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("due")?;
    site.succeed(&["t.ini", "-q", "create", "patient"])?;
    let mut db = site.db()?;
    let mut last = |queue: &str| -> TestResult<i64> {
        let row = db.query_one("select last_tick_id from pgq.get_queue_info($1)", &[&queue])?;
        Ok(row.get(0))
    };
    // A new queue is due twice.
    site.succeed(&["t.ini", "ticker", "--once"])?;
    let before = (last("due")?, last("patient")?);
    let start = Instant::now();
    site.succeed(&["t.ini", "ticker", "--once", "-q"])?;
    assert_eq!(last("due")?, before.0 + 1);
    // Unless the machine was so slow that its time has come.
    if start.elapsed() < Duration::from_secs(1) {
        assert_eq!(last("patient")?, before.1);
    }
    let log = site.log()?;
    assert!(
        log.contains("INFO {ticks: 2}") && log.contains("maint_duration"),
        "{log}"
    );
    assert!(!site.path("t.pid").exists());
    Ok(())
}

#[test]
fn a_database_restored_into_a_younger_server_is_refused() -> TestResult {
    let site = Site::new()?;
    site.db()?.batch_execute(
        "create schema txid; create table txid.epoch (epoch bigint, last_value bigint); \
         insert into txid.epoch values (1, 0)",
    )?;
    for args in [&["ticker"][..], &["ticker", "--once"]] {
        let said = site.fail(&[&["t.ini"], args].concat())?;
        assert!(said.contains("ERROR txid in bad state"), "{said}");
    }
    site.db()?
        .batch_execute("update txid.epoch set epoch = 0")?;
    site.succeed(&["t.ini", "ticker", "--once"])?;
    Ok(())
}
