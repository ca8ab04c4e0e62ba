//! Which WAL and which sets stay.

use std::fs;

use testkit::{TestResult, wait_until};

use crate::{PATIENCE, Site};

#[test]
fn sets_and_wal_go_when_nobody_needs_them() -> TestResult {
    let mut site = Site::with(
        false,
        "keep_backups = 2\narchive_command = echo $BACKUPDIR >> gone",
    )?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    let mut starts = Vec::new();
    for round in 0..4 {
        db.execute("insert into t values ($1)", &[&round])?;
        site.switch(&mut db)?;
        site.on_master("backup")?;
        let label = fs::read_to_string(site.shipped("data.master/backup_label"))?;
        let (_, name) = label.split_once("(file ").ok_or("a label")?;
        starts.push(name[..24].to_owned());
    }
    let names = site.names_in(&site.path("ship"))?;
    assert_eq!(
        names
            .iter()
            .filter(|name| name.contains("data.master"))
            .collect::<Vec<_>>(),
        ["data.master", "data.master.0"]
    );
    // Each time before one went.
    let gone = fs::read_to_string(site.path("gone"))?;
    assert_eq!(
        gone,
        format!("{}\n", site.shipped("data.master.1").display()).repeat(2)
    );
    // WAL from the start of the older set on, and not before.
    let wal: Vec<String> = site
        .names_in(&site.shipped("logs.complete"))?
        .into_iter()
        .filter(|name| name.len() == 24)
        .collect();
    assert_eq!(wal.first(), Some(&starts[2]), "{wal:?}");
    assert!(
        !site
            .archived(&format!(".walmgr/{}.sum", starts[0]))
            .exists()
    );
    // Histories stay for ever, and so does what is not known.
    for name in ["00000002.history", "own", "000000010000000000000001.own"] {
        fs::write(site.archived(name), "")?;
    }
    site.on_slave("xcleanup 000000000000000000000000")?;
    site.on_slave("xcleanup 0000000100000000000000FF")?;
    site.on_slave("xpurgewals")?;
    for name in ["00000002.history", "own", "000000010000000000000001.own"] {
        assert!(site.archived(name).exists(), "{name}");
    }
    for name in wal {
        assert!(site.archived(&name).exists(), "{name}");
    }
    // A set that does not tell what it needs keeps everything.
    fs::write(site.shipped("data.master.0/backup_label"), "")?;
    let output = site.program("slave.ini xpurgewals").output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stderr.contains("does not tell which WAL it needs"),
        "{}",
        output.stderr
    );
    Ok(())
}

/// Has a set begin days earlier than it did.
fn make_older(site: &Site, set: &str, days: i64) -> TestResult {
    let path = site.shipped(&format!("{set}/walmgr_backup.json"));
    let text = fs::read_to_string(&path)?;
    let (before, rest) = text.split_once("\"start_time\": \"").ok_or("a time")?;
    let (time, after) = rest.split_once('"').ok_or("a time")?;
    let time: jiff::Timestamp = time.parse()?;
    let time = time - jiff::SignedDuration::from_hours(24 * days);
    fs::write(&path, format!("{before}\"start_time\": \"{time}\"{after}"))?;
    Ok(())
}

