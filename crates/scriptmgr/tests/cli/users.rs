//! Jobs of other users. Root may become them; the tests of everybody else end here.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use testkit::TestResult;

use crate::site::{LONG, Site};

/// Somebody who is on every system.
const NOBODY: &str = "nobody";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn uid_of_nobody() -> TestResult<u32> {
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.starts_with("nobody:"));
    let uid = line
        .and_then(|line| line.split(':').nth(2))
        .ok_or("there is no nobody")?;
    Ok(uid.parse()?)
}

#[test]
fn user_is_for_all_services_or_none() -> TestResult {
    let site = Site::new()?;
    site.manager("[worker]\nscript = x\nuser = root\n[other]\nscript = x\n")?;
    let said = site.fail("m.ini status")?;
    assert!(
        said.contains("user is set for worker, but not for other"),
        "{said}"
    );
    site.manager("[worker]\nscript = x\nuser = no such user\n")?;
    let said = site.fail("m.ini status")?;
    assert!(
        said.contains("service [worker]: there is no user 'no such user'"),
        "{said}"
    );
    Ok(())
}

#[test]
fn root_runs_jobs_as_their_user() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let nobody = uid_of_nobody()?;
    let mut site = Site::new()?;
    chown(site.path("conf"), Some(nobody), None)?;
    site.manager("[worker]\nscript = env > environment; ../worker.sh\nuser = nobody\n")?;
    site.succeed("m.ini start a")?;
    let pid = site.daemon("a").wait_alive(LONG)?;
    assert_eq!(fs::metadata(site.path("conf/a.pid"))?.uid(), nobody);
    assert_eq!(fs::metadata(format!("/proc/{pid}"))?.uid(), nobody);
    let environment = site.read("conf/environment");
    assert!(environment.contains("\nUSER=nobody\n") || environment.starts_with("USER=nobody\n"));
    site.succeed("m.ini reload a")?;
    // As from cron.
    site.program("m.ini restart a")
        .env("PATH", "/usr/bin:/bin")
        .succeed()?;
    site.succeed("m.ini stop a")?;
    assert!(!site.path("conf/a.pid").exists());

    // Who writes the pidfile does not make root signal others.
    let own = std::process::id();
    site.write("conf/a.pid", &own.to_string())?;
    chown(site.path("conf/a.pid"), Some(nobody), None)?;
    let output = site.run("m.ini status a")?;
    assert_eq!(output.stdout, " STOPPED  [worker] a\n");
    assert!(
        output.stderr.contains("it is not of user nobody"),
        "{}",
        output.stderr
    );
    // The site would end us.
    fs::remove_file(site.path("conf/a.pid"))?;
    site.job("b", "style = refuses\n")?;
    let said = site.fail("m.ini start b")?;
    assert!(
        said.contains("cannot start job b: exit status: 7"),
        "{said}"
    );
    Ok(())
}

#[test]
fn somebody_else_may_neither_stop_a_job_nor_be_told_lies() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let site = Site::new()?;
    site.succeed("m.ini start a")?;
    let pid = site.daemon("a").wait_alive(LONG)?;
    let manager = testkit::bin("scriptmgr");
    let as_nobody = |line: &str| -> TestResult<(Option<i32>, String, String)> {
        let output = std::process::Command::new("runuser")
            .args(["-u", NOBODY, "--"])
            .arg(&manager)
            .args(["m.ini", "--set", "logfile="])
            .args(line.split(' '))
            .current_dir(site.dir())
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        ))
    };
    let (code, shown, said) = as_nobody("status a")?;
    assert_eq!(
        (code, shown.as_str()),
        (Some(0), " OK       [worker] a\n"),
        "{said}"
    );
    let (code, _, said) = as_nobody("stop a")?;
    assert_eq!(code, Some(1));
    assert!(said.contains("WARNING cannot signal job a"), "{said}");
    assert_eq!(site.daemon("a").pid(), Some(pid));
    Ok(())
}
