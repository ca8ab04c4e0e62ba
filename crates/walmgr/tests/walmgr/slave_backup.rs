//! `backup` on the slave: of its standby.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use testkit::{Shutdown, TestResult, wait_until};

use crate::{PATIENCE, Site};

/// A standby that has restored the first backup and follows, and a master with a table.
fn site(lines: &str) -> TestResult<Site> {
    let mut site = Site::with(false, &format!("keep_backups = 3\n{lines}"))?;
    // Without them a copy of a standby may have torn pages.
    site.master.append_conf("full_page_writes = on\n")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    site.on_slave("restore data.master")?;
    drop(site.standby()?);
    Ok(site)
}

#[test]
fn a_backup_of_the_standby_is_as_good_as_one_of_the_master() -> TestResult {
    let site = site("")?;
    let mut db = site.db()?;
    db.batch_execute("insert into t select generate_series(101, 200); checkpoint")?;
    site.switch(&mut db)?;
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, 200)?;
    drop(standby);
    let shown = site.on_slave("backup -n")?.stdout;
    assert!(
        shown.starts_with("would take the backup lock, copy"),
        "{shown}"
    );
    // While rows come.
    let is_over = AtomicBool::new(false);
    let mut writer = site.db()?;
    let (said, rows) = thread::scope(|scope| {
        let written = scope.spawn(|| -> TestResult<i32> {
            let mut rows = 200;
            while !is_over.load(Ordering::SeqCst) {
                for _ in 0..20 {
                    rows += 1;
                    writer.execute("insert into t values ($1)", &[&rows])?;
                }
                writer.batch_execute("update t set id = id where id % 7 = 0")?;
                writer.batch_execute("select pg_switch_wal()")?;
            }
            Ok(rows)
        });
        let said = site.on_slave("backup");
        is_over.store(true, Ordering::SeqCst);
        (said, written.join().expect("it does not panic"))
    });
    let (said, rows) = (said?.stderr, rows?);
    assert!(said.contains("Backup of the standby successful"), "{said}");
    let list = site.on_slave("listbackups")?.stdout;
    assert!(
        list.contains("SlaveBackup") && list.contains("FullBackup"),
        "{list}"
    );
    let json = site.on_slave("listbackups --json")?.stdout;
    assert!(json.contains("\"method\": \"slave\""), "{json}");
    let label = fs::read_to_string(site.shipped("data.master/backup_label"))?;
    assert!(label.contains("BACKUP FROM: standby"), "{label}");
    for name in ["standby.signal", "postmaster.pid"] {
        assert!(
            !site.shipped(&format!("data.master/{name}")).exists(),
            "{name}"
        );
    }
    site.on_slave("verify")?;
    let program = site.master.bindir().join("pg_verifybackup");
    if program.exists() {
        let mut command = site.master.command("pg_verifybackup");
        let output = command
            .arg("-n")
            .arg(site.shipped("data.master"))
            .output()?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    // It is restored as any other, and follows.
    site.on_slave("restore data.master")?;
    db.batch_execute("insert into t values (0)")?;
    site.switch(&mut db)?;
    let mut standby = site.standby()?;
    let whole = "select count(*), count(distinct id), max(id) from t";
    wait_until("the standby to have all rows", PATIENCE, || {
        let row = standby.query_one(whole, &[])?;
        let wanted = i64::from(rows) + 1;
        Ok((row.get(0), row.get(1), row.get(2)) == (wanted, wanted, rows))
    })
    .map_err(|error| format!("{error}\n{}", site.logs()))?;
    Ok(())
}

#[test]
fn a_backup_of_a_standby_that_is_promoted_is_none() -> TestResult {
    let mut site = site("")?;
    let (mut running, held) = site.hold_at("slave.ini backup", "backup.copied")?;
    site.refused("slave.ini backup", "the backup lock is held by pid")?;
    site.master.stop(Shutdown::Kill)?;
    let before = site.names_in(&site.path("ship"))?;
    site.on_slave("boot")?;
    fs::remove_file(&held)?;
    let status = running.wait(PATIENCE)?;
    assert_eq!(status.code(), Some(1));
    let log = fs::read_to_string(site.path("slave.log"))?;
    assert!(
        log.contains("the standby was promoted during online backup"),
        "{log}"
    );
    assert_eq!(site.names_in(&site.path("ship"))?, before);
    assert!(!before.contains(&"data.master.0".to_owned()), "{before:?}");
    site.refused("slave.ini backup", "is a primary, and no standby")
}

#[test]
fn a_slave_without_a_standby_has_nothing_to_back_up() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    site.refused("slave.ini backup", "no server runs in")
}

#[test]
fn a_standby_without_connections_is_stopped_for_its_backup_if_that_is_said() -> TestResult {
    let site = site("")?;
    // Not every build of the server has it.
    if !site.has("pg_controldata") {
        return Ok(());
    }
    let mut db = site.db()?;
    let ini = fs::read_to_string(site.path("slave.ini"))?;
    let closed = ini.replace("-c port=5432", "-c port=5432 -c hot_standby=off");
    assert_ne!(closed, ini);
    fs::write(site.path("slave.ini"), closed)?;
    site.on_slave("restore data.master")?;
    db.batch_execute("insert into t select generate_series(101, 200)")?;
    site.switch(&mut db)?;
    site.refused("slave.ini backup", "takes no connections")?;
    let shown = site.on_slave("backup --stop-standby -n")?.stdout;
    assert!(
        shown.starts_with("would take the backup lock, run: "),
        "{shown}"
    );
    let said = site.on_slave("backup --stop-standby")?.stderr;
    assert!(said.contains("Backup of the standby successful"), "{said}");
    assert!(site.path("slave/postmaster.pid").exists());
    let list = site.on_slave("listbackups")?.stdout;
    assert!(list.contains("UTC  SlaveBackup"), "{list}");
    assert!(!site.shipped("data.master/backup_label").exists());
    site.on_slave("verify")?;
    db.batch_execute("insert into t select generate_series(201, 300)")?;
    site.switch(&mut db)?;
    fs::write(site.path("slave.ini"), ini)?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, 300)?;
    Ok(())
}
