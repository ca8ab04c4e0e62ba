//! The runbook: setup, backup, restore; the master dies; boot.

use std::fs;
use std::process::Stdio;

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
    site.wait_for_rows(&mut standby, 300)?;
    drop(standby);
    // What has not been archived is lost, and no more.
    db.batch_execute("insert into t select generate_series(301, 400)")?;
    drop(db);
    site.master.stop(Shutdown::Kill)?;
    let said = site.on_slave("boot")?.stderr;
    assert!(
        said.contains("old_timeline=1 new_timeline=2 end=0/"),
        "{said}"
    );
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
fn all_that_was_archived_is_there_after_boot_whatever_the_size_of_segments() -> TestResult {
    fail_over(Site::with_segments(64)?)
}

#[test]
fn a_standby_that_takes_no_connections_and_archives_too_is_opened() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    write_files(&site, "slave")?;
    let own = format!(
        "{} {} xarchive %%p %%f",
        site.path("walmgr").display(),
        site.path("slave.master.ini").display()
    );
    site.write_slave(&format!("boot_archive_command = {own}"))?;
    let ini = fs::read_to_string(site.path("slave.ini"))?;
    let closed = "-c port=5432 -c hot_standby=off -c archive_mode=always";
    fs::write(site.path("slave.ini"), ini.replace("-c port=5432", closed))?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    let said = site.on_slave("restore data.master")?.stderr;
    for told in [
        "WAL to replay, to the end of what is here",
        "the server is alive and replays WAL position=0/",
        "behind_bytes=",
        "behind_segments=",
    ] {
        assert!(said.contains(told), "no '{told}' in {said}");
    }
    db.batch_execute("insert into t values (101)")?;
    let name = site.switch(&mut db)?;
    // What it has restored it archives again, where it is already.
    let done = site
        .path("slave/pg_wal/archive_status")
        .join(format!("{name}.done"));
    wait_until("the standby to have archived it", PATIENCE, || {
        Ok(done.exists())
    })
    .map_err(|error| format!("{error}\n{}", site.logs()))?;
    let log = fs::read_to_string(site.path("slave.master.log"))?;
    assert!(log.contains("already archived"), "{log}");
    drop(db);
    site.master.stop(Shutdown::Kill)?;
    site.on_slave("boot")?;
    let mut new = site.standby()?;
    site.wait_for_rows(&mut new, 101)?;
    let history = site.archived("00000002.history");
    wait_until("the history to be archived", PATIENCE, || {
        Ok(history.exists())
    })?;
    let failed: i64 = new
        .query_one("select failed_count from pg_stat_archiver", &[])?
        .get(0);
    assert_eq!(failed, 0, "{}", site.logs());
    Ok(())
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
    site.wait_for_rows(&mut standby, 1)?;
    Ok(())
}

/// A slave's directory that becomes a master's, with files for both.
fn write_files(site: &Site, name: &str) -> TestResult {
    let text = |file: &str| fs::read_to_string(site.path(file));
    let path = |name: &str| site.path(name).display().to_string();
    let slave = text("slave.ini")?.replace(&path("slave"), &path(name));
    // The archive is one for all.
    fs::write(site.path(&format!("{name}.slave.ini")), slave)?;
    let conninfo = format!("host={} port=5432 user=postgres dbname=postgres", path("s"));
    let master = text("master.ini")?
        .replace(&site.master.conninfo("postgres"), &conninfo)
        .replace(&site.master.data_dir().display().to_string(), &path(name))
        .replace(&path("master."), &path(&format!("{name}.master.")));
    Ok(fs::write(
        site.path(&format!("{name}.master.ini")),
        format!("{master}\nconfig_method = alter_system\n"),
    )?)
}

#[test]
fn the_oldest_set_leads_over_all_timelines_to_the_newest() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 3")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    db.batch_execute("insert into t values (1)")?;
    site.switch(&mut db)?;
    drop(db);
    site.master.stop(Shutdown::Kill)?;
    let mut rows = 1_i64;
    for name in ["second", "third", "fourth"] {
        write_files(&site, name)?;
        let run = |line: &str| site.program(line).succeed();
        run(&format!("{name}.slave.ini restore data.master"))?;
        let mut db = site.standby()?;
        site.wait_for_rows(&mut db, rows)
            .map_err(|error| format!("{name}: {error}"))?;
        if name != "fourth" {
            run(&format!("{name}.slave.ini boot"))?;
            run(&format!("{name}.master.ini setup"))?;
            wait_until("the setting to count", PATIENCE, || {
                let shown: String = db.query_one("show archive_command", &[])?.get(0);
                Ok(shown.contains("xarchive"))
            })?;
            db.execute("insert into t values (1)", &[])?;
            rows += 1;
            site.switch(&mut db)?;
            run(&format!("{name}.slave.ini expire"))?;
        }
        drop(db);
        let mut stop = site.master.command("pg_ctl");
        stop.arg("-D").arg(site.path(name));
        stop.args(["-m", "immediate", "-w", "stop"]);
        assert!(stop.stdout(Stdio::null()).status()?.success());
    }
    for history in ["00000002.history", "00000003.history"] {
        assert!(site.archived(history).exists(), "{history}");
    }
    let verify = site.program("slave.ini verify").output()?;
    assert!(verify.status.success(), "{}", verify.stdout);
    Ok(())
}
