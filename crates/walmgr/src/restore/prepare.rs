//! Making a data directory of a set.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::backup::receive::DIRECTORIES;
use crate::config::SlaveConfig;
use crate::server::conf;
use crate::sets::Info;
use crate::{Error, durable, files};

/// What must not be there: of the master, of an earlier life, or of the set.
const UNWANTED: [&str; 10] = [
    "standby.signal",
    "recovery.signal",
    "recovery.conf",
    "recovery.done",
    "postmaster.pid",
    "postmaster.opts",
    ".walshipping.last",
    ".walshipping.last.new",
    ".walshipping.periodic",
    ".walshipping.restoring",
];

/// Directory of more of them, in Debian's layout.
const INCLUDED: &str = "conf.d";

/// Files of the server's configuration.
const CONFIG_FILES: [&str; 3] = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"];

/// Directories that may be links to other disks.
const LINKED: [&str; 3] = ["pg_wal", "log", "pg_log"];

/// Makes the links that the master had, where they lead to nobody's directory; elsewhere they are directories.
pub(super) fn links(ready: &Path, has_own_wal: bool) -> Result<(), Error> {
    let links = Info::read(ready)?
        .map(|info| info.links)
        .unwrap_or_default();
    for (name, target) in &links {
        let (link, target) = (ready.join(name), Path::new(target));
        let is_meant = LINKED.contains(&name.as_str()) && !(has_own_wal && name == "pg_wal");
        // An interrupted restore has made it.
        if !is_meant || link.is_symlink() {
            continue;
        }
        let is_empty = files::create_private_dir(target)
            .and_then(|()| fs::read_dir(target))
            .map(|mut entries| entries.next().is_none());
        let problem = match is_empty {
            Ok(true) => None,
            Ok(false) => Some("it is not empty".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(problem) = problem {
            warn!(
                "{name} was a link to {} on the master, and is a directory here: {problem}",
                target.display()
            );
            continue;
        }
        files::remove_tree(&link)
            .and_then(|()| symlink(target, &link))
            .map_err(|error| Error::io("create", &link, error))?;
        info!(to = %target.display(), "{name} is a link, as on the master");
    }
    Ok(())
}

/// What the server insists on.
pub(super) fn directories(ready: &Path, wal: Option<&Path>) -> Result<(), Error> {
    for name in DIRECTORIES {
        let dir = ready.join(name);
        if name == "pg_wal"
            && let Some(wal) = wal
        {
            link_wal(&dir, wal)?;
            continue;
        }
        files::create_private_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
    }
    files::restrict(ready).map_err(|error| Error::io("protect", ready, error))
}

/// Refuses a directory for WAL that may be another server's.
pub(super) fn refuse_used(wal: &Path) -> Result<(), Error> {
    match fs::read_dir(wal).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(Error::Refused(format!(
            "slave_pg_xlog ({}) is not empty: empty it if it is not another server's, or use --force",
            wal.display()
        ))),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("list", wal, error)),
        _ => Ok(()),
    }
}

/// WAL elsewhere, as `slave_pg_xlog` says.
fn link_wal(link: &Path, wal: &Path) -> Result<(), Error> {
    files::create_private_dir(wal).map_err(|error| Error::io("create", wal, error))?;
    let entries = fs::read_dir(wal)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(|error| Error::io("list", wal, error))?;
    for entry in entries {
        let path = entry.path();
        let removed = match path.is_dir() {
            true => files::remove_tree(&path),
            false => durable::remove(&path).map(|_| ()),
        };
        removed.map_err(|error| Error::io("remove", &path, error))?;
    }
    let cleared = match fs::symlink_metadata(link) {
        Ok(metadata) if metadata.is_dir() => files::remove_tree(link),
        _ => durable::remove(link).map(|_| ()),
    };
    cleared
        .and_then(|()| symlink(wal, link))
        .map_err(|error| Error::io("create", link, error))
}

/// Removes what must not be there.
pub(super) fn clean(ready: &Path) -> Result<(), Error> {
    for name in UNWANTED.into_iter().chain(["walmgr_backup.json"]) {
        let path = ready.join(name);
        durable::remove(&path).map_err(|error| Error::io("remove", &path, error))?;
    }
    Ok(())
}

