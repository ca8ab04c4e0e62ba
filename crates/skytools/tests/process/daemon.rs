//! The life of a job: pidfiles, signals, reload, the background, on the example program `job`.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::support::{Dir, SOON, messages, pid_in};
use rustix::process::Signal;
use testkit::{Owner, TestResult, bin, wait_until};

#[test]
fn signals_to_nobody_only_warn() -> TestResult {
    let dir = Dir::new("")?;
    let signal = |args: &[&str]| -> TestResult<Vec<String>> {
        let output = dir.run(args)?;
        assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
        Ok(messages(&output.stderr))
    };
    for flag in ["-s", "-k", "-r", "--stop", "--kill", "--reload"] {
        assert_eq!(
            signal(&[flag, "job.ini"])?,
            ["No pidfile, process not running"]
        );
    }
    let no_pidfile = ["No pidfile in config, nothing todo"];
    assert_eq!(signal(&["-s", "job.ini", "--set", "pidfile="])?, no_pidfile);

    // An id beyond any that Linux gives out.
    for (text, warning) in [
        ("999999999", "pidfile exist, but process not running"),
        ("", "pidfile exist, but process not running"),
        ("garbage", "Corrupt pidfile: job.pid"),
        ("-1", "Corrupt pidfile: job.pid"),
        ("0", "Corrupt pidfile: job.pid"),
    ] {
        dir.write("job.pid", text)?;
        assert_eq!(signal(&["-s", "job.ini"])?, [warning], "{text:?}");
        assert_eq!(dir.read("job.pid"), text);
    }
    Ok(())
}

#[test]
fn a_daemon_that_is_only_starting_gets_its_signal() -> TestResult {
    let dir = Dir::new("")?;
    // Nothing is between the two, as in a script.
    for flag in ["-s", "-k", "-s", "-k", "-s", "-k"] {
        dir.job(&["-d", "job.ini", "count"]).succeed()?;
        let output = dir.job(&[flag, "job.ini"]).succeed()?;
        assert_eq!(output.stderr, "");
        let ended = wait_until("the daemon to end", SOON, || {
            Ok(fs::File::open(dir.path("job.pid.lock"))?.try_lock().is_ok())
        });
        if ended.is_err() {
            drop(dir.daemon_at("job.pid")?);
        }
        ended?;
    }
    Ok(())
}

#[test]
fn a_signal_needs_no_command_and_the_last_one_counts() -> TestResult {
    let dir = Dir::new("")?;
    for args in [
        &["-k", "-s", "job.ini"][..],
        &["-k", "job.ini", "count", "-s"],
        &["job.ini", "no-such-command", "at", "all", "-rs"],
        &["job.ini", "greet", "-s"],
    ] {
        let mut job = dir.job(&["job.ini", "count"]).spawn()?;
        dir.wait_for_rounds()?;
        dir.job(args).succeed()?;
        let status = job.wait(SOON)?;
        assert_eq!(status.code(), Some(0), "{args:?}: a stop, not a kill");
    }
    Ok(())
}

#[test]
fn sigint_lets_a_round_end() -> TestResult {
    let dir = Dir::new("round = 0.5")?;
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    dir.wait_for_log("round begins")?;
    job.signal(Signal::INT)?;
    assert_eq!(job.wait(SOON)?.code(), Some(0));
    assert_eq!(
        messages(&dir.read("job.log")),
        ["counting", "round begins", "round ends", "{rounds: 1}"]
    );
    assert_eq!(dir.rounds(), 1);
    assert!(!dir.exists("job.pid"));
    assert!(dir.exists("job.pid.lock"));
    Ok(())
}

#[test]
fn sigint_ends_the_pause_between_rounds_at_once() -> TestResult {
    let dir = Dir::new("")?;
    dir.configure("loop_delay = 3600")?;
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    dir.wait_for_log("{rounds: 1}")?;
    job.signal(Signal::INT)?;
    assert_eq!(job.wait(SOON)?.code(), Some(0));
    assert_eq!(dir.rounds(), 1);
    Ok(())
}

