//! Pidfiles that do not tell the truth.

use std::fs;
use std::process::Command;

use testkit::{Running, TestResult};

use crate::site::{LONG, Site};

/// A process that is no job, in the root directory.
fn innocent(site: &Site) -> TestResult<Running> {
    let mut command = Command::new("sleep");
    command.arg("600").current_dir("/");
    Running::start(&mut command, &site.path("innocent.log"))
}

#[test]
fn a_process_that_has_the_id_of_a_job_is_neither_shown_nor_signalled() -> TestResult {
    let site = Site::new()?;
    let mut innocent = innocent(&site)?;
    site.write("conf/a.pid", &format!("{}\n", innocent.pid()))?;
    let output = site.run("m.ini status a")?;
    assert_eq!(output.stdout, " STOPPED  [worker] a\n");
    assert!(
        output.stderr.contains("is not job a: it is `sleep 600`"),
        "{}",
        output.stderr
    );
    site.succeed("m.ini stop a")?;
    site.succeed("m.ini reload a")?;
    assert!(innocent.ended()?.is_none());
    site.succeed("m.ini start a")?;
    assert_eq!(site.run("m.ini status a")?.stdout, " OK       [worker] a\n");
    assert!(innocent.ended()?.is_none());
    Ok(())
}

#[test]
fn two_pidfiles_with_one_process_are_one_job() -> TestResult {
    let site = Site::new()?;
    site.succeed("m.ini start a")?;
    let pid = site.daemon("a").wait_alive(LONG)?;
    fs::copy(site.path("conf/a.pid"), site.path("conf/b.pid"))?;
    assert_eq!(
        site.status()?.0,
        " OK       [worker] a\n STOPPED  [worker] b\n"
    );
    site.succeed("m.ini stop b")?;
    assert_eq!(site.daemon("a").pid(), Some(pid));
    Ok(())
}

#[test]
fn a_program_of_any_kind_is_a_job() -> TestResult {
    let site = Site::new()?;
    // It becomes another program, which knows nothing of its configuration.
    site.script(
        "worker.sh",
        "#!/bin/sh\nsleep 600 < /dev/null > /dev/null 2>&1 &\nprintf '%s\\nsecond line\\n' $! > a.pid\n",
    )?;
    site.succeed("m.ini start a")?;
    assert_eq!(site.run("m.ini status a")?.stdout, " OK       [worker] a\n");
    site.manager("[worker]\nscript = cd / && ../worker.sh\nprocess = sleep 600\n")?;
    assert_eq!(site.run("m.ini status a")?.stdout, " OK       [worker] a\n");
    site.succeed("m.ini stop a --force --timeout 5")?;
    assert_eq!(site.run("m.ini status a")?.stdout, " STOPPED  [worker] a\n");
    Ok(())
}

#[test]
fn two_jobs_of_one_process_are_signalled_once() -> TestResult {
    let site = Site::new()?;
    site.manager("[worker]\nscript = ../worker.sh\n[other]\nscript = ../worker.sh\n")?;
    site.write(
        "conf/a.ini",
        "[DEFAULT]\npidfile = a.pid\n[worker]\njob_name = a\n[other]\njob_name = c\n",
    )?;
    site.succeed("m.ini start a")?;
    let said = site.succeed("m.ini reload a c")?.stderr;
    assert!(said.contains("WARNING job c is process"), "{said}");
    testkit::wait_until("the reload", LONG, || {
        Ok(!site.read("conf/reloads").is_empty())
    })?;
    site.succeed("m.ini stop -a")?;
    assert_eq!(site.read("conf/reloads"), "reloaded\n");
    Ok(())
}
