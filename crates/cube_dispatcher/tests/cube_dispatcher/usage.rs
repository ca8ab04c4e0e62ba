//! Options and configuration.

use std::time::Duration;

use testkit::{Job, Program, TestResult, tick, wait_until};

use crate::{put, rows, site};

/// Longest wait for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_wrong_command_line_or_configuration_says_what_is_wrong() -> TestResult {
    let dir = tempfile::tempdir()?;
    let run = |line: &str| {
        Program::new("cube_dispatcher", dir.path())
            .args(line.split_whitespace())
            .output()
    };
    let help = run("--help")?;
    assert!(
        help.stdout
            .starts_with("Keep the rows of many tables in copies of them, one for each period\n"),
        "{}",
        help.stdout
    );
    let needed = "queue_name = q\nsrc_db = dbname=a\ndst_db = dbname=b\n";
    for (lines, why) in [
        ("", "Config value not set: pgq_queue_name"),
        ("queue_name = q\n", "Config value not set: src_db"),
        (&*format!("{needed}mode = keep_some\n"), "keep_some"),
        (&*format!("{needed}keep_all_delete = maybe\n"), "maybe"),
        (&*format!("{needed}drift = sideways\n"), "sideways"),
        (&*format!("{needed}bad_event = panic\n"), "panic"),
        (&*format!("{needed}encoding_errors = panic\n"), "panic"),
        (&*format!("{needed}part_style = round\n"), "round"),
        (
            &*format!("{needed}part_style = declarative\n"),
            "needs part_time_column",
        ),
    ] {
        std::fs::write(
            dir.path().join("x.ini"),
            format!("[cube_dispatcher]\n{lines}"),
        )?;
        let output = run("x.ini")?;
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        assert!(output.stderr.contains(why), "{lines}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn a_daemon_applies_reloads_and_stops() -> TestResult {
    let site = site()?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute("create table t (id int primary key)")?;
    site.drain("mover")?;
    let job = Job::new(site.path("mover.pid"));
    site.program("mover.ini -d").succeed()?;
    job.wait_alive(PATIENCE)?;
    put(&mut src, "I:id", "id=1", "t")?;
    tick(&mut src, "from")?;
    let mut arrive = |table: &str, n: usize| {
        wait_until("the rows to arrive", PATIENCE, || {
            let is_there = dst.query("select from pg_tables where tablename = $1", &[&table])?;
            Ok(!is_there.is_empty() && rows(&mut dst, table)?.len() == n)
        })
    };
    arrive("t_kept", 1)?;
    site.refused(
        "mover.ini --set pidfile= --set logfile=",
        "is run by another process",
    )?;
    site.write("mover", "mode = nothing")?;
    site.program("mover.ini -r --set mode=keep_all").succeed()?;
    wait_until("the refusal", PATIENCE, || {
        Ok(site.log("mover").contains("the old one stays"))
    })?;
    put(&mut src, "I:id", "id=2", "t")?;
    tick(&mut src, "from")?;
    arrive("t_kept", 2)?;
    site.write("mover", "dateformat = \"anew\"\nmode = keep_all")?;
    site.program("mover.ini -r").succeed()?;
    wait_until("the reload", PATIENCE, || {
        Ok(site.log("mover").contains("Config reloaded"))
    })?;
    for _ in 0..2 {
        put(&mut src, "I:id", "id=3", "t")?;
    }
    tick(&mut src, "from")?;
    arrive("t_anew", 2)?;
    site.program("mover.ini -s").succeed()?;
    job.wait_gone(PATIENCE)?;
    Ok(())
}
