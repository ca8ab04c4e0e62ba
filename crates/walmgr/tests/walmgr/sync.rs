//! `sync` and `syncdaemon`: what is acknowledged before the last one is there after `boot`.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use testkit::{Shutdown, TestResult, wait_until};

use crate::{PATIENCE, Site};

/// How unfinished WAL gets to the slave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By positions, from the master that runs.
    Records,
    /// From the files of the master that is dead.
    Files,
    /// By a daemon.
    Daemon,
}

/// A master that cannot archive any more when its last rows come, and dies.
fn nothing_is_lost(mut site: Site, way: Way) -> TestResult {
    site.set_up()?;
    let by_records = if way == Way::Files { 0 } else { 1 };
    site.write_master(&format!(
        "use_xlog_functions = {by_records}\nloop_delay = 0.1"
    ))?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int, filler text)")?;
    site.on_master("backup")?;
    site.on_slave("restore")?;
    drop(site.standby()?);
    // As if the archiver were stuck: several segments are finished, and none is archived.
    db.batch_execute("alter system set archive_command = 'false'")?;
    db.batch_execute("select pg_reload_conf()")?;
    wait_until("the command to change", PATIENCE, || {
        let command: String = db.query_one("show archive_command", &[])?.get(0);
        Ok(command == "false")
    })?;
    let mut daemon = match way {
        Way::Daemon => Some(site.program("master.ini syncdaemon").spawn()?),
        _ => None,
    };
    let connections = |site: &Site| match &site.sshd {
        Some(sshd) => sshd.log().matches("Accepted publickey").count(),
        None => 0,
    };
    let before = connections(&site);
    let mut rows = 0;
    for _ in 0..3 {
        db.batch_execute(&format!(
            "insert into t select n, repeat('x', 1000) from generate_series({}, {}) n",
            rows + 1,
            rows + 1500
        ))?;
        rows += 1500;
        if way == Way::Records {
            site.on_master("sync")?;
        }
    }
    db.batch_execute(&format!("insert into t values ({})", rows + 1))?;
    rows += 1;
    let position =
        "select pg_current_wal_flush_lsn()::text, pg_walfile_name(pg_current_wal_flush_lsn())";
    let row = db.query_one(position, &[])?;
    let current: String = row.get(1);
    match way {
        Way::Records => {
            let output = site.on_master("sync")?;
            assert!(output.stderr.contains("{count: "), "{}", output.stderr);
            // The second has little to do, and says the same.
            site.on_master("sync")?;
            site.master.stop(Shutdown::Kill)?;
        }
        Way::Files => {
            site.master.stop(Shutdown::Kill)?;
            let shown = site.on_master("sync -n")?.stderr;
            assert!(shown.contains("would be sent"), "{shown}");
            assert!(!site.shipped("logs.partial").join(&current).exists());
            site.on_master("sync")?;
        }
        Way::Daemon => {
            let partial = site.shipped("logs.partial").join(&current);
            wait_until("the current segment to come", PATIENCE, || {
                Ok(partial.exists())
            })?;
            // One for the question what is there, and one for all that is sent.
            assert_eq!(connections(&site) - before, 2, "{}", site.logs());
            if let Some(sshd) = &site.sshd {
                sshd.cut()?;
            }
            let refused = site.program("master.ini sync").output()?;
            assert_eq!(refused.status.code(), Some(1));
            let stderr = &refused.stderr;
            assert!(stderr.contains("end it first"), "{stderr}");
            wait_until("everything to be on the slave", PATIENCE, || {
                let status = site.on_master("status")?.stdout;
                Ok(status.contains("not on the slave:     0 bytes"))
            })
            .map_err(|error| format!("{error}\n{}", site.logs()))?;
            site.master.stop(Shutdown::Kill)?;
            site.program("master.ini syncdaemon -k").succeed()?;
            if let Some(daemon) = &mut daemon {
                daemon.wait(PATIENCE)?;
            }
        }
    }
    assert!(
        site.shipped("logs.partial").join(&current).exists(),
        "{current}"
    );
    let begun = Instant::now();
    site.on_slave("boot")
        .map_err(|error| format!("{error}\n{}", site.logs()))?;
    site.standby()?.batch_execute("create table own (id int)")?;
    assert!(begun.elapsed() < Duration::from_secs(10), "{begun:?}");
    let log = fs::read_to_string(site.path("slave.log"))?;
    assert!(log.contains("old_timeline=1 new_timeline=2"), "{log}");
    let mut new = site.standby()?;
    let count: i64 = new
        .query_one("select count(distinct id) from t where id > 0", &[])?
        .get(0);
    assert_eq!(count, i64::from(rows), "{}", site.logs());
    Ok(())
}

