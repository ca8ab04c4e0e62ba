//! `switchover`: master and slave change roles, under load, and nothing is lost.

use std::fs;
use std::process::{Child, Stdio};

use testkit::{Shutdown, TestResult, wait_until};

use crate::rejoin::Old;
use crate::{PATIENCE, Site};

/// Clients that insert a row after the other, and note each that was acknowledged.
struct Load {
    pgbench: Child,
    log_dir: std::path::PathBuf,
}

impl Load {
    /// `None` where there is no `pgbench`.
    fn start(site: &Site) -> TestResult<Option<Load>> {
        if !site.has("pgbench") {
            return Ok(None);
        }
        site.db()?.batch_execute(
            "drop table if exists load; create table load (id bigint generated always as identity)",
        )?;
        let dir = site.path("load");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir)?;
        site.owner.give(&dir)?;
        let script = site.path("load.sql");
        fs::write(&script, "insert into load default values;\n")?;
        let mut command = site.master.command("pgbench");
        command
            .args(["-n", "-l", "-c", "2", "-T", "600", "-f"])
            .arg(&script)
            .arg(format!("--log-prefix={}", dir.join("log").display()))
            .arg("-h")
            .arg(site.master.socket_dir())
            .args(["-U", "postgres", "postgres"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let load = Load {
            pgbench: command.spawn()?,
            log_dir: dir,
        };
        wait_until("the load to begin", PATIENCE, || {
            let row = site.db()?.query_one("select count(*) from load", &[])?;
            Ok(row.get::<_, i64>(0) > 100)
        })?;
        Ok(Some(load))
    }

    /// How many rows were acknowledged, when the server is gone.
    fn acknowledged(mut self) -> TestResult<i64> {
        self.pgbench.wait()?;
        let mut count = 0;
        for entry in fs::read_dir(&self.log_dir)? {
            count += fs::read_to_string(entry?.path())?.lines().count();
        }
        assert!(count > 100, "{count}");
        Ok(i64::try_from(count)?)
    }
}

/// Looks that the new master has all that was acknowledged, and no more than what was on its way.
fn check_rows(site: &Site, load: Option<Load>) -> TestResult {
    let Some(acknowledged) = load.map(Load::acknowledged).transpose()? else {
        return Ok(());
    };
    let row = site
        .standby()?
        .query_one("select count(*), count(distinct id) from load", &[])?;
    let (rows, distinct): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(rows, distinct);
    assert!(
        (acknowledged..=acknowledged + 2).contains(&rows),
        "{acknowledged} acknowledged, {rows} there"
    );
    Ok(())
}

fn is_in_recovery(site: &Site) -> TestResult<bool> {
    Ok(site
        .standby()?
        .query_one("select pg_is_in_recovery()", &[])?
        .get(0))
}

#[test]
fn a_standby_that_streams_takes_over_when_the_master_was_stopped_in_good_order() -> TestResult {
    let mut old = Old::new("")?;
    let load = Load::start(&old.site)?;
    let data = old.site.master.data_dir();
    let stop = format!("pg_ctl -D {} -m fast -w stop", data.display());
    let shown = old.site.on_slave("switchover -n")?.stdout;
    assert!(
        shown.contains(&format!("type:\n  {stop}\nwould wait until ")),
        "{shown}"
    );
    // As long as it runs, and after a crash: the slave stays as it is.
    old.site.refused(
        "slave.ini switchover --timeout 0",
        "the master still runs. The slave is as it was",
    )?;
    old.site.master.stop(Shutdown::Kill)?;
    old.site.refused(
        "slave.ini switchover --timeout 0",
        "without the record of a clean shutdown: on the master's host, type ",
    )?;
    assert!(is_in_recovery(&old.site)?);
    assert!(!old.site.archived("STOP").exists());
    load.map(Load::acknowledged).transpose()?;
    old.site.master.start_again()?;
    wait_until("the standby to stream again", PATIENCE, || {
        let sql = "select count(*) from pg_stat_replication where state = 'streaming'";
        Ok(old.site.db()?.query_one(sql, &[])?.get::<_, i64>(0) == 1)
    })?;
    let load = Load::start(&old.site)?;
    let waits = || -> TestResult<usize> {
        let log = fs::read_to_string(old.site.path("slave.log"))?;
        Ok(log.matches("the master still runs").count())
    };
    let before = waits()?;
    let mut switchover = old.site.program("slave.ini switchover").spawn()?;
    wait_until("it to wait for the master", PATIENCE, || {
        Ok(waits()? > before)
    })?;
    assert!(is_in_recovery(&old.site)?);
    old.site.master.stop(Shutdown::Fast)?;
    let status = switchover.wait(PATIENCE)?;
    assert!(status.success(), "{status}\n{}", old.logs());
    check_rows(&old.site, load)?;
    let again = old.site.on_slave("switchover")?.stderr;
    assert!(again.contains("already a primary"), "{again}");
    // As it is: the new master has the record of the shutdown, too.
    let said = old.rejoin("")?;
    assert!(
        said.contains("the primary has all that was committed here"),
        "{said}"
    );
    Ok(())
}

#[test]
fn without_a_stream_the_last_wal_comes_by_sync_and_is_waited_for() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    site.db()?.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    site.on_slave("restore")?;
    drop(site.standby()?);
    site.refused(
        "slave.ini switchover",
        "nobody here can tell whether the master is down: set primary_conninfo, or boot_check_command",
    )?;
    let (bindir, data) = (site.master.bindir().to_owned(), site.master.data_dir());
    let pg_ctl = |rest: &str| format!("{}/pg_ctl -D {} {rest}", bindir.display(), data.display());
    let lines = |stop: &str| {
        format!(
            "boot_check_command = ! {}\nswitchover_stop_command = {stop}\n",
            pg_ctl("status")
        )
    };
    site.write_slave(&lines("false"))?;
    site.refused(
        "slave.ini switchover",
        "switchover_stop_command (false): exit status: 1",
    )?;
    let stop = pg_ctl("-m fast -w stop");
    site.write_slave(&lines(&stop))?;
    let shown = site.on_slave("switchover -n")?.stdout;
    assert!(
        shown.starts_with(&format!("would run: {stop}\nwould wait until ")),
        "{shown}"
    );
    let load = Load::start(&site)?;
    // All segments that are finished come by themselves, and not the one with the shutdown.
    site.refused(
        "slave.ini switchover --timeout 0",
        "without the record of a clean shutdown: on the master's host, type walmgr wal-master.ini sync",
    )?;
    assert!(is_in_recovery(&site)?);
    site.master.stop(Shutdown::Fast)?;
    site.on_master("sync")?;
    site.write_slave(&lines("true"))?;
    let output = site.on_slave("switchover --timeout 0");
    let output = output.map_err(|error| format!("{error}\n{}", site.logs()))?;
    assert!(
        output
            .stderr
            .contains("all WAL of the master is here, up to its clean shutdown"),
        "{}",
        output.stderr
    );
    assert!(
        output.stdout.contains("  walmgr wal-slave.ini rejoin\n"),
        "{}",
        output.stdout
    );
    assert!(!is_in_recovery(&site)?);
    check_rows(&site, load)
}