#[test]
fn a_job_finishes_at_an_orderly_end_only() -> TestResult {
    let dir = Dir::new("total = total\nfailure = failure\nexception_sleep = 60")?;
    let total = || dir.read("total").parse::<u64>().ok();
    for args in [
        &["job.ini", "count", "--once"][..],
        &["job.ini", "count", "--set", "loop_delay=0"],
    ] {
        dir.job(args).succeed()?;
        assert_eq!(total(), Some(1));
        fs::remove_file(dir.path("total"))?;
    }
    // A stop request; then one after a round that failed.
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    dir.wait_for_rounds()?;
    job.signal(Signal::INT)?;
    assert_eq!(job.wait(SOON)?.code(), Some(0));
    assert_eq!(total(), Some(dir.rounds()));
    fs::remove_file(dir.path("total"))?;
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    dir.write("failure", "no luck")?;
    dir.wait_for_log("connections dropped")?;
    job.signal(Signal::INT)?;
    assert_eq!(job.wait(SOON)?.code(), Some(0));
    assert_eq!(total(), None);
    // What fails then is in the log, and the job has ended as it was told to.
    fs::remove_file(dir.path("failure"))?;
    let output = dir.run(&["job.ini", "count", "--once", "--set", "total=nowhere/total"])?;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        messages(&output.stderr)[2],
        "Job job crashed: cannot write the counter: No such file or directory (os error 2)"
    );
    Ok(())
}

#[test]
fn a_failed_round_is_logged_and_tried_again_after_a_pause() -> TestResult {
    let dir = Dir::new("failure = failure\nexception_sleep = 0.05")?;
    dir.write("failure", "the server is gone")?;
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    dir.wait_for_log("connections dropped")?;
    assert_eq!(
        messages(&dir.read("job.log"))[..4],
        [
            "counting",
            "{rounds: 1}",
            "Job job crashed: cannot go on: the server is gone",
            "connections dropped"
        ]
    );
    assert!(dir.read("job.log").contains(" ERROR Job job crashed"));
    fs::remove_file(dir.path("failure"))?;
    dir.wait_for_rounds()?;

    // And the pause after an error ends at once, too.
    dir.configure("loop_delay = 0.01\nfailure = failure\nexception_sleep = 3600")?;
    job.signal(Signal::HUP)?;
    dir.wait_for_log("Config reloaded")?;
    dir.write("failure", "again")?;
    dir.wait_for_log("cannot go on: again")?;
    job.signal(Signal::INT)?;
    assert_eq!(job.wait(SOON)?.code(), Some(0));
    Ok(())
}

#[test]
fn a_second_sigint_within_a_second_does_not_wait() -> TestResult {
    let dir = Dir::new("round = 3600")?;
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    dir.wait_for_log("round begins")?;
    // Two of them may melt into one while the first is pending: go on until it has ended.
    wait_until("a fast exit", SOON, || {
        let _ = job.signal(Signal::INT);
        Ok(dir.read("job.log").contains("Double ^C, fast exit"))
    })?;
    assert_eq!(job.wait(SOON)?.code(), Some(1));
    assert!(
        dir.read("job.log")
            .contains(" WARNING Double ^C, fast exit")
    );
    assert!(!dir.exists("job.pid"));
    Ok(())
}

#[test]
fn sigterm_removes_the_pidfile_and_ends_the_process_by_the_signal() -> TestResult {
    let dir = Dir::new("round = 3600")?;
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    dir.wait_for_log("round begins")?;
    assert!(dir.exists("job.pid"));
    dir.job(&["-k", "job.ini"]).succeed()?;
    let status = job.wait(SOON)?;
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
    assert!(!dir.exists("job.pid"));
    Ok(())
}

#[test]
fn a_reload_takes_changed_keys_and_forgets_removed_ones() -> TestResult {
    let dir = Dir::new("")?;
    dir.configure("loop_delay = 3600\ncounter = first")?;
    let mut job = dir
        .job(&["job.ini", "count", "--set", "greeting=stays"])
        .spawn()?;
    dir.wait_for_log("{rounds: 1}")?;
    assert_eq!(dir.read("first"), "1");

    // The pause of an hour ends by the signal; the next one has another length.
    dir.configure("loop_delay = 0.01\ncounter = second\nunheard = of")?;
    job.signal(Signal::HUP)?;
    dir.wait_for_text("second", "3")?;
    dir.wait_for_log("Config reloaded")?;
    assert!(dir.read("job.log").contains("unknown key 'unheard'"));

    dir.configure("loop_delay = 0.01")?;
    job.signal(Signal::HUP)?;
    dir.wait_for_rounds()?;
    job.signal(Signal::INT)?;
    assert_eq!(job.wait(SOON)?.code(), Some(0));
    assert_eq!(dir.read("first"), "1");
    Ok(())
}

