use postgres::types::PgLsn;
use rustix::process::Pid;
use skytools::db::{Connection, During};

use crate::Error;
use crate::archive::{Identity, Listing};
use crate::config::SlaveConfig;
use crate::control::Signal;
use crate::names::WalName;
use crate::report::{Level, Report};
use crate::server::standby::{self, Stream};
use crate::server::{Control, DataDir, ServerState};

/// The server of the slave: whether it follows, how far it is, and on which timeline.
pub(super) fn check(config: &SlaveConfig, report: &mut Report) {
    let data = DataDir::new(&config.data, config.bin.as_deref());
    let (level, detail, control) = match state(config, &data) {
        Ok(found) => found,
        Err(error) => (Level::Failed, skytools::app::chain(&error), None),
    };
    report.add("standby", level, detail);
    // What follows is of a standby that replays.
    let Some(control) = control else {
        return;
    };
    report.add_result("timeline", timeline(config, &control));
    if let Some(mut db) = standby::connect(config) {
        report.add_result("replay", replay(config, &control, &mut db));
    }
}

/// What it does; with its control file, if it is in recovery.
fn state(config: &SlaveConfig, data: &DataDir) -> Result<(Level, String, Option<Control>), Error> {
    if !data.path.join("PG_VERSION").exists() {
        return Ok((Level::Ok, "there is none".to_owned(), None));
    }
    let Some(pid) = data.postmaster()? else {
        return Ok((Level::Failed, "does not run".to_owned(), None));
    };
    let control = data.control()?;
    let is_up = |signal: Signal| signal.is_up(&config.completed_wals);
    Ok(match control.state {
        ServerState::InRecovery if is_up(Signal::Stop) => (
            Level::Warning,
            "in recovery, and being opened by boot".to_owned(),
            Some(control),
        ),
        ServerState::InRecovery if is_up(Signal::Pause) => (
            Level::Warning,
            "in recovery, and held by pause".to_owned(),
            Some(control),
        ),
        ServerState::InRecovery if config.primary_conninfo.is_some() => {
            let (level, detail) = streaming(config, pid);
            (level, detail, Some(control))
        }
        ServerState::InRecovery => (Level::Ok, format!("in recovery (pid {pid})"), Some(control)),
        ServerState::InProduction => (
            Level::Failed,
            "is a primary, and does not follow the master".to_owned(),
            None,
        ),
        _ => (Level::Warning, format!("starts or ends (pid {pid})"), None),
    })
}

/// A timeline that the standby has not gone to, although its history is in the archive.
fn timeline(config: &SlaveConfig, control: &Control) -> Result<(Level, String), Error> {
    let histories = Listing::read(&config.completed_wals)?;
    let newest = histories.names().filter_map(|name| match name {
        WalName::History(timeline) => Some(timeline),
        _ => None,
    });
    // The control file tells of the last restart point, so it may be late.
    let own = control.timeline;
    Ok(match newest.max() {
        Some(newest) if newest > own => (
            Level::Warning,
            format!(
                "{own} at the last restart point, and timeline {newest} is in the archive: if that stays, it went \
                 on from an earlier moment than this standby; restore"
            ),
        ),
        _ => (Level::Ok, own.to_string()),
    })
}

/// How much of what is in the archive has not been replayed.
fn replay(
    config: &SlaveConfig,
    control: &Control,
    db: &mut Connection,
) -> Result<(Level, String), Error> {
    let row = db
        .query_one(
            "select pg_last_wal_replay_lsn(), \
                    greatest(extract(epoch from now() - pg_last_xact_replay_timestamp())::int8, 0)",
            &[],
        )
        .during("ask the standby")?;
    let (Some(position), age) = (row.get::<_, Option<PgLsn>>(0), row.get::<_, Option<i64>>(1))
    else {
        return Ok((Level::Ok, "nothing yet".to_owned()));
    };
    let newest = Listing::read(&config.completed_wals)?.newest(control.timeline);
    let behind = match (newest, Identity::read(&config.completed_wals)?) {
        (Some(newest), Some(identity)) => {
            let size = identity.segment_size;
            let end = u64::from(newest.start(size)) + size.bytes();
            end.saturating_sub(u64::from(position))
        }
        _ => 0,
    };
    let last = match age {
        Some(age) => format!("last transaction {age} s ago"),
        None => "no transaction yet".to_owned(),
    };
    Ok((
        Level::Ok,
        format!("at {position}, {behind} bytes behind the archive, {last}"),
    ))
}

/// A standby that is to stream.
fn streaming(config: &SlaveConfig, pid: Pid) -> (Level, String) {
    match standby::stream(config) {
        Some(Stream::Timeline(timeline)) => (
            Level::Ok,
            format!("streams on timeline {timeline} (pid {pid})"),
        ),
        Some(Stream::Nothing) => (
            Level::Warning,
            format!("does not stream, and follows the archive (pid {pid})"),
        ),
        None => (Level::Ok, format!("in recovery (pid {pid})")),
    }
}
