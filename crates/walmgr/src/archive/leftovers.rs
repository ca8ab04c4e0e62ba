//! What is left of files that were being taken when their process died.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::ArchiveError;
use super::error::At;
use crate::durable;
use crate::names::WalName;

/// A file comes within minutes, or not at all.
const OLD: Duration = Duration::from_secs(24 * 3600);

/// Removes temporary files that nobody has written to for a day. Answers with their number.
pub(crate) fn clear(archive: &Path) -> Result<usize, ArchiveError> {
    let mut count = 0;
    for dir in [archive.to_owned(), archive.join(".walmgr")] {
        for entry in fs::read_dir(&dir).at("list", &dir)? {
            let path = entry.at("list", &dir)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if is_temporary(&name) && is_old(&path) {
                durable::remove(&path).at("remove", &path)?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// `.NAME.tmp` and `.NAME.sum.new`, and `.NAME.1a2B3c`, which rsync makes for older installations.
fn is_temporary(name: &str) -> bool {
    let Some((base, end)) = name
        .strip_prefix('.')
        .and_then(|rest| rest.rsplit_once('.'))
    else {
        return false;
    };
    let is_rsync = end.len() == 6 && end.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let base = match end {
        "new" => base.strip_suffix(".sum"),
        "tmp" => Some(base),
        _ => Some(base).filter(|_| is_rsync),
    };
    base.is_some_and(|base| base.parse::<WalName>().is_ok())
}

fn is_old(path: &Path) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| {
        SystemTime::now()
            .duration_since(time)
            .is_ok_and(|age| age > OLD)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::{clear, is_temporary};

    #[test]
    fn only_what_is_ours_is_temporary() {
        let segment = "000000010000000000000001";
        for name in [
            format!(".{segment}.tmp"),
            format!(".{segment}.sum.new"),
            format!(".{segment}.aB3xYz"),
            ".00000002.history.tmp".to_owned(),
        ] {
            assert!(is_temporary(&name), "{name}");
        }
        for name in [
            segment.to_owned(),
            format!("{segment}.sum"),
            format!(".{segment}.len"),
            format!(".{segment}.new"),
            ".SYSTEMID.new".to_owned(),
            ".own.tmp".to_owned(),
            "..tmp".to_owned(),
        ] {
            assert!(!is_temporary(&name), "{name}");
        }
    }

    #[test]
    fn what_is_being_written_stays() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join(".walmgr"))?;
        let old = dir.path().join(".walmgr/.000000010000000000000001.sum.new");
        let new = dir.path().join(".000000010000000000000002.tmp");
        for path in [&old, &new] {
            fs::write(path, "")?;
        }
        File::options()
            .write(true)
            .open(&old)?
            .set_modified(SystemTime::now() - Duration::from_secs(25 * 3600))?;
        assert_eq!(clear(dir.path())?, 1);
        assert!(!old.exists() && new.exists());
        Ok(())
    }
}