#[test]
fn whatever_is_wrong_with_a_new_configuration_the_old_one_stays() -> TestResult {
    let dir = Dir::new("")?;
    let mut job = dir.job(&["job.ini", "count"]).spawn()?;
    dir.wait_for_rounds()?;
    for (text, reason) in [
        ("nonsense", "cannot parse job.ini"),
        ("[other]\n", "Wrong config file, no section 'job'"),
        (
            "[job]\nloop_delay = x\n",
            "[job] loop_delay: expected a number",
        ),
        ("[job]\nround = x\n", "[job] round: expected a number"),
        (
            "[job]\nlogfile = no/such/dir/x\n",
            "cannot open log file no/such/dir/x",
        ),
        (
            "[job]\ngreeting = refuse\n",
            "cannot go on: greeting refused",
        ),
    ] {
        dir.write("job.ini", text)?;
        job.signal(Signal::HUP)?;
        dir.wait_for_log(reason)?;
        assert!(
            dir.read("job.log")
                .contains(" ERROR cannot reload the config, the old one stays: ")
        );
        dir.wait_for_rounds()?;
    }
    fs::remove_file(dir.path("job.ini"))?;
    job.signal(Signal::HUP)?;
    dir.wait_for_log("Config file not found: job.ini")?;
    dir.wait_for_rounds()?;
    assert!(!dir.read("job.log").contains("Config reloaded"));
    job.signal(Signal::INT)?;
    assert_eq!(job.wait(SOON)?.code(), Some(0));
    assert!(!dir.exists("job.pid"));
    Ok(())
}

#[test]
fn one_pass_and_its_failure_have_their_exit_codes() -> TestResult {
    let dir = Dir::new("failure = failure")?;
    for args in [
        &["job.ini", "count", "--once"][..],
        &["job.ini", "count", "--set", "loop_delay=-1"],
        &["job.ini", "count", "--set", "loop_delay=0"],
    ] {
        dir.job(args).succeed()?;
        assert_eq!(dir.rounds(), 1);
        fs::remove_file(dir.path("counter"))?;
    }
    dir.write("failure", "no luck")?;
    let output = dir.run(&["job.ini", "count", "--once"])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        messages(&output.stderr),
        [
            "counting",
            "{rounds: 1}",
            "Job job crashed: cannot go on: no luck",
            "connections dropped"
        ]
    );
    assert!(!dir.exists("job.pid"));
    Ok(())
}

#[test]
fn a_failed_start_up_is_code_1_and_leaves_no_pidfile() -> TestResult {
    let dir = Dir::new("greeting = refuse")?;
    let output = dir.run(&["job.ini", "count"])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        messages(&output.stderr),
        ["Job job crashed: cannot go on: greeting refused"]
    );
    assert!(!dir.exists("job.pid"));

    // In the background only the log tells.
    let output = dir.job(&["-d", "job.ini", "count"]).succeed()?;
    assert_eq!(output.stderr, "");
    wait_until("the second failure", SOON, || {
        Ok(dir.read("job.log").lines().count() == 2 && !dir.exists("job.pid"))
    })
}

#[test]
fn a_user_error_ends_the_job_with_the_bare_message() -> TestResult {
    let dir = Dir::new("failure = failure")?;
    dir.write("failure", "fatal: no such queue")?;
    let output = dir.run(&["job.ini", "count"])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        messages(&output.stderr),
        [
            "counting",
            "{rounds: 1}",
            "cannot go on: fatal: no such queue"
        ]
    );
    assert!(!dir.exists("job.pid"));
    Ok(())
}

