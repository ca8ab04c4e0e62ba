//! `restore`: interrupted anywhere, it goes on or leaves what was there.

use std::fs;

use testkit::{TestResult, wait_until};

use crate::{PATIENCE, Site};

const STEPS: [&str; 6] = [
    "restore.stopped",
    "restore.ready",
    "restore.prepared",
    "restore.moved",
    "restore.exchanged",
    "boot.stop",
];

#[test]
fn death_at_any_step_loses_neither_the_set_nor_the_old_directory() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    for step in STEPS.iter().filter(|step| step.starts_with("restore")) {
        site.on_master("backup")?;
        // Of the standby before, or of nobody.
        let old = fs::read(site.path("slave/own")).unwrap_or_default();
        let output = site
            .program("slave.ini restore")
            .env("FAILPOINTS", format!("{step}=return(kill)"))
            .output()?;
        assert_eq!(output.status.code(), None, "{step}: {}", output.stderr);
        site.on_slave("restore")
            .map_err(|error| format!("{step}: {error}"))?;
        let mut standby = site.standby()?;
        site.wait_for_rows(&mut standby, 100)
            .map_err(|error| format!("{step}: {error}"))?;
        let kept = site.names_in(site.path("").as_path())?;
        let is_kept = kept
            .iter()
            .filter(|name| name.starts_with("slave."))
            .any(|name| fs::read(site.path(name).join("own")).is_ok_and(|own| own == old));
        assert!(old.is_empty() || is_kept, "{step}: {kept:?}");
        fs::write(site.path("slave/own"), step)?;
        for left in ["slave.restoring", "slave.copying"] {
            assert!(!site.path(left).exists(), "{step}: {left}");
        }
    }
    Ok(())
}

#[test]
fn boot_while_paused_loses_nothing_and_boot_that_dies_goes_on() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    site.on_slave("restore")?;
    let mut standby = site.standby()?;
    site.on_slave("pause")?;
    db.batch_execute("insert into t select generate_series(101, 200)")?;
    let name = site.switch(&mut db)?;
    db.batch_execute("insert into t select generate_series(201, 300)")?;
    let last = site.switch(&mut db)?;
    assert_eq!(
        standby
            .query_one("select count(*) from t", &[])?
            .get::<_, i64>(0),
        100
    );
    drop(standby);
    // A gap in front of later WAL: not without a word.
    let away = site.path("away");
    fs::rename(site.archived(&name), &away)?;
    let missing = format!("{name} is missing in the archive, although WAL up to");
    site.refused("slave.ini boot", &missing)?;
    // A file that the server keeps for later is none of it.
    let kept = site.path("slave/pg_wal").join(&name);
    fs::copy(site.archived(&last), &kept)?;
    site.owner.give(&kept)?;
    site.refused("slave.ini boot", &missing)?;
    fs::remove_file(&kept)?;
    fs::rename(&away, site.archived(&name))?;
    let output = site
        .program("slave.ini boot")
        .env("FAILPOINTS", "boot.stop=return(kill)")
        .output()?;
    assert_eq!(output.status.code(), None, "{}", output.stderr);
    site.on_slave("boot")?;
    let mut new = site.standby()?;
    assert_eq!(
        new.query_one("select count(*) from t", &[])?
            .get::<_, i64>(0),
        300
    );
    assert!(
        !new.query_one("select pg_is_in_recovery()", &[])?
            .get::<_, bool>(0)
    );
    Ok(())
}

#[test]
fn boot_waits_for_a_request_that_began_before() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    site.write_master("use_xlog_functions = 1")?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    site.on_master("backup")?;
    // Without the directory no request is held.
    let hold = site.path("hold");
    let held = hold.join("xrestore");
    site.program("slave.ini restore")
        .env(
            "FAILPOINTS",
            format!("xrestore.absent=return(hold:{})", held.display()),
        )
        .succeed()?;
    drop(site.standby()?);
    db.batch_execute("insert into t select generate_series(101, 200)")?;
    site.on_master("sync")?;
    fs::create_dir(&hold)?;
    site.owner.give(&hold)?;
    wait_until("a request to find nothing", PATIENCE, || Ok(held.exists()))?;
    let mut boot = site.program("slave.ini boot").spawn()?;
    // It waits, or asks the server for the end of recovery at once.
    wait_until("boot to go on", PATIENCE, || {
        let log = fs::read_to_string(site.path("slave.log"))?;
        Ok(log.contains("waiting for a request") || site.path("slave/promote").exists())
    })?;
    fs::rename(&hold, site.path("gone"))?;
    assert!(boot.wait(PATIENCE)?.success(), "{}", site.logs());
    let mut new = site.standby()?;
    assert_eq!(
        new.query_one("select count(*) from t", &[])?
            .get::<_, i64>(0),
        200,
        "{}",
        site.logs()
    );
    Ok(())
}

