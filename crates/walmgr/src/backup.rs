//! A base backup: the master copies itself to the slave while it runs.
//!
//! Nothing is a set before it is whole: files go to a directory of another name, which becomes the newest set
//! in one step once the WAL that it needs is in the archive. Whatever fails before leaves the sets as they
//! were, and the server forgets the backup when the connection ends.

mod copy;
mod native;
mod preflight;
pub(crate) mod pull;
pub(crate) mod receive;
mod rsync;
mod rules;
pub(crate) mod standby;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin};

use jiff::Timestamp;
use postgres::types::PgLsn;
use serde::{Deserialize, Serialize};
use skytools::daemon::Stop;
use skytools::db::{Connection, During};
use skytools::failpoint;
use tracing::{info, warn};

use crate::Error;
use crate::args::Options;
use crate::config::{Copier, MasterConfig};
use crate::names::Segment;
use crate::place::Place;
use crate::progress::Progress;
use crate::sets::manifest::Digests;
use crate::sets::{Info, State};
use crate::slave::Slave;
use copy::Copying;
pub(crate) use copy::fetch;
pub(crate) use native::{Attributes, Taker};
use preflight::Master;
use pull::Order;

/// As in SkyTools.
const LABEL: &str = "FullBackup";

/// What the slave gets when the copy is done.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) info: Info,
    /// `backup_label`, as the server has it.
    pub(crate) backup_label: String,
    /// `tablespace_map`, likewise; empty if there is none.
    pub(crate) tablespace_map: String,
    /// Digests of files that are known from copying them; others are read.
    #[serde(default)]
    pub(crate) digests: Digests,
}

/// Makes a base backup.
///
/// # Errors
/// There is none then, and the older ones are as they were.
pub(crate) fn run(
    config: &MasterConfig,
    resume: bool,
    options: &Options,
    stop: &Stop,
) -> Result<(), Error> {
    if resume && config.copier != Copier::Rsync {
        return Err(Error::Refused(format!(
            "--resume: with backup_method = {} a copy always begins anew; leave it out, or use rsync",
            config.copier.name()
        )));
    }
    let slave = Slave::new(config)?;
    let mut db = Connection::open("master_db", config.need_db()?)?;
    let master = preflight::check(&mut db, config, options.force)?;
    let way = match config.copier {
        Copier::BaseBackup => Way::Pull(Order::new(config, &db, &master)),
        Copier::Rsync | Copier::Native { .. } => Way::Push { resume },
    };
    if let Way::Pull(order) = &way {
        order.check(&slave)?;
    }
    if options.not_really {
        return show(config, &slave, &master);
    }
    let mut lock = Lock::take(&slave, options.force)?;
    info!("Backup lock obtained.");
    let made = make(config, &slave, &mut lock, &mut db, &master, way, stop);
    // Ends the server's side, if it has not ended.
    drop(db);
    lock.release();
    info!("Backup lock released.");
    match made {
        Ok(name) => {
            info!(set = %name, "Full backup successful");
            if let Err(error) = slave.run(&["xpurgewals"], None) {
                warn!("WAL is not purged: {}", skytools::app::chain(&error));
            }
            Ok(())
        }
        Err(error) => {
            tracing::error!("Full backup failed");
            Err(error)
        }
    }
}

fn show(config: &MasterConfig, slave: &Slave, master: &Master) -> Result<(), Error> {
    let text = format!(
        "would take the backup lock on {name}, start a backup, copy {} ({} bytes) to {}.inprogress, \
         wait for its WAL, make it the newest set, and purge WAL\n",
        config.data.display(),
        master.bytes,
        config.full_backup,
        name = slave.name(),
    );
    Ok(skytools::app::output(text)?)
}

/// Who copies.
enum Way {
    /// The master, to the slave; `resume` goes on with a copy that was interrupted.
    Push { resume: bool },
    /// The slave, as it is told.
    Pull(Order),
}

/// A copy, and where the server says that it ends.
struct Copied {
    stop_lsn: PgLsn,
    backup_label: String,
    tablespace_map: String,
    digests: Digests,
}

