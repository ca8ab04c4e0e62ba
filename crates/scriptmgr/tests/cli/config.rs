//! The command line, the configuration, and finding jobs.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use testkit::TestResult;

use crate::site::{Site, messages};

#[test]
fn what_cannot_be_done_is_said_and_code_1() -> TestResult {
    let site = Site::new()?;
    for (line, expected) in [
        ("m.ini", "need command"),
        ("m.ini dance", "unknown command 'dance'"),
        (
            "m.ini start",
            "need job names, -a for all jobs, or -t SERVICE",
        ),
        ("m.ini stop", "need job names"),
        ("m.ini restart", "need job names"),
        ("m.ini reload", "need job names"),
        ("m.ini start nobody", "ERROR unknown job: nobody"),
        ("m.ini stop nobody", "ERROR unknown job: nobody"),
        ("m.ini reload nobody", "ERROR unknown job: nobody"),
        ("m.ini restart nobody", "ERROR unknown job: nobody"),
        ("m.ini status nobody", "ERROR unknown job: nobody"),
        ("m.ini stop -t nothing", "ERROR unknown service: nothing"),
        ("nowhere.ini status", "Config file not found: nowhere.ini"),
    ] {
        let said = site.fail(line)?;
        assert!(said.contains(expected), "{line}: {said}");
    }
    assert_eq!(
        site.run("m.ini stop a --timeout soon")?.status.code(),
        Some(2)
    );
    site.write("empty.ini", "[scriptmgr]\n")?;
    let said = site.fail("empty.ini status")?;
    assert_eq!(said, "Config value not set: config_list\n");
    Ok(())
}

#[test]
fn the_known_of_several_names_are_seen_to() -> TestResult {
    let site = Site::new()?;
    let said = site.fail("m.ini start nobody a a")?;
    assert!(said.contains("unknown job: nobody"), "{said}");
    assert_eq!(
        site.status()?.0,
        " OK       [worker] a\n STOPPED  [worker] b\n"
    );
    assert_eq!(site.read("conf/arguments").lines().count(), 1);
    Ok(())
}

#[test]
fn a_broken_file_spoils_only_its_own_job() -> TestResult {
    let site = Site::new()?;
    for (name, text, expected) in [
        (
            "line",
            "[worker]\nno setting\n",
            "line.ini\n  line 2: expected",
        ),
        (
            "value",
            "[worker]\npidfile = %(nothing)s\n",
            "value.ini: [worker] pidfile: unknown variable",
        ),
        (
            "bool",
            "[worker]\njob_name = x\ndisabled = perhaps\n",
            "Not a boolean: perhaps",
        ),
        ("bytes", "[worker]\n", "bytes.ini: line 1: expected UTF-8"),
    ] {
        let file = format!("conf/{name}.ini");
        site.write(&file, text)?;
        if name == "bytes" {
            fs::write(site.path(&file), b"[w\xff]\n")?;
        }
        for command in ["start a", "stop a", "status a"] {
            let said = site.fail(&format!("m.ini {command}"))?;
            assert!(said.contains(expected), "{said}");
        }
        let status = site.run("m.ini status --json")?.stdout;
        assert!(status.contains(&format!("conf/{name}.ini\"")), "{status}");
        fs::remove_file(site.path(&file))?;
    }
    assert!(site.read("conf/arguments").contains("a.ini"));
    site.succeed("m.ini start a b")?;
    Ok(())
}

