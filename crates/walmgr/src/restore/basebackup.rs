//! A base backup of the primary for this server alone, by the server's own program.

use std::path::{Path, PathBuf};

use skytools::config::ConfigError;
use skytools::db::During;
use tracing::info;

use crate::config::SlaveConfig;
use crate::files::{self, with_suffix};
use crate::server::{DataDir, run};
use crate::{Error, durable};

/// Copies the primary that `primary_conninfo` leads to into a directory beside `slave_data`, whole and on disk;
/// where that is. Its tablespaces are in `tmpspc/OID` there.
///
/// # Errors
/// The program is missing, or fails.
pub(crate) fn take(config: &SlaveConfig) -> Result<PathBuf, Error> {
    let missing = || Error::from(ConfigError::Missing("primary_conninfo".to_owned()));
    let conninfo = config.primary_conninfo.as_ref().ok_or_else(missing)?;
    let ready = with_suffix(&config.data, ".receiving");
    files::remove_tree(&ready).map_err(|error| Error::io("remove", &ready, error))?;
    let mut program = DataDir::new(&config.data, config.bin.as_deref()).program("pg_basebackup");
    program.arg("--pgdata").arg(&ready).args([
        "--wal-method=stream",
        "--checkpoint=fast",
        "--no-password",
    ]);
    for (oid, location) in tablespaces(config)? {
        let target = ready.join("tmpspc").join(oid.to_string());
        program.arg(mapping(&location, &target));
    }
    conninfo.pass("--dbname", "walmgr", &mut program);
    info!("taking a base backup of the primary");
    run(&mut program)?;
    durable::sync_filesystem(&ready).map_err(|error| Error::io("sync", &ready, error))?;
    Ok(ready)
}

/// Has a tablespace put elsewhere.
pub(super) fn mapping(location: &str, target: &Path) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('=', "\\=");
    format!(
        "--tablespace-mapping={}={}",
        escaped(location),
        escaped(&target.display().to_string())
    )
}

/// Tablespaces of the primary, and where they are there.
fn tablespaces(config: &SlaveConfig) -> Result<Vec<(u32, String)>, Error> {
    let mut db = config.rewind()?.open("rewind_conninfo")?;
    let rows = db
        .query(
            "select oid, pg_tablespace_location(oid) from pg_tablespace \
              where spcname not in ('pg_default', 'pg_global')",
            &[],
        )
        .during("look at the primary's tablespaces")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
