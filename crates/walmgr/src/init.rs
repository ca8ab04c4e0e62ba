//! The first steps on a host: a configuration that is filled in, and the keys and passwords that the two hosts
//! need of each other.

pub(crate) mod keys;
pub(crate) mod locate;
pub(crate) mod password;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use skytools::app::{CommonArgs, output};
use skytools::config::Settings;

use crate::args::{FirstSteps, Options};
use crate::config::{Config, MasterConfig, Role, SECTIONS, SlaveConfig};
use crate::{Error, durable, files};
use locate::Located;

/// The user's directory, which everything goes to that is not said.
///
/// # Errors
/// It is not known.
pub(crate) fn home() -> Result<PathBuf, Error> {
    std::env::home_dir()
        .filter(|home| home.is_absolute())
        .ok_or_else(|| Error::Refused("nobody knows the home directory: set HOME".to_owned()))
}

/// Writes a configuration of this host, and does what else was asked for.
///
/// # Errors
/// There is one already, the server is not found, or something cannot be written; the message says what.
pub(crate) fn run(
    role: Role,
    common: &CommonArgs,
    steps: &FirstSteps,
    options: &Options,
) -> Result<(), Error> {
    if role == Role::Master && steps.slave.is_none() {
        return Err(Error::Refused(
            "a master needs its slave: say --slave HOST".to_owned(),
        ));
    }
    let home = home()?;
    let located = Located::find(steps.pgdata.as_deref())?;
    let text = match role {
        Role::Master => text::master(&located, &home, steps.slave.as_deref().unwrap_or_default())?,
        Role::Slave => text::slave(&located, &home, steps.primary_conninfo.as_deref()),
    };
    let text = text.with_overrides(&common.set);
    let path = match (&common.config, &steps.config_dir) {
        (Some(path), _) => path.clone(),
        (None, Some(dir)) => dir.join(text.file_name()),
        (None, None) => home.join("conf").join(text.file_name()),
    };
    let path = std::path::absolute(&path).map_err(|error| Error::io("resolve", &path, error))?;
    if options.not_really {
        output(format!("would write {}:\n\n{text}\n", path.display()))?;
    } else {
        for dir in [home.join("log"), home.join("pid")] {
            files::create_private_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
        }
        write(&path, &text.to_string(), role, options.force)?;
        output(format!(
            "wrote {}: look at it, then run\n  walmgr {} setup\n",
            path.display(),
            path.display()
        ))?;
    }
    let dry_run = options.not_really;
    if steps.ssh_keygen {
        keys::generate(&home, dry_run)?;
    }
    if let Some(file) = &steps.ssh_add_key {
        keys::add(&home, file, dry_run)?;
    }
    let conninfo = steps.primary_conninfo.as_deref();
    if let Some(file) = &steps.add_password {
        password::add(&home, conninfo, file, dry_run)?;
    }
    if steps.remove_password {
        password::remove(&home, conninfo, dry_run)?;
    }
    Ok(())
}

/// Writes a file that this program accepts, or none.
fn write(path: &Path, text: &str, role: Role, force: bool) -> Result<(), Error> {
    if path.exists() && !force {
        return Err(Error::Refused(format!(
            "{} is there already; --force replaces it",
            path.display()
        )));
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    files::create_private_dir(dir).map_err(|error| Error::io("create", dir, error))?;
    let new = dir.join(format!(".walmgr.{}.ini", std::process::id()));
    let accepted = durable::write(&new, text.as_bytes())
        .map_err(|error| Error::io("write", &new, error))
        .and_then(|()| accept(&new, role));
    let written = accepted.and_then(|()| {
        fs::rename(&new, path)
            .and_then(|()| durable::sync_dir(dir))
            .map_err(|error| Error::io("write", path, error))
    });
    if written.is_err() {
        // Whatever the reason was, it is the one that counts.
        let _ = fs::remove_file(&new);
    }
    written
}

/// Whether a file would be accepted.
fn accept(path: &Path, role: Role) -> Result<(), Error> {
    let none: &[skytools::app::Override] = &[];
    let settings = Settings::load(path, SECTIONS, none)?;
    let config: Config = settings.main()?;
    match role {
        Role::Master => MasterConfig::new(&config).map(|_| ()),
        Role::Slave => SlaveConfig::new(&config, path).map(|_| ()),
    }
}