#[test]
fn wal_of_somebody_else_is_refused_before_the_standby_is_stopped() -> TestResult {
    let mut site = Site::new()?;
    let wal = site.path("wal");
    site.write_slave(&format!("slave_pg_xlog = {}", wal.display()))?;
    site.set_up()?;
    site.on_master("backup")?;
    site.on_slave("restore")?;
    drop(site.standby()?);
    assert!(fs::read_dir(&wal)?.count() > 0);
    site.on_master("backup")?;
    site.refused("slave.ini restore", "is not empty: empty it")?;
    let mut standby = site.standby()?;
    standby.batch_execute("select 1")?;
    drop(standby);
    site.on_slave("restore --force")?;
    drop(site.standby()?);
    Ok(())
}

#[test]
fn a_set_without_its_wal_or_of_another_version_is_not_restored() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    site.refused("slave.ini restore", "no backup found as")?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    site.on_master("backup")?;
    let mut names = Vec::new();
    for _ in 0..2 {
        db.batch_execute("insert into t values (1)")?;
        names.push(site.switch(&mut db)?);
    }
    let shown = site.on_slave("restore -n")?.stdout;
    assert!(
        shown.starts_with("would stop the server if it runs, move "),
        "{shown}"
    );
    let path = site.archived(&names[0]);
    let away = site.path("away");
    fs::rename(&path, &away)?;
    site.refused(
        "slave.ini restore",
        &format!("{} is not in the archive", names[0]),
    )?;
    fs::rename(&away, &path)?;
    let version = site.shipped("data.master/PG_VERSION");
    let own = fs::read_to_string(&version)?;
    fs::write(&version, "12\n")?;
    site.refused(
        "slave.ini restore",
        "is of PostgreSQL 12, and the programs of slave_bin are of",
    )?;
    fs::write(&version, own)?;
    // A mark of the owner's is none of its files; one bit of another is enough.
    let json = site.shipped("data.master/walmgr_backup.json");
    let text = fs::read_to_string(&json)?;
    fs::write(&json, text.replace("\"keep\": false", "\"keep\": true"))?;
    site.on_slave("restore -n")?;
    let file = site.shipped("data.master/global/pg_filenode.map");
    let mut bytes = fs::read(&file)?;
    bytes[100] ^= 1;
    fs::write(&file, &bytes)?;
    site.refused(
        "slave.ini restore",
        "data.master is damaged: global/pg_filenode.map: has changed. Take another set, or use --force",
    )?;
    site.on_slave("restore -n --no-verify")?;
    bytes[100] ^= 1;
    fs::write(&file, &bytes)?;
    site.refused(
        "slave.ini restore --use-partial",
        "--use-partial goes with a target or with DST",
    )?;
    site.refused(
        "slave.ini restore data.master.5",
        "no backup set data.master.5; there are: data.master",
    )?;
    assert!(!site.path("slave").exists());
    assert!(site.shipped("data.master/backup_label").exists());
    Ok(())
}

