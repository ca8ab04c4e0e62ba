//! A copy of a server that runs, by its own program: `pg_basebackup`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use skytools::config::ConfigError;
use skytools::daemon::Stop;
use skytools::db::During;
use tracing::info;

use crate::config::{Conninfo, SlaveConfig};
use crate::files::{self, with_suffix};
use crate::progress::Progress;
use crate::server::DataDir;
use crate::{Error, durable};

const PROGRAM: &str = "pg_basebackup";

/// What is copied, and how.
#[derive(Debug)]
pub(crate) struct BaseBackup<'a> {
    pub(crate) conninfo: &'a Conninfo,
    /// Who connects, where `conninfo` does not say.
    pub(crate) name: &'a str,
    pub(crate) kind: Kind<'a>,
    /// Where tablespaces are on the server; the copies go to `tmpspc/OID`.
    pub(crate) spaces: &'a BTreeMap<u32, String>,
}

/// What a copy is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind<'a> {
    /// A server of its own, with the WAL that it begins with.
    Server {
        /// Keeps WAL from the beginning on: its name, and whether it is there.
        slot: Option<(&'a str, bool)>,
        /// Where WAL goes, if that is another place.
        wal_dir: Option<&'a Path>,
    },
    /// A set, whose WAL is archived: the server waits for that before it says that the copy is whole.
    Set {
        label: &'a str,
        fast_checkpoint: bool,
        /// 0: as fast as it goes.
        kilobytes_a_second: u64,
    },
}

/// Kilobytes a second that the program takes.
const RATES: std::ops::RangeInclusive<u64> = 32..=1024 * 1024;

/// What ends a copy before its end.
pub(crate) struct Watch<'a> {
    pub(crate) stop: &'a Stop,
    /// How long nothing may come once the first bytes have.
    pub(crate) patience: Duration,
    /// Asked now and then: an error ends the copy.
    pub(crate) may_go_on: &'a dyn Fn() -> Result<(), Error>,
}

impl<'a> Watch<'a> {
    /// Nothing but a request to stop.
    pub(crate) fn only(stop: &'a Stop) -> Watch<'a> {
        Watch {
            stop,
            patience: Duration::MAX,
            may_go_on: &|| Ok(()),
        }
    }
}

impl BaseBackup<'_> {
    /// Copies to a directory that is not there yet.
    ///
    /// # Errors
    /// The program is missing, or fails; what is in the directory then is of no use.
    pub(crate) fn run(
        &self,
        config: &SlaveConfig,
        target: &Path,
        watch: &Watch<'_>,
    ) -> Result<(), Error> {
        let mut command = self.command(config, target);
        command.arg("--progress");
        match self.kind {
            Kind::Server { slot, wal_dir } => {
                command.args(["--wal-method=stream", "--checkpoint=fast"]);
                if let Some((slot, is_there)) = slot {
                    command.args(["--slot", slot]);
                    if !is_there {
                        command.arg("--create-slot");
                    }
                }
                if let Some(wal) = wal_dir {
                    command.arg("--waldir").arg(wal);
                }
            }
            Kind::Set {
                label,
                fast_checkpoint,
                kilobytes_a_second,
            } => {
                // Whoever takes the copy has it written to the disk.
                command.args(["--wal-method=none", "--no-sync", "--label", label]);
                command.arg("--manifest-checksums=SHA256");
                command.arg(match fast_checkpoint {
                    true => "--checkpoint=fast",
                    false => "--checkpoint=spread",
                });
                if kilobytes_a_second > 0 {
                    let rate = kilobytes_a_second.clamp(*RATES.start(), *RATES.end());
                    command.arg(format!("--max-rate={rate}k"));
                }
            }
        }
        for (oid, location) in self.spaces {
            let space = target.join("tmpspc").join(oid.to_string());
            command.arg(mapping(location, &space));
        }
        base_backup(command, watch)
    }

    /// Looks whether the server takes the connection, and copies nothing.
    ///
    /// `full` is a directory that is not empty: the program connects, and then does not copy over what is there.
    ///
    /// # Errors
    /// What the program says against it.
    pub(crate) fn try_to_connect(&self, config: &SlaveConfig, full: &Path) -> Result<(), Error> {
        let mut command = self.command(config, full);
        command.arg("--wal-method=none");
        let failed = |problem: String| Error::Program {
            what: PROGRAM.to_owned(),
            problem,
        };
        let output = command
            .output()
            .map_err(|error| failed(error.to_string()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        match said.contains("exists but is not empty") {
            true => Ok(()),
            false => Err(failed(format!("{}: {}", output.status, said.trim()))),
        }
    }

    fn command(&self, config: &SlaveConfig, target: &Path) -> Command {
        let data = DataDir::new(&config.data, config.bin.as_deref());
        let mut command = data.program(PROGRAM);
        command.arg("--pgdata").arg(target).arg("--no-password");
        self.conninfo.pass("--dbname", self.name, &mut command);
        command
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
        kind: Kind::Server {
            slot: None,
            wal_dir: None,
        },
        spaces: &tablespaces(config)?,
    };
    copy.run(config, &ready, &Watch::only(stop))?;
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
fn base_backup(mut command: Command, watch: &Watch<'_>) -> Result<(), Error> {
    let failed = |problem: String| Error::Program {
        what: PROGRAM.to_owned(),
        problem,
    };
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let pipe = child.stderr.take();
    let heard = &Mutex::new(None);
    let (ended, complaints) = thread::scope(|scope| {
        let reader = pipe.map(|pipe| scope.spawn(move || listen(pipe, heard)));
        let ended = loop {
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => break Ok(status),
                Err(error) => break Err(error.into()),
            }
            let heard: Option<Instant> = *heard.lock().unwrap_or_else(PoisonError::into_inner);
            let problem = if watch.stop.sleep(Duration::from_millis(50)) {
                Some(failed("interrupted".to_owned()))
            } else if heard.is_some_and(|heard| heard.elapsed() > watch.patience) {
                Some(failed(format!(
                    "nothing has come for {} seconds: the server waits until all WAL of the copy is archived, and \
                     its log tells why it is not; or it is gone",
                    watch.patience.as_secs()
                )))
            } else {
                (watch.may_go_on)().err()
            };
            if let Some(problem) = problem {
                // It may just have ended; either way it is gone after this.
                let _ = child.kill();
                let _ = child.wait();
                break Err(problem);
            }
        };
        let complaints = reader.and_then(|thread| thread.join().ok());
        (ended, complaints.unwrap_or_default())
    });
    let status = ended?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(format!("{status}: {}", complaints.trim()))),
    }
}

/// Shows progress by what the program says, and notes when; answers with what else it says.
fn listen(pipe: impl Read, heard: &Mutex<Option<Instant>>) -> String {
    let mut said = String::new();
    let mut progress = None;
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        match progress_of(&line) {
            Some((done, total)) => {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                progress
                    .get_or_insert_with(|| Progress::new("copying", total))
                    .reach(done);
            }
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
