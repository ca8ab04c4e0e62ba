//! Copying with rsync, or by this program itself on one host.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use skytools::daemon::Stop;
use skytools::db::{Connection, During};
use skytools::failpoint;
use tracing::info;

use super::native::Native;
use super::rsync;
use super::rules::{self, ANYWHERE, CONTROL_FILE, EMPTY, LEFT_OUT};
use crate::Error;
use crate::config::{Copier, MasterConfig};
use crate::place::Place;
use crate::progress::Progress;
use crate::sets::TablespaceInfo;
use crate::sets::manifest::Digests;
use crate::slave::Slave;

/// Rsync of all files, whatever is there.
fn command(config: &MasterConfig, slave: &Slave) -> Command {
    let mut command = plain(config, slave);
    command.arg("--ignore-times");
    command
}

fn plain(config: &MasterConfig, slave: &Slave) -> Command {
    let mut command = Command::new("rsync");
    command.arg("-a");
    if config.compress {
        command.arg("-z");
    }
    if config.bwlimit_kb > 0 {
        command.arg(format!("--bwlimit={}", config.bwlimit_kb));
    }
    if let Some(shell) = slave.rsync_shell() {
        command.args(["-e", &shell]);
    }
    command
}

/// A copy of a data directory on its way to its place.
pub(super) struct Copying<'a> {
    config: &'a MasterConfig,
    slave: &'a Slave,
    target: &'a Place,
    progress: &'a Progress,
    stop: &'a Stop,
    /// What copies instead of rsync, if that is wanted.
    native: Option<Native<'a>>,
    /// Whether an earlier backup has copied something, which is compared.
    pub(super) has_content: bool,
    /// Digests of what has been copied, where they are known then.
    pub(super) digests: Digests,
}

impl<'a> Copying<'a> {
    /// A copy of who holds the lock.
    ///
    /// # Errors
    /// The slave cannot be reached.
    pub(super) fn begin(
        config: &'a MasterConfig,
        slave: &'a Slave,
        lock: &str,
        target: &'a Place,
        progress: &'a Progress,
        stop: &'a Stop,
    ) -> Result<Copying<'a>, Error> {
        let native = match config.copier {
            Copier::Native { jobs } => {
                let root = Path::new(&target.path);
                let native = Native::here(root, jobs, config.bwlimit_kb, progress, stop);
                Some(match slave.is_here() {
                    true => native,
                    false => native.there(slave, lock)?,
                })
            }
            Copier::Rsync | Copier::BaseBackup => None,
        };
        Ok(Copying {
            config,
            slave,
            target,
            progress,
            stop,
            native,
            has_content: false,
            digests: Digests::default(),
        })
    }

    /// The data directory, without the control file and without what is left out.
    pub(super) fn data(&mut self) -> Result<(), Error> {
        let data = &self.config.data;
        if let Some(native) = &mut self.native {
            native.data(data, &mut self.digests)?;
            failpoint::step("backup.data");
            return Ok(());
        }
        let mut command = self.rsync();
        for name in EMPTY.iter().copied().chain(["pg_wal"]) {
            // A link goes as a whole, and is made anew as a directory there.
            match fs::symlink_metadata(data.join(name)).is_ok_and(|metadata| metadata.is_symlink())
            {
                true => command.arg(format!("--exclude=/{name}")),
                false => command.arg(format!("--exclude=/{name}/*")),
            };
        }
        if let Some(log) = rules::log_directory(data) {
            command.arg(format!("--exclude=/{log}/*"));
        }
        for name in LEFT_OUT {
            command.arg(format!("--exclude=/{name}"));
        }
        for name in ANYWHERE {
            command.arg(format!("--exclude={name}"));
        }
        command.arg(format!("--exclude=/{CONTROL_FILE}"));
        // Links to tablespaces; one that lies in the directory is copied with it.
        for (oid, _) in links(data)? {
            command.arg(format!("--exclude=/pg_tblspc/{oid}"));
        }
        command.arg("./").arg(format!("{}/", self.target));
        command.current_dir(data);
        let what = data.display().to_string();
        rsync::run(command, &what, Some(self.progress), self.stop)?;
        failpoint::step("backup.data");
        Ok(())
    }

    /// Rsync of a tree. What is there already stays where its content is the same: sizes and times tell nothing of a
    /// file that a server has open.
    fn rsync(&self) -> Command {
        let mut command = match self.has_content {
            true => plain(self.config, self.slave),
            false => command(self.config, self.slave),
        };
        if self.has_content {
            command.args(["--checksum", "--delete"]);
        }
        command.arg("--copy-unsafe-links");
        command
    }

    /// The control file last: what it says must hold for all that was copied.
    pub(super) fn control_file(&mut self) -> Result<(), Error> {
        if let Some(native) = &mut self.native {
            return native.one(&self.config.data, CONTROL_FILE, &mut self.digests);
        }
        let mut command = command(self.config, self.slave);
        command
            .arg("pg_control")
            .arg(format!("{}/global/", self.target));
        command.current_dir(self.config.data.join("global"));
        rsync::run(command, CONTROL_FILE, None, self.stop)
    }

    /// Each tablespace into `tmpspc/OID`.
    pub(super) fn tablespaces(
        &mut self,
        db: Option<&mut Connection>,
    ) -> Result<Vec<TablespaceInfo>, Error> {
        let known = match db {
            Some(db) => known_tablespaces(db)?,
            // Of a server that does not run, the links tell.
            None => Vec::new(),
        };
        let mut found: Vec<TablespaceInfo> = Vec::new();
        for (oid, to) in links(&self.config.data)? {
            let space = known.iter().find(|space| space.oid == oid);
            if !to.is_dir() {
                return Err(Error::Refused(format!(
                    "tablespace {oid} is a link to {}, which is no directory: the backup could not be restored",
                    to.display()
                )));
            }
            self.tablespace(oid, &to)?;
            failpoint::step("backup.tablespace");
            found.push(TablespaceInfo {
                oid,
                name: space.map(|space| space.name.clone()).unwrap_or_default(),
                location: to.display().to_string(),
                bytes: space.map_or(0, |space| space.bytes),
            });
        }
        let missing = known.iter().find(|space| {
            space.location.starts_with('/') && !found.iter().any(|copied| copied.oid == space.oid)
        });
        if let Some(space) = missing {
            return Err(Error::Refused(format!(
                "tablespace {} has no link in {}/pg_tblspc",
                space.name,
                self.config.data.display()
            )));
        }
        info!(count = found.len(), "Checked tablespaces");
        Ok(found)
    }

    fn tablespace(&mut self, oid: u32, from: &Path) -> Result<(), Error> {
        if let Some(native) = &mut self.native {
            return native.tablespace(from, oid, &mut self.digests);
        }
        let mut command = self.rsync();
        command.args(ANYWHERE.map(|name| format!("--exclude={name}")));
        // The directory above has been made at the beginning.
        command
            .arg("./")
            .arg(format!("{}/tmpspc/{oid}/", self.target));
        command.current_dir(from);
        let what = from.display().to_string();
        rsync::run(command, &what, Some(self.progress), self.stop)
    }
}