#[test]
fn sets_are_kept_for_days_and_room_is_made_before_or_after() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 1\nkeep_days = 7")?;
    site.set_up()?;
    for _ in 0..3 {
        site.on_master("backup")?;
    }
    let sets = || -> TestResult<Vec<String>> {
        let names = site.names_in(&site.path("ship"))?;
        Ok(names
            .into_iter()
            .filter(|name| name.contains("data.master"))
            .collect())
    };
    let all = ["data.master", "data.master.0", "data.master.1"];
    assert_eq!(sets()?, all);
    make_older(&site, "data.master.0", 5)?;
    make_older(&site, "data.master.1", 10)?;
    site.on_slave("expire")?;
    assert_eq!(sets()?, all);
    // A restore to four days ago begins with the one of five days ago.
    let expire = "slave.ini expire -n --set keep_days";
    let shown = site.program(&format!("{expire}=4")).succeed()?.stdout;
    assert_eq!(shown, "would delete data.master.1\n");
    let shown = site
        .program(&format!("{expire}=4 --set min_backups=3"))
        .succeed()?
        .stdout;
    assert_eq!(shown, "");
    let shown = site.program(&format!("{expire}=0")).succeed()?.stdout;
    assert_eq!(
        shown,
        "would delete data.master.1\nwould delete data.master.0\n"
    );
    // On a tight disk the oldest goes first; the newest stays, whatever becomes of the next one.
    for (left, lines) in [
        (all.len(), ""),
        (2, "rotate_first = 1"),
        (1, "rotate_first = 1"),
    ] {
        site.write_slave(&format!("keep_backups = {left}\n{lines}"))?;
        let output = site
            .program("master.ini backup")
            .env("FAILPOINTS", "backup.begun=return(kill)")
            .output()?;
        assert_eq!(output.status.code(), None, "{}", output.stderr);
        wait_until("the lock to be free", PATIENCE, || {
            Ok(!site.archived("BACKUPLOCK").exists())
        })?;
        let there = sets()?;
        let whole = there
            .iter()
            .filter(|name| !name.ends_with("inprogress"))
            .count();
        assert_eq!(whole, if lines.is_empty() { 3 } else { 1 }, "{there:?}");
        assert!(there.contains(&"data.master".to_owned()), "{there:?}");
    }
    Ok(())
}

/// Three sets, and WAL from the first on.
fn three_sets() -> TestResult<(Site, postgres::Client)> {
    let mut site = Site::with(false, "keep_backups = 3")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    for round in 1..=5 {
        db.execute("insert into t values ($1)", &[&round])?;
        site.switch(&mut db)?;
        site.on_master("backup")?;
    }
    Ok((site, db))
}

#[test]
fn every_set_that_is_kept_leads_to_the_newest_state() -> TestResult {
    let (site, mut db) = three_sets()?;
    let sets = ["data.master", "data.master.0", "data.master.1"];
    let names = site.names_in(&site.path("ship"))?;
    let found: Vec<&String> = names.iter().filter(|n| n.contains("data.master")).collect();
    assert_eq!(found, sets);
    db.batch_execute("insert into t values (6)")?;
    site.switch(&mut db)?;
    for set in sets {
        site.on_slave(&format!("restore {set}"))?;
        let mut standby = site.standby()?;
        wait_until("the standby to have all rows", PATIENCE, || {
            let row = standby.query_one("select count(*), max(id) from t", &[])?;
            Ok((row.get(0), row.get(1)) == (6_i64, 6_i32))
        })
        .map_err(|error| format!("{set}: {error}\n{}", site.logs()))?;
    }
    Ok(())
}

#[test]
fn an_expire_that_dies_is_finished_by_the_next() -> TestResult {
    let (site, _db) = three_sets()?;
    let line = "slave.ini expire --set keep_backups=1 --set archive_command=true";
    let wal = || -> TestResult<Vec<String>> {
        let names = site.names_in(&site.shipped("logs.complete"))?;
        Ok(names.into_iter().filter(|name| name.len() == 24).collect())
    };
    let last = wal()?;
    for step in ["expire.archived", "expire.renamed", "purge.before"] {
        let output = site
            .program(line)
            .env("FAILPOINTS", format!("{step}=return(kill)"))
            .output()?;
        assert_eq!(output.status.code(), None, "{step}: {}", output.stderr);
        let sets = site.on_slave("listbackups")?.stdout;
        assert!(sets.contains("data.master     2"), "{step}: {sets}");
        // From the oldest on: what is left has no hole.
        let left = wal()?;
        assert!(last.ends_with(&left), "{step}: {left:?} of {last:?}");
        site.program("slave.ini verify").succeed()?;
    }
    site.program(line).succeed()?;
    let names = site.names_in(&site.path("ship"))?;
    let found: Vec<&String> = names.iter().filter(|n| n.contains("data.master")).collect();
    assert_eq!(found, ["data.master"]);
    let label = fs::read_to_string(site.shipped("data.master/backup_label"))?;
    assert!(label.contains(&wal()?[0]), "{label}");
    site.program("slave.ini verify").succeed()?;
    Ok(())
}
