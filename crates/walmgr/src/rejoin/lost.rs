//! What a server has committed and its successor does not have, as its own WAL tells.

use std::process::Command;

use postgres::types::PgLsn;

use super::history::{Fork, Parting, Stretch};
use super::was_primary;
use crate::archive::Listing;
use crate::names::{Segment, SegmentSize};
use crate::server::{Control, DataDir, ServerState};
use crate::{Error, page};

/// What comes after the fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lost {
    /// No WAL at all.
    Nothing,
    /// It was told before, by a rejoin that was interrupted.
    Told,
    /// WAL, with these transactions.
    Commits { fork: Fork, commits: Vec<Commit> },
    /// WAL that cannot be read any more.
    Unknown { fork: Fork, why: String },
}

/// A transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    xid: String,
    /// By the clock of the server that committed it.
    time: String,
}

impl Lost {
    /// Whether somebody may miss it.
    pub(super) fn is_something(&self) -> bool {
        match self {
            Lost::Nothing | Lost::Told => false,
            Lost::Commits { commits, .. } => !commits.is_empty(),
            Lost::Unknown { .. } => true,
        }
    }

    /// A sentence without its end.
    pub(super) fn describe(&self) -> String {
        match self {
            Lost::Nothing => "the primary has all that was committed here".to_owned(),
            Lost::Told => "a rejoin was interrupted while it rewound this server".to_owned(),
            Lost::Unknown { fork, why } => format!(
                "it is not known what was committed here after the primary left timeline {} at {}: {why}",
                fork.timeline, fork.position
            ),
            Lost::Commits { fork, commits } => {
                let after = format!(
                    "after the primary left timeline {} at {}",
                    fork.timeline, fork.position
                );
                match (commits.first(), commits.last()) {
                    (Some(only), Some(_)) if commits.len() == 1 => format!(
                        "1 transaction was committed here {after}, which the primary does not have: at {} (xid {})",
                        only.time, only.xid
                    ),
                    (Some(first), Some(last)) => format!(
                        "{} transactions were committed here {after}, which the primary does not have: from {} \
                         (xid {}) to {} (xid {})",
                        commits.len(),
                        first.time,
                        first.xid,
                        last.time,
                        last.xid
                    ),
                    _ => format!("no transaction was committed here {after}"),
                }
            }
        }
    }

    /// A line for each transaction.
    pub(super) fn list(&self) -> Option<String> {
        let Lost::Commits { commits, .. } = self else {
            return None;
        };
        let lines = commits
            .iter()
            .map(|commit| format!("{} xid {}\n", commit.time, commit.xid));
        Some(lines.collect())
    }
}

/// Reads the WAL after the fork.
///
/// # Errors
/// The directory of WAL cannot be read.
pub(super) fn find(
    data: &DataDir,
    control: &Control,
    parting: &Parting,
    size: SegmentSize,
) -> Result<Lost, Error> {
    let fork = parting.fork;
    let nobody = Lost::Commits {
        fork,
        commits: Vec::new(),
    };
    if !was_primary(control) {
        return Ok(match has_replayed_more(data, parting) {
            true => nobody,
            false => Lost::Nothing,
        });
    }
    // It ended with a checkpoint, and the primary has replayed that.
    if control.state == ServerState::ShutDown
        && !parting.has_left()
        && control.is_before(fork.position)
    {
        return Ok(Lost::Nothing);
    }
    let mut commits = Vec::new();
    let mut is_more = parting.has_left();
    for stretch in &parting.own {
        match read(data, stretch, size)? {
            Found::Nothing => {}
            Found::Records(found) => {
                commits.extend(found);
                is_more = true;
            }
            Found::Unknown(why) => return Ok(Lost::Unknown { fork, why }),
        }
    }
    Ok(match is_more {
        true => Lost::Commits { fork, commits },
        false => Lost::Nothing,
    })
}

/// What is in a part of the WAL.
enum Found {
    Nothing,
    /// Records, and the commits among them.
    Records(Vec<Commit>),
    Unknown(String),
}

