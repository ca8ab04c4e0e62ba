//! ssh that is cut, freezes, or lets nobody in: exit code 1 before long, and nothing half done.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::{Shutdown, Sshd, TestResult, wait_until};

use crate::{PATIENCE, Site};

/// Longer than any connection may take that gets no answer: 1 second to connect, 3 to be given up.
const BOUNDED: Duration = Duration::from_secs(30);

const IMPATIENT: &str = "ssh_connect_timeout = 1\nssh_keepalive = 1";

impl Site {
    /// A program for the other end of ssh, which stops at a step.
    fn program_there(&self, failpoints: &str) -> TestResult<PathBuf> {
        let path = self.path("there");
        let text = format!(
            "#!/bin/sh\nFAILPOINTS='{failpoints}' exec {} \"$@\"\n",
            self.path("walmgr").display()
        );
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(path)
    }

    fn ssh(&self) -> TestResult<&Sshd> {
        self.sshd.as_ref().ok_or_else(|| "no ssh".into())
    }

    fn has_temporary_files(&self) -> TestResult<bool> {
        let names = self.names_in(&self.shipped("logs.complete"))?;
        Ok(names.iter().any(|name| name.ends_with(".tmp")))
    }
}

fn push(path: &Path, name: &str) -> String {
    format!("master.ini xarchive {} {name}", path.display())
}

/// Has the connection fail while the first part of a segment is on the slave.
fn fails_in_a_segment(
    site: &Site,
    fail: impl FnOnce(&Sshd) -> TestResult,
    repair: impl FnOnce(&Sshd) -> TestResult,
) -> TestResult {
    site.on_slave("setup")?;
    site.write_master(IMPATIENT)?;
    let (path, name) = site.finished_segment()?;
    let held = site.path("held");
    let there = site.program_there(&format!("xreceive.block=return(hold:{})", held.display()))?;
    let line = format!(
        "--set remote_walmgr={} {}",
        there.display(),
        push(&path, &name)
    );
    let mut running = site.program(&line).spawn()?;
    wait_until("the first part to be there", PATIENCE, || Ok(held.exists()))?;
    fail(site.ssh()?)?;
    let status = running.wait(BOUNDED)?;
    assert_eq!(status.code(), Some(1), "{}", site.logs());
    assert!(
        site.logs().contains("no connection, or it was cut"),
        "{}",
        site.logs()
    );
    assert!(!site.archived(&name).exists());
    repair(site.ssh()?)?;
    wait_until("the receiver to give up", PATIENCE, || {
        // It stops at every part.
        let _ = fs::remove_file(&held);
        Ok(!site.has_temporary_files()?)
    })?;
    if site.archived(&name).exists() {
        // What was on its way when the connection froze may come after all.
        assert!(fs::read(site.archived(&name))? == fs::read(&path)?);
    }
    site.program(&push(&path, &name)).succeed()?;
    assert!(fs::read(site.archived(&name))? == fs::read(&path)?);
    Ok(())
}

#[test]
fn a_connection_that_is_cut_in_a_segment_leaves_nothing() -> TestResult {
    let site = Site::behind_ssh()?;
    fails_in_a_segment(&site, Sshd::cut, |_| Ok(()))
}

#[test]
fn a_connection_that_freezes_in_a_segment_is_given_up() -> TestResult {
    let site = Site::behind_ssh()?;
    fails_in_a_segment(&site, Sshd::freeze, Sshd::thaw)
}

