//! `check`, `status`, `verify`, `expire`.

use std::fs;
use std::path::Path;

use testkit::{Output, TestResult, wait_until};

use crate::{PATIENCE, Site};

impl Site {
    /// Runs a line on either side, with the exit code that it has to have.
    fn finds(&self, line: &str, code: i32, what: &[&str]) -> TestResult<Output> {
        let output = self.program(line).output()?;
        let said = format!("{line}: {}{}", output.stdout, output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        for what in what {
            assert!(output.stdout.contains(what), "no '{what}' in {said}");
        }
        Ok(output)
    }
}

#[test]
fn check_says_what_is_wrong_and_nothing_else() -> TestResult {
    let mut site = Site::behind_ssh()?;
    let nothing = [
        "archive_mode: FAILED (off)",
        "archive_command: FAILED",
        "slave archive: FAILED",
    ];
    site.finds("master.ini check", 3, &nothing)?;
    site.finds(
        "slave.ini check",
        3,
        &["archive: FAILED", "backups: FAILED"],
    )?;
    site.set_up()?;
    site.on_master("backup")?;
    let well = [
        "server: OK (primary)\n",
        "archiving: OK (0",
        "slots: OK (none)\n",
        "probe: OK (0",
        "slave: OK (answers in ",
        "slave backups: OK (1, data.master from ",
        "slave WAL: OK (from ",
        "slave standby: OK (there is none)\n",
    ];
    site.finds("master.ini check", 0, &well)?;
    site.finds("master.ini check --nagios", 0, &["WALMGR OK: "])?;
    let json = site
        .finds("slave.ini check --json", 0, &["\"level\": \"OK\""])?
        .stdout;
    assert!(!json.contains("FAILED"), "{json}");
    site.finds("none.ini check --nagios", 3, &[])?;
    // A backup that is too old, one that was given up, a conflict, a gap.
    site.finds(
        "slave.ini check --max-backup-age 0 --nagios",
        2,
        &["WALMGR FAILED: backups: "],
    )?;
    fs::create_dir(site.shipped("data.master.inprogress"))?;
    site.finds(
        "slave.ini check",
        3,
        &[
            "leftovers: WARNING (",
            "WAL: FAILED (",
            "does not tell which WAL",
        ],
    )?;
    fs::remove_dir(site.shipped("data.master.inprogress"))?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    let mut names = Vec::new();
    for _ in 0..3 {
        db.batch_execute("insert into t values (1)")?;
        names.push(site.switch(&mut db)?);
    }
    let away = site.path("away");
    fs::rename(site.archived(&names[1]), &away)?;
    let missing = format!(
        "WAL: FAILED ({} is missing, and needed by data.master)",
        names[1]
    );
    site.finds("slave.ini check", 3, &[&missing])?;
    site.finds("master.ini check", 3, &[&format!("slave {missing}")])?;
    fs::rename(&away, site.archived(&names[1]))?;
    // A standby that runs, is held, and is opened.
    site.on_slave("restore data.master")?;
    drop(site.standby()?);
    site.finds("slave.ini check", 0, &["standby: OK (in recovery (pid "])?;
    site.on_slave("pause")?;
    site.finds(
        "slave.ini check --nagios",
        1,
        &["WALMGR WARNING: standby: "],
    )?;
    site.on_slave("boot")?;
    site.finds("slave.ini check", 3, &["standby: FAILED (is a primary"])?;
    Ok(())
}

#[test]
fn status_tells_what_it_can() -> TestResult {
    let mut site = Site::new()?;
    site.finds(
        "slave.ini status",
        0,
        &["newest archived:      unknown (cannot list"],
    )?;
    site.set_up()?;
    site.on_master("backup")?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 1000)")?;
    let name = site.switch(&mut db)?;
    wait_until("the segment to be noted", PATIENCE, || {
        let last = fs::read_to_string(site.master.data_dir().join(".walshipping.last"));
        Ok(last.is_ok_and(|last| last.trim() == name))
    })?;
    db.batch_execute("insert into t values (1)")?;
    let output = site.finds(
        "master.ini status",
        0,
        &["server:               runs (pid "],
    )?;
    assert!(
        output
            .stdout
            .contains(&format!("last archived:        {name}, ")),
        "{}",
        output.stdout
    );
    assert!(
        !output.stdout.contains("slave:     0 bytes"),
        "{}",
        output.stdout
    );
    site.program("master.ini sync --set use_xlog_functions=1")
        .succeed()?;
    site.finds(
        "master.ini status",
        0,
        &["not on the slave:     0 bytes, up to "],
    )?;
    site.finds(
        "slave.ini status",
        0,
        &[
            &format!("newest archived:      {name}\n"),
            "standby:              none\n",
            "base backups:         1, data.master from ",
            "signals:              none\n",
        ],
    )?;
    site.on_slave("restore")?;
    drop(site.standby()?);
    site.on_slave("pause")?;
    let paused = [
        "in recovery (pid ",
        "replayed to ",
        ", paused",
        "signals:              PAUSE\n",
    ];
    site.finds("slave.ini status", 0, &paused)?;
    site.finds(
        "slave.ini status --json",
        0,
        &["\"base_backups\": \"none\""],
    )?;
    site.master.stop(testkit::Shutdown::Fast)?;
    site.finds(
        "master.ini status",
        0,
        &["does not run", "not on the slave:     unknown ("],
    )?;
    Ok(())
}

