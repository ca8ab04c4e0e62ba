//! The receiver: what was acknowledged and streamed is there after `boot`. And standbys that stream.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use postgres::Client;
use testkit::{Running, Shutdown, TestResult, wait_for, wait_until};

use crate::{PATIENCE, Site};

const SLOT: &str = "walmgr";

impl Site {
    /// The slave's file with a receiver, or nothing where the server has no such program.
    pub(crate) fn with_receiver() -> TestResult<Option<Site>> {
        let site = Site::new()?;
        if !site.has("pg_receivewal") {
            return Ok(None);
        }
        site.write_slave(&site.receiver_lines())?;
        Ok(Some(site))
    }

    /// Whether the server comes with a program; builds for tests may hold the server alone.
    pub(crate) fn has(&self, program: &str) -> bool {
        self.master.bindir().join(program).exists()
    }

    fn receiver_lines(&self) -> String {
        format!(
            "wal_receiver = pg_receivewal\nstream_wals = %(slave)s/logs.stream\nwal_slot = {SLOT}\n\
             wal_conninfo = {}\npidfile = {}\nloop_delay = 0.1\n",
            self.master.conninfo("postgres"),
            self.path("slave.pid").display(),
        )
    }

    fn streamed(&self, name: &str) -> PathBuf {
        self.shipped("logs.stream").join(name)
    }

    /// The process of the receiver, once there is one that is not `old`.
    fn receiver(&self, old: Option<i32>) -> TestResult<i32> {
        let new = || {
            let text = fs::read_to_string(self.streamed(".receiver.pid")).ok()?;
            let pid = text.trim().parse().ok()?;
            let is_alive = PathBuf::from(format!("/proc/{pid}/stat")).exists();
            (is_alive && Some(pid) != old).then_some(pid)
        };
        wait_for("a receiver to run", PATIENCE, || Ok(new()))
            .map_err(|error| format!("{error}\n{}", self.logs()).into())
    }

    fn start_receiver(&self) -> TestResult<Running> {
        self.program("slave.ini syncdaemon").spawn()
    }

    /// Has the master's commits wait for the receiver.
    fn wait_for_receiver(&self, db: &mut Client) -> TestResult {
        db.batch_execute(&format!(
            "alter system set synchronous_standby_names = '{SLOT}'"
        ))?;
        db.batch_execute("select pg_reload_conf()")?;
        wait_until("the receiver to be waited for", PATIENCE, || {
            let sql = "select count(*) from pg_stat_replication where sync_state = 'sync'";
            Ok(db.query_one(sql, &[])?.get::<_, i64>(0) == 1)
        })
    }

    /// As if the archiver were stuck.
    fn stop_archiving(&self, db: &mut Client) -> TestResult {
        db.batch_execute("alter system set archive_command = 'false'")?;
        db.batch_execute("select pg_reload_conf()")?;
        wait_until("the command to change", PATIENCE, || {
            let command: String = db.query_one("show archive_command", &[])?.get(0);
            Ok(command == "false")
        })
    }
}

fn kill(pid: i32) -> TestResult {
    let pid = rustix::process::Pid::from_raw(pid).ok_or("a process id")?;
    Ok(rustix::process::kill_process(
        pid,
        rustix::process::Signal::KILL,
    )?)
}

/// Commits a row after the other until the server is gone; how many were acknowledged.
fn load(mut db: Client, acknowledged: Arc<AtomicI32>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for id in 1.. {
            let sql = "insert into t select $1::int, repeat('x', 5000)";
            if db.execute(sql, &[&id]).is_err() {
                return;
            }
            acknowledged.store(id, Ordering::SeqCst);
        }
    })
}

