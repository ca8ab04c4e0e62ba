//! Options, and configurations that cannot work.

use testkit::{Program, TestResult};

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
