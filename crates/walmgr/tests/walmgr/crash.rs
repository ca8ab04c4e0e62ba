//! Servers and programs that die in the middle: of a push, of a backup, of replay.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use postgres::Client;
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Shutdown, TestResult, wait_until};

use crate::{PATIENCE, Site};

impl Site {
    /// Has the server run `archive_command` with failpoints.
    fn archive_with(&self, db: &mut Client, failpoints: &str) -> TestResult {
        let command = format!(
            "FAILPOINTS='{failpoints}' {} {} xarchive %p %f",
            self.path("walmgr").display(),
            self.path("master.ini").display()
        );
        db.batch_execute(&format!(
            "alter system set archive_command = '{}'",
            command.replace('\'', "''")
        ))?;
        db.batch_execute("select pg_reload_conf()")?;
        wait_until("the command to change", PATIENCE, || {
            let shown: String = db.query_one("show archive_command", &[])?.get(0);
            Ok(shown == command)
        })
    }

    /// Kills the postmaster of the slave, and waits until nothing of its server is left.
    pub(crate) fn kill_standby(&self) -> TestResult {
        let data = self.path("slave");
        let text = fs::read_to_string(data.join("postmaster.pid"))?;
        let pid = text.lines().next().and_then(|line| line.parse().ok());
        let pid = pid.and_then(Pid::from_raw).ok_or("no pid")?;
        kill_process(pid, Signal::KILL)?;
        wait_until("all of the server to end", PATIENCE, || {
            // A new server takes one for alive that has not been waited for.
            let is_left = Path::new(&format!("/proc/{pid}")).exists();
            Ok(processes_in(&data) == 0 && !is_left)
        })
    }

    /// The file that the slave's server is just asking for.
    pub(crate) fn requested(&self) -> Option<String> {
        let data = self.path("slave");
        let entries = fs::read_dir("/proc").ok()?.flatten();
        entries
            .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data))
            .find_map(|entry| {
                let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
                let mut words = line.split('\0').skip_while(|word| *word != "xrestore");
                words.nth(1).map(str::to_owned)
            })
    }

    /// What `slave_start_cmd` is.
    pub(crate) fn start_command(&self) -> TestResult<String> {
        let ini = fs::read_to_string(self.path("slave.ini"))?;
        let mut lines = ini.lines();
        let command = lines.find_map(|line| line.strip_prefix("slave_start_cmd = "));
        Ok(command.ok_or("no slave_start_cmd")?.to_owned())
    }

    /// Starts the slave's server as `slave_start_cmd` does.
    pub(crate) fn start_standby(&self) -> TestResult {
        let mut shell = std::process::Command::new("sh");
        self.owner.apply(&mut shell);
        let status = shell
            .args(["-c", &self.start_command()?])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the standby does not start: {status}\n{}", self.logs()).into()),
        }
    }
}

/// Number of processes that work in a directory: a server, and what it has started.
fn processes_in(dir: &Path) -> usize {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == dir))
        .count()
}

#[test]
fn a_push_that_is_killed_is_tried_again_by_the_next_archiver() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    let killed = site.path("killed");
    site.archive_with(
        &mut db,
        &format!("xreceive.written=return(kill-once:{})", killed.display()),
    )?;
    // By the command that has changed, when the archiver has heard of it.
    let mut name = String::new();
    wait_until("the changed command to be taken", PATIENCE, || {
        db.batch_execute("insert into t values (0)")?;
        name = site.end_segment(&mut db)?;
        let archived = site.archived(&name);
        wait_until("the segment to be archived", PATIENCE, || {
            // The postmaster looks for the archiver when somebody comes, else once a minute.
            drop(site.db()?);
            Ok(archived.exists())
        })?;
        Ok(killed.exists())
    })?;
    // The server does not count it.
    let failed: i64 = db
        .query_one("select failed_count from pg_stat_archiver", &[])?
        .get(0);
    assert_eq!(failed, 0, "{}", site.master.log());
    site.program("slave.ini verify --wal-only").output()?;
    let names = site.names_in(&site.shipped("logs.complete"))?;
    assert!(names.contains(&name) && !names.iter().any(|name| name.ends_with(".tmp")));
    // What it does not count is seen all the same.
    db.batch_execute("alter system set archive_command = 'exit 130'; ")?;
    db.batch_execute("select pg_reload_conf()")?;
    wait_until("the command to change", PATIENCE, || {
        let shown: String = db.query_one("show archive_command", &[])?.get(0);
        Ok(shown == "exit 130")
    })?;
    db.batch_execute("insert into t values (1); select pg_switch_wal()")?;
    wait_until("check to see it", PATIENCE, || {
        let found = site
            .program("master.ini check --max-archive-age 0")
            .output()?
            .stdout;
        Ok(found.contains("waiting: FAILED (1 files, 0"))
    })
}