#[test]
fn every_commit_that_waited_for_the_receiver_is_there_after_boot() -> TestResult {
    let Some(mut site) = Site::with_receiver()? else {
        return Ok(());
    };
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute(
        "create table t (id int, filler text); alter table t alter filler set storage external",
    )?;
    site.on_master("backup")?;
    let mut daemon = site.start_receiver()?;
    let mut receiver = site.receiver(None)?;
    site.stop_archiving(&mut db)?;
    site.wait_for_receiver(&mut db)?;
    let acknowledged = Arc::new(AtomicI32::new(0));
    let writer = load(site.db()?, Arc::clone(&acknowledged));
    let more = |rows: i32| {
        let wanted = acknowledged.load(Ordering::SeqCst) + rows;
        wait_until("commits to be acknowledged", PATIENCE, || {
            Ok(acknowledged.load(Ordering::SeqCst) >= wanted)
        })
        .map_err(|error| format!("{error}\n{}", site.logs()))
    };
    more(300)?;
    // The receiver dies, then the daemon with the receiver left alone, then both.
    kill(receiver)?;
    receiver = site.receiver(Some(receiver))?;
    more(300)?;
    daemon.kill()?;
    more(50)?;
    daemon = site.start_receiver()?;
    receiver = site.receiver(Some(receiver))?;
    more(50)?;
    daemon.kill()?;
    kill(receiver)?;
    let _daemon = site.start_receiver()?;
    site.receiver(Some(receiver))?;
    more(300)?;
    drop(db);
    site.master.stop(Shutdown::Kill)?;
    writer.join().map_err(|_| "the load panicked")?;
    let names = site.names_in(&site.shipped("logs.stream"))?;
    let finished = names.iter().filter(|name| name.len() == 24).count();
    assert!(finished > 1, "{names:?}");
    site.on_slave("restore")?;
    drop(site.standby()?);
    site.on_slave("boot")
        .map_err(|error| format!("{error}\n{}", site.logs()))?;
    let mut new = site.standby()?;
    let row = new.query_one("select count(distinct id), max(id) from t", &[])?;
    let (count, last): (i64, i32) = (row.get(0), row.get(1));
    assert!(
        last >= acknowledged.load(Ordering::SeqCst),
        "{}",
        site.logs()
    );
    assert_eq!(count, i64::from(last));
    // Nothing more comes from the old master.
    let is_over = || {
        let log = fs::read_to_string(site.path("slave.log"))?;
        Ok(log.contains("the slave was opened by boot"))
    };
    wait_until("the receiver to be over", PATIENCE, is_over)?;
    let check = site.program("slave.ini check").output()?.stdout;
    assert!(check.contains("receiver: OK (ended by boot)"), "{check}");
    Ok(())
}

#[test]
fn what_is_archived_is_not_kept_twice_and_what_streams_is_seen() -> TestResult {
    let Some(mut site) = Site::with_receiver()? else {
        return Ok(());
    };
    let shown = site.on_slave("setup -n")?.stdout;
    assert!(
        shown.contains("logs.stream\nwould make slot walmgr"),
        "{shown}"
    );
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    let check = site.program("slave.ini check").output()?;
    assert!(
        check.stdout.contains("receiver: FAILED (does not run"),
        "{}",
        check.stdout
    );
    let check = site.program("master.ini check").output()?.stdout;
    assert!(
        check.contains("slots: WARNING (walmgr not active, "),
        "{check}"
    );
    let mut daemon = site.start_receiver()?;
    site.receiver(None)?;
    wait_until("the slot to be used", PATIENCE, || {
        let sql = "select count(*) from pg_replication_slots where active";
        Ok(db.query_one(sql, &[])?.get::<_, i64>(0) == 1)
    })?;
    let mut names = Vec::new();
    for _ in 0..3 {
        db.batch_execute("insert into t values (1)")?;
        names.push(site.switch(&mut db)?);
    }
    db.batch_execute("insert into t values (1)")?;
    let current: String = db
        .query_one("select pg_walfile_name(pg_current_wal_flush_lsn())", &[])?
        .get(0);
    let partial = site.streamed(&format!("{current}.partial"));
    wait_until("the current segment to be streamed", PATIENCE, || {
        Ok(partial.exists())
    })?;
    wait_until("what is archived to go", PATIENCE, || {
        Ok(!names.iter().any(|name| site.streamed(name).exists()))
    })
    .map_err(|error| format!("{error}\n{}", site.logs()))?;
    let status = site.on_slave("status")?.stdout;
    assert!(
        status.contains("receiver:             streams (pid "),
        "{status}"
    );
    assert!(
        status.contains(&format!(", {current}.partial, ")),
        "{status}"
    );
    let check = site.program("slave.ini check").output()?.stdout;
    assert!(
        check.contains(&format!("receiver: OK (streams to {current}.partial")),
        "{check}"
    );
    let check = site.program("master.ini check --json").output()?.stdout;
    assert!(check.contains("walmgr active, "), "{check}");
    // An orderly end takes the receiver along.
    site.program("slave.ini syncdaemon -s").succeed()?;
    assert!(daemon.wait(PATIENCE)?.success());
    assert!(!site.streamed(".receiver.pid").exists());
    // Without its slot it is not the master that it began with.
    db.batch_execute("select pg_drop_replication_slot('walmgr')")?;
    let mut daemon = site.start_receiver()?;
    let is_said = || {
        let log = fs::read_to_string(site.path("slave.log"))?;
        Ok(log.contains("replication slot \"walmgr\" does not exist"))
    };
    wait_until("the missing slot to be told", PATIENCE, is_said)
        .map_err(|error| format!("{error}\n{}", site.logs()))?;
    site.on_slave("setup")?;
    site.receiver(None)?;
    wait_until("the slot to be used", PATIENCE, || {
        let sql = "select count(*) from pg_replication_slots where active";
        Ok(db.query_one(sql, &[])?.get::<_, i64>(0) == 1)
    })?;
    daemon.kill()?;
    Ok(())
}

