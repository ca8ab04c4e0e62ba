//! What `status` and `info` show.

use serde_json::Value;
use testkit::TestResult;

use crate::site::{LONG, Site};

#[test]
fn every_job_has_a_line_and_a_stopped_one_is_code_1() -> TestResult {
    let mut site = Site::new()?;
    site.job("c", "disabled = yes\n")?;
    site.write("conf/d.ini", "[worker]\njob_name = d\n")?;
    site.succeed("m.ini start a")?;
    let (text, code) = site.status()?;
    assert_eq!(
        text,
        " OK       [worker] a\n STOPPED  [worker] b\n STOPPED  [worker] c  (disabled)\n pidfile? [worker] d\n"
    );
    assert_eq!(code, Some(1));
    site.succeed("m.ini start b")?;
    assert_eq!(site.status()?.1, Some(0));
    assert_eq!(site.run("m.ini status c")?.status.code(), Some(0));
    assert_eq!(
        site.succeed("m.ini status b a")?.stdout,
        " OK       [worker] b\n OK       [worker] a\n"
    );
    assert_eq!(
        site.succeed("m.ini -t worker status")?
            .stdout
            .lines()
            .count(),
        4
    );
    Ok(())
}

#[test]
fn json_holds_the_same_and_more() -> TestResult {
    let site = Site::new()?;
    site.succeed("m.ini start a")?;
    let pid = site.daemon("a").wait_alive(LONG)?.as_raw_pid();
    let output = site.run("m.ini status --json")?;
    let status: Value = serde_json::from_str(&output.stdout)?;
    assert_eq!(output.status.code(), Some(1));
    let jobs = status["jobs"].as_array().expect("a list");
    assert_eq!(jobs[0]["job_name"], "a");
    assert_eq!(jobs[0]["service"], "worker");
    assert_eq!(jobs[0]["state"], "running");
    assert_eq!(jobs[0]["pid"], pid);
    assert_eq!(jobs[0]["disabled"], false);
    assert_eq!(
        jobs[0]["config"],
        site.path("conf/a.ini").to_str().expect("text")
    );
    assert_eq!(
        jobs[0]["pidfile"],
        site.path("conf/a.pid").to_str().expect("text")
    );
    assert_eq!(jobs[1]["state"], "stopped");
    assert_eq!(jobs[1]["pid"], Value::Null);
    assert_eq!(status["problems"], Value::Array(Vec::new()));
    Ok(())
}

#[test]
fn info_shows_how_a_job_is_run() -> TestResult {
    let site = Site::new()?;
    let text = site.succeed("m.ini info a")?.stdout;
    let conf = site.path("conf");
    assert_eq!(
        text,
        format!(
            "[worker] a\n  disabled  false\n  config    {conf}/a.ini\n  pidfile   {conf}/a.pid\n  \
             cwd       {conf}\n  script    ../worker.sh\n",
            conf = conf.display()
        )
    );
    let info: Value = serde_json::from_str(&site.succeed("m.ini info --json")?.stdout)?;
    assert_eq!(info[1]["job_name"], "b");
    Ok(())
}

#[test]
fn a_pidfile_that_makes_no_sense_is_neither_running_nor_stopped() -> TestResult {
    let site = Site::new()?;
    site.write("conf/a.pid", "what?\n")?;
    site.write("conf/b.pid", "")?;
    let output = site.run("m.ini status")?;
    assert_eq!(
        output.stdout,
        " unknown  [worker] a\n STOPPED  [worker] b\n"
    );
    assert!(
        output.stderr.contains("Corrupt pidfile"),
        "{}",
        output.stderr
    );
    assert_eq!(output.status.code(), Some(1));
    for command in ["start a", "stop a", "reload a", "restart a"] {
        let said = site.fail(&format!("m.ini {command}"))?;
        assert!(
            said.contains("cannot tell whether job a runs: Corrupt pidfile"),
            "{said}"
        );
    }
    Ok(())
}
