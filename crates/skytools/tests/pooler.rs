//! Through a transaction-pooling proxy, where a session is not a session.

use std::ops::ControlFlow;

use skytools::conninfo::ConnInfo;
use skytools::db::Connection;
use skytools::full_copy::FullCopy;
use skytools::table::{self, TableName};
use testkit::{Cluster, Pooler, TestResult};

fn open(pooler: &Pooler, dbname: &str) -> TestResult<Connection> {
    let conninfo = ConnInfo::parse(&pooler.conninfo(dbname))?;
    Ok(Connection::open("test_db", &conninfo)?)
}

#[test]
fn clients_share_a_server_session_without_noticing() -> TestResult {
    let cluster = Cluster::builder()
        .setting("datestyle", "German, DMY")
        .start()?;
    for name in ["source", "target"] {
        cluster
            .create_database(name)?
            .batch_execute("create table t (id int primary key, data text)")?;
    }
    cluster
        .connect("source")?
        .batch_execute("insert into t select g, 'x' from generate_series(1, 10000) g")?;
    let Some(pooler) = Pooler::start(&cluster)? else {
        eprintln!("skipped: pgbouncer is not installed");
        return Ok(());
    };
    let name = TableName::parse("t");
    let mut clients = (0..3)
        .map(|_| Ok((open(&pooler, "source")?, open(&pooler, "target")?)))
        .collect::<TestResult<Vec<_>>>()?;
    for round in 0..2 {
        for (source, target) in &mut clients {
            let (mut from, mut to) = (source.begin()?, target.begin()?);
            let oid = table::relation(&mut *from, &name)?.oid;
            assert_eq!(table::primary_key(&mut *from, oid)?, ["id"]);
            let row = from.query_typed_one("select timestamp '2005-12-31 23:59'::text", &[])?;
            assert_eq!(row.get::<_, &str>(0), "2005-12-31 23:59:00");
            to.batch_execute("truncate t")?;
            let copied =
                FullCopy::new(&name).run(&mut from, &mut to, |_| ControlFlow::Continue(()))?;
            assert_eq!(copied.rows, 10_000, "round {round}");
            to.commit()?;
            from.commit()?;
            let failed = target.begin()?;
            drop(failed);
        }
    }
    Ok(())
}
