//! Segments that are damaged, cut short or missing, and an archive that is away: a standby waits, and any other server
//! stops, instead of opening without what came after.

use std::fs;
use std::path::PathBuf;

use postgres::Client;
use testkit::{TestResult, wait_until};

use crate::{PATIENCE, Site};

/// What becomes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Byte,
    Size,
    Missing,
}

impl Damage {
    const ALL: [Damage; 3] = [Damage::Byte, Damage::Size, Damage::Missing];

    /// Does it to a file of an archive; what it held.
    fn do_to(self, path: &PathBuf) -> TestResult<Vec<u8>> {
        let bytes = fs::read(path)?;
        match self {
            Damage::Byte => {
                let mut damaged = bytes.clone();
                damaged[50_000] ^= 1;
                fs::write(path, damaged)?;
            }
            Damage::Size => fs::write(path, &bytes[..65536])?,
            Damage::Missing => fs::remove_file(path)?,
        }
        Ok(bytes)
    }

    /// What the log has of it.
    fn message(self) -> &'static str {
        match self {
            Damage::Byte => "is damaged: it has",
            Damage::Size => "it has 65536 bytes, and segments of its cluster 1048576",
            Damage::Missing => "is missing in",
        }
    }
}

/// Two segments with a hundred rows each; their names.
fn two_segments(site: &Site, db: &mut Client) -> TestResult<[String; 2]> {
    let insert = "insert into t select generate_series(1, 100)";
    db.batch_execute(insert)?;
    let first = site.switch(db)?;
    db.batch_execute(insert)?;
    Ok([first, site.switch(db)?])
}

#[test]
fn a_standby_waits_in_front_of_damage_and_goes_on_when_it_is_repaired() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    site.on_slave("restore")?;
    let mut standby = site.standby()?;
    for (before, damage) in (0..).step_by(200).zip(Damage::ALL) {
        site.wait_for_rows(&mut standby, before)?;
        site.on_slave("pause")?;
        let [first, _] = two_segments(&site, &mut db)?;
        let path = site.archived(&first);
        let bytes = damage.do_to(&path)?;
        fs::write(site.path("slave.log"), "")?;
        site.on_slave("continue")?;
        match damage {
            // Nobody knows whether it is still to come, but for a person.
            Damage::Missing => {
                for _ in 0..2 {
                    let progress = site.archived("PROGRESS");
                    fs::write(&progress, "1")?;
                    wait_until("the standby to ask", PATIENCE, || Ok(!progress.exists()))?;
                }
                let found = site.program("slave.ini check").output()?.stdout;
                let gap = format!("WAL: FAILED ({first} is missing, and needed by");
                assert!(found.contains(&gap), "{found}");
            }
            _ => wait_until("the standby to find it", PATIENCE, || {
                let log = fs::read_to_string(site.path("slave.log"))?;
                Ok(log.matches(damage.message()).count() > 1)
            })
            .map_err(|error| format!("{damage:?}: {error}\n{}", site.logs()))?,
        }
        let row = standby.query_one("select count(*), pg_is_in_recovery() from t", &[])?;
        assert_eq!((row.get(0), row.get(1)), (before, true), "{damage:?}");
        fs::write(&path, &bytes)?;
    }
    site.wait_for_rows(&mut standby, 600)?;
    Ok(())
}

#[test]
fn a_recovery_stops_in_front_of_damage_and_never_opens() -> TestResult {
    let mut site = Site::with(false, "gap_grace = 0.1")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    let [first, _] = two_segments(&site, &mut db)?;
    db.batch_execute("select pg_create_restore_point('here')")?;
    site.switch(&mut db)?;
    let path = site.archived(&first);
    for damage in Damage::ALL {
        let bytes = damage.do_to(&path)?;
        let log = site.path("slave.server.log");
        let _ = fs::remove_file(&log);
        fs::write(site.path("slave.log"), "")?;
        // It may have begun to recover before it stops, or not.
        let restore = site
            .program("slave.ini restore data.master --target-name here --force")
            .output()?;
        wait_until("the server to stop", PATIENCE, || {
            Ok(!site.path("slave/postmaster.pid").exists())
        })
        .map_err(|error| format!("{damage:?}: {error}\n{}{}", restore.stderr, site.logs()))?;
        let said = fs::read_to_string(&log)?;
        assert!(
            said.contains("child process exited with exit code 200"),
            "{damage:?}: {said}"
        );
        let told = fs::read_to_string(site.path("slave.log"))?;
        assert!(told.contains(damage.message()), "{damage:?}: {told}");
        assert!(!site.path("slave/pg_wal/00000002.history").exists());
        // Nothing is lost by that.
        fs::write(&path, &bytes)?;
        site.start_standby()?;
        drop(site.at_target(200)?);
    }
    Ok(())
}