#[test]
fn a_daemon_keeps_directory_and_umask_and_leaves_the_terminal() -> TestResult {
    let dir = Dir::new("")?;
    let shell = Command::new("sh")
        .args(["-c", "umask 0037; exec \"$0\" -dv job.ini count"])
        .arg(bin("examples/job"))
        .current_dir(dir.path("."))
        .output()?;
    assert_eq!(shell.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&shell.stdout), "");
    assert_eq!(String::from_utf8_lossy(&shell.stderr), "");
    let daemon = dir.daemon_at("job.pid")?;
    dir.wait_for_rounds()?;

    let proc = format!("/proc/{}", daemon.0);
    assert_eq!(
        fs::read_link(format!("{proc}/cwd"))?,
        fs::canonicalize(dir.path("."))?
    );
    for fd in 0..3 {
        let target = fs::read_link(format!("{proc}/fd/{fd}"))?;
        assert_eq!(target.to_str(), Some("/dev/null"), "fd {fd}");
    }
    let status = fs::read_to_string(format!("{proc}/status"))?;
    assert!(status.contains("Umask:\t0037"), "{status}");
    // A session of its own, without a terminal: fields 6 and 7 of stat.
    let stat = fs::read_to_string(format!("{proc}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("no stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    assert_ne!(fields[3], "0");
    assert_eq!(fields[4], "0");

    // Each record carries the pid of the process that wrote it.
    let log = dir.read("job.log");
    let pid = format!(" {} ", daemon.0);
    assert!(log.lines().all(|line| line.contains(&pid)), "{log}");

    dir.job(&["-s", "job.ini"]).succeed()?;
    daemon.wait_for_end()?;
    assert!(!dir.exists("job.pid"));
    Ok(())
}

#[test]
fn a_daemon_needs_a_pidfile() -> TestResult {
    let dir = Dir::new("")?;
    let output = dir.run(&["-d", "job.ini", "count", "--set", "pidfile="])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(messages(&output.stderr), ["Daemon needs pidfile"]);
    Ok(())
}

#[test]
fn a_daemon_without_log_says_so_before_it_leaves() -> TestResult {
    let dir = Dir::new("")?;
    let output = dir
        .job(&["-d", "job.ini", "count", "--set", "logfile="])
        .succeed()?;
    let daemon = dir.daemon_at("job.pid")?;
    assert_eq!(
        output.stderr,
        "no logfile in config, the daemon will have no log\n"
    );
    drop(daemon);
    Ok(())
}

#[test]
fn a_running_job_is_not_started_again() -> TestResult {
    let dir = Dir::new("")?;
    let daemon = dir.daemon(&["-d", "job.ini", "count"])?;
    for args in [
        &["job.ini", "count"][..],
        &["-d", "job.ini", "count"],
        &["-qv", "job.ini", "count"],
    ] {
        let output = dir.run(args)?;
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert_eq!(
            output.stderr, "Pidfile exists, another process running?\n",
            "{args:?}"
        );
        assert_eq!(output.stdout, "");
    }
    let output = dir.run(&["-q", "job.ini", "count"])?;
    assert_eq!(
        (output.status.code(), output.stderr.as_str()),
        (Some(1), "")
    );
    for args in [
        &["--ensure", "job.ini", "count"][..],
        &["-d", "--ensure", "job.ini", "count"],
        &["-q", "--once", "--ensure", "job.ini", "count"],
    ] {
        let output = dir.run(args)?;
        assert_eq!(
            (output.status.code(), output.stderr.as_str()),
            (Some(0), ""),
            "{args:?}"
        );
    }
    // A command beside it has a pidfile of its own.
    assert_eq!(dir.run(&["job.ini", "compare"])?.status.code(), Some(3));
    assert!(daemon.is_alive());
    assert_eq!(pid_in(&dir.path("job.pid"))?, Some(daemon.0));
    Ok(())
}

#[test]
fn the_lock_counts_even_when_the_pidfile_is_gone() -> TestResult {
    let dir = Dir::new("")?;
    let _daemon = dir.daemon(&["-d", "job.ini", "count"])?;
    fs::remove_file(dir.path("job.pid"))?;
    assert_eq!(dir.run(&["job.ini", "count"])?.status.code(), Some(1));
    Ok(())
}

#[test]
fn a_live_process_of_a_tool_without_lock_counts_too() -> TestResult {
    let dir = Dir::new("")?;
    dir.write("job.pid", &std::process::id().to_string())?;
    let output = dir.run(&["job.ini", "count"])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stderr, "Pidfile exists, another process running?\n");
    assert_eq!(dir.read("job.pid"), std::process::id().to_string());
    Ok(())
}