/// A set of the slave's, into a directory of this host.
pub(crate) fn fetch(
    config: &MasterConfig,
    slave: &Slave,
    from: &str,
    to: &Path,
    progress: &Progress,
    stop: &Stop,
) -> Result<(), Error> {
    let mut command = self::command(config, slave);
    command
        .arg(format!("{}/", slave.place(from)))
        .arg(format!("{}/", to.display()));
    rsync::run(command, from, Some(progress), stop)
}

/// Directories of WAL and of logs that are links, and where they lead.
pub(super) fn linked_directories(data: &Path) -> BTreeMap<String, String> {
    let names = std::iter::once("pg_wal").chain(rules::log_directory(data));
    names
        .filter(|name| data.join(name).is_symlink())
        .filter_map(|name| {
            let target = data.join(name).canonicalize().ok()?;
            Some((name.to_owned(), target.to_str()?.to_owned()))
        })
        .collect()
}

/// The links of `pg_tblspc`, and where they lead.
fn links(data: &Path) -> Result<Vec<(u32, PathBuf)>, Error> {
    let dir = data.join("pg_tblspc");
    let failed = |error| Error::io("list", &dir, error);
    let mut links = Vec::new();
    for entry in fs::read_dir(&dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let oid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(oid) = oid
            && entry.file_type().map_err(failed)?.is_symlink()
        {
            let path = entry.path();
            let to = fs::read_link(&path).map_err(|error| Error::io("read", &path, error))?;
            links.push((oid, to));
        }
    }
    links.sort();
    Ok(links)
}

/// Tablespaces as the server knows them. One that lies in the data directory has a relative location, and is copied
/// with it.
pub(super) fn known_tablespaces(db: &mut Connection) -> Result<Vec<TablespaceInfo>, Error> {
    let rows = db
        .query(
            "select oid, spcname::text, pg_tablespace_location(oid), pg_tablespace_size(oid) \
               from pg_tablespace where spcname not in ('pg_default', 'pg_global')",
            &[],
        )
        .during("list tablespaces")?;
    let spaces = rows.iter().map(|row| TablespaceInfo {
        oid: row.get(0),
        name: row.get(1),
        location: row.get(2),
        bytes: row
            .get::<_, Option<i64>>(3)
            .unwrap_or_default()
            .cast_unsigned(),
    });
    Ok(spaces.collect())
}

/// The master's `*.conf`, with those of `conf.d`.
pub(super) fn config_files(
    config: &MasterConfig,
    slave: &Slave,
    target: &Place,
    stop: &Stop,
) -> Result<(), Error> {
    let Some(dir) = config.config.as_deref().and_then(Path::parent) else {
        return Ok(());
    };
    let mut command = self::command(config, slave);
    command
        .args(["--copy-links", "--prune-empty-dirs"])
        .arg("--exclude=/postgresql.auto.conf")
        .args([
            "--include=/*.conf",
            "--include=/conf.d/",
            "--include=/conf.d/*.conf",
        ])
        .arg("--exclude=*")
        .arg("./")
        .arg(format!("{target}/"))
        .current_dir(dir);
    rsync::run(command, &dir.display().to_string(), None, stop)
}
