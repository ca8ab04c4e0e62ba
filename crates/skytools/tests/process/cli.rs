//! The command line of every program, on the example program `job`.

use std::process::Stdio;

use crate::support::{Dir, messages};
use testkit::TestResult;

#[test]
fn options_may_stand_anywhere() -> TestResult {
    let dir = Dir::new("greeting = hi")?;
    for args in [
        &["-v", "job.ini", "greet", "Bob"][..],
        &["job.ini", "-v", "greet", "Bob"],
        &["job.ini", "greet", "-v", "Bob"],
        &["job.ini", "greet", "Bob", "-v"],
        &["job.ini", "greet", "Bob", "--verb"],
        &["-vq", "job.ini", "greet", "--", "Bob"],
        &["-vv", "--quiet", "job.ini", "--verbose", "greet", "Bob"],
    ] {
        let output = dir.run(args)?;
        assert_eq!(output.stdout, "hi Bob\n", "{args:?}: {}", output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
    let output = dir.run(&["job.ini", "greet", "--", "--Bob"])?;
    assert_eq!(output.stdout, "hi --Bob\n");
    Ok(())
}

#[test]
fn a_command_line_that_does_not_parse_is_code_2() -> TestResult {
    let dir = Dir::new("")?;
    for args in [
        &["--bogus"][..],
        &["job.ini", "count", "--bogus"],
        &["job.ini", "count", "--set"],
        &["job.ini", "count", "--set", "no equals sign"],
        &["job.ini", "count", "--set", "=value"],
    ] {
        let output = dir.run(args)?;
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", output.stderr);
        assert_eq!(output.stdout, "", "{args:?}");
        assert!(
            output.stderr.starts_with("error: "),
            "{args:?}: {}",
            output.stderr
        );
    }
    Ok(())
}

#[test]
fn a_missing_or_unknown_command_is_code_1() -> TestResult {
    let dir = Dir::new("")?;
    for (args, text) in [
        (&[][..], "need config file, use --help for help.\n"),
        (
            &["greet", "Bob"],
            "need config file, use --help for help.\n",
        ),
        (
            &["job.ini", "dance"],
            "unknown command 'dance', use --help for help\n",
        ),
        (
            &["job.ini", "dance", "wildly", "-v"],
            "unknown command 'dance', use --help for help\n",
        ),
        (
            &["nowhere.ini", "count"],
            "Config file not found: nowhere.ini\n",
        ),
    ] {
        let output = dir.run(args)?;
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert_eq!(output.stderr, text, "{args:?}");
        assert_eq!(output.stdout, "", "{args:?}");
    }
    let output = dir.run(&["job.ini"])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        messages(&output.stderr),
        ["need command, use --help for help"]
    );
    Ok(())
}

#[test]
fn a_wrong_number_of_arguments_is_code_1_and_shows_the_usage() -> TestResult {
    let dir = Dir::new("")?;
    for args in [&["job.ini", "greet"][..], &["job.ini", "greet", "a", "b"]] {
        let output = dir.run(args)?;
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(
            output.stderr.contains("Usage: job INI greet"),
            "{}",
            output.stderr
        );
    }
    Ok(())
}

#[test]
fn help_version_and_sample_need_no_configuration() -> TestResult {
    let dir = Dir::new("")?;
    let version = dir.job(&["-V"]).succeed()?;
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(version.stdout, format!("job, Skytools version {number}\n"));
    assert_eq!(
        dir.job(&["greet", "--version"]).succeed()?.stdout,
        version.stdout
    );

    let help = dir.job(&["-h"]).succeed()?;
    for word in ["Usage: job", "greet", "--ensure", "--set <PARAM=VALUE>"] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    assert!(!help.stdout.contains("generate"), "{}", help.stdout);

    let sample = dir.job(&["--ini"]).succeed()?;
    assert_eq!(sample.stdout, include_str!("../../examples/job.ini"));
    for output in [version, help, sample] {
        assert_eq!(output.stderr, "");
    }
    Ok(())
}

#[test]
fn the_printed_sample_is_a_configuration_with_the_values_of_set() -> TestResult {
    let dir = Dir::new("")?;
    let sample = dir
        .job(&[
            "--ini",
            "--set",
            "greeting = moin",
            "--set=counter=%(job_name)s.n",
            "--set",
            "logfile=",
        ])
        .succeed()?;
    dir.write("sample.ini", &sample.stdout)?;
    let output = dir.job(&["sample.ini", "greet", "Bob"]).succeed()?;
    assert_eq!(output.stdout, "moin Bob\n");
    assert_eq!(output.stderr, "");
    dir.job(&["sample.ini", "count", "--once", "-q"])
        .succeed()?;
    assert_eq!(dir.read("job.n"), "1");
    assert!(!dir.exists("job.log"));
    Ok(())
}

#[test]
fn set_overrides_the_file() -> TestResult {
    let dir = Dir::new("greeting = hi")?;
    let output = dir
        .job(&[
            "job.ini",
            "--set",
            "GREETING=%(job_name)s=x",
            "greet",
            "Bob",
        ])
        .succeed()?;
    assert_eq!(output.stdout, "job=x Bob\n");
    Ok(())
}

#[test]
fn completions_and_the_manual_page_come_from_the_same_definition() -> TestResult {
    let dir = Dir::new("")?;
    for (form, text) in [
        ("bash", "complete -F _job"),
        ("zsh", "#compdef job"),
        ("fish", "complete -c job"),
        ("man", ".TH job 1"),
    ] {
        let output = dir.job(&["--generate", form]).succeed()?;
        assert!(output.stdout.contains(text), "{form}: {}", output.stdout);
        assert!(
            output.stdout.contains("ensure"),
            "{form}: {}",
            output.stdout
        );
    }
    Ok(())
}

#[test]
fn a_failed_command_says_why_once_and_is_code_1() -> TestResult {
    let dir = Dir::new("")?;
    let output = dir.run(&["job.ini", "fail"])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(messages(&output.stderr), ["cannot go on: as told"]);
    assert_eq!(dir.read("job.log"), output.stderr);
    assert!(
        output.stderr.contains(" ERROR cannot go on"),
        "{}",
        output.stderr
    );
    Ok(())
}

#[test]
fn a_difference_is_code_3() -> TestResult {
    let dir = Dir::new("")?;
    assert_eq!(dir.run(&["job.ini", "compare"])?.status.code(), Some(3));
    Ok(())
}

#[test]
fn a_reader_that_goes_away_is_no_error() -> TestResult {
    let dir = Dir::new("")?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let status = std::process::Command::new(testkit::bin("examples/job"))
        .args(["job.ini", "greet", "Bob"])
        .current_dir(dir.path("."))
        .stdout(writer)
        .stdin(Stdio::null())
        .status()?;
    assert_eq!(status.code(), Some(0));
    Ok(())
}

#[test]
fn unknown_keys_are_warned_about_with_the_nearest_known_one() -> TestResult {
    let dir = Dir::new(
        "greting = x\nloop_dealy = 2\nsalute = hi\nlogdir = /log\nother = %(logdir)s\npidfil = x",
    )?;
    let output = dir.job(&["job.ini", "greet", "Bob"]).succeed()?;
    assert_eq!(output.stdout, "hi Bob\n");
    assert_eq!(
        messages(&output.stderr),
        [
            "unknown key 'greting' in section [job], nearest is 'greeting'",
            "unknown key 'loop_dealy' in section [job], nearest is 'loop_delay'",
            "unknown key 'other' in section [job]",
            "unknown key 'pidfil' in section [job], nearest is 'pidfile'",
        ]
    );
    assert!(
        output.stderr.contains(" WARNING unknown key"),
        "{}",
        output.stderr
    );

    dir.write(
        "job.toml",
        "[DEFAULT]\nanything = 1\n[job]\nGreting = 'x'\n",
    )?;
    let output = dir.job(&["job.toml", "greet", "Bob"]).succeed()?;
    assert_eq!(
        messages(&output.stderr),
        ["unknown key 'greting' in section [job], nearest is 'greeting'"]
    );
    Ok(())
}

#[test]
fn a_bad_configuration_names_file_key_and_expectation() -> TestResult {
    let dir = Dir::new("round = long")?;
    let output = dir.run(&["job.ini", "count"])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        output.stderr,
        "job.ini: [job] round: expected a number, found long\n"
    );
    let output = dir.run(&[
        "job.ini",
        "count",
        "--set",
        "round=0",
        "--set",
        "logfile=no/such/x.log",
    ])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        output.stderr,
        "cannot open log file no/such/x.log: No such file or directory (os error 2)\n"
    );
    assert!(!dir.exists("job.pid"));
    Ok(())
}

#[test]
fn a_wrong_number_of_arguments_is_counted() -> TestResult {
    let dir = Dir::new("")?;
    for (args, problem) in [
        (
            &["job.ini", "greet"][..],
            "command 'greet' got 0 args, but expects 1: name",
        ),
        (
            &["job.ini", "-v", "greet", "a", "-q", "b", "c"],
            "command 'greet' got 3 args, but expects 1: name",
        ),
        (
            &["job.ini", "count", "x"],
            "command 'count' got 1 args, but expects 0",
        ),
    ] {
        let output = dir.run(args)?;
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        assert_eq!(output.stderr.lines().next(), Some(problem));
        assert!(
            output.stderr.contains("Usage: job INI "),
            "{}",
            output.stderr
        );
    }
    // What is wrong with an option is clap's to say.
    let output = dir.run(&["job.ini", "greet", "a", "--nonsense"])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stderr.contains("--nonsense"), "{}", output.stderr);
    Ok(())
}
