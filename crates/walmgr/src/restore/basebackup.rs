//! A copy of a server that runs, by its own program.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use skytools::config::ConfigError;
use skytools::daemon::Stop;
use skytools::db::During;
use tracing::info;

use crate::config::{Conninfo, SlaveConfig};
use crate::files::{self, with_suffix};
use crate::progress::Progress;
use crate::server::DataDir;
use crate::{Error, durable};

/// What is copied, and how.
#[derive(Debug)]
pub(super) struct BaseBackup<'a> {
    pub(super) conninfo: &'a Conninfo,
    /// Who connects, where `conninfo` does not say.
    pub(super) name: &'a str,
    /// Keeps WAL from the beginning on: its name, and whether it is there.
    pub(super) slot: Option<(&'a str, bool)>,
    /// Where WAL goes, if that is another place.
    pub(super) wal_dir: Option<&'a Path>,
    /// Where tablespaces are on the server; the copies go to `tmpspc/OID`.
    pub(super) spaces: &'a BTreeMap<u32, String>,
}

impl BaseBackup<'_> {
    /// Copies to a directory that is not there yet.
    ///
    /// # Errors
    /// The program is missing, or fails; what is in the directory then is of no use.
    pub(super) fn run(
        &self,
        config: &SlaveConfig,
        target: &Path,
        stop: &Stop,
    ) -> Result<(), Error> {
        let data = DataDir::new(&config.data, config.bin.as_deref());
        let mut command = data.program("pg_basebackup");
        command.arg("--pgdata").arg(target).args([
            "--wal-method=stream",
            "--checkpoint=fast",
            "--progress",
            "--no-password",
        ]);
        if let Some((slot, is_there)) = self.slot {
            command.args(["--slot", slot]);
            if !is_there {
                command.arg("--create-slot");
            }
        }
        if let Some(wal) = self.wal_dir {
            command.arg("--waldir").arg(wal);
        }
        for (oid, location) in self.spaces {
            let space = target.join("tmpspc").join(oid.to_string());
            command.arg(mapping(location, &space));
        }
        self.conninfo.pass("--dbname", self.name, &mut command);
        base_backup(command, stop)
    }
}

/// Copies the primary that `primary_conninfo` leads to into a directory beside `slave_data`, whole and on disk;
/// where that is. Its tablespaces are in `tmpspc/OID` there.
///
/// # Errors
/// The program is missing, or fails.
pub(crate) fn take(config: &SlaveConfig, stop: &Stop) -> Result<PathBuf, Error> {
    let missing = || Error::from(ConfigError::Missing("primary_conninfo".to_owned()));
    let ready = with_suffix(&config.data, ".receiving");
    files::remove_tree(&ready).map_err(|error| Error::io("remove", &ready, error))?;
    info!("taking a base backup of the primary");
    let copy = BaseBackup {
        conninfo: config.primary_conninfo.as_ref().ok_or_else(missing)?,
        name: "walmgr",
        slot: None,
        wal_dir: None,
        spaces: &tablespaces(config)?,
    };
    copy.run(config, &ready, stop)?;
    durable::sync_filesystem(&ready).map_err(|error| Error::io("sync", &ready, error))?;
    Ok(ready)
}

/// Has a tablespace put elsewhere.
fn mapping(location: &str, target: &Path) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('=', "\\=");
    format!(
        "--tablespace-mapping={}={}",
        escaped(location),
        escaped(&target.display().to_string())
    )
}

/// Tablespaces of the primary, and where they are there.
fn tablespaces(config: &SlaveConfig) -> Result<BTreeMap<u32, String>, Error> {
    let mut db = config.rewind()?.open("rewind_conninfo")?;
    let rows = db
        .query(
            "select oid, pg_tablespace_location(oid) from pg_tablespace",
            &[],
        )
        .during("look at the primary's tablespaces")?;
    let spaces = rows.iter().map(|row| (row.get(0), row.get::<_, String>(1)));
    // What lies in the data directory is copied with it.
    Ok(spaces
        .filter(|(_, location)| location.starts_with('/'))
        .collect())
}

/// Runs `pg_basebackup` to its end, or to ours.
fn base_backup(mut command: Command, stop: &Stop) -> Result<(), Error> {
    let failed = |problem: String| Error::Program {
        what: "pg_basebackup".to_owned(),
        problem,
    };
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let pipe = child.stderr.take();
    let reader = pipe.map(|pipe| std::thread::spawn(|| watch(pipe)));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if stop.sleep(Duration::from_millis(50)) {
            // It may just have ended; either way it is gone after this.
            let _ = child.kill();
            child.wait()?;
            return Err(failed("interrupted".to_owned()));
        }
    };
    let complaints = reader.and_then(|thread| thread.join().ok());
    match status.success() {
        true => Ok(()),
        false => Err(failed(format!(
            "{status}: {}",
            complaints.unwrap_or_default().trim()
        ))),
    }
}

/// Shows progress by what the program says; answers with what else it says.
fn watch(pipe: impl Read) -> String {
    let mut said = String::new();
    let mut progress = None;
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        match progress_of(&line) {
            Some((done, total)) => progress
                .get_or_insert_with(|| Progress::new("copying", total))
                .reach(done),
            None => {
                said.push_str(&line);
                said.push('\n');
            }
        }
    }
    said
}

/// ` 22534/31284 kB (72%), 0/1 tablespace`
fn progress_of(line: &str) -> Option<(u64, u64)> {
    let (done, rest) = line.trim_start().split_once('/')?;
    let (total, rest) = rest.split_once(" kB (")?;
    let (done, total): (u64, u64) = (done.parse().ok()?, total.parse().ok()?);
    rest.contains('%').then_some((done << 10, total << 10))
}

#[cfg(test)]
mod tests {
    use super::progress_of;

    #[test]
    fn progress_is_told_from_complaints() {
        assert_eq!(
            progress_of(" 22534/31284 kB (72%), 0/1 tablespace"),
            Some((22534 << 10, 31284 << 10))
        );
        for other in [
            "pg_basebackup: error: a/b kB (x",
            "",
            "waiting for checkpoint",
        ] {
            assert_eq!(progress_of(other), None, "{other}");
        }
    }
}
