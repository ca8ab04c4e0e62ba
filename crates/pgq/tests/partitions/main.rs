//! Partitions of targets, on a server.

mod making;
mod retention;

use std::time::Duration;

use pgq::mover::partition::{
    LongNames, PartStyle, PartitionConfig, Partitions, RetentionAction, Wanted,
};
use skytools::db::Connection;
use skytools::table::TableName;
use testkit::{Cluster, TestResult};

fn connect(cluster: &Cluster) -> TestResult<Connection> {
    Ok(Connection::open(
        "db",
        &cluster.conninfo("postgres").parse()?,
    )?)
}

fn config(style: PartStyle) -> PartitionConfig {
    PartitionConfig {
        part_style: style,
        part_template: String::new(),
        long_names: LongNames::Error,
        partition_timezone: String::new(),
        precreate: 0,
        retention_period: String::new(),
        retention_check: Duration::ZERO,
        retention_action: RetentionAction::Drop,
        retention_by_name: false,
        ignore_old_events: false,
    }
}

fn table(name: &str) -> TableName {
    TableName::parse(name)
}

/// Makes a partition in a transaction of its own.
fn ensure(partitions: &mut Partitions, db: &mut Connection, wanted: &Wanted) -> TestResult<bool> {
    let mut tx = db.begin()?;
    let made = partitions.ensure(&mut tx, wanted)?;
    tx.commit()?;
    Ok(made)
}

/// Names of the tables below a parent.
fn children(db: &mut Connection, parent: &str) -> TestResult<Vec<String>> {
    let sql = format!(
        "select inhrelid::regclass::text from pg_inherits where inhparent = '{parent}'::regclass order by 1"
    );
    Ok(db.query(&sql, &[])?.iter().map(|row| row.get(0)).collect())
}
