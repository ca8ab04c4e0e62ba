//! Options, and configurations that cannot work.

use std::time::Duration;

use testkit::{Program, TestResult, wait_until};

use crate::{put, rows, site};

/// Longest wait for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_wrong_command_line_or_configuration_says_what_is_wrong() -> TestResult {
    let dir = tempfile::tempdir()?;
    let run = |line: &str| {
        Program::new("table_dispatcher", dir.path())
            .args(line.split_whitespace())
            .output()
    };
    let help = run("--help")?;
    assert!(
        help.stdout
            .starts_with("Append the rows of a queue to a table\n"),
        "{}",
        help.stdout
    );
    assert!(help.stdout.contains("--dry-run"));
    let databases = "queue_name = q\nsrc_db = dbname=a\ndst_db = dbname=b password=secret\n";
    for (text, why) in [
        (
            "[queue_mover]\n".to_owned(),
            "no section 'table_dispatcher'",
        ),
        (
            "[table_dispatcher]\n".to_owned(),
            "Config value not set: pgq_queue_name",
        ),
        (
            format!("[table_dispatcher]\n{databases}"),
            "Config value not set: dest_table",
        ),
        (
            format!("[table_dispatcher]\n{databases}dest_table = t\npart_strict = soon\n"),
            "Not a boolean: soon",
        ),
        (
            format!("[table_dispatcher]\n{databases}dest_table =\n"),
            "x.ini: [table_dispatcher] Config value not set: dest_table",
        ),
        (
            format!("[table_dispatcher]\n{databases}dest_table = t\nbad_event = ignore\n"),
            "expected one of fail, skip, quarantine, found ignore",
        ),
    ] {
        std::fs::write(dir.path().join("x.ini"), &text)?;
        let output = run("x.ini")?;
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        assert!(output.stderr.contains(why), "{text}: {}", output.stderr);
        assert!(!output.stderr.contains("secret"), "{}", output.stderr);
    }
    Ok(())
}

/// Values that a server has to look at, and what is said of them.
const WRONG: [(&str, &str); 4] = [
    ("source_encoding = klingon", "klingon"),
    ("retention_period = soon", "retention_period: "),
    ("retention_period = -1 day", "it has to be more than 0"),
    (
        "bad_event = quarantine\nquarantine_table = nowhere",
        "dst_db has no table public.nowhere",
    ),
];

#[test]
fn a_value_that_the_server_refuses_ends_the_start_and_no_running_job() -> TestResult {
    let (site, mut src, mut dst) = site("dest_table = t", "create table t (id int)")?;
    for (line, why) in WRONG {
        site.write("wrong", line)?;
        let output = site.program("wrong.ini").output()?;
        assert_eq!(output.status.code(), Some(1), "{line}: {}", output.stderr);
        assert!(output.stderr.contains(why), "{line}: {}", output.stderr);
    }
    let mut running = site.program("mover.ini").spawn()?;
    wait_until("the job to run", PATIENCE, || {
        Ok(site.path("mover.pid").exists())
    })?;
    for (n, (line, why)) in WRONG.into_iter().enumerate() {
        site.write("mover", line)?;
        site.program("mover.ini -r").succeed()?;
        wait_until("the job to say so", PATIENCE, || {
            let log = site.log("mover");
            let mut lines = log
                .lines()
                .filter(|line| line.contains("the old one stays"));
            Ok(lines.nth(n).is_some_and(|line| line.contains(why)))
        })?;
        put(&mut src, &[&format!("id={n}")])?;
        wait_until("the row to arrive", PATIENCE, || {
            Ok(rows(&mut dst, "t")?.len() == n + 1)
        })?;
    }
    site.write("mover", "bad_event = skip\nfields = other")?;
    site.program("mover.ini -r").succeed()?;
    wait_until("the config to be reloaded", PATIENCE, || {
        Ok(site.log("mover").contains("Config reloaded"))
    })?;
    put(&mut src, &["id=9"])?;
    wait_until("the event to be skipped", PATIENCE, || {
        Ok(site.log("mover").contains("is skipped: column other"))
    })?;
    site.program("mover.ini -s").succeed()?;
    assert!(running.wait(PATIENCE)?.success());
    Ok(())
}
