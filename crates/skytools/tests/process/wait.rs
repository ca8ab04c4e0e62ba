//! Waiting for a notification between two rounds, on the example program `job` and a server.

use std::fs;
use std::time::Instant;

use crate::support::{Dir, SOON};
use rustix::process::Signal;
use testkit::{Cluster, Running, Shutdown, TestResult, wait_for, wait_until};

/// Rounds an hour apart, unless something comes in between.
fn site(cluster: &Cluster) -> TestResult<Dir> {
    let dir = Dir::new("")?;
    dir.configure(&keys(cluster, ""))?;
    Ok(dir)
}

fn keys(cluster: &Cluster, more: &str) -> String {
    let db = cluster.conninfo("postgres");
    format!("loop_delay = 3600\nexception_sleep = 0.1\nchannel = To Do\ndb = {db}\n{more}")
}

/// Waits until the job waits: a thread of it listens.
fn wait_for_pause(job: &Running) -> TestResult {
    let tasks = format!("/proc/{}/task", job.pid());
    wait_until("the job to listen", SOON, || {
        for task in fs::read_dir(&tasks)? {
            // A thread may end while it is looked at.
            let name = fs::read_to_string(task?.path().join("comm")).unwrap_or_default();
            if name.trim() == "listen" {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

#[test]
fn a_notification_ends_the_pause() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    let dir = site(&cluster)?;
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    for round in 1..=3 {
        wait_until("a round", SOON, || Ok(dir.rounds() == round))?;
        wait_for_pause(&job)?;
        // Two at once are one reason to look.
        db.batch_execute("notify \"To Do\", 'a'; notify \"To Do\", 'b'; notify other")?;
    }
    wait_until("a round", SOON, || Ok(dir.rounds() == 4))?;
    wait_for_pause(&job)?;
    assert_eq!(dir.rounds(), 4);
    job.signal(Signal::INT)?;
    assert_eq!(job.wait(SOON)?.code(), Some(0));
    assert_eq!(dir.rounds(), 4);
    Ok(())
}

#[test]
fn a_notification_during_a_round_makes_the_next_one_come_at_once() -> TestResult {
    let cluster = Cluster::start()?;
    let dir = site(&cluster)?;
    // Each of the first rounds finds that there will be more to do.
    cluster
        .connect("postgres")?
        .batch_execute("create sequence rounds")?;
    let query = "select case when nextval('rounds') < 5 then pg_notify('To Do', '') end";
    dir.configure(&keys(&cluster, &format!("query = {query}")))?;
    let job = dir.job(&["job.ini", "count"]).spawn()?;
    wait_until("five rounds", SOON, || Ok(dir.rounds() == 5))?;
    wait_for_pause(&job)?;
    assert_eq!(dir.rounds(), 5);
    Ok(())
}

#[test]
fn signals_end_a_wait_for_a_notification_at_once() -> TestResult {
    let cluster = Cluster::start()?;
    let dir = site(&cluster)?;
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    wait_for_pause(&job)?;
    let rounds = dir.rounds();
    job.signal(Signal::HUP)?;
    dir.wait_for_log("Config reloaded")?;
    wait_until("the next round", SOON, || Ok(dir.rounds() > rounds))?;
    wait_for_pause(&job)?;
    let start = Instant::now();
    job.signal(Signal::INT)?;
    assert_eq!(job.wait(SOON)?.code(), Some(0));
    assert!(start.elapsed() < SOON);
    assert!(!dir.exists("job.pid"));
    Ok(())
}

#[test]
fn a_connection_lost_while_waiting_is_noticed_and_replaced() -> TestResult {
    let mut cluster = Cluster::start()?;
    let dir = site(&cluster)?;
    let job = dir.job(&["job.ini", "count"]).spawn()?;
    wait_for_pause(&job)?;
    let rounds = dir.rounds();
    let ended: i64 = cluster
        .connect("postgres")?
        .query_one(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where application_name = 'job'",
            &[],
        )?
        .get(0);
    assert_eq!(ended, 1, "one connection works and listens");
    wait_until("the next round", SOON, || Ok(dir.rounds() > rounds))?;
    wait_for_pause(&job)?;
    cluster.restart(Shutdown::Fast)?;
    let mut db = cluster.connect("postgres")?;
    wait_until("the new server to be listened to", SOON, || {
        let waiting = db.query_one(
            "select count(*) from pg_stat_activity where application_name = 'job'",
            &[],
        )?;
        Ok(waiting.get::<_, i64>(0) == 1)
    })?;
    let rounds = wait_for("a round", SOON, || {
        wait_for_pause(&job)?;
        Ok(Some(dir.rounds()))
    })?;
    wait_until("a notification to be heard", SOON, || {
        db.batch_execute("notify \"To Do\"")?;
        Ok(dir.rounds() > rounds)
    })?;
    Ok(())
}

#[test]
fn a_connection_past_its_lifetime_goes_on_listening() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    let dir = site(&cluster)?;
    dir.configure(&keys(&cluster, "connection_lifetime = 1\nround = 0.7"))?;
    let job = dir.job(&["job.ini", "count"]).spawn()?;
    wait_for_pause(&job)?;
    let rounds = dir.rounds();
    db.batch_execute("notify \"To Do\"")?;
    wait_until("a round", SOON, || Ok(dir.rounds() > rounds))?;
    wait_for_pause(&job)?;
    // The round that this begins ends with a connection that is too old; another one follows at
    // once, for what was said before there was a new connection.
    db.batch_execute("notify \"To Do\"")?;
    wait_until("two rounds", SOON, || Ok(dir.rounds() > rounds + 2))?;
    wait_for_pause(&job)?;
    let rounds = dir.rounds();
    db.batch_execute("notify \"To Do\"")?;
    wait_until("a round", SOON, || Ok(dir.rounds() > rounds))?;
    drop(job);
    assert!(!dir.read("job.log").contains("crashed"));
    Ok(())
}