fn make(
    config: &MasterConfig,
    slave: &Slave,
    lock: &mut Lock,
    db: &mut Connection,
    master: &Master,
    way: Way,
    stop: &Stop,
) -> Result<String, Error> {
    let (mut info, copied) = match way {
        Way::Pull(order) => pull::make(config, slave, lock, db, master, order, stop)?,
        Way::Push { resume } => push(config, slave, lock, db, master, resume, stop)?,
    };
    failpoint::step("backup.stopped");
    // A segment ends with its last byte.
    let last = PgLsn::from(u64::from(copied.stop_lsn).saturating_sub(1));
    info.stop_wal = Some(Segment::at(info.timeline, last, master.segment_size).to_string());
    info.stop_lsn = Some(copied.stop_lsn.to_string());
    info.stop_time = Some(now(db)?);
    info.state = State::WaitingWal;
    info!(segment = %info.start_wal, "First useful WAL file");
    if let Some(place) = &config.config_backup {
        copy::config_files(config, slave, place, stop)?;
        info!("Backing up config files");
    }
    let finished = Finished {
        info,
        backup_label: copied.backup_label,
        tablespace_map: copied.tablespace_map,
        digests: copied.digests,
    };
    let finished = serde_json::to_vec(&finished).map_err(std::io::Error::from)?;
    let wait = config.wal_timeout.as_secs().to_string();
    let set = slave.run(&["xbackup-commit", &lock.id, &wait], Some(&finished))?;
    failpoint::step("backup.committed");
    Ok(set.trim().to_owned())
}

/// Copies the data directory to the slave while the server is told that this goes on.
fn push(
    config: &MasterConfig,
    slave: &Slave,
    lock: &mut Lock,
    db: &mut Connection,
    master: &Master,
    resume: bool,
    stop: &Stop,
) -> Result<(Info, Copied), Error> {
    let mut info = start(config, db, master, LABEL)?;
    info!(start_lsn = %info.start_lsn, "Executed SQL: pg_backup_start");
    failpoint::step("backup.started");
    let (target, has_content) = begin(config, slave, lock, &mut info, resume)?;
    let progress = Progress::new("copying", master.bytes);
    let mut copying = Copying::begin(config, slave, &lock.id, &target, &progress, stop)?;
    copying.has_content = has_content;
    copying.data()?;
    lock.check()?;
    info.tablespaces = copying.tablespaces(Some(db))?;
    lock.check()?;
    copying.control_file()?;
    let digests = copying.digests;
    drop(progress);
    failpoint::step("backup.copied");
    let (stop_lsn, backup_label, tablespace_map) = finish(db)?;
    info!(%stop_lsn, "Executed SQL: pg_backup_stop");
    let copied = Copied {
        stop_lsn,
        backup_label,
        tablespace_map,
        digests,
    };
    Ok((info, copied))
}

/// Has the slave make a place for the copy; where that is, and whether something has been copied there before.
fn begin(
    config: &MasterConfig,
    slave: &Slave,
    lock: &Lock,
    info: &mut Info,
    resume: bool,
) -> Result<(Place, bool), Error> {
    if config.keep_symlinks && !slave.is_here() {
        info.links = copy::linked_directories(&config.data);
    }
    let announced = serde_json::to_vec(info).map_err(std::io::Error::from)?;
    let mut args = vec!["xbackup-begin", &lock.id];
    args.extend(resume.then_some("--resume"));
    let said = slave.run(&args, Some(&announced))?;
    failpoint::step("backup.begun");
    let mut lines = said.lines();
    let path = lines.next().unwrap_or_default();
    Ok((slave.place(path), lines.next() == Some("resumed")))
}

/// Starts the backup on the server.
fn start(
    config: &MasterConfig,
    db: &mut Connection,
    master: &Master,
    label: &str,
) -> Result<Info, Error> {
    db.batch_execute(
        "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; \
         set idle_session_timeout = 0",
    )
    .during("prepare the session")?;
    let fast = config.fast_checkpoint;
    let sql = match db.server_version() >= 150_000 {
        true => "select pg_backup_start($1, $2)",
        false => "select pg_start_backup($1, $2, false)",
    };
    let start_time = now(db)?;
    let start_lsn: PgLsn = db
        .query_one(sql, &[&label, &fast])
        .during("start the backup")?
        .get(0);
    let timeline: i32 = db
        .query_one("select timeline_id from pg_control_checkpoint()", &[])
        .during("ask for the timeline")?
        .get(0);
    let from = Begun {
        time: start_time,
        timeline: timeline.cast_unsigned(),
        lsn: start_lsn,
    };
    Ok(announced(config, master, label, from))
}

