use std::fs;
use std::time::SystemTime;

use postgres::types::PgLsn;
use skytools::db::{Connection, During};

use super::{Node, Work};
use crate::archive::{Identity, Listing};
use crate::config::{MasterConfig, SlaveConfig};
use crate::control::Signal;
use crate::names::{Segment, SegmentSize};
use crate::server::standby::{self, Stream};
use crate::server::{DataDir, ServerState, slots};
use crate::sets::{Sets, retention};
use crate::slave::Slave;
use crate::{Error, files, partial, ready, receiver};

/// What is known, in the order in which it is shown.
type Facts = Vec<(&'static str, String)>;

/// Never fails because one thing cannot be found out: it is "unknown" then, and why.
pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let facts = match &work.node {
        Node::Master(config) => master(config),
        Node::Slave(config) => slave(config),
    };
    let text = match work.options.json {
        true => {
            let object: serde_json::Map<String, serde_json::Value> = facts
                .into_iter()
                .map(|(key, value)| (key.replace(' ', "_"), value.into()))
                .collect();
            skytools::app::json(&object)?
        }
        false => facts
            .into_iter()
            .map(|(key, value)| format!("{:<22}{value}\n", format!("{key}:")))
            .collect(),
    };
    Ok(skytools::app::output(text)?)
}

fn told(found: Result<String, Error>) -> String {
    found.unwrap_or_else(|error| format!("unknown ({})", skytools::app::chain(&error)))
}

fn master(config: &MasterConfig) -> Facts {
    let data = DataDir::new(&config.data, config.bin.as_deref());
    let server = data.postmaster().map(|pid| match pid {
        Some(pid) => format!("runs (pid {pid})"),
        None => "does not run".to_owned(),
    });
    let waiting = ready::waiting(&data.wal()).map(|waiting| match waiting.oldest {
        Some((name, age)) => format!("{}, {name} for {} s", waiting.count, age.as_secs()),
        None => "nothing".to_owned(),
    });
    vec![
        ("server", told(server)),
        ("last archived", last_archived(config)),
        ("waiting", told(waiting)),
        ("not on the slave", told(at_risk(config))),
        ("slots", told(slots::find(config).map(slots::describe))),
    ]
}

fn last_archived(config: &MasterConfig) -> String {
    let path = config.data.join(".walshipping.last");
    // Empty after a power cut.
    let Some(name) = fs::read_to_string(&path)
        .ok()
        .filter(|name| !name.is_empty())
    else {
        return "nothing yet".to_owned();
    };
    let age = fs::metadata(&path)
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|modified| SystemTime::now().duration_since(modified).ok())
        .unwrap_or_default();
    format!("{}, {} s ago", name.trim(), age.as_secs())
}

/// What would be lost if the master vanished now.
fn at_risk(config: &MasterConfig) -> Result<String, Error> {
    let mut db = Connection::open("master_db", config.need_db()?)?;
    let row = db
        .query_one(
            "select pg_current_wal_flush_lsn(), \
                    substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8), \
                    (select setting::int8 from pg_settings where name = 'wal_segment_size')",
            &[],
        )
        .during("ask for the position")?;
    let flushed: PgLsn = row.get(0);
    let timeline = u32::from_str_radix(row.get(1), 16).unwrap_or_default();
    let size = SegmentSize::new(row.get::<_, i64>(2).cast_unsigned())
        .ok_or_else(|| Error::Refused("the size of segments is not known".to_owned()))?;
    let text = Slave::new(config)?.run(&["xwals"], None)?;
    let reached = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let segment: Segment = words.next()?.parse().ok()?;
        let start = u64::from(segment.start(size));
        let end = match kind {
            "complete" => size.bytes(),
            _ => words.next()?.parse().ok()?,
        };
        (segment.timeline == timeline).then_some(start + end)
    });
    // Complete segments end later than the last byte that was flushed.
    let behind = u64::from(flushed).saturating_sub(reached.max().unwrap_or_default());
    Ok(format!("{behind} bytes, up to {flushed}"))
}

