//! Whether a data directory can be moved aside, and another one take its place.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Access;

use crate::Error;

/// Refuses a directory that can be neither moved aside nor replaced, before anything is stopped for that.
///
/// # Errors
/// A disk is mounted there, or its user may not write to the directory that it is in.
pub(crate) fn refuse_immovable(data: &Path) -> Result<(), Error> {
    if !data.is_symlink() && is_mounted(data) {
        return Err(Error::Refused(format!(
            "{} is where a disk is mounted, so it cannot be moved aside: put the data directory one level below",
            data.display()
        )));
    }
    let parent = data.parent().unwrap_or(Path::new("/"));
    // What is not there yet is made.
    match parent.is_dir() && rustix::fs::access(parent, Access::WRITE_OK | Access::EXEC_OK).is_err()
    {
        true => Err(Error::Refused(format!(
            "{} cannot be moved aside: this user may not write to {}",
            data.display(),
            parent.display()
        ))),
        false => Ok(()),
    }
}

/// Whether a file system, or a part of one, begins at a directory.
fn is_mounted(data: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    let parent = data.parent().unwrap_or(Path::new("/"));
    if let (Ok(own), Ok(above)) = (device(data), device(parent))
        && own != above
    {
        return true;
    }
    // A part of the same one, as containers have it.
    let Ok(path) = data.canonicalize() else {
        return false;
    };
    let path = escaped(&path.to_string_lossy());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(&path))
}

/// A path as the kernel writes it there.
fn escaped(path: &str) -> String {
    path.replace('\\', "\\134")
        .replace(' ', "\\040")
        .replace('\t', "\\011")
        .replace('\n', "\\012")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{escaped, is_mounted};

    #[test]
    fn what_is_mounted_is_known_by_its_path() {
        assert!(is_mounted(Path::new("/proc")));
        assert!(!is_mounted(Path::new("/proc/self")));
        assert!(!is_mounted(Path::new("/no/such/directory")));
        assert_eq!(escaped("/a b\\c"), "/a\\040b\\134c");
    }
}
