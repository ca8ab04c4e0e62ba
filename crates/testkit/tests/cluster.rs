//! The kit itself: clusters start, survive a crash, and are gone afterwards.

use testkit::{Cluster, Shutdown, TestResult};

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
