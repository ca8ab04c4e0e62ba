//! What takes the server away: the ticker is back as soon as it is, by itself.

use std::fs;
use std::time::{Duration, Instant};

use postgres::Client;
use rustix::process::Signal;
use testkit::{Cluster, Shutdown, TestResult, wait_until};

use crate::relay::Relay;
use crate::site::{LONG, Site};

/// A site whose ticker reaches the server through a relay.
fn behind_a_relay(more: &str) -> TestResult<(Site, Relay)> {
    let site = Site::on(Cluster::builder().tcp().start()?)?;
    site.succeed(&["t.ini", "-q", "install"])?;
    site.eager_queue("q")?;
    let relay = Relay::to(site.cluster.port())?;
    let text = format!(
        "[pgqadm]\njob_name = test\nlogfile = t.log\npidfile = t.pid\nloop_delay = 0.05\n\
         answer_timeout = 0.5\nmaint_delay = 3600\nretry_period = 3600\n\
         db = host=127.0.0.1 port={} user=postgres dbname=postgres sslmode=disable \
         connect_timeout=2\n{more}\n",
        relay.port()
    );
    fs::write(site.path("r.ini"), text)?;
    Ok((site, relay))
}

fn newest(db: &mut Client) -> TestResult<i64> {
    let row = db.query_one("select max(tick_id) from pgq.tick", &[])?;
    Ok(row.get(0))
}

#[test]
fn a_connection_that_died_in_silence_is_replaced_though_the_server_keeps_its_lock() -> TestResult {
    let (site, relay) = behind_a_relay("queue_refresh_period = 3600")?;
    let ticker = site.spawn(&["r.ini", "ticker"])?;
    site.wait_for_tick()?;
    for _ in 0..2 {
        relay.cut();
        site.wait_for_log("t.log", "ERROR no answer in 0.5 s, connecting anew")?;
        site.wait_for_tick()?;
        fs::remove_file(site.path("t.log"))?;
        ticker.signal(Signal::HUP)?;
    }
    Ok(())
}

#[test]
fn a_server_that_hangs_is_ticked_again_when_it_answers() -> TestResult {
    let (site, relay) = behind_a_relay("exception_sleep = 0.5")?;
    let mut ticker = site.spawn(&["r.ini", "ticker"])?;
    site.wait_for_tick()?;
    relay.freeze(true);
    site.wait_for_log("t.log", "ERROR no answer in 0.5 s, connecting anew")?;
    site.wait_for_log("t.log", "timeout expired after 2 s")?;
    relay.freeze(false);
    site.wait_for_tick()?;
    let mut db = site.db()?;
    wait_until(
        "the end of maintenance and of sessions left behind",
        LONG,
        || {
            let query = "select count(*) from pg_stat_activity where application_name = 'test'";
            Ok(db.query_one(query, &[])?.get::<_, i64>(0) == 1)
        },
    )?;
    relay.freeze(true);
    // A safe stop does not wait for an answer for ever.
    ticker.signal(Signal::INT)?;
    assert_eq!(ticker.wait(LONG)?.code(), Some(0));
    Ok(())
}

#[test]
fn a_restarted_server_is_ticked_before_a_second_has_passed_whatever_the_pause_after_errors()
-> TestResult {
    let mut site = Site::new()?;
    site.eager_queue("q")?;
    site.configure("t.ini", "logfile = t.log")?;
    let text = fs::read_to_string(site.path("t.ini"))?;
    let text = text.replace("exception_sleep = 0.2", "exception_sleep = 3600");
    fs::write(site.path("t.ini"), text)?;
    let _ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_tick()?;
    site.cluster.stop(Shutdown::Kill)?;
    site.wait_for_log("t.log", "ERROR Job test crashed: ")?;
    site.cluster.start_again()?;
    let mut db = site.db()?;
    let (before, back) = (newest(&mut db)?, Instant::now());
    wait_until("a tick", LONG, || Ok(newest(&mut db)? > before))?;
    // The longest pause between attempts is a second; the rest is for a busy machine.
    assert!(
        back.elapsed() < Duration::from_secs(20),
        "{:?}",
        back.elapsed()
    );
    // The same failure again and again is one line.
    let log = site.log()?;
    assert!(log.matches("Connection refused").count() <= 1, "{log}");
    Ok(())
}

#[test]
fn a_standby_is_waited_for_until_it_is_promoted() -> TestResult {
    let mut site = Site::new()?;
    site.eager_queue("q")?;
    let _ticker = site.spawn(&["t.ini", "ticker"])?;
    site.wait_for_tick()?;
    // A server that has become one: its sessions end, the next are read-only.
    site.cluster.stop(Shutdown::Fast)?;
    let marker = site.cluster.data_dir().join("standby.signal");
    fs::write(&marker, "")?;
    let owner = fs::metadata(site.cluster.data_dir().join("postgresql.conf"))?;
    let id = std::os::unix::fs::MetadataExt::uid(&owner);
    std::os::unix::fs::chown(&marker, Some(id), None)?;
    site.cluster.start_again()?;
    site.wait_for_log(
        "t.log",
        "WARNING the server is a standby, waiting for its promotion",
    )?;
    let once = site.fail(&["t.ini", "--set", "pidfile=", "ticker", "--once"])?;
    assert!(once.contains("the server is a standby"), "{once}");
    site.db()?.batch_execute("select pg_promote()")?;
    site.wait_for_tick()?;
    Ok(())
}

#[test]
fn ticks_come_each_ten_milliseconds_if_asked_for() -> TestResult {
    let site = Site::new()?;
    site.eager_queue("q")?;
    let mut ticker = site.spawn(&["t.ini", "--set", "loop_delay=0.01", "ticker"])?;
    let mut db = site.db()?;
    wait_until("a hundred ticks in a row at that pace", LONG, || {
        let row = db.query_one(
            "select count(*), percentile_cont(0.5) within group (order by gap) < interval '12 ms' \
             from (select tick_time - lag(tick_time) over (order by tick_id) as gap from \
             (select * from pgq.tick order by tick_id desc limit 100) t) g",
            &[],
        )?;
        Ok(row.get::<_, i64>(0) == 100 && row.get::<_, Option<bool>>(1) == Some(true))
    })?;
    // Nor is it too busy to listen.
    site.succeed(&["t.ini", "-r"])?;
    site.wait_for_log("t.log", "INFO Config reloaded")?;
    ticker.signal(Signal::INT)?;
    assert_eq!(ticker.wait(LONG)?.code(), Some(0));
    Ok(())
}