fn slave(config: &SlaveConfig) -> Facts {
    let listing = Listing::read(&config.completed_wals);
    let newest = listing
        .map_err(Error::from)
        .map(|listing| match listing.segments().max() {
            Some(segment) => segment.to_string(),
            None => "none".to_owned(),
        });
    let unfinished = match partial::names(config).last() {
        Some(segment) => format!("{segment}, {} bytes", partial::length(config, *segment)),
        None => "none".to_owned(),
    };
    let sets = Sets::new(config)
        .find()
        .map(|found| match found.sets.first() {
            Some(set) => format!(
                "{}, {} from {}",
                found.sets.len(),
                set.name,
                set.label.start_time
            ),
            None => "none".to_owned(),
        });
    let needed = retention::earliest_needed(config).map(|needed| match needed {
        Some(needed) => format!("from {} on, by {}", needed.segment, needed.by),
        None => "none".to_owned(),
    });
    let signals = [("STOP", Signal::Stop), ("PAUSE", Signal::Pause)]
        .into_iter()
        .filter(|(_, signal)| signal.is_up(&config.completed_wals))
        .map(|(name, _)| name);
    let signals: Vec<&str> = signals.collect();
    let identity = Identity::read(&config.completed_wals)
        .map_err(Error::from)
        .map(|identity| match identity {
            Some(identity) => identity.system_identifier.to_string(),
            None => "none yet".to_owned(),
        });
    let free = files::free_bytes(&config.completed_wals)
        .map_err(|error| Error::io("look at", &config.completed_wals, error))
        .map(|bytes| format!("{} MB", bytes >> 20));
    vec![
        ("system identifier", told(identity)),
        ("newest archived", told(newest)),
        ("newest unfinished", unfinished),
        ("receiver", stream(config)),
        ("standby", told(server(config))),
        ("base backups", told(sets)),
        ("WAL needed", told(needed)),
        (
            "signals",
            if signals.is_empty() {
                "none".to_owned()
            } else {
                signals.join(", ")
            },
        ),
        ("free space", told(free)),
    ]
}

/// The receiver, and the segment that it fills.
fn stream(config: &SlaveConfig) -> String {
    let Some(receiver) = &config.receiver else {
        return "none".to_owned();
    };
    let state = match receiver::pid(&receiver.dir) {
        Some(pid) => format!("streams (pid {pid})"),
        None => "does not run".to_owned(),
    };
    match receiver::unfinished(config).pop() {
        Some((segment, length)) => format!("{state}, {segment}.partial, {length} bytes"),
        None => state,
    }
}

/// The server, and how far it has replayed if it can be asked.
fn server(config: &SlaveConfig) -> Result<String, Error> {
    let data = DataDir::new(&config.data, config.bin.as_deref());
    if !data.path.join("PG_VERSION").exists() {
        return Ok("none".to_owned());
    }
    let Some(pid) = data.postmaster()? else {
        return Ok("does not run".to_owned());
    };
    let state = match data.control()?.state {
        ServerState::InProduction => "a primary",
        ServerState::InRecovery => "in recovery",
        _ => "starting or ending",
    };
    let Some(mut db) = standby::connect(config) else {
        return Ok(format!("{state} (pid {pid}), takes no connections"));
    };
    let row = db
        .query_one(
            "select coalesce(pg_last_wal_replay_lsn()::text, ''), \
                    coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp())::int8, -1), \
                    pg_is_in_recovery() and pg_is_wal_replay_paused()",
            &[],
        )
        .during("ask the standby")?;
    let (position, age): (String, i64) = (row.get(0), row.get(1));
    let stream = match config.primary_conninfo.is_some() {
        true => match standby::stream(config) {
            Some(Stream::Timeline(timeline)) => format!(", streams on timeline {timeline}"),
            Some(Stream::Nothing) => ", does not stream".to_owned(),
            None => String::new(),
        },
        false => String::new(),
    };
    let paused = if row.get(2) { ", paused" } else { "" };
    let since = match age {
        ..0 => String::new(),
        age => format!(", last transaction {age} s ago"),
    };
    Ok(format!(
        "{state} (pid {pid}), replayed to {position}{since}{stream}{paused}"
    ))
}
