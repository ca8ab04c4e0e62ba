//! `restore` into a directory of its own: beside a standby that goes on, and on the master.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use postgres::{Client, NoTls};
use testkit::{Shutdown, TestResult, wait_until};

use crate::{PATIENCE, Site};

/// A server beside the others, ended when dropped.
struct Aside<'a> {
    site: &'a Site,
}

impl Aside<'_> {
    fn pg_ctl(&self, args: &[&str]) -> TestResult<bool> {
        let mut command = self.site.master.command("pg_ctl");
        command
            .arg("-D")
            .arg(self.site.path("s/aside"))
            .arg("-w")
            .arg("-l")
            .arg(self.site.path("slave.server.log"))
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(command.status()?.success())
    }

    fn start(site: &Site) -> TestResult<(Aside<'_>, Client)> {
        let aside = Aside { site };
        let socket = site.path("s");
        let options = format!(
            "-c unix_socket_directories={} -c listen_addresses= -c port=5433",
            socket.display()
        );
        assert!(aside.pg_ctl(&["-o", &options, "start"])?, "{}", site.logs());
        let conninfo = format!(
            "host={} port=5433 user=postgres dbname=postgres",
            socket.display()
        );
        Ok((aside, Client::connect(&conninfo, NoTls)?))
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        // The directory goes away next.
        let _ = self.pg_ctl(&["-m", "immediate", "stop"]);
    }
}

#[test]
fn what_was_is_looked_at_beside_the_standby_that_goes_on() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 2")?;
    site.write_master("use_xlog_functions = 1")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    db.batch_execute("insert into t select generate_series(101, 200)")?;
    let lsn: String = db
        .query_one("select pg_current_wal_flush_lsn()::text", &[])?
        .get(0);
    db.batch_execute("delete from t")?;
    // None of that is in a finished segment.
    site.on_master("sync")?;
    let aside = site.path("s/aside");
    let line = format!("slave.ini restore data.master {}", aside.display());
    let said = site
        .program(&format!("{line} --target-lsn {lsn} --use-partial"))
        .succeed()?
        .stderr;
    assert!(said.contains("ready, and not started"), "{said}");
    assert!(!aside.join("postmaster.pid").exists());
    {
        let (_server, mut db) = Aside::start(&site)?;
        wait_until("replay to pause", PATIENCE, || {
            Ok(db
                .query_one("select pg_is_wal_replay_paused()", &[])?
                .get(0))
        })?;
        site.wait_for_rows(&mut db, 200)?;
        site.refused(&line, "a server runs in ")?;
    }
    // As a standby that follows, purges nothing, and does not stream from another's slot.
    site.program(&line).succeed()?;
    assert!(site.path("s/aside.0/PG_VERSION").exists());
    let settings = fs::read_to_string(aside.join("postgresql.auto.conf"))?;
    assert!(!settings.contains("archive_cleanup_command"), "{settings}");
    assert!(aside.join("standby.signal").exists());
    // What is in its way is not moved, if it is no data directory.
    site.refused(
        &format!("slave.ini restore --to {}", site.path("s").display()),
        "is not empty, and no data directory",
    )?;
    site.refused(
        &format!("slave.ini restore --to {}", site.path("slave").display()),
        "is slave_data: restore without DST",
    )?;
    site.switch(&mut db)?;
    site.wait_for_rows(&mut standby, 0)?;
    site.on_slave("verify")?;
    Ok(())
}

#[test]
fn a_master_without_its_files_comes_back_with_all_that_its_wal_still_has() -> TestResult {
    let mut site = Site::behind_ssh()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    db.batch_execute("insert into t select generate_series(101, 200)")?;
    site.switch(&mut db)?;
    // Not archived, and not synced.
    db.batch_execute("insert into t select generate_series(201, 300)")?;
    let data = site.master.data_dir();
    site.owner.give(data.parent().unwrap_or(Path::new("/")))?;
    let line = format!("master.ini restore data.master {}", data.display());
    site.refused(&format!("{line} --yes"), "a server runs in ")?;
    drop(db);
    site.master.stop(Shutdown::Kill)?;
    fs::remove_dir_all(data.join("base"))?;
    site.refused("master.ini restore --yes", "restore needs SET and DST")?;
    // Nobody has said that it may.
    site.refused(&line, "nothing is restored")?;
    let shown = site.program(&format!("{line} -n")).succeed()?.stdout;
    assert!(shown.starts_with("would copy "), "{shown}");
    site.refused(
        &format!("{line}.other --yes --set master_bin=/nowhere"),
        "/nowhere/postgres",
    )?;
    site.refused(
        &format!("master.ini restore data.master.7 {} --yes", data.display()),
        "xset on slave: ",
    )?;
    let said = site.program(&format!("{line} --yes")).succeed()?.stderr;
    assert!(said.contains("WAL that the slave does not have"), "{said}");
    assert!(!site.archived("BACKUPLOCK").exists());
    site.master.start_again()?;
    let mut db = site.db()?;
    site.wait_for_rows(&mut db, 300)?;
    db.batch_execute("select pg_promote(true, 60)")?;
    db.batch_execute("insert into t values (301)")?;
    // It archives again as soon as that is said, and not before.
    let command: String = db.query_one("show archive_command", &[])?.get(0);
    assert_eq!(command, "/bin/true");
    site.on_master("setup")?;
    wait_until("the setting to count", PATIENCE, || {
        let shown: String = db.query_one("show archive_command", &[])?.get(0);
        Ok(shown.contains("xarchive"))
    })?;
    site.switch(&mut db)?;
    Ok(())
}
