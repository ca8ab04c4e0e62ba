//! The server that everything is measured on, with ours and its peers in databases of their own.

use std::path::PathBuf;

use postgres::Client;
use skytools::conninfo::ConnInfo;
use skytools::db::Connection;
use testkit::Cluster;

use crate::Result;
use crate::process;
use crate::scratch::Scratch;

/// Size of a segment of WAL, as servers have it. Of the small ones that tests have, each is flushed by itself, and the
/// server chooses buffers of no more than one: the faster somebody writes, the more of the time that takes.
const SEGMENT_MEGABYTES: u32 = 16;

/// A throwaway server; goes when dropped.
#[derive(Debug)]
pub(crate) struct Stand {
    cluster: Cluster,
    scratch: Scratch,
}

impl Stand {
    /// Starts a server that keeps what it has committed, as one in production does.
    pub(crate) fn start() -> Result<Stand> {
        Stand::with(&[])
    }

    /// The same with more settings.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Result<Stand> {
        let scratch = Scratch::new()?;
        let mut builder = Cluster::builder()
            .below(scratch.path())
            .segment_megabytes(SEGMENT_MEGABYTES)
            .setting("fsync", "on")
            .setting("full_page_writes", "on")
            .setting("synchronous_commit", "on")
            .setting("shared_buffers", "256MB")
            .setting("max_wal_size", "4GB")
            .setting("checkpoint_timeout", "30min");
        for (name, value) in settings {
            builder = builder.setting(name, value);
        }
        let cluster = builder.start()?;
        Ok(Stand { cluster, scratch })
    }

    /// The server itself.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The server's version, as it gives it.
    pub(crate) fn version(&self) -> Result<String> {
        let mut db = self.connect("postgres")?;
        let row = db.query_one("select current_setting('server_version')", &[])?;
        Ok(format!("PostgreSQL {}", row.get::<_, String>(0)))
    }

    /// Connect string of a database, as libpq reads it.
    pub(crate) fn conninfo(&self, database: &str) -> String {
        self.cluster.conninfo(database)
    }

    /// A file that goes with the server, and that its programs may write.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A program that comes with the server, or is in the path.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        let beside = self.cluster.bindir().join(name);
        if beside.is_file() {
            return Some(beside);
        }
        process::in_path(name)
    }

    pub(crate) fn connect(&self, database: &str) -> Result<Client> {
        self.cluster.connect(database)
    }

    /// Creates an empty database.
    pub(crate) fn empty(&self, database: &str) -> Result<Client> {
        self.cluster.create_database(database)
    }

    /// Creates a database like another one that nobody is connected to, if it is not there.
    pub(crate) fn copy(&self, database: &str, template: &str) -> Result {
        let mut db = self.connect("postgres")?;
        let there = db.query_opt("select from pg_database where datname = $1", &[&database])?;
        if there.is_none() {
            db.batch_execute(&format!(
                "create database \"{database}\" template \"{template}\""
            ))?;
        }
        Ok(())
    }

    /// Creates a database with our PgQ.
    pub(crate) fn ours(&self, database: &str) -> Result<Client> {
        let db = self.empty(database)?;
        let mut own = Connection::open("db", &ConnInfo::parse(&self.conninfo(database))?)?;
        let mut tx = own.begin()?;
        pgq::schema::install(&mut tx)?;
        tx.commit()?;
        Ok(db)
    }

    /// Creates a database with the PgQ extension written in C, if the server has it.
    pub(crate) fn extension(&self, database: &str) -> Result<Option<Client>> {
        let mut db = self.empty(database)?;
        let there = db.query_opt(
            "select from pg_available_extensions where name = 'pgq' and comment is not null",
            &[],
        )?;
        if there.is_none() {
            return Ok(None);
        }
        db.batch_execute("create extension pgq")?;
        Ok(Some(db))
    }
}
