//! The slave's part: fetching the copy, looking at it, and leaving it where that of any other backup is.

use std::cell::Cell;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use skytools::app::chain;
use skytools::config::ConfigError;
use skytools::daemon::Stop;
use skytools::db::During;
use skytools::failpoint;
use tracing::{debug, info};

use super::super::LABEL;
use super::super::receive::need_lock;
use super::{Fetched, Order, manifest, place};
use crate::basebackup::{BaseBackup, Kind, Watch};
use crate::config::{Conninfo, SlaveConfig};
use crate::server::DataDir;
use crate::sets::Sets;
use crate::{Error, durable, files};

/// Who connects.
const NAME: &str = "walmgr backup";

/// Between two looks whether the backup lives.
const LOOK: Duration = Duration::from_millis(500);

/// Looks whether a copy could be fetched; changes nothing.
///
/// # Errors
/// There are no programs for it, or the server does not let the slave in.
pub(crate) fn look(config: &SlaveConfig, order: &Order) -> Result<(), Error> {
    let programs = DataDir::new(&config.data, config.bin.as_deref()).major_of_programs()?;
    if order.major != programs {
        return Err(Error::Refused(format!(
            "the master is PostgreSQL {}, and the programs of slave_bin are of {programs}",
            order.major
        )));
    }
    let conninfo = conninfo(config, order)?;
    look_at_primary(&conninfo, order)?;
    // A directory with something in it, for one: this very file.
    let full = config.path.parent().unwrap_or(Path::new("/"));
    base_backup(&conninfo, order)
        .try_to_connect(config, full)
        .map_err(|error| {
            Error::Refused(format!(
                "{}. With backup_method = basebackup the slave copies the master over a replication connection, as \
                 primary_conninfo of its own file says, else as master_db says: its role needs REPLICATION, and the \
                 master's pg_hba.conf a line like: host replication ROLE ADDRESS scram-sha-256",
                chain(&error)
            ))
        })
}

/// Where the master is for the slave: its own file knows best.
fn conninfo(config: &SlaveConfig, order: &Order) -> Result<Conninfo, Error> {
    if let Some(own) = &config.primary_conninfo {
        return Ok(own.clone());
    }
    let masters = match &order.conninfo {
        Some(text) => Conninfo::optional("master_db", text)?,
        None => None,
    };
    masters.ok_or_else(|| ConfigError::Missing("primary_conninfo".to_owned()).into())
}

/// Whether this is the cluster, and its primary, as far as the role may ask: one for replication often may not.
fn look_at_primary(conninfo: &Conninfo, order: &Order) -> Result<(), Error> {
    let asked = conninfo.open("primary_conninfo").and_then(|mut db| {
        let sql = "select system_identifier, pg_is_in_recovery() from pg_control_system()";
        Ok(db.query_one(sql, &[]).during("look at the primary")?)
    });
    let row = match asked {
        Ok(row) => row,
        Err(error) => {
            debug!("the master answers no questions: {}", chain(&error));
            return Ok(());
        }
    };
    is_the_cluster(row.get::<_, i64>(0).cast_unsigned(), order)?;
    match row.get(1) {
        true => Err(is_a_standby()),
        false => Ok(()),
    }
}

fn is_the_cluster(system_identifier: u64, order: &Order) -> Result<(), Error> {
    match system_identifier == order.system_identifier {
        true => Ok(()),
        false => Err(Error::Refused(format!(
            "primary_conninfo leads to the cluster {system_identifier}, and the master is {}",
            order.system_identifier
        ))),
    }
}

fn is_a_standby() -> Error {
    Error::Refused(
        "primary_conninfo leads to a standby, and a backup is one of the master: let it lead there"
            .to_owned(),
    )
}

fn base_backup<'a>(conninfo: &'a Conninfo, order: &'a Order) -> BaseBackup<'a> {
    BaseBackup {
        conninfo,
        name: NAME,
        kind: Kind::Set {
            label: LABEL,
            fast_checkpoint: order.fast_checkpoint,
            kilobytes_a_second: order.kilobytes_a_second,
        },
        spaces: &order.spaces,
    }
}