#[test]
fn a_frozen_slave_does_not_keep_the_server_from_stopping() -> TestResult {
    let mut site = Site::behind_ssh()?;
    site.write_master(IMPATIENT)?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.switch(&mut db)?;
    site.ssh()?.freeze()?;
    db.batch_execute("insert into t values (1); select pg_switch_wal()")?;
    wait_until("archiving to fail", PATIENCE, || {
        let failed = "select failed_count > 0 from pg_stat_archiver";
        Ok(db.query_one(failed, &[])?.get(0))
    })?;
    let failing = site.program("master.ini check").output()?.stdout;
    assert!(
        failing.contains("archiving: FAILED (fails for 0"),
        "{failing}"
    );
    assert!(failing.contains("slave: FAILED ("), "{failing}");
    drop(db);
    site.master.stop(Shutdown::Fast)?;
    site.ssh()?.thaw()?;
    site.master.start_again()?;
    let mut db = site.db()?;
    // All of it comes, as if nothing had been.
    site.switch(&mut db)?;
    Ok(())
}

#[test]
fn a_slave_that_lets_nobody_in_is_told_from_one_that_is_gone() -> TestResult {
    let site = Site::behind_ssh()?;
    site.on_slave("setup")?;
    let (path, name) = site.finished_segment()?;
    let ssh = site.ssh()?.command();
    for (option, why) in [
        ("PubkeyAuthentication=no", "Permission denied"),
        (
            "UserKnownHostsFile=/dev/null",
            "Host key verification failed",
        ),
    ] {
        let output = site
            .program("--set")
            .args([format!("ssh_command={ssh} -o {option}")])
            .args(push(&path, &name).split(' '))
            .output()?;
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        assert!(output.stderr.contains(why), "{}", output.stderr);
        assert!(!site.archived(&name).exists());
    }
    Ok(())
}

#[test]
fn a_copy_whose_connections_are_cut_in_a_file_is_given_up() -> TestResult {
    let mut site = Site::behind_ssh()?;
    site.set_up()?;
    site.write_master("backup_method = native")?;
    let held = site.path("held");
    let there = site.program_there(&format!("copy.block=return(hold:{})", held.display()))?;
    let line = format!("master.ini backup --set remote_walmgr={}", there.display());
    let mut running = site.program(&line).spawn()?;
    wait_until("the first part of a file", PATIENCE, || Ok(held.exists()))?;
    site.ssh()?.cut()?;
    assert_eq!(running.wait(BOUNDED)?.code(), Some(1), "{}", site.logs());
    assert!(
        site.logs().contains("no connection, or it was cut"),
        "{}",
        site.logs()
    );
    fs::remove_file(&held)?;
    // One that dies there.
    let there = site.program_there("copy.block=return(kill)")?;
    wait_until("the lock to be free", PATIENCE, || {
        Ok(!site.archived("BACKUPLOCK").exists())
    })?;
    let line = format!("master.ini backup --set remote_walmgr={}", there.display());
    site.refused(&line, " on slave: ")?;
    assert!(!site.shipped("data.master").exists());
    let found = site.program("slave.ini check").output()?.stdout;
    assert!(found.contains("leftovers: WARNING ("), "{found}");
    site.on_master("backup")?;
    site.on_slave("verify")?;
    assert!(!site.shipped("data.master.inprogress").exists());
    Ok(())
}

#[test]
fn a_backup_whose_connection_is_cut_is_none() -> TestResult {
    let mut site = Site::behind_ssh()?;
    site.set_up()?;
    let (mut running, held) = site.hold_at("master.ini backup", "backup.copied")?;
    site.ssh()?.cut()?;
    wait_until("the lock to be free", PATIENCE, || {
        Ok(!site.archived("BACKUPLOCK").exists())
    })?;
    fs::remove_file(&held)?;
    assert_eq!(running.wait(PATIENCE)?.code(), Some(1), "{}", site.logs());
    assert!(
        site.logs().contains("the backup has lost its connection"),
        "{}",
        site.logs()
    );
    assert!(!site.shipped("data.master").exists());
    let found = site.program("slave.ini check").output()?.stdout;
    assert!(found.contains("leftovers: WARNING ("), "{found}");
    site.on_master("backup")?;
    assert!(site.shipped("data.master").exists());
    assert!(!site.shipped("data.master.inprogress").exists());
    Ok(())
}
