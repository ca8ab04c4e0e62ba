//! What the master still has to archive, as its directory says: also where the archiver dies of a command that
//! fails with a code above 125, which the server does not count.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::Error;
use crate::names::WalName;

/// Files that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) count: usize,
    /// The one that waits longest, and for how long.
    pub(crate) oldest: Option<(String, Duration)>,
}

/// Looks into `pg_wal/archive_status`.
pub(crate) fn waiting(wal: &Path) -> Result<Waiting, Error> {
    let dir = wal.join("archive_status");
    let failed = |error| Error::io("list", &dir, error);
    let mut waiting = Waiting::default();
    for entry in fs::read_dir(&dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".ready") else {
            continue;
        };
        waiting.count += 1;
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        // Archived since.
        let Ok(modified) = modified else { continue };
        let age = SystemTime::now()
            .duration_since(modified)
            .unwrap_or_default();
        if waiting
            .oldest
            .as_ref()
            .is_none_or(|(_, oldest)| age > *oldest)
        {
            waiting.oldest = Some((name.to_owned(), age));
        }
    }
    Ok(waiting)
}

/// Files that wait behind another one, in the order in which the server will ask for them: histories first, and
/// then what has a later name.
pub(crate) fn behind(wal: &Path, first: WalName) -> Result<Vec<WalName>, Error> {
    let dir = wal.join("archive_status");
    let failed = |error| Error::io("list", &dir, error);
    let first = first.to_string();
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).map_err(failed)? {
        let file = entry.map_err(failed)?.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".ready"));
        let Some(Ok(parsed)) = name.map(str::parse::<WalName>) else {
            continue;
        };
        let name = parsed.to_string();
        let is_history = matches!(parsed, WalName::History(_));
        if name > first || (is_history && name != first) {
            names.push((!is_history, name, parsed));
        }
    }
    names.sort();
    Ok(names.into_iter().map(|(.., name)| name).collect())
}

/// Whether a file waits.
pub(crate) fn waits(wal: &Path, name: WalName) -> bool {
    let status = wal.join("archive_status");
    status.join(format!("{name}.ready")).exists()
}

#[cfg(test)]
mod tests {
    use super::behind;

    #[test]
    fn histories_come_first_and_then_what_follows() {
        let dir = tempfile::tempdir().expect("a directory");
        let status = dir.path().join("archive_status");
        std::fs::create_dir(&status).expect("a directory");
        for name in [
            "000000010000000000000003.ready",
            "000000010000000000000002.ready",
            "000000010000000000000004.00000028.backup.ready",
            "000000010000000000000004.ready",
            "000000010000000000000005.done",
            "00000002.history.ready",
            "000000020000000000000001.ready",
            "nonsense.ready",
        ] {
            std::fs::write(status.join(name), "").expect("a file");
        }
        let first = "000000010000000000000003".parse().expect("a name");
        let names = behind(dir.path(), first).expect("a list");
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "00000002.history",
                "000000010000000000000004",
                "000000010000000000000004.00000028.backup",
                "000000020000000000000001",
            ]
        );
    }
}