/// Fetches a copy into the place that has been made for it, without what is no part of a set.
///
/// # Errors
/// What has come is no copy of the master, or not whole; the next backup removes it.
pub(crate) fn fetch(
    config: &SlaveConfig,
    lock: &str,
    order: &Order,
    stop: &Stop,
) -> Result<Fetched, Error> {
    need_lock(config, lock)?;
    let in_progress = Sets::new(config).in_progress();
    let copy = place(&in_progress, lock);
    let looked = Cell::new(Instant::now());
    let is_alive = || {
        if looked.get().elapsed() < LOOK {
            return Ok(());
        }
        looked.set(Instant::now());
        failpoint::step("fetch.copying");
        need_lock(config, lock)
    };
    let conninfo = conninfo(config, order)?;
    info!("copying the master");
    let watch = Watch {
        stop,
        patience: Duration::from_secs(order.patience.max(1)),
        may_go_on: &is_alive,
    };
    base_backup(&conninfo, order).run(config, &copy, &watch)?;
    failpoint::step("fetch.copied");
    let label = copy.join("backup_label");
    let backup_label =
        fs::read_to_string(&label).map_err(|error| Error::io("read", &label, error))?;
    if !backup_label.contains("BACKUP FROM: primary") {
        return Err(is_a_standby());
    }
    let control = DataDir::new(&copy, None).control()?;
    is_the_cluster(control.system_identifier, order)?;
    unlink_spaces(&copy, order)?;
    let verified = manifest::verify(&copy)?;
    failpoint::step("fetch.verified");
    for path in &verified.left_out {
        let path = copy.join(path);
        durable::remove(&path).map_err(|error| Error::io("remove", &path, error))?;
    }
    empty(&copy.join("pg_wal"))?;
    let spaces = order.spaces.keys().copied();
    let spaces = spaces
        .filter(|oid| copy.join(format!("tmpspc/{oid}")).is_dir())
        .collect();
    need_lock(config, lock)?;
    move_up(&copy, &in_progress)?;
    failpoint::step("fetch.moved");
    Ok(Fetched {
        backup_label,
        stop_lsn: verified.end,
        spaces,
        digests: verified.digests,
    })
}

/// Removes the links to tablespaces: a set has them in `tmpspc`.
///
/// # Errors
/// One is not there: it was made when its place was not known.
fn unlink_spaces(copy: &Path, order: &Order) -> Result<(), Error> {
    for link in entries(&copy.join("pg_tblspc"))? {
        if !link.is_symlink() {
            continue;
        }
        let oid = link.file_name().and_then(|name| name.to_str());
        let oid = oid.and_then(|name| name.parse().ok());
        if !oid.is_some_and(|oid| order.spaces.contains_key(&oid)) {
            let target = fs::read_link(&link).unwrap_or_default();
            return Err(Error::Refused(format!(
                "a tablespace was made when the backup had just begun, and came to {}: remove its files there, if \
                 they are not the master's own, and take the backup again",
                target.display()
            )));
        }
        durable::remove(&link).map_err(|error| Error::io("remove", &link, error))?;
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    let listed = fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(|error| Error::io("list", dir, error))?;
    Ok(listed)
}

/// Of WAL a set has none.
fn empty(dir: &Path) -> Result<(), Error> {
    for path in entries(dir)? {
        let removed = match path.is_dir() {
            true => files::remove_tree(&path),
            false => durable::remove(&path).map(|_| ()),
        };
        removed.map_err(|error| Error::io("remove", &path, error))?;
    }
    Ok(())
}

/// Puts the content of the copy where it is expected.
fn move_up(copy: &Path, target: &Path) -> Result<(), Error> {
    let of_server = copy.join(crate::sets::manifest::FILE);
    durable::remove(&of_server).map_err(|error| Error::io("remove", &of_server, error))?;
    for path in entries(copy)? {
        let name = path.file_name().unwrap_or_default();
        let to = target.join(name);
        fs::rename(&path, &to).map_err(|error| Error::io("rename", &path, error))?;
    }
    let mode = fs::metadata(copy).map(|metadata| metadata.permissions());
    mode.and_then(|mode| fs::set_permissions(target, mode))
        .map_err(|error| Error::io("protect", target, error))?;
    match fs::remove_dir(copy) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", copy, error)),
        _ => Ok(()),
    }
}
