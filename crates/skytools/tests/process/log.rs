//! Log files: layout, rotation by several processes, reopening.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{Dir, SOON, messages};
use rustix::process::Signal;
use testkit::TestResult;

/// Records of both writers that a file and its predecessors hold, in no order.
fn records(dir: &Dir, files: u32) -> Vec<String> {
    let mut text = dir.read("job.log");
    for number in 1..=files {
        text += &dir.read(&format!("job.log.{number}"));
    }
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_record_has_time_pid_level_and_message() -> TestResult {
    let dir = Dir::new("")?;
    let output = dir.job(&["job.ini", "chatter", "1"]).succeed()?;
    let log = dir.read("job.log");
    assert_eq!(log, output.stderr);
    let fields: Vec<&str> = log.trim_end().splitn(5, ' ').collect();
    let shape = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_ascii_digit() { '9' } else { c })
            .collect()
    };
    assert_eq!(shape(fields[0]), "9999-99-99");
    assert_eq!(shape(fields[1]), "99:99:99,999");
    assert!(fields[2].parse::<u32>().is_ok(), "{log}");
    assert_eq!(fields[3], "INFO");
    assert_eq!(fields[4], "chatter record=0");
    Ok(())
}

#[test]
fn the_time_is_local() -> TestResult {
    let dir = Dir::new("logdatefmt_file = %%z\nlogfmt_console = %%(message)s")?;
    for (zone, offset) in [("UTC", "+0000"), ("Asia/Kolkata", "+0530")] {
        let output = dir
            .job(&["job.ini", "chatter", "1"])
            .env("TZ", zone)
            .succeed()?;
        assert_eq!(output.stderr, "chatter record=0\n");
        let log = dir.read("job.log");
        let last = log.lines().last().unwrap_or_default();
        assert!(last.starts_with(offset), "{zone}: {log}");
    }
    Ok(())
}

#[test]
fn fields_follow_the_message_and_fixed_texts_have_none() -> TestResult {
    let dir = Dir::new("")?;
    let output = dir.run(&["job.ini", "compare", "-v"])?;
    assert_eq!(
        messages(&output.stderr),
        [
            "Comparing",
            "rows differ rows=3 note=\"two words\" table=public.users",
            "done table=public.users",
        ]
    );
    Ok(())
}

#[test]
fn quiet_and_verbose_set_the_level() -> TestResult {
    let dir = Dir::new("unheard = of")?;
    let lines = |args: &[&str]| -> TestResult<usize> {
        Ok(dir.job(args).succeed()?.stderr.lines().count())
    };
    assert_eq!(lines(&["job.ini", "chatter", "3"])?, 4);
    assert_eq!(lines(&["job.ini", "chatter", "3", "-q"])?, 1);
    assert_eq!(lines(&["job.ini", "chatter", "3", "-qv"])?, 4);
    Ok(())
}

#[test]
fn old_files_are_numbered_and_the_oldest_goes() -> TestResult {
    let dir = Dir::new("log_size = 1000\nlog_count = 2")?;
    dir.job(&["job.ini", "chatter", "100"]).succeed()?;
    assert!(!dir.exists("job.log.3"));
    let young = records(&dir, 0);
    assert!(young.last().is_some_and(|line| line.ends_with("record=99")));
    for name in ["job.log", "job.log.1", "job.log.2"] {
        assert!(fs::metadata(dir.path(name))?.len() < 1000, "{name}");
    }
    // One after the other, and nothing missing between them.
    let text = dir.read("job.log.2") + &dir.read("job.log.1") + &dir.read("job.log");
    let first = 100 - text.lines().count();
    for (line, number) in text.lines().zip(first..) {
        assert!(line.ends_with(&format!("record={number}")), "{line}");
    }
    Ok(())
}

#[test]
fn a_file_is_rotated_before_the_record_that_would_bring_it_to_its_size() -> TestResult {
    for (size, old, new) in [(34, 17, 17), (35, 0, 34)] {
        // Records of 17 bytes.
        let dir = Dir::new(&format!("log_size = {size}\nlogfmt_file = %%(message)s"))?;
        dir.job(&["job.ini", "chatter", "2"]).succeed()?;
        let lengths = ["job.log.1", "job.log"].map(|name| dir.read(name).len());
        assert_eq!(lengths, [old, new], "log_size = {size}");
    }
    Ok(())
}

#[test]
fn nothing_is_kept_or_rotated_when_the_keys_say_so() -> TestResult {
    let dir = Dir::new("log_size = 1000\nlog_count = 0")?;
    dir.job(&["job.ini", "chatter", "100"]).succeed()?;
    assert!(!dir.exists("job.log.1"));
    assert!(fs::metadata(dir.path("job.log"))?.len() < 1000);

    let dir = Dir::new("log_size = 0")?;
    dir.job(&["job.ini", "chatter", "100"]).succeed()?;
    assert!(!dir.exists("job.log.1"));
    assert_eq!(records(&dir, 0).len(), 100);
    Ok(())
}

#[test]
fn two_processes_rotate_one_file_without_losing_a_record() -> TestResult {
    let dir = Dir::new("log_size = 20k\nlog_count = 200")?;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| dir.job(&["job.ini", "chatter", "10000"]).succeed()))
            .collect();
        for writer in writers {
            writer.join().expect("no panic")?;
        }
        TestResult::Ok(())
    })?;
    assert!(
        dir.exists("job.log.20"),
        "too few rotations to prove anything"
    );
    assert!(!dir.exists("job.log.200"), "the oldest records are gone");
    let records = records(&dir, 200);
    assert_eq!(records.len(), 20_000);
    // Pid and record number: whole lines, each once.
    let distinct: BTreeSet<(&str, &str)> = records
        .iter()
        .filter_map(|line| Some((line.split(' ').nth(2)?, line.rsplit_once("record=")?.1)))
        .collect();
    assert_eq!(distinct.len(), 20_000);
    Ok(())
}

#[test]
fn a_reload_opens_the_file_again_and_takes_another_name() -> TestResult {
    let dir = Dir::new("")?;
    dir.configure("loop_delay = 3600")?;
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    dir.wait_for_log("{rounds: 1}")?;
    fs::rename(dir.path("job.log"), dir.path("moved"))?;
    job.signal(Signal::HUP)?;
    dir.wait_for_log("Config reloaded")?;

    dir.write("job.ini", "[job]\nlogfile = other.log\nloop_delay = 3600\n")?;
    job.signal(Signal::HUP)?;
    dir.wait_for_text("other.log", "Config reloaded")?;
    job.signal(Signal::INT)?;
    assert_eq!(job.wait(SOON)?.code(), Some(0));
    assert!(!dir.read("moved").contains("reloaded"));
    Ok(())
}

#[test]
fn a_closed_terminal_and_a_full_disk_do_not_disturb_the_job() -> TestResult {
    let dir = Dir::new("")?;
    // Every write to /dev/full fails as on a full disk.
    let status = std::process::Command::new(testkit::bin("examples/job"))
        .args(["job.ini", "count", "--once", "--set", "logfile=/dev/full"])
        .current_dir(dir.path("."))
        .stderr(fs::OpenOptions::new().write(true).open("/dev/full")?)
        .status()?;
    assert_eq!(status.code(), Some(0));
    assert_eq!(dir.rounds(), 1);
    Ok(())
}
