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

#[test]
fn whatever_dies_and_however_the_network_fails_both_sides_end_equal() -> TestResult {
    let dir = tempfile::tempdir()?;
    let output = Program::new("xtask", dir.path())
        .args([
            "chaos",
            "londiste",
            "--no-build",
            "--seed=1",
            "--minutes=0.3",
        ])
        .succeed()?;
    for table in ["ledger", "account", "item", "marker"] {
        let equal = format!("  {table:<8} equal, ");
        assert!(output.stdout.contains(&equal), "{}", output.stdout);
    }
    Ok(())
}

#[test]
fn whatever_dies_in_a_chain_its_nodes_end_equal() -> TestResult {
    let dir = tempfile::tempdir()?;
    let output = Program::new("xtask", dir.path())
        .args([
            "chaos",
            "londiste",
            "--relay",
            "--no-build",
            "--seed=3",
            "--minutes=0.25",
        ])
        .succeed()?;
    for table in ["ledger", "account", "item", "marker"] {
        let equal = format!("  {table:<8} equal, ");
        assert!(output.stdout.contains(&equal), "{}", output.stdout);
    }
    Ok(())
}

#[test]
fn whatever_dies_before_the_master_does_what_was_acknowledged_is_there_after_boot() -> TestResult {
    let dir = tempfile::tempdir()?;
    let output = Program::new("xtask", dir.path())
        .args([
            "chaos",
            "walmgr",
            "--no-build",
            "--seed=1",
            "--minutes=0.25",
        ])
        .succeed()?;
    assert!(output.stdout.contains("all there: "), "{}", output.stdout);
    Ok(())
}
