//! `backup_method = basebackup`: the slave fetches the copy by the server's own program.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use testkit::{Shutdown, TestResult, wait_until};

use crate::backup::{content, sets, site, verify};
use crate::{PATIENCE, Site};

const METHOD: &str = "backup_method = basebackup";

/// Whether `pg_basebackup` writes below a directory, whoever has started it.
fn is_copying(dir: &Path) -> bool {
    let dir = dir.display().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .any(|line| {
            let mut words = line.split('\0');
            let is_program = words
                .next()
                .is_some_and(|word| word.ends_with("pg_basebackup"));
            is_program && words.any(|word| word.starts_with(&dir))
        })
}

#[test]
fn fetched_by_the_slave_a_set_is_what_it_is_by_rsync() -> TestResult {
    let site = site()?;
    // Not every build of the server has it.
    if !site.has("pg_basebackup") {
        return Ok(());
    }
    let mut db = site.db()?;
    let by_rsync = content(&site, "data.master")?;
    site.write_master(METHOD)?;
    // What the master keeps for itself.
    fs::write(site.master.data_dir().join("recovery.done"), "")?;
    // Killed in the middle, it leaves a program behind that copies for another quarter of an hour.
    let slow = "master.ini backup --set backup_bwlimit=32";
    for (line, step) in [
        (slow, "fetch.copying"),
        ("master.ini backup", "fetch.verified"),
        ("master.ini backup", "fetch.moved"),
        ("master.ini backup", "backup.copied"),
    ] {
        let output = site
            .program(line)
            .env("FAILPOINTS", format!("{step}=return(kill)"))
            .output()?;
        let code = if step == "backup.copied" {
            None
        } else {
            Some(1)
        };
        assert_eq!(output.status.code(), code, "{step}: {}", output.stderr);
        assert_eq!(content(&site, "data.master")?, by_rsync, "{step}");
        let check = site.program("slave.ini check").output()?.stdout;
        assert!(
            check.contains("data.master.inprogress: a backup under way or given up: copying"),
            "{step}: {check}"
        );
    }
    wait_until("the lock to be free", PATIENCE, || {
        Ok(site.program("master.ini backup").output()?.status.success())
    })?;
    wait_until("what was left to end", PATIENCE, || {
        Ok(!is_copying(&site.path("ship")))
    })?;
    assert_eq!(content(&site, "data.master")?, by_rsync);
    assert_eq!(sets(&site)?, ["data.master", "data.master.0"]);
    verify(&site, "data.master")?;
    site.on_slave("verify --all")?;
    let json = fs::read_to_string(site.shipped("data.master/walmgr_backup.json"))?;
    for what in [
        "\"basebackup\"",
        "\"name\": \"space\"",
        "\"start_wal\": \"0",
    ] {
        assert!(json.contains(what), "no {what} in {json}");
    }
    let list = site.on_master("listbackups")?.stdout;
    assert!(list.contains("FullBackup"), "{list}");

    // It is restored as any other, beside the live master.
    db.batch_execute("insert into t values (0); insert into s values (0)")?;
    site.switch(&mut db)?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, 101)?;
    drop(standby);
    site.on_slave("boot")?;
    let mut new = site.standby()?;
    new.batch_execute("insert into s values (1); checkpoint")?;
    let row = new.query_one(
        "select count(*), max(pg_tablespace_location(p.oid)) from s, pg_tablespace p where spcname = 'space'",
        &[],
    )?;
    assert_eq!(row.get::<_, i64>(0), 102);
    let location: String = row.get(1);
    let own = site.path("slave/tmpspc").display().to_string();
    assert!(location.starts_with(&own), "{location}");
    Ok(())
}

#[test]
fn without_a_connection_for_replication_nothing_is_touched() -> TestResult {
    let mut site = Site::behind_ssh()?;
    if !site.has("pg_basebackup") {
        return Ok(());
    }
    site.set_up()?;
    let left = site.shipped("data.master.inprogress");
    fs::create_dir(&left)?;
    site.owner.give(&left)?;
    site.write_master(METHOD)?;
    // The master's socket is not the slave's.
    site.refused("master.ini backup", "primary_conninfo")?;
    let conninfo = site.master.conninfo("postgres");
    site.write_slave(&format!("primary_conninfo = {conninfo}"))?;
    site.on_master("backup -n")?;
    let hba = site.master.data_dir().join("pg_hba.conf");
    let open = fs::read_to_string(&hba)?;
    fs::write(&hba, format!("local replication all reject\n{open}"))?;
    site.master.reload()?;
    site.refused(
        "master.ini backup -n",
        "the master's pg_hba.conf a line like",
    )?;
    site.refused(
        "master.ini backup --set backup_bwlimit=31",
        "with backup_method = basebackup it is at least 32",
    )?;
    assert!(left.exists());
    fs::write(&hba, &open)?;
    site.master.reload()?;

    // The server does not say that the copy is whole before its WAL is archived.
    let mut db = site.db()?;
    db.batch_execute("alter system set archive_command = 'false # xarchive'")?;
    db.batch_execute("select pg_reload_conf()")?;
    site.refused(
        "master.ini backup --force --set backup_wal_timeout=1",
        "the server waits until all WAL of the copy is archived",
    )?;
    assert!(!is_copying(&site.path("ship")));
    db.batch_execute("alter system reset archive_command")?;
    db.batch_execute("select pg_reload_conf()")?;
    site.on_master("backup --force")?;
    verify(&site, "data.master")
}

#[test]
fn a_copy_behind_ssh_ends_with_its_master_and_the_next_one_is_a_set() -> TestResult {
    let mut site = Site::behind_ssh()?;
    if !site.has("pg_basebackup") {
        return Ok(());
    }
    let wal = site.path("wal");
    site.master.stop(Shutdown::Fast)?;
    site.move_and_link("pg_wal", &wal)?;
    site.master.start_again()?;
    site.write_master(METHOD)?;
    let conninfo = site.master.conninfo("postgres");
    site.write_slave(&format!("primary_conninfo = {conninfo}"))?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    let slow = "master.ini backup --set backup_bwlimit=32";
    for signal in [Signal::KILL, Signal::INT] {
        let mut running = site.program(slow).spawn()?;
        wait_until("the copy to begin", PATIENCE, || {
            Ok(is_copying(&site.path("ship")))
        })?;
        running.signal(signal)?;
        running.wait(PATIENCE)?;
        wait_until("the copy to end", PATIENCE, || {
            Ok(!is_copying(&site.path("ship")))
        })?;
        wait_until("the lock to be free", PATIENCE, || {
            Ok(!site.archived("BACKUPLOCK").exists())
        })?;
        assert_eq!(sets(&site)?, ["data.master.inprogress"]);
    }
    site.on_master("backup")?;
    assert_eq!(sets(&site)?, ["data.master"]);
    verify(&site, "data.master")?;
    site.on_slave("verify")?;
    let json = fs::read_to_string(site.shipped("data.master/walmgr_backup.json"))?;
    assert!(
        json.contains(&format!("\"pg_wal\": \"{}\"", wal.display())),
        "{json}"
    );
    db.batch_execute("insert into t values (0)")?;
    site.switch(&mut db)?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, 101)
}
