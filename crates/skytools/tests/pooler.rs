//! Through a transaction-pooling proxy, where a session is not a session.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use skytools::conninfo::ConnInfo;
use skytools::db::Connection;
use skytools::full_copy::FullCopy;
use skytools::table::{self, TableName};
use tempfile::TempDir;
use testkit::{Cluster, TestResult, wait_until};

/// A PgBouncer with one server connection per database.
struct Pooler {
    dir: TempDir,
    child: Child,
}

impl Pooler {
    /// Nothing, if the program is not installed.
    fn start(cluster: &Cluster) -> TestResult<Option<Pooler>> {
        let dir = tempfile::tempdir()?;
        let server = fs::metadata(cluster.data_dir())?;
        chown(dir.path(), Some(server.uid()), Some(server.gid()))?;
        let ini = dir.path().join("pgbouncer.ini");
        fs::write(
            &ini,
            format!(
                "[databases]\n* = host={} port={} user=postgres\n[pgbouncer]\nlisten_addr =\n\
                 unix_socket_dir = {}\nlisten_port = 6432\nauth_type = any\n\
                 pool_mode = transaction\ndefault_pool_size = 1\n",
                cluster.socket_dir().display(),
                cluster.port(),
                dir.path().display(),
            ),
        )?;
        let started = ["pgbouncer", "/usr/sbin/pgbouncer"]
            .iter()
            .find_map(|program| {
                let mut command = Command::new(program);
                command
                    .arg(&ini)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                if rustix::process::geteuid().is_root() {
                    command.uid(server.uid()).gid(server.gid()).current_dir("/");
                }
                command.spawn().ok()
            });
        let Some(child) = started else {
            return Ok(None);
        };
        let pooler = Pooler { dir, child };
        wait_until("the pooler to listen", Duration::from_secs(60), || {
            Ok(pooler.open("postgres").is_ok())
        })?;
        Ok(Some(pooler))
    }

    fn open(&self, dbname: &str) -> TestResult<Connection> {
        let text = format!(
            "host={} port=6432 user=postgres dbname={dbname}",
            self.dir.path().display()
        );
        Ok(Connection::open("test_db", &ConnInfo::parse(&text)?)?)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
        .map(|_| Ok((pooler.open("source")?, pooler.open("target")?)))
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
