//! The runbook: setup, backup, restore; the master dies; boot.

use testkit::{Shutdown, TestResult, wait_until};

use crate::{PATIENCE, Site};

/// Rows before the backup, between backup and restore, and while the standby runs; then the end.
fn fail_over(mut site: Site) -> TestResult {
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int); insert into t select generate_series(1, 100)")?;
    site.on_master("backup")?;
    db.batch_execute("insert into t select generate_series(101, 200)")?;
    site.switch(&mut db)?;
    site.on_slave("restore")?;
    let mut standby = site.standby()?;
    db.batch_execute("insert into t select generate_series(201, 300)")?;
    site.switch(&mut db)?;
    let count = "select count(*) from t";
    wait_until("the standby to have all rows", PATIENCE, || {
        Ok(standby.query_one(count, &[])?.get::<_, i64>(0) == 300)
    })
    .map_err(|error| format!("{error}\n{}", site.logs()))?;
    drop(standby);
    // What has not been archived is lost, and no more.
    db.batch_execute("insert into t select generate_series(301, 400)")?;
    drop(db);
    site.master.stop(Shutdown::Kill)?;
    let said = site.on_slave("boot")?.stderr;
    assert!(said.contains("old_timeline=1 new_timeline=2"), "{said}");
    let mut new = site.standby()?;
    assert!(
        !new.query_one("select pg_is_in_recovery()", &[])?
            .get::<_, bool>(0)
    );
    new.batch_execute("insert into t values (0)")?;
    let found: Vec<i32> = new
        .query("select id from t order by id", &[])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(found, (0..=300).collect::<Vec<_>>());
    // It says so once more, and the archive has nothing of the new timeline.
    assert!(site.on_slave("boot")?.stderr.contains("already a primary"));
    let archive_command: String = new.query_one("show archive_command", &[])?.get(0);
    assert_eq!(archive_command, "/bin/true");
    site.refused(
        &format!("{} restore", site.path("slave.ini").display()),
        "no backup found",
    )
}

#[test]
fn all_that_was_archived_is_there_after_boot() -> TestResult {
    fail_over(Site::new()?)
}

#[test]
fn all_that_was_archived_is_there_after_boot_behind_ssh() -> TestResult {
    fail_over(Site::behind_ssh()?)
}

#[test]
fn a_standby_that_is_promoted_by_accident_archives_nowhere() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    standby.batch_execute("select pg_promote(true, 60)")?;
    standby.batch_execute("create table own (id int); insert into own values (1)")?;
    standby.batch_execute("select pg_switch_wal(); checkpoint")?;
    wait_until("the new server to have archived", PATIENCE, || {
        let archived = "select archived_count > 0 from pg_stat_archiver";
        Ok(standby.query_one(archived, &[])?.get(0))
    })?;
    // The master has the archive to itself.
    db.batch_execute("insert into t values (1)")?;
    site.switch(&mut db)?;
    let names = site.names_in(&site.shipped("logs.complete"))?;
    assert!(
        names.iter().all(|name| !name.starts_with("00000002")),
        "{names:?}"
    );
    let found = site.program("slave.ini check").output()?.stdout;
    let primary = "standby: FAILED (is a primary, and does not follow the master)";
    assert!(found.contains(primary), "{found}");
    // It can be made a standby again.
    drop(standby);
    site.on_slave("restore data.master --force")?;
    let mut standby = site.standby()?;
    wait_until("the standby to follow", PATIENCE, || {
        Ok(standby
            .query_one("select count(*) from t", &[])?
            .get::<_, i64>(0)
            == 1)
    })?;
    Ok(())
}