/// The manifest is one for both, and what changes a set is found by the other, too.
fn the_servers_program_finds_a_flipped_bit(site: &Site, set: &Path) -> TestResult {
    if !site.has("pg_verifybackup") {
        return Ok(());
    }
    let verify = || {
        let mut program = site.master.command("pg_verifybackup");
        program.arg("-n").arg(set).output()
    };
    let output = verify()?;
    assert!(output.status.success(), "{output:?}");
    let path = set.join("base/1/pg_filenode.map");
    let bytes = fs::read(&path)?;
    let mut changed = bytes.clone();
    changed[10] ^= 1;
    fs::write(&path, changed)?;
    let output = verify()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let why = "checksum mismatch for file \"base/1/pg_filenode.map\"";
    assert!(!output.status.success() && said.contains(why), "{said}");
    Ok(fs::write(&path, bytes)?)
}

#[test]
fn verify_finds_every_difference() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t as select generate_series(1, 1000) id")?;
    site.on_master("backup")?;
    let mut names = Vec::new();
    for _ in 0..4 {
        db.batch_execute("insert into t values (1)")?;
        names.push(site.switch(&mut db)?);
    }
    site.finds(
        "slave.ini verify",
        0,
        &["data.master: OK (", "data.master WAL: OK ("],
    )?;
    // It is noted, and the manifest knows.
    let json = site.on_slave("listbackups --json")?.stdout;
    assert!(json.contains("\"verified_at\": \"2"), "{json}");
    site.finds("slave.ini verify --all", 0, &["data.master: OK"])?;
    let set = site.shipped("data.master");
    the_servers_program_finds_a_flipped_bit(&site, &set)?;
    let table = set.join("global/pg_control");
    let bytes = fs::read(&table)?;
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    fs::write(&table, &changed)?;
    fs::write(set.join("base/own"), "")?;
    fs::remove_file(set.join("PG_VERSION"))?;
    site.finds(
        "slave.ini verify data.master",
        3,
        &[
            "data.master: FAILED (global/pg_control: has changed)\n",
            "data.master: FAILED (base/own: was not there)\n",
            "data.master: FAILED (PG_VERSION: is missing)\n",
        ],
    )?;
    for name in [&names[0], &names[1]] {
        fs::remove_file(site.archived(name))?;
    }
    let path = site.archived(&names[2]);
    let mut segment = fs::read(&path)?;
    segment[70_000] ^= 1;
    fs::write(&path, segment)?;
    site.finds(
        "slave.ini verify --wal-only",
        3,
        &[
            &format!(
                "data.master WAL: FAILED ({} to {} are missing)\n",
                names[0], names[1]
            ),
            &format!(
                "data.master WAL: FAILED ({}: it has changed since it was archived)\n",
                names[2]
            ),
        ],
    )?;
    site.refused(
        "slave.ini verify data.master.7",
        "no backup set data.master.7; there are: data.master",
    )
}

