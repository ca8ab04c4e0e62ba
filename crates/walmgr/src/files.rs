//! Trees of files: making, copying and removing them.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::progress::Progress;

/// Makes a directory that is its owner's alone, with the directories above it.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Bytes that an ordinary user may still write.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether two paths, or what is above them, are on one filesystem, so that one can be renamed to the other.
pub(crate) fn is_same_filesystem(a: &Path, b: &Path) -> io::Result<bool> {
    Ok(device(a)? == device(b)?)
}

fn device(path: &Path) -> io::Result<u64> {
    for path in path.ancestors() {
        match fs::metadata(path) {
            Ok(metadata) => return Ok(metadata.dev()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::NotFound.into())
}

/// One entry of a tree.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Relative to the tree.
    pub(crate) path: PathBuf,
    pub(crate) metadata: fs::Metadata,
}

/// Everything below a directory, itself left out, in the order of names; links are not followed.
pub(crate) fn walk(root: &Path) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(dir) = left.pop() {
        let mut entries = fs::read_dir(root.join(&dir))?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = dir.join(entry.file_name());
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                left.push(path.clone());
            }
            found.push(Entry { path, metadata });
        }
    }
    Ok(found)
}

/// Bytes of all files of a tree.
pub(crate) fn size_of_tree(root: &Path) -> io::Result<u64> {
    let files = walk(root)?.into_iter().map(|entry| entry.metadata);
    Ok(files
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum())
}

/// Copies a tree: files, directories and links, with their modes. What the filesystem can share, it does.
pub(crate) fn copy_tree(from: &Path, to: &Path, progress: &Progress) -> io::Result<()> {
    let mode = fs::metadata(from)?.permissions();
    create_private_dir(to)?;
    for entry in walk(from)? {
        let (source, target) = (from.join(&entry.path), to.join(&entry.path));
        let kind = entry.metadata.file_type();
        if kind.is_dir() {
            create_private_dir(&target)?;
            fs::set_permissions(&target, entry.metadata.permissions())?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            progress.add(fs::copy(&source, &target)?);
        }
    }
    fs::set_permissions(to, mode)
}

/// Removes a tree; none is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes permissions of the group and of others away, as the server demands: 0700, or 0750 if the group
/// may read.
pub(crate) fn restrict(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    let allowed = if mode & 0o050 == 0o050 { 0o750 } else { 0o700 };
    if mode & 0o777 != allowed {
        fs::set_permissions(path, Permissions::from_mode(allowed))?;
    }
    Ok(())
}

/// A path with something appended to its last name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
