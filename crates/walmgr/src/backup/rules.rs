//! What of a data directory goes into a base backup, whoever copies it.

use std::path::Path;

/// Directories whose content is of the running server alone.
pub(super) const EMPTY: [&str; 7] = [
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
];

/// Files at the top that are of the running server, or of an earlier backup.
pub(super) const LEFT_OUT: [&str; 15] = [
    "postmaster.pid",
    "postmaster.opts",
    "backup_label",
    "backup_label.old",
    "tablespace_map",
    "tablespace_map.old",
    "backup_manifest",
    "walmgr_backup.json",
    "*.signal",
    "recovery.conf",
    "recovery.done",
    "postgresql.auto.conf.tmp",
    "current_logfiles",
    ".walshipping.*",
    "tmpspc",
];

/// Files of any directory that a server makes anew.
pub(super) const ANYWHERE: [&str; 2] = ["pg_internal.init*", "pgsql_tmp*"];

/// Copied last: what it says must hold for all that was copied.
pub(super) const CONTROL_FILE: &str = "global/pg_control";

/// Directory of logs inside of the data directory: the usual names.
pub(super) fn log_directory(data: &Path) -> Option<&'static str> {
    ["log", "pg_log"]
        .into_iter()
        .find(|name| data.join(name).is_dir())
}

/// Whether something does not go, by its path in the data directory, as the patterns tell rsync.
pub(super) fn is_left_out(path: &Path, is_link: bool, log: Option<&str>) -> bool {
    let mut parts = path.components();
    let first = parts.next().and_then(|part| part.as_os_str().to_str());
    let is_top = parts.next().is_none();
    let is_in = |dir: &str| first == Some(dir);
    if log.is_some_and(is_in) {
        return !is_top;
    }
    if EMPTY.into_iter().chain(["pg_wal"]).any(is_in) {
        // A link goes as a whole, and is made anew as a directory there.
        return !is_top || is_link;
    }
    if is_top && LEFT_OUT.into_iter().any(|rule| matches(first, rule)) {
        return true;
    }
    // Tablespaces go by themselves; one that lies in the directory is copied with it.
    let name = path.file_name().and_then(|name| name.to_str());
    let is_space =
        is_link && is_in("pg_tblspc") && name.is_some_and(|name| name.parse::<u32>().is_ok());
    is_space || path == Path::new(CONTROL_FILE) || is_temporary(path)
}

/// What a server makes anew, in any directory.
pub(super) fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    ANYWHERE.into_iter().any(|rule| matches(name, rule))
}

/// Whether a name is that of a rule, which may have a star at its beginning or end.
fn matches(name: Option<&str>, rule: &str) -> bool {
    let Some(name) = name else { return false };
    match (rule.strip_prefix('*'), rule.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (_, Some(begin)) => name.starts_with(begin),
        _ => name == rule,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::is_left_out;

    #[test]
    fn what_is_of_the_running_server_is_left_out() {
        let is_left_out = |path, is_link| is_left_out(Path::new(path), is_link, Some("log"));
        for path in [
            "postmaster.pid",
            "standby.signal",
            ".walshipping.last",
            "pg_wal/000000010000000000000001",
            "pg_replslot/slot/state",
            "log/today.log",
            "global/pg_control",
            "global/pg_internal.init.1",
            "base/1/pgsql_tmp",
        ] {
            assert!(is_left_out(path, false), "{path}");
        }
        for path in [
            "PG_VERSION",
            "base/1/1259",
            "base/postmaster.pid",
            "pg_xact/0000",
            "pg_stat/pgstat.stat",
        ] {
            assert!(!is_left_out(path, false), "{path}");
        }
        // Links to tablespaces, and not those that lie in the directory.
        assert!(is_left_out("pg_tblspc/16400", true));
        assert!(!is_left_out("pg_tblspc/16400", false));
        assert!(!is_left_out("pg_wal", false));
        assert!(is_left_out("pg_wal", true));
        assert!(!is_left_out("log", true));
    }
}