#[test]
fn by_positions_nothing_before_the_last_sync_is_lost() -> TestResult {
    nothing_is_lost(Site::new()?, Way::Records)
}

#[test]
fn from_the_files_of_a_dead_master_nothing_is_lost() -> TestResult {
    nothing_is_lost(Site::new()?, Way::Files)
}

#[test]
fn from_the_files_of_a_dead_master_nothing_is_lost_behind_ssh() -> TestResult {
    nothing_is_lost(Site::behind_ssh()?, Way::Files)
}

#[test]
fn the_daemon_ships_what_is_flushed() -> TestResult {
    nothing_is_lost(Site::behind_ssh()?, Way::Daemon)
}

#[test]
fn a_piece_never_takes_away_what_was_there() -> TestResult {
    let site = Site::new()?;
    site.on_slave("setup")?;
    let (path, name) = site.finished_segment()?;
    let bytes = fs::read(&path)?;
    let partial = site.shipped("logs.partial").join(&name);
    let piece = site.path("piece");
    let put = |range: std::ops::Range<usize>| -> TestResult {
        Ok(File::create(&piece)?.write_all(&bytes[range])?)
    };
    let line =
        |offset: usize, size: usize| format!("slave.ini xpartialsync {name} {offset} {size}");
    put(0..16384)?;
    let stored = format!("ok {name}\n");
    let output = site.program(&line(0, 16384)).input(&piece)?.succeed()?;
    assert_eq!(output.stdout, stored);
    // Padded, and nothing else.
    let mut expected = vec![0; bytes.len()];
    expected[..16384].copy_from_slice(&bytes[..16384]);
    assert!(fs::read(&partial)? == expected);
    // The same beginning again, and death in the middle of it.
    for step in ["xpartialsync.half", "xpartialsync.written"] {
        let output = site
            .program(&line(0, 16384))
            .input(&piece)?
            .env("FAILPOINTS", format!("{step}=return(kill)"))
            .output()?;
        assert_eq!(output.status.code(), None);
        assert!(fs::read(&partial)? == expected, "{step}");
    }
    // Less than was announced, a hole, too much, somebody else's.
    for (line, why) in [
        (line(16384, 20000), "16384 of 20000 bytes came"),
        (line(65536, 16384), "and there are only 16384"),
        (
            line(bytes.len() - 8192, 16384),
            "are more than a segment has",
        ),
        (
            "slave.ini xpartialsync 0000000100000000000000FF 0 16384".to_owned(),
            "does not begin this segment",
        ),
        (
            "slave.ini xpartialsync ../x 0 1".to_owned(),
            "is no name of a WAL file",
        ),
    ] {
        let output = site.program(&line).input(&piece)?.output()?;
        assert!(!output.status.success(), "{line}");
        assert!(output.stderr.contains(why), "{line}: {}", output.stderr);
        assert!(fs::read(&partial)? == expected, "{line}");
    }
    put(16384..24576)?;
    site.program(&line(16384, 8192)).input(&piece)?.succeed()?;
    expected[..24576].copy_from_slice(&bytes[..24576]);
    assert!(fs::read(&partial)? == expected);
    // Whole in the archive: no more is needed, and what was there goes with the next purge.
    site.program(&format!("master.ini xarchive {} {name}", path.display()))
        .succeed()?;
    let output = site.program(&line(16384, 8192)).input(&piece)?.succeed()?;
    assert_eq!(output.stdout, format!("complete {name}\n"));
    Ok(())
}
