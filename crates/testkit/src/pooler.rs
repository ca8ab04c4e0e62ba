//! A transaction-pooling proxy, where a session is not a session.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use postgres::{Client, NoTls};
use tempfile::TempDir;

use crate::{Cluster, TestResult, wait_until};

/// A PgBouncer in transaction mode with one server connection per database; stopped when dropped.
#[derive(Debug)]
pub struct Pooler {
    dir: TempDir,
    child: Child,
}

impl Pooler {
    /// Starts one in front of a cluster; `None` if the program is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(cluster: &Cluster) -> TestResult<Option<Pooler>> {
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
            Ok(Client::connect(&pooler.conninfo("postgres"), NoTls).is_ok())
        })?;
        Ok(Some(pooler))
    }

    /// Connect string of a database, through the pooler.
    pub fn conninfo(&self, dbname: &str) -> String {
        format!(
            "host={} port=6432 user=postgres dbname={dbname}",
            self.dir.path().display()
        )
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
