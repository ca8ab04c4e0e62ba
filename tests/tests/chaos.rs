//! A short run of `cargo xtask chaos`; long ones are for when there is time.

use testkit::{Program, TestResult};

#[test]
fn whatever_is_killed_every_event_arrives_and_once_where_that_is_promised() -> TestResult {
    let dir = tempfile::tempdir()?;
    let output = Program::new("xtask", dir.path())
        .args([
            "chaos",
            "queue",
            "--no-build",
            "--seed=1",
            "--rounds=2",
            "--seconds=10",
        ])
        .succeed()?;
    for consumer in ["serial", "remote", "retry", "coop", "plain", "local"] {
        let saw = format!("  {consumer:<6} saw ");
        assert_eq!(output.stdout.matches(&saw).count(), 2, "{}", output.stdout);
    }
    Ok(())
}
