//! What is odd and may happen all the same: tablespaces of every kind, sets that somebody has moved, pidfiles of other
//! programs, servers that take their time.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use testkit::{Program, TestResult};

use crate::Site;

#[test]
fn tablespaces_of_every_kind_are_restored() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 2")?;
    // Recovery does not end without it where there is one.
    site.master
        .append_conf("allow_in_place_tablespaces = on\n")?;
    site.set_up()?;
    let mut db = site.db()?;
    let inside = site.master.data_dir().join("inside");
    let odd = site.path("odd \\ name\nof two lines");
    for (name, location) in [
        ("plain", Some(odd)),
        ("inside", Some(inside)),
        ("in_place", None),
    ] {
        let location = match location {
            Some(path) => {
                fs::create_dir(&path)?;
                site.owner.give(&path)?;
                path.display().to_string()
            }
            None => String::new(),
        };
        db.batch_execute(&format!("create tablespace {name} location '{location}'"))?;
        db.batch_execute(&format!(
            "create table {name} tablespace {name} as select generate_series(1, 100) id"
        ))?;
    }
    db.batch_execute("create unlogged table u as select generate_series(1, 100) id")?;
    for method in ["rsync", "native"] {
        site.on_master(&format!("backup --set backup_method={method}"))?;
        site.on_slave("verify")?;
        site.on_slave("restore data.master --force")
            .map_err(|error| format!("{method}: {error}\n{}", site.logs()))?;
        let mut standby = site.standby()?;
        for name in ["plain", "inside", "in_place"] {
            let count = format!("select count(*) from {name}");
            assert_eq!(
                standby.query_one(&count, &[])?.get::<_, i64>(0),
                100,
                "{method} {name}"
            );
        }
        let used = "select pg_tablespace_location(oid) from pg_tablespace \
                    where pg_tablespace_location(oid) like '/%'";
        for row in standby.query(used, &[])? {
            let location: String = row.get(0);
            assert!(
                Path::new(&location).starts_with(site.path("slave")),
                "{method} {location}"
            );
        }
        drop(standby);
        site.on_slave("boot --force")?;
        let mut new = site.standby()?;
        assert_eq!(
            new.query_one("select count(*) from u", &[])?
                .get::<_, i64>(0),
            0,
            "{method}"
        );
    }
    // One that leads nowhere makes a set that nobody could restore.
    let link = site.master.data_dir().join("pg_tblspc/99999");
    symlink(site.path("gone"), &link)?;
    for method in ["rsync", "native"] {
        site.refused(
            &format!("master.ini backup --set backup_method={method}"),
            "which is no directory: the backup could not be restored",
        )?;
    }
    fs::remove_file(&link)?;
    site.on_master("backup")?;
    Ok(())
}

#[test]
fn a_pidfile_that_is_another_programs_stops_nothing() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 2")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    site.on_slave("restore data.master")?;
    drop(site.standby()?);
    let pidfile = site.path("slave/postmaster.pid");
    let text = fs::read_to_string(&pidfile)?;
    site.kill_standby()?;
    // After a reboot the number may be anybody's, here that of this test.
    let (_, rest) = text.split_once('\n').ok_or("lines")?;
    fs::write(&pidfile, format!("{}\n{rest}", std::process::id()))?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, 100)
}

#[test]
fn a_start_command_that_fails_while_the_server_replays_is_no_failure() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 2")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    // As pg_ctl does when replay takes longer than it waits.
    let command = site.start_command()?;
    let line = format!("slave_start_cmd={command}; exit 1");
    site.program("slave.ini restore data.master --set")
        .args([line])
        .succeed()?;
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, 100)
}

#[test]
fn sets_that_somebody_has_moved_or_removed_do_no_harm() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 5")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    for _ in 0..5 {
        db.batch_execute("insert into t values (1)")?;
        site.switch(&mut db)?;
        site.on_master("backup")?;
    }
    // The newest is on another disk, one is gone.
    let disk = site.path("disk");
    fs::create_dir(&disk)?;
    site.owner.give(&disk)?;
    let newest = site.shipped("data.master");
    fs::rename(&newest, disk.join("moved"))?;
    symlink(disk.join("moved"), &newest)?;
    fs::remove_dir_all(site.shipped("data.master.1"))?;
    let sets = || -> TestResult<Vec<String>> {
        let json = site.on_slave("listbackups --json")?.stdout;
        let names = json
            .lines()
            .filter_map(|line| line.trim().strip_prefix("\"set\": \""));
        Ok(names
            .map(|rest| rest.trim_end_matches("\",").to_owned())
            .collect())
    };
    assert_eq!(
        sets()?,
        [
            "data.master",
            "data.master.0",
            "data.master.2",
            "data.master.3"
        ]
    );
    site.on_slave("verify --all")?;
    site.on_slave("restore")?;
    let mut standby = site.standby()?;
    site.wait_for_rows(&mut standby, 5)?;
    drop(standby);
    // Fewer are to be kept from now on.
    site.write_slave("keep_backups = 2")?;
    site.on_master("backup")?;
    assert_eq!(sets()?.len(), 2, "{:?}", sets()?);
    site.on_slave("verify --all")?;
    for set in sets()? {
        site.on_slave(&format!("restore {set}"))?;
        let mut standby = site.standby()?;
        site.wait_for_rows(&mut standby, 5)?;
    }
    Ok(())
}

#[test]
fn as_root_nothing_is_restored() -> TestResult {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let mut site = Site::with(false, "primary_conninfo = host=/nowhere")?;
    site.set_up()?;
    site.on_master("backup")?;
    for line in ["restore", "restore data.master /x", "createslave", "rejoin"] {
        let output = Program::at(&site.path("walmgr"), &site.path(""))
            .args(["slave.ini"])
            .args(line.split(' '))
            .output()?;
        assert_eq!(output.status.code(), Some(1), "{line}: {}", output.stderr);
        let why = "as the user of the server, and not as root";
        assert!(output.stderr.contains(why), "{line}: {}", output.stderr);
    }
    assert!(!site.path("slave").exists());
    site.on_slave("verify")?;
    Ok(())
}