#[test]
fn recovery_ends_at_its_target() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 3")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 100) id")?;
    let early: String = db.query_one("select now()::text", &[])?.get(0);
    site.on_master("backup")?;
    // The end of a backup is known to the second.
    db.batch_execute("select pg_sleep(1.1); insert into t select generate_series(101, 200)")?;
    let row = db.query_one("select now()::text, pg_current_wal_flush_lsn()::text", &[])?;
    let (time, lsn): (String, String) = (row.get(0), row.get(1));
    db.batch_execute("select pg_create_restore_point('here')")?;
    db.batch_execute("insert into t select generate_series(201, 300)")?;
    site.switch(&mut db)?;
    site.on_master("backup")?;
    db.batch_execute("insert into t values (0)")?;
    site.switch(&mut db)?;
    let ini = site.path("slave.ini").display().to_string();
    let count = "select count(*) from t";
    for (target, value) in [("time", &time), ("lsn", &lsn), ("name", &"here".to_owned())] {
        let target = format!("--target-{target}={value}");
        // The newest set is too late for a time or a position; only a name does not tell.
        let set = if value == "here" { "data.master.0" } else { "" };
        let mut line = vec![ini.clone(), "restore".to_owned(), target];
        line.extend((!set.is_empty()).then(|| set.to_owned()));
        site.program("")
            .args(&line)
            .succeed()
            .map_err(|error| format!("{error}\n{}", site.logs()))?;
        drop(site.at_target(200)?);
        site.on_slave("boot")?;
        let mut new = site.standby()?;
        assert_eq!(new.query_one(count, &[])?.get::<_, i64>(0), 200, "{value}");
        new.batch_execute("insert into t values (1000)")?;
        assert!(!site.path("slave/recovery.signal").exists());
        drop(new);
        // Replaced by the next one only if that is said.
        let output = site.program("").args(&line).output()?;
        assert!(
            output.stderr.contains("is a primary and not a standby"),
            "{}",
            output.stderr
        );
        let mut stop = site.master.command("pg_ctl");
        let stopped = stop
            .arg("-D")
            .arg(site.path("slave"))
            .args(["-w", "-m", "fast", "stop"]);
        assert!(
            stopped
                .stdout(std::process::Stdio::null())
                .status()?
                .success()
        );
    }
    // At once, and opened by itself; the sets are still there.
    site.on_slave("restore --target-immediate --target-action promote")?;
    let mut new = site.standby()?;
    assert_eq!(new.query_one(count, &[])?.get::<_, i64>(0), 300);
    drop(new);
    // It stops there, and beyond all that is here it stops where the WAL ends: restore may hear of that, or not.
    let newest = site.wal()?.pop().ok_or("a segment")?;
    for (options, code, told) in [
        (
            "--force --target-immediate --target-action shutdown",
            0,
            "shutdown at recovery target",
        ),
        (
            "--target-lsn FF/0",
            1,
            "recovery ended before configured recovery target was reached",
        ),
    ] {
        let output = site
            .program(&format!("slave.ini restore {options}"))
            .output()?;
        wait_until("the server to stop", PATIENCE, || {
            Ok(!site.path("slave/postmaster.pid").exists())
        })?;
        let log = fs::read_to_string(site.path("slave.server.log"))?;
        assert!(log.contains(told), "{options}: {log}");
        let found = output.status.code();
        assert!(
            found == Some(0) || found == Some(code),
            "{options}: {}",
            output.stderr
        );
        let why = format!("if the target is not in the WAL that is here, up to {newest}");
        assert!(
            found == Some(0) || output.stderr.contains(&why),
            "{options}: {}",
            output.stderr
        );
        assert!(!site.path("slave/pg_wal/00000002.history").exists());
    }
    let output = site
        .program("")
        .args([ini.as_str(), "restore", &format!("--target-time={early}")])
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output
            .stderr
            .contains("the target lies before the end of every backup: data.master until 2"),
        "{}",
        output.stderr
    );
    let output = site
        .program("slave.ini restore --target-time=2026-11-26")
        .output()?;
    assert_eq!(output.status.code(), Some(2), "{}", output.stderr);
    Ok(())
}