/// The configuration of this server: that of its old data directory, else what the master's was.
pub(super) fn config_files(ready: &Path, config: &SlaveConfig) -> Result<(), Error> {
    if let Some(dir) = &config.config_dir {
        outside(
            dir,
            config.config_backup.as_deref(),
            config.overwrite_config,
        )?;
        warn_of_paths(dir, &config.data);
        return Ok(());
    }
    for name in CONFIG_FILES {
        let own = config.data.join(name);
        let backup = config.config_backup.as_ref().map(|dir| dir.join(name));
        let target = ready.join(name);
        let source = match (own.exists(), backup.filter(|path| path.exists())) {
            (true, _) => own,
            (false, Some(backup)) if !target.exists() => backup,
            _ => continue,
        };
        copy(&source, &target)?;
    }
    if !ready.join("postgresql.conf").exists() {
        warn!(
            "there is no postgresql.conf, neither in the old data directory nor in config_backup: the server \
             will not start without one"
        );
    }
    Ok(())
}

/// Files that are missing in the directory of configurations, or all that there are.
fn outside(dir: &Path, backup: Option<&Path>, overwrite: bool) -> Result<(), Error> {
    let Some(backup) = backup else {
        return Ok(());
    };
    let mut names: Vec<PathBuf> = CONFIG_FILES.iter().map(PathBuf::from).collect();
    for entry in fs::read_dir(backup.join(INCLUDED)).into_iter().flatten() {
        let entry = entry.map_err(|error| Error::io("list", backup, error))?;
        names.push(Path::new(INCLUDED).join(entry.file_name()));
    }
    for name in names {
        let (source, target) = (backup.join(&name), dir.join(&name));
        if overwrite && source.exists() && target.exists() {
            let old = files::with_suffix(&target, ".old");
            copy(&target, &old)?;
        }
        if source.exists() && (overwrite || !target.exists()) {
            let above = target.parent().unwrap_or(dir);
            files::create_private_dir(above).map_err(|error| Error::io("create", above, error))?;
            copy(&source, &target)?;
            warn!(
                path = %target.display(),
                "copied from the master's: check what it says of directories and of the port"
            );
        }
    }
    include_directories(dir)
}

/// Directories without which the server does not start, although they may be empty.
fn include_directories(dir: &Path) -> Result<(), Error> {
    let text = fs::read_to_string(dir.join("postgresql.conf")).unwrap_or_default();
    for line in conf::lines(&text).filter(|line| line.name == "include_dir") {
        let path = dir.join(line.value);
        if !path.exists() {
            files::create_private_dir(&path).map_err(|error| Error::io("create", &path, error))?;
            info!(path = %path.display(), "created, as postgresql.conf includes it");
        }
    }
    Ok(())
}

/// Says which paths of a configuration outside of the data directory are those of another server: the master's,
/// where it came from there. They are left as they are.
fn warn_of_paths(dir: &Path, data: &Path) {
    let path = dir.join("postgresql.conf");
    let Ok(text) = fs::read_to_string(&path) else {
        return;
    };
    let warn = |name: &str, value: &str, problem: &str| {
        warn!(file = %path.display(), "{name} = '{value}': {problem}");
    };
    for name in [
        "data_directory",
        "hba_file",
        "ident_file",
        "external_pid_file",
    ] {
        let Some(value) = conf::find(&text, name).map(|line| line.value) else {
            continue;
        };
        let wanted = dir.join(&value);
        match name {
            "data_directory" if wanted != data => {
                warn(name, &value, "slave_data is another directory");
            }
            // The server makes it.
            "external_pid_file" if !wanted.parent().is_some_and(Path::is_dir) => {
                warn(name, &value, "there is no such directory here");
            }
            "data_directory" | "external_pid_file" => {}
            _ if !wanted.exists() => warn(name, &value, "there is no such file here"),
            _ => {}
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    info!(from = %from.display(), to = %to.display(), "configuration");
    let text = fs::read(from).map_err(|error| Error::io("read", from, error))?;
    durable::write(to, &text).map_err(|error| Error::io("write", to, error))
}
