//! The sample configurations that programs print.

use std::path::Path;

use testkit::{Program, TestResult};

/// Programs with a configuration of their own.
const PROGRAMS: &[&str] = &[
    "pgqadm",
    "londiste",
    "queue_mover",
    "queue_splitter",
    "table_dispatcher",
    "bulk_loader",
    "cube_dispatcher",
    "scriptmgr",
];

/// `key = value` and `#key = value`, but not prose.
fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix('#').unwrap_or(line);
    let (key, value) = line.split_once(" = ")?;
    let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_key.then_some((key, value))
}

/// The sample with every key in effect, also those that only show their default.
fn all_keys(sample: &str) -> String {
    let lines = sample.lines().map(|line| match setting(line) {
        Some((key, value)) => format!("{key} = {value}\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// The same as TOML.
fn as_toml(sample: &str) -> String {
    let lines = sample.lines().map(|line| match setting(line) {
        Some((key, value)) => format!("{key} = {value:?}\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// What a program says of a configuration that names neither log nor pidfile.
fn complaints(program: &str, dir: &Path, config: &str) -> TestResult<Vec<String>> {
    let set = ["--set", "logfile=", "--set", "pidfile="];
    let output = Program::new(program, dir)
        .args(["-s", config])
        .args(set)
        .succeed()?;
    let messages = output.stderr.lines().map(|line| {
        let message = line.splitn(5, ' ').nth(4);
        message.unwrap_or(line).to_owned()
    });
    Ok(messages.collect())
}

#[test]
fn every_sample_is_a_configuration_in_ini_and_in_toml() -> TestResult {
    let dir = tempfile::tempdir()?;
    for program in PROGRAMS {
        let sample = Program::new(program, dir.path())
            .args(["--ini"])
            .succeed()?
            .stdout;
        assert!(sample.starts_with(&format!("[{program}]\n")), "{sample}");
        let all = all_keys(&sample);
        for (name, text) in [
            ("sample.ini", &sample),
            ("all.ini", &all),
            ("all.toml", &as_toml(&all)),
        ] {
            std::fs::write(dir.path().join(name), text)?;
            assert_eq!(
                complaints(program, dir.path(), name)?,
                ["No pidfile in config, nothing todo"],
                "{program} {name}:\n{text}"
            );
        }
    }
    Ok(())
}
