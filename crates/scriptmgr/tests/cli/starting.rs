//! `start`, with jobs that come to life and jobs that do not.

use testkit::TestResult;

use crate::site::{LONG, Site, messages};

#[test]
fn jobs_are_started_in_their_directory_with_their_arguments() -> TestResult {
    let mut site = Site::new()?;
    site.manager("[worker]\nscript = ../worker.sh\nargs = one 'two  words' $(echo three)\n")?;
    site.job("with space", "")?;
    let said = site.succeed("m.ini start -a")?.stderr;
    assert!(said.contains("INFO job with space runs"), "{said}");
    let conf = site.path("conf");
    let conf = conf.display();
    assert_eq!(
        site.read("conf/arguments"),
        format!(
            "{conf}/a.ini one two  words three -d\n{conf}/b.ini one two  words three -d\n\
             {conf}/with space.ini one two  words three -d\n"
        )
    );
    assert_eq!(site.status()?.1, Some(0));
    Ok(())
}

#[test]
fn a_job_that_runs_is_left_alone() -> TestResult {
    let site = Site::new()?;
    site.succeed("m.ini start a")?;
    let pid = site.daemon("a").wait_alive(LONG)?;
    let said = site.succeed("m.ini start a")?.stderr;
    assert_eq!(messages(&said), ["WARNING job a seems running"]);
    assert_eq!(site.daemon("a").pid(), Some(pid));
    Ok(())
}

#[test]
fn a_job_without_pidfile_and_a_disabled_one_are_not_started() -> TestResult {
    let mut site = Site::new()?;
    site.write("conf/a.ini", "[worker]\njob_name = a\n")?;
    site.job("b", "disabled = TRUE\n")?;
    let said = site.succeed("m.ini start -a")?.stderr;
    assert_eq!(
        messages(&said),
        [
            "WARNING job a has no pidfile, it is not started",
            "INFO job b is disabled"
        ]
    );
    assert_eq!(site.read("conf/arguments"), "");
    Ok(())
}

#[test]
fn a_job_that_does_not_come_to_life_is_code_1_and_the_others_run() -> TestResult {
    for (style, expected) in [
        ("refuses", "ERROR cannot start job a: exit status: 7"),
        ("dies", "WARNING job a was started, but "),
        ("brief", "ERROR job a ended right after its start"),
        (
            "foreground",
            "ERROR cannot start job a: it has not gone to the background in 1 s",
        ),
    ] {
        let mut site = Site::new()?;
        site.job("a", &format!("style = {style}\nlogfile = a.log\n"))?;
        let set = "--set start_timeout=1 --set launch_timeout=1";
        let said = site.fail(&format!("m.ini start b a {set}"))?;
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("conf/a.log\n"), "{said}");
        assert!(said.contains("INFO job b runs"), "{said}");
        assert_eq!(
            site.status()?.0,
            " STOPPED  [worker] a\n OK       [worker] b\n"
        );
    }
    Ok(())
}

#[test]
fn a_script_or_directory_that_is_not_there_is_named() -> TestResult {
    let site = Site::new()?;
    site.manager("[worker]\nscript = /nowhere/worker\n")?;
    let said = site.fail("m.ini start a")?;
    assert!(said.contains("/nowhere/worker"), "{said}");
    site.manager("[worker]\nscript = ../worker.sh\ncwd = /nowhere\n")?;
    let said = site.fail("m.ini start a")?;
    assert!(said.contains("cwd /nowhere is no directory"), "{said}");
    Ok(())
}

#[test]
fn a_stale_pidfile_blocks_no_start() -> TestResult {
    let site = Site::new()?;
    site.succeed("m.ini start a")?;
    site.daemon("a").kill()?;
    assert_ne!(site.read("conf/a.pid"), "");
    assert_eq!(
        site.status()?.0,
        " STOPPED  [worker] a\n STOPPED  [worker] b\n"
    );
    site.succeed("m.ini start a")?;
    assert_eq!(
        site.status()?.0,
        " OK       [worker] a\n STOPPED  [worker] b\n"
    );
    Ok(())
}