#[test]
fn a_set_that_has_been_verified_is_noted_in_no_other() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 2")?;
    site.set_up()?;
    site.on_master("backup")?;
    let id = |set: &str| -> TestResult<String> {
        let text = fs::read_to_string(site.shipped(set).join("walmgr_backup.json"))?;
        let line = text.lines().find(|line| line.contains("\"id\""));
        Ok(line.ok_or("no id")?.to_owned())
    };
    let first = id("data.master")?;
    let (mut running, held) = site.hold_at("slave.ini verify", "verify.done")?;
    // An id is of the second.
    let mut db = site.db()?;
    db.batch_execute("select pg_sleep(1)")?;
    site.on_master("backup")?;
    fs::remove_file(&held)?;
    assert!(running.wait(PATIENCE)?.success(), "{}", site.logs());
    assert_eq!(id("data.master.0")?, first);
    assert_ne!(id("data.master")?, first);
    site.finds("slave.ini verify", 0, &["data.master: OK"])?;
    Ok(())
}

#[test]
fn expire_deletes_what_need_not_be_kept_and_shows_it_before() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 3")?;
    site.set_up()?;
    let mut db = site.db()?;
    db.batch_execute("create table t (id int)")?;
    for _ in 0..3 {
        db.batch_execute("insert into t values (1)")?;
        site.switch(&mut db)?;
        site.on_master("backup")?;
    }
    let listing = || -> TestResult<Vec<String>> {
        let mut names = site.names_in(&site.path("ship"))?;
        names.extend(site.names_in(&site.shipped("logs.complete"))?);
        Ok(names)
    };
    let before = listing()?;
    site.finds("slave.ini expire", 0, &[])?;
    assert_eq!(listing()?, before);
    let shown = [
        "would delete data.master.1\n",
        "would delete data.master.0\n",
    ];
    site.finds("slave.ini expire -n --set keep_backups=1", 0, &shown)?;
    assert_eq!(listing()?, before);
    // One keeps itself.
    let path = site.shipped("data.master.0/walmgr_backup.json");
    let text = fs::read_to_string(&path)?;
    fs::write(&path, text.replace("\"keep\": false", "\"keep\": true"))?;
    let output = site.finds(
        "slave.ini expire --set keep_backups=0",
        0,
        &["deleted data.master.1\n"],
    )?;
    assert!(
        !output.stdout.contains("data.master.0"),
        "{}",
        output.stdout
    );
    assert!(
        output.stdout.contains(" files of WAL\n"),
        "{}",
        output.stdout
    );
    assert!(site.shipped("data.master").exists() && site.shipped("data.master.0").exists());
    Ok(())
}

#[test]
fn a_set_that_is_being_verified_may_get_another_name_and_is_not_deleted() -> TestResult {
    let mut site = Site::with(false, "keep_backups = 1")?;
    site.set_up()?;
    site.on_master("backup")?;
    let (mut running, held) = site.hold_at("slave.ini verify", "verify.begun")?;
    // The next one takes its name, and would have it deleted.
    let said = site.on_master("backup")?.stderr;
    assert!(
        said.contains("stays, since it is being read set=data.master.0"),
        "{said}"
    );
    assert!(site.shipped("data.master.0/backup_label").exists());
    fs::remove_file(&held)?;
    assert_eq!(running.wait(PATIENCE)?.code(), Some(0), "{}", site.logs());
    site.finds("slave.ini expire", 0, &["deleted data.master.0\n"])?;
    Ok(())
}
