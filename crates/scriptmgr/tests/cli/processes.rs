//! Pidfiles that do not tell the truth.

use std::fs;
use std::os::unix::process::CommandExt;
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
fn a_disabled_service_without_a_script_takes_no_process_for_its_own() -> TestResult {
    let site = Site::new()?;
    let mut command = Command::new("sleep");
    // `/` is a name of nothing, as that of no script is.
    command.arg0("/").arg("600").current_dir(site.path("conf"));
    let mut innocent = Running::start(&mut command, &site.path("innocent.log"))?;
    site.write("conf/c.pid", &format!("{}\n", innocent.pid()))?;
    for (service, cwd) in [("other", "/"), ("londiste", "conf")] {
        site.manager(&format!("[{service}]\ncwd = {cwd}\ndisabled = 1\n"))?;
        let pidfile = site.path("conf/c.pid");
        let text = format!(
            "[{service}]\njob_name = c\npidfile = {}\n",
            pidfile.display()
        );
        site.write("conf/c.ini", &text)?;
        let shown = site.run("m.ini status c")?.stdout;
        assert_eq!(shown, format!(" STOPPED  [{service}] c  (disabled)\n"));
        site.succeed("m.ini stop c")?;
    }
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
fn a_blank_in_the_name_of_a_file_makes_no_process_that_of_another_job() -> TestResult {
    let mut site = Site::new()?;
    site.job("a b", "")?;
    site.job("b", "disabled = 1\n")?;
    site.succeed("m.ini start -a")?;
    assert_eq!(
        site.status()?.0,
        " OK       [worker] a\n OK       [worker] a b\n STOPPED  [worker] b  (disabled)\n"
    );
    fs::copy(site.path("conf/a b.pid"), site.path("conf/b.pid"))?;
    let said = site.run("m.ini status b")?.stderr;
    assert!(
        said.contains("is not job b: it is that of a b.ini"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_program_of_any_kind_is_a_job() -> TestResult {
    let site = Site::new()?;
    // It becomes another program, which knows nothing of its configuration.
    let zeros = "0 ".repeat(100);
    site.script(
        "worker.sh",
        &format!(
            "#!/bin/sh\nsleep 600 {zeros} 0.25 < /dev/null > /dev/null 2>&1 &\n\
             printf '%s\\nsecond line\\n' $! > a.pid\n"
        ),
    )?;
    site.succeed("m.ini start a")?;
    assert_eq!(site.run("m.ini status a")?.stdout, " OK       [worker] a\n");
    site.manager("[worker]\nscript = cd / && ../worker.sh\nprocess = 0 0.25\n")?;
    assert_eq!(site.run("m.ini status a")?.stdout, " OK       [worker] a\n");
    site.succeed("m.ini stop a --force --timeout 0.1")?;
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
