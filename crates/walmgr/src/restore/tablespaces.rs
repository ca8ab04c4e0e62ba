//! Where the tablespaces of a set go: below the data directory, or where `tablespace_map` says.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use skytools::failpoint;
use tracing::{info, warn};

use crate::config::SlaveConfig;
use crate::progress::Progress;
use crate::{Error, durable, files};

/// Says that the content of a directory is a copy that is not complete.
const UNFINISHED: &str = ".walmgr.copying";

/// Prefix of a tablespace in a set that has been copied elsewhere.
const GONE: &str = ".gone.";

/// A map of tablespaces: `OID=DIR, OID=DIR`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TablespaceMap(BTreeMap<u32, PathBuf>);

impl std::str::FromStr for TablespaceMap {
    type Err = String;

    fn from_str(text: &str) -> Result<TablespaceMap, String> {
        let mut map = BTreeMap::new();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (oid, dir) = parse(item)?;
            if map.insert(oid, dir).is_some() {
                return Err(format!("tablespace {oid} is there twice"));
            }
        }
        Ok(TablespaceMap(map))
    }
}

/// One tablespace and its directory.
pub(crate) fn parse(item: &str) -> Result<(u32, PathBuf), String> {
    let wrong = || format!("'{item}' is not of the form OID=DIR, with an absolute DIR");
    let (oid, dir) = item.split_once('=').ok_or_else(wrong)?;
    let oid = oid.trim().parse().map_err(|_| wrong())?;
    let dir = skytools::app::expand_home(dir.trim());
    match dir.is_absolute() {
        true => Ok((oid, dir)),
        false => Err(wrong()),
    }
}

impl TablespaceMap {
    /// With what a command line says, which counts more.
    pub(crate) fn with(mut self, more: &[(u32, PathBuf)]) -> TablespaceMap {
        self.0.extend(more.iter().cloned());
        self
    }

    fn of(&self, oid: &str) -> Option<&PathBuf> {
        self.0.get(&oid.parse().ok()?)
    }

    /// Refuses directories that hold something else: perhaps the tablespace of a server that lives.
    ///
    /// # Errors
    /// One does; `source` is the set.
    pub(super) fn refuse_used(&self, source: &Path) -> Result<(), Error> {
        for (oid, dir) in &self.0 {
            let there = source.join("tmpspc").join(oid.to_string());
            if !there.exists() {
                warn!(
                    oid,
                    "tablespace_map names a tablespace that is not in the set"
                );
            } else if is_used(dir)? {
                return Err(Error::Refused(format!(
                    "{} is not empty, and tablespace {oid} would go there: empty it if it is nobody's, or use \
                     --force, which deletes what is there",
                    dir.display()
                )));
            }
        }
        Ok(())
    }
}

/// Whether a directory has content, other than a copy of ours that has been interrupted.
fn is_used(dir: &Path) -> Result<bool, Error> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some() && !dir.join(UNFINISHED).exists()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("list", dir, error)),
    }
}

