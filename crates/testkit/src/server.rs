//! Finding server programs of a major version.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, TestResult};

/// Server programs of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Directory that holds `initdb`, `pg_ctl` and `postgres`.
    pub bindir: PathBuf,
    /// Major version: 15.
    pub major: u32,
}

/// Environment variable with the server's program directory; `cargo xtask test --pg-bindir` sets it.
pub const BINDIR_VARIABLE: &str = "SKYTOOLS_PG_BINDIR";

/// Environment variable with the program directory of the servers that data is replicated to, if it is another
/// version; `cargo xtask test --pg 14:18` sets it.
pub const SUBSCRIBER_BINDIR_VARIABLE: &str = "SKYTOOLS_PG_BINDIR_SUBSCRIBER";

/// Environment variable with directories of further installations, separated by `:`; each holds
/// `MAJOR/bin`.
const INSTALLATIONS_VARIABLE: &str = "SKYTOOLS_PG_INSTALLATIONS";

/// Finds a server: of the major asked for, or the preferred one.
///
/// Looks in `$SKYTOOLS_PG_BINDIR`, below `$SKYTOOLS_PG_INSTALLATIONS`, in the directories of Debian
/// and Red Hat, and in `$PATH`, newest first.
///
/// # Errors
/// There is none; the message says what to install.
pub fn find_server(major: Option<u32>) -> TestResult<Server> {
    let mut candidates = Vec::new();
    if let Some(bindir) = std::env::var_os(BINDIR_VARIABLE) {
        candidates.push(PathBuf::from(bindir));
    }
    if let Some(roots) = std::env::var_os(INSTALLATIONS_VARIABLE) {
        for root in std::env::split_paths(&roots) {
            candidates.extend(installations(&root, "bin"));
        }
    }
    candidates.extend(installations(Path::new("/usr/lib/postgresql"), "bin"));
    candidates.extend(
        installations(Path::new("/usr"), "bin")
            .into_iter()
            .filter(|dir| {
                dir.parent()
                    .and_then(Path::file_name)
                    .is_some_and(|name| name.to_string_lossy().starts_with("pgsql-"))
            }),
    );
    if let Some(path) = std::env::var_os("PATH") {
        candidates.extend(std::env::split_paths(&path));
    }
    for bindir in candidates {
        if !bindir.join("initdb").exists() {
            continue;
        }
        let found = server_in(&bindir)?;
        if major.is_none_or(|wanted| wanted == found.major) {
            return Ok(found);
        }
    }
    let wanted = major.map_or_else(String::new, |major| format!(" {major}"));
    Err(format!(
        "no PostgreSQL{wanted} server programs found; install the package postgresql, \
         or set {BINDIR_VARIABLE} to the directory of initdb and postgres"
    )
    .into())
}

/// The server whose programs are in `bindir`.
///
/// # Errors
/// `postgres` or `initdb` is not there or does not run.
pub fn server_in(bindir: &Path) -> TestResult<Server> {
    let initdb = bindir.join("initdb");
    if !initdb.is_file() {
        return Err(format!("{} is not there", initdb.display()).into());
    }
    Ok(Server {
        bindir: bindir.canonicalize()?,
        major: major_of(bindir)?,
    })
}

/// `ROOT/*/SUFFIX`, highest name first.
fn installations(root: &Path, suffix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path().join(suffix))
        .filter(|dir| dir.is_dir())
        .collect();
    found.sort();
    found.reverse();
    found
}

fn major_of(bindir: &Path) -> Result<u32, Error> {
    let postgres = bindir.join("postgres");
    let output = Command::new(&postgres)
        .arg("--version")
        .output()
        .map_err(|error| format!("{}: {error}", postgres.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace()
        .find_map(|word| word.split('.').next()?.parse().ok())
        .ok_or_else(|| format!("{} --version printed {text:?}", postgres.display()).into())
}
