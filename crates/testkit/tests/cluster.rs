//! The kit itself: clusters start, survive a crash, and are gone afterwards.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{Cluster, Shutdown, TestResult, wait_until};

#[test]
fn a_committed_row_survives_a_killed_server() -> TestResult {
    let mut cluster = Cluster::start()?;
    cluster
        .connect("postgres")?
        .batch_execute("create table t as select 1 as a")?;
    cluster.restart(Shutdown::Kill)?;
    let row = cluster
        .connect("postgres")?
        .query_one("select a from t", &[])?;
    assert_eq!(row.get::<_, i32>(0), 1);
    Ok(())
}

#[test]
fn a_dropped_cluster_leaves_nothing() -> TestResult {
    let cluster = Cluster::start()?;
    let data = cluster.data_dir();
    let pid: i32 = cluster
        .connect("postgres")?
        .query_one("select pg_backend_pid()", &[])?
        .get(0);
    drop(cluster);
    assert!(!data.exists());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    Ok(())
}

/// Started by the next test, as the one that is killed.
#[test]
#[ignore = "waits to be killed"]
fn start_a_cluster_and_wait() -> TestResult {
    let cluster = Cluster::start()?;
    let file = std::env::var("CLUSTER_PATH_FILE")?;
    std::fs::write(
        format!("{file}.new"),
        cluster.data_dir().to_string_lossy().as_bytes(),
    )?;
    std::fs::rename(format!("{file}.new"), &file)?;
    wait_until("SIGKILL", Duration::from_secs(60), || Ok(false))
}

#[test]
fn a_killed_test_leaves_no_server() -> TestResult {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("path");
    let mut test = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "start_a_cluster_and_wait"])
        .env("CLUSTER_PATH_FILE", &file)
        .stdout(Stdio::null())
        .spawn()?;
    wait_until("the cluster", Duration::from_secs(30), || Ok(file.exists()))?;
    let data = PathBuf::from(std::fs::read_to_string(&file)?);
    let pidfile = std::fs::read_to_string(data.join("postmaster.pid"))?;
    let pid = pidfile.lines().next().ok_or("empty postmaster.pid")?;
    test.kill()?;
    test.wait()?;
    wait_until("the server to go", Duration::from_secs(10), || {
        Ok(!data.exists() && !Path::new(&format!("/proc/{pid}/cwd")).exists())
    })
}

#[test]
fn rows_that_differ_are_found() -> TestResult {
    let cluster = Cluster::start()?;
    let mut left = cluster.create_database("l")?;
    let mut right = cluster.create_database("r")?;
    for db in [&mut left, &mut right] {
        db.batch_execute("create table t as select i, i::text as b from generate_series(1, 9) i")?;
    }
    let query = "select * from t order by i";
    let equal = testkit::compare(&mut left, &mut right, query)?;
    assert_eq!((equal.left_rows, equal.difference), (9, None));
    right.batch_execute("update t set b = null where i = 4; insert into t values (10, 'x')")?;
    let unequal = testkit::compare(&mut left, &mut right, query)?;
    assert_eq!((unequal.left_rows, unequal.right_rows), (9, 10));
    let first = (Some("4\t4\n".to_owned()), Some("4\t\\N\n".to_owned()));
    assert_eq!(unequal.difference, Some(first));
    Ok(())
}
