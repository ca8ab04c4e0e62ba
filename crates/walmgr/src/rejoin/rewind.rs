//! `pg_rewind`: only what has changed since the fork is copied from the primary.
//!
//! It may leave the directory in a state that is none, so a file says that it was begun; and it brings the
//! primary's configuration, so this server's own is put beside the directory before, and back after.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use skytools::failpoint;
use tracing::info;

use super::primary::Primary;
use crate::config::SlaveConfig;
use crate::files::with_suffix;
use crate::server::{DataDir, command, conf, run as run_program};
use crate::{Error, durable, files, restore};

/// What this server has of its own.
const OWN: [&str; 4] = [
    "postgresql.conf",
    "pg_hba.conf",
    "pg_ident.conf",
    "postgresql.auto.conf",
];

/// There while the directory is rewound; beside it, since nothing of this server's own stays in it.
fn begun(config: &SlaveConfig) -> PathBuf {
    with_suffix(&config.data, ".rejoining")
}

/// Where this server's own configuration is meanwhile.
fn aside(config: &SlaveConfig) -> PathBuf {
    with_suffix(&config.data, ".config")
}

pub(super) fn was_interrupted(config: &SlaveConfig) -> bool {
    begun(config).exists()
}

/// Why the directory cannot be rewound, if it cannot.
pub(super) fn obstacle(data: &DataDir, primary: &Primary) -> Option<String> {
    let has_links =
        fs::read_dir(data.path.join("pg_tblspc")).is_ok_and(|mut entries| entries.next().is_some());
    if has_links || primary.has_tablespaces {
        // It would make links to where the primary has its own.
        return Some("there are tablespaces".to_owned());
    }
    if let Err(error) = run_program(data.program("pg_rewind").arg("--version")) {
        return Some(skytools::app::chain(&error));
    }
    let has = |key: &str, off: &str| data.control_text(key).map(|value| value != off);
    match (
        has("Data page checksum version", "0"),
        has("wal_log_hints setting", "off"),
    ) {
        (Ok(true), _) | (_, Ok(true)) => None,
        (Ok(false), Ok(false)) => {
            Some("the cluster has neither data checksums nor wal_log_hints".to_owned())
        }
        (Err(error), _) | (_, Err(error)) => Some(skytools::app::chain(&error)),
    }
}

/// Rewinds the directory, and makes it one of a standby.
///
/// # Errors
/// It is not to be used any more, and [`was_interrupted`] says so.
pub(super) fn run(
    config: &SlaveConfig,
    primary: &mut Primary,
    archive_of: Option<&Path>,
) -> Result<(), Error> {
    primary.checkpoint()?;
    put_aside(config)?;
    configure(config, archive_of)?;
    let begun = begun(config);
    durable::write(&begun, b"").map_err(|error| Error::io("write", &begun, error))?;
    failpoint::step("rejoin.rewinding");
    let data = DataDir::new(&config.data, config.bin.as_deref());
    let mut program = data.program("pg_rewind");
    program
        .arg("--restore-target-wal")
        .arg("--target-pgdata")
        .arg(&config.data)
        // What restores WAL asks the directory it is in whether it is a standby's.
        .current_dir("/");
    if let Some(dir) = &config.config_dir
        && data.major()? >= 15
    {
        program
            .arg("--config-file")
            .arg(dir.join("postgresql.conf"));
    }
    config
        .rewind()?
        .pass("--source-server", "walmgr", &mut program);
    info!("rewinding the data directory");
    run_program(&mut program)?;
    failpoint::step("rejoin.rewound");
    put_back(config)?;
    remove_foreign(config)?;
    restore::make_standby(config)?;
    // Last: until then it is none of both.
    durable::remove(&begun)
        .and_then(|_| durable::sync_filesystem(&config.data))
        .map_err(|error| Error::io("remove", &begun, error))
}

fn put_aside(config: &SlaveConfig) -> Result<(), Error> {
    let aside = aside(config);
    files::create_private_dir(&aside).map_err(|error| Error::io("create", &aside, error))?;
    for name in OWN {
        copy(&config.data.join(name), &aside.join(name))?;
    }
    durable::sync_dir(&aside).map_err(|error| Error::io("sync", &aside, error))
}

/// Gives the directory back its configuration, if that is beside it.
pub(super) fn put_back(config: &SlaveConfig) -> Result<(), Error> {
    for name in OWN {
        copy(&aside(config).join(name), &config.data.join(name))?;
    }
    Ok(())
}

/// Removes the primary's configuration, of which this server has its own elsewhere.
fn remove_foreign(config: &SlaveConfig) -> Result<(), Error> {
    let aside = aside(config);
    for name in OWN.iter().filter(|name| !aside.join(name).exists()) {
        let path = config.data.join(name);
        durable::remove(&path).map_err(|error| Error::io("remove", &path, error))?;
    }
    Ok(())
}

/// Removes what was beside the directory.
pub(super) fn forget(config: &SlaveConfig) -> Result<(), Error> {
    let (begun, aside) = (begun(config), aside(config));
    durable::remove(&begun).map_err(|error| Error::io("remove", &begun, error))?;
    files::remove_tree(&aside).map_err(|error| Error::io("remove", &aside, error))
}

/// Copies a file if there is one.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    match fs::read(from) {
        Ok(text) => durable::write(to, &text).map_err(|error| Error::io("write", to, error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("read", from, error)),
    }
}

/// The server recovers from its crash first, and must not throw away WAL then that has to be read after it. What
/// it has not any more comes from the archive.
fn configure(config: &SlaveConfig, archive_of: Option<&Path>) -> Result<(), Error> {
    let ini = match archive_of {
        Some(path) => {
            std::path::absolute(path).map_err(|error| Error::io("resolve", path, error))?
        }
        None => config.path.clone(),
    };
    let path = config.data.join("postgresql.auto.conf");
    let old = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::io("read", &path, error)),
    };
    let mut text = conf::without(&old, |line| {
        matches!(
            line.name.as_str(),
            "restore_command" | "wal_keep_size" | "max_slot_wal_keep_size"
        )
    });
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, value) in [
        ("restore_command", command::own(&ini, "xrestore %f \"%p\"")?),
        ("wal_keep_size", "1TB".to_owned()),
    ] {
        text.push_str(&format!("{name} = {}\n", conf::quote(&value)));
    }
    durable::write(&path, text.as_bytes()).map_err(|error| Error::io("write", &path, error))
}