#[test]
fn a_broken_service_spoils_only_its_own_jobs() -> TestResult {
    let site = Site::new()?;
    site.write("conf/c.ini", "[other]\njob_name = c\npidfile = c.pid\n")?;
    let with = |other: &str| {
        site.manager(&format!(
            "[worker]\nscript = ../worker.sh\n[other]\n{other}\n"
        ))
    };
    for (other, expected) in [
        ("args = -x", "service [other]: Config value not set: script"),
        ("script = x\ndisabled = maybe", "Not a boolean: maybe"),
        ("script = %(x)s", "unknown variable %(x)s"),
    ] {
        with(other)?;
        let said = site.fail("m.ini start a")?;
        assert!(said.contains(expected), "{said}");
        let status = site.run("m.ini status")?;
        assert_eq!(
            status.stdout,
            " OK       [worker] a\n STOPPED  [worker] b\n"
        );
    }
    with("disabled = 1")?;
    assert!(
        site.status()?
            .0
            .contains(" STOPPED  [other] c  (disabled)\n")
    );
    with("script = x\nscirpt = y")?;
    let said = site.run("m.ini status")?.stderr;
    assert!(
        said.contains("unknown key 'scirpt' in section [other], nearest is 'script'"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_service_without_a_directory_is_broken() -> TestResult {
    let site = Site::new()?;
    site.write(
        "m.ini",
        "[scriptmgr]\nconfig_list = conf/*.ini\n[worker]\nscript = x\n",
    )?;
    let said = site.fail("m.ini status")?;
    assert!(
        said.contains("service [worker]: Config value not set: cwd"),
        "{said}"
    );
    Ok(())
}

#[test]
fn jobs_are_found_once_by_patterns_and_in_order() -> TestResult {
    let site = Site::new()?;
    fs::create_dir(site.path("more"))?;
    symlink(site.path("conf/a.ini"), site.path("more/link.ini"))?;
    fs::create_dir(site.path("more/directory.ini"))?;
    site.write("more/z.ini", "[another]\n\n[worker]\njob_name = z\n")?;
    site.write(
        "more/m.ini",
        "[scriptmgr]\nconfig_list = x\n[worker]\njob_name = no\n",
    )?;
    site.write("more/none.ini", "[nothing]\n")?;
    site.write(
        "more/t.toml",
        "[worker]\njob_name = \"t\"\npidfile = \"t.pid\"\n",
    )?;
    site.write(
        "m.ini",
        &format!(
            "[scriptmgr]\nconfig_list = $NO_SUCH_VARIABLE/*, nothing/*.ini, absent.ini,\n {}/more/*,\n conf/*.ini\n\
             [DEFAULT]\ncwd = conf\nscript = x\n[worker]\n[another]\n",
            site.dir().display()
        ),
    )?;
    let output = site.run("m.ini status")?;
    assert_eq!(
        output.stdout,
        " pidfile? [another] another\n STOPPED  [worker] a\n STOPPED  [worker] b\n STOPPED  [worker] t\n pidfile? [worker] z\n"
    );
    let none = format!(
        "WARNING {}: no section of a known service",
        site.path("more/none.ini").display()
    );
    assert_eq!(
        messages(&output.stderr),
        ["WARNING there is no file absent.ini", &none]
    );
    Ok(())
}

#[test]
fn what_is_no_file_is_not_read() -> TestResult {
    let site = Site::new()?;
    let pipe = site.path("conf/pipe.ini");
    assert!(Command::new("mkfifo").arg(&pipe).status()?.success());
    symlink("/nowhere", site.path("conf/dangling.ini"))?;
    let said = site.fail("m.ini status")?;
    assert!(said.contains("pipe.ini: is no file"), "{said}");
    assert_eq!(site.status()?.0.lines().count(), 2);
    Ok(())
}

#[test]
fn two_jobs_of_one_name_are_an_error_and_both_are_shown() -> TestResult {
    let mut site = Site::new()?;
    site.job("c", "job_name = a\n")?;
    let said = site.fail("m.ini start a")?;
    let (first, second) = (site.path("conf/a.ini"), site.path("conf/c.ini"));
    let both = format!("{} and {}", first.display(), second.display());
    assert!(said.contains(&both), "{said}");
    assert_eq!(
        site.status()?.0,
        " STOPPED  [worker] a\n OK       [worker] a\n STOPPED  [worker] b\n"
    );
    Ok(())
}

#[test]
fn a_manager_with_a_pidfile_does_one_thing_at_a_time() -> TestResult {
    let mut site = Site::new()?;
    site.job("a", "style = slow\n")?;
    let text = site
        .read("m.ini")
        .replace("logfile = m.log", "logfile = m.log\npidfile = m.pid");
    site.write("m.ini", &text)?;
    site.succeed("m.ini start a")?;
    let mut stop = site.spawn("m.ini stop a")?;
    testkit::wait_until("the stop", crate::site::LONG, || {
        Ok(site.read("m.log").contains("stopping job a"))
    })?;
    let said = site.fail("m.ini start b")?;
    assert_eq!(said, "Pidfile exists, another process running?\n");
    // Looking is always possible.
    assert_eq!(
        site.status()?.0,
        " OK       [worker] a\n STOPPED  [worker] b\n"
    );
    site.write("conf/may_end", "")?;
    assert_eq!(stop.wait(crate::site::LONG)?.code(), Some(0));
    Ok(())
}
