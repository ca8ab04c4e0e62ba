//! Copying with rsync, or by this program itself on one host.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use skytools::daemon::Stop;
use skytools::db::{Connection, During};
use skytools::failpoint;
use tracing::info;

use super::native::{Native, Throttle};
use super::rsync;
use super::rules::{self, ANYWHERE, CONTROL_FILE, EMPTY, LEFT_OUT};
use crate::Error;
use crate::config::MasterConfig;
use crate::place::Place;
use crate::progress::Progress;
use crate::sets::TablespaceInfo;
use crate::sets::manifest::Digests;
use crate::slave::Slave;

fn command(config: &MasterConfig, slave: &Slave) -> Command {
    let mut command = Command::new("rsync");
    command.args(["-a", "--ignore-times"]);
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

/// What copies instead of rsync, if that is wanted.
fn native<'a>(config: &MasterConfig, progress: &'a Progress, stop: &'a Stop) -> Option<Native<'a>> {
    Some(Native {
        jobs: config.native_jobs?,
        throttle: Throttle::new(config.bwlimit_kb),
        progress,
        stop,
    })
}

/// The data directory, without the control file and without what is left out. Digests of what is copied, where they
/// are known then, are added to those before.
pub(super) fn data(
    config: &MasterConfig,
    slave: &Slave,
    target: &Place,
    digests: &mut Digests,
    progress: &Progress,
    stop: &Stop,
) -> Result<(), Error> {
    let data = &config.data;
    if let Some(native) = native(config, progress, stop) {
        native.data(data, Path::new(&target.path), digests)?;
        failpoint::step("backup.data");
        return Ok(());
    }
    let mut command = self::command(config, slave);
    command.arg("--copy-unsafe-links");
    for name in EMPTY.iter().copied().chain(["pg_wal"]) {
        // A link goes as a whole, and is made anew as a directory there.
        match fs::symlink_metadata(data.join(name)).is_ok_and(|metadata| metadata.is_symlink()) {
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
    command.arg("./").arg(format!("{target}/"));
    command.current_dir(data);
    rsync::run(command, &data.display().to_string(), Some(progress), stop)?;
    failpoint::step("backup.data");
    Ok(())
}

/// The control file last: what it says must hold for all that was copied.
pub(super) fn control_file(
    config: &MasterConfig,
    slave: &Slave,
    target: &Place,
    digests: &mut Digests,
    stop: &Stop,
) -> Result<(), Error> {
    if let Some(native) = native(config, &Progress::silent(), stop) {
        return native.one(&config.data, Path::new(&target.path), CONTROL_FILE, digests);
    }
    let mut command = self::command(config, slave);
    command.arg("pg_control").arg(format!("{target}/global/"));
    command.current_dir(config.data.join("global"));
    rsync::run(command, CONTROL_FILE, None, stop)
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

/// Each tablespace into `tmpspc/OID`.
pub(super) fn tablespaces(
    config: &MasterConfig,
    slave: &Slave,
    target: &Place,
    db: Option<&mut Connection>,
    digests: &mut Digests,
    progress: &Progress,
    stop: &Stop,
) -> Result<Vec<TablespaceInfo>, Error> {
    let rows = match db {
        Some(db) => db
            .query(
                "select oid, spcname::text, pg_tablespace_location(oid), pg_tablespace_size(oid) \
                   from pg_tablespace where spcname not in ('pg_default', 'pg_global')",
                &[],
            )
            .during("list tablespaces")?,
        // Of a server that does not run, the links tell.
        None => Vec::new(),
    };
    let mut found = Vec::new();
    for (oid, to) in links(&config.data)? {
        let row = rows.iter().find(|row| row.get::<_, u32>(0) == oid);
        if !to.is_dir() {
            return Err(Error::Refused(format!(
                "tablespace {oid} is a link to {}, which is no directory: the backup could not be restored",
                to.display()
            )));
        }
        match native(config, progress, stop) {
            Some(native) => native.tablespace(&to, Path::new(&target.path), oid, digests)?,
            None => {
                let mut command = self::command(config, slave);
                command.args(ANYWHERE.map(|name| format!("--exclude={name}")));
                command.arg("--copy-unsafe-links");
                // The directory above has been made at the beginning.
                command.arg("./").arg(format!("{target}/tmpspc/{oid}/"));
                command.current_dir(&to);
                rsync::run(command, &to.display().to_string(), Some(progress), stop)?;
            }
        }
        failpoint::step("backup.tablespace");
        found.push(TablespaceInfo {
            oid,
            name: row.map(|row| row.get(1)).unwrap_or_default(),
            location: to.display().to_string(),
            bytes: row
                .and_then(|row| row.get::<_, Option<i64>>(3))
                .unwrap_or_default()
                .cast_unsigned(),
        });
    }
    let missing = rows.iter().find(|row| {
        let location: String = row.get(2);
        let oid: u32 = row.get(0);
        // One that lies in the data directory has a relative location, and was copied with it.
        location.starts_with('/') && !found.iter().any(|space| space.oid == oid)
    });
    if let Some(row) = missing {
        return Err(Error::Refused(format!(
            "tablespace {} has no link in {}/pg_tblspc",
            row.get::<_, String>(1),
            config.data.display()
        )));
    }
    info!(count = found.len(), "Checked tablespaces");
    Ok(found)
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