#[test]
fn tablespaces_go_where_the_map_says_and_never_into_what_is_used() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 2")?;
    site.set_up()?;
    let (space, disk) = (site.path("space"), site.path("disk"));
    for dir in [&space, &disk] {
        fs::create_dir(dir)?;
        site.owner.give(dir)?;
    }
    let mut db = site.db()?;
    db.batch_execute(&format!(
        "create tablespace space location '{}'",
        space.display()
    ))?;
    db.batch_execute("create table s tablespace space as select generate_series(1, 100) id")?;
    let oid: u32 = db
        .query_one("select oid from pg_tablespace where spcname = 'space'", &[])?
        .get(0);
    site.on_master("backup")?;
    let map = format!("tablespace_map = {oid}={}", disk.display());
    site.write_slave(&format!("keep_backups = 2\n{map}"))?;
    fs::write(disk.join("precious"), "")?;
    site.refused(
        "slave.ini restore data.master",
        "is not empty, and tablespace",
    )?;
    assert!(disk.join("precious").exists() && !site.path("slave").exists());
    fs::remove_file(disk.join("precious"))?;
    // It dies with the copy complete and the set not yet in place.
    let output = site
        .program("slave.ini restore data.master")
        .env("FAILPOINTS", "restore.tablespace=return(kill)")
        .output()?;
    assert_eq!(output.status.code(), None, "{}", output.stderr);
    site.on_slave("restore data.master")?;
    let mut standby = site.standby()?;
    let row = standby.query_one(
        "select (select count(*) from s), pg_tablespace_location($1)",
        &[&oid],
    )?;
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, String>(1)),
        (100, disk.display().to_string())
    );
    assert!(!disk.join(".walmgr.copying").exists());
    assert!(!site.path("slave/tmpspc/.gone").exists());
    drop(standby);
    // The set still has its own, and the next restore does not take the place of the living one.
    site.on_slave("verify")?;
    site.refused(
        "slave.ini restore data.master",
        "is not empty, and tablespace",
    )?;
    let other = site.path("other");
    let line = format!(
        "slave.ini restore data.master --tablespace {oid}={}",
        other.display()
    );
    site.program(&line).succeed()?;
    let location: String = site
        .standby()?
        .query_one("select pg_tablespace_location($1)", &[&oid])?
        .get(0);
    assert_eq!(location, other.display().to_string());
    let output = site
        .program("slave.ini restore --tablespace x=y")
        .output()?;
    assert_eq!(output.status.code(), Some(2), "{}", output.stderr);
    site.refused(
        "--set tablespace_map=16384=dir slave.ini listbackups",
        "tablespace_map: '16384=dir' is not of the form OID=DIR",
    )
}

#[test]
fn nothing_is_opened_before_the_master_is_known_to_be_gone() -> TestResult {
    let mut site = Site::with(false, "boot_check_command = test -e fenced")?;
    site.set_up()?;
    site.on_master("backup")?;
    site.on_slave("restore")?;
    let mut standby = site.standby()?;
    let shown = site.on_slave("boot -n")?.stdout;
    assert!(shown.starts_with("would run: test -e fenced\n"), "{shown}");
    site.refused(
        "slave.ini boot --force",
        "boot_check_command (test -e fenced): exit status: 1: nothing is opened",
    )?;
    assert!(!site.archived("STOP").exists());
    let in_recovery = "select pg_is_in_recovery()";
    assert!(standby.query_one(in_recovery, &[])?.get::<_, bool>(0));
    fs::write(site.path("fenced"), "")?;
    site.on_slave("boot")?;
    assert!(!standby.query_one(in_recovery, &[])?.get::<_, bool>(0));
    Ok(())
}

#[test]
fn settings_that_are_too_low_for_a_standby_are_named() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 2")?;
    // Not every build of the server has it.
    if !site.has("pg_controldata") {
        return Ok(());
    }
    site.set_up()?;
    site.on_master("backup")?;
    let said = site.on_slave("restore data.master")?.stderr;
    assert!(
        !said.contains("on the master: unless hot_standby"),
        "{said}"
    );
    drop(site.standby()?);
    // The configuration stays that of the old data directory.
    let path = site.path("slave/postgresql.conf");
    let conf = fs::read_to_string(&path)?;
    fs::write(&path, format!("{conf}max_connections = 20\n"))?;
    let output = site.program("slave.ini restore data.master").output()?;
    let low = "max_connections is 20 here, and was 50 on the master";
    assert!(output.stderr.contains(low), "{}", output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    fs::write(site.path("slave/postgresql.conf"), conf)?;
    site.on_slave("restore data.master")?;
    drop(site.standby()?);
    Ok(())
}
