//! `stop`, `restart` and `reload`, with jobs that obey and jobs that do not.

use rustix::process::Signal;
use testkit::{TestResult, wait_until};

use crate::site::{LONG, Site, messages};

#[test]
fn stop_waits_for_the_end() -> TestResult {
    let mut site = Site::new()?;
    site.job("a", "style = slow\n")?;
    site.succeed("m.ini start -a")?;
    let slow = site.daemon("a").wait_alive(LONG)?;
    let mut stop = site.spawn("m.ini stop -a")?;
    site.daemon("b").wait_gone(LONG)?;
    assert_eq!(site.daemon("a").pid(), Some(slow));
    assert!(stop.ended()?.is_none(), "it waits");
    site.write("conf/may_end", "")?;
    assert_eq!(stop.wait(LONG)?.code(), Some(0));
    assert!(!site.path("conf/a.pid").exists());
    assert!(site.read("m.log").contains("INFO job a has stopped"));
    let said = site.succeed("m.ini stop a")?.stderr;
    assert_eq!(messages(&said), ["WARNING job a is not running"]);
    Ok(())
}

#[test]
fn a_job_that_runs_on_is_code_1() -> TestResult {
    let mut site = Site::new()?;
    site.job("a", "style = stubborn\n")?;
    site.succeed("m.ini start -a")?;
    let pid = site.daemon("a").wait_alive(LONG)?;
    let said = site.fail("m.ini stop -a --timeout 0.3")?;
    assert!(
        said.contains(&format!("ERROR job a still runs, process {pid}")),
        "{said}"
    );
    assert_eq!(
        site.status()?.0,
        " OK       [worker] a\n STOPPED  [worker] b\n"
    );
    // Nobody waits.
    site.succeed("m.ini stop a --timeout 0")?;
    let said = site.succeed("m.ini stop a --timeout 0.3 --force")?.stderr;
    assert!(
        said.contains("WARNING job a still runs, sending SIGTERM"),
        "{said}"
    );
    assert!(!said.contains("SIGKILL"), "{said}");
    assert_eq!(site.daemon("a").pid(), None);
    Ok(())
}

#[test]
fn force_ends_a_job_that_nothing_else_ends() -> TestResult {
    let mut site = Site::new()?;
    site.job("a", "style = immortal\n")?;
    site.succeed("m.ini start a")?;
    let said = site.succeed("m.ini stop a --timeout 0.1 --force")?.stderr;
    assert!(
        said.contains("WARNING job a still runs, sending SIGKILL"),
        "{said}"
    );
    assert_eq!(site.daemon("a").pid(), None);
    Ok(())
}

#[test]
fn restart_starts_those_that_have_ended_and_reports_the_others() -> TestResult {
    let mut site = Site::new()?;
    site.job("a", "style = stubborn\n")?;
    site.job("c", "")?;
    site.succeed("m.ini start a b")?;
    let stubborn = site.daemon("a").wait_alive(LONG)?;
    let before = site.daemon("b").wait_alive(LONG)?;
    let said = site.fail("m.ini restart -a --timeout 1")?;
    assert!(said.contains("ERROR job a still runs"), "{said}");
    assert_eq!(site.daemon("a").pid(), Some(stubborn));
    assert_ne!(site.daemon("b").pid(), Some(before));
    assert_eq!(
        site.status()?.0,
        " OK       [worker] a\n OK       [worker] b\n OK       [worker] c\n"
    );
    Ok(())
}

#[test]
fn restart_waits_for_a_slow_job_and_then_starts_it() -> TestResult {
    let mut site = Site::new()?;
    site.job("a", "style = slow\n")?;
    site.succeed("m.ini start a")?;
    let before = site.daemon("a").wait_alive(LONG)?;
    let mut restart = site.spawn("m.ini restart a -w --set stop_timeout=0")?;
    wait_until("the stop", LONG, || {
        Ok(site.read("m.log").contains("stopping job a"))
    })?;
    site.write("conf/may_end", "")?;
    assert_eq!(restart.wait(LONG)?.code(), Some(0));
    let after = site.daemon("a").wait_alive(LONG)?;
    assert_ne!(before, after);
    Ok(())
}

#[test]
fn an_interrupt_ends_the_wait_and_says_what_was_not_done() -> TestResult {
    let mut site = Site::new()?;
    site.job("a", "style = stubborn\n")?;
    site.succeed("m.ini start -a")?;
    let mut restart = site.spawn("m.ini restart -a -w")?;
    wait_until("the end of b", LONG, || {
        Ok(site.read("m.log").contains("job b has stopped"))
    })?;
    restart.signal(Signal::INT)?;
    assert_eq!(restart.wait(LONG)?.code(), Some(1));
    let log = site.read("m.log");
    assert!(log.contains("ERROR job a still runs"), "{log}");
    assert!(
        log.contains("ERROR interrupted, job b was not started"),
        "{log}"
    );
    Ok(())
}

#[test]
fn reload_sends_sighup() -> TestResult {
    let site = Site::new()?;
    site.succeed("m.ini start a")?;
    let said = site.succeed("m.ini reload -a")?.stderr;
    assert_eq!(
        messages(&said),
        ["INFO reloading job a", "WARNING job b is not running"]
    );
    wait_until("the reload", LONG, || {
        Ok(site.read("conf/reloads") == "reloaded\n")
    })?;
    assert_eq!(
        site.status()?.0,
        " OK       [worker] a\n STOPPED  [worker] b\n"
    );
    Ok(())
}

#[test]
fn a_disabled_job_is_stopped_when_it_is_named() -> TestResult {
    let mut site = Site::new()?;
    site.succeed("m.ini start a b")?;
    site.job("a", "disabled = on\n")?;
    let said = site.succeed("m.ini stop -a")?.stderr;
    assert!(said.contains("INFO job a is disabled"), "{said}");
    assert_eq!(
        site.status()?.0,
        " OK       [worker] a  (disabled)\n STOPPED  [worker] b\n"
    );
    site.succeed("m.ini restart a")?;
    assert_eq!(
        site.run("m.ini status a")?.stdout,
        " OK       [worker] a  (disabled)\n"
    );
    site.succeed("m.ini stop a")?;
    assert_eq!(
        site.run("m.ini status a")?.stdout,
        " STOPPED  [worker] a  (disabled)\n"
    );
    Ok(())
}