#[test]
fn a_push_that_is_told_to_end_ends_by_the_signal() -> TestResult {
    let site = Site::behind_ssh()?;
    site.on_slave("setup")?;
    let (path, name) = site.finished_segment()?;
    let sshd = site.sshd.as_ref().ok_or("no ssh")?;
    sshd.freeze()?;
    let line = format!("master.ini xarchive {} {name}", path.display());
    let mut running = site.program(&line).spawn()?;
    let proc = format!("/proc/{0}/task/{0}/children", running.pid());
    // Not before its handlers are there.
    wait_until("ssh to be started", PATIENCE, || {
        Ok(fs::read_to_string(&proc).is_ok_and(|children| !children.trim().is_empty()))
    })?;
    running.signal(Signal::TERM)?;
    let status = running.wait(PATIENCE)?;
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(15),
        "{status}"
    );
    sshd.thaw()?;
    assert!(!site.archived(&name).exists());
    Ok(())
}

#[test]
fn a_master_that_dies_before_it_knows_that_a_segment_is_archived_sends_it_again() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    let held = site.path("held");
    site.archive_with(
        &mut db,
        &format!("xarchive.noted=return(hold:{})", held.display()),
    )?;
    let status = site.master.data_dir().join("pg_wal/archive_status");
    // By the command that has changed, when the archiver has heard of it: by the other one it is done.
    let mut name = String::new();
    wait_until("the changed command to be taken", PATIENCE, || {
        db.batch_execute("insert into t values (0)")?;
        name = site.switch(&mut db)?;
        let done = status.join(format!("{name}.done"));
        wait_until("the command to end, or to be about to", PATIENCE, || {
            Ok(held.exists() || done.exists())
        })?;
        Ok(held.exists())
    })?;
    drop(db);
    site.master.stop(Shutdown::Kill)?;
    assert!(status.join(format!("{name}.ready")).exists());
    let archived = fs::read(site.archived(&name))?;
    // It holds nobody again: the file is there.
    site.master.start_again()?;
    wait_until("the server to be told", PATIENCE, || {
        Ok(!status.join(format!("{name}.ready")).exists())
    })?;
    let log = site.logs();
    assert!(log.contains("already archived"), "{log}");
    assert!(fs::read(site.archived(&name))? == archived);
    let mut db = site.db()?;
    let failed: i64 = db
        .query_one("select failed_count from pg_stat_archiver", &[])?
        .get(0);
    assert_eq!(failed, 0, "{}", site.master.log());
    Ok(())
}

#[test]
fn a_master_that_dies_in_its_backup_leaves_the_sets_as_they_were() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    site.on_master("backup")?;
    let label = fs::read(site.shipped("data.master/backup_label"))?;
    for step in ["backup.begun", "backup.copied", "backup.stopped"] {
        let (mut running, held) = site.hold_at("master.ini backup", step)?;
        site.master.stop(Shutdown::Kill)?;
        fs::remove_file(&held)?;
        assert_eq!(
            running.wait(PATIENCE)?.code(),
            Some(1),
            "{step}: {}",
            site.logs()
        );
        assert!(
            fs::read(site.shipped("data.master/backup_label"))? == label,
            "{step}"
        );
        assert!(!site.archived("BACKUPLOCK").exists(), "{step}");
        site.master.start_again()?;
        site.program("slave.ini verify").succeed()?;
    }
    site.on_master("backup")?;
    assert!(fs::read(site.shipped("data.master/backup_label"))? != label);
    Ok(())
}

#[test]
fn a_standby_that_dies_while_it_replays_goes_on_from_where_it_was() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    // Moved: WAL is kept for the standby alone.
    site.on_slave("restore")?;
    let mut standby = site.standby()?;
    let count = "select count(*) from t";
    for round in 1..=3 {
        db.batch_execute("insert into t select generate_series(1, 1000); checkpoint")?;
        site.switch(&mut db)?;
        wait_until("the standby to follow", PATIENCE, || {
            Ok(standby.query_one(count, &[])?.get::<_, i64>(0) == round * 1000)
        })?;
        standby.batch_execute("checkpoint")?;
        drop(standby);
        // What the standby has replayed for good is not needed any more, and nothing else.
        site.on_slave("xpurgewals")?;
        site.kill_standby()?;
        site.start_standby()?;
        standby = site.standby()?;
        wait_until("the standby to have all again", PATIENCE, || {
            Ok(standby.query_one(count, &[])?.get::<_, i64>(0) == round * 1000)
        })?;
    }
    Ok(())
}

#[test]
fn a_request_that_waits_ends_with_its_server() -> TestResult {
    let mut site = Site::with(false, "restore_wait = 1")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    // Read ahead, it waits before it can take connections: nobody waits for that.
    let command = site.start_command()?.replace(" -w ", " -W ");
    site.program("slave.ini restore data.master --target-name here --set")
        .args([format!("slave_start_cmd={command}")])
        .succeed()?;
    wait_until("a request to wait", PATIENCE, || {
        let wanted = site.requested();
        Ok(wanted.is_some_and(|name| name.len() == 24 && !site.archived(&name).exists()))
    })?;
    site.kill_standby()?;
    // Another one can be started, and goes on.
    db.batch_execute("insert into t select generate_series(101, 200)")?;
    site.switch(&mut db)?;
    site.start_standby()?;
    drop(site.standby()?);
    Ok(())
}