#[test]
fn what_the_receiver_left_half_made_does_not_stop_the_next_one() -> TestResult {
    let Some(mut site) = Site::with_receiver()? else {
        return Ok(());
    };
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.switch(&mut db)?;
    // Killed while it filled its next segment up.
    let current: String = db
        .query_one("select pg_walfile_name(pg_current_wal_insert_lsn())", &[])?
        .get(0);
    let partial = site.streamed(&format!("{current}.partial"));
    fs::write(&partial, [0; 8192])?;
    site.owner.give(&partial)?;
    let _daemon = site.start_receiver()?;
    site.receiver(None)?;
    db.batch_execute("insert into t values (1)")?;
    wait_until("the segment to be made", PATIENCE, || {
        Ok(fs::metadata(&partial).is_ok_and(|metadata| metadata.len() == 1 << 20))
    })
    .map_err(|error| format!("{error}\n{}", site.logs()))?;
    Ok(())
}

#[test]
fn a_receiver_needs_a_place_a_slot_and_a_primary() -> TestResult {
    let site = Site::new()?;
    site.refused("slave.ini syncdaemon", "has wal_receiver = pg_receivewal")?;
    let receiver = "--set wal_receiver=pg_receivewal";
    for (keys, why) in [
        ("", "stream_wals"),
        (
            "--set stream_wals=%(completed_wals)s",
            "has to be one of its own",
        ),
        ("--set stream_wals=/x", "wal_slot"),
        (
            "--set stream_wals=/x --set wal_slot=A-1",
            "is no name of a replication slot",
        ),
        ("--set stream_wals=/x --set wal_slot=a", "wal_conninfo"),
        (
            "--set stream_wals=/x --set wal_slot=a --set wal_conninfo=host",
            "wal_conninfo: ",
        ),
    ] {
        site.refused(&format!("slave.ini status {receiver} {keys}"), why)?;
    }
    Ok(())
}

#[test]
fn a_standby_streams_from_its_slot_and_follows_the_archive_without() -> TestResult {
    let mut site = Site::new()?;
    let conninfo = site.master.conninfo("postgres");
    site.write_slave(&format!(
        "primary_conninfo = {conninfo}\nprimary_slot = standby\n"
    ))?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    site.on_slave("restore")?;
    let mut standby = site.standby()?;
    let mut rows = 0;
    if !site.has("pg_receivewal") {
        // No program to make the slot: by hand then, and until then from the archive.
        db.batch_execute("insert into t values (1)")?;
        rows += 1;
        site.switch(&mut db)?;
        db.batch_execute("select pg_create_physical_replication_slot('standby')")?;
    }
    db.batch_execute("insert into t values (1)")?;
    rows += 1;
    // Nothing is archived for that.
    site.wait_for_rows(&mut standby, rows)?;
    let check = site.program("slave.ini check").output()?.stdout;
    assert!(
        check.contains("standby: OK (streams on timeline 1 (pid "),
        "{check}"
    );
    let status = site.on_slave("status")?.stdout;
    assert!(status.contains(", streams on timeline 1\n"), "{status}");
    let check = site.program("master.ini check").output()?.stdout;
    assert!(check.contains("slots: OK (standby active, "), "{check}");
    // The slot is gone: the archive still has all.
    wait_until("the slot to be dropped", PATIENCE, || {
        // The standby comes back for it at once.
        let dropped = db.batch_execute(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where active; \
             select pg_drop_replication_slot('standby')",
        );
        Ok(dropped.is_ok())
    })?;
    db.batch_execute("insert into t values (1)")?;
    rows += 1;
    site.switch(&mut db)?;
    site.wait_for_rows(&mut standby, rows)?;
    // It tries again and again, and may just be about to.
    wait_until("check to say so", PATIENCE, || {
        let check = site.program("slave.ini check").output()?.stdout;
        Ok(check.contains("standby: WARNING (does not stream"))
    })?;
    Ok(())
}

#[test]
fn wal_of_another_cluster_ends_the_receiver() -> TestResult {
    let Some(mut site) = Site::with_receiver()? else {
        return Ok(());
    };
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.switch(&mut db)?;
    // As if the archive were that of another one.
    let path = site.archived("SYSTEMID");
    let own = fs::read_to_string(&path)?;
    fs::write(&path, own.replace("identifier\": \"", "identifier\": \"1"))?;
    let _daemon = site.start_receiver()?;
    db.batch_execute("insert into t values (1)")?;
    let is_said = || {
        let log = fs::read_to_string(site.path("slave.log"))?;
        Ok(log.contains("does wal_conninfo lead to the master?"))
    };
    wait_until("the other cluster to be told", PATIENCE, is_said)
        .map_err(|error| format!("{error}\n{}", site.logs()))?;
    wait_until("the receiver to be gone", PATIENCE, || {
        Ok(!site.streamed(".receiver.pid").exists())
    })?;
    Ok(())
}