#[test]
fn an_archive_that_is_away_stops_a_recovery_and_not_a_standby() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    two_segments(&site, &mut db)?;
    site.wait_for_rows(&mut standby, 200)?;
    let (archive, away) = (site.shipped("logs.complete"), site.path("away"));
    fs::rename(&archive, &away)?;
    // As a mount point that has nothing mounted.
    fs::create_dir(&archive)?;
    site.owner.give(&archive)?;
    fs::write(site.path("slave.log"), "")?;
    wait_until("the standby to ask", PATIENCE, || {
        let log = fs::read_to_string(site.path("slave.log"))?;
        Ok(log.matches("is no archive: is its disk mounted?").count() > 1)
    })?;
    let is_standby = "select pg_is_in_recovery()";
    assert!(standby.query_one(is_standby, &[])?.get::<_, bool>(0));
    // Nothing is purged by what is there.
    site.refused("slave.ini xpurgewals", "has no SYSTEMID")?;
    site.refused("slave.ini expire", "has no SYSTEMID")?;
    fs::remove_dir_all(&archive)?;
    fs::rename(&away, &archive)?;
    drop(standby);

    // The same while a server recovers to a target: it asks, and is held, until the archive is away.
    site.write_slave("gap_grace = 600")?;
    let [first, _] = two_segments(&site, &mut db)?;
    db.batch_execute("select pg_create_restore_point('here')")?;
    site.switch(&mut db)?;
    let bytes = fs::read(site.archived(&first))?;
    fs::remove_file(site.archived(&first))?;
    let command = site.start_command()?.replace(" -w ", " -W ");
    site.program("slave.ini restore data.master --target-name here --force --set")
        .args([format!("slave_start_cmd={command}")])
        .succeed()?;
    wait_until("the server to ask for what is missing", PATIENCE, || {
        Ok(site.requested().as_ref() == Some(&first))
    })?;
    fs::write(site.path("slave.log"), "")?;
    fs::rename(&archive, &away)?;
    wait_until("the server to stop", PATIENCE, || {
        Ok(!site.path("slave/postmaster.pid").exists())
    })
    .map_err(|error| format!("{error}\n{}", site.logs()))?;
    assert!(site.logs().contains("exit code 200"), "{}", site.logs());
    assert!(!site.path("slave/pg_wal/00000003.history").exists());
    fs::rename(&away, &archive)?;
    fs::write(site.archived(&first), bytes)?;
    site.start_standby()?;
    drop(site.at_target(400)?);
    Ok(())
}

#[test]
fn a_segment_that_comes_late_is_waited_for() -> TestResult {
    let mut site = Site::with(false, "gap_grace = 600")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    let [first, _] = two_segments(&site, &mut db)?;
    db.batch_execute("select pg_create_restore_point('here')")?;
    site.switch(&mut db)?;
    let bytes = fs::read(site.archived(&first))?;
    fs::remove_file(site.archived(&first))?;
    let command = site.start_command()?.replace(" -w ", " -W ");
    site.program("slave.ini restore data.master --target-name here --force --set")
        .args([format!("slave_start_cmd={command}")])
        .succeed()?;
    wait_until("the server to ask for what is missing", PATIENCE, || {
        Ok(site.requested().as_ref() == Some(&first))
    })?;
    fs::write(site.archived(&first), bytes)?;
    drop(site.at_target(200)?);
    Ok(())
}
