//! pgBackRest as a peer, with a repository in a directory of the same machine, and lz4.

use std::fs;
use std::path::PathBuf;

use super::site::{Site, remove_tree, succeed};
use crate::Result;
use crate::process;

/// What it is called in tables.
pub(super) const NAME: &str = "pgBackRest, lz4";

/// An installed pgBackRest, configured.
#[derive(Debug, Clone)]
pub(super) struct PgBackRest {
    config: PathBuf,
}

impl PgBackRest {
    /// `None` if it is not installed.
    pub(super) fn find(site: &Site) -> Result<Option<PgBackRest>> {
        if process::in_path("pgbackrest").is_none() {
            return Ok(None);
        }
        let config = site.path("pgbackrest.conf");
        let cluster = site.stand().cluster();
        let dir = |name: &str| {
            site.path(&format!("pgbackrest/{name}"))
                .display()
                .to_string()
        };
        let text = format!(
            "[global]\nrepo1-path={}\nlog-path={}\nlock-path={}\nspool-path={}\nlog-level-console=error\n\
             log-level-file=off\ncompress-type=lz4\nstart-fast=y\n\n[main]\npg1-path={}\npg1-port={}\n\
             pg1-socket-path={}\npg1-user=postgres\n",
            dir("repo"),
            dir("log"),
            dir("lock"),
            dir("spool"),
            cluster.data_dir().display(),
            cluster.port(),
            cluster.socket_dir().display(),
        );
        fs::write(&config, text)?;
        Ok(Some(PgBackRest { config }))
    }

    /// A command line.
    pub(super) fn line(&self, rest: &str) -> String {
        format!(
            "pgbackrest --config={} --stanza=main {rest}",
            self.config.display()
        )
    }

    /// A repository without anything in it.
    pub(super) fn clear(&self, site: &Site) -> Result {
        remove_tree(&site.path("pgbackrest"))?;
        let dirs = ["repo", "log", "lock", "spool"]
            .map(|name| site.path("pgbackrest").join(name).display().to_string());
        succeed(&mut site.shell(&format!("mkdir -p {}", dirs.join(" "))))?;
        succeed(&mut site.shell(&self.line("--no-online stanza-create")))?;
        rustix::fs::sync();
        Ok(())
    }
}