#[test]
fn a_process_of_another_user_is_alive_and_out_of_reach() -> TestResult {
    // Root may become somebody else; the test of everybody else ends here.
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let dir = Dir::new("")?;
    let pid = std::process::id();
    dir.write("job.pid", &pid.to_string())?;
    let owner = Owner::choose()?;
    owner.give(&dir.path("."))?;
    for flag in ["-s", "-k", "-r"] {
        let output = dir.job(&[flag, "job.ini"]).owned_by(owner).output()?;
        assert_eq!(output.status.code(), Some(0), "{flag}");
        let warning = format!(" WARNING cannot signal process {pid}: Operation not permitted");
        assert!(output.stderr.contains(&warning), "{}", output.stderr);
    }
    let output = dir.job(&["job.ini", "count"]).owned_by(owner).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stderr, "Pidfile exists, another process running?\n");
    Ok(())
}

#[test]
fn a_pidfile_older_than_the_process_it_names_is_stale() -> TestResult {
    let dir = Dir::new("")?;
    dir.write("job.pid", &std::process::id().to_string())?;
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::open(dir.path("job.pid"))?.set_modified(hour_ago)?;
    let output = dir.job(&["job.ini", "count", "--once"]).succeed()?;
    assert!(
        output.stderr.starts_with("Ignoring stale pidfile\n"),
        "{}",
        output.stderr
    );
    Ok(())
}

#[test]
fn a_killed_daemon_leaves_a_stale_pidfile_that_blocks_nothing() -> TestResult {
    let dir = Dir::new("")?;
    let daemon = dir.daemon(&["-d", "job.ini", "count"])?;
    daemon.signal(Signal::KILL)?;
    daemon.wait_for_end()?;
    let stale = dir.read("job.pid");
    assert_eq!(stale.trim(), daemon.0.to_string());

    let output = dir.job(&["-q", "job.ini", "count", "--once"]).succeed()?;
    assert_eq!(output.stderr, "");
    dir.write("job.pid", &stale)?;
    let output = dir.job(&["job.ini", "count", "--once"]).succeed()?;
    assert!(
        output.stderr.starts_with("Ignoring stale pidfile\n"),
        "{}",
        output.stderr
    );
    dir.write("job.pid", &stale)?;
    let output = dir
        .job(&["--ensure", "-q", "job.ini", "count", "--once"])
        .succeed()?;
    assert!(
        output.stderr.contains(" WARNING Ignoring stale pidfile\n"),
        "{}",
        output.stderr
    );
    assert!(!dir.exists("job.pid"));
    Ok(())
}

#[test]
fn a_corrupt_pidfile_is_an_error() -> TestResult {
    let dir = Dir::new("")?;
    dir.write("job.pid", "not a number")?;
    let output = dir.run(&["job.ini", "count"])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(messages(&output.stderr), ["Corrupt pidfile: job.pid"]);
    Ok(())
}

#[test]
fn of_simultaneous_starts_exactly_one_survives() -> TestResult {
    let dir = Dir::new("")?;
    for _ in 0..5 {
        let outputs: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| dir.run(&["-d", "job.ini", "count"])))
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().expect("no panic"))
                .collect()
        });
        let daemon = dir.daemon_at("job.pid")?;
        let mut codes = Vec::new();
        for output in outputs {
            codes.push(output?.status.code());
        }
        codes.sort_unstable();
        assert_eq!(
            codes,
            [Some(0), Some(1), Some(1), Some(1), Some(1), Some(1)]
        );
        daemon.signal(Signal::TERM)?;
        daemon.wait_for_end()?;
    }
    Ok(())
}

#[test]
fn a_command_ends_at_a_stop_request() -> TestResult {
    let dir = Dir::new("")?;
    let mut job = dir.job(&["job.ini", "wait"]).spawn()?;
    dir.wait_for_log("waiting")?;
    assert!(dir.exists("job.pid.admin"));
    // A second one of its kind has to wait for its turn.
    assert_eq!(dir.run(&["job.ini", "wait"])?.status.code(), Some(1));
    job.signal(Signal::INT)?;
    assert_eq!(job.wait(SOON)?.code(), Some(0));
    dir.wait_for_log("done waiting")?;
    assert!(!dir.exists("job.pid.admin"));
    Ok(())
}
