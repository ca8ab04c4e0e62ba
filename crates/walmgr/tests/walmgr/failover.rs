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
