//! Two servers, and one archive: it belongs to the first, and the other finds out.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use postgres::{Client, NoTls};
use testkit::{Shutdown, TestResult, wait_until};

use crate::{PATIENCE, Site};

/// Whether a server has failed to archive.
const FAILED: &str = "select failed_count > 0 from pg_stat_archiver";

/// Another server on the master's machine; stopped when dropped.
struct Other<'a> {
    site: &'a Site,
    data: PathBuf,
}

impl Other<'_> {
    /// Of a data directory with another server's settings, or none.
    fn start(site: &Site, data: PathBuf) -> TestResult<Other<'_>> {
        let other = Other { site, data };
        other.start_again()?;
        Ok(other)
    }

    fn start_again(&self) -> TestResult {
        let socket = self.site.path("s");
        self.ctl(&[
            "-l",
            &self.site.path("other.log").display().to_string(),
            "-o",
            &format!(
                "-c port=5433 -c listen_addresses= -c unix_socket_directories={}",
                socket.display()
            ),
            "start",
        ])
    }

    fn ctl(&self, args: &[&str]) -> TestResult {
        let mut command = self.site.master.command("pg_ctl");
        command.arg("-D").arg(&self.data).arg("-w").args(args);
        run(&mut command)
    }

    fn conninfo(&self) -> String {
        format!(
            "host={} port=5433 user=postgres dbname=postgres",
            self.site.path("s").display()
        )
    }

    fn db(&self) -> TestResult<Client> {
        Ok(Client::connect(&self.conninfo(), NoTls)?)
    }
}

fn run(command: &mut Command) -> TestResult {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    match quiet.status()? {
        status if status.success() => Ok(()),
        status => Err(format!("{command:?}: {status}").into()),
    }
}

impl Drop for Other<'_> {
    fn drop(&mut self) {
        // The directory goes away next.
        let _ = self.ctl(&["-m", "immediate", "stop"]);
    }
}

#[test]
fn a_second_cluster_is_refused_and_the_first_is_not_disturbed() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.switch(&mut db)?;
    site.on_master("backup")?;
    let before = site.names_in(&site.shipped("logs.complete"))?;

    // As one that was made anew with initdb in the place of the first.
    let data = site.path("other");
    let mut initdb = site.master.command("initdb");
    initdb.args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "--wal-segsize=1",
        "--no-sync",
        "-D",
    ]);
    run(initdb.arg(&data))?;
    let second = Other::start(&site, data)?;
    let ini = fs::read_to_string(site.path("master.ini"))?
        .replace(
            &site.master.data_dir().display().to_string(),
            &second.data.display().to_string(),
        )
        .replace(&site.master.conninfo("postgres"), &second.conninfo());
    fs::write(site.path("second.ini"), ini)?;
    site.program("second.ini setup").succeed()?;
    second.ctl(&["-m", "fast", "stop"])?;
    second.start_again()?;
    let mut other = second.db()?;
    other.batch_execute("create table t (id int); select pg_switch_wal()")?;
    wait_until("archiving to fail", PATIENCE, || {
        Ok(other.query_one(FAILED, &[])?.get(0))
    })?;
    let log = site.logs();
    assert!(log.contains("another server archives here"), "{log}");
    site.refused("second.ini backup", "archiving fails")?;
    site.refused("second.ini backup --force", "backup-begin on this host")?;
    assert_eq!(site.names_in(&site.shipped("logs.complete"))?, before);
    // Its unfinished WAL is no more welcome.
    site.refused(
        "second.ini sync --set use_xlog_functions=1",
        "another server archives here",
    )?;
    assert_eq!(site.names_in(&site.shipped("logs.partial"))?, [""; 0]);

    db.batch_execute("insert into t values (1)")?;
    site.switch(&mut db)?;
    let failed: bool = db.query_one(FAILED, &[])?.get(0);
    assert!(!failed, "{}", site.logs());
    site.program("slave.ini verify").succeed()?;
    Ok(())
}

#[test]
fn a_clone_that_archives_by_accident_is_refused_by_the_names() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.switch(&mut db)?;
    drop(db);
    site.master.stop(Shutdown::Fast)?;
    // Both go on from the same position.
    let copy = site.path("clone");
    run(Command::new("cp")
        .arg("-a")
        .arg(site.master.data_dir())
        .arg(&copy))?;
    site.master.start_again()?;
    let mut db = site.db()?;
    db.batch_execute("insert into t values (1)")?;
    let name = site.switch(&mut db)?;
    let archived = fs::read(site.archived(&name))?;

    let clone = Other::start(&site, copy)?;
    let mut other = clone.db()?;
    other.batch_execute("insert into t values (2); select pg_switch_wal()")?;
    wait_until("archiving to fail", PATIENCE, || {
        Ok(other.query_one(FAILED, &[])?.get(0))
    })?;
    let log = site.logs();
    assert!(
        log.contains("is there with other content, and stays"),
        "{log}"
    );
    assert!(fs::read(site.archived(&name))? == archived);
    let found = site.program("slave.ini check").output()?.stdout;
    assert!(found.contains("conflicts: FAILED (1 files"), "{found}");
    // The master does not notice.
    db.batch_execute("insert into t values (3)")?;
    site.switch(&mut db)?;
    let failed: bool = db.query_one(FAILED, &[])?.get(0);
    assert!(!failed, "{}", site.logs());
    Ok(())
}

#[test]
fn two_ends_of_one_timeline_are_told_apart() -> TestResult {
    let site = Site::new()?;
    site.on_slave("setup")?;
    let history = site.path("history");
    let line = format!("master.ini xarchive {} 00000002.history", history.display());
    fs::write(&history, "1\t0/3000000\tno recovery target specified\n")?;
    site.program(&line).succeed()?;
    site.program(&line).succeed()?;
    fs::write(&history, "1\t0/3100000\tno recovery target specified\n")?;
    site.refused(&line, "is there with other content, and stays")
}