fn read(data: &DataDir, stretch: &Stretch, size: SegmentSize) -> Result<Found, Error> {
    let wal = data.wal();
    let holds =
        |segment: Segment| page::valid_length(&wal.join(segment.to_string()), segment).is_some();
    let first = Segment::at(stretch.timeline, stretch.start, size);
    if !holds(first) {
        let listing = Listing::read(&wal)?;
        let mut later = listing
            .segments()
            .filter(|segment| segment.timeline == first.timeline && *segment > first);
        return Ok(match later.any(holds) {
            true => Found::Unknown("its WAL of that time is gone".to_owned()),
            false => Found::Nothing,
        });
    }
    if !has_program(data) {
        return Ok(Found::Unknown(
            "there is no pg_waldump to read its WAL".to_owned(),
        ));
    }
    let dump = |option: &str| {
        let mut command = data.program("pg_waldump");
        command
            .arg("--path")
            .arg(&wal)
            .arg(format!("--timeline={}", stretch.timeline))
            .arg(format!("--start={}", stretch.start))
            .arg(option);
        if let Some(end) = stretch.end {
            command.arg(format!("--end={end}"));
        }
        said(&mut command)
    };
    let (any, problem) = dump("--limit=1")?;
    if !any.contains("rmgr:") {
        // Only these words mean that the WAL ends there.
        return Ok(match problem.contains("could not find a valid record") {
            true => Found::Nothing,
            false => Found::Unknown(problem.trim().to_owned()),
        });
    }
    let (text, _) = dump("--rmgr=Transaction")?;
    Ok(Found::Records(text.lines().filter_map(commit).collect()))
}

/// Whether a standby has replayed what the primary does not have.
fn has_replayed_more(data: &DataDir, parting: &Parting) -> bool {
    let text = |key: &str| data.control_text(key).unwrap_or_default();
    let timeline: u32 = text("Min recovery ending loc's timeline")
        .parse()
        .unwrap_or_default();
    let position: Option<PgLsn> = text("Minimum recovery ending location").parse().ok();
    match timeline {
        // Nothing but its last checkpoint.
        0 => false,
        timeline if timeline == parting.fork.timeline => position > Some(parting.fork.position),
        timeline => !parting.is_of_primary(timeline),
    }
}

fn has_program(data: &DataDir) -> bool {
    data.program("pg_waldump")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// What a program says, however it ends: at the end of the WAL this one always fails.
fn said(command: &mut Command) -> Result<(String, String), Error> {
    let output = command.output().map_err(|error| Error::Program {
        what: command.get_program().to_string_lossy().into_owned(),
        problem: error.to_string(),
    })?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((text(output.stdout), text(output.stderr)))
}

/// `rmgr: Transaction len (rec/tot): 34/34, tx: 727, lsn: 0/01531128, prev 0/015310F0, desc: COMMIT 2026-11-26
/// 09:00:00.123456 UTC; inval msgs: ...`
fn commit(line: &str) -> Option<Commit> {
    let (head, desc) = line.split_once("desc: COMMIT")?;
    let desc = desc.strip_prefix("_PREPARED").unwrap_or(desc);
    let (_, xid) = head.split_once("tx:")?;
    Some(Commit {
        xid: xid.split(',').next()?.trim().to_owned(),
        time: desc.split(';').next()?.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Commit, commit};

    #[test]
    fn commits_are_read_from_what_waldump_says() {
        let line = |desc: &str| {
            format!(
                "rmgr: Transaction len (rec/tot):     34/    34, tx:        727, lsn: 0/01531128, prev 0/015310F0, \
                 desc: {desc}"
            )
        };
        let expected = Commit {
            xid: "727".to_owned(),
            time: "2026-11-26 09:00:00.123456 UTC".to_owned(),
        };
        for desc in [
            "COMMIT 2026-11-26 09:00:00.123456 UTC",
            "COMMIT 2026-11-26 09:00:00.123456 UTC; inval msgs: catcache 45",
        ] {
            assert_eq!(commit(&line(desc)), Some(expected.clone()));
        }
        assert!(commit(&line("COMMIT_PREPARED 727: 2026-11-26 09:00:00.123456 UTC")).is_some());
        for desc in ["ABORT 2026-11-26 09:00:00.123456 UTC", "PREPARE gid x"] {
            assert_eq!(commit(&line(desc)), None);
        }
        assert_eq!(commit(""), None);
    }
}
