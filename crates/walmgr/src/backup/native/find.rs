//! What there is to copy of a tree that a server works on.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use tracing::{debug, warn};

use crate::Error;

/// What has been found, by paths relative to the tree; directories come before what is in them.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) directories: Vec<Directory>,
    pub(super) links: Vec<Link>,
    pub(super) files: Vec<Task>,
}

#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// `None` if it has just vanished.
    pub(super) mode: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) path: PathBuf,
    pub(super) to: PathBuf,
}

/// A file that is to be copied.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) path: PathBuf,
    pub(super) source: PathBuf,
    pub(super) size: u64,
}

/// What does not go, by paths relative to the tree, and whether they are links.
pub(super) type Rule<'a> = &'a dyn Fn(&Path, bool) -> bool;

/// Finds all of a tree; what vanishes meanwhile is as if it had not been there.
///
/// # Errors
/// Something cannot be looked at.
pub(super) fn find(root: &Path, is_left_out: Rule<'_>) -> Result<Found, Error> {
    let mut found = Found::default();
    let tree = Tree { root, is_left_out };
    tree.directory(Path::new(""), root, &mut found)?;
    // The largest first, so that none is left over in the end while others have nothing to do.
    found.files.sort_by_key(|task| std::cmp::Reverse(task.size));
    Ok(found)
}

struct Tree<'a> {
    root: &'a Path,
    is_left_out: Rule<'a>,
}

impl Tree<'_> {
    fn directory(&self, path: &Path, source: &Path, found: &mut Found) -> Result<(), Error> {
        let unread = |error| Error::io("list", source, error);
        let entries = match fs::read_dir(source) {
            // Only what is below may vanish.
            Err(error) if error.kind() == ErrorKind::NotFound && source != self.root => {
                return Ok(());
            }
            entries => entries.map_err(unread)?,
        };
        let mode = fs::metadata(source).map(|metadata| metadata.permissions().mode());
        found.directories.push(Directory {
            path: path.to_owned(),
            mode: mode.ok(),
        });
        for entry in entries {
            let entry = entry.map_err(unread)?;
            let path = path.join(entry.file_name());
            let source = entry.path();
            let is_link = match entry.file_type() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                kind => kind.map_err(unread)?.is_symlink(),
            };
            if (self.is_left_out)(&path, is_link) {
                continue;
            }
            let Some(metadata) = look(&path, &source)? else {
                continue;
            };
            if metadata.is_dir() {
                self.directory(&path, &source, found)?;
            } else if metadata.is_symlink() {
                let to = fs::read_link(&source).map_err(unread)?;
                found.links.push(Link { path, to });
            } else if metadata.is_file() {
                let size = metadata.len();
                found.files.push(Task { path, source, size });
            } else {
                debug!(path = %source.display(), "neither file nor directory: left out");
            }
        }
        Ok(())
    }
}

/// What an entry is; of a link that leads out of the tree, what it leads to. `None`: nothing any more.
fn look(path: &Path, source: &Path) -> Result<Option<Metadata>, Error> {
    let found = fs::symlink_metadata(source).and_then(|metadata| {
        if metadata.is_symlink() && leads_out(path, &fs::read_link(source)?) {
            return fs::metadata(source);
        }
        Ok(metadata)
    });
    match found {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if fs::symlink_metadata(source).is_ok() {
                warn!(path = %source.display(), "a link that leads nowhere: left out");
            }
            Ok(None)
        }
        Err(error) => Err(Error::io("look at", source, error)),
    }
}

/// Whether a link at a path of the tree leads out of it, as far as its text tells.
fn leads_out(path: &Path, to: &Path) -> bool {
    let mut depth = path.components().count() - 1;
    for component in to.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::CurDir => {}
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::leads_out;

    #[test]
    fn a_link_leads_out_if_its_text_does() {
        for (path, to, out) in [
            ("a", "b", false),
            ("a/b", "../c", false),
            ("a", "../c", true),
            ("a/b", "../../c", true),
            ("a/b", "c/../../../d", true),
            ("a", "/tmp", true),
        ] {
            let found = leads_out(Path::new(path), Path::new(to));
            assert_eq!(found, out, "{path} {to}");
        }
    }
}
