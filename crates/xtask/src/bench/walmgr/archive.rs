//! Segments that wait, into the archive: the server's archiver runs one command after the other.

use super::site::remove_tree;
use super::{Run, pgbackrest};
use crate::Result;
use crate::bench::measure::in_rounds;
use crate::bench::report::Goal;

/// A way to archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A configuration of walmgr: name, behind ssh or not, lines.
    Walmgr(&'static str, bool, &'static str),
    /// Copy, wait for the disk, name, wait for the disk.
    Copy,
    /// rsync to a directory of this machine.
    Rsync,
    PgBackRest,
    /// rsync with a connection of its own for each segment, as SkyTools 2.1: with ssh as it is, or with options.
    RsyncOverSsh(&'static str, &'static str),
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Walmgr(name, ..) | Way::RsyncOverSsh(name, _) => name,
            Way::Copy => "cp, fsync, mv, fsync",
            Way::Rsync => "rsync --fsync",
            Way::PgBackRest => pgbackrest::NAME,
        }
    }

    fn command(self, run: &Run) -> Result<String> {
        let site = &run.site;
        let archive = site.archived("");
        let archive = archive.display();
        Ok(match self {
            Way::Walmgr(name, is_remote, lines) => {
                let lines = lines.replace("SPOOL", &site.path("spool").display().to_string());
                let file = name.replace([' ', ','], "-");
                let ini = site.write_master(&file, is_remote, &lines)?;
                format!(
                    "{} -q {} xarchive %p %f",
                    site.path("walmgr").display(),
                    ini.display()
                )
            }
            Way::Copy => format!(
                "cp %p {archive}.%f && sync {archive}.%f && mv -n {archive}.%f {archive}%f && sync {archive}"
            ),
            Way::Rsync => format!("rsync -a --quiet --fsync %p {archive}"),
            Way::PgBackRest => match &run.pgbackrest {
                Some(pgbackrest) => {
                    pgbackrest.clear(site)?;
                    pgbackrest.line("archive-push %p")
                }
                None => return Err("pgBackRest is not installed".into()),
            },
            Way::RsyncOverSsh(_, options) => {
                let (ssh, host) = site.ssh();
                format!("rsync -a --quiet -e \"{ssh}{options}\" %p {host}:{archive}")
            }
        })
    }
}

fn measure(run: &mut Run, workload: &str, ways: &[Way]) -> Result {
    let site = &run.site;
    let samples = in_rounds(run.common.rounds, ways, run.interrupt, |way| {
        site.clear()?;
        let rate = site.drain(&way.command(run)?, run.interrupt)?;
        if way == Way::PgBackRest {
            return Ok(rate);
        }
        for name in &site.segments {
            if ["", ".zst", ".lz4"]
                .iter()
                .all(|suffix| !site.archived(&format!("{name}{suffix}")).exists())
            {
                return Err(format!("{}: {name} is not in the archive", way.name()).into());
            }
        }
        remove_tree(&site.path("spool"))?;
        Ok(rate)
    })?;
    for (way, samples) in ways.iter().zip(&samples) {
        run.report.add(workload, way.name(), "segments/s", samples);
    }
    Ok(())
}

/// A directory of the same machine.
pub(super) fn measure_local(run: &mut Run) -> Result {
    let workload = "archive, same machine";
    let ours = Way::Walmgr("walmgr", false, "");
    let compressed = Way::Walmgr("walmgr, lz4", false, "wal_compression = lz4");
    let mut ways = vec![ours, compressed, Way::Copy, Way::Rsync];
    ways.extend(run.pgbackrest.as_ref().map(|_| Way::PgBackRest));
    measure(run, workload, &ways)?;
    let report = &mut run.report;
    let goal = Some(Goal::AtLeast(0.8));
    report.compare(workload, ours.name(), Way::Copy.name(), goal);
    report.compare(workload, ours.name(), Way::Rsync.name(), None);
    let goal = Some(Goal::AtLeast(1.5));
    report.compare(workload, ours.name(), pgbackrest::NAME, goal);
    report.compare(workload, compressed.name(), pgbackrest::NAME, None);
    Ok(())
}

/// A directory behind ssh.
pub(super) fn measure_ssh(run: &mut Run) -> Result {
    let workload = "archive over ssh";
    let batched = Way::Walmgr(
        "walmgr, batched",
        true,
        "archive_jobs = 4\narchive_spool = SPOOL",
    );
    let compressed = Way::Walmgr(
        "walmgr, batched, zstd",
        true,
        "archive_jobs = 4\narchive_spool = SPOOL\nwal_compression = zstd",
    );
    // With the cipher that ssh takes by itself.
    let chacha = Way::Walmgr(
        "walmgr, batched, ssh_prefer_aes = 0",
        true,
        "archive_jobs = 4\narchive_spool = SPOOL\nssh_prefer_aes = 0",
    );
    let shared = Way::Walmgr("walmgr, ssh_multiplex", true, "ssh_multiplex = 1");
    let single = Way::Walmgr("walmgr, new ssh a segment", true, "");
    let peer = Way::RsyncOverSsh("rsync, new ssh a segment", "");
    // With the cipher that walmgr takes where the processor has AES.
    let alike = Way::RsyncOverSsh("the same, AES-GCM", " -c aes256-gcm@openssh.com");
    measure(
        run,
        workload,
        &[batched, compressed, chacha, shared, single, peer, alike],
    )?;
    let report = &mut run.report;
    let goals = [
        (batched, Some(Goal::AtLeast(6.0))),
        (compressed, None),
        (chacha, None),
        (shared, Some(Goal::AtLeast(3.0))),
        (single, None),
    ];
    for (way, goal) in goals {
        report.compare(workload, way.name(), peer.name(), goal);
    }
    report.compare(workload, batched.name(), alike.name(), None);
    Ok(())
}