/// When, and where in the WAL, a backup begins.
struct Begun {
    time: String,
    timeline: u32,
    lsn: PgLsn,
}

/// What is known of a backup when it begins.
fn announced(config: &MasterConfig, master: &Master, label: &str, begun: Begun) -> Info {
    Info {
        format: 1,
        id: format!("{}-{:016x}", compact(&begun.time), master.system_identifier),
        state: State::Copying,
        label: label.to_owned(),
        method: config.copier.name().to_owned(),
        pg_version: master.version.clone(),
        system_identifier: master.system_identifier.to_string(),
        timeline: begun.timeline,
        wal_segment_size: master.segment_size.bytes(),
        start_lsn: begun.lsn.to_string(),
        start_wal: Segment::at(begun.timeline, begun.lsn, master.segment_size).to_string(),
        start_time: begun.time,
        stop_lsn: None,
        stop_wal: None,
        stop_time: None,
        min_recovery_lsn: None,
        bytes: master.bytes,
        files: 0,
        tablespaces: Vec::new(),
        links: BTreeMap::new(),
        keep: false,
        verified_at: None,
        walmgr_version: env!("CARGO_PKG_VERSION").to_owned(),
        more: serde_json::Map::new(),
    }
}

/// Ends the backup on the server. It does not wait for WAL there: cancelled, it would lose the label.
fn finish(db: &mut Connection) -> Result<(PgLsn, String, String), Error> {
    let sql = match db.server_version() >= 150_000 {
        true => "select lsn, labelfile, spcmapfile from pg_backup_stop(false)",
        false => "select lsn, labelfile, spcmapfile from pg_stop_backup(false, false)",
    };
    let row = db.query_one(sql, &[]).during("end the backup")?;
    Ok((
        row.get(0),
        row.get(1),
        row.get::<_, Option<String>>(2).unwrap_or_default(),
    ))
}

/// The master's clock.
fn now(db: &mut Connection) -> Result<String, Error> {
    let sql =
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    Ok(db.query_one(sql, &[]).during("ask for the time")?.get(0))
}

/// `20261122T055032Z`
fn compact(time: &str) -> String {
    match time.is_empty() {
        true => Timestamp::now().to_string(),
        false => time.replace(['-', ':'], ""),
    }
}

/// The backup lock, held by a process on the slave as long as its input is open.
pub(crate) struct Lock {
    id: String,
    holder: Child,
    input: ChildStdin,
}

impl Lock {
    pub(crate) fn take(slave: &Slave, force: bool) -> Result<Lock, Error> {
        let mut args = vec!["xlock", "--hold"];
        if force {
            args.push("--force");
        }
        let (mut holder, input) = slave.start(&args)?;
        let mut line = String::new();
        if let Some(output) = holder.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        match line.trim_end().strip_prefix("locked ") {
            Some(id) => Ok(Lock {
                id: id.to_owned(),
                holder,
                input,
            }),
            None => {
                drop(input);
                let status = holder.wait()?;
                Err(Error::Program {
                    what: slave.what(&args),
                    problem: slave.ending(status, &line),
                })
            }
        }
    }

    /// Without the lock, the next backup may copy to the same place already.
    ///
    /// # Errors
    /// What held it has ended, or the connection to it.
    fn check(&mut self) -> Result<(), Error> {
        match self.holder.try_wait()? {
            None => Ok(()),
            Some(status) => Err(Error::Refused(format!(
                "the backup lock is not held any more ({status}): the backup has lost its connection"
            ))),
        }
    }

    pub(crate) fn release(mut self) {
        drop(self.input);
        if let Err(error) = self.holder.wait() {
            warn!(%error, "cannot wait for the end of the lock");
        }
    }
}