/// Links to the tablespaces of the set, and to nothing else. The server would make those of the master's map
/// anew, and on one machine open the master's own files.
pub(super) fn place(ready: &Path, config: &SlaveConfig) -> Result<(), Error> {
    let links = ready.join("pg_tblspc");
    files::create_private_dir(&links).map_err(|error| Error::io("create", &links, error))?;
    // What a restore that was interrupted has put elsewhere stays there.
    let mut elsewhere: Vec<PathBuf> = Vec::new();
    let listed = fs::read_dir(&links).map_err(|error| Error::io("list", &links, error))?;
    for entry in listed {
        let entry = entry.map_err(|error| Error::io("list", &links, error))?;
        let path = entry.path();
        if !path.is_symlink() {
            continue;
        }
        if let Some(to) = config
            .tablespace_map
            .of(&entry.file_name().to_string_lossy())
            && fs::read_link(&path).is_ok_and(|target| target == *to)
        {
            elsewhere.push(to.clone());
            continue;
        }
        durable::remove(&path).map_err(|error| Error::io("remove", &path, error))?;
    }
    let spaces = ready.join("tmpspc");
    let entries = match fs::read_dir(&spaces) {
        Ok(entries) => entries.collect::<std::io::Result<Vec<_>>>(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    for entry in entries.map_err(|error| Error::io("list", &spaces, error))? {
        let oid = entry.file_name();
        let Ok(oid) = oid.to_string_lossy().parse::<u32>() else {
            continue;
        };
        let link = links.join(oid.to_string());
        let target = match config.tablespace_map.0.get(&oid) {
            Some(dir) => {
                copy(&entry.path(), dir)?;
                dir.clone()
            }
            None => config.data.join("tmpspc").join(oid.to_string()),
        };
        if !elsewhere.contains(&target) {
            symlink(&target, &link).map_err(|error| Error::io("create", &link, error))?;
        }
        if config.tablespace_map.0.contains_key(&oid) {
            // From here on the copy is what counts.
            let gone = spaces.join(format!("{GONE}{oid}"));
            fs::rename(entry.path(), &gone)
                .and_then(|()| durable::sync_dir(&spaces))
                .map_err(|error| Error::io("rename", &entry.path(), error))?;
            elsewhere.push(target.clone());
        }
        info!(oid, path = %target.display(), "tablespace");
    }
    for dir in &elsewhere {
        let mark = dir.join(UNFINISHED);
        durable::remove(&mark)
            .and_then(|_| durable::sync_dir(dir))
            .map_err(|error| Error::io("remove", &mark, error))?;
    }
    for entry in fs::read_dir(&spaces).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(GONE) {
            let path = entry.path();
            files::remove_tree(&path).map_err(|error| Error::io("remove", &path, error))?;
        }
    }
    forget_map(ready)
}

/// Copies a tablespace into a directory of its own; what is there until its mark is removed is not complete.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |error| Error::io("copy a tablespace to", to, error);
    files::create_private_dir(to).map_err(failed)?;
    let mark = to.join(UNFINISHED);
    // Emptied, and not removed: it may be a mount point.
    for entry in fs::read_dir(to).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        match path.is_dir() && !path.is_symlink() {
            true => files::remove_tree(&path).map_err(failed)?,
            false if path == mark => {}
            false => durable::remove(&path).map(|_| ()).map_err(failed)?,
        }
    }
    durable::write(&mark, b"").map_err(failed)?;
    let bytes = files::size_of_tree(from).map_err(failed)?;
    files::copy_tree(from, to, &Progress::new("copying a tablespace", bytes))
        .and_then(|()| durable::sync_filesystem(to))
        .map_err(failed)?;
    failpoint::step("restore.tablespace");
    Ok(())
}

fn forget_map(ready: &Path) -> Result<(), Error> {
    let map = ready.join("tablespace_map");
    durable::remove(&map)
        .map(|_| ())
        .map_err(|error| Error::io("remove", &map, error))
}

#[cfg(test)]
mod tests {
    use super::TablespaceMap;

    #[test]
    fn a_map_names_directories_of_tablespaces() {
        let map: TablespaceMap = "16384=/disk1/a b, 16385 = /disk2 ,".parse().expect("a map");
        assert_eq!(map.of("16384").expect("there").as_os_str(), "/disk1/a b");
        assert_eq!(map.of("16385").expect("there").as_os_str(), "/disk2");
        assert_eq!(map.of("1"), None);
        assert_eq!("".parse(), Ok(TablespaceMap::default()));
        for wrong in ["16384", "x=/d", "16384=d", "1=/a, 1=/b", "-1=/d"] {
            assert!(wrong.parse::<TablespaceMap>().is_err(), "{wrong}");
        }
        let map = map.with(&[(16384, "/disk3".into())]);
        assert_eq!(map.of("16384").expect("there").as_os_str(), "/disk3");
    }
}
