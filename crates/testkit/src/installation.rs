//! A copy of a server's installation, mostly links, with extensions of a test's own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::TestResult;

/// Builds the directories of an installation below `root`, under the paths they have, and returns that of
/// the programs. `files` are added to what extensions there are.
pub(crate) fn copy(
    root: &Path,
    bin: &Path,
    share: &Path,
    lib: &Path,
    files: &[(String, String)],
) -> TestResult<PathBuf> {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let extension = share.join("extension");
    link_entries(bin, &below(bin), &["postgres"])?;
    link_entries(share, &below(share), &["extension"])?;
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    link_entries(&extension, &below(&extension), &names)?;
    fs::copy(bin.join("postgres"), below(bin).join("postgres"))?;
    for (name, text) in files {
        fs::write(below(&extension).join(name), text)?;
    }
    // Where programs of a relocatable installation look for libraries, and where the server does.
    for directory in [&bin.with_file_name("lib"), lib] {
        let link = below(directory);
        if directory.is_dir() && !link.exists() {
            fs::create_dir_all(link.parent().unwrap_or(root))?;
            symlink(directory, link)?;
        }
    }
    Ok(below(bin))
}

/// Links what is in a directory, but for some names.
fn link_entries(from: &Path, to: &Path, without: &[&str]) -> TestResult {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if !without.iter().any(|other| name == *other) {
            symlink(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
